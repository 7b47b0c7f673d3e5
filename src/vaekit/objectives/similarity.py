"""A term of how alike image and reconstruction are in structure, at several scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from ..data.domains import Domain
from ..models.trace import Trace
from ..schedules import Schedule
from .base import Loss, at, take_schedule
from .images import checked_images, compared, expected

WINDOW, SIGMA = 11, 1.5
"""Pixels a side of the window in which images are compared, and the standard deviation of its weights."""
RANGE = 2.0
"""Of images as numbers of order one."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""What each scale counts for, the finest first (Wang et al. 2003, section 3.2)."""


@dataclass(frozen=True)
class StructuralSimilarity:
    """`weight` times 1 - MS-SSIM of image and reconstruction, for each element of a datum (Wang et al. 2003, eq. 7;
    Snell et al. 2017).

    In windows of 11×11 means, spreads and correlations are compared, at so many scales, each of half the rows and
    columns of the one before, as the images have room for: 28×28 for two, 176×176 for all five. The weights of those
    that are left add up to 1. Each similarity, -1 to 1, is taken as (1 + s) / 2 (torchmetrics' `normalize="simple"`),
    so that it has a gradient where images are opposed. The term `structural_similarity` is the MS-SSIM that comes of
    these. Raises `ValueError` for data that are no images, and for sides below 11.
    """

    of_no_likelihood: ClassVar[bool] = True
    event_shape: Sequence[int]
    domain: Domain
    weight: float | Schedule = 1.0

    def __post_init__(self) -> None:
        take_schedule(self, "weight")
        checked_images("structural-similarity", self.event_shape, self.domain)
        if min(self.event_shape[1:]) < WINDOW:
            given = f"is of images with sides from {WINDOW} on, not of {tuple(self.event_shape)}"
            raise ValueError(f"the term 'structural-similarity' {given}; of smaller ones there is 'multiscale'")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        x, made = compared(trace, self.domain)
        alike = similarity(x.expand_as(made).flatten(0, 1), made.flatten(0, 1)).view(made.shape[:2])
        found, weight = expected(trace, alike), at(self.weight, progress)
        said: dict[str, Tensor | float] = {"structural_similarity": found.detach()}
        return Loss(weight * math.prod(self.event_shape) * (1 - found), said)


def similarity(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of images (N, C, H, W) that range over 2, each similarity moved to [0, 1]: (N,).

    >>> similarity(torch.ones(1, 1, 28, 28), torch.ones(1, 1, 28, 28))
    tensor([1.])
    """
    scales = SCALES[: 1 + int(math.log2(min(x.shape[2:]) / WINDOW))]
    alike = torch.ones_like(x[:, 0, 0, 0])
    for i, part in enumerate(scales):
        light, contrast = _compared(x, y)
        last = i == len(scales) - 1
        found = (light * contrast if last else contrast).mean((1, 2, 3))
        alike = alike * (0.5 * (1 + found)) ** (part / sum(scales))
        if not last:
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    return alike


def _compared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """In each window, how alike means are, and how alike contrast and structure (Wang et al. 2004, eq. 13)."""
    at = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    taps = torch.softmax(-at.square() / (2 * SIGMA**2), 0)
    channels = x.shape[1]
    rows, columns = (taps.view(shape).expand(channels, 1, *shape) for shape in ((WINDOW, 1), (1, WINDOW)))

    def average(images: Tensor) -> Tensor:
        return conv2d(conv2d(images, rows, groups=channels), columns, groups=channels)

    a, b, aa, bb, ab = average(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    first, second = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    light = (2 * a * b + first) / (a * a + b * b + first)
    return light, (2 * (ab - a * b) + second) / (aa - a * a + bb - b * b + second)
