"""Posteriors q(z given x): modules whose forward maps an encoder's features (…, F) to a distribution over z (…, D).

The condition y reaches a posterior through the encoder, whose features it gets. A conditional flow from `zuko` keeps
the same contract and is a posterior as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal, Normal

from .distributions import checked_clamp, independent
from .flows import coupling_flow


class DiagonalNormal(nn.Module):
    """q(z given x) = N(z; mu, diag(sigma²)), mu and log sigma² linear in the features (Kingma & Welling 2014, appendix
    C.2).

    log sigma² is clamped to `log_variance_clamp`: outside it exp under- or overflows float32 before the KL can object.

    >>> DiagonalNormal(features=5, latent=2)(torch.zeros(4, 5)).rsample((3,)).shape
    torch.Size([3, 4, 2])
    """

    def __init__(self, features: int, latent: int, log_variance_clamp: tuple[float, float] = (-10.0, 10.0)) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        self.head = nn.Linear(features, 2 * latent)

    def forward(self, features: Tensor) -> Distribution:
        loc, log_variance = self.head(features).chunk(2, -1)
        return independent(Normal(loc, (0.5 * log_variance.clamp(*self.clamp)).exp(), validate_args=False))


class FullRankNormal(nn.Module):
    """q(z given x) = N(z; mu, L Lᵀ), mu and the lower triangular L linear in the features, log of L's diagonal clamped.

    The diagonal is exp of half a clamped log-variance, as in `DiagonalNormal`, to which it reduces without the rest of
    L.

    >>> FullRankNormal(features=5, latent=2)(torch.zeros(4, 5)).covariance_matrix.shape
    torch.Size([4, 2, 2])
    """

    rows_columns: Tensor

    def __init__(self, features: int, latent: int, log_variance_clamp: tuple[float, float] = (-10.0, 10.0)) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        self.latent = latent
        self.head = nn.Linear(features, 2 * latent)
        self.off_diagonal = nn.Linear(features, latent * (latent - 1) // 2) if latent > 1 else None
        self.register_buffer("rows_columns", torch.tril_indices(latent, latent, -1), persistent=False)

    def forward(self, features: Tensor) -> Distribution:
        loc, log_variance = self.head(features).chunk(2, -1)
        factor = torch.diag_embed((0.5 * log_variance.clamp(*self.clamp)).exp())
        if self.off_diagonal is not None:
            rows, columns = self.rows_columns.unbind()
            below = self.off_diagonal(features)
            flat = torch.zeros_like(factor).flatten(-2).index_copy(-1, rows * self.latent + columns, below)
            factor = factor + flat.unflatten(-1, (self.latent, self.latent))
        return MultivariateNormal(loc, scale_tril=factor, validate_args=False)


def flow(features: int, latent: int, transforms: int = 4, hidden: tuple[int, ...] = (128,)) -> nn.Module:
    """A real-valued non-volume-preserving flow conditioned on the features (Dinh et al. 2017), from `zuko`."""
    return coupling_flow(latent, features, transforms, hidden)


POSTERIORS: dict[str, Callable[..., nn.Module]] = {
    "diagonal-normal": DiagonalNormal,
    "full-rank-normal": FullRankNormal,
    "flow": flow,
}
