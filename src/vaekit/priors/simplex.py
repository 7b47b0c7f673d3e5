"""Priors of shares, such as those of topics in a document: on the simplex, and of logits whose softmax they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Dirichlet as Shares
from torch.distributions import Distribution, Normal

from ..distributions.shapes import independent
from ..distributions.simplex import SIMPLEX, check_size


class Dirichlet(nn.Module):
    """p(z) = Dirichlet(z; alpha, …, alpha), whatever the condition: z (…, K) are shares that add up to 1, few of them
    large where alpha, the `concentration`, is below 1.

    For the posterior `dirichlet`. Raises `ValueError` for a latent of one number and for alpha not above 0.

    >>> Dirichlet(latent=3)().sample((5,)).sum(-1)
    tensor([1., 1., 1., 1., 1.])
    """

    space = SIMPLEX
    alpha: Tensor

    def __init__(self, latent: int, concentration: float = 1.0) -> None:
        super().__init__()
        _check(latent, concentration)
        self.register_buffer("alpha", torch.full((latent,), float(concentration)), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        return Shares(self.alpha if y is None else self.alpha.expand(*y.shape[:-1], -1), validate_args=False)


class LogisticNormal(nn.Module):
    """p(z) = N(z; 0, s² I), s² = (1 - 1 / K) / alpha: logits whose softmax is nearly Dirichlet(alpha, …, alpha), alpha
    the `concentration`, by Laplace's approximation in the basis of softmax (Srivastava & Sutton 2017, eq. 3).

    For shares of topics that are the softmax of a normal, as the decoder `topics` takes them. Raises `ValueError` for a
    latent of one number and for alpha not above 0.

    >>> LogisticNormal(latent=4, concentration=0.5)().variance
    tensor([1.5000, 1.5000, 1.5000, 1.5000])
    """

    scale: Tensor

    def __init__(self, latent: int, concentration: float = 1.0) -> None:
        super().__init__()
        _check(latent, concentration)
        scale = ((1 - 1 / latent) / concentration) ** 0.5
        self.register_buffer("scale", torch.full((latent,), scale), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        scale = self.scale if y is None else self.scale.expand(*y.shape[:-1], -1)
        return independent(Normal(torch.zeros_like(scale), scale, validate_args=False))


def _check(latent: int, concentration: float) -> None:
    check_size(latent)
    if not 0 < concentration < float("inf"):
        raise ValueError(f"concentration must be above 0 and finite, got {concentration}")
