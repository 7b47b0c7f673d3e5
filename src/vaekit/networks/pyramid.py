"""Networks of very deep VAEs: features of an image at several resolutions, and a way down from the coarsest of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, gelu, interpolate

from ..distributions.shapes import broadcast_shapes
from .base import Shape, required, with_channels
from .convolutional import Conv, image_shape
from .residual import levels


class Bottleneck(nn.Module):
    """GELU and a convolution, four times: 1×1 to `inner` channels, twice 3×3, 1×1 to `fan_out` (Child 2021, figure 3).

    Where images are 1 or 2 wide, 1×1 in place of 3×3. `scale` is what the last one's initial weights are multiplied by.

    >>> Bottleneck(8, 4, 16, size=(5, 5))(torch.zeros(2, 8, 5, 5)).shape
    torch.Size([2, 16, 5, 5])
    """

    def __init__(self, fan_in: int, inner: int, fan_out: int, size: Shape, scale: float = 1.0) -> None:
        super().__init__()
        kernel = 3 if min(size) > 2 else 1
        last = Conv(inner, fan_out, 1)
        with torch.no_grad():
            last.weight.mul_(scale)
        between = (Conv(inner, inner, kernel, padding=kernel // 2) for _ in range(2))
        self.convolutions = nn.ModuleList([Conv(fan_in, inner, 1), *between, last])

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = convolution(gelu(x))
        return x


class PyramidEncoder(nn.Module):
    """Images (…, C, H, W) of any size to features at several resolutions: `pyramid` gives all of them, the finest
    first, a call the coarsest, (…, F, H', W').

    channels     of each level, from the image inwards; between two levels, averages over places
    blocks       residual blocks of each level, 2 each where none are given
    factors      what height and width are divided by from level to level, rounded up: 2 where none are given
    bottleneck   the channels inside a block, as a part of the level's

    Where no `channels` are given, as many levels as `resnet` has. y (…, condition) joins the image as constant
    channels.

    >>> encoder = PyramidEncoder((3, 32, 32), channels=(8, 16))
    >>> [tuple(level.shape) for level in encoder.pyramid(torch.zeros(5, 3, 32, 32))]
    [(5, 8, 32, 32), (5, 16, 16, 16)]
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape | None = None,
        condition: int = 0,
        channels: tuple[int, ...] = (),
        blocks: tuple[int, ...] = (),
        factors: tuple[int, ...] = (),
        bottleneck: float = 0.5,
    ) -> None:
        super().__init__()
        self.in_shape, self.condition = image_shape(in_shape), condition
        channels, self.factors, sizes = levels(self.in_shape[1:], channels, factors, 1)
        blocks = blocks or (2,) * len(channels)
        if len(blocks) != len(channels) or min(blocks) < 0 or not 0 < bottleneck <= 1:
            given = f"blocks {list(blocks)} for {len(channels)} levels, bottleneck {bottleneck}"
            raise ValueError(f"a pyramid has {given}; accepted: a number for each level, a part in (0, 1]")
        self.shapes = [(width, *size) for width, size in zip(channels, sizes, strict=True)]
        """The shapes of the features, the finest first."""
        scale = 1 / math.sqrt(max(1, sum(blocks)))
        self.entries = nn.ModuleList([Conv(self.in_shape[0] + condition, channels[0], 3, padding=1)])
        self.entries += [Conv(a, b, 1) if a != b else nn.Identity() for a, b in pairwise(channels)]
        self.levels = nn.ModuleList(
            nn.ModuleList(Bottleneck(width, narrowed(width, bottleneck), width, size, scale) for _ in range(count))
            for width, size, count in zip(channels, sizes, blocks, strict=True)
        )
        self.head = None if out_shape is None else nn.Linear(math.prod(self.shapes[-1]), math.prod(out_shape))
        self.out_shape = self.shapes[-1] if out_shape is None else tuple(out_shape)

    def pyramid(self, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """The features at each resolution, the finest first."""
        x = with_channels(x, y, self.condition)
        h, found = x.reshape(-1, *x.shape[-3:]), []
        for entry, blocks, factor in zip(self.entries, self.levels, (1, *self.factors), strict=True):
            h = entry(h if factor == 1 else avg_pool2d(h, factor, ceil_mode=True, count_include_pad=False))
            for block in blocks:  # type: ignore[attr-defined]
                h = h + block(h)
            found.append(h.reshape(*x.shape[:-3], *h.shape[1:]))
        return found

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        coarsest = self.pyramid(x, y)[-1]
        return coarsest if self.head is None else self.head(coarsest.flatten(-3)).unflatten(-1, self.out_shape)


class Rung(nn.Module):
    """The networks of one group of latents on the way down: of its posterior, of its prior, and of the step past it.

    h (…, W, H, W'), features of data of the same shape; `channels` are the latent's, `inner` those within blocks.
    """

    def __init__(self, shape: Shape, channels: int, inner: int, scale: float) -> None:
        super().__init__()
        width, size = shape[0], shape[1:]
        self.out_shape = (inner, *size)
        self.posterior = Bottleneck(2 * width, inner, inner, size)
        self.prior = Bottleneck(width, inner, inner, size)
        self.added = Conv(inner, width, 1)
        self.latent = Conv(channels, width, 1)
        self.block = Bottleneck(width, inner, width, size, scale)
        with torch.no_grad():
            self.latent.weight.mul_(scale)
            self.added.weight.zero_()

    def inferred(self, h: Tensor, features: Tensor) -> Tensor:
        """What q of the group is made of, (…, *out_shape)."""
        if h.shape[-3:] != features.shape[-3:]:
            maps, given = tuple(h.shape[-3:]), tuple(features.shape[-3:])
            raise ValueError(
                f"the way down has maps {maps} where the encoder has {given}; accepted: those of its shapes"
            )
        lead = broadcast_shapes(h.shape[:-3], features.shape[:-3])
        both = torch.cat([each.expand(*lead, *each.shape[-3:]) for each in (h, features)], -3)
        return by_rows(lambda x: gelu(self.posterior(x)), both)

    def expected(self, h: Tensor) -> Tensor:
        """What p of the group is made of, (…, *out_shape)."""
        return by_rows(lambda x: gelu(self.prior(x)), h)

    def passed(self, h: Tensor, expected: Tensor, z: Tensor) -> Tensor:
        """h once it knows z (…, C, H, W') of the group."""
        h = h + by_rows(self.added, expected)
        h = h + by_rows(self.latent, z)
        return h + by_rows(self.block, h)


Take = Callable[[int, Tensor | None, Tensor], Tensor]
"""z (…, C, H, W) of a group by its number, given what q is made of, if there are data, and what p is made of."""


class TopDown(nn.Module):
    """The decoder of a very deep VAE, a way down: from a learned start at the coarsest of `shapes`, the finest of which
    is first, past `groups` latents at each of them, those of the coarsest first, to what `end`, a network, makes of it
    (Child 2021, section 3). y (…, condition) enters the start.

    z (…, D) is of all groups side by side, in the order of being passed.

    >>> down = TopDown([(8, 4, 4), (16, 2, 2)], groups=(1, 2), channels=3, end=Conv(8, 1, 3, padding=1))
    >>> down.latent_shapes
    [(3, 2, 2), (3, 4, 4), (3, 4, 4)]
    >>> down(torch.zeros(5, 108)).shape
    torch.Size([5, 1, 4, 4])
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        groups: Sequence[int],
        channels: int,
        end: nn.Module,
        bottleneck: float = 0.5,
        condition: int = 0,
    ) -> None:
        super().__init__()
        if len(groups) != len(shapes) or min(groups) < 0 or not sum(groups):
            raise ValueError(
                f"groups of latents are {list(groups)}; accepted: how many there are at each of {len(shapes)} levels, "
                "the coarsest first, one at least in all"
            )
        self.condition = condition
        downwards = [tuple(shape) for shape in reversed(shapes)]
        self.levels = [level for level, count in enumerate(groups) for _ in range(count)]
        """For each group the level of it, 0 the coarsest."""
        self.shapes = downwards
        self.latent_shapes = [(channels, *downwards[level][1:]) for level in self.levels]
        self.in_shape = (sum(map(math.prod, self.latent_shapes)),)
        self.start = nn.Parameter(torch.zeros(downwards[0]))
        self.given = nn.Linear(condition, downwards[0][0]) if condition else None
        self.ups = nn.ModuleList(
            Conv(above[0], below[0], 1) if above[0] != below[0] else nn.Identity()
            for above, below in pairwise(downwards)
        )
        self.places = nn.ParameterList(nn.Parameter(torch.zeros(shape)) for shape in downwards[1:])
        scale = 1 / math.sqrt(len(self.levels))
        self.rungs = nn.ModuleList(
            Rung(downwards[level], channels, narrowed(downwards[level][0], bottleneck), scale) for level in self.levels
        )
        self.end = end  # last, as what comes last

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        parts = z.split([math.prod(shape) for shape in self.latent_shapes], -1)
        return self.walk(lambda i, *_: parts[i].unflatten(-1, self.latent_shapes[i]), y)

    def walk(self, take: Take, y: Tensor | None = None, features: Sequence[Tensor] | None = None) -> Tensor:
        """What the way down ends in, z of each group as taken; with the `features` of data, the finest first."""
        h, level = self.begun(y), 0
        for i, (rung, target) in enumerate(zip(self.rungs, self.levels, strict=True)):
            h, level = self.descended(h, level, target), target
            inferred = None if features is None else rung.inferred(h, features[-1 - level])  # type: ignore[operator]
            expected = rung.expected(h)  # type: ignore[operator]
            h = rung.passed(h, expected, take(i, inferred, expected))  # type: ignore[operator]
        return by_rows(self.end, self.descended(h, level, len(self.shapes) - 1))

    def begun(self, y: Tensor | None) -> Tensor:
        """h at the coarsest level, (W, H, W'), the same for all; or (…, W, H, W') of those that are given y."""
        h = self.start
        return h if self.given is None else h + self.given(required(y, self.condition))[..., None, None]

    def descended(self, h: Tensor, level: int, target: int) -> Tensor:
        """h of one level at a `target` level, by what is nearest, with what is learned of each place added."""
        for at in range(level, target):
            size = self.shapes[at + 1][1:]
            raised = by_rows(self.ups[at], h)
            h = by_rows(partial(interpolate, size=size, mode="nearest"), raised) + self.places[at]
        return h


def narrowed(width: int, bottleneck: float) -> int:
    """The channels inside a block of that width."""
    return max(1, round(width * bottleneck))


def by_rows(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What `function` of images makes of x (…, C, H, W)."""
    if x.dim() == 4:
        return function(x)
    made = function(x.reshape(-1, *x.shape[-3:]))
    return made.reshape(*x.shape[:-3], *made.shape[1:])
