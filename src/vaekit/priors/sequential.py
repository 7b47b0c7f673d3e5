"""A prior whose parts of a latent are drawn one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from ..distributions.bounds import bounded
from ..distributions.mixtures import Mixture
from ..distributions.sequential import Sequential
from ..distributions.shapes import independent
from .base import _required
from .tokens import Block


class Transformer(nn.Module):
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
        super().__init__()
        if min(width, layers, heads, components) < 1 or width % heads:
            given = f"width {width}, layers {layers}, heads {heads}, components {components}"
            raise ValueError(f"a transformer has {given}; accepted: 1 or more each, width a multiple of heads")
        channels = latent_shape[0] if len(latent_shape) == 3 else 1
        self.parts, self.components = (latent // channels, channels), components
        # The last part is given to none.
        self.entry = nn.Linear(channels, width) if self.parts[0] > 1 else None
        self.places = nn.Parameter(0.02 * torch.randn(self.parts[0], width))
        self.blocks = nn.ModuleList(Block(width, heads, causal=True) for _ in range(layers))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, components * (2 * channels + 1))
        self.shift = nn.Linear(condition, width, bias=False) if condition else None
        with torch.no_grad():
            self.out.weight.zero_()
            # Components that were all alike would stay so.
            self.out.bias.normal_(std=0.1 if components > 1 else 0.0)

    def forward(self, y: Tensor | None = None) -> Distribution:
        if self.shift is not None:
            context = self.shift(_required(y, self.shift).to(self.places.dtype))
            return Sequential(self._given, self._draw, self.parts, context)
        return Sequential(self._given, self._draw, self.parts, batch_shape=() if y is None else y.shape[:-1])

    def _given(self, parts: Tensor, context: Tensor | None) -> Distribution:
        first = self._first(len(parts), context)
        x = first if self.entry is None else torch.cat([first, self.entry(parts[:, :-1])], 1)
        x = x + self.places
        for block in self.blocks:
            x, _ = block(x)
        return self._mixture(x)

    def _draw(self, n: int, context: Tensor | None) -> Tensor:
        known: list[Any] = [None] * len(self.blocks)
        drawn: list[Tensor] = []
        for place in self.places:
            x = self._first(n, context) if not drawn else self.entry(drawn[-1])  # type: ignore[misc]
            x = x + place
            for i, block in enumerate(self.blocks):
                x, known[i] = block(x, known[i])
            drawn.append(self._mixture(x).sample())
        return torch.cat(drawn, 1)

    def _first(self, n: int, context: Tensor | None) -> Tensor:
        """What stands where nothing is before, (n, 1, width)."""
        return self.places.new_zeros(n, 1, self.places.shape[1]) if context is None else context.unsqueeze(1)

    def _mixture(self, x: Tensor) -> Distribution:
        channels = self.parts[1]
        made = self.out(self.norm(x)).unflatten(-1, (self.components, -1))
        logits, loc, log_variance = made.split([1, channels, channels], -1)
        scale = (0.5 * bounded(log_variance, -10.0, 10.0)).exp()
        return Mixture(logits.squeeze(-1), independent(Normal(loc, scale, validate_args=False)))
