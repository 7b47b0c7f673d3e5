"""What torchrun says of the processes that it starts, in the environment of each; without torch."""

from __future__ import annotations

import os

STARTED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun puts into the environment of each process that it starts."""


def number() -> int:
    """How many processes torchrun has started to train together, by the environment; 1 of a program of its own."""
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in STARTED) else 1


def local() -> tuple[int, int]:
    """The number of this process, from 0, among those of this machine, and how many these are.

    >>> local()
    (0, 1)
    """
    if number() == 1:
        return 0, 1
    rank = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    return rank, int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
