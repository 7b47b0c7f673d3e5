"""What is asked of any distribution: its mean, a typical value, its score stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Dirichlet,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
)

from ..seeding import seeded
from .discrete import RelaxedOneHot
from .mixtures import NormalMixture
from .noise import from_noise, noise_size
from .normals import LowRankNormal, ReflectedNormal
from .validation import elements


def log_prob_stopped(q: Distribution, z: Tensor) -> Tensor:
    """log q(z) through which gradients reach z but none of q's parameters: the stopped q of STL and DReG.

    Works on any distribution, foreign flows included, because it does not look inside q: at a detached copy of z it
    takes the score s = d log q / dz, and returns the detached log q(z) + s · (z - detached z), whose value and whose
    gradient in z are those of log q(z). z (…, B, D); returns (…, B) nats. Source: Roeder et al. 2017, section 3.
    """
    if not (torch.is_grad_enabled() and z.requires_grad):
        return q.log_prob(z).detach()
    at = z.detach().requires_grad_()
    value = q.log_prob(at)
    (score,) = torch.autograd.grad(value.sum(), at)
    return value.detach() + (score * (z - at.detach())).sum(-1)


DRAWS = 16
"""Samples that `mean` draws at once where it has to draw: no more memory than those take."""
ALL = 256
"""Samples that it draws in all."""


def mean(dist: Distribution) -> Tensor:
    """The mean of `dist`: its closed form, or where it has none (a flow) the average of 256 samples.

    They are of fixed noise, the same for each of a batch, so that a mean does not depend on what is beside it; of what
    can't be given noise, of a fixed seed.
    """
    try:
        return dist.mean
    except NotImplementedError:
        return _average(dist, lambda draws: draws)


def stddev(dist: Distribution) -> Tensor:
    """The standard deviation of each number of `dist`: its closed form, or that of the samples that `mean` takes.

    >>> stddev(RelaxedOneHot(torch.zeros(2)))
    tensor([0.5000, 0.5000])
    """
    if getattr(dist, "deterministic", False):
        return torch.zeros_like(center(dist))
    if isinstance(dist, RelaxedOneHot):
        return (dist.mean * (1 - dist.mean)).sqrt()
    try:
        return dist.stddev
    except NotImplementedError:
        around = mean(dist)
        return _average(dist, lambda draws: (draws - around).square()).sqrt()


def covariance(dist: Distribution) -> Tensor:
    """The covariance matrices (…, D, D) of a distribution of vectors (…, D) in closed form; `NotImplementedError` where
    none is known, as of flows.

    >>> covariance(Dirichlet(torch.ones(2)))  # of shares, which add up to 1
    tensor([[ 0.0833, -0.0833],
            [-0.0833,  0.0833]])
    """
    if (own := getattr(dist, "covariance_matrix", None)) is not None:
        return own
    if isinstance(dist, Independent) and not dist.base_dist.event_shape:
        return torch.diag_embed(dist.variance)
    if isinstance(dist, Dirichlet):
        share, total = dist.mean, dist.concentration.sum(-1)[..., None, None]
        return (torch.diag_embed(share) - share.unsqueeze(-1) * share.unsqueeze(-2)) / (total + 1)
    raise NotImplementedError(f"no covariance of {type(dist).__name__} is known in closed form")


def _average(dist: Distribution, of: Callable[[Tensor], Tensor]) -> Tensor:
    """The average of `of` over 256 samples, some of them at a time, without gradients."""
    # An export would make a graph of its own of what is inside of it.
    if torch.is_grad_enabled() and not torch.compiler.is_exporting():
        with torch.no_grad():
            return _average(dist, of)
    try:
        noise = torch.as_tensor(_noise(noise_size(dist)), dtype=torch.get_default_dtype())
    except ValueError:
        with seeded(0):
            return torch.stack([of(dist.sample((DRAWS,))).mean(0) for _ in range(ALL // DRAWS)]).mean(0)
    beside = [1] * len(dist.batch_shape)
    # A program that is exported would have a loop's passes one after another: thousands of operations.
    draws = ALL if torch.compiler.is_exporting() else DRAWS
    parts = (each.view(draws, *beside, -1) for each in noise.split(draws))
    return torch.stack([of(from_noise(dist, each)).mean(0) for each in parts]).mean(0)


@cache
def _noise(size: int) -> np.ndarray:
    """Standard normal numbers (256, size), each half the negative of the other: of a normal the mean is exact."""
    half = np.random.default_rng(0).standard_normal((ALL // 2, size))
    return np.concatenate([half, -half], 1).reshape(ALL, size)


def typical(dist: Distribution) -> Tensor:
    """One value that stands for `dist`: its mean, as of `mean`, or the likeliest where values are `unordered`, as those
    of torch's Categorical are; its own `typical` where it has one.

    >>> typical(Categorical(torch.tensor([0.1, 0.7, 0.2])))
    tensor(1)
    """
    if (own := getattr(dist, "typical", None)) is not None:
        return own
    own = elements(dist)
    # torch's Categorical has a mean, which is NaN.
    return dist.mode if getattr(own, "unordered", type(own) is Categorical) else mean(dist)


def center(dist: Distribution) -> Tensor:
    """The point of its space that stands for `dist`: its mean, as of `mean`, or its own `center` where it has one.

    The mean of a distribution on a sphere is inside of it, and no decoder was ever shown such a point: a distribution
    on a manifold states as `center` the point that is to be taken.
    """
    own = getattr(dist, "center", None)
    return mean(dist) if own is None else own


def marginal_log_probs(dist: Distribution, value: Tensor) -> Tensor | None:
    """The log-density of each number of `value` (…, D) under the marginal of `dist` that it is of, (…, D) nats; None
    where that is not known.

    >>> from torch.distributions import Independent, Normal
    >>> marginal_log_probs(Independent(Normal(torch.zeros(2), torch.ones(2)), 1), torch.zeros(2))
    tensor([-0.9189, -0.9189])
    """
    if isinstance(dist, Independent) and dist.reinterpreted_batch_ndims == 1:
        return dist.base_dist.log_prob(value)
    if isinstance(dist, MultivariateNormal | LowRankNormal | ReflectedNormal):
        return Normal(dist.mean, dist.stddev, validate_args=False).log_prob(value)
    if isinstance(dist, NormalMixture):
        return dist.marginal_log_probs(value)
    return None
