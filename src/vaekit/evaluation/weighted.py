"""Averages over p(z given x), by self-normalised importance sampling from q(z given x), some samples at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.batch import Batch
from ..errors import UndefinedError
from ..models import VAE
from ..models.scoring import chunks, plan, sum_type
from ..models.trace import Latent, Trace
from ..seeding import seeded

ROWS = 1000
"""Rows that go at once at most, where the same is drawn for all."""
CHUNK = 128
"""Samples of a row that go at once at most, likewise."""
FEW = 2048
"""Samples of all rows that go at once without asking how much memory they take."""


@dataclass(frozen=True)
class Weighted:
    """What K samples of z for each of B rows say, each weighted by w = p(x, z) / q(z given x)."""

    log_prob: Tensor
    """log of the mean weight, (B,): the importance-weighted bound of log p(x)."""
    averages: list[Tensor]
    """Weighted averages (B, …) of what was asked for."""
    effective_samples: Tensor
    """(B,): 1 over the sum of the squares of the normalised weights."""


class Picked:
    """`draws` of z for each of B rows by the weights of their samples: `z` (draws, B, D) of each latent by name, chunk
    by chunk.
    """

    def __init__(self, draws: int) -> None:
        self.draws = draws
        self.z: dict[str, Tensor] = {}

    def add(self, latents: Sequence[Latent], share: Tensor, part: Tensor | None) -> None:
        """Draw from a chunk, with the `share` (S, B) of each sample in it; `part` (B,) of all weights so far are its
        own, all for None.
        """
        which = torch.multinomial(share.T, self.draws, replacement=True).T
        taken = None if part is None else (torch.rand(which.shape, device=part.device) < part).unsqueeze(-1)
        for latent in latents:
            z = latent.z.expand(len(share), -1, -1)
            new = z.gather(0, which.unsqueeze(-1).expand(-1, -1, z.shape[-1]))
            self.z[latent.name] = new if taken is None else torch.where(taken, new, self.z[latent.name])


def alike_plan(model: VAE, batch: Batch, samples: int, memory: int) -> tuple[int, int]:
    """Rows that go at once, and how many of `samples` of each do, within `memory` bytes, whatever their number: what is
    drawn for a row depends on the latter.
    """
    chunk = min(samples, CHUNK)
    if len(batch) * chunk <= FEW:
        return len(batch), chunk
    with seeded(0):
        return plan(model.trace, batch, ROWS, chunk, memory)[0], chunk


def weighted(
    model: VAE,
    batch: Batch,
    samples: int,
    chunk: int,
    statistics: Callable[[Trace], list[Tensor]],
    picked: Picked | None = None,
) -> Weighted:
    """What `samples` of z for each row of a batch say, `chunk` of them at a time: weighted averages of `statistics`
    (S, B, …) of a trace, and draws of z, which are added to `picked`.

    Raises `UndefinedError` for a model that sums classes out, whose traces have no weights of samples alone.
    """
    log_total = squares = torch.empty(0)
    averages: list[Tensor] = []
    for i, many in enumerate(chunks(samples, chunk)):
        trace = model.trace(batch, many)
        if trace.cases is not None:
            raise UndefinedError("classes that are summed out have no samples to weigh; give the labels of the data")
        # Shares whose sum is 1 to the last digit: an average of numbers of 1e12 that vary by one is no better than it.
        log_weight = trace.log_weight.to(sum_type(trace.x.device))
        log_sum = log_weight.logsumexp(0)
        share = (log_weight - log_sum).exp()  # of each sample in its chunk
        new = [(_like(share, values) * values).sum(0) for values in statistics(trace)]
        part = None
        if i:
            both = torch.logaddexp(log_total, log_sum)
            part = (log_sum - both).exp()
            new = [old + (each - old) * _like(part, each) for old, each in zip(averages, new, strict=True)]
            squares = squares * (1 - part).square() + share.square().sum(0) * part.square()
            log_total = both
        else:
            log_total, squares = log_sum, share.square().sum(0)
        averages = new
        if picked is not None:
            picked.add(trace.latents, share, part)
    return Weighted(log_total - math.log(samples), averages, 1 / squares)


def _like(share: Tensor, values: Tensor) -> Tensor:
    """`share` with as many dimensions as `values`, behind its own."""
    return share.view(*share.shape, *[1] * (values.dim() - share.dim()))
