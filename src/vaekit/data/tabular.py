"""The domain of a table: what the training rows say of each column's place, spread and tails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .domains import Domain, Kind, Warp

if TYPE_CHECKING:
    from .columns import Column

LEAST = 1e-9
"""A spread below this part of the mean is none."""


def table_domain(columns: Sequence[Column], x: np.ndarray, observed: np.ndarray | None = None) -> Domain:
    """The domain of the rows x (N, D) of a table of `columns`, of the cells that are `observed`.

    Where all columns are of one kind whose likelihoods need no more, real numbers without a warp or zeros and ones, it is
    that of this kind, so that every likelihood of it serves.
    """
    missing = observed is not None
    found = [_domain(each, _seen(x, observed, i)) for i, each in enumerate(columns)]
    if {(each.kind, each.warp) for each in found} == {("real", "affine")}:
        location, scale = (tuple(getattr(each, name) for each in found) for name in ("location", "scale"))
        return Domain("real", location=location, scale=scale, missing=missing)  # type: ignore[arg-type]
    if {each.kind for each in found} == {"binary"}:
        return Domain("binary", missing=missing)
    return Domain("columns", columns=tuple(found), missing=missing)


def _seen(x: np.ndarray, observed: np.ndarray | None, column: int) -> np.ndarray:
    values = np.asarray(x[:, column], np.float64)
    return values if observed is None else values[observed[:, column]]


def _domain(column: Column, values: np.ndarray) -> Domain:
    """The domain of a column, of its values (n,) in the training rows."""
    if not len(values):
        raise ValueError(f"column {column.name!r} has no value in the training rows; leave it out")
    if column.kind == "binary":
        return Domain("binary")
    if column.kind in ("categorical", "ordinal"):
        kind: Kind = "categorical" if column.kind == "categorical" else "grey"
        return Domain(kind, levels=max(2, len(column.categories)))
    if column.kind == "unit":
        low, high = column.low or 0.0, 1.0 if column.high is None else column.high
        return Domain("unit", location=low, scale=high - low)
    number: Kind = "integer" if column.kind == "date" and column.unit == "D" else _number(column.kind)
    if number in ("positive", "nonnegative"):
        above = values[values > 0]
        return Domain(number, **_place(np.log(above if len(above) else np.ones(1))), warp="log")
    other: Warp = "log" if number == "count" else "asinh"
    shifted = np.log1p(values) if other == "log" else np.arcsinh(_robust(values)[2])
    plain = -len(values) * math.log(_place(values)["scale"])
    if other == "log":
        warped = -len(values) * math.log(_place(shifted)["scale"]) - shifted.sum()
        return Domain(number, **(_place(shifted) if warped > plain else _place(values)), warp="log" if warped > plain else "affine")
    location, scale, u = _robust(values)
    # Of the normal that fits what asinh makes of them best, with what it pays for the map.
    warped = -len(values) * math.log(shifted.std() * scale + 1e-300) - 0.5 * np.log1p(u**2).sum()
    if warped > plain + MARGIN * len(values) and np.abs(u).max() > FAR:
        return Domain(number, location=location, scale=scale, warp="asinh")
    return Domain(number, **_place(values))


MARGIN = 0.1
"""Nats per value that a normal of warped numbers has to be better by."""
FAR = 10.0
"""Quartile ranges from the median within which nothing needs a warp."""


def _number(kind: str) -> Kind:
    return "real" if kind == "date" else kind  # type: ignore[return-value]


def _place(values: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation; a column of one value alone has 1."""
    location, scale = float(values.mean()), float(values.std())
    return {"location": location, "scale": scale if scale > LEAST * abs(location) else 1.0}


def _robust(values: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Median, a scale that half the values are within, and the values in these units."""
    location = float(np.median(values))
    distances = np.abs(values - location)
    scale = float(np.median(distances)) or float(distances[distances > 0].mean() if distances.any() else 1.0)
    return location, scale, (values - location) / scale
