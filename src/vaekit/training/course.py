"""How a training went: whether it was lost, by the loss that was watched."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .checkpoint import State
from .meter import steadier

RELATIVE = 0.1
"""The part of a loss, and one nat in any case, by which it may rise as chance has it."""
ENOUGH = 50
"""Rows from which on that is so: of n fewer it is so many times as much, since a loss of few rows swings, and rises as
the others are learned by heart.
"""


def note(state: State, loss: float, first: bool) -> None:
    """Keep in `state` the watched loss of the epoch that is over; that of the first epoch which counts begins anew."""
    state.last_loss = loss if math.isfinite(loss) else None
    if first:
        state.first_loss = state.lowest_loss = None
    if state.last_loss is None:
        return
    if state.first_loss is None:
        state.first_loss = state.last_loss
    if state.lowest_loss is None or state.last_loss < state.lowest_loss:
        state.lowest_loss, state.lowest_epoch = state.last_loss, state.epoch


def is_lost(state: State) -> bool:
    """Whether the last watched loss is no number, is above that of the untrained weights, or has risen from the lowest
    by more than the training had gained since its first epoch.

    >>> is_lost(State(epoch=9, first_loss=80.0, lowest_loss=37.0, last_loss=1.2e6))
    True
    >>> is_lost(State(epoch=9, first_loss=80.0, lowest_loss=37.0, last_loss=41.0))
    False
    >>> is_lost(State(epoch=9, first_loss=20.0, lowest_loss=19.8, last_loss=25.1, watched=1))
    False
    """
    if state.last_loss is None:
        return state.lowest_loss is not None
    if state.first_loss is None or state.lowest_loss is None:
        return False
    chance = max(1.0, ENOUGH / state.watched) if state.watched else 1.0
    above = state.last_loss - state.lowest_loss
    if above > max(state.first_loss - state.lowest_loss, chance * max(RELATIVE * abs(state.lowest_loss), 1.0)):
        return True
    start = state.untrained_loss
    return start is not None and state.last_loss - start > chance * max(RELATIVE * abs(start), 1.0)


def kept_epoch(state: State, early_stopping: bool) -> int:
    """The epoch whose weights a training ends with: the last, or the best on rows held out for validation, where it was
    to stop early or is lost.
    """
    return state.best_epoch if state.best_epoch and (early_stopping or is_lost(state)) else state.epoch


@dataclass(frozen=True)
class Course:
    """How the training of a run went, by the loss of the rows of `split`: the best, the last, that of the untrained
    weights (None where it can't be compared). It ended with the weights of epoch `kept`.
    """

    split: str
    epochs: int
    best_epoch: int
    best: float
    last: float
    lost: bool
    kept: int
    untrained: float | None = None

    def said(self) -> str:
        """A sentence or two; none where the last epoch was the best, and a good one."""
        if not self.lost and self.best_epoch == self.epochs:
            return ""
        name = {"valid": "validation", "train": "training"}.get(self.split, self.split)
        digits = next((n for n in range(2, 8) if _written(self.best, n) != _written(self.last, n)), 2)
        found = f"{name} loss {_written(self.best, digits)} after epoch {self.best_epoch}, the best"
        if self.best_epoch < self.epochs:
            found += f", {_written(self.last, digits)} after epoch {self.epochs}, the last"
        if self.untrained is not None and self.best > self.untrained:
            found += f", where the untrained weights had {_written(self.untrained)}"
        which = f"these weights are those of epoch {self.kept}"
        if not self.lost:
            return f"{found}; {which}"
        why = "" if self.kept < self.epochs or self.split == "valid" else ": no rows were held out for validation"
        return f"this training went wrong: {found}; {which}{why}. Try: {steadier()}"


def _written(loss: float, digits: int = 2) -> str:
    return f"{loss:,.{digits}f}" if math.isfinite(loss) else "no finite number"


def alarm(state: State, loss: float) -> str:
    """What is said of the epoch by whose end a training is lost."""
    before = f"{_written(state.lowest_loss or 0.0)} after epoch {state.lowest_epoch}"
    if state.lowest_epoch == state.epoch and state.untrained_loss is not None:
        before = f"{_written(state.untrained_loss)} before the first step"
    return f"epoch {state.epoch}: the loss is {_written(loss)}, and was {before}: the training goes wrong; {steadier()}"
