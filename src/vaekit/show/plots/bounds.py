"""The bound on the likelihood: its two parts against each other, and the weights that tighten it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from .style import LIGHT, WIDTH, Theme, add_legend, new_axes, new_figure

START = 0.1
"""The part of a training, from its start, whose points may leave the range shown."""
ENTRY = 40
"""Letters of a key's entry."""
DIAGONALS = 6
"""Lines of one ELBO, about."""


def rate_distortion(paths: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, theme: Theme = LIGHT) -> Figure:
    """Rates (E,) against distortions (E,) in nats, a path for each name, its last point a disc; dotted: equal sums.

    Raises `ValueError` where there is no point.

    >>> len(rate_distortion({"train": ([1.0, 2.0], [9.0, 7.0])}).axes)
    1
    """
    arrays = {name: np.asarray(each, dtype=np.float64) for name, each in paths.items()}
    if not arrays or any(each.ndim != 2 or not each.size for each in arrays.values()):
        raise ValueError("there is no path to draw; each is rates and distortions, one point at least")
    figure = new_figure(0.8 * WIDTH, 0.55 * WIDTH, theme)
    axes = new_axes(figure, (1, 1, 1), theme)
    entries: list[tuple[str, Artist]] = []
    for (name, (rates, distortions)), colour in zip(arrays.items(), theme.colours, strict=False):
        axes.plot(rates, distortions, color=colour, lw=1.4, marker=".", ms=5)
        axes.plot(rates[-1:], distortions[-1:], color=colour, marker="o", ms=9, ls="none")
        entries.append((f"{name}, an epoch a point", Line2D([], [], color=colour, marker="o", lw=1.4)))
    late = np.concatenate([each[:, int(START * each.shape[1]) :] for each in arrays.values()], 1)
    (left, bottom), (right, top) = late.min(1), late.max(1)
    across, up = (max(0.08 * (high - low), 1e-3 * abs(high), 1e-6) for low, high in ((left, right), (bottom, top)))
    left, right, bottom, top = left - across, right + across, bottom - up, top + up
    axes.set(xlim=(left, right), ylim=(bottom, top))
    for total in np.linspace(left + bottom, right + top, DIAGONALS + 2)[1:-1]:
        axes.plot([left, right], [total - left, total - right], color=theme.muted, lw=0.8, ls=":", zorder=0)
        x = min(max(left, total - top), right)
        axes.annotate(
            f"ELBO {-total:,.1f}",
            (x, min(max(total - x, bottom), top)),
            xytext=(4, -4),
            textcoords="offset points",
            size=7,
            color=theme.muted,
            va="top",
            annotation_clip=True,
        )
    axes.set_xlabel("rate: KL of the code from the prior, nats per datum")
    axes.set_ylabel("distortion: −log p(x given z), nats per datum")
    entries.append(("the last epoch", Line2D([], [], color=theme.text, marker="o", ms=9, ls="none")))
    entries.append(("the same ELBO", Line2D([], [], color=theme.muted, lw=0.8, ls=":")))
    add_legend(
        axes, entries, theme, ENTRY, loc="upper right", frameon=True, facecolor=theme.background, edgecolor="none"
    )
    return figure


def weight_shares(shares: ArrayLike, effective: ArrayLike, *, theme: Theme = LIGHT) -> Figure:
    """The part of all weight that the heaviest 1, 2, … S draws have together, (S, N) for N data, and their effective
    samples (N,). Raises `ValueError` for other shapes.

    >>> len(weight_shares(np.linspace(0.1, 1, 10)[:, None], [10.0]).axes)
    2
    """
    parts, worth = np.asarray(shares, dtype=np.float64), np.asarray(effective, dtype=np.float64)
    if parts.ndim != 2 or not parts.size or worth.shape != parts.shape[1:]:
        raise ValueError(f"shares have shape {parts.shape}, effective samples {worth.shape}; accepted: (S, N) and (N,)")
    samples = len(parts)
    figure = new_figure(WIDTH, 0.42 * WIDTH, theme)
    draws = np.arange(1, samples + 1)
    axes = new_axes(figure, (1, 2, 1), theme, "Heaviest weights")
    axes.plot(draws, parts, color=theme.colours[0], lw=0.6, alpha=0.35)
    axes.plot(draws, np.median(parts, 1), color=theme.colours[1], lw=2)
    axes.plot(draws, draws / samples, color=theme.muted, lw=1, ls="--")
    axes.set(xscale="log", xlim=(1, samples), ylim=(0, 1.02))
    axes.set_xlabel(f"the heaviest draws, of {samples:,}")
    axes.set_ylabel("their part of all weight")
    lines = {"a datum": ("-", 0.6, theme.colours[0]), "the median": ("-", 2.0, theme.colours[1])}
    lines["all weigh the same"] = ("--", 1.0, theme.muted)
    keys: list[tuple[str, Artist]] = [
        (name, Line2D([], [], ls=style, lw=width, color=colour)) for name, (style, width, colour) in lines.items()
    ]
    add_legend(axes, keys, theme, loc="lower right", bbox_to_anchor=(0.76, 0.26))
    axes = new_axes(figure, (1, 2, 2), theme, "Effective samples")
    bins = np.geomspace(1, max(samples, 2), 25)
    axes.hist(np.clip(worth, 1, samples), bins=bins, color=theme.colours[0])  # type: ignore[arg-type]
    axes.axvline(float(np.median(worth)), color=theme.colours[1], lw=2)
    axes.set(xscale="log", xlim=(1, max(samples, 2)))
    axes.set_xlabel(f"draws that all are worth, of {samples:,}")
    axes.set_ylabel("number of data")
    median = f"the median, {np.median(worth):,.1f}"
    add_legend(axes, [(median, Line2D([], [], color=theme.colours[1], lw=2))], theme, ENTRY, loc="upper right")
    return figure
