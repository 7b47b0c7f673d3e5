"""What the peers share: their arguments, and the seconds of their epochs.

A peer is run with the folder above this one on PYTHONPATH, by a Python that has its package but no vaekit. It gets
MNIST as an .npz of bytes: x_train (N, 784), y_train (N,), x_test, y_test.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BATCH_SIZE, LEARNING_RATE = 128, 1e-3


@dataclass(frozen=True)
class Task:
    """What to train on, and how long."""

    data: dict[str, np.ndarray]
    epochs: int
    seed: int
    folder: Path

    def floats(self, split: str) -> np.ndarray:
        """The pixels of a split in [0, 1]."""
        return self.data[f"x_{split}"].astype(np.float32) / 255


@dataclass
class Epochs:
    """A clock that is started and stopped once an epoch."""

    seconds: list[float] = field(default_factory=list)
    started: float = 0.0

    def start(self) -> None:
        self.started = time.perf_counter()

    def stop(self) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def task() -> Task:
    """That of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with np.load(given.data) as file:
        return Task(dict(file), given.epochs, given.seed, given.data.parent)
