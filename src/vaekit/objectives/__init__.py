"""Objectives: frozen data, called on a trace and the progress of the run; they return a loss and its named terms.

Every number is nats per datum, averaged over the batch. A loss is minimised, the bounds among the terms are maximised.
`OBJECTIVES` is the table of their names.
"""

from __future__ import annotations

from collections.abc import Callable

from .base import Loss, Objective, samples_of
from .elbo import ELBO, InvariantClusters, SemiSupervised
from .weighted import IWAE, STL, DReG

__all__ = [
    "ELBO",
    "IWAE",
    "OBJECTIVES",
    "STL",
    "DReG",
    "InvariantClusters",
    "Loss",
    "Objective",
    "SemiSupervised",
    "samples_of",
]

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "elbo": ELBO,
    "iwae": IWAE,
    "dreg": DReG,
    "stl": STL,
    "semi-supervised": SemiSupervised,
    "invariant-clusters": InvariantClusters,
}
