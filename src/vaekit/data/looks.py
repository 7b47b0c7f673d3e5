"""What the values of columns of numbers are: how many, between what, whole or not, with how many decimals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

MOST_LEVELS, MOST_DECIMALS, EXACT = 12, 12, 2.0**53
CELLS = 2**21
"""Of a table that are looked at at a time."""
FIRST_ROWS = 1000
NEAR = 0.05


@dataclass(frozen=True)
class Look:
    """What the values of a column of numbers are, those that are missing apart."""

    seen: int
    low: float
    high: float
    whole: bool
    levels: int
    """How many distinct values there are: of whole numbers close together, else of two values; 0 for more."""
    decimals: int | None


def looks_at(frame: pd.DataFrame) -> dict[str, tuple[str, Look]]:
    """The type of each column of a type of NumPy's numbers, and what these are: many columns at a time."""
    found: dict[str, tuple[str, Look]] = {}
    by_type: dict[np.dtype, list[int]] = {}
    for i, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
            by_type.setdefault(dtype, []).append(i)
    many = max(1, CELLS // max(1, len(frame)))
    for dtype, places in by_type.items():
        for start in range(0, len(places), many):
            block = frame.iloc[:, places[start : start + many]]
            looks = ((str(dtype), look) for look in look_at(block.to_numpy()))
            found |= zip(block.columns, looks, strict=True)
    return found


def look_at(x: np.ndarray) -> Iterator[Look]:
    """What the values of each column of x (N, D) are."""
    single = x.dtype.kind == "f" and x.dtype.itemsize < 8
    values = x.astype(np.float64)
    gone = np.isnan(values)
    seen = len(values) - gone.sum(0)
    low = np.where(gone, np.inf, values).min(0, initial=np.inf)
    high = np.where(gone, -np.inf, values).max(0, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        whole = ((values == np.floor(values)) | gone).all(0) & (np.maximum(-low, high) < EXACT)
        levels = 2 * ((values == low) | (values == high) | gone).all(0)
        close = np.flatnonzero(whole & (high - low < MOST_LEVELS))
        part = values[:, close]
        levels[close] = sum((part == low[close] + i).any(0).astype(int) for i in range(MOST_LEVELS))
        decimals = _decimals(values, gone, x.dtype if single else values.dtype)
    for i in range(values.shape[1]):
        places = int(decimals[i])
        yield Look(
            int(seen[i]),
            float(low[i]),
            float(high[i]),
            bool(whole[i]),
            int(levels[i]),
            None if places > MOST_DECIMALS else places,
        )


def _decimals(values: np.ndarray, gone: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The decimals (D,) that the numbers of each column are written with, one more than the most where that is more."""
    needed = np.zeros(values.shape[1], np.int64)
    for rows in (slice(FIRST_ROWS), slice(None)):  # a few tell of most columns that they have too many
        for places in range(MOST_DECIMALS + 1):
            at = np.flatnonzero(needed == places)
            part = values[rows][:, at]
            kept = np.round(part, places).astype(dtype) == part.astype(dtype)
            needed[at] += ~(kept | gone[rows][:, at]).all(0)
    return needed


def fills_unit(x: np.ndarray) -> bool:
    """Whether numbers, some NaN, lie from 0 to 1 and come near both."""
    return bool(0 <= np.nanmin(x) <= NEAR and 1 - NEAR <= np.nanmax(x) <= 1)
