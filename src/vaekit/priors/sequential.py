"""A prior whose parts of a latent are drawn one after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from ..distributions.bounds import bounded
from ..distributions.mixtures import Mixture
from ..distributions.sequential import Sequential
from ..distributions.shapes import independent
from ..errors import check_least
from .attention import Attending


class Transformer(Attending):
    """p(z) = prod_t p(z_t given z_1 … z_{t-1}), each part a mixture of diagonal normals whose parameters a causal
    transformer makes of the parts before it: autoregressive, as in Chen et al. 2017 (VLAE), with the network of Radford
    et al. 2019.

    A part of maps (C, H, W) is the C numbers at one place, in raster order; of a vector (D,) it is one number. log p is
    exact and costs one pass, a draw one for each part. Given y, linear in y what it begins with. It starts near
    N(0, I), and draws carry no gradient.

    >>> prior = Transformer(latent=12, latent_shape=(3, 2, 2), width=8, layers=1)
    >>> prior().log_prob(prior().sample((5,))).shape
    torch.Size([5])
    """

    def __init__(
        self,
        latent: int,
        condition: int = 0,
        latent_shape: Sequence[int] = (),
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        components: int = 4,
    ) -> None:
        check_least("components", components)
        channels = latent_shape[0] if len(latent_shape) == 3 else 1
        parts = (latent // channels, channels)
        super().__init__(parts[0], components * (2 * channels + 1), condition, width, layers, heads, causal=True)
        self.parts, self.components = parts, components
        # The last part is given to none.
        self.entry = nn.Linear(channels, width) if parts[0] > 1 else None
        with torch.no_grad():
            self.out.weight.zero_()
            # Components that were all alike would stay so.
            self.out.bias.normal_(std=0.1 if components > 1 else 0.0)

    def forward(self, y: Tensor | None = None) -> Distribution:
        lead = () if y is None else y.shape[:-1]
        return Sequential(self._given, self._draw, self.parts, self.context(y), lead)

    def _given(self, parts: Tensor, context: Tensor | None) -> Distribution:
        before = None if self.entry is None else self.entry(parts[:, :-1])
        return self._mixture(self.through(self.after(before, parts.shape[0], context)))

    def _draw(self, n: int, context: Tensor | None) -> Tensor:
        return self.in_turn(n, context, self.entry, lambda made: self._mixture(made).sample())

    def _mixture(self, made: Tensor) -> Distribution:
        """That of a part by the numbers (…, components (2 C + 1)) that are made for it."""
        channels = self.parts[1]
        each = made.unflatten(-1, (self.components, -1))
        logits, loc, log_variance = each.split([1, channels, channels], -1)
        scale = (0.5 * bounded(log_variance, -10.0, 10.0)).exp()
        return Mixture(logits.squeeze(-1), independent(Normal(loc, scale, validate_args=False)))
