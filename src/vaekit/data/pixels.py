"""What the pixels of the user's own images are, by their values: masks, grey levels, an interval, or any numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..settings import setting
from .base import Split
from .domains import Domain
from .memmap import MemmapRows, blocks

BYTES = 256
LOOK = 1 << 16
"""Bytes that are looked at together: mostly the first few photographs tell."""
GRID = 1e-3
"""How far a pixel, times 255, may be from a whole number to be a byte that was divided."""


@dataclass(frozen=True)
class Pixels:
    """Images as they are to be stored, the domain of their values where they tell it, and what is to be said of it."""

    splits: Mapping[str, Split]
    domain: Domain | None = None
    note: str = ""


@dataclass
class _Values:
    """What is known of all values of all splits."""

    low: float = np.inf
    high: float = -np.inf
    whole: bool = True
    ends: bool = True
    """Whether all are 0 or 255."""
    divided: bool = True
    """Whether all are bytes divided by 255."""

    @property
    def plain(self) -> bool:
        """Whether bytes like these are grey levels 0..255, whatever others there are."""
        return not self.ends and self.high >= BYTES // 2


def understand(splits: Mapping[str, Split], levels: int | None = None) -> Pixels:
    """What the values of images say: 0 and 255 alone are masks, which become 0 and 1; whole numbers from 0 up to 255
    are grey levels; others between 0 and 1, or -1 and 1, are of that interval. Of anything else nothing is said.

    Raises `ValueError` for whole numbers beyond 255 without `levels`: they may be grey levels, or not.
    """
    found = _values(splits)
    if found.low >= 0 and found.high <= 1 and found.whole:
        return Pixels(splits)  # 0 and 1
    if found.ends and levels is None:
        if any(isinstance(split.x, MemmapRows) for split in splits.values()):
            note = f"pixels are 0 and 255 alone; {setting('data.binarize', 'threshold')} makes masks of them"
            return Pixels(splits, Domain("grey", levels=BYTES), note)
        masks = {name: replace(split, x=(np.asarray(split.x) > 0).view(np.uint8)) for name, split in splits.items()}
        return Pixels(masks, Domain("binary"), "pixels are 0 and 255 alone: masks, taken as 0 and 1")
    if found.whole and found.low >= 0:
        return _grey(splits, found, levels)
    if found.whole or levels is not None:
        return Pixels(splits)
    if found.low >= 0 and 0.5 < found.high <= 1:
        note = f"pixels are between 0 and 1 ({found.low:.3g}..{found.high:.3g}): taken as numbers of the unit interval"
        if found.divided:
            note += "; they are bytes divided by 255, which as bytes would be scored as grey levels"
        return Pixels(splits, Domain("unit"), note)
    if found.low < 0 and found.low >= -1 and found.high <= 1 and found.high - found.low > 1.5:
        note = f"pixels are between -1 and 1 ({found.low:.3g}..{found.high:.3g}): taken as numbers of that interval"
        return Pixels(
            splits,
            Domain("unit", location=-1.0, scale=2.0),
            note + f"; {setting('data.domain', 'real')} if they are not",
        )
    return Pixels(splits)


def _grey(splits: Mapping[str, Split], found: _Values, levels: int | None) -> Pixels:
    high, stored = int(found.high), all(split.x.dtype == np.uint8 for split in splits.values())
    if levels is None and high >= BYTES:
        raise ValueError(
            f"pixels are whole numbers {int(found.low)}..{high}: give {setting('data.levels', high + 1)}, or more, "
            f"where they are grey levels, or {setting('data.domain', 'real')}"
        )
    domain = Domain("grey", levels=BYTES if levels is None else levels)
    few = levels is None and high < BYTES // 2
    note = f"pixels are whole numbers {int(found.low)}..{high}: taken as {domain}" if few or not stored else ""
    if few:
        note += f"; {setting('data.levels', high + 1)} if there can be no more"
    elif note:
        note += f"; {setting('data.domain', 'real')} if they are not"
    if not stored and high < BYTES and not any(isinstance(split.x, MemmapRows) for split in splits.values()):
        splits = {name: replace(split, x=np.asarray(split.x).astype(np.uint8)) for name, split in splits.items()}
    return Pixels(splits, domain, note)


def _values(splits: Mapping[str, Split]) -> _Values:
    found, in_bytes = _Values(), all(split.x.dtype == np.uint8 for split in splits.values())
    for split in splits.values():
        for _, x in blocks(split.x, LOOK if in_bytes else 0):
            found.low, found.high = min(found.low, float(x.min())), max(found.high, float(x.max()))
            if x.dtype != np.uint8:
                found.whole = found.whole and bool((x == np.floor(x)).all())
                found.divided = found.divided and found.low >= 0 and found.high <= 1
                if found.divided:
                    found.divided = bool((np.abs(x * 255 - np.round(x * 255)) < GRID).all())
            found.ends = found.ends and bool(((x == 0) | (x == 255)).all())
            if in_bytes and found.plain:
                return found
    return found
