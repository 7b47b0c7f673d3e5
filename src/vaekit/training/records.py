"""What a training says of itself: its epochs, and where it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One epoch's averages over a split: every term of the objective, nats per datum."""

    epoch: int
    step: int
    split: str
    terms: dict[str, float]
    seconds: float
    rows: int


@dataclass(frozen=True)
class Progress:
    """Where a training is: `terms` are the averages over the current epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    terms: dict[str, float]
    rows_per_second: float
