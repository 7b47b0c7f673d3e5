"""What a model says of each row whatever rows are beside it: the same random numbers are drawn for all of them, or for
each those of a stream of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.batch import Batch
from ..distributions.validation import unvalidated
from ..seeding import seeded
from ..system.allocator import keep_freed_memory
from .streams import streamed

Found = tuple[Tensor, ...]
BEYOND_VMAP = (NotImplementedError, RuntimeError, ValueError)
"""What vmap raises where a model does what it can't."""


@torch.no_grad()
def row_by_row(function: Callable[[Batch], Found], batch: Batch, rows: int, seed: int | None) -> Found:
    """What `function` says of each of B rows, each given to it as a batch of one: tensors (1, …), joined to (B, …).

    Random streams start at `seed` for every row: a row has the same numbers alone, among others, and in any order. Some
    `rows` are computed at once by `torch.func.vmap`; one after another where a model does what that can't, look at the
    values of tensors.

    >>> noisy = lambda batch: (batch.x + torch.randn(1, 2),)
    >>> found, = row_by_row(noisy, Batch(torch.zeros(3, 2)), rows=2, seed=0)
    >>> bool((found == found[0]).all())
    True
    """

    keep_freed_memory()
    of_one = _of_one(function, batch)
    many = torch.func.vmap(of_one, randomness="same")
    found: list[Found] = []
    with unvalidated(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # of vmap, for want of a rule
        for start in range(0, len(batch), rows):
            part = [each[start : start + rows] for each in batch.tensors]
            try:
                with seeded(seed):
                    found.append(many(*part))
            except BEYOND_VMAP:
                found.append(_in_turn(of_one, part, [seed] * len(part[0])))
    return tuple(torch.cat(each) for each in zip(*found, strict=True))


@torch.no_grad()
def row_by_row_apart(
    function: Callable[[Batch], Found],
    batch: Batch,
    rows: int,
    seeds: Sequence[int],
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Found:
    """As `row_by_row`, but that the random stream of each of B rows starts at a seed of its own. `on_rows` is told how
    many rows are done.

    A matrix product rounds a row by where in the matrix it lies. So a row lies in a block of so many `rows` where its
    seed says, whatever lies in the other places: what is said of it is the same to the bit, alone and among others.
    Where many rows are given at once few places stay empty.

    >>> noisy = lambda batch: (batch.x + torch.randn(1, 2),)
    >>> every, = row_by_row_apart(noisy, Batch(torch.zeros(3, 2)), rows=2, seeds=[7, 4, 5])
    >>> alone, = row_by_row_apart(noisy, Batch(torch.zeros(1, 2)), rows=2, seeds=[5])
    >>> bool((every[2] == alone[0]).all()), len(every.unique())
    (True, 6)
    """
    keep_freed_memory()
    of_one, device = _of_one(function, batch), batch.x.device
    found, (places, which) = [], _places(np.array(seeds), rows)
    with unvalidated(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        try:
            for i, block in enumerate(which):
                part = batch.take(torch.from_numpy(block).to(device)).tensors
                streams = [torch.Generator(device).manual_seed(seeds[row]) for row in block]
                many = torch.func.vmap(streamed(of_one, streams), randomness="error")
                found.append(many(torch.arange(rows, device=device), *part))
                on_rows(len(batch) * (i + 1) // len(which))
        except BEYOND_VMAP:
            return _in_turn(of_one, batch.tensors, seeds)
    return tuple(torch.cat(each)[torch.from_numpy(places).to(device)] for each in zip(*found, strict=True))


def _places(seeds: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of B rows lies, (B,), in blocks of `rows` one after another, and which row lies at each place of each
    block; the first row at those that stay empty.
    """
    own = seeds % rows
    order = own.argsort(kind="stable")
    turn = np.empty_like(order)
    turn[order] = np.arange(len(own)) - np.searchsorted(own[order], own[order])
    places = turn * rows + own
    which = np.zeros((turn.max() + 1) * rows, np.int64)
    which[places] = np.arange(len(own))
    return places, which.reshape(-1, rows)


def _of_one(function: Callable[[Batch], Found], batch: Batch) -> Callable[..., Found]:
    """`function` of the tensors of a row of `batch`, without the dimension of rows."""

    def of_one(*tensors: Tensor) -> Found:
        return tuple(each.squeeze(0) for each in function(batch.of([each.unsqueeze(0) for each in tensors])))

    return of_one


def _in_turn(of_one: Callable[..., Found], part: list[Tensor], seeds: Sequence[int | None]) -> Found:
    found = []
    for seed, *tensors in zip(seeds, *part, strict=True):
        with seeded(seed):
            found.append(of_one(*tensors))
    return tuple(torch.stack(each) for each in zip(*found, strict=True))
