"""The features of Inception-v3 as the Fréchet inception distance takes them, whose weights are read from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d, relu

FEATURES, SIDE = 2048, 299
EPSILON = 1e-3
"""What is added to variances of its batch normalisation."""


class Conv(NamedTuple):
    """A convolution without bias, batch normalisation, ReLU. Those of stride 1 keep height and width."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


Branch = tuple[tuple[Conv, ...], ...]
"""Steps one after another, each of convolutions side by side."""


class Block(NamedTuple):
    """Branches side by side, and last what is pooled from 3×3 places, with a 1×1 convolution unless it is `halved`."""

    name: str
    branches: tuple[Branch, ...]
    pool: Literal["mean", "max", "halved"]
    width: int = 0

    @property
    def convs(self) -> tuple[Conv, ...]:
        """What follows the pooling."""
        return () if self.pool == "halved" else (Conv("branch_pool", self.width),)


STEM = (
    (Conv("Conv2d_1a_3x3", 32, (3, 3), 2), 0),
    (Conv("Conv2d_2a_3x3", 32, (3, 3)), 0),
    (Conv("Conv2d_2b_3x3", 64, (3, 3)), 1),
    None,
    (Conv("Conv2d_3b_1x1", 80), 0),
    (Conv("Conv2d_4a_3x3", 192, (3, 3)), 0),
    None,
)
"""The first convolutions with their padding; None is the maximum of 3×3 places at every other one."""
_THIN, _TALL = (1, 7), (7, 1)


def _chain(name: str, *convs: tuple[int, tuple[int, int]], last: int = 1) -> Branch:
    """Convolutions name_1, name_2, …, the last of that stride."""
    strides = [*[1] * (len(convs) - 1), last]
    return tuple(
        (Conv(f"{name}_{i}", *each, stride),) for i, (each, stride) in enumerate(zip(convs, strides, strict=True), 1)
    )


def _a(name: str, width: int) -> Block:
    five = _chain("branch5x5", (48, (1, 1)), (64, (5, 5)))
    three = _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3)))
    return Block(name, (((Conv("branch1x1", 64),),), five, three), "mean", width)


def _c(name: str, width: int) -> Block:
    seven = _chain("branch7x7", (width, (1, 1)), (width, _THIN), (192, _TALL))
    twice = _chain("branch7x7dbl", (width, (1, 1)), (width, _TALL), (width, _THIN), (width, _TALL), (192, _THIN))
    return Block(name, (((Conv("branch1x1", 192),),), seven, twice), "mean", 192)


def _e(name: str, pool: Literal["mean", "max"]) -> Block:
    def both(step: str) -> tuple[Conv, ...]:
        return Conv(f"{step}a", 384, (1, 3)), Conv(f"{step}b", 384, (3, 1))

    three = (*_chain("branch3x3", (384, (1, 1))), both("branch3x3_2"))
    twice = (*_chain("branch3x3dbl", (448, (1, 1)), (384, (3, 3))), both("branch3x3dbl_3"))
    return Block(name, (((Conv("branch1x1", 320),),), three, twice), pool, 192)


BLOCKS = (
    _a("Mixed_5b", 32),
    _a("Mixed_5c", 64),
    _a("Mixed_5d", 64),
    Block(
        "Mixed_6a",
        (
            ((Conv("branch3x3", 384, (3, 3), 2),),),
            _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3)), last=2),
        ),
        "halved",
    ),
    _c("Mixed_6b", 128),
    _c("Mixed_6c", 160),
    _c("Mixed_6d", 160),
    _c("Mixed_6e", 192),
    Block(
        "Mixed_7a",
        (
            _chain("branch3x3", (192, (1, 1)), (320, (3, 3)), last=2),
            _chain("branch7x7x3", (192, (1, 1)), (192, _THIN), (192, _TALL), (192, (3, 3)), last=2),
        ),
        "halved",
    ),
    _e("Mixed_7b", "mean"),
    _e("Mixed_7c", "max"),
)
"""As in the network of 2015 whose features the Fréchet inception distance is of: means of places that there are, and in
the last block a maximum.
"""


class InceptionFeatures(nn.Module):
    """Images (N, 3, H, W), numbers from -1 to 1, to the 2,048 features of Inception-v3 that FID is of, (N, 2048)
    (Szegedy et al. 2016; Heusel et al. 2017).

    The tensors are named as in pytorch-fid's weights (`Conv2d_1a_3x3.conv.weight`, `Conv2d_1a_3x3.bn.weight`, …), or
    torchvision's, which are another network's and give other numbers. Images of other sizes are brought to 299×299 by
    bilinear interpolation, as there. Raises `ValueError` where a tensor lacks.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, before, conv in layers():
            weight = _tensor(tensors, f"{name}.conv.weight", (conv.width, before, *conv.kernel)).double()
            normal = ("weight", "bias", "running_mean", "running_var")
            each = (_tensor(tensors, f"{name}.bn.{key}", (conv.width,)).double() for key in normal)
            scale, shift, mean, variance = each
            factor = scale / (variance + EPSILON).sqrt()  # batch normalisation by its running averages is linear
            kind, key = torch.get_default_dtype(), name.replace(".", "_")
            self.register_buffer(f"{key}_weight", (weight * factor.view(-1, 1, 1, 1)).to(kind), persistent=False)
            self.register_buffer(f"{key}_bias", (shift - mean * factor).to(kind), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        for step in STEM:
            x = max_pool2d(x, 3, 2) if step is None else self._conv(step[0].name, step[0], x, (step[1], step[1]))
        for block in BLOCKS:
            x = self._block(block, x)
        return x.mean((2, 3))

    def _block(self, block: Block, x: Tensor) -> Tensor:
        found = []
        for branch in block.branches:
            y = x
            for step in branch:
                y = torch.cat([self._within(block, conv, y) for conv in step], 1)
            found.append(y)
        if block.pool == "mean":
            x = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        else:
            x = max_pool2d(x, 3, 2) if block.pool == "halved" else max_pool2d(x, 3, 1, 1)
        for conv in block.convs:
            x = self._within(block, conv, x)
        return torch.cat([*found, x], 1)

    def _within(self, block: Block, conv: Conv, x: Tensor) -> Tensor:
        padding = (0, 0) if conv.stride > 1 else (conv.kernel[0] // 2, conv.kernel[1] // 2)
        return self._conv(f"{block.name}.{conv.name}", conv, x, padding)

    def _conv(self, name: str, conv: Conv, x: Tensor, padding: tuple[int, int]) -> Tensor:
        weight, bias = (getattr(self, f"{name.replace('.', '_')}_{each}") for each in ("weight", "bias"))
        return relu(conv2d(x, weight, bias, conv.stride, padding))


def layers() -> Iterator[tuple[str, int, Conv]]:
    """Its convolutions, each with its name in files of weights and how many channels it takes.

    >>> [(name, before, conv.width) for name, before, conv in layers()][-1]
    ('Mixed_7c.branch_pool', 2048, 192)
    """
    before = 3
    for step in STEM:
        if step is not None:
            yield step[0].name, before, step[0]
            before = step[0].width
    for block in BLOCKS:
        after = before if block.pool == "halved" else block.width
        for branch in block.branches:
            inner = before
            for each in branch:
                for conv in each:
                    yield f"{block.name}.{conv.name}", inner, conv
                inner = sum(conv.width for conv in each)
            after += inner
        for conv in block.convs:
            yield f"{block.name}.{conv.name}", before, conv
        before = after


def _tensor(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    given = tensors.get(name)
    if given is None or tuple(given.shape) != shape:
        found = "lacks" if given is None else f"has shape {tuple(given.shape)}"
        raise ValueError(f"weights of Inception-v3: {name!r} {found}; accepted: {shape}, as pytorch-fid has it")
    return given
