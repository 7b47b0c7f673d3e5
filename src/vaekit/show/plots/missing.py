"""Which cells of a table are missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from .columns import percent
from .style import LIGHT, WIDTH, Theme, new_axes, new_figure, short

PATTERNS = 12
"""Patterns, at most, that are shown: those of the most rows."""


def holes(missing: ArrayLike, names: Sequence[str], *, theme: Theme = LIGHT) -> Figure:
    """How much of each column is missing, and which columns are missing together in how many rows, the commonest first.

    `missing` (N, D) of bool, a name for each column; raises `ValueError` for other shapes.

    >>> figure = holes([[True, False], [True, True], [False, False], [False, False]], ["a", "b"])
    >>> figure.axes[1].images[0].get_array().astype(int).tolist()
    [[0, 0], [1, 0], [1, 1]]
    """
    gaps = np.asarray(missing, dtype=bool)
    if gaps.ndim != 2 or gaps.shape[1] != len(names) or not gaps.size:
        raise ValueError(f"missing has shape {gaps.shape} for {len(names)} names; accepted: (N, D), both at least 1")
    patterns, counts = np.unique(gaps, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PATTERNS]
    patterns, shares = patterns[order], counts[order] / len(gaps)
    height = 0.75 + 0.21 * max(len(names), len(order)) + 0.7
    figure = new_figure(WIDTH, height, theme)
    grid = figure.add_gridspec(1, 2, width_ratios=(1, 1.4))
    axes = new_axes(figure, grid[0], theme, "share missing")
    axes.barh(range(len(names)), gaps.mean(0), height=0.7, color=theme.muted)
    texts = [short(name) for name in names]
    axes.set_yticks(range(len(names)), texts, size=8, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: percent(x)))
    axes.locator_params(axis="x", nbins=4)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=theme.line, lw=0.7)
    axes = new_axes(figure, grid[1], theme, "missing together")
    axes.imshow(patterns, cmap=ListedColormap([theme.background, theme.muted]), vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(order)), list(map(percent, shares)), size=8)
    axes.set_xticks(range(len(names)), texts, size=8, rotation=90, parse_math=False)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(order) + 1) - 0.5, minor=True)
    axes.grid(visible=True, which="minor", color=theme.line, lw=0.7)
    axes.tick_params(which="minor", length=0)
    return figure
