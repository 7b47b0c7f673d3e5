"""How far a bound is below log p(x), and why: posteriors of single data, improved by gradient steps.

An encoder's q(z given x) is worse than the best of its family. log p(x) - ELBO, the inference gap, is the sum of the
approximation gap, log p(x) - ELBO of the best q of the family, which a richer family would narrow, and the
amortization gap, ELBO of the best q - ELBO of the encoder's, which a better encoder would (Cremer et al. 2018, eq. 5
and 6). The best q of a datum is found by gradient ascent of its own parameters from the encoder's output, as in Kim et
al. 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from ..data.batch import Batch
from ..data.tensors import TensorSplit
from ..distributions.noise import from_noise
from ..distributions.normals import LowRankNormal, ReflectedNormal, TriangularNormal
from ..distributions.shapes import independent
from ..errors import check_least
from ..models import VAE
from ..models.given import checked, refuse_no_density
from ..models.scoring import sum_type
from ..models.trace import Latent, Trace, drawn_apart
from ..modules import evaluating
from ..seeding import seeded
from ..system.progress import working
from .estimates import Estimate, mean_of

ROWS, DRAWS = 100, 64
"""Data at once, and draws of each."""

Family = Literal["own", "full-rank"]


@dataclass(frozen=True)
class Refinement:
    """So many `steps` of Adam at a `rate` that falls to 0 along half a cosine, each of so many `draws`, in pairs of
    opposite noise.

    Of the posterior's `own` family, or of normals of any covariance (`full-rank`). Rates are in units of the encoder's
    standard deviations. Raises `ValueError` for numbers below 1 and another family.
    """

    steps: int = 200
    draws: int = 8
    rate: float = 0.1
    family: Family = "own"

    def __post_init__(self) -> None:
        for name in ("steps", "draws"):
            check_least(name, getattr(self, name))
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate must be above 0 and finite, got {self.rate}")
        if self.family not in ("own", "full-rank"):
            raise ValueError(f"family is {self.family!r}; accepted: 'own', 'full-rank'")


@dataclass(frozen=True)
class Refined:
    """Estimates for each of B data, nats, (B,)."""

    elbo: Tensor
    """By the encoder's posterior."""
    refined: Tensor
    """The ELBO by the posterior that was improved."""
    log_prob: Tensor
    """log p(x) by importance weights of draws of the latter: in expectation a lower bound, far tighter than by the
    encoder's where that is off.
    """


def refine(
    model: VAE,
    x: ArrayLike | Tensor | Batch,
    y: ArrayLike | Tensor | None = None,
    how: Refinement | None = None,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> Refined:
    """ELBO of x (B, *event) before and after its posteriors are improved, and log p(x), by K = `samples` draws each.

    The model stays as it is. Gradients are those of STL (Roeder et al. 2017), without noise where q is exact. Raises
    `ValueError` for posteriors that are no normals, and for latents that are classes, codes, or drawn one from another.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", tempfile.mkdtemp() + "/run", epochs=1)
    >>> found = refine(run.model, run.data("test").x[:3], how=Refinement(steps=20), samples=50)
    >>> bool(found.refined.mean() > found.elbo.mean())
    True
    """
    refuse_no_density(model)
    batch, how = model.typed(checked(model, x, y)), how or Refinement()
    check_least("samples", samples)
    found = []
    with seeded(seed), evaluating(model), working("refining posteriors", len(batch)) as step:
        for start in range(0, len(batch), ROWS):
            rows = batch.take(slice(start, start + ROWS))
            found.append(_refined(model, rows, how, samples))
            step(start + len(rows))
    return Refined(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _refined(model: VAE, batch: Batch, how: Refinement, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    y = model.network_condition(batch.y)
    with torch.no_grad():
        latents = drawn_apart(model.latents(batch), "the gap of a bound")
        families = [_family(latent, how.family) for latent in latents]

    def trace(qs: Sequence[Distribution], draws: Sequence[Tensor]) -> Trace:
        z = {latent.name: each for latent, each in zip(latents, draws, strict=True)}
        own = zip(latents, qs, strict=True)
        return Trace(
            batch, model.likelihood_at(z, y), tuple(Latent(each.name, z[each.name], q, each.p) for each, q in own)
        )

    def weights(qs: Sequence[Distribution]) -> Tensor:
        parts = [trace(qs, [q.sample((n,)) for q in qs]).log_weight for n in _parts(samples)]
        return torch.cat(parts).to(sum_type(model.scale.device))

    free = [[each.clone().requires_grad_() for each in start] for start, _ in families]
    leaves = [each for own in free for each in own]
    optimizer = torch.optim.Adam(leaves, lr=how.rate)
    with torch.enable_grad():
        for i in range(how.steps):
            optimizer.param_groups[0]["lr"] = how.rate * 0.5 * (1 + math.cos(math.pi * i / how.steps))
            qs = [make(own) for (_, make), own in zip(families, free, strict=True)]
            loss = -trace(qs, [_drawn(q, how.draws) for q in qs]).log_weight_stopped.mean(0).sum()
            for leaf, slope in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
                leaf.grad = slope
            optimizer.step()
    with torch.no_grad():
        before = weights([latent.q for latent in latents])
        after = weights([make(own) for (_, make), own in zip(families, free, strict=True)])
    return before.mean(0), after.mean(0), after.logsumexp(0) - math.log(samples)


def _drawn(q: Distribution, draws: int) -> Tensor:
    """Draws (S, B, D), each second one of the noise of the first, turned round: what is odd in it has no noise then."""
    noise = torch.randn((draws + 1) // 2, *q.batch_shape, *q.event_shape, dtype=q.mean.dtype, device=q.mean.device)
    return from_noise(q, torch.cat([noise, -noise])[:draws])


def _parts(samples: int) -> Iterator[int]:
    """So many draws, some at a time."""
    for start in range(0, samples, DRAWS):
        yield min(DRAWS, samples - start)


Made = Callable[[list[Tensor]], Distribution]


def _family(latent: Latent, family: Family) -> tuple[list[Tensor], Made]:
    """The free numbers of a datum's posterior, as they are at the encoder's, and what makes a posterior of them: a
    shift in units of its scale, the logarithm of a factor of that, and what else there is, in its units.
    """
    q = latent.q
    if isinstance(q, Independent) and isinstance(q.base_dist, Normal) and q.reinterpreted_batch_ndims == 1:
        loc, scale = q.base_dist.loc, q.base_dist.scale
        if family == "own":
            return _moved(loc, scale), lambda own: independent(Normal(*_at(loc, scale, own), validate_args=False))
        size = loc.shape[-1]
        below = torch.tril_indices(size, size, -1, device=loc.device)
        return _triangular(loc, scale, loc.new_zeros(*loc.shape[:-1], below.shape[-1]), below)
    if isinstance(q, MultivariateNormal):
        q = TriangularNormal.of(q)
        return _triangular(q.loc, q.diagonal, q.below, q.rows_columns)
    if isinstance(q, LowRankNormal | ReflectedNormal) and family == "own":
        loc, scale, kind = q.loc, q.scale, type(q)
        rest = q.factor if isinstance(q, LowRankNormal) else q.mirrors
        return [*_moved(loc, scale), rest], lambda own: kind(*_at(loc, scale, own), own[2])
    if isinstance(q, LowRankNormal | ReflectedNormal):
        q = TriangularNormal.of(MultivariateNormal(q.mean, q.covariance_matrix, validate_args=False))
        return _triangular(q.loc, q.diagonal, q.below, q.rows_columns)
    what = f"the gap of a bound is found for posteriors that are normals, that of {latent.name!r} is none"
    raise ValueError(f"{what}; accepted: diagonal-normal, full-rank-normal, low-rank-normal, householder")


def _moved(loc: Tensor, scale: Tensor) -> list[Tensor]:
    return [torch.zeros_like(loc), torch.zeros_like(scale)]


def _at(loc: Tensor, scale: Tensor, own: list[Tensor]) -> tuple[Tensor, Tensor]:
    return loc + scale * own[0], scale * own[1].exp()


def _triangular(loc: Tensor, diagonal: Tensor, below: Tensor, rows_columns: Tensor) -> tuple[list[Tensor], Made]:
    """Of any covariance: what is below the diagonal is in units of the diagonal of its row."""
    units = diagonal.index_select(-1, rows_columns[0])

    def make(own: list[Tensor]) -> Distribution:
        return TriangularNormal(*_at(loc, diagonal, own), units * own[2], rows_columns)

    return [*_moved(loc, diagonal), below / units], make


@dataclass(frozen=True)
class Gaps:
    """The gap of a bound on `n` data of a split, and its two parts; nats per datum, errors over data."""

    split: str
    n: int
    samples: int
    how: Refinement
    elbo: Estimate
    refined: Estimate
    log_prob: Estimate
    inference_gap: Estimate
    approximation_gap: Estimate
    amortization_gap: Estimate

    @property
    def reading(self) -> str:
        """What would narrow the gap, in a sentence."""
        family, encoder = self.approximation_gap.value, self.amortization_gap.value
        if max(family, encoder) < 0.1:
            return "the bound is tight: neither a richer posterior nor a larger encoder would gain a tenth of a nat"
        larger = "a larger encoder, or longer training" if encoder > family else "a richer posterior"
        share = 100 * max(family, encoder) / max(family + encoder, 1e-9)
        return f"{share:.0f} % of the gap is what {larger} would narrow, the decoder as it is"


def gaps(
    model: VAE,
    data: TensorSplit,
    split: str,
    n: int = 100,
    how: Refinement | None = None,
    *,
    samples: int = 1000,
    log_prob: Tensor | None = None,
    seed: int = 0,
) -> Gaps:
    """The gap of the ELBO on n data of a split, drawn by the seed, and its parts. A row with a cell that its column
    can't have is left out.

    log p(x) is that of `refine`, or `log_prob` (n,) of these data in their order, such as of `annealing.anneal`. Where
    it is too low, the approximation gap is by as much.
    """
    how = how or Refinement()
    index = np.sort(np.random.default_rng(seed).permutation(data.possible(split))[:n])
    found = refine(model, model.asked(data.rows(index)), how=how, samples=samples, seed=seed)
    log_prob = found.log_prob if log_prob is None else log_prob.to(found.log_prob)
    if log_prob.shape != found.elbo.shape:
        raise ValueError(f"log_prob is of shape {tuple(log_prob.shape)}; accepted: {tuple(found.elbo.shape)}")
    return Gaps(
        split,
        len(index),
        samples,
        how,
        elbo=mean_of(found.elbo),
        refined=mean_of(found.refined),
        log_prob=mean_of(log_prob),
        inference_gap=mean_of(log_prob - found.elbo),
        approximation_gap=mean_of(log_prob - found.refined),
        amortization_gap=mean_of(found.refined - found.elbo),
    )


def rows_of(found: Gaps) -> list[tuple[str, str, str]]:
    """Each number, and what it is."""
    rows = [
        ("ELBO", found.elbo, "by the encoder"),
        ("ELBO, refined", found.refined, f"after {found.how.steps} steps of each datum's own posterior"),
        ("log p(x)", found.log_prob, f"by {found.samples:,} importance weights of these"),
        ("inference gap", found.inference_gap, "log p(x) - ELBO, the sum of the next two"),
        ("approximation gap", found.approximation_gap, "what a richer family of posteriors would narrow"),
        ("amortization gap", found.amortization_gap, "what a better encoder would narrow"),
    ]
    return [(name, str(each), what) for name, each, what in rows]
