"""Scores of a model on a split: the ELBO and its parts, and the importance-weighted likelihood with its errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .datasets.tensors import TensorSplit
from .distributions import mean, seeded
from .models import VAE
from .trace import plan, score, sum_type

MEMORY = 256 * 2**20
ACTIVE = 0.01
"""The variance over data of a posterior mean above which a dimension is active (Burda et al. 2016, section 5.2)."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model describes `n` data of a split; nats per datum in the data's own units.

    elbo = reconstruction - kl, with its standard error over the data; nll = -log p(x) from `samples` importance
    weights, an upper bound in expectation that tightens as they grow. `nll_stderr` is how far another n data of the
    kind would move it, `nll_mc_stderr` how far another seed would. `bits_per_dim` is nll / (dimensions · log 2).
    `kl_per_dimension` has a latent's KL per dimension where it splits so, else one number. `is_likelihood` is false for
    grey pixels scored as Bernoulli probabilities.
    """

    split: str
    n: int
    samples: int
    elbo: float
    elbo_stderr: float
    reconstruction: float
    kl: float
    nll: float
    nll_stderr: float
    nll_mc_stderr: float
    bits_per_dim: float
    active_units: int
    latent_size: int
    kl_per_dimension: dict[str, list[float]]
    is_likelihood: bool


def evaluate(
    model: VAE,
    data: TensorSplit,
    samples: int = 1000,
    *,
    split: str = "test",
    seed: int = 0,
    memory: int = MEMORY,
    on_progress: Callable[[int, int], None] = lambda done, n: None,
) -> Evaluation:
    """Score `model` on all of `data` with K = `samples` posterior draws for each datum.

    Beside the model and the stored data it uses at most `memory` bytes, whatever K and the number of data (but never
    less than one sample of one datum takes). Raises `ValueError` for samples below 1.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    model.eval()
    n, totals = len(data), _Totals()
    per_latent: dict[str, Tensor] = {}
    with seeded(seed), torch.no_grad():
        x, y = data.batch(slice(0, 1))
        batch, chunk = plan(model.trace, x, y, n, samples, memory)
        for start in range(0, n, batch):
            x, y = data.batch(slice(start, start + batch))
            scores = score(lambda s, x=x, y=y: model.trace(x, y, s), samples, chunk)  # type: ignore[misc]
            for name, terms in scores.kl_terms.items():
                per_latent[name] = per_latent[name] + terms.sum(0) if name in per_latent else terms.sum(0)
            means = torch.cat([mean(latent.q) for latent in model.trace(x, y).latents], -1).to(sum_type(x.device))
            totals.add(elbo=scores.elbo, reconstruction=scores.reconstruction, kl=scores.kl, nll=-scores.log_prob)
            totals.add(mc=scores.log_prob_variance, means=means)
            on_progress(min(start + batch, n), n)
    nll = totals.mean("nll")
    return Evaluation(
        split=split,
        n=n,
        samples=samples,
        elbo=float(totals.mean("elbo")),
        elbo_stderr=float((totals.variance("elbo") / n).sqrt()),
        reconstruction=float(totals.mean("reconstruction")),
        kl=float(totals.mean("kl")),
        nll=float(nll),
        nll_stderr=float((totals.variance("nll") / n).sqrt()),
        nll_mc_stderr=math.sqrt(float(totals.mean("mc")) / n),
        bits_per_dim=float(nll) / (math.prod(model.event_shape) * math.log(2)),
        active_units=int((totals.variance("means") > ACTIVE).sum()),
        latent_size=model.latent_size,
        kl_per_dimension={name: (total / n).tolist() for name, total in per_latent.items()},
        is_likelihood=not model.domain.relaxed,
    )


class _Totals:
    """Running means and variances over data of named quantities (B, …), merged batch by batch (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.moments: dict[str, tuple[int, Tensor, Tensor]] = {}

    def add(self, **values: Tensor) -> None:
        for name, value in values.items():
            n, center = len(value), value.mean(0)
            spread = (value - center).square().sum(0)
            if name in self.moments:
                before, mean_before, spread_before = self.moments[name]
                shift, n = center - mean_before, n + before
                spread = spread_before + spread + shift.square() * before * len(value) / n
                center = mean_before + shift * len(value) / n
            self.moments[name] = (n, center, spread)

    def mean(self, name: str) -> Tensor:
        return self.moments[name][1]

    def variance(self, name: str) -> Tensor:
        """The unbiased variance; NaN for a single datum, which has none."""
        n, _, spread = self.moments[name]
        return spread / (n - 1)
