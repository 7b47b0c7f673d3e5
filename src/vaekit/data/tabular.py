"""Tables as data: a frame's columns as numbers, and what the training rows say of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from .base import Content, Dataset, Split, encode_labels, stored
from .columns import Column, numbers_of
from .domains import Domain, Kind, Warp
from .kinds import in_words, infer

LEAST = 1e-9
"""A spread below this part of the mean is none."""


def typed(content: Content, name: str, label: str | None, asked: Mapping[str, str], plain: bool) -> Content:
    """A table whose `frame` is read as numbers: its columns by the kinds that are `asked`, or that they look like.

    `label` names the column of classes, which is no data. With `plain`, all columns are numbers of one kind, which is
    said elsewhere. Raises `ValueError` where nothing is left, or a column is not of the kind that is asked for.
    """
    frame = content.frame
    if frame is None:
        return content
    y, classes = (None, ()) if label is None else labels_of(frame[label], name, label)
    frame = frame if label is None else frame.drop(columns=label)
    if not frame.shape[1]:
        raise ValueError(f"{name} has no columns besides the label {label!r}")
    kinds = {each: "real" for each in frame.columns if each not in asked} | dict(asked) if plain else asked
    columns, without = infer(frame, kinds)
    if not columns:
        reasons = "; ".join(f"{each!r}: {why}" for each, why in list(without.items())[:4])
        raise ValueError(f"{name} has no column to learn from ({reasons}); say what they are: data.columns")
    split = replace(rows_of_frame(columns, frame, name), y=y)
    left = tuple(f"column {each!r} is left out: {why}" for each, why in without.items())
    names = tuple(each.name for each in columns)
    return Content({"train": split}, classes, names, content.notes, (*content.left_out, *left), columns)


def rows_of_frame(columns: Sequence[Column], frame: pd.DataFrame, name: str, optional: bool = False) -> Split:
    """The rows of a frame as numbers, of its `columns`, by their names; with `optional`, some may not be there."""
    x = numbers_of(columns, frame, name, optional)
    gaps = np.isnan(x)
    holes = bool(gaps.any())
    if holes:
        x[gaps] = 0.0
    kept = [stored(x[:, i], f"{name}, column {each.name!r},") for i, each in enumerate(columns)]
    kind = np.result_type(np.float32, *{each.dtype for each in kept})
    index = frame.index
    origin = index.to_numpy() if index.dtype.kind in "iu" else np.array([str(each) for each in index], object)
    return Split(np.stack(kept, 1).astype(kind, copy=False), origin=origin, observed=~gaps if holes else None)


def described(dataset: Dataset, most: int = 40) -> list[tuple[str, str, str, str]]:
    """Rows of a table that shows the columns of `dataset`, the first ones of very many: name, kind, why, and how much of
    it is missing.
    """
    gaps, rows = np.zeros(len(dataset.table)), sum(map(len, dataset.splits.values()))
    for split in dataset.splits.values():
        gaps += 0 if split.observed is None else (~split.observed).sum(0)
    shown = [
        (each.name, in_words(each), each.why, f"{100 * gone / rows:.3g} %" if gone else "")
        for each, gone in zip(dataset.table[:most], gaps, strict=False)
    ]
    return [*shown, ("…", f"{len(gaps) - most} more", "", "")] if len(gaps) > most else shown


def labels_of(cells: pd.Series, name: str, label: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels 0..C-1 (N,) of a column of classes, and their names; `ValueError` where one is missing."""
    gone = cells.isna().to_numpy()
    if gone.any():
        row = int(np.argmax(gone))
        raise ValueError(f"{name}, row {row} (from 0): missing value in column {label!r}; fill it or drop the row")
    values = cells.to_numpy()
    texts = values.astype(str) if values.dtype == object or values.dtype.kind not in "biuf" else values
    try:
        texts = texts.astype(np.int64) if texts.dtype.kind in "US" and not _zeros_lead(texts) else texts
    except ValueError:
        pass
    return encodelabels_of(texts)


def _zeros_lead(texts: np.ndarray) -> bool:
    """Whether texts 01 and 1 would be one number."""
    return len(np.unique(texts)) != len({each.lstrip("0") for each in np.unique(texts).tolist()})


def table_domain(columns: Sequence[Column], x: np.ndarray, observed: np.ndarray | None = None) -> Domain:
    """The domain of the rows x (N, D) of a table of `columns`, of the cells that are `observed`.

    Where all columns are of one kind whose likelihoods need no more, real numbers without a warp or zeros and ones, it is
    that of this kind, so that every likelihood of it serves.
    """
    missing = observed is not None
    found = [_with_ends(_domain(each, seen), seen) for each, seen in zip(columns, _seen(x, observed), strict=True)]
    if {(each.kind, each.warp) for each in found} == {("real", "affine")}:
        location, scale = (tuple(getattr(each, name) for each in found) for name in ("location", "scale"))
        ends = tuple(end for each in found for end in each.ends)
        return Domain("real", location=location, scale=scale, missing=missing, ends=ends)  # type: ignore[arg-type]
    if {each.kind for each in found} == {"binary"}:
        return Domain("binary", missing=missing)
    return Domain("columns", columns=tuple(found), missing=missing)


def _seen(x: np.ndarray, observed: np.ndarray | None) -> Iterator[np.ndarray]:
    """The values (n,) of each column that are observed."""
    for i in range(x.shape[1]):
        values = np.asarray(x[:, i], np.float64)
        yield values if observed is None else values[observed[:, i]]


def _with_ends(domain: Domain, values: np.ndarray) -> Domain:
    if domain.kind in ("binary", "grey", "categorical", "unit"):
        return domain
    return replace(domain, ends=((float(values.min()), float(values.max())),))


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
