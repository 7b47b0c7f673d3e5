"""The latent space coloured by the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from .scales import LINEAR, Scale
from .style import DARK, LIGHT, WIDTH, Theme, add_legend, as_map, new_axes, new_figure

ENDS = (1, 99)
"""Percentiles of a column's numbers between which colours change."""


@dataclass(frozen=True)
class Colouring:
    """A column as colours: its numbers (N,), NaN where missing, or categories 0..K-1 of these `names`."""

    name: str
    values: np.ndarray
    names: tuple[str, ...] = ()
    scale: Scale = LINEAR


def coloured_maps(
    z: ArrayLike, parts: Sequence[Colouring], *, axes_names: tuple[str, str] = ("", ""), theme: Theme = LIGHT
) -> Figure:
    """Points z (N, 2), in a panel for each of `parts` coloured by it; in grey where it is missing.

    An axis without a name has no ticks. Raises `ValueError` for other shapes.

    >>> len(coloured_maps(np.eye(2), [Colouring("a", np.array([0.0, 1.0]), ("no", "yes"))]).axes)
    1
    """
    points = np.asarray(z, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not parts:
        raise ValueError(f"z has shape {points.shape} for {len(parts)} columns; accepted: (N, 2) and 1 or more")
    across = min(2, len(parts))
    rows = math.ceil(len(parts) / across)
    figure = new_figure(WIDTH * (0.8 if across == 1 else 1), rows * (5.0 if across == 1 else 3.0), theme)
    for i, part in enumerate(parts):
        axes = new_axes(figure, (rows, across, i + 1), theme, part.name)
        size = 12 if len(points) < 1000 else 6
        gone = np.isnan(part.values)
        axes.scatter(points[gone, 0], points[gone, 1], s=size, color=theme.muted, alpha=0.3, lw=0)
        _named(axes, points, part, size, theme) if part.names else _shaded(figure, axes, points, part, size, theme)
        as_map(axes, axes_names)
    return figure


def _named(axes: Axes, points: np.ndarray, part: Colouring, size: int, theme: Theme) -> None:
    entries = []
    for k, name in enumerate(part.names):
        colour, here = theme.colours[k % len(theme.colours)], part.values == k
        axes.scatter(points[here, 0], points[here, 1], s=size, color=colour, lw=0, alpha=0.8)
        entries.append((name, Line2D([], [], color=colour, marker="o", ls="none", ms=4)))
    add_legend(axes, entries, theme, letters=16, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _shaded(figure: Figure, axes: Axes, points: np.ndarray, part: Colouring, size: int, theme: Theme) -> None:
    place = part.scale.place(part.values)
    seen = np.isfinite(place)
    if not seen.any():
        return
    low, high = np.percentile(place[seen], ENDS)
    high = max(high, low + 1e-9)
    shown = axes.scatter(
        points[seen, 0], points[seen, 1], s=size, c=place[seen], cmap=_shades(theme), vmin=low, vmax=high, lw=0
    )
    bar = figure.colorbar(shown, ax=axes, shrink=0.7, aspect=24, pad=0.02)
    part.scale.label(bar.ax.yaxis)
    bar.ax.tick_params(labelsize=7, color=theme.line, labelcolor=theme.muted)
    bar.outline.set_visible(False)


def _shades(theme: Theme) -> Colormap:
    # Neither end may be the colour of the page.
    low, high = (0.2, 1.0) if theme == DARK else (0.0, 0.88)
    return ListedColormap(colormaps["viridis"](np.linspace(low, high, 256)))
