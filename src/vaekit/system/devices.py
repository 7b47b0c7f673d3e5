"""Where a run computes: the device, and on the CPU how many threads."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import torch

from ..errors import unknown
from ..settings import setting
from .torchrun import local, number

log = logging.getLogger(__name__)


WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""What in the environment says how threads of libgomp, torch's on Linux, wait for each other."""


BUSY = 1.25
"""Processes that want to run, for each processor, above which threads that wait busily wait in vain."""


def resolve_device(name: str) -> torch.device:
    """The device that `name` means here: "auto" is CUDA or MPS where there is one, else the CPU.

    Of several processes that train together each has a CUDA device of its own. Raises `ValueError` where there is no
    such device, or not one for each process.
    """
    if "," in name:
        many = f"torchrun --nproc-per-node {name.count(',') + 1} -m vaekit train …"
        raise ValueError(f"device is {name!r}; a process computes on one: for several devices start {many}")
    if number() > 1:
        return _own_device(name)
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    here = ["auto", "cpu"] + ["cuda"] * cuda + [f"cuda:{i}" for i in range(torch.cuda.device_count())] + ["mps"] * mps
    if name not in here:
        raise ValueError(unknown("device on this machine", name, here))
    return torch.device(name)


def graphics() -> tuple[str, ...]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return tuple(named[:there] if named != [""] else map(str, range(there)))


def _own_device(name: str) -> torch.device:
    """That of this one of several processes."""
    devices, (rank, here) = torch.cuda.device_count() if torch.cuda.is_available() else 0, local()
    if name == "cpu" or (name == "auto" and not devices):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise ValueError(f"device is {name!r} of {number()} processes; accepted: auto, cuda, cpu")
    if here > devices:
        fewer = f"start {devices}, or {setting('training.device', 'cpu')}" if devices else "accepted: cpu"
        raise ValueError(f"{here} processes of this machine have {devices} CUDA devices; {fewer}")
    return torch.device("cuda", rank)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Inside, torch uses that many threads for one operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def repeatable() -> Iterator[None]:
    """Inside, cuDNN takes algorithms that give the same bits each time, and none by a measurement."""
    # Not by `cudnn.flags`, which switches cuDNN off unless it is told otherwise.
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


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
