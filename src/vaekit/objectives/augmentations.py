"""Views of data: the same data changed in ways that leave what they are of, for objectives that compare the two."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def moved(images: Tensor, shift: float, rotate: float, stretch: float) -> Tensor:
    """Each of images (B, C, H, W) shifted, rotated about its center and stretched at random, each uniformly.

    By up to `shift` of its sides, `rotate` degrees, and a factor of 1 - `stretch` to 1 + `stretch` for either side,
    interpolated; what comes in from outside is what is at the border. Pixels are squares, whatever the sides.

    >>> images = torch.rand(5, 1, 8, 8)
    >>> torch.allclose(moved(images, 0.0, 0.0, 0.0), images, atol=1e-5)
    True
    """
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
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def swapped(x: Tensor, fraction: float) -> Tensor:
    """x (B, *event) with that fraction of its numbers, drawn at random, those of other rows (Bahri et al. 2022).

    >>> swapped(torch.zeros(3, 2), 0.5).shape
    torch.Size([3, 2])
    """
    others = x[torch.randperm(len(x), device=x.device)]
    return torch.where(torch.rand_like(x) < fraction, others, x)
