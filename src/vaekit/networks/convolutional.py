"""Convolutional networks for images."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..errors import check_least
from .base import (
    NORMALIZATIONS,
    LoneRowNorm,
    Shape,
    activation_named,
    check_dropout,
    check_normalization,
    join,
    sizes_of,
    with_channels,
)


def _in_full_if_narrow(convolve: Callable[[Tensor], Tensor], weight: Tensor, images: Tensor) -> Tensor:
    """`convolve` of images (…, H, W), in the type of its weight where they are narrower than the kernel.

    On processors with products in bfloat16 torch 2.13 makes the gradient of such a layer's weight from memory that was
    never written. They are the smallest of layers: nothing is lost.
    """
    kind = images.device.type
    narrow = any(map(operator.lt, images.shape[-2:], weight.shape[-2:]))
    if not narrow or kind == "meta" or not torch.is_autocast_enabled(kind):
        return convolve(images)
    with torch.autocast(kind, enabled=False):
        return convolve(images.to(weight.dtype))


class Conv(nn.Conv2d):
    """As torch's, but in full precision where images are narrower than the kernel."""

    def forward(self, images: Tensor) -> Tensor:
        return _in_full_if_narrow(super().forward, self.weight, images)


class TransposedConv(nn.ConvTranspose2d):
    """As torch's, but in full precision where images are narrower than the kernel."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        return _in_full_if_narrow(super().forward, self.weight, images)


class MapBatchNorm(LoneRowNorm, nn.BatchNorm2d):
    """As `BatchNorm`, of maps (B, C, H, W): each channel over all rows and places.

    >>> MapBatchNorm(3)(torch.randn(4, 3, 5, 5)).mean((0, 2, 3)).abs().max() < 1e-6
    tensor(True)
    """


MAP_NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": MapBatchNorm,
    "layer": lambda channels: nn.GroupNorm(1, channels),
}
"""Those of `NORMALIZATIONS`, of maps."""


class ConvEncoder(nn.Module):
    """Strided 3×3 convolutions, each halving height and width (rounded up), then one fully connected layer.

    Images (…, C, H, W) of any size; y (…, condition) joins the image as constant channels. With `late_condition` it
    joins the features behind the convolutions: for y of many numbers, which cost less there, and for y that is drawn,
    whose noise would be at every place of the image and drown it.

    Before each hidden activation there may be a `normalization`: batch, over the rows and places of a channel (Ioffe &
    Szegedy 2015), or layer, over channels and places of a row. `dropout` is the part of the last hidden layer's outputs
    that is set to 0 in training, others each time (Srivastava et al. 2014). A classifier of few labels needs both.

    >>> ConvEncoder((1, 28, 20), channels=(8, 16), dense=32)(torch.zeros(5, 1, 28, 20)).shape
    torch.Size([5, 32])
    """

    def __init__(  # noqa: PLR0913 - options of a network
        self,
        in_shape: Shape,
        out_shape: Shape | None = None,
        condition: int = 0,
        channels: tuple[int, ...] = (32, 64),
        dense: int = 256,
        activation: str = "relu",
        late_condition: bool = False,
        normalization: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_shape, self.condition = image_shape(in_shape), condition
        _check_sizes(channels, dense)
        check_normalization(normalization)
        check_dropout(dropout)
        bias = normalization != "batch"  # the average over the batch takes it away
        self.early, self.late = (0, condition) if late_condition else (condition, 0)
        sizes = [in_shape[0] + self.early, *channels]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers.append(Conv(fan_in, fan_out, 3, stride=2, padding=1, bias=bias))
            layers += [MAP_NORMALIZATIONS[normalization](fan_out)] if normalization else []
            layers.append(activation_named(activation))
        height, width = _halvings(in_shape[1:], len(channels))[-1]
        self.convolutions = len(layers) + 1  # the flattening, too
        fan_in = channels[-1] * height * width + self.late
        layers += [nn.Flatten(), nn.Linear(fan_in, dense, bias)]
        layers += [NORMALIZATIONS[normalization](dense)] if normalization else []
        layers.append(activation_named(activation))
        layers += [nn.Dropout(dropout)] if dropout else []
        if out_shape is not None:
            layers.append(nn.Linear(dense, math.prod(out_shape)))
        self.out_shape = (dense,) if out_shape is None else tuple(out_shape)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = with_channels(x, y, self.early)
        features = self.layers[: self.convolutions](x.reshape(-1, *x.shape[-3:]))
        features = join(features.reshape(*x.shape[:-3], -1), y, self.late)
        return self.layers[self.convolutions :](features).reshape(*features.shape[:-1], *self.out_shape)


class ConvDecoder(nn.Module):
    """One fully connected layer, then transposed 3×3 convolutions, each doubling height and width back to the image's.

    z (…, *in_shape) to parameter maps (…, P, C, H, W); y (…, condition) joins z. The mirror of `ConvEncoder`:
    `channels` are given in its order, from the image inwards.

    >>> ConvDecoder((10,), (2, 1, 28, 20), channels=(8, 16))(torch.zeros(3, 5, 10)).shape
    torch.Size([3, 5, 2, 1, 28, 20])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        condition: int = 0,
        channels: tuple[int, ...] = (32, 64),
        dense: int = 256,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = sizes_of("in_shape", in_shape), sizes_of("out_shape", out_shape)
        image_shape(out_shape[-3:])
        _check_sizes(channels, dense)
        self.condition = condition
        sizes = _halvings(out_shape[-2:], len(channels))
        height, width = sizes[-1]
        layers: list[nn.Module] = [
            nn.Linear(math.prod(in_shape) + condition, dense),
            activation_named(activation),
            nn.Linear(dense, channels[-1] * height * width),
            activation_named(activation),
            nn.Unflatten(-1, (channels[-1], height, width)),
        ]
        maps = [*reversed(channels), math.prod(out_shape[:-2])]
        for i, (fan_in, fan_out) in enumerate(pairwise(maps)):
            (small, target) = (sizes[-1 - i], sizes[-2 - i])
            # A stride of 2 maps n to 2n - 1; output padding makes up the one missing row or column of an even size.
            extra = (target[0] - (2 * small[0] - 1), target[1] - (2 * small[1] - 1))
            layers.append(TransposedConv(fan_in, fan_out, 3, stride=2, padding=1, output_padding=extra))
            if i < len(channels) - 1:
                layers.append(activation_named(activation))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        flat = join(x.flatten(x.dim() - len(self.in_shape)), y, self.condition)
        return self.layers(flat.reshape(-1, flat.shape[-1])).reshape(*flat.shape[:-1], *self.out_shape)


def image_shape(shape: Shape) -> tuple[int, ...]:
    """The shape (C, H, W) of images; `ValueError` for any other."""
    if len(sizes_of("the shape of images", shape)) != 3:
        raise ValueError(
            f"a convolutional network needs images of shape (C, H, W), got data of shape {tuple(shape)}; use 'mlp'"
        )
    return tuple(shape)


def _check_sizes(channels: tuple[int, ...], dense: int) -> None:
    sizes_of("channels", channels)
    if not channels or any(width < 1 for width in channels):
        raise ValueError(f"channels must be one or more sizes of at least 1, got {list(channels)}")
    check_least("dense", dense)


def _halvings(size: Shape, times: int) -> list[tuple[int, int]]:
    sizes = [(size[0], size[1])]
    for _ in range(times):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes
