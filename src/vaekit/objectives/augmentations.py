"""Views of data: the same data changed in ways that leave what they are of, for objectives that compare the two."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ..data.batch import Batch


def moved(batch: Batch, shift: float, rotate: float, stretch: float) -> Batch:
    """Each of images (B, C, H, W) shifted, rotated about its center and stretched at random, each uniformly.

    By up to `shift` of its sides, `rotate` degrees, and a factor of 1 - `stretch` to 1 + `stretch` for either side,
    interpolated; what comes in from outside is what is at the border. Pixels are squares, whatever the sides. A pixel
    that comes from cells of which one is not observed is not observed either.

    >>> batch = Batch(torch.rand(5, 1, 8, 8))
    >>> torch.allclose(moved(batch, 0.0, 0.0, 0.0).x, batch.x, atol=1e-5)
    True
    """
    images = batch.x
    uniform = 2 * torch.rand(5, len(images), dtype=images.dtype, device=images.device) - 1
    angle, (right, down) = torch.deg2rad(rotate * uniform[0]), 2 * shift * uniform[1:3]  # the sides are 2 long
    wide, high = 1 + stretch * uniform[3:]
    aspect = images.shape[-2] / images.shape[-1]  # both sides are 2 long here, but of H and of W pixels
    sides = (
        torch.stack([wide * angle.cos(), -high * aspect * angle.sin(), right]),
        torch.stack([wide / aspect * angle.sin(), high * angle.cos(), down]),
    )
    maps = torch.stack(sides).permute(2, 0, 1)
    grid = affine_grid(maps, list(images.shape), align_corners=False)
    x, observed = _sampled(images, grid), batch.observed
    if observed is not None:
        observed = _sampled(observed.to(images.dtype), grid) > 1 - 1e-4
    return replace(batch, x=x, observed=observed)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def swapped(batch: Batch, fraction: float) -> Batch:
    """x (B, *event) with that fraction of its numbers, drawn at random, those of other rows (Bahri et al. 2022).

    >>> swapped(Batch(torch.zeros(3, 2)), 0.5).x.shape
    torch.Size([3, 2])
    """
    x, observed = batch.x, batch.observed
    others = torch.randperm(len(x), device=x.device)
    taken = torch.rand_like(x) < fraction
    if observed is not None:
        observed = torch.where(taken, observed[others], observed)
    return replace(batch, x=torch.where(taken, x[others], x), observed=observed)
