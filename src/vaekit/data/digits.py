"""What is lost of numbers where they are kept with fewer digits."""

from __future__ import annotations

import numpy as np

from .domains import WHOLE, Domain
from .memmap import blocks

EXACT = 1e-3
"""How far, in units of a domain, a number may be from what is kept of it."""


def loses(x: np.ndarray, kept: np.ndarray) -> bool:
    """Whether `kept` has lost more of x than a thousandth of its spread, or any of a whole number, in any column of a
    table.
    """
    if not x.size or (x.dtype.kind == "f" and x.dtype.itemsize <= 4):
        return False
    x, kept = np.atleast_1d(x), np.atleast_1d(kept)
    axis = 0 if x.ndim <= 2 else None
    center = np.mean(x, axis, dtype=np.float64)
    lost, spread, whole = 0.0, 0.0, np.True_
    for start, block in blocks(x):
        values = block.astype(np.float64)
        lost = lost + np.square(values - kept[start : start + len(block)]).sum(axis)
        spread = spread + np.square(values - center).sum(axis)
        whole = whole & ((values == np.floor(values)) & (np.abs(values) < 2**53)).all(axis)
    varies = spread > 1e-24 * len(x) * np.square(center)
    return bool(np.any((varies & (lost > 1e-6 * spread)) | (whole & (lost > 0))))


def loses_of(domain: Domain, x: np.ndarray, kept: np.ndarray) -> bool:
    """Whether `kept` has lost of any number of x (N, *event), some NaN, more than a thousandth of what is one to
    `domain`, or anything of a whole number that it has: of rows that are new to a model, each is so read in the same
    way whatever stands beside it.

    >>> x = np.array([[1e9 + 0.125]])
    >>> [loses_of(Domain("real", location=1e9, scale=scale), x, x.astype(np.float32)) for scale in (1.0, 1e9)]
    [True, False]
    """
    if x.dtype.kind == "f" and x.dtype.itemsize <= 4:
        return False
    sizes = {len(each) for each in (domain.columns, domain.location, domain.scale) if isinstance(each, tuple) and each}
    if sizes - {x.shape[-1]}:  # data of another shape, which are refused later
        return loses(x, kept)
    for start, block in blocks(np.atleast_1d(x)):
        values, short = block.astype(np.float64), np.atleast_1d(kept)[start : start + len(block)].astype(np.float64)
        for own, index in domain.groups if domain.columns else ((domain, None),):
            mine, its = (values, short) if index is None else (values[:, index], short[:, index])
            if ((mine != its) & ~np.isnan(mine) & ~_alike(own, mine, its)).any():
                return True
    return False


def _alike(domain: Domain, x: np.ndarray, kept: np.ndarray) -> np.ndarray:
    if domain.kind in WHOLE:
        return np.zeros(x.shape, bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(_units(domain, x) - _units(domain, kept)) <= EXACT)


def _units(domain: Domain, x: np.ndarray) -> np.ndarray:
    """Numbers x (…, D) as an encoder sees them: `warped`, without torch, which lists of datasets do not wait for."""
    location, scale = np.asarray(domain.location), np.asarray(domain.scale)
    if domain.warp == "log":
        return (np.log(x) - location) / scale
    moved = (x - location) / scale
    return np.arcsinh(moved) if domain.warp == "asinh" else moved
