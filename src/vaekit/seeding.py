"""Random streams: derived from a seed, and put back as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from numbers import Integral

import numpy as np
import torch

from .errors import wrong_kind


def stream(seed: int, of: int | str, number: int = 0) -> int:
    """The seed of one random stream: of an epoch (-1: that of the looks), or of what is called `of`, by its number.

    Unrelated between epochs, names, numbers and seeds: what has the same seed by default is not to draw the same.
    """
    key = [of + 1] if isinstance(of, int) else [*of.encode(), number + 1]
    return int(np.random.SeedSequence([seed, *key]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Inside, torch's random streams start at `seed` (None: go on); after it they are as if nothing was drawn."""
    if seed is None:
        yield
        return
    given: object = seed  # whatever the signature says
    if not isinstance(given, Integral):
        raise wrong_kind("seed", given, "a whole number from 0 on, or None")
    accelerator = torch.accelerator.current_accelerator()  # CUDA, MPS, …: each has its own streams
    kind = "cuda" if accelerator is None else accelerator.type
    with torch.random.fork_rng(devices=range(torch.accelerator.device_count()), device_type=kind):
        # Where there is no accelerator torch notes the stack of each call for one that might come: a millisecond.
        (torch.default_generator if accelerator is None else torch).manual_seed(int(seed))
        yield


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Inside, tensors of which nobody says the type or the device are float32, on the CPU, as PyTorch makes them unless
    a program has said otherwise: what a run is does not depend on that.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with on_the_cpu():
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Inside, tensors of which nobody says the device are on the CPU, whatever the program has said of others."""
    with nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"):
        yield


@contextmanager
def other_streams_kept() -> Iterator[None]:
    """Inside, whatever draws from the random streams of Python and NumPy; after it they are as if nothing had."""
    pythons, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 - others may draw from the old one
    try:
        yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)  # noqa: NPY002


def chosen(count: int, most: int, seed: int | None = None) -> np.ndarray:
    """The numbers of at most so many of `count` data, in order, drawn from a seed: not the first ones, since files are
    often sorted by class.

    >>> chosen(3, 9, seed=0).tolist(), len(chosen(9, 3, seed=0))
    ([0, 1, 2], 3)
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(stream(seed or 0, "images")).choice(count, most, replace=False))


def streams() -> list[torch.Tensor]:
    """Where torch's random streams are: the CPU's, and that of each CUDA device."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]
