"""Increasing maps of numbers in the user's units to numbers of order one, and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor

WARPS = ("affine", "log", "asinh")


def warped(name: str, x: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    """t(x) (…, n), of columns with `location` and `scale` (n,) each.

    affine  (x - location) / scale
    log     (log x - location) / scale, of x above 0
    asinh   asinh((x - location) / scale): a line near the location, a logarithm of the distance far from it

    >>> warped("log", torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([2.0]))
    tensor([0.])
    """
    if name == "log":
        return (x.log() - location) / scale
    moved = (x - location) / scale
    return moved.asinh() if name == "asinh" else moved


def unwarped(name: str, t: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    """The x (…, n) whose t(x) is t, or the greatest or least number that their type has.

    >>> x, zero, two = torch.tensor([3.0]), torch.tensor([0.0]), torch.tensor([2.0])
    >>> [round(float(unwarped(name, warped(name, x, zero, two), zero, two)), 4) for name in WARPS]
    [3.0, 3.0, 3.0]
    """
    if name == "affine":
        return location + scale * t
    info = torch.finfo(torch.promote_types(t.dtype, scale.dtype))
    low, high = 0.999 * math.log(info.tiny), 0.999 * math.log(info.max)
    if name == "log":
        return (location + scale * t).clamp(low, high).exp()
    return (location + scale * t.clamp(-high, high).sinh()).clamp(info.min, info.max)


def log_slope(name: str, x: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    """log dt/dx at x (…, n): what a density of t(x) pays to be one of x."""
    if name == "log":
        return -scale.log() - x.log()
    if name == "asinh":
        moved = (x - location) / scale
        return -scale.log() - 0.5 * torch.log1p(moved.square())
    return -scale.log().expand_as(x)
