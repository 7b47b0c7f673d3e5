"""What is lost of numbers where they are kept with fewer digits."""

from __future__ import annotations

import numpy as np

from .memmap import blocks


def loses(x: np.ndarray, kept: np.ndarray) -> bool:
    """Whether `kept` has lost more of x than a thousandth of its spread, or any of a whole number, in any column of a
    table.
    """
    if x.dtype.kind == "f" and x.dtype.itemsize <= 4:
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
