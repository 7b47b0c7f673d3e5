"""Data without a picture of their own: the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from .style import LIGHT, WIDTH, Theme, add_legend, new_axes, new_figure

COLUMNS = 12
"""Columns, at most, that are shown."""
BINS = 32


def marginals(
    data: ArrayLike, samples: ArrayLike | None = None, columns: Sequence[str] = (), *, theme: Theme = LIGHT
) -> Figure:
    """Histograms of each column of `data` (N, C) and, if given, of `samples` of a model (M, C): the first 12 columns.

    >>> len(marginals(np.eye(5)).axes)
    5
    """
    real = _table(data)
    drawn = real if samples is None else _table(samples)
    shown = [("data", theme.colours[0], True), ("samples", theme.colours[1], False)][: 1 if samples is None else 2]
    figure = _figure(real, theme)
    for axes, x, y in _panels(figure, real, drawn, columns, theme):
        x, y = (each[np.isfinite(each)] for each in (x, y))  # cells that are not observed are none
        if not len(x) or not len(y):
            continue
        # A few far draws must not squeeze all others.
        low, high = np.percentile(np.concatenate([x, y]), [0.5, 99.5])
        bins = np.linspace(low, max(high, low + 1e-9), min(BINS, 4 + math.isqrt(len(x))) + 1)
        if (x == np.round(x)).all() and high - low < BINS:  # whole numbers, a bin each
            bins = np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
        for values, (_, colour, fill) in zip((x, y), shown, strict=False):
            shares = np.histogram(values, bins)[0] / len(values)
            axes.stairs(shares, bins, color=colour, fill=fill, alpha=0.45 if fill else 1.0, lw=1.5)
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
    entries: list[tuple[str, Artist]] = [
        (name, Line2D([], [], color=colour, lw=6 if fill else 1.5, alpha=0.45 if fill else 1.0))
        for name, colour, fill in shown
    ]
    add_legend(figure, entries, theme, loc="outside upper right", ncols=2)
    return figure


def agreement(
    originals: ArrayLike, reconstructions: ArrayLike, columns: Sequence[str] = (), *, theme: Theme = LIGHT
) -> Figure:
    """Reconstruction against original for each column of a table (N, C), with the diagonal: the first 12 columns."""
    first, second = _table(originals), _table(reconstructions)
    figure = _figure(first, theme)
    for axes, x, y in _panels(figure, first, second, columns, theme):
        if not np.isfinite(x).any():
            continue
        ends = [np.nanmin([x, y]), np.nanmax([x, y])]
        axes.plot(ends, ends, color=theme.muted, lw=1)
        axes.scatter(x, y, s=7, color=theme.colours[0], alpha=0.5, lw=0)
    figure.supxlabel("original", size=9, color=theme.muted)
    figure.supylabel("reconstruction", size=9, color=theme.muted)
    return figure


def _table(values: ArrayLike) -> np.ndarray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"the table has shape {x.shape}; accepted: (N, columns), both at least 1")
    return x[:, :COLUMNS]


def _figure(table: np.ndarray, theme: Theme) -> Figure:
    return new_figure(WIDTH, 0.5 + 1.75 * math.ceil(table.shape[1] / 4), theme)


def _panels(
    figure: Figure, first: np.ndarray, second: np.ndarray, columns: Sequence[str], theme: Theme
) -> Iterator[tuple[Axes, np.ndarray, np.ndarray]]:
    """For each column of two tables its axes, four in a row, and its values in both."""
    count = first.shape[1]
    if second.shape[1] != count:
        raise ValueError(f"the tables have {count} and {second.shape[1]} columns; they must have the same")
    for i in range(count):
        title = columns[i] if i < len(columns) else f"column {i + 1}"
        axes = new_axes(figure, (math.ceil(count / 4), min(4, count), i + 1), theme, title)
        yield axes, first[:, i], second[:, i]
