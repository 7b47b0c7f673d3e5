"""Heads of distributions over maps."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from .base import Shape, activation_named
from .convolutional import Conv


class Maps(nn.Module):
    """A 3×3 convolution of features that are maps of a `shape`, given as vectors (…, F), to `channels` maps, as vectors
    too.

    The first half of the channels makes the first half of a vector: means and log-variances stand side by side, as
    those of a linear head do. Hidden layers are convolutions, an activation after each. Where maps are of one place
    alone, all are 1×1.

    >>> import torch
    >>> Maps((8, 4, 4), 6)(torch.zeros(5, 2, 128)).shape
    torch.Size([5, 2, 96])
    """

    def __init__(
        self, shape: Shape, channels: int, hidden: tuple[int, ...] = (), activation: str = "relu", bias: bool = True
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        kernel = 3 if max(shape[1:]) > 1 else 1
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([shape[0], *hidden]):
            layers += [Conv(fan_in, fan_out, kernel, padding=kernel // 2), activation_named(activation)]
        last = Conv([shape[0], *hidden][-1], channels, kernel, padding=kernel // 2, bias=bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, features: Tensor) -> Tensor:
        maps = self.layers(features.reshape(-1, *self.shape))
        return maps.reshape(*features.shape[:-1], -1)


def same_places(features: Shape, latent: Shape) -> bool:
    """Whether features and a latent of these shapes are both maps, of one height and width."""
    return len(features) == len(latent) == 3 and tuple(features[1:]) == tuple(latent[1:])
