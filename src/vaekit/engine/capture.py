"""A function of tensors recorded as the operations that it makes, and replayed without anything in between.

Models, distributions and objectives are Python, and what they do for a batch of one shape is always the same list of
operations. `capture` writes that list down, gradients included, and replays it: no Python of the parts, no autograd, no
dispatch of distributions. What of the list can be left out or done in less time is `rewriting`'s.
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
from torch.distributions import Distribution
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from ..seeding import seeded
from .fusing import fused
from .rewriting import changed_by, draws, ready, repack, rewritten

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
        with seeded(0), unvalidated():
            recorded = make_fx(function)(*inputs)
    except NotCapturableError:
        raise
    except Exception as error:  # whatever the parts of others do under tracing; run as they are, they say it themselves
        raise NotCapturableError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    if (_elsewhere(), python_state(objects)) != before:
        raise NotCapturableError("it draws random numbers outside torch, or changes Python attributes")
    rewritten(recorded)
    recorded.recompile()
    return recorded


def check_replay(
    function: Callable[..., Sequence[Tensor]],
    recording: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor],
    relative: float = 1e-3,
) -> None:
    """Raise `NotCapturableError` unless `recording` gives what `function` does, with the same draws.

    What is not finite is to be so in both, and is no reason against a recording: it may be so for these inputs alone.
    """
    with seeded(0):
        wanted = function(*inputs)
    with seeded(0):
        found = recording(*inputs)
    for one, other in zip(wanted, found, strict=True):
        finite = one[one.isfinite()].abs()
        absolute = 0.1 * relative * float(finite.max()) if finite.numel() else 0.0
        if not torch.allclose(other, one, relative, absolute, equal_nan=True):
            raise NotCapturableError("made again, they are other numbers")


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


def once_and_again(recorded: GraphModule, loops: bool = False) -> tuple[GraphModule, GraphModule]:  # noqa: C901
    """A recording as two: what is the same each time for the same inputs, and the rest, from the inputs and the results
    of the first, if wanted with `loops` in C.

    Where the rest would change results of the first in place, the first is empty. Matrices of its layers are read now,
    not when they are called. Raises `CompilerError` where loops can't be compiled.
    """
    nodes = list(recorded.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    again: set[Node] = set()
    for node in nodes:
        if draws(node) or node.op == "output" or any(each in again for each in node.all_input_nodes):
            again.add(node)
    for node in reversed(nodes):  # what random numbers are written to
        if node not in again:
            continue
        changed = set(changed_by(node)) - again
        if any(each.target is not torch.ops.aten.empty.memory_format for each in changed):
            again = set(nodes)
            break
        again |= changed
    repack(recorded, again)
    nodes = list(recorded.graph.nodes)
    once = {node for node in nodes if node.op == "call_function"} - again
    known = [node for node in nodes if node in once and again & {*node.users}]

    def part(own: set[Node], given: Sequence[Node], wanted: Sequence[Node] | None) -> GraphModule:
        """The nodes of its own, with the tensors that they take by reference."""
        made = Graph()
        copies = {node: made.placeholder(node.name) for node in given}
        for node, copy in copies.items():
            copy.meta = dict(node.meta)

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

    rest = part(again, [*inputs, *known], None)
    return ready(part(once, inputs, known)), ready(fused(rest) if loops else rest)


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
def unvalidated() -> Iterator[None]:
    """Inside, distributions made by others don't read their arguments back to check them."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
