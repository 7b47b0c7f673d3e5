"""Posteriors on the unit sphere."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import normalize, softplus

from ..distributions import sphere
from ..distributions.bounds import bounded, checked_clamp
from ..distributions.sphere import UNIT_SPHERE, check_size
from .continuous import head

LEAST, MOST = 1e-3, 1e4
"""Concentrations that the distribution is right for."""


class VonMisesFisher(nn.Module):
    """q(z given x) = von Mises and Fisher's distribution on the unit sphere, of a direction and a concentration
    (Davidson et al. 2018): codes of length 1, with the prior `uniform-sphere`.

    z (…, D) is a point of the sphere in D dimensions: what papers call a latent of d = D - 1. The direction is linear
    in the features, brought to length 1; the concentration is the least of `concentration_clamp` and softplus of what
    is linear in them, at most the other. With `hidden` layers, each has an MLP of those sizes. Raises `ValueError` for
    a latent of less than two dimensions, and for bounds beyond 1e-3 and 1e4.

    >>> import torch
    >>> posterior = VonMisesFisher(features=5, latent=3)
    >>> posterior(torch.ones(4, 5)).rsample((2,)).norm(dim=-1).shape
    torch.Size([2, 4])
    """

    space = UNIT_SPHERE

    def __init__(
        self,
        features: int,
        latent: int,
        concentration_clamp: tuple[float, float] = (1.0, MOST),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_size(latent)
        self.clamp = checked_clamp("concentration_clamp", concentration_clamp)
        if self.clamp[0] < LEAST or self.clamp[1] > MOST:
            raise ValueError(f"concentration_clamp must be within ({LEAST:g}, {MOST:g}), got {concentration_clamp}")
        self.head = head(features, (latent, 1), hidden, activation)
        self.latent = latent

    def forward(self, features: Tensor) -> Distribution:
        direction, raw = self.head(features).split([self.latent, 1], -1)
        concentration = bounded(self.clamp[0] + softplus(raw.squeeze(-1)), *self.clamp)
        return sphere.VonMisesFisher(normalize(direction, dim=-1), concentration)
