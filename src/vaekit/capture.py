"""A function of tensors recorded as the operations that it makes, and replayed without anything in between.

Models, distributions and objectives are Python, and what they do for a batch of one shape is always the same list of
operations. `capture` writes that list down, gradients included, and replays it: no Python of the parts, no autograd, no
dispatch of distributions. Products of float32 matrices go to oneDNN, which on processors that are not Intel's takes
half of MKL's time.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.distributions import Distribution
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from .distributions import seeded

aten = torch.ops.aten

ROWS = 16
"""Rows that a product must have for a matrix that does not fill its memory to be copied for it."""

_HIDDEN = frozenset(vars(nn.Module()))


class NotCapturableError(RuntimeError):
    """A function whose operations can't be written down once for all; the message says why."""


def capture(function: Callable[..., Any], inputs: Sequence[Tensor], objects: Sequence[object] = ()) -> GraphModule:
    """`function` of tensors of the shapes and types of `inputs`, as a module that replays its operations.

    Whatever else the function reads is taken as it is now: tensors by reference, numbers by value. `objects` are those
    whose Python attributes it reads. Random operations draw from torch's streams at each replay, in the same order.
    Nothing is drawn or changed here that stays. Raises `NotCapturableError` for a function that reads values of tensors
    back, draws random numbers elsewhere, or changes attributes of its objects, and for modules with hooks.

    >>> doubled = capture(lambda x: [2 * x], [torch.ones(2)])
    >>> doubled(torch.tensor([3.0, 4.0]))
    [tensor([6., 8.])]
    """
    for module in (module for each in objects if isinstance(each, nn.Module) for module in each.modules()):
        if module._forward_hooks or module._forward_pre_hooks:
            raise NotCapturableError("it has forward hooks")
    before = _elsewhere(), python_state(objects)
    try:
        with seeded(0), _unvalidated():
            recorded = make_fx(function)(*inputs)
    except NotCapturableError:
        raise
    except Exception as error:  # whatever the parts of others do under tracing; run as they are, they say it themselves
        raise NotCapturableError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    if (_elsewhere(), python_state(objects)) != before:
        raise NotCapturableError("it draws random numbers outside torch, or changes Python attributes")
    _drop_copies(recorded.graph)
    _fold(recorded)
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        _use_onednn(recorded.graph)
    recorded.graph.eliminate_dead_code()
    for node in recorded.graph.nodes:
        node.meta.clear()  # the tensors of the recording
    recorded.recompile()
    return recorded


class OneLaunch:
    """A recording on a CUDA device as one graph of kernels, launched together: a launch of each takes the CPU longer
    than a small kernel takes the device.

    The first input is copied to where the graph reads it, all others are read where they are. Results are the same
    tensors at each call. What is recorded is run once, to set up the libraries that it calls.
    """

    def __init__(self, recorded: GraphModule, first: Tensor, others: Sequence[Tensor]) -> None:
        self.first, self.graph = first.clone(), torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(first.device)
        stream.wait_stream(torch.cuda.current_stream(first.device))
        with seeded(0):
            with torch.cuda.stream(stream):
                recorded(self.first, *others)
            torch.cuda.current_stream(first.device).wait_stream(stream)
            with torch.cuda.graph(self.graph):
                self.results = recorded(self.first, *others)

    def __call__(self, first: Tensor, *others: Tensor) -> list[Tensor]:
        self.first.copy_(first)
        self.graph.replay()
        return self.results


def once_and_again(recorded: GraphModule) -> tuple[GraphModule, GraphModule]:
    """A recording as two: what is the same each time for the same inputs, and the rest, from the inputs and the results
    of the first.

    Where the rest would change results of the first in place, the first is empty.
    """
    nodes = list(recorded.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    again: set[Node] = set()
    for node in nodes:
        draws = isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags
        if draws or node.op == "output" or any(each in again for each in node.all_input_nodes):
            again.add(node)
    for node in reversed(nodes):  # what random numbers are written to
        if node in again and _changes(node) and node.args[0] not in again:
            if node.args[0].target is not aten.empty.memory_format:
                again = set(nodes)
                break
            again.add(node.args[0])
    once = {node for node in nodes if node.op == "call_function"} - again
    known = [node for node in nodes if node in once and again & {*node.users}]

    def part(own: set[Node], given: Sequence[Node], wanted: Sequence[Node] | None) -> GraphModule:
        """The nodes of its own, with the tensors that they take by reference."""
        made = Graph()
        copies = {node: made.placeholder(node.name) for node in given}

        def copied(node: Node) -> Node:
            if node not in copies:
                copies[node] = made.node_copy(node, copied)
            return copies[node]

        for node in nodes:
            if node in own:
                copied(node)
        if wanted is not None:
            made.output([copies[node] for node in wanted])
        return GraphModule(recorded, made)

    return part(once, inputs, known), part(again, [*inputs, *known], None)


def python_state(objects: Sequence[object]) -> list[object]:
    """What a recording takes as constant: attributes, and which tensors are parameters and buffers, and trained.

    Of modules all their submodules', of other objects their own.
    """
    state: list[object] = []
    for root in objects:
        for each in root.modules() if isinstance(root, nn.Module) else [root]:
            kept = [(n, _identity(value)) for n, value in getattr(each, "__dict__", {}).items() if n not in _HIDDEN]
            state.append((id(each), kept))
            if isinstance(each, nn.Module):
                tensors = [*each._parameters.items(), *each._buffers.items()]
                state.append((each.training, [(n, id(t), t is not None and t.requires_grad) for n, t in tensors]))
    return state


def _identity(value: object) -> object:
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    return repr(value) if isinstance(value, (bool, int, float, str, tuple, list, dict, set)) else id(value)


def _elsewhere() -> object:
    """The state of the random streams that are not torch's."""
    with np.printoptions(threshold=sys.maxsize):
        return random.getstate(), repr(np.random.get_state())  # noqa: NPY002


@contextmanager
def _unvalidated() -> Iterator[None]:
    """Inside, distributions made by others don't read their arguments back to check them."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def _drop_copies(graph: Graph) -> None:
    """Take out what only gives a tensor another name, or a shape on the way to the next."""
    for node in graph.nodes:
        if not node.args or not isinstance(node.args[0], Node):
            continue
        source = node.args[0]
        if node.target is aten.view.default:
            while source.target is aten.view.default:
                source = source.args[0]  # type: ignore[assignment]
            node.update_arg(0, source)
        same = node.target in (aten.view.default, aten.expand.default) and _value(source).shape == _value(node).shape
        if node.target is aten.t.default and source.target is aten.t.default:
            source, same = source.args[0], True  # type: ignore[assignment]
        if same or node.target in (aten.detach.default, aten.alias.default):
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def _fold(recorded: GraphModule) -> None:
    """Compute once what depends on nothing: gradients begin with a one, which is spread and scaled."""
    known: dict[Node, Tensor] = {}
    *nodes, output = recorded.graph.nodes
    for node in nodes:
        target = node.target
        if not isinstance(target, OpOverload) or _changes(node) or target is aten.empty.memory_format:
            continue
        if torch.Tag.nondeterministic_seeded in target.tags or not isinstance(node.meta.get("val"), Tensor):
            continue
        if target is aten.ones_like.default:
            value = _value(node)
            known[node] = torch.ones(value.shape, dtype=value.dtype, device=value.device)
        elif all(each in known for each in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = target(*args, **kwargs)
    changed = {user for node in known for user in node.users if _changes(user)}
    if changed or any(node in known for node in output.all_input_nodes):
        return
    for node, value in known.items():
        if all(user in known for user in node.users):
            continue
        name = f"_folded_{node.name}"
        recorded.register_buffer(name, value, persistent=False)
        with recorded.graph.inserting_before(node):
            constant = recorded.graph.get_attr(name)
        constant.meta = node.meta
        node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)


def _changes(node: Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _use_onednn(graph: Graph) -> None:
    """Replace products of float32 matrices on the CPU: x W = linear(x, W^T)."""
    linear = torch.ops.mkldnn._linear_pointwise.default
    dense: dict[Node, Node] = {}
    for node in list(graph.nodes):
        if node.target is aten.mm.default:
            bias, (x, weight) = None, node.args
        elif node.target is aten.addmm.default and len(node.args) == 3 and not node.kwargs:
            bias, x, weight = node.args
            if _value(bias).dim() != 1 or _value(bias).shape[0] != _value(weight).shape[1]:
                continue
        else:
            continue
        if not all(_is_cpu_float(each) for each in (x, weight)):
            continue
        if not _is_dense(weight) and _value(x).shape[0] < ROWS:
            continue
        with graph.inserting_before(node):
            back = weight.target is aten.t.default
            own = weight.args[0] if back else weight
            if not _is_dense(own):
                if own not in dense:
                    kind: dict[str, Any] = {"memory_format": torch.contiguous_format}
                    dense[own] = graph.call_function(aten.clone.default, (own,), kind)
                own = dense[own]
            transposed = own if back else graph.call_function(aten.t.default, (own,))
            product = graph.call_function(linear, (x, transposed, bias, "none", [], ""))
        product.meta = node.meta
        node.replace_all_uses_with(product)
        graph.erase_node(node)
        _rectify(graph, product)


def _rectify(graph: Graph, product: Node) -> None:
    """Let oneDNN apply the ReLU that a product is for."""
    last = product
    while len(last.users) == 1:
        (last,) = last.users
        if last.target is aten.relu.default:
            product.update_arg(3, "relu")
            last.replace_all_uses_with(last.args[0])  # type: ignore[arg-type]
            graph.erase_node(last)
            return
        if last.target is not aten.view.default:
            return


def _is_dense(node: Node) -> bool:
    """Whether a matrix fills its memory, row by row or column by column: as slices of one they take oneDNN a hundred
    times as long.
    """
    value = _value(node)
    return value.is_contiguous() or value.t().is_contiguous()


def _value(node: Node) -> Tensor:
    return node.meta["val"]


def _is_cpu_float(node: Node) -> bool:
    value = _value(node)
    return value.dtype == torch.float32 and value.device.type == "cpu" and value.numel() > 0
