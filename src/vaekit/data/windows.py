"""Parts of images, mirrored or not, drawn for each image of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor


def middle(x: Tensor, window: tuple[int, int]) -> Tensor:
    """The middle of images (…, H, W) of a height and width `window`, as a view.

    >>> middle(torch.arange(5.0)[None], (1, 3)).tolist()
    [[1.0, 2.0, 3.0]]
    """
    top, left = ((side - part) // 2 for side, part in zip(x.shape[-2:], window, strict=True))
    return x[..., top : top + window[0], left : left + window[1]]


def draw_windows(x: Tensor, window: tuple[int, int], flip: bool) -> tuple[Tensor, Tensor]:
    """Which rows (B, h) and columns (B, w) of pixels each image of x (B, C, H, W) shows: a window of that height and
    width, all places alike; with `flip`, one half of them from right to left. Draws from torch's stream of the device.
    """
    height, width = window
    free = x.shape[-2] - height + 1, x.shape[-1] - width + 1
    down, right = (torch.arange(side, device=x.device) for side in window)
    top, left = (
        (torch.rand(len(x), 1, device=x.device) * places).long() if places > 1 else down.new_zeros(len(x), 1)
        for places in free
    )
    if flip:
        right = torch.where(torch.rand(len(x), 1, device=x.device) < 0.5, right.flip(0), right)
    return top + down, left + right


def windowed(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of images x (B, C, H, W) at rows (B, h) and columns (B, w) of each: (B, C, h, w)."""
    channels, width = x.shape[1], x.shape[3]
    x = x.gather(2, rows[:, None, :, None].expand(-1, channels, -1, width))
    return x.gather(3, columns[:, None, None, :].expand(-1, channels, rows.shape[1], -1))
