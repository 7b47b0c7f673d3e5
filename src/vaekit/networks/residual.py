"""Residual networks for images of any size, with attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu
from torch.utils.checkpoint import checkpoint as recomputed

from .base import Shape, join, sizes_of, with_channels
from .convolutional import Conv, image_shape

LEAST = 8
"""Height and width are halved until the smaller of them is at most this, where nobody says how often."""
FIRST, WIDEST = 16, 256
"""The channels of the first level, twice as many in each that follows, and the most, where nobody gives them."""
GROUPS, GROUP = 32, 4
"""Channels are normalised in at most so many groups (Wu & He 2018), all levels in as many, of at least so many
channels: one alone would forget how bright its image is, and how rich in contrast."""


class Block(nn.Module):
    """x + f(x), f twice a group normalisation, SiLU and a 3×3 convolution (He et al. 2016).

    A block adds nothing at first. Where the channels change, x passes a 1×1 convolution.

    >>> Block(8, 16)(torch.zeros(2, 8, 5, 5)).shape
    torch.Size([2, 16, 5, 5])
    """

    def __init__(self, fan_in: int, fan_out: int, groups: int = 1) -> None:
        super().__init__()
        self.norm1, self.conv1 = normalized(fan_in, groups), Conv(fan_in, fan_out, 3, padding=1)
        self.norm2, self.conv2 = normalized(fan_out, groups), Conv(fan_out, fan_out, 3, padding=1)
        self.shortcut = nn.Identity() if fan_in == fan_out else Conv(fan_in, fan_out, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(silu(self.norm2(self.conv1(silu(self.norm1(x))))))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """x + what each place of an image takes from all others, in one head (Vaswani et al. 2017).

    >>> Attention(8)(torch.zeros(2, 8, 5, 4)).shape
    torch.Size([2, 8, 5, 4])
    """

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__()
        self.norm = normalized(channels, groups)
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        places = self.norm(x).flatten(2).transpose(1, 2)  # (N, H W, C)
        found = scaled_dot_product_attention(self.query(places), self.key(places), self.value(places))
        return x + self.out(found).transpose(1, 2).unflatten(2, x.shape[2:])


class Down(nn.Module):
    """Height and width divided by `factor`, rounded up: a convolution of that stride, 3×3 for 2.

    What the last place of a side lacks is zeros: of an even size, divided by 2, one row below and one column to the
    right, as in latent diffusion (Rombach et al. 2022).
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor, kernel = factor, 3 if factor == 2 else factor
        self.conv = nn.Conv2d(channels, channels, kernel, stride=factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, [p for size in (x.shape[-1], x.shape[-2]) for p in self._padding(size)]))

    def _padding(self, size: int) -> tuple[int, int]:
        lacks = (math.ceil(size / self.factor) - 1) * self.factor + self.conv.kernel_size[0] - size
        return lacks // 2, lacks - lacks // 2


class Up(nn.Module):
    """Height and width brought to `size` by repeating what is nearest, then a 3×3 convolution (Odena et al. 2016)."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.conv = size, Conv(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, size=self.size, mode="nearest"))


class Stages(nn.Module):
    """Levels of blocks one after another, each level with what leads to the next; (N, C, H, W) to (N, C', H', W').

    With `checkpoint` what a block computes is not kept but computed again on the way back, where there is one: a third
    more time, for a fraction of the memory (Chen et al. 2016).
    """

    def __init__(self, layers: Sequence[nn.Module], checkpoint: bool) -> None:
        super().__init__()
        self.layers, self.checkpoint = nn.ModuleList(layers), checkpoint

    def forward(self, x: Tensor) -> Tensor:
        again = self.checkpoint and torch.is_grad_enabled()
        for layer in self.layers:
            x = recomputed(layer, x, use_reentrant=False, preserve_rng_state=False) if again else layer(x)
        return x


class ResNetEncoder(nn.Module):
    """Residual blocks at ever fewer places: images (…, C, H, W) of any size to maps of features (…, F, H', W').

    channels     of each level, from the image inwards; between two levels height and width are divided, rounded up
    blocks       residual blocks of a level; 0 for convolutions alone
    attention    the sizes (of the smaller side) of the levels at which attention follows each block
    factors      what height and width are divided by, from level to level: 2 where none are given
    checkpoint   whether blocks are computed again on the way back instead of being kept: for large images
    groups       of channels that are normalised together, 4 channels in each at least where nobody says: at most 32

    Two blocks with attention between them come last. The layers are those of the autoencoders of latent diffusion
    (Rombach et al. 2022), which `interop.diffusers` reads and writes. Where no `channels` are given, height and width
    are halved until the smaller is at most 8; levels have 16, 32, 64, 128, then 256 channels. y (…, condition) joins
    the image as constant channels. With an `out_shape` a linear layer follows.

    >>> ResNetEncoder((3, 32, 32), channels=(8, 16), blocks=1)(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 16, 16, 16])
    """

    def __init__(  # noqa: PLR0913 - a network's options are its arguments
        self,
        in_shape: Shape,
        out_shape: Shape | None = None,
        condition: int = 0,
        channels: tuple[int, ...] = (),
        blocks: int = 2,
        attention: tuple[int, ...] = (),
        factors: tuple[int, ...] = (),
        checkpoint: bool = False,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        self.in_shape, self.condition = image_shape(in_shape), condition
        channels, factors, sizes = levels(self.in_shape[1:], channels, factors, blocks)
        self.channels, self.factors, self.blocks, self.attention = channels, factors, blocks, tuple(attention)
        groups = grouped(channels, groups)
        layers: list[nn.Module] = [Conv(self.in_shape[0] + condition, channels[0], 3, padding=1)]
        before = channels[0]
        for width, size, factor in zip(channels, sizes, (*factors, 0), strict=True):
            layers += _level(before, width, blocks, groups, min(size) in attention)
            layers += [Down(width, factor)] if factor else []
            before = width
        self.stages = Stages([*layers, *_middle(before, blocks, groups)], checkpoint)
        self.norm = normalized(before, groups)
        maps = (before, *sizes[-1])
        self.head = None if out_shape is None else nn.Linear(math.prod(maps), math.prod(out_shape))
        self.out_shape = maps if out_shape is None else tuple(out_shape)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = with_channels(x, y, self.condition)
        found = silu(self.norm(self.stages(x.reshape(-1, *x.shape[-3:]))))
        found = found if self.head is None else self.head(found.flatten(1))
        return found.reshape(*x.shape[:-3], *self.out_shape)


class ResNetDecoder(nn.Module):
    """The mirror of `ResNetEncoder`, which has the same options: z (…, *in_shape) to parameter maps (…, *out_shape), of
    which the last two are height and width.

    z that is maps (C, H', W') enters as such, if of the height and width of the last level; any other by a linear
    layer. Where no `channels` are given, z that is maps says how often height and width are halved. Each level has one
    block more than the encoder's, as in latent diffusion (Rombach et al. 2022). y (…, condition) joins z.

    >>> ResNetDecoder((10,), (2, 3, 32, 32), channels=(8, 16), blocks=1)(torch.zeros(5, 7, 10)).shape
    torch.Size([5, 7, 2, 3, 32, 32])
    """

    def __init__(  # noqa: PLR0913 - a network's options are its arguments
        self,
        in_shape: Shape,
        out_shape: Shape,
        condition: int = 0,
        channels: tuple[int, ...] = (),
        blocks: int = 2,
        attention: tuple[int, ...] = (),
        factors: tuple[int, ...] = (),
        checkpoint: bool = False,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = sizes_of("in_shape", in_shape), sizes_of("out_shape", out_shape)
        image_shape(out_shape[-3:])
        self.condition = condition
        places = tuple(in_shape[1:]) if len(in_shape) == 3 else None
        channels, factors, sizes = levels(out_shape[-2:], channels, factors, blocks, places)
        self.maps = places == sizes[-1]
        inner = (channels[-1], *sizes[-1])
        if self.maps:
            fan_in = in_shape[0] + condition
            entry: list[nn.Module] = [Conv(fan_in, fan_in, 1), Conv(fan_in, channels[-1], 3, padding=1)]
        else:
            entry = [nn.Linear(math.prod(in_shape) + condition, math.prod(inner)), nn.Unflatten(-1, inner)]
        self.entry = nn.Sequential(*entry)
        groups = grouped(channels, groups)
        layers, before = _middle(channels[-1], blocks, groups), channels[-1]
        for at in reversed(range(len(channels))):
            layers += _level(before, channels[at], blocks + bool(blocks), groups, min(sizes[at]) in attention)
            layers += [Up(channels[at], sizes[at - 1])] if at else []
            before = channels[at]
        self.stages = Stages(layers, checkpoint)
        self.norm, self.out = normalized(before, groups), Conv(before, math.prod(out_shape[:-2]), 3, padding=1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        lead = x.shape[: x.dim() - len(self.in_shape)]
        if self.maps:
            x = with_channels(x, y, self.condition)
            lead = x.shape[:-3]
            entry = self.entry(x.reshape(-1, *x.shape[-3:]))
        else:
            both = join(x.flatten(len(lead)), y, self.condition)
            lead = both.shape[:-1]
            entry = self.entry(both.reshape(-1, both.shape[-1]))
        return self.out(silu(self.norm(self.stages(entry)))).reshape(*lead, *self.out_shape)


def grouped(channels: Sequence[int], groups: int | None = None) -> int:
    """How many groups the channels of each level are normalised in, where nobody says so.

    >>> grouped([128, 256, 512]), grouped([32, 64]), grouped([2, 3])
    (32, 8, 1)
    """
    if groups is None:
        most = max(1, min(GROUPS, min(channels) // GROUP))
        return max(n for n in range(1, most + 1) if all(width % n == 0 for width in channels))
    if groups < 1 or any(width % groups for width in channels):
        raise ValueError(f"groups is {groups}; accepted: a number that divides all channels {list(channels)}")
    return groups


def normalized(channels: int, groups: int) -> nn.GroupNorm:
    """Each image standardised over the places and channels of each group of channels (Wu & He 2018)."""
    return nn.GroupNorm(groups, channels, eps=1e-6)


def levels(
    size: Shape, channels: tuple[int, ...], factors: tuple[int, ...], blocks: int, last: Shape | None = None
) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """The channels, the factors between and the heights and widths of levels, those that nobody gives derived from the
    height and width of an image, and of the `last` level if they are known.

    Raises `ValueError` where they do not fit together.
    """
    channels, factors = sizes_of("channels", channels), sizes_of("factors", factors)
    if not channels:
        usual = max(0, math.ceil(math.log2(min(size) / LEAST)))
        reached = (n for n in range(usual + 4) if last is not None and _divided(size, 2**n) == tuple(last))
        halvings = len(factors) or next(reached, usual)
        channels = tuple(min(FIRST << level, WIDEST) for level in range(halvings + 1))
    factors = factors or (2,) * (len(channels) - 1)
    if blocks < 0 or min(channels) < 1 or len(factors) != len(channels) - 1 or min(factors, default=2) < 2:
        given = f"channels {list(channels)}, factors {list(factors)}, blocks {blocks}"
        accepted = "channels of at least 1, blocks of at least 0, a factor of at least 2 between each two channels"
        raise ValueError(f"levels have {given}; accepted: {accepted}")
    sizes = [(size[0], size[1])]
    for factor in factors:
        sizes.append(_divided(sizes[-1], factor))
    return channels, factors, sizes


def _divided(size: Shape, factor: int) -> tuple[int, int]:
    """Height and width divided, rounded up."""
    return -(-size[0] // factor), -(-size[1] // factor)


def _level(before: int, width: int, blocks: int, groups: int, attends: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for fan_in in [before, *[width] * (blocks - 1)][:blocks]:
        layers += [Block(fan_in, width, groups), *([Attention(width, groups)] if attends else [])]
    return layers


def _middle(width: int, blocks: int, groups: int) -> list[nn.Module]:
    if not blocks:
        return []
    return [Block(width, width, groups), Attention(width, groups), Block(width, width, groups)]
