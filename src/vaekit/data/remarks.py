"""What is said of data before a model is trained on them: that there are few, that a value lies far from all others,
that rows are held out which are trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from ..errors import MOST_LINES, number_of, several
from ..settings import setting
from .base import Split
from .columns import WITH_CATEGORIES, Column
from .memmap import blocks, columns_of

FEW_ROWS = 50
"""Rows of which the tenth that is held out is below five: too few to tell whether anything was learned."""
FAR = 10.0
"""As many times as all others are apart: heavy tails, such as those of incomes, hardly ever have a gap so wide."""
FAR_CODE = 1.0
"""Of 99, 999, … that is there more than once, which is how many write that there is no value."""
MANY_SHARED = 0.01
"""The fraction of held-out rows that are trained on, too, from which it is said."""
HASHED = 1 << 19
"""Numbers that are hashed together: each takes several times its own memory."""
MOST_FAR, LEAST_NEAR = 3, 10
"""Distinct values that are far from all others at most, and how many others there are at least."""


def few_rows(rows: int) -> str:
    """That data have too few rows, in a line; nothing where they have not.

    >>> few_rows(2)
    '2 rows are too few to learn from, or to tell whether anything was learned: have 50 at least, better hundreds'
    """
    if rows >= FEW_ROWS:
        return ""
    many = "1 row is" if rows == 1 else f"{rows} rows are"
    least = f"have {FEW_ROWS} at least, better hundreds"
    return f"{many} too few to learn from, or to tell whether anything was learned: {least}"


def classes_unseen(classes: Sequence[str], rows: Split) -> str:
    """That no training row is of some of the `classes`, in a line; nothing where all are there.

    >>> classes_unseen(("cat", "dog", "owl"), Split(np.zeros((3, 1)), np.array([0, 1, 1])))
    'no training row is of the class owl: what a model makes of it is not learned'
    """
    there = set() if rows.y is None else set(np.unique(rows.y).tolist())
    unseen = [name for i, name in enumerate(classes) if i not in there]
    if not unseen:
        return ""
    which = f"class {several(unseen)}" if len(unseen) == 1 else f"classes {several(unseen)}"
    them = "it" if len(unseen) == 1 else "them"
    return f"no training row is of the {which}: what a model makes of {them} is not learned"


def rows_shared(splits: Mapping[str, Split]) -> list[str]:
    """A line for each split other than "train" of whose rows x (N, D) one in a hundred or more is a training row, too.

    >>> rows = Split(np.arange(8.0).reshape(4, 2))
    >>> rows_shared({"train": rows, "test": Split(np.array([[2.0, 3.0], [2.0, 4.0]]))})
    ['1 of 2 rows of test is as a training row in every cell (50%): it scores well where it was learned by heart']
    """
    known, found = np.sort(row_keys(splits["train"])), []
    for name, rows in splits.items():
        if name == "train":
            continue
        keys = row_keys(rows)
        nearest = known[np.searchsorted(known, keys).clip(max=len(known) - 1)]  # isin sorts all of them for each split
        shared = int((nearest == keys).sum())
        if shared and shared >= MANY_SHARED * len(rows):
            are, they = ("is", "it scores") if shared == 1 else ("are", "they score")
            said = f"{shared:,} of {len(rows):,} rows of {name} {are} as a training row in every cell"
            found.append(f"{said} ({shared / len(rows):.0%}): {they} well where it was learned by heart")
    return found


def row_keys(rows: Split) -> np.ndarray:
    """A number (N,) of each row of x (N, D), the same of rows that are equal and have the same holes, and of others by
    no chance worth speaking of.

    >>> first, second, third = row_keys(Split(np.array([[0.0, 1e-9], [-0.0, 1e-9], [1e-9, 0.0]])))
    >>> bool(first == second), bool(first == third)
    (True, False)
    """
    keys = np.empty(len(rows), np.uint64)
    for start, block in blocks(rows.x, HASHED):
        part = slice(start, start + len(block))
        x = block.astype(np.float64) + 0.0  # of two zeros one
        if rows.observed is not None:
            x[~rows.observed[part]] = np.nan
        keys[part] = hash_pandas_object(pd.DataFrame(x), index=False)
    return keys


def far_values(columns: Sequence[Column], rows: Split) -> list[str]:
    """A line for each column of `rows` (N, D) that has a value, or a few, far from all others, of many a few."""
    found: list[str] = []
    rest: dict[str, None] = {}
    for i, column in enumerate(columns):
        if column.kind in WITH_CATEGORIES or column.kind == "unit":
            continue
        x = columns_of(rows.x, [i])[:, 0].astype(np.float64)
        if rows.observed is not None:
            x[~rows.observed[:, i]] = np.nan
        for far in (far_above(x), far_above(-x)):
            if far is not None and len(found) < MOST_LINES:
                found.append(_said(column, x, far, rows))
            elif far is not None:
                rest[column.name] = None
    more = f"so are values of {number_of(len(rest), 'other column')}: {several(rest, MOST_LINES)}"
    return [*found, *([more] if rest else [])]


def far_above(x: np.ndarray) -> np.ndarray | None:
    """Which of the numbers x (N,), some NaN, are above all others by `FAR` times what these are apart, or `FAR_CODE`
    times as codes for a missing value, if few distinct ones are.

    >>> far_above(np.array([*range(20), 1e9, np.nan])).nonzero()[0].tolist(), far_above(np.arange(20.0))
    ([20], None)
    >>> far_above(np.array([*range(100), 999.0, 999.0])).nonzero()[0].tolist()
    [100, 101]
    """
    seen = x[~np.isnan(x)]
    if len(seen) <= LEAST_NEAR:
        return None
    low, high = seen.min(), seen.max()
    if high - low <= FAR * (np.median(seen) - low):  # most columns
        return None
    for _ in range(MOST_FAR):
        others = seen[seen < high]
        if len(others) < LEAST_NEAR:
            return None
        nearest = others.max()
        if high - nearest > (FAR_CODE if _is_code(high, x) else FAR) * (nearest - low) > 0:
            return x >= high
        seen, high = others, nearest
    return None


def _is_code(number: float, x: np.ndarray) -> bool:
    """Whether a number is written in nines alone, two at least, and is more than once among x (N,)."""
    return number >= 99 and set(f"{number:.15g}") == {"9"} and int((x == number).sum()) > 1


def _said(column: Column, x: np.ndarray, far: np.ndarray, rows: Split) -> str:
    others = x[~far & ~np.isnan(x)]
    first, low, high = column.values(np.array([x[far.argmax()], others.min(), others.max()])).tolist()
    times = int(far.sum())
    more = f", as {times - 1:,} more are" if times > 1 else ""
    where = rows.place((int(far.argmax()),))
    advice = "empty it, if it is a mistake or stands for nothing, or leave the column out: "
    advice += setting("data.columns", {column.name: "none"})
    return f"column {column.name!r}: {first} in {where} is far from all others, {low} to {high}{more}; {advice}"
