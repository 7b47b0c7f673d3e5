"""What a model says of each row whatever rows are beside it: the same random numbers are drawn for all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from ..data.batch import Batch
from ..distributions.validation import unvalidated
from ..seeding import seeded

Found = tuple[Tensor, ...]


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

    def of_one(*tensors: Tensor) -> Found:
        return tuple(each.squeeze(0) for each in function(batch.of([each.unsqueeze(0) for each in tensors])))

    many = torch.func.vmap(of_one, randomness="same")
    found: list[Found] = []
    with unvalidated(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # of vmap, for want of a rule
        for start in range(0, len(batch), rows):
            part = [each[start : start + rows] for each in batch.tensors]
            try:
                with seeded(seed):
                    found.append(many(*part))
            except (NotImplementedError, RuntimeError, ValueError):
                found.append(_in_turn(of_one, part, seed))
    return tuple(torch.cat(each) for each in zip(*found, strict=True))


def _in_turn(of_one: Callable[..., Found], part: list[Tensor], seed: int | None) -> Found:
    found = []
    for tensors in zip(*part, strict=True):
        with seeded(seed):
            found.append(of_one(*tensors))
    return tuple(torch.stack(each) for each in zip(*found, strict=True))
