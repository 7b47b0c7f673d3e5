"""How far a training of `quality.py` has come: what its weights are worth after parts of a run, kept in a file."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

MOMENTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
"""The parts of a run after which it is scored."""


@dataclass(frozen=True)
class Point:
    """A run on its way: `seconds` of training, and the NLL of its weights then, of `rows` images by `samples` each."""

    epoch: int
    epochs: int
    seconds: float
    nll: float
    stderr: float
    rows: int
    samples: int


class Points:
    """The points of a run in a file, a line each."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> list[Point]:
        found = {}
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else ():
            try:
                point = Point(**json.loads(line))
            except (ValueError, TypeError):  # cut off by a kill
                continue
            found[point.epoch] = point
        return sorted(found.values(), key=lambda point: point.epoch)

    def add(self, point: Point) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(point)) + "\n")

    @property
    def whole(self) -> bool:
        found = self.read()
        return bool(found) and found[-1].epoch == found[-1].epochs


def points_of(name: str, given: argparse.Namespace, length: str) -> Points:
    """Those of a side, in the cache."""
    words = "".join(letter if letter.isalnum() else "-" for letter in name)
    return Points(given.cache / length / f"seed={given.seed}" / f"{words}.jsonl")


def looked_at(epochs: int) -> set[int]:
    """The epochs after which a run of so many is scored.

    >>> sorted(looked_at(16))
    [1, 2, 4, 8, 12, 16]
    """
    return {max(1, round(part * epochs)) for part in MOMENTS}
