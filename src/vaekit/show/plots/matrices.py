"""How the dimensions of a posterior hang together, and the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .style import LIGHT, WIDTH, Theme, new_axes, new_figure, short

LIMITS = (0.1, 0.2, 0.5, 1.0)
"""Ends that a scale may have: the first that no correlation is beyond."""


def correlations(one: ArrayLike, average: ArrayLike, *, theme: Theme = LIGHT) -> Figure:
    """Two matrices (D, D): the correlations of one posterior, and average absolute ones, on one scale that suits both.

    Dimensions count from 0. The diagonal, which is 1 by definition, is left out. Raises `ValueError` for
    other shapes.

    >>> len(correlations(np.eye(3), np.eye(3)).axes)
    4
    """
    first, second = np.asarray(one, dtype=np.float64), np.asarray(average, dtype=np.float64)
    if first.ndim != 2 or first.shape[0] != first.shape[1] or first.shape != second.shape or not first.size:
        raise ValueError(f"matrices have shapes {first.shape} and {second.shape}; accepted: (D, D) twice, D at least 1")
    figure = new_figure(WIDTH, 0.47 * WIDTH, theme)
    signed, unsigned = _colours(theme)
    off = [_off_diagonal(matrix) for matrix in (first, second)]
    end = _end(*off)
    panels = ((off[0], "one datum", signed, -end), (off[1], "average of absolute values", unsigned, 0.0))
    for i, (matrix, title, colours, least) in enumerate(panels):
        axes = new_axes(figure, (1, 2, i + 1), theme)
        axes.set_title(title, loc="left", size=10, color=theme.text, weight="bold")
        axes.grid(visible=False)
        shown = axes.imshow(matrix, cmap=colours, vmin=least, vmax=end, interpolation="nearest")
        axes.set_xlabel("latent dimension")
        if i == 0:
            axes.set_ylabel("latent dimension")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(10, integer=True))
        _bar(figure, axes, shown, "correlation" if least else "mean |correlation|", theme)
    return figure


def dependences(data: ArrayLike, samples: ArrayLike, names: Sequence[str], *, theme: Theme = LIGHT) -> Figure:
    """The dependence of each two columns in data and in samples, (D, D) in [0, 1], their difference, and one against
    the other; the diagonal is left out. Raises `ValueError` for other shapes.

    >>> len(dependences(np.eye(2), np.eye(2), ["a", "b"]).axes)
    7
    """
    first, second = np.asarray(data, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    if first.shape != (len(names),) * 2 or first.shape != second.shape or len(names) < 2:
        raise ValueError(f"matrices have shapes {first.shape}, {second.shape}; accepted: (D, D), a name each, D >= 2")
    figure = new_figure(WIDTH, 0.92 * WIDTH, theme)
    signed, unsigned = _colours(theme)
    one, other = (_off_diagonal(matrix) for matrix in (first, second))
    end = _end(other - one)
    panels = (
        (one, "data", unsigned, 0.0, 1.0),
        (other, "samples", unsigned, 0.0, 1.0),
        (other - one, "samples − data", signed, -end, end),
    )
    size = 7.0 if len(names) <= 18 else 5.5
    for i, (matrix, title, colours, low, high) in enumerate(panels):
        axes = new_axes(figure, (2, 2, i + 1), theme, title)
        axes.grid(visible=False)
        shown = axes.imshow(matrix, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        texts = [short(name) for name in names]
        axes.set_yticks(range(len(names)), texts, size=size, parse_math=False)
        axes.set_xticks(range(len(names)), texts, size=size, rotation=90, parse_math=False)
        axes.tick_params(length=0)
        _bar(figure, axes, shown, "", theme)
    axes = new_axes(figure, (2, 2, 4), theme, "each pair")
    axes.plot([0, 1], [0, 1], color=theme.muted, lw=1)
    pair = np.tril_indices(len(names), -1)
    axes.scatter(one[pair], other[pair], s=12, color=theme.colours[0], alpha=0.6, lw=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="data", ylabel="samples", aspect="equal")
    return figure


def _colours(theme: Theme) -> tuple[Colormap, Colormap]:
    """Colours of numbers with a sign, and of those without."""
    low, high = theme.colours[0], theme.colours[1]
    signed = LinearSegmentedColormap.from_list("signed", [low, theme.background, high]).with_extremes(bad=theme.line)
    unsigned = LinearSegmentedColormap.from_list("unsigned", [theme.background, high]).with_extremes(bad=theme.line)
    return signed, unsigned


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)


def _end(*matrices: np.ndarray) -> float:
    """The first of `LIMITS` that no entry is beyond."""
    return next((end for end in LIMITS if not any((np.abs(matrix) > end).any() for matrix in matrices)), LIMITS[-1])


def _bar(figure: Figure, axes: Axes, shown: AxesImage, text: str, theme: Theme) -> None:
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, aspect=24, pad=0.03)
    bar.set_label(text, size=9, color=theme.muted)
    bar.ax.tick_params(labelsize=8, color=theme.line, labelcolor=theme.muted)
    bar.outline.set_visible(False)
