"""What a model says of cells that are not observed: p(x_missing given x_observed), by importance-weighted posteriors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent

from ..data.batch import Batch
from ..data.domains import WHOLE
from ..distributions.products import Columns
from ..models import VAE
from ..models.scoring import MEMORY, chunks, plan
from ..modules import evaluating
from ..seeding import seeded

LEAST = 50
"""Draws of which a spread is made where no more are asked for."""


@dataclass(frozen=True)
class Imputed:
    """What is known of each cell of B rows, given those that are observed, which are as they were."""

    x: Tensor
    """(B, *event): the posterior mean of numbers, the likeliest of categories and of 0 and 1, whole where data are."""
    spread: Tensor
    """(B, *event): of numbers the standard deviation given what is observed, of categories and of 0 and 1 the entropy,
    nats; 0 of what is observed.
    """
    draws: Tensor | None
    """(n, B, *event): n draws of all cells given those observed, for multiple imputation; None where n is 0."""
    effective_samples: Tensor
    """(B,): as many of the samples count, from 1 where one is all that does; few of them say little."""


@torch.no_grad()
def impute(
    model: VAE, batch: Batch, samples: int = 1000, draws: int = 0, seed: int | None = 0, memory: int = 4 * MEMORY
) -> Imputed:
    """The cells of a batch that are not observed, from `samples` of z for each row, weighted by p(x, z) / q(z given x)
    of what is observed (self-normalised importance sampling, as of Mattei & Frellsen 2019, eq. 15).

    A row of which nothing is observed is drawn from the model. Raises `ValueError` where cells are missing and the
    likelihood can't be scored without them.
    """
    with seeded(seed), evaluating(model):
        rows, chunk = plan(model.trace, batch, len(batch), samples, memory)
        found = [
            _imputed(model, batch.take(slice(start, start + rows)), samples, chunk, draws)
            for start in range(0, len(batch), rows)
        ]
    drawn = [each.draws for each in found if each.draws is not None]
    joined = [torch.cat([getattr(each, name) for each in found]) for name in ("x", "spread", "effective_samples")]
    return Imputed(joined[0], joined[1], torch.cat(drawn, 1) if drawn else None, joined[2])


def _imputed(model: VAE, batch: Batch, samples: int, chunk: int, draws: int) -> Imputed:
    """As `impute`, of rows that go at once, `chunk` samples of them at a time."""
    log_total = square = drawn = None
    averages: list[Tensor] = []
    for many in chunks(samples, chunk):
        trace = model.trace(batch, many)
        log_weight, px = trace.log_weight, trace.px
        if trace.cases is not None:
            raise ValueError("a model that sums classes out can't impute; give it their labels")
        log_sum = log_weight.logsumexp(0)
        share = (log_weight - log_sum).exp()  # of each sample in its chunk
        new = [_weighted(share, values) for values in _statistics(px)]
        picked = _picked(px.sample(), share, max(draws, LEAST))
        if log_total is None:
            log_total, averages, drawn, square = log_sum, new, picked, share.square().sum(0)
            continue
        both = torch.logaddexp(log_total, log_sum)
        part = (log_sum - both).exp()
        averages = [_mixed(old, each, part) for old, each in zip(averages, new, strict=True)]
        square = square * (1 - part).square() + share.square().sum(0) * part.square()  # type: ignore[operator]
        keep = torch.rand(picked.shape[:2], device=part.device) >= part
        drawn = torch.where(keep.view(*keep.shape, *[1] * (picked.dim() - 2)), drawn, picked)  # type: ignore[arg-type]
        log_total = both
    x, entropy = _summary(model, px, averages)
    spread = torch.where(entropy.isnan(), drawn.double().std(0).to(entropy.dtype), entropy)  # type: ignore[union-attr]
    x = x.to(batch.x.dtype)
    drawn = drawn.to(batch.x.dtype)  # type: ignore[union-attr]
    if batch.observed is None:
        observed = torch.ones_like(x, dtype=torch.bool)
    else:
        observed = batch.observed
    x, spread = torch.where(observed, batch.x, x), torch.where(observed, 0.0, spread)
    return Imputed(x, spread, torch.where(observed, batch.x, drawn[:draws]) if draws else None, 1 / square)  # type: ignore[operator]


def _parts(px: Distribution) -> Iterator[tuple[Tensor | None, Distribution]]:
    """The distributions of cells that a likelihood is made of, and which columns each is of."""
    if isinstance(px, Columns):
        for part, index in zip(px.parts, px.index, strict=True):
            yield index, part.base_dist
    else:
        yield None, px.base_dist if isinstance(px, Independent) else px


def _statistics(px: Distribution) -> list[Tensor]:
    """What is averaged over samples (S, B, …) of each part: probabilities of categories and of 1, else means."""
    return [cells.probs if isinstance(cells, (Categorical, Bernoulli)) else cells.mean for _, cells in _parts(px)]


def _weighted(share: Tensor, values: Tensor) -> Tensor:
    return (share.view(*share.shape, *[1] * (values.dim() - 2)) * values).sum(0)


def _mixed(old: Tensor, new: Tensor, part: Tensor) -> Tensor:
    return old + (new - old) * part.view(-1, *[1] * (old.dim() - 1))


def _picked(x: Tensor, share: Tensor, draws: int) -> Tensor:
    """`draws` of x (S, B, *event), (draws, B, *event), each with the probability that its `share` (S, B) is."""
    which = torch.multinomial(share.T, draws, replacement=True).T
    return x.gather(0, which.view(*which.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:]))


def _summary(model: VAE, px: Distribution, averages: list[Tensor]) -> tuple[Tensor, Tensor]:
    """One value for each cell (B, *event), and the entropy of those that have one, else NaN."""
    rows = len(averages[0])
    x = averages[0].new_zeros(rows, *model.event_shape)
    entropy = torch.full_like(x, torch.nan)
    columns = model.domain.columns
    for (index, cells), average in zip(_parts(px), averages, strict=True):
        kind = model.domain.kind if index is None else columns[int(index[0])].kind
        value, own = average, None
        if isinstance(cells, Categorical):
            value, own = average.argmax(-1).to(x.dtype), -torch.xlogy(average, average).sum(-1)
        elif isinstance(cells, Bernoulli):
            value = (average > 0.5).to(x.dtype)
            own = -torch.xlogy(average, average) - torch.xlogy(1 - average, 1 - average)
        elif kind in WHOLE:
            value = average.round()
        if index is None:
            return value, entropy if own is None else own
        x = x.to(value.dtype) if value.dtype == torch.float64 else x
        x[:, index] = value.to(x.dtype)
        if own is not None:
            entropy[:, index] = own
    return x, entropy
