"""Posteriors of shares: points of the simplex."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Dirichlet as Shares
from torch.distributions import Distribution
from torch.nn.functional import softplus

from ..distributions.bounds import bounded, checked_clamp
from ..distributions.simplex import SIMPLEX, check_size
from .continuous import head, standardising


class Dirichlet(nn.Module):
    """q(z given x) = Dirichlet(z; alpha), alpha = softplus of what is linear in the features: z (…, K) are shares that
    add up to 1, as of the topics in a document.

    Draws carry their gradient implicitly (Figurnov et al. 2018), and the KL from the prior `dirichlet` has a closed
    form. alpha is kept in `concentration_clamp`. With `hidden` layers it has an MLP of those sizes on the features;
    with `normalization` batch what softplus is of is standardised over the batch, as in `DiagonalNormal`. Raises
    `ValueError` for a latent of one number.

    >>> import torch
    >>> Dirichlet(features=5, latent=3)(torch.zeros(4, 5)).rsample((2,)).sum(-1).shape
    torch.Size([2, 4])
    """

    space = SIMPLEX

    def __init__(
        self,
        features: int,
        latent: int,
        concentration_clamp: tuple[float, float] = (0.01, 1e4),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
        normalization: str | None = None,
    ) -> None:
        super().__init__()
        check_size(latent)
        self.clamp = checked_clamp("concentration_clamp", concentration_clamp)
        if self.clamp[0] <= 0:
            raise ValueError(f"concentration_clamp must be above 0, got {concentration_clamp}")
        self.head = head(features, (latent,), hidden, activation)
        self.normalize = standardising(normalization, latent, self.head)

    def forward(self, features: Tensor) -> Distribution:
        raw = self.head(features)
        raw = raw if self.normalize is None else self.normalize(raw)
        return Shares(bounded(softplus(raw), *self.clamp), validate_args=False)
