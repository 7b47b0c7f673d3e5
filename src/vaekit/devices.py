"""Where a run computes: the device, and on the CPU how many threads."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
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

log = logging.getLogger(__name__)

SMALL_STEP = 200_000_000
"""Floating-point operations of a training step below which a second thread does not pay."""

WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""What in the environment says how threads of libgomp, torch's on Linux, wait for each other."""
BUSY = 1.25
"""Processes that want to run, for each processor, above which threads that wait busily wait in vain."""

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


def say_if_threads_wait_busily(number: int) -> None:
    """Warn, once in a process, where `number` threads spend much of their time waiting for each other.

    They wait by looking again 300,000 times, which is quickest on a quiet machine. On a busy one the thread that they
    wait for may not be running: the command line has them look a thousand times, but a library can't, since torch
    reads it when it is imported.
    """
    if number == 1 or sys.platform != "linux" or any(name in os.environ for name in WAITING):
        return
    with suppress(OSError):  # where the system does not say
        if os.getloadavg()[0] > BUSY * (os.cpu_count() or 1):
            _say_once()


@cache
def _say_once() -> None:
    log.warning(
        "this machine is busy, and torch's threads wait for each other at every operation; set GOMP_SPINCOUNT=1000 "
        "in the environment before torch is imported (bits stay the same), or call torch.set_num_threads(1)"
    )


@cache
def keep_freed_memory() -> None:
    """Let the process keep up to `KEPT_MEMORY` that it has freed, in blocks of up to `LARGEST_BLOCK`.

    Left to itself, the C library of Linux gives a tensor's megabytes back to the system when it is freed, and the next
    one of that size is a page fault every 4 KiB: half of the time of scoring a small model. Elsewhere nothing is done.
    """
    with suppress(AttributeError, OSError, TypeError):
        for option, value in ((-3, LARGEST_BLOCK), (-1, KEPT_MEMORY)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            ctypes.CDLL(None).mallopt(option, value)
