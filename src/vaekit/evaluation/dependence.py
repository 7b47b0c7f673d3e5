"""How much the columns of a table hang together, whatever their kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10
"""Bins of as many values each that numbers fall into."""
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
    found = np.eye(len(codes))
    for i, first in enumerate(codes):
        for j in range(i):
            found[i, j] = found[j, i] = association(first, codes[j])
    return found


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
