"""How much better a model knows the rows that it was trained on than others, and how many of its units are active."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..data.tensors import TensorSplit
from ..models import VAE
from ..models.given import refuse_unscored
from ..modules import evaluating
from ..seeding import chosen, seeded, stream
from ..system.progress import working
from .estimates import Estimate, mean_of

THRESHOLDS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""Variances of a posterior mean over data from which on a unit is called active; 0.01 is that of Burda et al. 2016."""
RESAMPLED = 200
"""Bootstrap samples of the data."""


@dataclass(frozen=True)
class Overfitting:
    """What `n` data of `split`, held out, and `n_train` training data are to a model.

    `gap` is how much greater the NLL of held-out data is, `elbo_gap` how much less their ELBO. What the second has
    beyond the first is the encoder's: it finds worse posteriors for data that it has not seen (Cremer et al. 2018).
    Each is a difference of two means over different data, whose errors are independent.
    """

    split: str
    n: int
    n_train: int
    samples: int
    nll: Estimate
    nll_train: Estimate
    gap: Estimate
    elbo_gap: Estimate

    @property
    def encoder_gap(self) -> float:
        """The part of `elbo_gap` that is the encoder's."""
        return self.elbo_gap.value - self.gap.value

    @property
    def reading(self) -> str:
        """What it means, in a sentence."""
        if math.isnan(self.gap.stderr):
            return "one datum tells nothing of others"
        if self.gap.value > 3 * self.gap.stderr:
            return "training data are better known than others: they are too few for this model or this training"
        return "no more is known of training data than of others, within three standard errors"


def overfitting(
    model: VAE, train: TensorSplit, held_out: TensorSplit, split: str, n: int = 1000, *, samples: int, seed: int = 0
) -> Overfitting:
    """`Overfitting` of at most n data of each side, drawn by the seed, from so many importance samples each.

    Preprocessing that is random draws from the same streams on both sides. A row with a cell that its column can't have
    is left out.
    """
    with working("training data beside others", 2) as step:
        nll_train, elbo_train = _scores(model, train, n, samples, seed)
        step(1)
        nll, elbo = _scores(model, held_out, n, samples, seed)
    own, other = mean_of(nll), mean_of(nll_train)
    elbo_gap = _apart(mean_of(elbo_train), mean_of(elbo))
    return Overfitting(split, len(nll), len(nll_train), samples, own, other, _apart(own, other), elbo_gap)


def rows_of(found: Overfitting) -> list[tuple[str, str, str]]:
    """Each number, and what it is."""
    parts = [
        (f"NLL of {found.n:,} data of {found.split}", found.nll, f"{found.samples:,} importance samples"),
        (f"NLL of {found.n_train:,} training data", found.nll_train, ""),
        ("gap", found.gap, "the first less the second: 0 where nothing is learned by heart"),
        ("gap of the ELBO", found.elbo_gap, "likewise; what it has beyond the gap is the encoder's"),
    ]
    return [(name, str(each), what) for name, each, what in parts]


@torch.no_grad()
def _scores(model: VAE, data: TensorSplit, n: int, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """The NLL and the ELBO of each of at most n rows."""
    rows = data.possible()
    rows = rows[chosen(len(rows), n, seed)]
    nll, elbo = [], []
    with seeded(stream(seed, "evaluation")), evaluating(model):
        scorer = model.scorer(samples, rows=len(rows))
        for start in range(0, len(rows), data.block_rows):
            batch = data.rows(rows[start : start + data.block_rows])
            refuse_unscored(model, batch.x, batch.observed)
            scores = scorer(model.asked(batch))
            nll.append(-scores.log_prob.double().cpu())
            elbo.append(scores.elbo.double().cpu())
    return torch.cat(nll), torch.cat(elbo)


def _apart(one: Estimate, other: Estimate) -> Estimate:
    return Estimate(one.value - other.value, math.hypot(one.stderr, other.stderr))


@dataclass(frozen=True)
class Units:
    """How many of `units` dimensions of the codes are active on `n` data of a split: the variance of their posterior
    mean over the data is above each of the `thresholds`.
    """

    split: str
    n: int
    units: int
    thresholds: tuple[float, ...]
    active: tuple[Estimate, ...]

    @property
    def reading(self) -> str:
        """What is to be kept in mind, in a sentence."""
        most, least = (each.value for each in (self.active[0], self.active[-1]))
        if most - least <= 0.1 * self.units:
            return "the number hardly depends on the threshold"
        return "the number depends on the threshold: say it beside it"


def active_units(
    codes: ArrayLike, split: str = "", thresholds: Sequence[float] = THRESHOLDS, *, seed: int = 0
) -> Units:
    """`Units` of codes (N, D), posterior means (Burda et al. 2016, section 5.2), with standard errors by a bootstrap.

    Raises `ValueError` for codes of another shape, or fewer than 2.

    >>> codes = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 0.2, 0.0]
    >>> [each.value for each in active_units(codes, thresholds=(1e-3, 0.01, 0.5)).active]
    [2.0, 2.0, 1.0]
    """
    z = np.asarray(codes, np.float64)
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"codes have shape {z.shape}; accepted: (N, D), N > 1")
    z = z - z.mean(0)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(z), np.full(len(z), 1 / len(z)), size=RESAMPLED) / len(z)
    variances = np.concatenate([z.var(0)[None], weights @ z**2 - (weights @ z) ** 2]) * len(z) / (len(z) - 1)
    counts = np.stack([(variances > threshold).sum(1) for threshold in thresholds])
    active = tuple(Estimate(float(each[0]), float(each[1:].std())) for each in counts)
    return Units(split, len(z), z.shape[1], tuple(thresholds), active)


def rows_of_units(found: Units) -> list[tuple[str, str, str]]:
    """The number of active units at each threshold."""
    return [
        (
            f"variance above {threshold:g}",
            f"{each.value:.0f} ± {each.stderr:.1f}",
            "as in Burda et al. 2016" if threshold == 0.01 else "",
        )
        for threshold, each in zip(found.thresholds, found.active, strict=True)
    ]
