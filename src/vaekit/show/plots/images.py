"""Images side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import IdentityTransform
from numpy.typing import ArrayLike

from ...errors import check_least
from ...system.memory import check_memory
from .style import DPI, LIGHT, WIDTH, Drawing, Theme, short

TILE = 0.6
"""The longer side of an image, in inches, where a row of them is no wider than a page."""
GAP = 0.05
ROW_NAME = 32
"""Letters of the name of a row."""
MOST = 2**16
"""Pixels that a picture may be high or wide, for matplotlib."""
COPIES = 16
"""Bytes for each pixel, in all that drawing makes of it."""


def image_grid(
    images: ArrayLike,
    *,
    columns: int | None = None,
    limits: tuple[float, float] | None = None,
    rows: Sequence[str] = (),
    theme: Theme = LIGHT,
) -> Figure:
    """Images (N, H, W), (N, 1, H, W) or (N, 3, H, W) in rows of `columns`, each row with its name if `rows` are given.

    Without `columns` the grid is as square as it can be. `limits` are the values that are black and white (none and all
    of a colour), by default the least and the greatest. Pixels that are not known, NaN in a channel or in all, have the
    colour of the page. Raises `ValueError` for another shape.

    >>> image_grid(np.eye(8).reshape(1, 8, 8)).get_size_inches()
    array([0.6, 0.6])
    """
    tiles = _tiles(images, limits)
    return _mosaic(_rows(tiles, square(len(tiles)) if columns is None else columns), theme, names=rows)


def image_grids(
    grids: Mapping[str, ArrayLike],
    *,
    columns: int | None = None,
    limits: tuple[float, float] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Grids of the same number of images beside each other, each under its name; else as `image_grid`.

    >>> len(image_grids({"before": np.zeros((4, 8, 8)), "after": np.ones((4, 8, 8))}).texts)
    2
    """
    arrays = [np.asarray(images) for images in grids.values()]
    if len({array.shape for array in arrays}) != 1:
        raise ValueError(f"grids have shapes {[array.shape for array in arrays]}; they must be the same, one at least")
    columns = square(len(arrays[0])) if columns is None else columns
    beside = [_rows(_tiles(array, limits or _range(np.stack(arrays))), columns) for array in arrays]
    # The last row of a grid may be short: the next grid begins at the same place all the same.
    rows = [np.concatenate([_filled(own, columns) for own in row]) for row in zip(*beside, strict=True)]
    return _mosaic(rows, theme, heads=tuple(grids), across=columns)


def pairs_grid(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    columns: int = 12,
    limits: tuple[float, float] | None = None,
    beside: bool = False,
    theme: Theme = LIGHT,
) -> Figure:
    """Originals in rows of `columns`, beneath each its reconstruction; or `beside` each, then `columns` pairs in a row.

    Shapes and `limits` as for `image_grid`.
    """
    first, second = np.asarray(originals), np.asarray(reconstructions)
    if first.shape != second.shape:
        raise ValueError(f"originals have shape {first.shape}, reconstructions {second.shape}; they must be the same")
    limits = limits or _range(first)
    left, right = _tiles(first, limits), _tiles(second, limits)
    if beside:
        pairs = np.stack([left, right], 1).reshape(-1, *left.shape[1:])
        return _mosaic(_rows(pairs, 2 * columns), theme, across=2)
    both = zip(_rows(left, columns), _rows(right, columns), strict=True)
    rows = [row for pair in both for row in pair]
    return _mosaic(rows, theme, names=["data", "model"] * (len(rows) // 2), down=2)


def many_of_one(
    original: ArrayLike,
    reconstructions: ArrayLike,
    *,
    columns: int = 10,
    limits: tuple[float, float] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """One image (H, W), (1, H, W) or (3, H, W), and beneath it its reconstructions (N, …) in rows of `columns`."""
    first = np.asarray(original)[None]
    limits = limits or _range(first)
    below = _rows(_tiles(reconstructions, limits), columns)
    return _mosaic([_tiles(first, limits), *below], theme, names=["data", *["model"] * len(below)], first=True)


def square(n: int) -> int:
    """The columns of a grid of n images that is as wide as high, or one wider.

    >>> square(64), square(100), square(5)
    (8, 10, 3)
    """
    return math.isqrt(max(n, 1) - 1) + 1


def _range(images: np.ndarray) -> tuple[float, float] | None:
    """The least and the greatest of what is known; None where nothing is."""
    known = images[~np.isnan(images)]
    return (float(known.min()), float(known.max())) if known.size else None


def _tiles(images: ArrayLike, limits: tuple[float, float] | None) -> np.ndarray:
    """Images as (N, H, W, 3) in [0, 1], NaN where a pixel is not known."""
    x = np.asarray(images, dtype=np.float64)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or x.shape[1] not in (1, 3) or x.size == 0:
        raise ValueError(
            f"images have shape {np.shape(images)}; accepted: (N, H, W), (N, 1, H, W), (N, 3, H, W), N at least 1"
        )
    low, high = limits or _range(x) or (0.0, 1.0)
    unit = np.clip((x - low) / max(high - low, 1e-12), 0, 1)
    return np.broadcast_to(np.moveaxis(unit, 1, -1), (len(x), *x.shape[2:], 3))


def _rows(tiles: np.ndarray, columns: int) -> list[np.ndarray]:
    check_least("columns", columns)
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def _filled(row: np.ndarray, columns: int) -> np.ndarray:
    """A row with tiles of NaN, which show the page, at its end."""
    return np.concatenate([row, np.full((columns - len(row), *row.shape[1:]), np.nan)])


def _bytes(shares: np.ndarray, page: np.ndarray) -> np.ndarray:
    """Shares of full colour as bytes, an eighth of their memory: figures are what a training has most of. A pixel of
    which a share is NaN has those of the `page`.
    """
    known = np.where(np.isnan(shares).any(-1, keepdims=True), page, shares)
    return (255 * known).round().astype(np.uint8)


@dataclass(frozen=True)
class _Spacing:
    """Where tiles stand: `size` pixels each, a gap apart, two gaps after each `group`."""

    size: int
    gap: int
    group: int

    def start(self, i: int) -> int:
        return i * (self.size + self.gap) + (i // self.group * self.gap if self.group > 1 else 0)


class _Pixels(AxesImage):
    """An image that is copied where it takes as many pixels as it has: scaling it by one takes longer, and may blend
    neighbours, if by less than a byte's step.
    """

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> tuple[Any, ...]:
        pixels: Any = self.get_array()
        place = self.get_window_extent(renderer)
        fits = pixels.shape == (round(place.height), round(place.width), 3) and pixels.dtype == np.uint8
        if unsampled or magnification != 1 or self.get_alpha() is not None or not fits:
            return super().make_image(renderer, magnification, unsampled)
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        return np.concatenate([pixels, opaque], 2)[::-1], round(place.x0), round(place.y0), IdentityTransform()


def _check_size(rows: Sequence[np.ndarray], widest: int, zoom: int, gap: int, shrunk: float) -> None:
    """`ValueError` where a picture would be larger than pictures can be, or than memory takes."""
    height, width = rows[0].shape[1:3]
    high, wide = len(rows) * (height * zoom + gap), widest * (width * zoom + gap)
    count = sum(map(len, rows))
    if max(high, wide) * shrunk >= MOST:
        size = f"{round(wide * shrunk):,} x {round(high * shrunk):,} pixels"
        raise ValueError(f"a picture of {count:,} images would be of {size}; accepted: below {MOST:,}, so show fewer")
    check_memory(COPIES * high * wide, f"{count:,} images in one picture", "show fewer")


def _mosaic(
    rows: Sequence[np.ndarray],
    theme: Theme,
    *,
    names: Sequence[str] = (),
    heads: Sequence[str] = (),
    down: int = 1,
    across: int = 1,
    first: bool = False,
) -> Figure:
    """Rows of tiles (n, H, W, 3) one under the other, with their names at the left and heads above groups of columns.

    Those of a group of `down` rows and of `across` columns stand closest; so do, with `first`, all rows but the first.
    All tiles are one image, in which each of their pixels is a whole number of pixels, so that edges are sharp.
    """
    widest = max(map(len, rows))
    side = max(rows[0].shape[1:3])
    tile = min(TILE, WIDTH / widest - GAP)
    zoom = max(1, int(tile * DPI) // side)
    inch = max(DPI, side / tile)  # pixels per inch: matplotlib scales images down that are larger than a tile
    gap = round(GAP * inch)
    _check_size(rows, widest, zoom, gap, DPI / inch)
    page = np.array(to_rgb(theme.background))
    rows = [_bytes(row, page).repeat(zoom, 1).repeat(zoom, 2) for row in rows]
    _, tile_height, tile_width, _ = rows[0].shape
    vertical, horizontal = _Spacing(tile_height, gap, down), _Spacing(tile_width, gap, across)
    tops = [vertical.start(i) + (gap if first and i else 0) for i in range(len(rows))]
    canvas = np.empty((tops[-1] + tile_height, horizontal.start(widest - 1) + tile_width, 3), np.uint8)
    canvas[:] = _bytes(page, page)
    for row, top in zip(rows, tops, strict=True):
        for j, each in enumerate(row):
            left = horizontal.start(j)
            canvas[top : top + tile_height, left : left + tile_width] = each
    names = [short(name, ROW_NAME) for name in names]
    margin = round(DPI * (0.13 + 0.085 * max(map(len, names)))) if names else 0
    head = round(0.24 * DPI) if heads else 0
    width, height = (max(1, round(extent * DPI / inch)) for extent in canvas.shape[1::-1])
    whole = margin + width, head + height
    # A hundredth more than whole pixels: matplotlib rounds down, and 57 / 200 * 200 is below 57.
    figure = Drawing(figsize=((whole[0] + 0.01) / DPI, (whole[1] + 0.01) / DPI), facecolor=theme.background)
    axes = figure.add_axes((margin / whole[0], 0, width / whole[0], height / whole[1]))
    image = _Pixels(axes, interpolation="nearest" if inch == DPI else "auto", resample=True)
    image.set_data(canvas)
    image.set_extent(image.get_extent())
    axes.add_image(image)
    axes.set_axis_off()
    for name, top in zip(names, tops, strict=False):
        x, y = (margin - 0.1 * DPI) / whole[0], (1 - (top + tile_height / 2) / canvas.shape[0]) * height / whole[1]
        figure.text(x, y, name, size=9, color=theme.muted, ha="right", va="center", parse_math=False)
    for i, name in enumerate(heads):
        x = (margin + horizontal.start(i * across) * DPI / inch) / whole[0]
        figure.text(
            x,
            1 - 0.1 * DPI / whole[1],
            short(name),
            size=9,
            color=theme.muted,
            ha="left",
            va="center",
            parse_math=False,
        )
    return figure
