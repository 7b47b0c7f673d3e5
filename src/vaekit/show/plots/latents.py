"""The latent space: where data lie in it, and which of its dimensions are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from ...system.progress import working
from .style import LIGHT, WIDTH, Theme, add_legend, as_map, new_axes, new_figure, short

CLASSES = 20
"""Classes, at most, that are named in a map."""
FEW, STEPS = 2000, 400
"""Points that t-SNE lays out in so many steps."""
BARS = 100
"""Latent dimensions, at most, that get a bar."""
MARKERS = "o^sDvP"


def embed(means: ArrayLike, *, seed: int = 0) -> np.ndarray:
    """Posterior means (N, D) in the plane, (N, 2): as they are for D = 2, else by t-SNE (van der Maaten & Hinton 2008).

    A single dimension is spread out into a strip. t-SNE starts from the principal components; it takes a second or
    two for 2,000 points, minutes for many more.

    >>> embed([[0.0], [1.0]])[:, 0]
    array([0., 1.])
    """
    z = np.asarray(means, dtype=np.float64)
    if z.ndim != 2 or z.size == 0:
        raise ValueError(f"means have shape {z.shape}; accepted: (N, D), both at least 1")
    n, dimensions = z.shape
    if dimensions == 1:
        return np.column_stack([z, np.random.default_rng(seed).uniform(-1, 1, n)])
    # A handful of points, or points that are all one, have no neighbourhoods to keep.
    if dimensions == 2 or n < 5 or not np.ptp(z, axis=0).any():
        return z[:, :2]
    from sklearn.manifold import TSNE

    # Few points keep their neighbours as well after fewer steps than are usual, and with coarser sums of far ones.
    quick: dict[str, Any] = {"max_iter": STEPS, "angle": 0.8} if n <= FEW else {"max_iter": 1000}
    with working(f"t-SNE of {n:,} codes"):
        return TSNE(init="pca", perplexity=min(30.0, (n - 1) / 3), random_state=seed, **quick).fit_transform(z)


def latent_map(
    z: ArrayLike,
    labels: ArrayLike | None = None,
    classes: Sequence[str] = (),
    *,
    axes_names: tuple[str, str] = ("", ""),
    theme: Theme = LIGHT,
) -> Figure:
    """Points z (N, 2), coloured by `labels` (N,), whose names are `classes`; named beside the map if at most 20.

    An axis without a name has no ticks, for a map whose coordinates mean nothing. Raises `ValueError` for other shapes.
    """
    points = np.asarray(z, dtype=np.float64)
    label = np.zeros(len(points), int) if labels is None else np.asarray(labels, dtype=int)
    if points.ndim != 2 or points.shape[1] != 2 or label.shape != points.shape[:1] or not len(points):
        raise ValueError(f"z has shape {points.shape}, labels {label.shape}; accepted: (N, 2) and (N,), N at least 1")
    present = np.unique(label).tolist()
    names = {k: short(classes[k]) if k < len(classes) else str(k) for k in present}
    named = labels is not None and len(present) <= CLASSES
    inside = named and max(map(len, names.values())) <= 3
    width, height = np.ptp(points, axis=0)
    shape = np.clip(height / max(width, 1e-12), 0.3, 0.78)
    lines = 0.22 * len(present) if named else 0.0  # the height of the legend
    figure = new_figure(0.8 * WIDTH, max(0.8 * WIDTH * shape, lines), theme)
    axes = new_axes(figure, (1, 1, 1), theme)
    entries: list[tuple[str, Artist]] = []
    for k in present:
        # Another marker for each round of the colours.
        colour, marker = theme.colours[k % len(theme.colours)], MARKERS[k // len(theme.colours) % len(MARKERS)]
        here = points[label == k]
        size = 14 if len(points) < 1000 else 8 if len(points) < 5000 else 4
        axes.scatter(here[:, 0], here[:, 1], s=size, color=colour, marker=marker, lw=0, alpha=0.8)
        entries.append((names[k], Line2D([], [], color=colour, marker=marker, ls="none", ms=5)))
        if inside:
            x, y = _dense(here)
            halo = [withStroke(linewidth=3, foreground=theme.background)]
            text = axes.text(
                x, y, names[k], size=12, weight="bold", color=theme.text, path_effects=halo, parse_math=False
            )
            text.set(ha="center", va="center")
    if named:
        add_legend(figure, entries, theme, loc="outside right center")
    as_map(axes, axes_names)
    axes.margins(0.04)
    return figure


def _dense(points: np.ndarray) -> np.ndarray:
    """The one of `points` whose nearest quarter is closest: a class in two parts may have its mean in another."""
    some = points[:: 1 + len(points) // 500]
    distances = np.square(some[:, None] - some).sum(-1)
    return some[np.sort(distances, axis=1)[:, len(some) // 4].argmin()]


def kl_groups(kl: Mapping[str, float], *, theme: Theme = LIGHT) -> Figure:
    """The KL of each latent, all of its dimensions together, in nats, in the order given.

    >>> len(kl_groups({"z1": 3.0, "z2": 1.0}).axes[0].patches)
    2
    """
    figure = new_figure(min(WIDTH, 2.0 + 0.33 * len(kl)), 2.4, theme)
    axes = new_axes(figure, (1, 1, 1), theme, "")
    axes.bar(range(len(kl)), list(kl.values()), width=0.7, color=theme.colours[0])
    step = -(-len(kl) // 24)
    axes.set_xticks(range(0, len(kl), step), list(kl)[::step])
    axes.set_xlim(-0.6, len(kl) - 0.4)
    axes.set_ylabel("KL (nats)")
    return figure


def kl_bars(
    kl_per_dimension: Mapping[str, Sequence[float]],
    active: Mapping[str, ArrayLike] | None = None,
    *,
    theme: Theme = LIGHT,
) -> Figure:
    """The KL of each dimension (from 0) of each latent, falling, in nats; at most 100, in grey where not `active`.

    >>> len(kl_bars({"z": [0.1, 2.0]}).axes[0].patches)
    2
    """
    if not kl_per_dimension:
        raise ValueError("there is no latent to draw")
    count = len(kl_per_dimension)
    most = min(BARS, max(map(len, kl_per_dimension.values())))
    figure = new_figure(min(WIDTH, 2.0 + 0.33 * most), 0.3 + 1.9 * count, theme)
    for i, (name, kl) in enumerate(kl_per_dimension.items()):
        values = np.asarray(kl, dtype=np.float64)
        order = np.argsort(-values, kind="stable")[:BARS]
        on = np.ones(len(values), bool) if active is None else np.asarray(active[name], dtype=bool)
        title = name if len(values) <= BARS else f"{name}: the {BARS} largest of {len(values)}"
        axes = new_axes(figure, (count, 1, i + 1), theme, title)
        colours = [theme.colours[0] if k else theme.muted for k in on[order]]
        axes.bar(range(len(order)), values[order], width=0.7, color=colours)
        axes.set_xticks(range(len(order)) if len(order) <= 40 else [], order if len(order) <= 40 else [])
        axes.set_xlim(-0.6, most - 0.4)
        axes.set_ylabel("KL (nats)")
        if i + 1 == count:
            axes.set_xlabel("dimension, largest KL first")
    return figure
