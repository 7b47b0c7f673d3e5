"""Posteriors of hyperbolic space."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import hyperbolic
from ..distributions.bounds import bounded, checked_clamp, scale_of
from .continuous import head

FURTHEST = 8.0
"""How far from 0 the middle of a posterior may be, in units of the curvature: further out float32 can't tell points
apart.
"""


class WrappedNormal(nn.Module):
    """q(z given x) = a wrapped normal of hyperbolic space of curvature -`curvature` (Mathieu et al. 2019), for data
    that branch like a tree: there is exponentially more room away from 0, so that many branches keep apart.

    The point it is around and log sigma² are linear in the features, the former at most 8 / sqrt(curvature) away from
    0. z (…, D) are normal coordinates: how far from 0, and in which direction; the Poincaré ball's are tanh(sqrt(c) |z|
    / 2) z / (sqrt(c) |z|). With them any network is a decoder, and `standard-normal` is the wrapped normal around 0 of
    the paper; there decoders begin with a layer of distances. The KL is estimated from draws. With `hidden` layers each
    has an MLP of those sizes. Raises `ValueError` for a latent of one number, which is as flat as a line, and for a
    curvature that is not above 0.

    >>> import torch
    >>> WrappedNormal(features=5, latent=2)(torch.zeros(4, 5)).rsample((2,)).shape
    torch.Size([2, 4, 2])
    """

    def __init__(
        self,
        features: int,
        latent: int,
        curvature: float = 1.0,
        log_variance_clamp: tuple[float, float] = (-10.0, 4.0),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        if latent < 2:
            raise ValueError(f"hyperbolic space is of latents of size 2 or more, got {latent}; choose diagonal-normal")
        if not 0 < curvature < float("inf"):
            raise ValueError(f"curvature must be above 0, got {curvature}; without one choose diagonal-normal")
        self.curvature = float(curvature)
        self.head = head(features, (latent, latent), hidden, activation)

    def forward(self, features: Tensor) -> Distribution:
        loc, log_variance = self.head(features).chunk(2, -1)
        length = loc.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
        loc = loc * (bounded(length, 0.0, FURTHEST / self.curvature**0.5) / length)
        return hyperbolic.WrappedNormal(loc, scale_of(log_variance, self.clamp), self.curvature)
