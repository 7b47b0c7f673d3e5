"""Programs as data: the operations of core ATen that they are made of, constants as bytes, for what runs no torch."""

from __future__ import annotations

import math
import warnings
from base64 import b64encode
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node

from ...distributions.observed import whole
from ...distributions.products import Columns
from ...errors import UndefinedError, several
from ...evaluation.anomalies import cell_nats
from ...models.trace import Trace
from .plain import PLAIN
from .programs import Decode, Program, Recordable, Score
from .recording import recorded

HALF_FROM = 1024
"""Numbers that a constant has at least which is kept in half precision: what is smaller saves nothing."""
TOLERANCE = 1e-3
"""How far half precision may move an output, of the range that it has."""
PLACING = {"layout", "device", "pin_memory", "memory_format", "non_blocking"}
"""Arguments that say where and how numbers lie, not which they are."""
KEPT = {torch.int64: torch.int32, torch.bfloat16: torch.float32}
"""What the page's numbers are of others."""


@dataclass(frozen=True)
class Constant:
    """Where a constant lies in a store, and how it is read."""

    shape: tuple[int, ...]
    dtype: str
    offset: int


@dataclass(frozen=True)
class Operation:
    """One operation of core ATen by its name, without overload: what goes in, in the order of its arguments, a tensor
    as {"id": name}, the size of a batch as {"batch": True, "times": k}; and what its result is called.
    """

    op: str
    in_: list[Any]
    out: str


class Store:
    """The constants of programs one after another, little endian; equal ones are there once, whoever reads them."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._places: dict[bytes, int] = {}

    def add(self, value: Tensor) -> Constant:
        """Where a constant lies, which is put there if none of its bytes is."""
        own = _bytes(value)
        offset = self._places.setdefault(own, len(self._bytes))
        if offset == len(self._bytes):
            self._bytes += own
            self._bytes += bytes(-len(own) % 4)  # so that each begins where a number of its type may
        return Constant(tuple(value.shape), str(value.dtype).removeprefix("torch."), offset)

    def text(self) -> str:
        """All of it as base64."""
        return b64encode(bytes(self._bytes)).decode("ascii")


@dataclass(frozen=True)
class Graph:
    """A program as data, whose inputs and outputs are (B, …), B any number.

    `sizes` are the numbers that inputs have of a row.
    """

    inputs: tuple[str, ...]
    sizes: tuple[int, ...]
    outputs: tuple[str, ...]
    constants: dict[str, Constant]
    nodes: list[Operation]


class DecodeColumns(Decode):
    """`Decode` of a table, with the probabilities of each column that has levels as an output of its own, (B, L)."""

    meanings: ClassVar[Mapping[str, str]] = defaultdict(lambda: "how likely each level is", Decode.meanings)

    def _probabilities(self, px: Distribution) -> dict[str, Tensor]:
        rows, domain = whole(px), self.model.domain
        size = rows.event_shape[-1]
        cells: list[tuple[Distribution, Sequence[int]]] = []
        if isinstance(rows, Independent):
            cells = [(rows.base_dist, range(size))]
        elif isinstance(rows, Columns):  # whose own index is a tensor, that can't be read while it is recorded
            index: list[Sequence[int]] = [own for _, own in domain.groups] if domain.columns else [range(size)]
            cells = [(part.base_dist, own) for part, own in zip(rows.parts, index, strict=True)]
        levels, found = [each.levels for each in domain.each(size)], {}
        for each, columns in cells:
            for at, i in enumerate(columns):
                if isinstance(each, Categorical):
                    found[i] = each.probs[..., at, : levels[i]]
                elif isinstance(each, Bernoulli):
                    found[i] = torch.stack([1 - each.probs[..., at], each.probs[..., at]], -1)
        return {f"probabilities {i}": found[i] for i in sorted(found)}


class ScoreColumns(Score):
    """`Score` of a table, with the nats that each column takes of each row given z, (B, D), if any."""

    meanings: ClassVar[Mapping[str, str]] = {**Score.meanings, "nats": "-log p of each column given z"}

    def _parts(self, trace: Trace) -> dict[str, Tensor]:
        with suppress(UndefinedError):
            return {"nats": cell_nats(trace).mean(0)}
        return {}


class Flat(Recordable):
    """A program whose data are flat, (B, E)."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program, self.name = program, program.name
        self.inputs = tuple(
            replace(each, shape=(prod(each.shape),)) if each.name == "x" else each for each in program.inputs
        )

    def examples(self) -> tuple[Tensor, ...]:
        ports = zip(self.inputs, self.program.examples(), strict=True)
        return tuple(each.flatten(1) if port.name == "x" else each for port, each in ports)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        ports = zip(self.program.inputs, inputs, strict=True)
        given = [each.reshape(-1, *port.shape) if port.name == "x" else each for port, each in ports]
        return tuple(each if each.dim() == 1 else each.flatten(1) for each in self.program(*given))


def graph_of(
    program: Program,
    store: Store,
    data: Sequence[Tensor] | None = None,
    operators: Collection[str] | None = None,
) -> Graph:
    """A program as data, x flat, its constants in the `store`.

    Large constants are kept in half precision, if that moves no output by more than a thousandth of its range over
    `data`, the inputs of some rows; without data all are in single precision. Raises `ValueError`, one line, where an
    operation is none of `operators`.
    """
    flat = Flat(program)
    exported = _decomposed(recorded(flat), operators)
    values = _constants(exported)
    if data is not None and (half := _halved(exported, values, data)) is not None:
        values = half
    nodes = [each for each in exported.graph.nodes if each.op == "call_function" and not _is_left_out(each)]
    made = [Operation(_name(each), _arguments(each), each.name) for each in nodes]
    if operators is not None and (lacking := sorted({each.op for each in made} - set(operators))):
        raise ValueError(f"{program.name} of this model needs what the page can't compute: {several(lacking)}")
    signature = exported.graph_signature
    outputs = tuple(str(each) for each in signature.user_outputs)
    inputs = [each.arg.name for each in signature.input_specs if each.kind is InputKind.USER_INPUT]
    renamed = dict(zip(inputs, (port.name for port in flat.inputs), strict=True))
    return Graph(
        tuple(renamed.values()),
        tuple(prod(port.shape) for port in flat.inputs),
        tuple(renamed.get(each, each) for each in outputs),
        {name: store.add(value) for name, value in values.items()},
        [Operation(each.op, _renamed(each.in_, renamed), each.out) for each in made],
    )


def _decomposed(exported: ExportedProgram, operators: Collection[str] | None) -> ExportedProgram:
    """A program of core ATen alone; what is none of the `operators`, by such as are, where that is known."""
    table = torch.export.default_decompositions()
    for each, plain in PLAIN.items():
        if operators is not None and _named(each) not in operators:
            table[each] = plain
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, to itself
        return exported.run_decompositions(table)


def _constants(exported: ExportedProgram) -> dict[str, Tensor]:
    """What a program reads beside its inputs, by the names of its graph, in types that are kept."""
    found = {}
    for spec in exported.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            continue
        target = str(spec.target)
        value = exported.state_dict[target] if target in exported.state_dict else exported.constants[target]
        found[spec.arg.name] = value.detach().to(KEPT.get(value.dtype, value.dtype))
    return found


@torch.no_grad()
def _halved(exported: ExportedProgram, values: dict[str, Tensor], data: Sequence[Tensor]) -> dict[str, Tensor] | None:
    """The constants with the large ones in half precision; None where that moves an output too far."""
    half = {
        name: each.half() if each.dtype == torch.float32 and each.numel() >= HALF_FROM else each
        for name, each in values.items()
    }
    if all(half[name] is each for name, each in values.items()):
        return None
    run = Interpreter(exported.graph_module).run
    types = [node.meta["val"].dtype for node in exported.graph.nodes if node.op == "placeholder"]
    before, after = (
        run(*(each.to(kind) for each, kind in zip([*own.values(), *data], types, strict=True)))
        for own in (values, half)
    )
    for one, other in zip(before, after, strict=True):
        if not bool(((one - other).abs() <= TOLERANCE * (one.max() - one.min())).all()):  # a NaN is too far
            return None
    return half


def _name(node: Node) -> str:
    if not isinstance(node.target, torch._ops.OpOverload):
        return str(getattr(node.target, "__name__", node.target))
    return _named(node.target)


def _named(operator: torch._ops.OpOverload) -> str:
    return operator._schema.name.rpartition("::")[2]


def _is_left_out(node: Node) -> bool:
    """Whether it computes a size, or nothing: a check of what has been checked."""
    known = node.meta.get("val")
    return isinstance(known, (torch.SymInt, torch.SymBool, int, bool)) or _name(node).startswith("_assert")


def _arguments(node: Node) -> list[Any]:
    """All arguments in the order of the operator's schema, what is not given by its default; of those that have to be
    named those that change what it computes (`alpha` of a sum), then the type, where they are given.
    """
    if not isinstance(node.target, torch._ops.OpOverload):
        return [_literal(each) for each in node.args]
    found, named, last = [], [], []
    for i, each in enumerate(node.target._schema.arguments):
        if each.kwarg_only and each.name in PLACING:
            continue
        if not each.kwarg_only:
            found.append(
                _literal(node.args[i] if i < len(node.args) else node.kwargs.get(each.name, each.default_value))
            )
        elif each.name == "dtype":
            last += [] if node.kwargs.get("dtype") is None else [_literal(node.kwargs["dtype"])]
        else:
            named.append((each.name in node.kwargs, _literal(node.kwargs.get(each.name, each.default_value))))
    return [*found, *(value for _, value in named if any(given for given, _ in named)), *last]


def _literal(value: Any) -> Any:
    """An argument as JSON has it."""
    if isinstance(value, Node):
        known = value.meta.get("val")
        return {"id": value.name} if isinstance(known, Tensor | tuple | list) else _literal(known)
    if isinstance(value, torch.SymInt):
        return _times_the_batch(value)
    if isinstance(value, (list, tuple)):
        return [_literal(each) for each in value]
    if isinstance(value, torch.dtype):
        return str(KEPT.get(value, value))
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _times_the_batch(value: torch.SymInt) -> dict[str, Any]:
    expression = value.node.expr
    (batch,) = expression.free_symbols
    times = expression / batch
    if not times.is_Integer:
        raise ValueError(f"a size of this model is {expression} for a batch of {batch}, no multiple of it")
    return {"batch": True} if times == 1 else {"batch": True, "times": int(times)}


def _renamed(given: Any, names: dict[str, str]) -> Any:
    if isinstance(given, list):
        return [_renamed(each, names) for each in given]
    return {"id": names[given["id"]]} if isinstance(given, dict) and given.get("id") in names else given


def _bytes(value: Tensor) -> bytes:
    array = value.cpu().contiguous().numpy()
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
