"""Images side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .style import DPI, LIGHT, Theme, short

TILE = 0.6
"""The longer side of an image, in inches."""
GAP = 0.05


def image_grid(
    images: ArrayLike,
    *,
    columns: int = 12,
    limits: tuple[float, float] | None = None,
    rows: Sequence[str] = (),
    theme: Theme = LIGHT,
) -> Figure:
    """Images (N, H, W), (N, 1, H, W) or (N, 3, H, W) in rows of `columns`, each row with its name if `rows` are given.

    `limits` are the values that are black and white (none and all of a colour), by default the least and the greatest.
    Raises `ValueError` for another shape.

    >>> image_grid(np.eye(8).reshape(1, 8, 8)).get_size_inches()
    array([0.6, 0.6])
    """
    return _mosaic(_rows(_tiles(images, limits), columns), rows, 1, theme)


def pairs_grid(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    columns: int = 12,
    limits: tuple[float, float] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Originals in rows of `columns`, beneath each its reconstruction; shapes and `limits` as for `image_grid`."""
    first, second = np.asarray(originals), np.asarray(reconstructions)
    if first.shape != second.shape:
        raise ValueError(f"originals have shape {first.shape}, reconstructions {second.shape}; they must be the same")
    if limits is None and first.size:
        limits = float(first.min()), float(first.max())
    both = _rows(_tiles(first, limits), columns), _rows(_tiles(second, limits), columns)
    rows = [row for pair in zip(*both, strict=True) for row in pair]
    return _mosaic(rows, ["data", "model"] * len(both[0]), 2, theme)


def _tiles(images: ArrayLike, limits: tuple[float, float] | None) -> np.ndarray:
    """Images as (N, H, W, 3) in [0, 1]."""
    x = np.asarray(images, dtype=np.float64)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or x.shape[1] not in (1, 3) or x.size == 0:
        raise ValueError(
            f"images have shape {np.shape(images)}; accepted: (N, H, W), (N, 1, H, W), (N, 3, H, W), N at least 1"
        )
    low, high = limits or (x.min(), x.max())
    unit = np.clip((x - low) / max(high - low, 1e-12), 0, 1)
    return np.broadcast_to(np.moveaxis(unit, 1, -1), (len(x), *x.shape[2:], 3))


def _rows(tiles: np.ndarray, columns: int) -> list[np.ndarray]:
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def _mosaic(rows: Sequence[np.ndarray], names: Sequence[str], group: int, theme: Theme) -> Figure:
    """Rows of tiles (n, H, W, 3) one under the other, those of a `group` closest, with their names at the left.

    All tiles are one image, in which each of their pixels is a whole number of pixels, so that edges are sharp.
    """
    side = max(rows[0].shape[1:3])
    zoom = max(1, int(TILE * DPI) // side)
    inch = max(DPI, side / TILE)  # pixels per inch: matplotlib scales images down that are larger than a tile
    gap = round(GAP * inch)
    rows = [row.repeat(zoom, 1).repeat(zoom, 2) for row in rows]
    _, tile_height, tile_width, _ = rows[0].shape
    tops = [i * (tile_height + gap) + (i // group * gap if group > 1 else 0) for i in range(len(rows))]
    canvas = np.empty((tops[-1] + tile_height, max(map(len, rows)) * (tile_width + gap) - gap, 3))
    canvas[:] = to_rgb(theme.background)
    for row, top in zip(rows, tops, strict=True):
        for j, tile in enumerate(row):
            left = j * (tile_width + gap)
            canvas[top : top + tile_height, left : left + tile_width] = tile
    margin = round(DPI * (0.13 + 0.085 * max(len(short(name)) for name in names))) if names else 0
    width, height = (max(1, round(extent * DPI / inch)) for extent in canvas.shape[1::-1])
    # A hundredth more than whole pixels: matplotlib rounds down, and 57 / 200 * 200 is below 57.
    figure = Figure(figsize=((margin + width + 0.01) / DPI, (height + 0.01) / DPI), facecolor=theme.background)
    axes = figure.add_axes((margin / (margin + width), 0, width / (margin + width), 1))
    axes.imshow(canvas, aspect="auto")
    axes.set_axis_off()
    for name, top in zip(names, tops, strict=False):
        x, y = (margin - 0.1 * DPI) / (margin + width), 1 - (top + tile_height / 2) / canvas.shape[0]
        figure.text(x, y, short(name), size=9, color=theme.muted, ha="right", va="center", parse_math=False)
    return figure
