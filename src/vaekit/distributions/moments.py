"""What is asked of any distribution: its mean, a typical value, its score stopped."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
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
    """One value that stands for `dist`: its mean, as of `mean`, or the likeliest where values are `unordered`."""
    elements = dist
    while isinstance(elements, Independent):
        elements = elements.base_dist
    return dist.mode if getattr(elements, "unordered", False) else mean(dist)
