"""Vectors whose parts are drawn one after another, each of a distribution that those before it give."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from .shapes import _Shape, broadcast_shapes, rows_of


class Sequential(Distribution):
    """p(z) = prod_t p(z_t given z_1 … z_{t-1}) of z (…, D) in T parts of C numbers; of maps, z (C, H, W) flattened,
    a part is all that stands at one place, in raster order.

    given    parts (N, T, C) and the context (N, K), or None, to the distribution of each: batch (N, T), event (C,)
    draw     how many (N,), and the context of each or None, to parts (N, T, C), drawn one after another
    parts    T and C
    context  what all of it is given, (*batch, K); None where nothing is
    """

    arg_constraints = {}

    def __init__(
        self,
        given: Callable[[Tensor, Tensor | None], Distribution],
        draw: Callable[[int, Tensor | None], Tensor],
        parts: tuple[int, int],
        context: Tensor | None = None,
        batch_shape: _Shape = (),
    ) -> None:
        self.given, self.draw, self.parts, self.context = given, draw, parts, context
        batch = torch.Size(batch_shape) if context is None else context.shape[:-1]
        super().__init__(batch, torch.Size((math.prod(parts),)), validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Sequential:
        context = None if self.context is None else self.context.expand(*batch_shape, -1)
        return Sequential(self.given, self.draw, self.parts, context, batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        lead = broadcast_shapes(value.shape[:-1], self.batch_shape)
        # z is flattened maps, of which the places come last
        parts = value.expand(*lead, -1).reshape(-1, *reversed(self.parts)).transpose(-1, -2)
        return self.given(parts, rows_of(self.context, lead)).log_prob(parts).sum(-1).view(lead)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        lead = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            parts = self.draw(math.prod(lead), rows_of(self.context, lead))
        return parts.transpose(-1, -2).reshape(*lead, -1)
