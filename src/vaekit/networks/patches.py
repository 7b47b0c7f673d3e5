"""A discriminator of patches of images."""

from __future__ import annotations

import math

from torch import Tensor, nn

from .base import Shape
from .convolutional import Conv, image_shape

LAYERS, WIDEST = 3, 8
"""The strided convolutions of images that are large enough, and how much wider than the first the widest may be."""


class PatchDiscriminator(nn.Module):
    """Logits of whether overlapping patches of an image are real, (…, C, H, W) to (…, 1, H', W') (Isola et al. 2017).

    Strided 4×4 convolutions, three or as many as leave four rows and columns, and two that are not; of three the
    patches have 70 rows and columns. `channels` are those of the first, twice as many in each that follows, up to eight
    times. Each image is normalised by itself (Wu & He 2018), not over the batch: what is said of one does not depend on
    others.

    >>> import torch
    >>> PatchDiscriminator((3, 32, 32), channels=8)(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 1, 2, 2])
    """

    def __init__(self, in_shape: Shape, channels: int = 64) -> None:
        super().__init__()
        self.in_shape = image_shape(in_shape)
        least = min(self.in_shape[1:])
        if least < 4 or channels < 1:
            given = f"images of {self.in_shape[1]}x{self.in_shape[2]} and channels {channels}"
            raise ValueError(f"a discriminator of patches got {given}; accepted: sides from 4 and channels from 1 on")
        strided = min(LAYERS, int(math.log2(least)) - 2)
        layers: list[nn.Module] = [_layer(self.in_shape[0], channels, 2 if strided else 1), nn.LeakyReLU(0.2)]
        for i in range(1, strided + 1):
            fan_in, fan_out = (channels * min(2**level, WIDEST) for level in (i - 1, i))
            norm = nn.GroupNorm(math.gcd(32, fan_out), fan_out)
            layers += [_layer(fan_in, fan_out, 2 if i < strided else 1), norm, nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, _layer(channels * min(2**strided, WIDEST), 1, 1))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        found = self.layers(x.reshape(-1, *self.in_shape))
        return found.reshape(*x.shape[:-3], *found.shape[1:])


def _layer(fan_in: int, fan_out: int, stride: int) -> nn.Module:
    return Conv(fan_in, fan_out, 4, stride=stride, padding=1)
