"""The exposure of each row of counts: what its means are proportional to, as a depth or a time watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import several, unknown
from ..settings import setting
from .base import Content, Split
from .memmap import blocks

TOTAL = "total"
"""The exposure that is each row's own total: scores are then those of how it is divided, given that."""


def exposed(content: Content, exposure: str) -> Content:
    """`content` whose last covariate is the exposure of each row: the column of that name, which is then no data, or
    the total.

    Raises `ValueError` where there is no such column, where an exposure is not above 0, and beside labels.
    """
    key = setting("data.exposure", exposure)
    if content.exposed:
        return content
    labelled = any(split.y is not None and split.y.ndim == 1 for split in content.splits.values())
    check_exposure(exposure, content.columns, labelled)
    column = None if exposure == TOTAL else content.columns.index(exposure)
    splits = {name: exposed_rows(split, column, f"{key}, split {name},") for name, split in content.splits.items()}
    if column is not None:
        columns = tuple(name for name in content.columns if name != exposure)
        table = tuple(each for each in content.table if each.name != exposure)
        return replace(content, splits=splits, columns=columns, table=table)
    notes = ["the exposure of a row is its own total: scores are those of the row given its total"]
    if TOTAL in content.columns and content.kind is None:  # a word or a gene is called as it is
        notes.append(own_total("part of which is the column"))
    return replace(content, splits=splits, notes=(*content.notes, *notes))


def own_total(beside: str) -> str:
    """That a column which is called as the total is not what counts are proportional to."""
    return f"the exposure is each row's own total, {beside} {TOTAL!r}; rename that column to have it as the exposure"


def check_exposure(exposure: str, columns: Sequence[str], labelled: bool) -> None:
    """`ValueError` where there is no such column, nothing beside it, or where the data are `labelled`."""
    key = setting("data.exposure", exposure)
    if labelled:
        raise ValueError(f"{key} is given beside labels; leave one out, or make these data.covariates")
    if exposure != TOTAL and exposure not in columns:
        raise ValueError(unknown("column of exposures", exposure, [TOTAL, *columns]))
    if exposure != TOTAL and len(columns) < 2:
        raise ValueError(f"{key} is the only column; counts are needed beside it")


def exposures(y: np.ndarray, what: str, empty: bool = False) -> np.ndarray:
    """Exposures (N,) as covariates (N, 1); `ValueError` where one is not above 0, unless rows may be `empty`."""
    if not (fits := y >= 0 if empty else y > 0).all():
        row = int(np.argmin(fits))
        raise ValueError(f"{what} has the exposure {y[row]:g} in row {row}; accepted: numbers above 0; drop such rows")
    return y.astype(np.float32)[:, None]


def _refuse_empty(totals: np.ndarray, what: str) -> None:
    empty = np.flatnonzero(totals == 0)
    if empty.size:
        given, drop = several(empty.tolist()), "drop such rows, of documents by `without_empty()`"
        raise ValueError(f"{what} has rows without a count: {given}; accepted: rows with one at least; {drop}")


def empty_rows(rows: int, of: int) -> str:
    """That some rows are without a count, and what log p of them is, in a line; nothing where there are none.

    >>> empty_rows(1, 3)
    'log p is 0 for 1 of 3 rows, without a count (of a document: without a word that the model knows), given that total'
    """
    why = "without a count (of a document: without a word that the model knows), given that total"
    return f"log p is 0 for {rows:,} of {of:,} rows, {why}" if rows else ""


def exposed_rows(split: Split, column: int | None, what: str, empty: bool = False) -> Split:
    """Rows with their exposure: the number in a `column`, which is then no data, or their total. `ValueError` where
    that is 0, unless rows may be `empty`: there is nothing to learn of these.
    """
    seen = split.observed
    if column is None:
        sums = [block.reshape(len(block), -1).sum(1, dtype=np.float64) for _, block in blocks(split.x)]
        x, y = split.x, np.concatenate(sums)
        if not empty:
            _refuse_empty(y, what)
        y = y if seen is None else np.where(seen.reshape(len(seen), -1).all(1), y, np.nan)  # what is missing counts
    else:
        whole = np.asarray(split.x)
        x, y = np.delete(whole, column, 1), whole[:, column]
        if seen is not None:
            y, seen = np.where(seen[:, column], y, np.nan), np.delete(seen, column, 1)
    return replace(split, x=x, y=beside(split.y, y, what, empty), observed=seen)


def beside(covariates: np.ndarray | None, exposure: np.ndarray, what: str, empty: bool = False) -> np.ndarray:
    """Covariates (N, C), None for none, and after them the exposure (N,): (N, C + 1), as of `exposures`."""
    own = exposures(exposure, what, empty)
    return own if covariates is None else np.concatenate([covariates, own], 1)
