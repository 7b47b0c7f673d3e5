"""Categories."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions.discrete import RelaxedOneHot, checked_groups
from .base import shifted


class UniformCategorical(nn.Module):
    """p(z) = 1/K for each of the K one-hots, whatever the condition; with `groups`, several side by side.

    The D dimensions are `groups` independent one-hots, each of K = D / groups classes.

    >>> UniformCategorical(latent=4)().log_prob(torch.eye(4)).exp()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    logits: Tensor

    def __init__(self, latent: int, groups: int = 1) -> None:
        super().__init__()
        self.groups = checked_groups(groups, latent)
        self.register_buffer("logits", torch.zeros(latent), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        lead = () if y is None else y.shape[:-1]
        return RelaxedOneHot(self.logits.expand(*lead, -1), groups=self.groups)


class Categorical(nn.Module):
    """p(z) = pi_k for the k-th of K one-hots, pi learned; with `groups`, several side by side; given y, logits linear
    in y.

    The D dimensions are `groups` independent one-hots, each of K = D / groups classes. It starts uniform.

    >>> Categorical(latent=6, groups=2)().sample((5,)).sum(-1)
    tensor([2., 2., 2., 2., 2.])
    """

    def __init__(self, latent: int, condition: int = 0, groups: int = 1) -> None:
        super().__init__()
        self.groups = checked_groups(groups, latent)
        self.logits = nn.Parameter(torch.zeros(latent))
        self.shift = nn.Linear(condition, latent, bias=False) if condition else None

    def forward(self, y: Tensor | None = None) -> Distribution:
        return RelaxedOneHot(shifted(self.logits, self.shift, y), groups=self.groups)
