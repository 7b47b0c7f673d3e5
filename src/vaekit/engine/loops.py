"""Loops in C over the numbers of tensors: what each operation is in C, and the text of a loop of many.

A loop is over all numbers of one shape, split into dimensions as finely as its tensors need it: a tensor is found by a
stride for each dimension, 0 where it is the same for all. Sums over some dimensions are kept for each thread, and added
in the order of threads: the same bits each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node

from .compiling import address_of
from .products import Product, product_source
from .rewriting import value_of

aten = torch.ops.aten

SMALL = 16_384
"""Numbers of a loop below which one thread makes it."""
BLOCK = 4096
"""Numbers that a thread takes at a time where nothing says how to split them."""

LOADED = {
    torch.float32: ("float", "{}"),
    torch.float64: ("double", "{}"),
    torch.bfloat16: ("uint16_t", "load_bf16({})"),
    torch.uint8: ("uint8_t", "{}"),
    torch.bool: ("uint8_t", "{}"),
    torch.int64: ("int64_t", "{}"),
}
"""Types that are read: as C has them, and as numbers to compute with."""
STORED = {torch.float32: "{}", torch.float64: "{}", torch.bfloat16: "store_bf16({})", torch.bool: "({} != 0)"}
"""Types that are computed, and how a number is written."""
ROUNDED = {torch.bfloat16: "load_bf16(store_bf16({}))", torch.bool: "({} != 0)"}
"""Types that do not have all numbers of those that are computed with."""


class _Number(str):
    """A number as C writes it, in the type that a loop computes in."""

    value: float

    def __new__(cls, value: float, suffix: str) -> _Number:
        text = repr(float(value)).replace("inf", "INFINITY").replace("nan", "NAN")
        made = super().__new__(cls, f"({text}{suffix if suffix == 'f' and math.isfinite(value) else ''})")
        made.value = float(value)
        return made


def _times(x: str, factor: str | int) -> str:
    return x if getattr(factor, "value", factor) == 1 else f"({factor} * {x})"


def _clamped(x: str, low: str | None = None, high: str | None = None) -> str:
    """Written so that what is no number stays it."""
    for bound, sign in ((low, "<"), (high, ">")):
        if bound is not None:
            x = f"({x} {sign} {bound} ? {bound} : {x})"
    return x


def _power(x: str, exponent: _Number) -> str | None:
    powers = {
        3.0: f"({x} * {x} * {x})",
        2.0: f"({x} * {x})",
        0.5: f"sqrt_K({x})",
        -0.5: f"(1 / sqrt_K({x}))",
        -1.0: f"(1 / {x})",
        -2.0: f"(1 / ({x} * {x}))",
    }
    return powers.get(exponent.value)


def _elu_slope(g: str, alpha: str, scale: str, inner: str, of_result: _Number, x: str) -> str:
    slope = (
        f"{inner} * ({x} + {alpha} * {scale})"
        if of_result.value
        else f"{scale} * {alpha} * {inner} * exp_K({inner} * {x})"
    )
    return f"({g} * ({x} > 0 ? {scale} : {slope}))"


def _leaky_slope(g: str, x: str, slope: str, of_result: _Number) -> str:
    return f"({x} > 0 ? {g} : {slope} * {g})"


def _compared(sign: str) -> Callable[..., str]:
    return lambda a, b: f"({a} {sign} {b})"


ELEMENTWISE: dict[OpOverload, Callable[..., str | None]] = {
    aten.abs.default: lambda x: f"abs_K({x})",
    aten.add.Scalar: lambda a, b, alpha=1: f"({a} + {_times(b, alpha)})",
    aten.add.Tensor: lambda a, b, alpha=1: f"({a} + {_times(b, alpha)})",
    aten.addcdiv.default: lambda a, b, c, value=1: f"({a} + {_times(b, value)} / {c})",
    aten.addcmul.default: lambda a, b, c, value=1: f"({a} + {_times(f'{b} * {c}', value)})",
    aten.bitwise_and.Tensor: lambda a, b: f"({a} && {b})",
    aten.bitwise_not.default: lambda x: f"(!{x})",
    aten.bitwise_or.Tensor: lambda a, b: f"({a} || {b})",
    aten.clamp.default: _clamped,
    aten.clamp_max.default: lambda x, high: _clamped(x, None, high),
    aten.clamp_min.default: _clamped,
    aten.clone.default: lambda x: x,
    aten.div.Scalar: lambda a, b: f"({a} / {b})",
    aten.div.Tensor: lambda a, b: f"({a} / {b})",
    aten.elu.default: lambda x, alpha=1, scale=1, inner=1: (
        f"({scale} * ({x} > 0 ? {x} : {_times(f'expm1_K({_times(x, inner)})', alpha)}))"
    ),
    aten.elu_backward.default: _elu_slope,
    aten.exp.default: lambda x: f"exp_K({x})",
    aten.expm1.default: lambda x: f"expm1_K({x})",
    aten.hardtanh.default: lambda x, low=-1, high=1: _clamped(x, low, high),
    aten.hardtanh_backward.default: lambda g, x, low, high: f"({x} > {low} && {x} < {high} ? {g} : 0)",
    aten.leaky_relu.default: lambda x, slope: f"({x} > 0 ? {x} : {slope} * {x})",
    aten.leaky_relu_backward.default: _leaky_slope,
    aten.log.default: lambda x: f"log_K({x})",
    aten.log1p.default: lambda x: f"log1p_K({x})",
    aten.logical_and.default: lambda a, b: f"({a} && {b})",
    aten.logical_not.default: lambda x: f"(!{x})",
    aten.logical_or.default: lambda a, b: f"({a} || {b})",
    aten.masked_fill.Scalar: lambda x, mask, value: f"({mask} ? {value} : {x})",
    aten.maximum.default: lambda a, b: f"({a} != {a} || {a} > {b} ? {a} : {b})",
    aten.minimum.default: lambda a, b: f"({a} != {a} || {a} < {b} ? {a} : {b})",
    aten.mul.Scalar: lambda a, b: f"({a} * {b})",
    aten.mul.Tensor: lambda a, b: f"({a} * {b})",
    aten.neg.default: lambda x: f"(-{x})",
    aten.pow.Tensor_Scalar: _power,
    aten.reciprocal.default: lambda x: f"(1 / {x})",
    aten.relu.default: lambda x: _clamped(x, "0"),
    aten.rsqrt.default: lambda x: f"(1 / sqrt_K({x}))",
    aten.rsub.Scalar: lambda a, b, alpha=1: f"({b} - {_times(a, alpha)})",
    aten.sgn.default: lambda x: f"(({x} > 0) - ({x} < 0))",
    aten.sigmoid.default: lambda x: f"sigmoid_K({x})",
    aten.sigmoid_backward.default: lambda g, y: f"({g} * (1 - {y}) * {y})",
    aten.silu_backward.default: lambda g, x: f"({g} * sigmoid_K({x}) * (1 + {x} * sigmoid_K(-{x})))",
    aten.silu.default: lambda x: f"({x} * sigmoid_K({x}))",
    aten.softplus.default: lambda x, beta=1, threshold=20: (
        f"({_times(x, beta)} > {threshold} ? {x} : log1p_K(exp_K({_times(x, beta)})) / {beta})"
    ),
    aten.softplus_backward.default: lambda g, x, beta, threshold: (
        f"({_times(x, beta)} > {threshold} ? {g} : {g} * sigmoid_K({_times(x, beta)}))"
    ),
    aten.sqrt.default: lambda x: f"sqrt_K({x})",
    aten.sub.Scalar: lambda a, b, alpha=1: f"({a} - {_times(b, alpha)})",
    aten.sub.Tensor: lambda a, b, alpha=1: f"({a} - {_times(b, alpha)})",
    aten.tanh.default: lambda x: f"tanh_K({x})",
    aten.tanh_backward.default: lambda g, y: f"({g} * (1 - {y} * {y}))",
    aten.threshold_backward.default: lambda g, x, threshold: f"({x} <= {threshold} ? 0 : {g})",
    aten.where.self: lambda mask, a, b: f"({mask} ? {a} : {b})",
    aten._to_copy.default: lambda x: x,
    **{
        getattr(getattr(aten, name), kind): _compared(sign)
        for name, sign in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items()
        for kind in ("Tensor", "Scalar")
    },
}
"""Operations on each number alone, as C has them; None for arguments that it does not."""
_PLAIN = {"dtype", "layout", "device", "pin_memory", "non_blocking", "memory_format"}
"""Arguments that change no number: where the result lies is read off what was recorded."""
SUMS = {
    aten.sum.default: "+",
    aten.sum.dim_IntList: "+",
    aten.mean.default: "+",
    aten.mean.dim: "+",
    aten.prod.default: "*",
    aten.prod.dim_int: "*",
}


@dataclass(frozen=True)
class Place:
    """Where numbers are: in the memory of `base`, from `offset` on, by `steps_of` its dimensions."""

    base: Node
    offset: int
    steps: tuple[tuple[int, int], ...]

    @property
    def bounds(self) -> list[int]:
        """How many numbers the inner dimensions have, for each but the outermost."""
        bounds = []
        numel = 1
        for size, _ in self.steps[:-1]:
            numel *= size
            bounds.append(numel)
        return bounds

    def is_row(self, numel: int) -> bool:
        """Whether these are all numbers of a tensor in the order in which they lie."""
        return self.offset == 0 and self.steps == (((numel, 1),) if numel > 1 else ())


def steps_of(shape: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The (size, stride) of each dimension, the last first, as few as there can be.

    >>> steps_of((5, 4, 3, 1), (0, 3, 1, 7))
    ((12, 1), (5, 0))
    """
    steps: list[tuple[int, int]] = []
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 1:
            continue
        if steps and stride == steps[-1][0] * steps[-1][1]:
            steps[-1] = size * steps[-1][0], steps[-1][1]
        else:
            steps.append((size, stride))
    return tuple(steps)


def is_chain(bounds: Collection[int], numel: int) -> bool:
    """Whether dimensions can be split at all of these."""
    ordered = sorted([*bounds, numel])
    return all(larger % smaller == 0 for smaller, larger in pairwise(ordered))


def expression(node: Node, names: dict[Node, str], suffix: str) -> str | None:
    """An elementwise operation as C has it, of the names of its arguments."""

    def argument(given: Any) -> Any:
        if isinstance(given, Node):
            return names[given]
        return _Number(given, suffix) if isinstance(given, (bool, int, float)) else given

    kwargs = {name: argument(given) for name, given in node.kwargs.items() if name not in _PLAIN}
    try:
        text = ELEMENTWISE[cast(OpOverload, node.target)](*map(argument, node.args), **kwargs)
    except TypeError:  # an argument that is not known here
        return None
    return text.replace("_K(", f"_{suffix}(") if text is not None else None


def _sizes(bounds: Collection[int], numel: int) -> list[int]:
    ordered = [1, *sorted(bounds), numel]
    return [larger // smaller for smaller, larger in pairwise(ordered)]


def _strides(steps: Sequence[tuple[int, int]], sizes: Sequence[int]) -> list[int]:
    """The strides of `steps` for dimensions of `sizes`, the last first, that split them."""
    strides, inner, within, left = [], 1, 1, list(steps)
    for size in sizes:
        while left and inner == within * left[0][0]:
            within *= left.pop(0)[0]
        strides.append(left[0][1] * (inner // within) if left else 0)
        inner *= size
    return strides


@dataclass
class Function:
    """Loops one after the other, as a function of the memory of tensors."""

    pointers: dict[Node, str] = field(default_factory=dict)
    written: dict[Node, None] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    multiplies: bool = False

    @property
    def read(self) -> list[Node]:
        """Whose memory it reads, in the order of its arguments."""
        return [node for node in self.pointers if node not in self.written]

    def pointer(self, node: Node) -> str:
        """The name of where a tensor's numbers begin."""
        return self.pointers.setdefault(node, f"p{len(self.pointers)}")

    def multiply(self, node: Node, product: Product) -> None:
        """Make what a node is a product of matrices."""
        given = [str(size) for size in product.sizes]
        for matrix in (product.a, product.b):
            given += [f"{self.pointer(matrix.base)} + {matrix.offset}", *map(str, matrix.strides)]
        bias = f"{self.pointer(product.bias.base)} + {product.bias.offset}" if product.bias else "0"
        given += [self.pointer(node), bias, str(int(product.rectified))]
        self.text.append(f"product({', '.join(given)});")
        self.written[node] = None
        self.multiplies = True

    def source(self, name: str) -> str:
        """The function in C."""
        kinds = [f"{LOADED[value_of(node).dtype][0]} *{p}" for node, p in self.pointers.items()]
        if self.multiplies:
            kinds.insert(0, "product_of *product")
        return f"void {name}({', '.join(kinds)}) {{\n" + "\n".join(self.text) + "\n}\n"

    def called(
        self, name: str, run: Callable[..., None], wanted: dict[Node, torch.Size], returned: Collection[Node]
    ) -> Callable[..., tuple[Tensor, ...]]:
        """The function in Python: of the tensors that it reads, giving those that are `wanted`, in these shapes.

        Those that are `returned` to who asked for the whole are new ones each time, others the same each time: the
        fewer places, the more of them are in the caches.
        """
        pointers = self.pointers
        known: dict[str, Any] = {"run": run, "empty": torch.empty, "torch": torch}
        lines = [f"def {name}({', '.join(pointers[node] for node in self.read)}):"]
        places = {node: f"{pointer}.data_ptr()" for node, pointer in pointers.items()}
        for node in self.written:
            value = value_of(node)
            shape = tuple(wanted.get(node, value.shape))
            if node in returned:
                lines.append(f" {pointers[node]} = empty({shape}, dtype={value.dtype})")
            else:
                known[pointers[node]] = torch.empty(shape, dtype=value.dtype)
                places[node] = str(known[pointers[node]].data_ptr())
        arguments = [*places.values()]
        if self.multiplies:
            arguments.insert(0, str(address_of(product_source(), "product")))
        lines.append(f" run({', '.join(arguments)})")
        lines.append(f" return {', '.join(pointers[node] for node in wanted)},")
        exec("\n".join(lines), known)
        made = known[name]
        made.__module__ = __name__  # where a graph's code says that it is from
        return made


class Loop:
    """A loop of a function, over `numel` numbers in dimensions that are split at `bounds`.

    It computes in float, or if the `suffix` of its functions and numbers is "d" in double.
    """

    def __init__(self, function: Function, numel: int, bounds: Collection[int], suffix: str) -> None:
        self.function, self.numel, self.suffix = function, numel, suffix
        self.real = {"f": "float", "d": "double"}[suffix]
        self.sizes = _sizes(bounds, numel)
        self.before: list[str] = []
        self.inside: list[str] = []
        self.behind: list[str] = []
        self.after: list[str] = []
        self.sums: list[tuple[str, str]] = []
        self.kept: list[tuple[int, str]] = []
        """Of sums that each thread keeps for itself: how many numbers, and what they start from."""
        self.at: dict[object, str] = {}
        self.loaded: dict[str, str] = {}
        self.names = 0

    def _new(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def _at(self, pointer: str, kind: str, place: Place) -> str:
        """The number of a tensor that it is the turn of, as C has it."""
        key = pointer, place.offset, place.steps
        strides = _strides(place.steps, self.sizes)
        if key not in self.at:
            name = self.at[key] = self._new("x")
            index = [str(place.offset), *(f"i{k} * {stride}" for k, stride in enumerate(strides) if k and stride)]
            if len(strides) == 1:
                index.append(f"start * {strides[0]}")
            self.before.append(f"{kind} *const {name} = {pointer} + {' + '.join(index)};")
        return f"{self.at[key]}[{'j' if strides[0] == 1 else f'j * {strides[0]}' if strides[0] else '0'}]"

    def load(self, place: Place, dtype: torch.dtype) -> str:
        """The name of a number that is read."""
        kind, text = LOADED[dtype]
        at = self._at(self.function.pointer(place.base), f"const {kind}", place)
        if at not in self.loaded:
            self.loaded[at] = self.named(text.format(at))
        return self.loaded[at]

    def named(self, text: str) -> str:
        """A name for what C computes."""
        name = self._new("v")
        self.inside.append(f"const {self.real} {name} = {text};")
        return name

    def store(self, place: Place, dtype: torch.dtype, name: str) -> None:
        """Write a number that has a name."""
        at = self._at(self.function.pointer(place.base), LOADED[dtype][0], place)
        self.function.written[place.base] = None
        self.inside.append(f"{at} = {STORED[dtype].format(name)};")

    def sum(self, node: Node, kept: Sequence[tuple[int, bool]], name: str) -> None:
        """Add up or multiply what has a `name`, over the dimensions that are not `kept`; of each its size."""
        sign, value = SUMS[cast(OpOverload, node.target)], value_of(node)
        pointer, stored = self.function.pointer(node), STORED[value.dtype]
        self.function.written[node] = None
        steps, numel = [], 1
        for size, stays in kept:
            steps.append((size, numel if stays else 0))
            numel *= size if stays else 1
        strides = _strides(steps, self.sizes)
        is_mean = node.target in (aten.mean.default, aten.mean.dim)
        share = f" / {self.numel // numel}" if is_mean else ""
        nothing = "0" if sign == "+" else "1"
        index = " + ".join(f"i{k} * {stride}" for k, stride in enumerate(strides) if k and stride) or "0"
        total = name
        if not strides[0]:
            total = self._new("s")
            self.before.append(f"{self.real} {total} = {nothing};")
            self.sums.append((sign, total))
            self.inside.append(f"{total} {sign}= {name};")
            if len(strides) > 1 and all(strides[1:]):  # of this row alone
                self.behind.append(f"{pointer}[{index}] = {stored.format(f'({total}{share})')};")
                return
        start = sum(count for count, _ in self.kept)
        self.kept.append((numel, nothing))
        at = f"own[{start} + {index}{f' + j * {strides[0]}' if strides[0] else ''}]"
        (self.inside if strides[0] else self.behind).append(f"{at} {sign}= {total};")
        self.after.append(
            f"for (int64_t k = 0; k < {numel}; k++) {{ {self.real} s = {nothing};"
            f" for (int t = 0; t < T; t++) s {sign}= kept[t * K + {start} + k];"
            f" {pointer}[k] = {stored.format(f'(s{share})')}; }}"
        )

    def text(self) -> Iterator[str]:
        """The loop in C."""
        first, *others = self.sizes
        outer, length = math.prod(others), str(first)
        if not others:  # one row, which is cut into blocks for the threads
            outer, length = -(-first // BLOCK), f"min({BLOCK}, {first} - i * {BLOCK})"
        # Each thread's sums lie in cache lines of their own.
        count = -(-sum(count for count, _ in self.kept) // 16) * 16
        yield f"{{ const int64_t K = {count}; const int T = {'omp_get_max_threads()' if self.numel >= SMALL else 1};"
        if self.kept:
            yield f"{self.real} *kept = malloc(T * K * sizeof({self.real}));"
            start = 0
            for numel, nothing in self.kept:
                each = f"kept[t * K + {start} + k] = {nothing};"
                yield f"for (int t = 0; t < T; t++) for (int64_t k = 0; k < {numel}; k++) {each}"
                start += numel
        yield "#pragma omp parallel num_threads(T) if (T > 1)"
        yield "{ const int64_t t = omp_get_thread_num(), of = omp_get_num_threads();"
        if self.kept:
            yield f"{self.real} *const own = kept + t * K;"
        yield f"for (int64_t i = {outer} * t / of; i < {outer} * (t + 1) / of; i++) {{"
        yield f"const int64_t start = i * {BLOCK}, length = {length};"
        inner = 1
        for k, size in enumerate(others, 1):
            yield f"const int64_t i{k} = i / {inner} % {size};"
            inner *= size
        yield from self.before
        yield "#pragma omp simd" + "".join(f" reduction({sign}:{name})" for sign, name in self.sums)
        yield "for (int64_t j = 0; j < length; j++) {"
        yield from self.inside
        yield "}"
        yield from self.behind
        yield "} }"
        yield from self.after
        yield "free(kept); }" if self.kept else "}"
