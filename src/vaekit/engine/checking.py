"""Whether a function gives the same each time, and whether a recording gives what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph

from ..seeding import seeded, streams
from .surroundings import Surroundings, streams_elsewhere

Results = Sequence[Tensor | None]

TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""Of the norm of what is compared, by the coarsest type that it is computed in: sums may be added in another order."""
BESIDE = 1e-2
"""The share of the largest of all norms that one is measured against at least: what cancels is not known better."""
FEW = 64
"""Numbers of a tensor up to which each is compared by itself: the terms of a loss are of unlike size."""


class DiffersError(RuntimeError):
    """What was to give the same does not; the message says what, in a line that goes on after 'because'."""


@dataclass(frozen=True)
class Comparison:
    """A function as Python, which is right, and all that it may change beside its results."""

    function: Callable[..., Results]
    surroundings: Surroundings
    tolerance: float = 0.0

    def refuse_unsteady(self, inputs: Sequence[Tensor]) -> None:
        """Raise `DiffersError` for a function that changes Python's objects, or gives other bits when called again."""
        before = self.surroundings.state(), streams_elsewhere()
        first = self._taken(self.function, inputs, before)
        again = self._taken(self.function, inputs)
        on_cpu = all(each is None or each.device.type == "cpu" for each in first)
        if on_cpu and not all(map(_is_same, first, again)):
            raise DiffersError("taken twice, it gives other numbers")

    def refuse(self, run: Callable[..., Results], inputs: Sequence[Tensor]) -> None:
        """Raise `DiffersError` unless `run` gives what the function does, of the same draws, and changes the same."""
        wanted, found = self._taken(self.function, inputs), self._taken(run, inputs)
        if len(wanted) != len(found):
            raise DiffersError("it gives another number of results")
        beside = len(self.surroundings.tensors()) + len(streams())
        own = wanted[: len(wanted) - beside]  # what is in reach may be large, as data are
        floats = [each for each in own if each is not None and each.dtype.is_floating_point]
        largest = max([_norm(each) for each in floats], default=0.0)
        for one, other in zip(wanted, found, strict=True):
            if not self._is_close(one, other, largest):
                raise DiffersError("replayed, it gives other numbers")

    def _taken(self, run: Callable[..., Results], inputs: Sequence[Tensor], before: Any = None) -> list[Tensor | None]:
        """Results, what all tensors in reach are afterwards, and where the random streams are; all is put back."""
        changing = self.surroundings.tensors()
        with self.surroundings.put_back(), seeded(0):
            results = [None if each is None else each.detach().clone() for each in run(*inputs)]
            if before is not None:
                if self.surroundings.state() != before[0]:
                    raise DiffersError("it changes Python attributes")
                if streams_elsewhere() != before[1]:
                    raise DiffersError("it draws random numbers outside torch")
            return [*results, *(each.detach().clone() for each in changing), *streams()]

    def _is_close(self, one: Tensor | None, other: Tensor | None, largest: float) -> bool:
        if one is None or other is None:
            return one is other
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return False
        if not one.dtype.is_floating_point:
            return torch.equal(one, other)
        finite = one.isfinite()
        if not torch.equal(finite, other.isfinite()):
            return False
        tolerance = self.tolerance
        one, other = one[finite].double(), other[finite].double()
        if one.numel() <= FEW:
            # As of the others: of a trained model, the gradient of a bias is a sum of which little is left.
            least = BESIDE * max(float(one.abs().max()) if one.numel() else 0.0, largest)
            return bool(((one - other).abs() <= tolerance * (one.abs() + least) + 1e-12).all())
        return float((one - other).norm()) <= tolerance * max(float(one.norm()), BESIDE * largest) + 1e-12


def tolerance_of(graph: Graph) -> float:
    """What numbers that operations compute may be apart."""
    values = [node.meta.get("val") for node in graph.nodes]
    return max([TOLERANCES.get(value.dtype, 0.0) for value in values if isinstance(value, Tensor)], default=0.0)


def _is_same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one.nan_to_num(), other.nan_to_num()) if one.dtype.is_floating_point else torch.equal(one, other)


def _norm(tensor: Tensor) -> float:
    return float(tensor[tensor.isfinite()].double().norm())
