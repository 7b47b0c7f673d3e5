"""How the dimensions of a posterior hang together."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .style import LIGHT, WIDTH, Theme, new_axes, new_figure

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
    low, high = theme.colours[0], theme.colours[1]
    signed = LinearSegmentedColormap.from_list("signed", [low, theme.background, high]).with_extremes(bad=theme.line)
    unsigned = LinearSegmentedColormap.from_list("unsigned", [theme.background, high]).with_extremes(bad=theme.line)
    off = [np.where(np.eye(len(first), dtype=bool), np.nan, matrix) for matrix in (first, second)]
    end = next((end for end in LIMITS if not any((np.abs(matrix) > end).any() for matrix in off)), LIMITS[-1])
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
        bar = figure.colorbar(shown, ax=axes, shrink=0.8, aspect=24, pad=0.03)
        bar.set_label("correlation" if least else "mean |correlation|", size=9, color=theme.muted)
        bar.ax.tick_params(labelsize=8, color=theme.line, labelcolor=theme.muted)
        bar.outline.set_visible(False)
    return figure
