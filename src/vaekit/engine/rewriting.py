"""A recorded list of operations as another that gives the same in less time.

Of a small model's step many operations are names for tensors that are there, factors of one and constants spread out:
each costs Python and the dispatcher more than the processor.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

aten = torch.ops.aten

ROWS = 16
"""Rows that a product must have for a matrix that does not fill its memory to be copied for it."""
LINEAR: Any = getattr(getattr(torch.ops.mkldnn, "_linear_pointwise", None), "default", None)
"""The product of oneDNN that is used, if torch has it."""
NARROW = 32
"""Columns that a product must have for oneDNN to be the faster one where the first factor is transposed."""

_RESHAPES = {
    aten.view.default,
    aten._unsafe_view.default,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.expand.default,
}
_NAMES = {aten.detach.default, aten.alias.default}
_NEUTRAL = {
    aten.mul.Tensor: 1,
    aten.mul.Scalar: 1,
    aten.div.Tensor: 1,
    aten.add.Tensor: 0,
    aten.sub.Tensor: 0,
    aten.pow.Tensor_Scalar: 1,
}
"""Operations, and the second argument with which they change nothing."""


def rewritten(recorded: GraphModule) -> GraphModule:
    """`recorded`, changed in place: without what only gives a tensor another name, with constants computed once, and
    with products by oneDNN where that is the faster one.
    """
    _drop_names(recorded.graph)
    _fold(recorded)
    if torch.backends.mkldnn.is_available() and LINEAR is not None:
        _use_onednn(recorded.graph)
    _compute_before_reshaping(recorded.graph)
    _drop_names(recorded.graph)
    recorded.graph.eliminate_dead_code()
    for node in recorded.graph.nodes:
        value = node.meta.get("val")
        node.meta.clear()
        if isinstance(value, Tensor):  # what the recording computed is no longer needed, how it lies in memory is
            node.meta["val"] = without_memory(value)
    return recorded


def ready(recorded: GraphModule) -> GraphModule:
    """`recorded`, changed in place, to be called: results go where an argument lies that nothing needs any more, and
    operations are called without looking up their names.
    """
    _reuse_memory(recorded.graph)
    recorded.recompile()
    operations: dict[str, Callable[..., Any]] = {}
    for node in recorded.graph.nodes:
        if isinstance(node.target, OpOverload):
            shorter = torch.empty if node.target is aten.empty.memory_format else node.target._op
            operations[f"torch.ops.{node.target}"] = shorter

    def short(match: re.Match[str]) -> str:
        return match[0].replace(".", "_") if match[0] in operations else match[0]

    code = recorded.graph.python_code("self")  # what `recompile` made, whose names of operations are now local ones
    known = code.globals | {name.replace(".", "_"): operation for name, operation in operations.items()}
    exec(re.sub(r"\btorch\.ops(?:\.\w+)+", short, code.src), known)
    recorded.forward = MethodType(known["forward"], recorded)
    return recorded


def repack(recorded: GraphModule, often: Collection[Node]) -> None:
    """Copy matrices that are the same for many products, those of the nodes in `often`, to where oneDNN reads them
    fastest: input by input. In a layer they lie output by output, which takes a fifth longer.

    From then on the recording does not see when these change.
    """
    packed: dict[object, Node] = {}
    for node in often:
        weight = node.args[1] if node.target is LINEAR else None
        if not isinstance(weight, Node) or weight.op != "get_attr" or not _fills(weight):
            continue
        if weight.target not in packed:
            name = f"_packed_{weight.name}"
            matrix: Tensor = getattr(recorded, str(weight.target))
            recorded.register_buffer(name, matrix.detach().t().contiguous().t(), persistent=False)
            with recorded.graph.inserting_before(weight):
                packed[weight.target] = recorded.graph.get_attr(name)
            packed[weight.target].meta["val"] = without_memory(matrix.t().contiguous().t())
        node.update_arg(1, packed[weight.target])


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
    """Take out what only gives a tensor another name, a shape on the way to the next, or a factor of one."""
    owners = owners_of(graph)
    changed = {owners[each] for node in graph.nodes for each in changed_by(node)}
    (output,) = graph.find_nodes(op="output")
    returned = {owners[each] for each in output.all_input_nodes}
    for node in graph.nodes:
        if not node.args or not isinstance(node.args[0], Node):
            continue
        source, same = node.args[0], node.target in _NAMES
        # A copy may be the other tensor only where neither is changed, nor returned to who might change it.
        apart = not changed & {owners[source], owners[node]} and owners[node] not in returned
        if apart and node.target is aten.sum.dim_IntList and _is_of_one(node):
            node.target, node.args, node.kwargs = aten.view.default, (source, list(value_of(node).shape)), {}
        if node.target in _RESHAPES and _fills(node):
            while source.target in _RESHAPES and _fills(source) and _fills(source.all_input_nodes[0]):
                source = source.all_input_nodes[0]
            if _fills(source) and value_of(source).numel() == value_of(node).numel():
                node.target, node.args, node.kwargs = aten.view.default, (source, list(value_of(node).shape)), {}
                same = value_of(source).shape == value_of(node).shape
        elif node.target is aten.t.default and source.target is aten.t.default:
            source, same = source.all_input_nodes[0], True
        elif node.target in _NEUTRAL and node.args[1:] == (_NEUTRAL[node.target],) and not node.kwargs:
            same = apart and laid_out(source) == laid_out(node)
        if same:
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def _is_of_one(node: Node) -> bool:
    """Whether sums are each of one number."""
    source = node.all_input_nodes[0]
    whole = _fills(source) and value_of(source).dtype == value_of(node).dtype
    return whole and value_of(source).numel() == value_of(node).numel() > 0


def _fold(recorded: GraphModule) -> None:
    """Compute once what depends on nothing: gradients begin with a one, which is spread and scaled."""
    known: dict[Node, Tensor] = {}
    *nodes, output = recorded.graph.nodes
    for node in nodes:
        target = node.target
        if not isinstance(target, OpOverload) or changed_by(node) or target is aten.empty.memory_format:
            continue
        if draws(node) or not isinstance(node.meta.get("val"), Tensor):
            continue
        if target is aten.ones_like.default:
            value = value_of(node)
            known[node] = torch.ones(value.shape, dtype=value.dtype, device=value.device)
        elif all(each in known for each in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = target(*args, **kwargs)
    changed = any(each in known for node in nodes for each in changed_by(node))
    if changed or any(node in known for node in output.all_input_nodes):
        return
    for node, value in known.items():
        for user in [user for user in node.users if user not in known and _is_uniform(value)]:
            _scale(user, node, value)
        if all(user in known for user in node.users):
            continue
        name = f"_folded_{node.name}"
        recorded.register_buffer(name, value, persistent=False)
        with recorded.graph.inserting_before(node):
            constant = recorded.graph.get_attr(name)
        constant.meta = dict(node.meta)
        node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)


def _is_uniform(value: Tensor) -> bool:
    return value.numel() > 0 and value.dtype.is_floating_point and bool((value == value.flatten()[0]).all())


def _scale(node: Node, constant: Node, value: Tensor) -> None:
    """Multiply by the number that a constant is full of, which no spreading of it slows down."""
    others = [each for each in node.args if each is not constant]
    if node.target is not aten.mul.Tensor or len(others) != 1 or not isinstance(others[0], Node) or node.kwargs:
        return
    if value_of(others[0]).shape == value_of(node).shape and value_of(others[0]).dtype == value_of(node).dtype:
        node.args = (others[0], float(value.flatten()[0]))


def _compute_before_reshaping(graph: Graph) -> None:
    """Let elementwise operations come before the reshaping of all that they take: reshapings then meet, and cancel."""
    owners = owners_of(graph)
    changed = {owners[each] for node in graph.nodes for each in changed_by(node)}
    for node in graph.nodes:
        given = node.all_input_nodes
        if not isinstance(node.target, OpOverload) or torch.Tag.pointwise not in node.target.tags or not given:
            continue
        if any(each.target is not aten.view.default for each in given) or changed & {owners[each] for each in given}:
            continue
        sources = [each.all_input_nodes[0] for each in given]
        shape = value_of(sources[0]).shape
        alike = all(_fills(each) and value_of(each).shape == shape for each in sources)
        if not alike or any(value_of(each).shape != value_of(node).shape for each in given) or draws(node):
            continue
        if changed_by(node) or owners[node] in changed or not _fills(node):
            continue
        with graph.inserting_after(node):
            back = graph.call_function(aten.view.default, (node, list(value_of(node).shape)))
        back.meta = dict(node.meta)
        node.replace_all_uses_with(back, delete_user_cb=lambda user, back=back: user is not back)
        node.args = map_arg(node.args, lambda each: each.all_input_nodes[0])
        node.meta["val"] = value_of(node).view(shape)
        owners[back] = owners[node]


def _use_onednn(graph: Graph) -> None:  # noqa: C901
    """Replace products of matrices on the CPU: x W = linear(x, W^T). In bfloat16 those with a bias alone, which torch
    gives to oneDNN by itself, but adds the bias apart.
    """
    bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    dense: dict[Node, Node] = {}
    for node in list(graph.nodes):
        if node.target is aten.mm.default:
            bias, (x, weight) = None, node.args
        elif node.target is aten.addmm.default and len(node.args) == 3 and not node.kwargs:
            bias, x, weight = node.args
            if value_of(bias).shape != value_of(weight).shape[1:] or not _fills(bias):
                continue
        else:
            continue
        types = {torch.float32, torch.bfloat16} if bias is not None and bfloat16 else {torch.float32}
        if not all(_is_on_cpu(each, types) for each in (x, weight)):
            continue
        if not _is_dense(weight) and value_of(x).shape[0] < ROWS:
            continue
        if not value_of(x).is_contiguous() and value_of(weight).shape[1] < NARROW:
            continue
        with graph.inserting_before(node):
            back = weight.target is aten.t.default
            own = weight.args[0] if back else weight
            if not _is_dense(own):
                if own not in dense:
                    kind: dict[str, Any] = {"memory_format": torch.contiguous_format}
                    dense[own] = graph.call_function(aten.clone.default, (own,), kind)
                    dense[own].meta = {"val": value_of(own).contiguous()}
                own = dense[own]
            transposed = own
            if not back:
                transposed = graph.call_function(aten.t.default, (own,))
                transposed.meta = {"val": value_of(own).t()}
            product = graph.call_function(LINEAR, (x, transposed, bias, "none", [], ""))
        product.meta = node.meta
        node.replace_all_uses_with(product)
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
        if last[owner] is not node or not is_fresh(owner) or laid_out(first) != laid_out(node):
            continue
        if any(owners[each] is owner and each is not first for each in node.all_input_nodes):
            continue
        node.target = inplace
        for each in [each for each, its in owners.items() if its is node]:
            owners[each] = owner
        last[owner] = last.pop(node, node)


def is_fresh(node: Node) -> bool:
    """Whether an operation makes a tensor in memory of its own that fills it."""
    target = node.target
    if not isinstance(target, OpOverload) or len(target._schema.returns) != 1 or "val" not in node.meta:
        return False
    return not shares_memory(target) and _is_dense(node)


def shares_memory(target: OpOverload) -> bool:
    """Whether what an operation returns may be its argument's memory."""
    maybe = {aten.reshape.default, aten.contiguous.default, aten._reshape_alias.default}
    return target in maybe or any(each.alias_info is not None for each in target._schema.returns)


def owners_of(graph: Graph) -> dict[Node, Node]:
    """For each operation the one whose memory its result may lie in, by itself or as a view.

    What is no operation of torch's, a function of loops, has its own, which it may give again at its next call.
    """
    owners: dict[Node, Node] = {}
    for node in graph.nodes:
        source = node.args[0] if node.args and isinstance(node.args[0], Node) else None
        is_torchs = isinstance(node.target, OpOverload)
        shares = shares_memory(node.target) if is_torchs else node.target is operator.getitem
        owners[node] = owners[source] if source is not None and node.op != "output" and shares else node
    return owners


def without_memory(value: Tensor) -> Tensor:
    """Shape, strides and type of a tensor without its memory."""
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def laid_out(node: Node) -> tuple[object, ...]:
    """How a tensor lies in memory: its shape, strides and type."""
    value = value_of(node)
    return value.shape, value.stride(), value.dtype


def _fills(node: Node) -> bool:
    """Whether a tensor fills its memory, row by row."""
    return value_of(node).is_contiguous()


def _is_dense(node: Node) -> bool:
    """Whether a tensor fills its memory, row by row, or as a matrix column by column: as slices of one they take oneDNN
    a hundred times as long.
    """
    return _fills(node) or (value_of(node).dim() == 2 and value_of(node).t().is_contiguous())


def value_of(node: Node) -> Tensor:
    """Shape, strides and type of the tensor that a node is."""
    return node.meta["val"]


def _is_on_cpu(node: Node, types: Collection[torch.dtype]) -> bool:
    value = value_of(node)
    return value.dtype in types and value.device.type == "cpu" and value.numel() > 0
