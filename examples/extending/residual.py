"""A network of your own: an encoder and a decoder whose layers add to what they are given.

vaekit train digits --parts residual.py:PARTS --set model.encoder=residual --set model.decoder=residual
"""

import math

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """(…, *in_shape), with y (…, condition) if there is one, to (…, *out_shape), or to `width` features."""

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...] | None = None,
        condition: int = 0,
        width: int = 128,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape, self.condition = in_shape, out_shape or (width,), condition
        self.first = nn.Linear(math.prod(in_shape) + condition, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.GELU(), nn.Linear(width, width)) for _ in range(blocks))
        self.last = nn.Linear(width, math.prod(self.out_shape))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        given = x.flatten(x.dim() - len(self.in_shape))
        if y is not None and self.condition:
            lead = torch.broadcast_shapes(given.shape[:-1], y.shape[:-1])
            given = torch.cat([given.expand(*lead, -1), y.expand(*lead, -1)], -1)
        hidden = self.first(given)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(hidden).unflatten(-1, self.out_shape)


PARTS = {"encoders": {"residual": Residual}, "decoders": {"residual": Residual}}
