"""Operations replayed one by one: without Python of the parts, autograd, or the dispatch of distributions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from .tracing import value_of

aten = torch.ops.aten

_NAMES = {aten.detach.default, aten.alias.default}


def replayed(graph: Graph) -> Callable[..., list[Tensor]]:
    """A function that makes the operations of `graph`, which stays as it is.

    Names for the same tensor are left out, results go where an argument lies that nothing needs any more, and
    operations are called without looking up their names.
    """
    own = Graph()
    own.output(own.graph_copy(graph, {}))
    _drop_names(own)
    _reuse_memory(own)
    own.eliminate_dead_code()
    module = GraphModule(torch.nn.Module(), own)
    operations: dict[str, Callable[..., Any]] = {}
    for node in own.nodes:
        if isinstance(node.target, OpOverload):
            shorter = torch.empty if node.target is aten.empty.memory_format else node.target._op
            operations[f"torch.ops.{node.target}"] = shorter

    def short(match: re.Match[str]) -> str:
        return match[0].replace(".", "_") if match[0] in operations else match[0]

    code = own.python_code("self")
    known = code.globals | {name.replace(".", "_"): operation for name, operation in operations.items()}
    exec(re.sub(r"\btorch\.ops(?:\.\w+)+", short, code.src), known)

    def run(*tensors: Tensor) -> list[Tensor]:
        return known["forward"](module, *tensors)

    return run


def changed_by(node: Node) -> list[Node]:
    """The arguments that an operation changes."""
    if not isinstance(node.target, OpOverload) or not node.target._schema.is_mutable:
        return []
    found: list[Node] = []
    for i, argument in enumerate(node.target._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
            map_arg(given, found.append)
    return found


def draws(node: Node) -> bool:
    """Whether an operation draws random numbers."""
    return isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags


def _drop_names(graph: Graph) -> None:
    for node in graph.nodes:
        if node.target in _NAMES:
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)


def _reuse_memory(graph: Graph) -> None:
    """Let elementwise operations write over their first argument where it is not needed any more: less memory in use at
    a time is more of it in the caches.
    """
    owners = owners_of(graph)
    last: dict[Node, Node] = {}
    for node in graph.nodes:
        for source in node.all_input_nodes:
            last[owners[source]] = node
    for node in graph.nodes:
        target = node.target
        if not isinstance(target, OpOverload) or torch.Tag.pointwise not in target.tags or draws(node):
            continue
        first = node.args[0] if node.args else None
        inplace = getattr(getattr(aten, f"{target._opname}_", None), target._overloadname, None)
        if not isinstance(first, Node) or inplace is None or changed_by(node):
            continue
        owner = owners[first]
        if last[owner] is not node or not _is_fresh(owner) or _laid_out(first) != _laid_out(node):
            continue
        if any(owners[each] is owner and each is not first for each in node.all_input_nodes):
            continue
        node.target = inplace
        for each in [each for each, its in owners.items() if its is node]:
            owners[each] = owner
        last[owner] = last.pop(node, node)


def owners_of(graph: Graph) -> dict[Node, Node]:
    """For each operation the one whose memory its result may lie in, by itself or as a view."""
    owners: dict[Node, Node] = {}
    for node in graph.nodes:
        source = node.args[0] if node.args and isinstance(node.args[0], Node) else None
        shares = isinstance(node.target, OpOverload) and _shares_memory(node.target)
        if not isinstance(node.target, OpOverload):
            shares = node.op == "call_function"  # of a list of tensors one
        owners[node] = owners[source] if source is not None and node.op != "output" and shares else node
    return owners


def _is_fresh(node: Node) -> bool:
    """Whether an operation makes a tensor in memory of its own that fills it."""
    target = node.target
    if not isinstance(target, OpOverload) or len(target._schema.returns) != 1 or not _is_tensor(node):
        return False
    value = value_of(node)
    dense = value.is_contiguous() or (value.dim() == 2 and value.t().is_contiguous())
    return dense and not _shares_memory(target) and target is not aten._efficientzerotensor.default


def _shares_memory(target: OpOverload) -> bool:
    """Whether what an operation returns may be its argument's memory."""
    maybe = {aten.reshape.default, aten.contiguous.default, aten._reshape_alias.default, aten._to_copy.default}
    return target in maybe or any(each.alias_info is not None for each in target._schema.returns)


def _is_tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _laid_out(node: Node) -> tuple[object, ...] | None:
    """How a tensor lies in memory: its shape, strides and type."""
    if not _is_tensor(node):
        return None
    value = value_of(node)
    return value.shape, value.stride(), value.dtype
