"""A function of tensors written down as the operations that it makes, gradients included.

It is run once with tensors that have shapes and no numbers, so that nothing can be read of them that the next call
would not read again: what a model looks up by NumPy, as a number, or as a shape that depends on data, is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from ..seeding import seeded

Function = Callable[..., Sequence[Tensor | None]]

aten = torch.ops.aten

_READING = {
    getattr(Tensor, name)
    for name in ("__array__", "__bool__", "__complex__", "__dlpack__", "__float__", "__index__", "__int__")
} | {getattr(Tensor, name) for name in ("data_ptr", "item", "numpy", "tolist")}


@dataclass(frozen=True)
class Operations:
    """A function as operations: of its inputs, and then of the tensors that it reads besides, by reference."""

    graph: Graph
    inputs: int
    kept: tuple[Tensor, ...]
    given: tuple[int, ...]
    """Which of its results are tensors, and not None."""
    results: int

    def spread(self, tensors: Sequence[Tensor]) -> list[Tensor | None]:
        """Its results, of those that are tensors."""
        found: list[Tensor | None] = [None] * self.results
        for i, tensor in zip(self.given, tensors, strict=True):
            found[i] = tensor
        return found


def traced(function: Function, inputs: Sequence[Tensor], modules: Sequence[nn.Module]) -> Operations:
    """`function` of tensors of the shapes and types of `inputs`, as operations.

    Tensors of the `modules` and others that it reads are taken by reference, numbers by value. Random operations draw
    from torch's streams, in the same order. Raises whatever the function does where it can't be written down.
    """
    tables: list[Any] = [table for module in modules for table in (module._parameters, module._buffers)]
    own = list({id(t): t for table in tables for t in table.values() if t is not None}.values())
    given: list[int] = []
    counted: list[int] = []

    def flat(*tensors: Tensor) -> list[Tensor]:
        with _in_place_of(tables, own, tensors[len(inputs) :]), _NoReading():
            results = function(*tensors[: len(inputs)])
        counted[:] = [len(results)]
        given[:] = [i for i, each in enumerate(results) if each is not None]
        return [results[i] for i in given]  # type: ignore[misc]

    like = [each.detach().requires_grad_(each.requires_grad) for each in (*inputs, *own)]
    with seeded(0):
        found = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*like)
    graph, others = _without_attributes(found)
    _refuse(graph)
    return Operations(graph, len(inputs), (*own, *others), tuple(given), counted[0])


class _NoReading(TorchFunctionMode):
    """Refuses to give numbers of tensors: a recording would have those of one call for all."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READING:
            raise ValueError(f"it reads the values of a tensor ({getattr(func, '__name__', func)})")
        return func(*args, **(kwargs or {}))


@contextmanager
def _in_place_of(
    tables: Sequence[dict[str, Tensor | None]], own: Sequence[Tensor], others: Sequence[Tensor]
) -> Iterator[None]:
    """Inside, modules have `others` in place of their `own` parameters and buffers, wherever they are shared.

    Not `torch.func.functional_call`: it loses the gradients of a module with two parents (a VampPrior's encoder).
    """
    by_id = {id(tensor): other for tensor, other in zip(own, others, strict=True)}
    before = [dict(table) for table in tables]
    for table in tables:
        table.update({name: by_id[id(tensor)] for name, tensor in table.items() if tensor is not None})
    placed = [dict(table) for table in tables]
    lying = [each.untyped_storage()._cdata for each in others]
    try:
        yield
        same = all(
            table.keys() == values.keys() and all(table[name] is values[name] for name in values)
            for table, values in zip(tables, placed, strict=True)
        )
        if not same or [each.untyped_storage()._cdata for each in others] != lying:
            raise ValueError("it puts other tensors in place of its buffers or parameters")
    finally:
        for table, values in zip(tables, before, strict=True):
            table.clear()
            table.update(values)


def _without_attributes(found: GraphModule) -> tuple[Graph, list[Tensor]]:
    """The graph of a recording with its tensors as inputs, behind the others; and these."""
    graph = found.graph
    kept: dict[int, tuple[Node, Tensor]] = {}
    last = [node for node in graph.nodes if node.op == "placeholder"][-1:]
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        value = getattr(found, str(node.target))
        if not isinstance(value, Tensor) or isinstance(value, torch._subclasses.FakeTensor):
            raise ValueError(f"it reads {type(value).__name__} {node.target}, which is no tensor with numbers")
        if id(value) not in kept:
            with graph.inserting_after(last[0]) if last else graph.inserting_before(next(iter(graph.nodes))):
                placed = graph.placeholder(f"kept_{len(kept)}")
            placed.meta, last = dict(node.meta), [placed]
            placed.meta.setdefault("val", value)
            kept[id(value)] = placed, value
        node.replace_all_uses_with(kept[id(value)][0])
        graph.erase_node(node)
    return graph, [value for _, value in kept.values()]


def _refuse(graph: Graph) -> None:
    """`ValueError` for operations whose results depend on data in their shape, or are numbers."""
    for node in graph.nodes:
        if node.target is aten._local_scalar_dense.default:
            raise ValueError("it reads the values of a tensor (item)")
        values = node.meta.get("val")
        for value in values if isinstance(values, (tuple, list)) else [values]:
            sizes = value.shape if isinstance(value, Tensor) else [value]
            if any(isinstance(size, (torch.SymInt, torch.SymFloat, torch.SymBool)) for size in sizes):
                raise ValueError(f"it has shapes that depend on data ({node.target})")


def value_of(node: Node) -> Tensor:
    """Shape, strides and type of the tensor that a node is."""
    return node.meta["val"]
