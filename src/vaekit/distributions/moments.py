"""What is asked of any distribution: its mean, a typical value, its score stopped."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
)

from ..seeding import seeded


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


def mean(dist: Distribution) -> Tensor:
    """The mean of `dist`: its closed form, or where it has none (a flow) the average of 256 samples of a fixed seed."""
    try:
        return dist.mean
    except NotImplementedError:
        with seeded(0), torch.no_grad():
            return torch.stack([dist.sample(torch.Size((DRAWS,))).mean(0) for _ in range(256 // DRAWS)]).mean(0)


def typical(dist: Distribution) -> Tensor:
    """One value that stands for `dist`: its mean, as of `mean`, or the likeliest where values are `unordered`; its own
    `typical` where it has one.
    """
    if (own := getattr(dist, "typical", None)) is not None:
        return own
    elements = dist
    while isinstance(elements, Independent):
        elements = elements.base_dist
    return dist.mode if getattr(elements, "unordered", False) else mean(dist)


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
    if isinstance(dist, MultivariateNormal):
        return Normal(dist.mean, dist.stddev, validate_args=False).log_prob(value)
    return None
