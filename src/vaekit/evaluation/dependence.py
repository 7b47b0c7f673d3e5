"""How much the columns of a table hang together, whatever their kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10
"""Bins of as many values each that numbers fall into."""
COLUMNS = 64
"""Columns whose pairs with as many others are counted together."""
LEVELS = 30
"""Categories, at most, that are one by one; the rarer ones are taken together."""


@dataclass(frozen=True)
class Cut:
    """How the values of a column fall into K groups: numbers between `ends`, categories by the `group` of each."""

    ends: np.ndarray
    group: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The group 0..K-1 of each value (N,), -1 where it is missing."""
        gone = np.isnan(x)
        if self.group is None:
            found = np.searchsorted(self.ends, x, side="left")
        else:
            found = self.group[np.where(gone, 0, np.clip(x, 0, len(self.group) - 1)).astype(np.int64)]
        return np.where(gone, -1, found)


def cuts(x: np.ndarray, levels: Sequence[int | None]) -> tuple[Cut, ...]:
    """How each column of x (N, D), NaN where missing, is cut: numbers, whose `levels` are None, into 10 groups of as
    many values as their ties allow, fewer of less than 400 rows; of categories 0..L-1 each is a group, of more than 30
    the rarer ones are one.
    """
    return tuple(_cut(column[~np.isnan(column)], own) for column, own in zip(x.T, levels, strict=True))


def dependences(x: np.ndarray, groups: Sequence[Cut]) -> np.ndarray:
    """The dependence (D, D) of each two columns of x (N, D), cut into `groups`, in the rows in which both are observed.

    It is Cramér's V, corrected for what chance alone gives (Bergsma 2013, eq. 6 and 7): with phi^2 the chi-square
    statistic of the table of K by L groups, over n,

        V^2 = max(0, phi^2 - (K - 1)(L - 1) / (n - 1)) / min(K' - 1, L' - 1),   K' = K - (K - 1)^2 / (n - 1).

    0 where two columns are independent, 1 where each tells the other's group; NaN where fewer than two rows have both.
    A column of one value tells nothing: 0.

    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> dependences(x, cuts(x, [2, 2])).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    codes = [cut(column) for cut, column in zip(groups, x.T, strict=True)]
    parts = [_one_hots(codes[start : start + COLUMNS]) for start in range(0, len(codes), COLUMNS)]
    found = np.block([[_of_pairs(first, second) for second in parts] for first in parts])
    found = np.tril(found, -1)
    return found + found.T + np.eye(len(codes))


@dataclass(frozen=True)
class _OneHots:
    """Which group each of N rows has of some columns, (N, G), all 0 where it is missing; where each column's begin."""

    rows: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray


def _one_hots(codes: Sequence[np.ndarray]) -> _OneHots:
    sizes = np.array([max(1, int(each.max(initial=0)) + 1) for each in codes])
    rows = np.concatenate([each[:, None] == np.arange(size) for each, size in zip(codes, sizes, strict=True)], 1)
    return _OneHots(rows.astype(np.float32), np.r_[0, sizes.cumsum()[:-1]], sizes)


def _of_pairs(first: _OneHots, second: _OneHots) -> np.ndarray:
    """The dependence (I, J) of each column of one with each of the other, all tables of counts made by one product."""
    table = (first.rows.T @ second.rows).astype(np.float64)  # exact for fewer than 2^24 rows
    rows = np.add.reduceat(table, second.starts, 1)
    columns = np.add.reduceat(table, first.starts, 0)
    n = np.add.reduceat(rows, first.starts, 0)
    chance = rows.repeat(second.sizes, 1) * columns.repeat(first.sizes, 0)
    parts = np.add.reduceat(table**2 / np.maximum(chance, 1.0), first.starts, 0)
    phi = np.add.reduceat(parts, second.starts, 1) - 1.0
    k = np.add.reduceat((rows > 0).astype(int), first.starts, 0) - 1
    own = np.add.reduceat((columns > 0).astype(int), second.starts, 1) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.minimum(k - k**2 / (n - 1), own - own**2 / (n - 1))
        found = np.sqrt(np.clip((phi - k * own / (n - 1)) / least, 0.0, 1.0))
    return np.where(n < 2, np.nan, np.where(least <= 0, 0.0, found))


def association(first: np.ndarray, second: np.ndarray) -> float:
    """The dependence of two columns of groups 0..K-1 and 0..L-1 (N,), -1 where missing, as `dependences` says."""
    both = (first >= 0) & (second >= 0)
    n = int(both.sum())
    if n < 2:
        return float("nan")
    width = int(second.max()) + 1
    counts = np.bincount(first[both] * width + second[both]).astype(np.float64)
    table = np.pad(counts, (0, -len(counts) % width)).reshape(-1, width)
    rows, columns = table.sum(1), table.sum(0)
    phi = float((table**2 / np.maximum(np.outer(rows, columns), 1.0)).sum() - 1.0)
    k, own = int((rows > 0).sum()) - 1, int((columns > 0).sum()) - 1
    least = min(each - each**2 / (n - 1) for each in (k, own))
    if least <= 0:
        return 0.0
    return float(np.sqrt(np.clip((phi - k * own / (n - 1)) / least, 0.0, 1.0)))


def _cut(values: np.ndarray, levels: int | None) -> Cut:
    if levels is None:
        if not len(values):
            return Cut(values)
        bins = max(2, min(BINS, math.isqrt(len(values)) // 2))
        return Cut(np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], method="lower")))
    if levels <= LEVELS:
        return Cut(np.zeros(0), np.arange(levels))
    often = np.argsort(-np.bincount(values.astype(np.int64), minlength=levels), kind="stable")
    group = np.full(levels, LEVELS - 1)
    group[often[: LEVELS - 1]] = np.arange(LEVELS - 1)
    return Cut(np.zeros(0), group)
