"""A standard normal, and a flow from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions.flows import coupling_flow
from ..distributions.normals import UnitNormal
from ..distributions.shapes import independent


class StandardNormal(nn.Module):
    """p(z) = N(z; 0, I), whatever the condition.

    >>> StandardNormal(latent=2)().log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent), persistent=False)
        self.register_buffer("scale", torch.ones(latent), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        lead = () if y is None else y.shape[:-1]
        return independent(UnitNormal(self.loc.expand(*lead, -1), self.scale.expand(*lead, -1), validate_args=False))


def flow(latent: int, condition: int = 0, transforms: int = 4, hidden: tuple[int, ...] = (128,)) -> nn.Module:
    """A real-valued non-volume-preserving flow (Dinh et al. 2017), conditioned on y where there is one, from `zuko`."""
    return coupling_flow(latent, condition, transforms, hidden)
