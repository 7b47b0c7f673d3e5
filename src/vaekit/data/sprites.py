"""Shapes whose factors are known, made here: a small sibling of dSprites (Matthey et al. 2017)."""

from __future__ import annotations

from itertools import product

import numpy as np

SIDE = 64
SHAPES = ("square", "ellipse", "heart")
RADII = (5.0, 7.0, 9.0, 11.0, 13.0)
"""Of the circle that a shape fits in, pixels: the factor of scale."""
TURNS = 12
"""Orientations, each 30 degrees on."""
PLACES, STEP = 10, 4
"""Places along each side, and the pixels from one to the next."""


def sprites() -> tuple[np.ndarray, np.ndarray]:
    """All 18,000 images (N, 1, 64, 64) of zeros and ones, and the numbers from 0 of their factors (N, 5), float32:
    shape, scale, orientation, x and y.

    White on black: 3 shapes, 5 scales, 12 orientations, 10 places from left to right and 10 from top to bottom, the
    last factor changing fastest. As in dSprites a square looks alike every 90 degrees, an ellipse every 180.

    >>> x, factors = sprites()
    >>> x.shape, factors[-1].tolist()
    ((18000, 1, 64, 64), [2.0, 4.0, 11.0, 9.0, 9.0])
    """
    margin = STEP * (PLACES - 1)
    # Each shape in the middle of a canvas so much larger than an image that all places are windows of it.
    side = SIDE + margin
    at = np.arange(side) - (side - 1) / 2
    x, y = np.meshgrid(at, at)
    canvases = np.stack(
        [
            _inside(shape, radius, 2 * np.pi * turn / TURNS, x, y)
            for shape, radius, turn in product(SHAPES, RADII, range(TURNS))
        ]
    ).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(canvases, (SIDE, SIDE), (1, 2))[:, ::-STEP, ::-STEP]
    images = windows.swapaxes(1, 2).reshape(-1, 1, SIDE, SIDE)  # x before y
    sizes = (len(SHAPES), len(RADII), TURNS, PLACES, PLACES)
    return images, np.indices(sizes).reshape(len(sizes), -1).T.astype(np.float32)


def _inside(shape: str, radius: float, angle: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points are inside of a shape that is turned by an angle, counter-clockwise."""
    # Rounded: another machine's last bit is not to move a point over an edge.
    along = np.round((np.cos(angle) * x - np.sin(angle) * y) / radius, 9)
    up = np.round((-np.sin(angle) * x - np.cos(angle) * y) / radius, 9)
    if shape == "square":
        return np.maximum(abs(along), abs(up)) <= np.sqrt(0.5)
    if shape == "ellipse":
        return along**2 + (2 * up) ** 2 <= 1
    # (u² + v² - 1)³ = u² v³, within 1.14 and 1.24 of the middle, which lies a little low.
    u, v = 1.25 * along, 1.25 * up + 0.1
    return (u**2 + v**2 - 1) ** 3 <= u**2 * v**3
