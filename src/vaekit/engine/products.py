"""Products of matrices by the library that is the faster one here: torch's own choice, mostly MKL, or oneDNN.

Which it is depends on the maker of the processor and on its registers: by twice either way.
"""

from __future__ import annotations

import math
import time
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from .tracing import value_of

aten = torch.ops.aten

LINEAR: Any = getattr(getattr(torch.ops.mkldnn, "_linear_pointwise", None), "default", None)
"""The product of oneDNN, x W^T + b, if torch has it."""
MARGIN = 0.8
"""The share of the time of torch's own choice that oneDNN must need at most to be taken: what is closer is noise, and
two runs of the same seed are to take the same.
"""
ROUNDS = 15
"""Of each product; the least time counts."""
LEAST = 8
"""Rows and columns below which a product is left as it is."""


def faster(graph: Graph) -> str:
    """The library whose products of `graph` take less time on this machine and its threads, "torch" or "onednn"."""
    shapes = [_shape(node) for node in graph.nodes if _can_be_exchanged(node)]
    if not shapes:
        return "torch"
    times = [_seconds(*shape, torch.get_num_threads()) for shape in shapes]
    return "onednn" if sum(other for _, other in times) < MARGIN * sum(own for own, _ in times) else "torch"


def use_onednn(graph: Graph) -> None:
    """Exchange the products of `graph`, changed in place: x W = linear(x, W^T)."""
    for node in list(graph.nodes):
        if not _can_be_exchanged(node):
            continue
        bias, x, weight = _factors(node)
        with graph.inserting_before(node):
            transposed = graph.call_function(aten.t.default, (weight,))
            transposed.meta = {"val": value_of(weight).t()}
            product = graph.call_function(LINEAR, (x, transposed, bias, "none", [], ""))
        product.meta = node.meta
        node.replace_all_uses_with(product)
        graph.erase_node(node)


def _factors(node: Node) -> tuple[Any, Any, Any]:
    return (None, *node.args) if node.target is aten.mm.default else node.args  # type: ignore[return-value]


def _can_be_exchanged(node: Node) -> bool:
    if LINEAR is None or not torch.backends.mkldnn.is_available() or node.kwargs:
        return False
    if node.target not in (aten.mm.default, aten.addmm.default):
        return False
    bias, x, weight = _factors(node)
    if any(value_of(each).dtype != torch.float32 or value_of(each).device.type != "cpu" for each in (x, weight)):
        return False
    if bias is not None and value_of(bias).shape != value_of(weight).shape[1:]:
        return False
    if not all(_is_dense(value_of(each)) for each in (x, weight)):
        return False  # of a part of a larger weight oneDNN's product takes thousands of times as long
    return min(*value_of(x).shape, *value_of(weight).shape) >= LEAST


def _is_dense(matrix: Tensor) -> bool:
    """Whether it lies row by row or column by column, with nothing between."""
    return matrix.is_contiguous() or matrix.t().is_contiguous()


def _shape(node: Node) -> tuple[int, int, int, bool, bool, bool]:
    """Rows, depth, columns, and whether the factors lie row by row, and whether there is a bias."""
    bias, x, weight = _factors(node)
    a, b = value_of(x), value_of(weight)
    return a.shape[0], a.shape[1], b.shape[1], a.is_contiguous(), b.is_contiguous(), bias is not None


@cache
def _seconds(
    rows: int, depth: int, columns: int, by_rows: bool, by_columns: bool, biased: bool, threads: int
) -> tuple[float, float]:
    """What one product takes at least by torch's own choice and by oneDNN."""
    a = torch.ones(rows, depth) if by_rows else torch.ones(depth, rows).t()
    b = torch.ones(depth, columns) if by_columns else torch.ones(columns, depth).t()
    bias: Tensor | None = torch.ones(columns) if biased else None

    def own() -> Tensor:
        return a @ b if bias is None else torch.addmm(bias, a, b)

    def other() -> Tensor:
        return LINEAR(a, b.t(), bias, "none", [], "")

    # One of each in turn: a slow spell of the machine is one of both.
    least = [math.inf, math.inf]
    with torch.no_grad():
        for _ in range(ROUNDS):
            for i, product in enumerate((own, other)):
                started = time.perf_counter()
                product()
                least[i] = min(least[i], time.perf_counter() - started)
    return least[0], least[1]
