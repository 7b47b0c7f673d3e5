"""A standard normal, one that learns its mean and variance, and a flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from ..distributions.bounds import bounded
from ..distributions.flows import FlowKind, flow_of, passes_said
from ..distributions.normals import UnitNormal
from ..distributions.shapes import independent
from ..networks.base import Shape
from ..networks.maps import Maps, same_places
from .base import of_condition


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


class DiagonalNormal(nn.Module):
    """p(z) = N(z; mu, diag(sigma²)), mu and log sigma² learned; given y, linear in y.

    It starts as N(0, I), but for what y adds. In a hierarchy it is p(z1 given z2), linear in the features of z2; of
    maps (C, H, W), given features that are maps of that height and width, it is a 3×3 convolution of these.

    >>> DiagonalNormal(latent=2)().sample((5,)).shape
    torch.Size([5, 2])
    """

    def __init__(self, latent: int, condition: int = 0, feature_shape: Shape = (), latent_shape: Shape = ()) -> None:
        super().__init__()
        maps = same_places(feature_shape, latent_shape)
        self.start = nn.Parameter(torch.zeros(2 * (latent_shape[0] if maps else latent)))
        self.shift: nn.Module | None = nn.Linear(condition, 2 * latent, bias=False) if condition else None
        if maps:
            self.shift = Maps(feature_shape, 2 * latent_shape[0], bias=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        parameters = self.start
        if self.shift is not None:
            shift = of_condition(self.shift, y, self.start)
            # Of maps one number for all places.
            parameters = (shift.unflatten(-1, (len(self.start), -1)) + self.start.unsqueeze(-1)).flatten(-2)
        loc, log_variance = parameters.chunk(2, -1)
        return independent(Normal(loc, (0.5 * bounded(log_variance, -10.0, 10.0)).exp(), validate_args=False))


def flow(
    latent: int,
    condition: int = 0,
    transforms: int = 4,
    hidden: tuple[int, ...] = (128,),
    kind: FlowKind = "coupling",
) -> nn.Module:
    """A flow, conditioned on y where there is one.

    `kind` says of which layers: `coupling`, real-valued non-volume-preserving ones (Dinh et al. 2017), or of splines,
    `spline-coupling` (Durkan et al. 2019); `maf` and `nsf`, autoregressive ones (Papamakarios et al. 2017; Durkan et
    al. 2019), whose samples take a pass for each dimension of z, and densities, which are what a training needs, one;
    `iaf` the other way round; so is `planar` (Rezende & Mohamed 2015), whose densities take Newton's method.
    """
    made = flow_of(latent, condition, transforms, hidden, kind)
    made.remark = passes_said(kind, latent, "density")  # type: ignore[assignment]
    return made
