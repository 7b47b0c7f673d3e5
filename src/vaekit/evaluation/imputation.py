"""What a model says of cells that are not observed, given the others of their row: by importance sampling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent

from ..data.batch import Batch
from ..data.domains import WHOLE
from ..distributions.observed import given_missing, observed_log_prob, whole
from ..distributions.products import Columns
from ..models import VAE
from ..models.sampling import ROWS
from ..models.sampling import draws as by_draw
from ..models.scoring import MEMORY, plan, sum_type
from ..models.trace import Trace
from ..modules import evaluating
from ..seeding import seeded
from .alike import row_by_row, row_by_row_apart
from .streams import row_seeds
from .weighted import Picked, alike_plan, weighted

TRIES = 4
"""Draws of which one may take the place of another that an event holds for: rows of one z have not all the same."""
AT_ONCE, SAMPLES_AT_ONCE = 64, 2**15
"""Rows that go at once at most, and samples of all of them: few rows are computed with as many as go at once."""
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
    model: VAE,
    batch: Batch,
    samples: int = 1000,
    draws: int = 0,
    seed: int | None = 0,
    memory: int = 4 * MEMORY,
    before: Counter[bytes] | None = None,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Imputed:
    """The cells of a batch that are not observed, from `samples` of z for each row, weighted by p(x, z) / q(z given x)
    of what is observed (self-normalised importance sampling, as of Mattei & Frellsen 2019, eq. 15).

    A row of which nothing is observed is drawn from the model. Each row with a hole has a random stream of its own, by
    `seed` and by what is observed of it: what is said of it depends neither on other rows nor on their order, to the
    bit. Draws of equal rows differ, the first of them having those that it has alone; where a batch is a part of more
    rows, `before` counts those of the parts before it. `on_rows` is told how many rows are filled. Raises `ValueError`
    where cells are missing and the likelihood can't be scored without them.
    """
    # Cells that are filled may need more digits than those that are there.
    kind = sum_type(batch.x.device) if model.domain.in_float64 else batch.x.dtype
    x, spread = batch.x.to(kind, copy=True), torch.zeros_like(batch.x, dtype=kind)
    drawn, counted = x.repeat(draws, *[1] * x.dim()), x.new_full((len(x),), samples)
    holes = x.new_empty(0) if batch.observed is None else (~batch.observed).flatten(1).any(1).nonzero().flatten()
    if len(holes):
        start = int(torch.randint(2**62, ())) if seed is None else seed
        times = (Counter() if before is None else before) if draws else None
        seeds = np.array(list(row_seeds(batch.take(holes), start, times)))
        own, first, which = np.unique(seeds, return_index=True, return_inverse=True)  # equal rows are filled once
        rows = batch.take(holes[torch.from_numpy(first).to(x.device)])
        with evaluating(model):
            with seeded(0):
                chunk = plan(model.trace, rows, 1, samples, memory)[1]
            at_once = min(AT_ONCE, max(1, min(chunk, SAMPLES_AT_ONCE) // samples))
            found = row_by_row_apart(
                lambda row: _imputed(model, row, samples, chunk, draws), rows, at_once, own.tolist(), on_rows
            )
        every = [each[torch.from_numpy(which).to(x.device)] for each in found]
        x[holes], spread[holes], counted[holes] = (each.to(x.dtype) for each in every[:3])
        drawn[:, holes] = every[3].transpose(0, 1).to(x.dtype)
    return Imputed(x, spread, drawn if draws else None, counted)


@dataclass(frozen=True)
class Event:
    """What is asked of some columns (D,) of bool: `holds` says for which of rows (N, D) it does, (N,) of bool."""

    columns: Tensor
    holds: Callable[[Tensor], Tensor]


@torch.no_grad()
def conditioned(
    model: VAE, batch: Batch, draws: int, samples: int, seed: int | None = 0, event: Event | None = None
) -> tuple[Tensor, float]:
    """`draws` of data given the cells of one row that are observed, (draws, *event), and how many of `samples` count;
    of an `event` also given that it holds. None counts where it holds for none of `samples`: there are no draws then.

    The model is one without a condition. z is drawn from the prior, `samples` of it, and resampled by p(x_observed
    given z); then x from p(x given z). So it serves models whose encoder was never shown a row with holes; a rare
    condition leaves few z that count. Of an event each z has a draw of x, and is kept where it holds for that; its
    columns are that draw's, or another's of the same z for which it holds: both are of p(x given z and the event), if
    columns are independent given z.
    """
    with seeded(seed), evaluating(model):
        z = model.side_by_side(model.generate(None, by_draw(samples)))
        # Of what is not asked for nothing is said: not that it is missing.
        every = [whole(model.likelihood_of(part, None)) for part in z.split(ROWS)]
        log_weight = torch.cat([observed_log_prob(px, batch.x, batch.observed) for px in every])
        first = None
        if event is not None:
            first = torch.cat([px.sample() for px in every])
            log_weight = log_weight.masked_fill(~event.holds(first), -torch.inf)
            if log_weight.isneginf().all():
                return first[:0], 0.0
        share = log_weight.to(sum_type(z.device)).softmax(0)
        which = torch.multinomial(share, draws, replacement=True)
        of = [model.likelihood_of(part, None) for part in z[which].split(ROWS)]
        x = torch.cat([px.sample() for px in of])
        if event is not None and first is not None:
            held = first[which]
            for _ in range(TRIES):
                new = torch.cat([px.sample() for px in of])
                held = torch.where(event.holds(new)[:, None], new, held)
            x = torch.where(event.columns, held, x)
    if batch.observed is not None:
        x = torch.where(batch.observed, batch.x.to(torch.promote_types(x.dtype, batch.x.dtype)), x)
    return x, float(1 / share.square().sum())


@torch.no_grad()
def fill(model: VAE, batch: Batch, samples: int = 100, seed: int | None = 0, memory: int = 4 * MEMORY) -> Tensor:
    """The cells (B, *event) of a batch, those that are not observed as `impute` gives them, and no more than that.

    The same random numbers are drawn for all rows: what is said of one does not depend on those beside it.
    """

    def one(row: Batch) -> tuple[Tensor]:
        seen: list[Distribution] = []

        def statistics(trace: Trace) -> list[Tensor]:
            seen.append(_given(trace))
            return _statistics(trace)

        known = weighted(model, row, samples, chunk, statistics)
        x = _summary(model, seen[0], known.averages)[0].to(row.x.dtype)
        return (row.x if row.observed is None else torch.where(row.observed, row.x, x),)

    with evaluating(model):
        rows, chunk = alike_plan(model, batch, samples, memory)
        return row_by_row(one, batch, rows, seed)[0]


def _imputed(model: VAE, row: Batch, samples: int, chunk: int, draws: int) -> tuple[Tensor, ...]:
    """The cells (1, *event) of a row, their spreads, how many samples count (1,), and draws (1, n, *event)."""
    picked = Picked(max(draws, LEAST))
    known = weighted(model, row, samples, chunk, _statistics, picked)
    px = given_missing(model.likelihood_at(picked.z, model.network_condition(row.y)), row.x, row.observed)
    cells, (x, entropy) = px.sample(), _summary(model, px, known.averages)
    spread = torch.where(entropy.isnan(), cells.double().std(0).to(entropy.dtype), entropy)
    observed = torch.ones_like(x, dtype=torch.bool) if row.observed is None else row.observed
    x, spread = torch.where(observed, row.x, x), torch.where(observed, 0.0, spread)
    drawn = torch.where(observed, row.x, cells[:draws])
    return x, spread, known.effective_samples, drawn.transpose(0, 1)


def _parts(px: Distribution) -> Iterator[tuple[Tensor | None, Distribution]]:
    """The distributions of cells that a likelihood is made of, and which columns each is of."""
    if isinstance(px, Columns):
        for part, index in zip(px.parts, px.index, strict=True):
            yield index, part.base_dist
    else:
        yield None, px.base_dist if isinstance(px, Independent) else px


def _given(trace: Trace) -> Distribution:
    """What the cells that are missing are of, given those that are not and z."""
    return given_missing(trace.px, trace.x, trace.batch.observed)


def _statistics(trace: Trace) -> list[Tensor]:
    """What is averaged over samples (S, B, …) of each part, given what is observed: probabilities of categories and of
    1, else means.
    """
    return [
        cells.probs if isinstance(cells, (Categorical, Bernoulli)) else cells.mean for _, cells in _parts(_given(trace))
    ]


def _summary(model: VAE, px: Distribution, averages: list[Tensor]) -> tuple[Tensor, Tensor]:
    """One value for each cell (B, *event), and the entropy of those that have one, else NaN."""
    rows = len(averages[0])
    x = averages[0].new_zeros(rows, *model.event_shape)
    entropy = torch.full_like(x, torch.nan)
    kinds = [own.kind for own, _ in model.domain.groups] if model.domain.kind == "columns" else [model.domain.kind]
    for (index, cells), average, kind in zip(_parts(px), averages, kinds, strict=True):
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
