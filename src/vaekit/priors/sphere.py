"""The prior of codes on the unit sphere."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions.sphere import UNIT_SPHERE, UniformOnSphere, check_size


class UniformSphere(nn.Module):
    """p(z) is the same everywhere on the unit sphere, whatever the condition (Davidson et al. 2018): no code is nearer
    to the middle than another, so that nothing pulls codes there.

    For the posterior `von-mises-fisher`, whose KL from it has a closed form. Raises `ValueError` for a latent of less
    than two dimensions.

    >>> UniformSphere(latent=3)().sample((5,)).norm(dim=-1)
    tensor([1., 1., 1., 1., 1.])
    """

    space = UNIT_SPHERE
    like: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        check_size(latent)
        self.register_buffer("like", torch.zeros(latent), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        return UniformOnSphere(self.like if y is None else self.like.expand(*y.shape[:-1], -1))
