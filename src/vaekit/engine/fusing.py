"""Elementwise operations and sums of a recording as loops in C, many of them in one pass, and products among them.

Between two products of matrices a training step makes some dozens of small passes over tensors, each an operation of
its own: what they take is mostly the way to memory and back, and the dispatcher. `fused` writes them as a few functions
in C, each of a few loops, which the machine's compiler makes in a quarter of a second. torch.compile does the same for
many more operations and devices, and takes fourteen seconds.
"""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from .compiling import CompilerError, begin_compiling, compiled
from .loops import ELEMENTWISE, LOADED, ROUNDED, STORED, SUMS, Function, Loop, Place, expression, is_chain, steps_of
from .products import TYPE, Matrix, Product, can_multiply, product_source
from .rewriting import LINEAR, changed_by, draws, is_fresh, laid_out, owners_of, shares_memory, value_of, without_memory

aten = torch.ops.aten

LARGEST_SUM = 2**18
"""Results of a sum that each thread keeps for itself, and terms that are added one by one, at most."""
NEAR = 8
"""Other readers of a tensor whose loops one may join: with all of them, time would grow with their square."""

_JOINS = {aten.cat.default, aten.stack.default}


def fused(recorded: GraphModule) -> GraphModule:
    """`recorded`, which stays as it is, as one whose elementwise operations and sums are loops in C.

    So are its products of matrices, where they pay. All of it on the CPU, and called by one thread at a time. Raises
    `CompilerError` where loops can't be compiled.
    """
    if can_multiply():
        try:
            return _fused(recorded, multiply=True)
        except CompilerError:  # of the products perhaps, which take more of a compiler
            pass
    return _fused(recorded, multiply=False)


def _fused(recorded: GraphModule, multiply: bool) -> GraphModule:
    graph = Graph()
    graph.output(graph.graph_copy(recorded.graph, {}))
    _out_of_place(graph)
    for node in list(graph.nodes) if multiply else []:
        if node.target is LINEAR and (product := _product(node)) and product.pays:
            _rectify(graph, node)
    units = _Units(graph, multiply)
    units.join_loops()
    turns = list(units.in_turn())
    functions = {turn[0]: _function(turn, units) for turn in turns if units.is_loop(turn[0])}
    names = {unit: f"loops_{i}" for i, unit in enumerate(functions)}
    if any(function.multiplies for function in functions.values()):
        begin_compiling(product_source())
    source = "\n".join([TYPE, *(function.source(names[unit]) for unit, function in functions.items())])
    counts = {names[unit]: len(function.pointers) + function.multiplies for unit, function in functions.items()}
    run = compiled(source, {name: [ctypes.c_void_p] * count for name, count in counts.items()})

    owners = owners_of(graph)
    (output,) = graph.find_nodes(op="output")
    returned = {owners[each] for each in output.all_input_nodes}
    made, copies = Graph(), {}
    for node in graph.nodes:
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
        shown = {node: _shown(node, units) for node in function.written if units.after[node] - inside}
        wanted = {node: value_of(same).shape for node, (same, *_) in shown.items()}
        name = names[turn[0]]
        made_of = tuple(copies[node] for node in function.read)
        call = made.call_function(function.called(name, run[name], wanted, returned), made_of)
        for i, same in enumerate(shown.values()):
            tensor = made.call_function(operator.getitem, (call, i))
            tensor.meta = dict(same[0].meta)
            copies.update(dict.fromkeys(same, tensor))
    made.output(map_arg(output.args[0], copies.__getitem__))
    made.eliminate_dead_code()
    return GraphModule(recorded, made)


def _described(node: Node) -> Tensor | None:
    """Shape, strides and type of what a node is, if it is a tensor."""
    value = node.meta.get("val")
    return value if isinstance(value, Tensor) else None


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
    if (
        not isinstance(node.target, OpOverload) or node.target is aten.as_strided.default
    ):  # by the storage, not the base
        return False
    return shares_memory(node.target) and not changed_by(node)


def _seen(node: Node) -> Any:
    """A tensor without memory that views that of a node's base as the node does."""
    if not _is_view(node):
        return without_memory(value_of(node))
    source, *others = node.args
    return cast(Callable[..., Any], node.target)(_seen(cast(Node, source)), *others, **node.kwargs)


def _place(node: Node, shape: Sequence[int]) -> Place | None:
    """Where a node's numbers are when it is spread to `shape`."""
    base = _described(_base(node))
    if _described(node) is None or base is None or base.dtype not in LOADED:
        return None
    value = _seen(node)
    if value.dtype != base.dtype:
        return None
    missing = len(shape) - value.dim()
    strides = [0] * missing + [
        0 if mine != theirs else stride
        for mine, theirs, stride in zip(value.shape, shape[missing:], value.stride(), strict=True)
    ]
    return Place(_base(node), value.storage_offset(), steps_of(shape, strides))


@dataclass(frozen=True)
class _Work:
    """What is known of an operation that can be in a loop: `numel` numbers, split at `bounds`, read from `places`."""

    numel: int
    bounds: frozenset[int]
    places: dict[Node, Place]
    suffix: str
    kept: tuple[tuple[int, bool], ...] = ()
    """For a sum: its dimensions, the last first, by size, and whether they are kept."""


def _work(node: Node) -> _Work | None:  # noqa: C901
    """What of an operation a loop must know; None for one that is none of a loop."""
    value = _described(node)
    kept: tuple[tuple[int, bool], ...] = ()
    if value is None or value.dtype not in STORED or not value.is_contiguous() or not value.numel():
        return None
    if node.target in ELEMENTWISE:
        if expression(node, dict.fromkeys(node.all_input_nodes, "x"), "f") is None:
            return None
        shape = value.shape
    elif node.target in SUMS:
        source = _described(cast(Node, node.args[0]))
        if source is None or source.dtype not in STORED or node.kwargs or not source.numel():
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
    if not is_chain(bounds, total):
        return None
    types = [value.dtype, *(value_of(each).dtype for each in node.all_input_nodes)]
    exact = {torch.float64, torch.int64} & {*types}  # not all whole numbers are floats
    return _Work(total, frozenset(bounds), places, "d" if exact else "f", kept)


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


class _Units:
    """The operations of a graph, those of one loop together, and what must come before what."""

    def __init__(self, graph: Graph, multiply: bool) -> None:
        called = [node for node in graph.nodes if node.op in ("call_function", "output")]
        self.work = {node: work for node in called if (work := _work(node)) is not None}
        self.joins = {node: copies for node in called if (copies := _copies(node)) is not None}
        multiplied = called if multiply else []
        self.products = {node: product for node in multiplied if (product := _product(node)) and product.pays}
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
        return unit in self.work or unit in self.joins or unit in self.products

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
        if not is_chain({bound for work in works for bound in work.bounds}, works[0].numel):
            return False
        for work in works:
            for place in work.places.values():
                if place.base in members and (place.base.target in SUMS or not place.is_row(work.numel)):
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
            near += [reader for base in bases for reader in readers.get(base, [])[-NEAR:]]
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


def _copies(node: Node) -> list[tuple[Node, Place, Place]] | None:
    """Of tensors put side by side: each, where its numbers are, and where they go."""
    value = _described(node)
    if node.target not in _JOINS or node.kwargs or value is None:
        return None
    if value.dtype not in STORED or not value.is_contiguous():
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
        target = Place(node, start * step, steps_of(own.shape, strides))
        if source is None or not is_chain({*source.bounds, *target.bounds}, own.numel()):
            return None
        found.append((each, source, target))
        start += own.shape[dim] if node.target is aten.cat.default else 1
    return found


def _product(node: Node) -> Product | None:
    """The product of float32 matrices that an operation makes."""
    bias: Any = None
    then: Any = "none"
    if node.target is LINEAR:
        x, weight, bias, then, *others = node.args
        if then not in ("none", "relu") or others != [[], ""]:
            return None
    elif node.target is aten.mm.default:
        x, weight = node.args
    elif node.target is aten.addmm.default and len(node.args) == 3 and not node.kwargs:
        bias, x, weight = node.args
    else:
        return None
    a, b, value = _matrix(x, 2), _matrix(weight, 2), _described(node)
    if a is None or b is None or value is None or not value.is_contiguous() or not value.numel():
        return None
    rows, columns = value.shape
    depth = value_of(cast(Node, x)).shape[1]
    added = _matrix(bias, 1) if bias is not None else None
    if not depth or (bias is not None and not (added and added.strides == (1,) and value_of(bias).numel() == columns)):
        return None
    if node.target is LINEAR:  # which takes the weight of a layer as it is: output by output
        b = replace(b, strides=b.strides[::-1])
    return Product((rows, columns, depth), a, b, added, then == "relu")


def _rectify(graph: Graph, product: Node) -> None:
    """Let a product in C apply the ReLU that it is for. oneDNN's would make a zero of what is no number."""
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


def _matrix(node: Any, dimensions: int) -> Matrix | None:
    """Where the float32 numbers are of a matrix, or of a bias, of one dimension."""
    value, base = _described(node), _described(_base(node))
    if value is None or base is None or {value.dtype, base.dtype} != {torch.float32} or value.dim() != dimensions:
        return None
    seen = _seen(node)
    return Matrix(_base(node), seen.storage_offset(), seen.stride())


def _add(loop: Loop, nodes: Sequence[Node], units: _Units, needed: Collection[Node]) -> None:
    names: dict[Node, str] = {}
    for node in nodes:
        work = units.work[node]
        given = {}
        for each, place in work.places.items():
            given[each] = names.get(place.base) or loop.load(place, value_of(each).dtype)
        if node.target in SUMS:
            (name,) = given.values()
            loop.sum(node, work.kept, name)
            continue
        value = value_of(node)
        text = cast(str, expression(node, given, loop.suffix))
        names[node] = loop.named(ROUNDED.get(value.dtype, "{}").format(text))
        if node in needed:
            loop.store(Place(node, 0, steps_of(value.shape, value.stride())), value.dtype, names[node])


def _function(loops: Sequence[Node], units: _Units) -> Function:
    function = Function()
    for unit in loops:
        for each, source, target in units.joins.get(unit, []):
            _copy(function, value_of(each), source, target)
        if unit in units.products:
            function.multiply(unit, units.products[unit])
        if unit not in units.work:
            continue
        nodes = units.members[unit]
        works = [units.work[node] for node in nodes]
        loop = Loop(function, works[0].numel, {bound for work in works for bound in work.bounds}, works[0].suffix)
        _add(loop, nodes, units, {node for node in nodes if units.after[node] - {*nodes}})
        function.text += loop.text()
    return function


def _copy(function: Function, value: Tensor, source: Place, target: Place) -> None:
    suffix = "d" if value.dtype == torch.float64 else "f"
    loop = Loop(function, value.numel(), {*source.bounds, *target.bounds}, suffix)
    loop.store(target, value.dtype, loop.load(source, value.dtype))
    function.text += loop.text()


def _out_of_place(graph: Graph) -> None:
    """Let operations that write over what nobody else needs make a tensor of their own, so that loops can have them."""
    for node in graph.nodes:
        changed = changed_by(node)
        if len(changed) != 1 or changed[0] is not node.args[0] or not node.target._opname.endswith("_"):
            continue
        packet = getattr(aten, node.target._opname[:-1], None)
        target = getattr(packet, node.target._overloadname, None)
        owners, (first,) = owners_of(graph), changed
        if target not in ELEMENTWISE or not is_fresh(owners[first]) or laid_out(first) != laid_out(node):
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
    if others and whole and len({value_of(user).shape for user in others}) == 1:
        return [*others, node]
    return [node]
