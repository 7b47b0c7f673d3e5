"""Steps that are left out because their gradients are too large."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from .meter import LEFT_OUT
from .step import Terms

TOO_MANY = 0.2
"""The part of an epoch's steps that may be left out before it is said."""
STUCK = 100
"""As many steps in a row that are left out are the end: the weights stay as they are, and so do their gradients."""
log = logging.getLogger(__name__)


class Skips:
    """Whether a step is left out, by the norm of its gradients: one of at least `limit`, or one that is no number
    (Child 2021, section 4).
    """

    def __init__(self, limit: float) -> None:
        self.limit, self.in_a_row = limit, 0

    def __call__(self, norm: Tensor) -> bool:
        """Raises `ValueError` once `STUCK` steps in a row have been left out."""
        value = float(norm)
        skipped = not value < self.limit
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        if self.in_a_row == STUCK:
            raise ValueError(
                f"training.skip={self.limit:g} has left out {STUCK} steps in a row, the last one's gradients have a "
                f"norm of {value:.4g}; accepted: a limit above the norms of the first steps, or none"
            )
        return skipped

    def say(self, part: float, epoch: int) -> None:
        """Say it if too large a `part` of an epoch's steps was left out."""
        if part > TOO_MANY:
            left = f"{part:.0%} of the steps of epoch {epoch}"
            log.warning("training.skip=%g leaves out %s; a higher one lets them learn", self.limit, left)


def counted(taken: list[Terms], skipped: bool) -> list[Terms]:
    """The terms of a step's parts, with whether it was left out."""
    told = float(skipped)
    return [
        Terms((*each.names, LEFT_OUT), torch.cat([each.values, each.values.new_tensor([told])]), each.numbers)
        for each in taken
    ]
