"""Where a run computes: the device, and on the CPU how many threads."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from .datasets.tensors import PartlyLabelled, TensorSplit
from .distributions import seeded
from .errors import unknown
from .networks import evaluating

if TYPE_CHECKING:
    from .models import VAE

SMALL_STEP = 200_000_000
"""Floating-point operations of a training step below which a second thread does not pay."""

KEPT_MEMORY = 128 * 2**20
LARGEST_BLOCK = 32 * 2**20
"""What `mallopt` of glibc takes at most."""


def resolve_device(name: str) -> torch.device:
    """The device that `name` means here: "auto" is CUDA or MPS where there is one, else the CPU."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    here = ["auto", "cpu"] + ["cuda"] * cuda + [f"cuda:{i}" for i in range(torch.cuda.device_count())] + ["mps"] * mps
    if name not in here:
        raise ValueError(unknown("device on this machine", name, here))
    return torch.device(name)


def worthwhile_threads(model: VAE, data: TensorSplit, samples: int, batch_size: int) -> int:
    """One where a step on the CPU is too small to share: on a busy machine two threads then wait for each other at
    every product.

    digits (70 Mflop a step) beside other work: 2,000 rows/s with two threads, 25,000 with one; alike on a quiet
    machine. By the count of operations, not by a clock, since the order of sums, and so the bits of a resumed run,
    depend on the threads.
    """
    now = torch.get_num_threads()
    if data.x.device.type != "cpu" or now == 1:
        return now
    with seeded(0), torch.no_grad(), evaluating(model), FlopCounterMode(display=False) as counter:
        x, y = data.batch(slice(0, 1))
        # Most rows of a step show no label, and take a pass for each class.
        model.trace(x, None if isinstance(data, PartlyLabelled) else y, samples)
    return 1 if 3 * counter.get_total_flops() * batch_size < SMALL_STEP else now  # forward once, backward twice


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Inside, torch uses that many threads for one operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def keep_freed_memory() -> None:
    """Let the process keep up to `KEPT_MEMORY` that it has freed, in blocks of up to `LARGEST_BLOCK`.

    Left to itself, the C library of Linux gives a tensor's megabytes back to the system when it is freed, and the next
    one of that size is a page fault every 4 KiB: half of the time of scoring a small model. Elsewhere nothing is done.
    """
    with suppress(AttributeError, OSError, TypeError):
        for option, value in ((-3, LARGEST_BLOCK), (-1, KEPT_MEMORY)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            ctypes.CDLL(None).mallopt(option, value)
