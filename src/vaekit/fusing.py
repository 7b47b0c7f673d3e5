"""Elementwise operations and sums of a recording as loops in C, many of them in one pass over the numbers.

Between two products of matrices a training step makes some dozens of small passes over tensors, each an operation of
its own: what they take is mostly the way to memory and back, and the dispatcher. `fused` writes them as a few functions
in C, each of a few loops, which the machine's compiler makes in half a second. torch.compile does the same for many
more operations and devices, and takes twenty.

A loop is over all numbers of one shape, split into dimensions as finely as its tensors need it: a tensor is found by a
stride for each dimension, 0 where it is the same for all. Sums over some dimensions are kept for each thread, and added
in the order of threads: the same bits each time.
"""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node

from .compiling import compiled
from .rewriting import changed_by, draws, is_fresh, laid_out, owners_of, shares_memory

aten = torch.ops.aten

SMALL = 16_384
"""Numbers of a loop below which one thread makes it."""
BLOCK = 4096
"""Numbers that a thread takes at a time where nothing says how to split them."""
LARGEST_SUM = 2**18
"""Results of a sum that each thread keeps for itself, and terms that are added one by one, at most."""

_LOADED = {
    torch.float32: ("float", "{}"),
    torch.float64: ("double", "{}"),
    torch.bfloat16: ("uint16_t", "load_bf16({})"),
    torch.uint8: ("uint8_t", "{}"),
    torch.bool: ("uint8_t", "{}"),
    torch.int64: ("int64_t", "{}"),
}
"""Types that are read: as C has them, and as numbers to compute with."""
_STORED = {torch.float32: "{}", torch.float64: "{}", torch.bfloat16: "store_bf16({})", torch.bool: "({} != 0)"}
"""Types that are computed, and how a number is written."""


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
    powers = {2.0: f"({x} * {x})", 3.0: f"({x} * {x} * {x})", 0.5: f"sqrt_K({x})", -1.0: f"(1 / {x})"}
    return powers.get(exponent.value)


def _elu_slope(g: str, alpha: str, scale: str, inner: str, of_result: _Number, x: str) -> str:
    slope = f"{inner} * ({x} + {alpha} * {scale})" if of_result.value else f"{scale} * {alpha} * {inner} * exp_K({inner} * {x})"
    return f"({g} * ({x} > 0 ? {scale} : {slope}))"


def _leaky_slope(g: str, x: str, slope: str, of_result: _Number) -> str:
    return f"({x} > 0 ? {g} : {slope} * {g})"


def _compared(sign: str) -> Callable[..., str]:
    return lambda a, b: f"({a} {sign} {b})"


_ELEMENTWISE: dict[OpOverload, Callable[..., str | None]] = {
    aten.abs.default: lambda x: f"abs_K({x})",
    aten.add.Scalar: lambda a, b, alpha=1: f"({a} + {_times(b, alpha)})",
    aten.add.Tensor: lambda a, b, alpha=1: f"({a} + {_times(b, alpha)})",
    aten.addcdiv.default: lambda a, b, c, value=1: f"({a} + {_times(f'({b} / {c})', value)})",
    aten.addcmul.default: lambda a, b, c, value=1: f"({a} + {_times(f'{b} * {c}', value)})",
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
    aten.hardtanh_backward.default: lambda g, x, low, high: f"({x} <= {low} || {x} >= {high} ? 0 : {g})",
    aten.leaky_relu.default: lambda x, slope: f"({x} > 0 ? {x} : {slope} * {x})",
    aten.leaky_relu_backward.default: _leaky_slope,
    aten.log.default: lambda x: f"log_K({x})",
    aten.log1p.default: lambda x: f"log1p_K({x})",
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
    aten.sigmoid.default: lambda x: f"sigmoid_K({x})",
    aten.sigmoid_backward.default: lambda g, y: f"({g} * (1 - {y}) * {y})",
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
_SUMS = {
    aten.sum.default: "+",
    aten.sum.dim_IntList: "+",
    aten.mean.default: "+",
    aten.mean.dim: "+",
    aten.prod.default: "*",
    aten.prod.dim_int: "*",
}
_JOINS = {aten.cat.default, aten.stack.default}


@dataclass(frozen=True)
class _Place:
    """Where numbers are: in the memory of `base`, from `offset`, by (size, stride) of each dimension, the last first,
    as few as there can be.
    """

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


def _steps(shape: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    steps: list[tuple[int, int]] = []
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 1:
            continue
        if steps and stride == steps[-1][0] * steps[-1][1]:
            steps[-1] = size * steps[-1][0], steps[-1][1]
        else:
            steps.append((size, stride))
    return tuple(steps)


def _described(node: Node) -> Tensor | None:
    value = node.meta.get("val")
    return value if isinstance(value, Tensor) and value.device.type in ("cpu", "meta") else None


def _base(node: Node) -> Node:
    """The tensor that a node is only another view of."""
    while _is_view(node):
        node = cast(Node, node.args[0])
    return node


def _is_view(node: Node) -> bool:
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], Node):
        return False
    if node.target is operator.getitem:
        return _is_view(node.args[0])
    return isinstance(node.target, OpOverload) and shares_memory(node.target) and not changed_by(node)


def _seen(node: Node) -> Any:
    """A tensor without memory that views that of a node's base as the node does."""
    if not _is_view(node):
        value = cast(Tensor, _described(node))
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    source, *others = node.args
    return cast(Callable[..., Any], node.target)(_seen(cast(Node, source)), *others, **node.kwargs)


def _place(node: Node, shape: Sequence[int]) -> _Place | None:
    """Where a node's numbers are when it is spread to `shape`."""
    if _described(node) is None or _described(_base(node)) is None:
        return None
    value = _seen(node)
    if value.dtype not in _LOADED:
        return None
    missing = len(shape) - value.dim()
    strides = [0] * missing + [
        0 if mine != theirs else stride
        for mine, theirs, stride in zip(value.shape, shape[missing:], value.stride(), strict=True)
    ]
    return _Place(_base(node), value.storage_offset(), _steps(shape, strides))


@dataclass(frozen=True)
class _Work:
    """What is known of an operation that can be in a loop: `numel` numbers, split at `bounds`, read from `places`."""

    numel: int
    bounds: frozenset[int]
    places: dict[Node, _Place]
    suffix: str
    kept: tuple[tuple[int, bool], ...] = ()
    """For a sum: its dimensions, the last first, by size, and whether they are kept."""


def _work(node: Node) -> _Work | None:
    """What of an operation a loop must know; None for one that is none of a loop."""
    value = _described(node)
    if value is None or value.dtype not in _STORED or not value.is_contiguous() or not value.numel():
        return None
    if node.target in _ELEMENTWISE:
        if _expression(node, dict.fromkeys(node.all_input_nodes, "x"), "f") is None:
            return None
        shape, kept = value.shape, ()
    elif node.target in _SUMS:
        source = _described(cast(Node, node.args[0]))
        if source is None or source.dtype not in _STORED or node.kwargs.get("dtype") or not source.numel():
            return None
        shape = source.shape
        reduced = _reduced(node, source.dim())
        kept = _dimensions(shape, reduced)
        if value.numel() > LARGEST_SUM or source.numel() // value.numel() > LARGEST_SUM:
            return None
    else:
        return None
    places = {}
    for each in node.all_input_nodes:
        place = _place(each, shape)
        if place is None:
            return None
        places[each] = place
    bounds = {bound for place in places.values() for bound in place.bounds}
    numel = 1
    for size, _ in kept[:-1]:
        numel *= size
        bounds.add(numel)
    total = math.prod(shape)
    if not _is_chain(bounds, total):
        return None
    types = [value.dtype, *(cast(Tensor, _described(each)).dtype for each in node.all_input_nodes)]
    return _Work(total, frozenset(bounds), places, "d" if torch.float64 in types else "f", kept)


def _reduced(node: Node, dimensions: int) -> set[int]:
    given = node.args[1] if len(node.args) > 1 else None
    listed = [given] if isinstance(given, int) else list(cast(Iterable[int], given or range(dimensions)))
    return {each % dimensions for each in listed} if dimensions else set()


def _dimensions(shape: Sequence[int], reduced: Collection[int]) -> tuple[tuple[int, bool], ...]:
    found: list[tuple[int, bool]] = []
    for i in reversed(range(len(shape))):
        if shape[i] == 1:
            continue
        if found and found[-1][1] == (i not in reduced):
            found[-1] = found[-1][0] * shape[i], found[-1][1]
        else:
            found.append((shape[i], i not in reduced))
    return tuple(found)


def _is_chain(bounds: Collection[int], numel: int) -> bool:
    """Whether dimensions can be split at all of these."""
    ordered = sorted([*bounds, numel])
    return all(larger % smaller == 0 for smaller, larger in zip(ordered, ordered[1:], strict=False))


def _expression(node: Node, names: dict[Node, str], suffix: str) -> str | None:
    """An elementwise operation as C has it, of the names of its arguments."""

    def argument(given: Any) -> Any:
        if isinstance(given, Node):
            return names[given]
        return _Number(given, suffix) if isinstance(given, (bool, int, float)) else given

    kwargs = {name: argument(given) for name, given in node.kwargs.items() if name not in _PLAIN}
    try:
        text = _ELEMENTWISE[cast(OpOverload, node.target)](*map(argument, node.args), **kwargs)
    except TypeError:  # an argument that is not known here
        return None
    return text.replace("_K(", f"_{suffix}(") if text is not None else None


class _Units:
    """The operations of a graph, those of one loop together, and what must come before what."""

    def __init__(self, graph: Graph) -> None:
        called = [node for node in graph.nodes if node.op in ("call_function", "output")]
        self.work = {node: work for node in called if (work := _work(node)) is not None}
        self.joins = {node: copies for node in called if (copies := _copies(node)) is not None}
        passed: set[Node] = set()  # views that only loops have, which read the memory itself
        for node in reversed(called):
            if _base(node) is not node and all(user in passed or self.is_loop(user) for user in node.users):
                passed.add(node)
        self.nodes = [node for node in called if node not in passed]
        self.order = {node: i for i, node in enumerate(self.nodes)}
        self.unit = {node: node for node in self.nodes}
        self.members = {node: [node] for node in self.nodes}
        self.after: dict[Node, set[Node]] = {node: set() for node in self.nodes}
        for node, earlier in self._dependences(owners_of(graph)):
            self.after[earlier].add(node)

    def is_loop(self, unit: Node) -> bool:
        return unit in self.work or unit in self.joins

    def sources(self, node: Node) -> list[Node]:
        """The tensors that a node reads: of one in a loop those whose memory it reads."""
        return [_base(each) for each in node.all_input_nodes] if self.is_loop(node) else node.all_input_nodes

    def _dependences(self, owners: dict[Node, Node]) -> Iterator[tuple[Node, Node]]:
        changer: dict[Node, Node] = {}
        readers: dict[Node, list[Node]] = {}
        drawn = None
        for node in self.nodes:
            for each in self.sources(node):
                if each in self.order:
                    yield node, each
            changed = {owners[each] for each in changed_by(node)}
            for owner in {owners[each] for each in node.all_input_nodes}:
                if owner in changer:
                    yield node, changer[owner]
                if owner in changed:
                    yield from ((node, reader) for reader in readers.pop(owner, []))
                    changer[owner] = node
                else:
                    readers.setdefault(owner, []).append(node)
            if draws(node):
                if drawn is not None:
                    yield node, drawn
                drawn = node

    def next_of(self, unit: Node) -> set[Node]:
        return {self.unit[later] for node in self.members[unit] for later in self.after[node]} - {unit}

    def _reaches(self, start: Node, end: Node) -> bool:
        """Whether something else must come between two units."""
        waiting = list(self.next_of(start) - {end})
        seen = set(waiting)
        while waiting:
            for unit in self.next_of(waiting.pop()):
                if unit is end:
                    return True
                if unit not in seen:
                    seen.add(unit)
                    waiting.append(unit)
        return False

    def _fit(self, one: Node, other: Node) -> bool:
        """Whether two loops can be one."""
        members = [*self.members[one], *self.members[other]]
        works = [self.work[node] for node in members]
        if len({(work.numel, work.suffix) for work in works}) > 1:
            return False
        if not _is_chain({bound for work in works for bound in work.bounds}, works[0].numel):
            return False
        for node, work in zip(members, works, strict=True):
            for place in work.places.values():
                if place.base in members and (place.base.target in _SUMS or not place.is_row(work.numel)):
                    return False
        return not self._reaches(one, other) and not self._reaches(other, one)

    def join_loops(self) -> None:
        """Make one loop of those that read the same, or one what the other computes, wherever that can be."""
        readers: dict[Node, list[Node]] = {}
        for node in self.nodes:
            if node not in self.work:
                continue
            bases = {place.base for place in self.work[node].places.values()}
            near = [base for base in bases if base in self.work]
            near += [reader for base in bases for reader in readers.get(base, [])]
            for each in sorted(set(near), key=self.order.__getitem__, reverse=True):
                one, other = self.unit[each], self.unit[node]
                if one is not other and self._fit(one, other):
                    self.members[one] = sorted(self.members[one] + self.members.pop(other), key=self.order.__getitem__)
                    self.unit.update(dict.fromkeys(self.members[one], one))
            for base in bases:
                readers.setdefault(base, []).append(node)

    def in_turn(self) -> Iterator[list[Node]]:
        """Units in an order in which each has what it needs: as many loops one after the other as there can be."""
        missing = dict.fromkeys(self.members, 0)
        for unit in self.members:
            for later in self.next_of(unit):
                missing[later] += 1
        waiting = [unit for unit, number in missing.items() if not number]

        def take(of_loops: bool) -> Iterator[Node]:
            while found := [unit for unit in waiting if self.is_loop(unit) == of_loops]:
                unit = min(found, key=self.order.__getitem__)
                waiting.remove(unit)
                for later in self.next_of(unit):
                    missing[later] -= 1
                    if not missing[later]:
                        waiting.append(later)
                yield unit

        while waiting:
            yield from ([unit] for unit in take(of_loops=False))
            if loops := list(take(of_loops=True)):
                yield loops


def _copies(node: Node) -> list[tuple[Node, _Place, _Place]] | None:
    """Of tensors put side by side: each, where its numbers are, and where they go."""
    value = _described(node)
    if node.target not in _JOINS or value is None or value.dtype not in _STORED or not value.is_contiguous():
        return None
    (given, dim), found, start = (*node.args, 0)[:2], [], 0
    dim = cast(int, dim) % value.dim()
    for each in cast(Sequence[Node], given):
        own = _described(each)
        if own is None or own.dtype != value.dtype or not own.numel():
            return None
        strides = list(value.stride())
        step = strides[dim] if node.target is aten.cat.default else strides.pop(dim)
        source = _place(each, own.shape)
        target = _Place(node, start * step, _steps(own.shape, strides))
        if source is None or not _is_chain({*source.bounds, *target.bounds}, own.numel()):
            return None
        found.append((each, source, target))
        start += own.shape[dim] if node.target is aten.cat.default else 1
    return found


def _sizes(bounds: Collection[int], numel: int) -> list[int]:
    ordered = [1, *sorted(bounds), numel]
    return [larger // smaller for smaller, larger in zip(ordered, ordered[1:], strict=False)]


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
class _Function:
    """Loops one after the other, as a function of the memory of tensors."""

    pointers: dict[Node, str] = field(default_factory=dict)
    written: dict[Node, None] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)

    @property
    def read(self) -> list[Node]:
        return [node for node in self.pointers if node not in self.written]

    def pointer(self, node: Node) -> str:
        return self.pointers.setdefault(node, f"p{len(self.pointers)}")

    def source(self, name: str) -> str:
        """The function in C."""
        kinds = (f"{_LOADED[cast(Tensor, _described(node)).dtype][0]} *{p}" for node, p in self.pointers.items())
        return f"void {name}({', '.join(kinds)}) {{\n" + "\n".join(self.text) + "\n}\n"

    def called(
        self, name: str, run: Callable[..., None], wanted: dict[Node, list[Node]], returned: Collection[Node]
    ) -> Callable[..., Any]:
        """The function in Python: of the tensors that it reads, giving those that are `wanted`.

        Those that are `returned` to who asked for the whole are new ones each time, others the same each time: the
        fewer places, the more of them are in the caches.
        """
        pointers = self.pointers
        known: dict[str, Any] = {"run": run, "empty": torch.empty, "torch": torch}
        lines = [f"def {name}({', '.join(pointers[node] for node in self.read)}):"]
        places = {node: f"{pointer}.data_ptr()" for node, pointer in pointers.items()}
        for node in self.written:
            value = cast(Tensor, _described(wanted.get(node, [node])[0]))
            if node in returned:
                lines.append(f" {pointers[node]} = empty({tuple(value.shape)}, dtype={value.dtype})")
            else:
                known[pointers[node]] = torch.empty(value.shape, dtype=value.dtype)
                places[node] = str(known[pointers[node]].data_ptr())
        lines.append(f" run({', '.join(places.values())})")
        lines.append(f" return {', '.join(pointers[node] for node in wanted)},")
        exec("\n".join(lines), known)
        made = known[name]
        made.__module__ = __name__  # where a graph's code says that it is from
        return made


class _Body:
    """A loop as C has it."""

    def __init__(self, function: _Function, numel: int, bounds: Collection[int], suffix: str) -> None:
        self.function, self.numel, self.suffix = function, numel, suffix
        self.real = {"f": "float", "d": "double"}[suffix]
        self.sizes = _sizes(bounds, numel)
        self.before: list[str] = []
        self.inside: list[str] = []
        self.behind: list[str] = []
        self.starts: list[tuple[int, int, str]] = []
        self.ends: list[str] = []
        self.sums: list[tuple[str, str]] = []
        self.kept = 0
        self.known: dict[object, str] = {}

    def _at(self, pointer: str, kind: str, place: _Place) -> str:
        """The number of a tensor that it is the turn of, as C has it."""
        key = pointer, place.offset, place.steps
        strides = _strides(place.steps, self.sizes)
        if key not in self.known:
            name = self.known[key] = f"x{len(self.known)}"
            index = [str(place.offset), *(f"i{k} * {stride}" for k, stride in enumerate(strides) if k and stride)]
            if len(strides) == 1:
                index.append(f"start * {strides[0]}")
            self.before.append(f"{kind} *const {name} = {pointer} + {' + '.join(index)};")
        return f"{self.known[key]}[{'j' if strides[0] == 1 else f'j * {strides[0]}' if strides[0] else '0'}]"

    def load(self, place: _Place, dtype: torch.dtype) -> str:
        kind, text = _LOADED[dtype]
        at = self._at(self.function.pointer(place.base), f"const {kind}", place)
        if ("load", at) not in self.known:
            self.known["load", at] = f"a{len(self.known)}"
            self.inside.append(f"const {self.real} {self.known['load', at]} = {text.format(at)};")
        return self.known["load", at]

    def named(self, text: str) -> str:
        """A name for what C computes."""
        name = self.known[object()] = f"v{len(self.known)}"
        self.inside.append(f"const {self.real} {name} = {text};")
        return name

    def store(self, place: _Place, dtype: torch.dtype, name: str) -> None:
        at = self._at(self.function.pointer(place.base), _LOADED[dtype][0], place)
        self.function.written[place.base] = None
        self.inside.append(f"{at} = {_STORED[dtype].format(name)};")

    def sum(self, node: Node, kept: Sequence[tuple[int, bool]], name: str) -> None:
        """Add `name` up, or multiply, over the dimensions that are not kept."""
        sign, value = _SUMS[cast(OpOverload, node.target)], cast(Tensor, _described(node))
        pointer, stored = self.function.pointer(node), _STORED[value.dtype]
        self.function.written[node] = None
        steps, numel = [], 1
        for size, stays in kept:
            steps.append((size, numel if stays else 0))
            numel *= size if stays else 1
        is_mean = node.target in (aten.mean.default, aten.mean.dim)
        share = f" / {self.numel // numel}" if is_mean else ""
        strides = _strides(steps, self.sizes)
        nothing = "0" if sign == "+" else "1"
        inner = not strides[0]
        if inner:
            total = self.known[object()] = f"s{len(self.known)}"
            self.before.append(f"{self.real} {total} = {nothing};")
            self.sums.append((sign, total))
            self.inside.append(f"{total} {sign}= {name};")
        index = " + ".join(f"i{k} * {stride}" for k, stride in enumerate(strides) if k and stride) or "0"
        if inner and len(self.sizes) > 1 and all(strides[1:]):
            self.behind.append(f"{pointer}[{index}] = {stored.format(f'({total}{share})')};")
            return
        at = f"own[{self.kept} + {index}{'' if inner else f' + j * {strides[0]}'}]"
        (self.behind if inner else self.inside).append(f"{at} {sign}= {total if inner else name};")
        self.starts.append((self.kept, numel, nothing))
        self.ends.append(
            f"for (int64_t k = 0; k < {numel}; k++) {{ {self.real} s = {nothing};"
            f" for (int t = 0; t < T; t++) s {sign}= kept[t * K + {self.kept} + k];"
            f" {pointer}[k] = {stored.format(f'(s{share})')}; }}"
        )
        self.kept += numel

    def text(self) -> Iterator[str]:
        first, *others = self.sizes
        outer, length = math.prod(others), str(first)
        if not others:  # one row, which is cut into blocks for the threads
            outer, length = -(-first // BLOCK), f"min({BLOCK}, {first} - i * {BLOCK})"
        threads = "omp_get_max_threads()" if self.numel >= SMALL else "1"
        yield f"{{ const int64_t K = {-(-self.kept // 16) * 16}; const int T = {threads};"
        if self.kept:
            yield f"{self.real} *kept = malloc(T * K * sizeof({self.real}));"
            for start, numel, value in self.starts:
                yield f"for (int t = 0; t < T; t++) for (int64_t k = 0; k < {numel}; k++) kept[t * K + {start} + k] = {value};"
        yield "#pragma omp parallel num_threads(T) if (T > 1)"
        yield "{ const int64_t t = omp_get_thread_num(), of = omp_get_num_threads();"
        if self.kept:
            yield f"{self.real} *const own = kept + t * K;"
        yield f"for (int64_t i = {outer} * t / of; i < {outer} * (t + 1) / of; i++) {{"
        inner = 1
        for k, size in enumerate(others, 1):
            yield f"const int64_t i{k} = i / {inner} % {size};"
            inner *= size
        if not others:
            yield f"const int64_t start = i * {BLOCK};"
        yield from self.before
        yield f"const int64_t length = {length};"
        yield "#pragma omp simd" + "".join(f" reduction({sign}:{name})" for sign, name in self.sums)
        yield f"for (int64_t j = 0; j < length; j++) {{"
        yield from self.inside
        yield "}"
        yield from self.behind
        yield "} }"
        yield from self.ends
        yield "free(kept); }" if self.kept else "}"


def _loop(body: _Body, nodes: Sequence[Node], units: _Units, needed: Collection[Node]) -> None:
    names: dict[Node, str] = {}
    for node in nodes:
        work = units.work[node]
        given = {}
        for each, place in work.places.items():
            given[each] = names.get(place.base) or body.load(place, cast(Tensor, _described(each)).dtype)
        if node.target in _SUMS:
            (name,) = given.values()
            body.sum(node, work.kept, name)
            continue
        names[node] = body.named(cast(str, _expression(node, given, body.suffix)))
        if node in needed:
            value = cast(Tensor, _described(node))
            body.store(_Place(node, 0, _steps(value.shape, value.stride())), value.dtype, names[node])


def _function(loops: Sequence[Node], units: _Units) -> _Function:
    function = _Function()
    for unit in loops:
        for each, source, target in units.joins.get(unit, []):
            _copy(function, cast(Tensor, _described(each)), source, target)
        if unit in units.joins:
            continue
        nodes = units.members[unit]
        works = [units.work[node] for node in nodes]
        body = _Body(function, works[0].numel, {bound for work in works for bound in work.bounds}, works[0].suffix)
        _loop(body, nodes, units, {node for node in nodes if units.after[node] - {*nodes}})
        function.text += body.text()
    return function


def _copy(function: _Function, value: Tensor, source: _Place, target: _Place) -> None:
    suffix = "d" if value.dtype == torch.float64 else "f"
    body = _Body(function, value.numel(), {*source.bounds, *target.bounds}, suffix)
    body.store(target, value.dtype, body.load(source, value.dtype))
    function.text += body.text()


def fused(recorded: GraphModule) -> GraphModule:
    """`recorded`, whose graph is changed in place, as one whose elementwise operations and sums are loops in C.

    Raises `CompilerError` where these can't be compiled.
    """
    _out_of_place(recorded.graph)
    units = _Units(recorded.graph)
    units.join_loops()
    turns = list(units.in_turn())
    functions = {turn[0]: _function(turn, units) for turn in turns if units.is_loop(turn[0])}
    named = {f"loops_{i}": function for i, function in enumerate(functions.values())}
    source = "\n".join(function.source(name) for name, function in named.items())
    run = compiled(source, {name: [ctypes.c_void_p] * len(function.pointers) for name, function in named.items()})

    owners = owners_of(recorded.graph)
    (output,) = recorded.graph.find_nodes(op="output")
    returned = {owners[each] for each in output.all_input_nodes}
    made, copies = Graph(), {}
    for node in recorded.graph.nodes:
        if node.op in ("placeholder", "get_attr"):
            copies[node] = made.node_copy(node)
    for turn in turns:
        if turn[0] not in functions:
            (node,) = turn
            if node not in copies and node.op != "output":
                copies[node] = made.node_copy(node, copies.__getitem__)
            continue
        function = functions[turn[0]]
        inside = {node for unit in turn for node in units.members[unit]}
        wanted = {node: _shown(node, units) for node in function.written if units.after[node] - inside}
        name = f"loops_{list(functions).index(turn[0])}"
        call = made.call_function(function.called(name, run[name], wanted, returned), tuple(map(copies.__getitem__, function.read)))
        for i, (node, names) in enumerate(wanted.items()):
            copies[node] = made.call_function(operator.getitem, (call, i))
            copies[node].meta = dict(names[0].meta)
            copies.update(dict.fromkeys(names, copies[node]))
    made.output(torch.fx.map_arg(output.args[0], copies.__getitem__))
    made.eliminate_dead_code()
    return GraphModule(recorded, made)


def _out_of_place(graph: Graph) -> None:
    """Let operations that write over what nobody else needs make a tensor of their own, so that loops can have them."""
    for node in graph.nodes:
        changed = changed_by(node)
        if len(changed) != 1 or changed[0] is not node.args[0] or not node.target._opname.endswith("_"):
            continue
        packet = getattr(aten, node.target._opname[:-1], None)
        target = getattr(packet, node.target._overloadname, None)
        owners, (first,) = owners_of(graph), changed
        if target not in _ELEMENTWISE or not is_fresh(owners[first]) or laid_out(first) != laid_out(node):
            continue
        nodes = list(graph.nodes)
        later = {*nodes[nodes.index(node) + 1 :]}
        names = [name for name, owner in owners.items() if owner is owners[first] and name not in later]
        if any(later & {*name.users} for name in names if name not in (first, node)):
            continue
        node.target = target
        first.replace_all_uses_with(node, delete_user_cb=later.__contains__)


def _shown(node: Node, units: _Units) -> list[Node]:
    """The nodes whose value is the memory of `node`: itself, or if that is all that others have of it its views."""
    others = [user for user in node.users if user in units.order and not units.is_loop(user)]
    whole = all(user.target is aten.view.default and user.args[0] is node for user in others)
    if others and whole and len({cast(Tensor, _described(user)).shape for user in others}) == 1:
        return [*others, node]
    return [node]
