"""Operations taken apart: what is the same each time for the same inputs, and the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.fx import Graph, Node

from .replay import changed_by, draws


def once_and_again(graph: Graph) -> tuple[Graph, Graph]:
    """Both take what `graph` takes, the second then the results of the first.

    Where the rest would change results of the first in place, the first is empty.
    """
    nodes = list(graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    again = _again(nodes)
    once = {node for node in nodes if node.op == "call_function"} - again
    known = [node for node in nodes if node in once and again & {*node.users}]
    first = _part(nodes, once, inputs)
    first[0].output([first[1][node] for node in known])
    return first[0], _part(nodes, again, [*inputs, *known])[0]


def _again(nodes: Sequence[Node]) -> set[Node]:
    """Those that random numbers reach, and the result."""
    if any(each.op == "placeholder" for node in nodes for each in changed_by(node)):
        return {node for node in nodes if node.op != "placeholder"}
    again: set[Node] = set()
    for node in nodes:
        if draws(node) or node.op == "output" or any(each in again for each in node.all_input_nodes):
            again.add(node)
    for node in reversed(nodes):  # what random numbers are written to
        if node in again:
            changed = set(changed_by(node)) - again
            if any(each.target is not torch.ops.aten.empty.memory_format for each in changed):
                return {node for node in nodes if node.op != "placeholder"}
            again |= changed
    return again


def _part(nodes: Sequence[Node], own: set[Node], given: Sequence[Node]) -> tuple[Graph, dict[Node, Node]]:
    made = Graph()
    copies = {node: made.placeholder(node.name) for node in given}
    for node, copy in copies.items():
        copy.meta = dict(node.meta)
    for node in nodes:
        if node in own:
            copies[node] = made.node_copy(node, copies.__getitem__)
    return made, copies
