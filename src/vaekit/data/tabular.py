"""Tables as data: a frame's columns as numbers, and what the training rows say of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from ..errors import MOST_LINES, several, shown
from ..settings import setting
from .base import Content, Dataset, Split, stored
from .cells import category_text, factorized, refuse_fractions
from .columns import Column, numbers_of, possible_numbers
from .covariates import Covariate
from .domains import WARPED, Domain, Kind
from .impossible import MOST, Impossible
from .kinds import in_words, infer
from .memmap import Array, columns_of

CELLS = 1 << 20
"""Cells of columns that are looked at together."""
MARGIN = 0.1
"""Nats per value that a normal of warped numbers has to be better by."""
FAR = 10.0
"""Scales from the median within which nothing needs a warp."""
SIZES = (1e-35, 1e38)
"""Of the largest number of a column: those of 32 bits end at 1e-38, with all of their digits, and 3e38."""
LEAST = 1e-12
"""A spread below this part of the mean is none."""
SHOWN = 40
"""Columns that a table of them has, at most."""


def typed(content: Content, name: str, label: str | None, asked: Mapping[str, str], plain: str) -> Content:
    """A table whose `frame` is read as numbers: its columns by the kinds that are `asked`, or that they look like.

    `label` names the column of classes, which is no data. With `plain`, a domain, all others are its numbers.
    Raises `ValueError` where nothing is left, or a column is not of the kind that is asked for.
    """
    frame = content.frame
    if frame is None:
        return content
    y, classes = (None, ()) if label is None else labels_of(frame[label], name, label)
    frame = frame if label is None else frame.drop(columns=label)
    read_as = "".join(f"; {each}" for each in content.notes)  # it may be the wrong sheet, or no line of names
    if len(frame) < 2:
        many = f"{name} has one row, of which nothing can be learned: give 2 at least, better hundreds"
        raise ValueError(f"{many}{read_as}")
    if not frame.shape[1]:
        raise ValueError(f"{name} has no columns besides the label {label!r}")
    columns, without = infer(frame, asked, plain)
    if not columns:
        raise ValueError(f"{nothing_to_learn(name, without)}{read_as}")
    split = replace(rows_of_frame(columns, frame, name), y=y)
    left = told_left_out(without)
    names = tuple(each.name for each in columns)
    return Content(
        {"train": split}, classes, names, content.notes, (*content.left_out, *left), columns, dialect=content.dialect
    )


def with_covariates(content: Content, y: np.ndarray, covariates: Sequence[Covariate]) -> Content:
    """Content whose rows have the covariates y (N, C), which it says."""
    note = f"covariates that the model is given: {', '.join(each.in_words for each in covariates)}"
    splits = {name: replace(split, y=y) for name, split in content.splits.items()}
    return replace(content, splits=splits, covariates=tuple(covariates), notes=(*content.notes, note))


def told_left_out(without: Mapping[str, str]) -> tuple[str, ...]:
    """What is said of columns that are left out, each for a reason: a line each, of many for one reason one of all.

    >>> told_left_out({"a": "constant"} | {f"g{i}": "no value" for i in range(2000)})
    ("column 'a' is left out: constant", '2,000 columns are left out, no value: g0, g1, g2, g3, g4 and 1995 more')
    """
    by_reason: dict[str, list[str]] = {}
    for each, why in without.items():
        by_reason.setdefault(why.partition(",")[0], []).append(each)
    lines = []
    for reason, names in by_reason.items():
        if len(names) > MOST_LINES:
            lines.append(f"{len(names):,} columns are left out, {reason}: {several(names, MOST_LINES)}")
        else:
            lines += [f"column {each!r} is left out: {without[each]}" for each in names]
    return tuple(lines)


def nothing_to_learn(name: str, without: Mapping[str, str]) -> str:
    """What is said of a table of which all columns are left out, each for a reason."""
    reasons = "; ".join(f"{each!r}: {why}" for each, why in list(without.items())[:4])
    some = next((each for each, why in without.items() if why != "no value"), None)
    advice = "" if some is None else f"; say of what kind one is: {setting('data.columns', {some: 'real'})}"
    return f"{name} has no column to learn from ({reasons}){advice}"


def rows_of_frame(columns: Sequence[Column], frame: pd.DataFrame, name: str) -> Split:
    """The rows of a frame as numbers, of its `columns`, by their names."""
    x = numbers_of(columns, frame, name, short=True)
    refuse_sizes(columns, x, name)
    return _rows(x, frame, np.ascontiguousarray)


def new_rows_of_frame(columns: Sequence[Column], frame: pd.DataFrame, name: str, domain: Domain) -> Split:
    """The rows of a frame that is new to a model, of whose `columns` cells may be none: these are not observed. The
    `domain` that the model knows says how many digits its numbers have.
    """
    x, refused = possible_numbers(columns, frame, name)
    refused |= np.abs(x) > SIZES[1]
    x[refused] = np.nan
    rows = _rows(x, frame, partial(stored, what=name, domain=domain))
    if not refused.any():
        return rows
    return replace(rows, refused=refused, impossible=_impossible(rows, frame, columns, refused))


def _impossible(rows: Split, frame: pd.DataFrame, columns: Sequence[Column], refused: np.ndarray) -> Impossible:
    """The cells of `rows` of a `frame` that are `refused`, (N, D) of bool; of a column of several, all of which are,
    that it can't be read.
    """
    names, unread = [each.name for each in columns], dict[str, int]()
    seen = refused if rows.observed is None else refused | rows.observed
    whole = (refused == seen).all(0) & (refused.sum(0) > 1)
    for i in np.flatnonzero(whole).tolist():
        where = np.flatnonzero(refused[:, i])
        cells = ", ".join(dict.fromkeys(_cell(frame[names[i]].iloc[row]) for row in where[:MOST]))
        unread[f"column {names[i]!r} ({cells}, …; accepted: {columns[i].accepted})"] = len(where)
    at = np.argwhere(refused & ~whole)
    first = [f"{_cell(frame[names[i]].iloc[row])} at {rows.place((row, i), names)}" for row, i in at[:MOST].tolist()]
    return Impossible(len(at), tuple(first), unread)


def _cell(value: object) -> str:
    return shown(getattr(value, "item", lambda: value)())


def impossible_rows(rows: int, of: int) -> str:
    """That log p of some rows is -inf, and why, in a line; nothing where there are none.

    >>> impossible_rows(2, 500)
    "log p is -inf for 2 of 500 rows, with a cell that its column can't have, as a category that was not in training"
    """
    why = "with a cell that its column can't have, as a category that was not in training"
    return f"log p is -inf for {rows:,} of {of:,} rows, {why}" if rows else ""


def _rows(x: np.ndarray, frame: pd.DataFrame, kept: Callable[[np.ndarray], np.ndarray]) -> Split:
    gaps = np.isnan(x)
    holes = bool(gaps.any())
    if holes:
        x[gaps] = 0.0
    index = frame.index
    origin = index.to_numpy() if index.dtype.kind in "iu" else np.array([str(each) for each in index], object)
    return Split(kept(x), origin=origin, observed=~gaps if holes else None)


def refuse_sizes(columns: Sequence[Column], x: np.ndarray, name: str) -> None:
    """Raise `ValueError` for the first column whose numbers are too large or too small for 32 bits."""
    if not len(x):
        return
    largest = np.fmax(np.fmax.reduce(x, 0), -np.fmin.reduce(x, 0))
    for i in np.flatnonzero((largest > SIZES[1]) | ((largest > 0) & (largest < SIZES[0]))).tolist():
        what = f"{name}, column {columns[i].name!r}: its largest number is of size {largest[i]:.3g}"
        raise ValueError(f"{what}; accepted: {SIZES[0]:g} to {SIZES[1]:g}; give it in another unit")


def described(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Rows of a table that shows the columns of `dataset`, the first of very many: name, kind, why, and how much of it
    is missing.
    """
    gaps, rows = np.zeros(len(dataset.table)), sum(map(len, dataset.splits.values()))
    for split in dataset.splits.values():
        gaps += 0 if split.observed is None else (~split.observed).sum(0)
    domains = dataset.domain.each(len(gaps))
    shown = [
        (each.name, in_words(each), each.why + _without_rows(own), f"{100 * gone / rows:.3g} %" if gone else "")
        for each, own, gone in zip(dataset.table[:SHOWN], domains, gaps, strict=False)
    ]
    if len(gaps) > SHOWN and len({(each.kind, each.why) for each in dataset.table}) == 1:
        name, kind, why, _ = shown[0]
        return [(f"{name} … {dataset.table[-1].name}", f"{len(gaps):,} of {kind}", why, "")]
    return [*shown, ("…", f"{len(gaps) - SHOWN} more", "", "")] if len(gaps) > SHOWN else shown


def _without_rows(domain: Domain) -> str:
    return f", {len(domain.unseen)} of them in no training row" if domain.unseen else ""


def labels_of(cells: pd.Series, name: str, label: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels 0..C-1 (N,) of a column of classes, and their names; `ValueError` where one is missing."""
    gone = cells.isna().to_numpy()
    if gone.any():
        row = int(np.argmax(gone))
        kept = f"leave {setting('data.label', label)} out, and {label!r} is a column with holes like any other"
        what = f"missing value in column {label!r}; fill it or drop the row, or {kept}"
        raise ValueError(f"{name}, row {row} (from 0): {what}")
    codes, distinct = factorized(cells)
    refuse_fractions(distinct, len(cells), f"{name}, label {label!r},", "leave it out, as a column like any other")
    texts = [category_text(each) for each in distinct]
    whole = all(text.removeprefix("-").isdecimal() for text in texts) and len({int(text) for text in texts}) == len(
        texts
    )
    # Labels 2 and 10 sort as numbers, not as text, unless 01 and 1 are two of them.
    order = sorted(range(len(texts)), key=lambda i: (int(texts[i]) if whole else 0, texts[i]))
    numbers = np.empty(len(texts), np.int64)
    numbers[order] = np.arange(len(texts))
    return numbers[codes], tuple(texts[i] for i in order)


def table_domain(columns: Sequence[Column], x: Array, observed: np.ndarray | None = None) -> Domain:
    """The domain of the rows x (N, D) of a table of `columns`, of the cells that are `observed`.

    Where all columns are real numbers without a warp, or zeros and ones, it is that of this kind, so that every
    likelihood of it serves.
    """
    found: dict[int, Domain] = {}
    many = max(1, CELLS // max(1, len(x)))
    numbers = [i for i, each in enumerate(columns) if each.kind not in ("binary", "categorical", "ordinal", "unit")]
    for start in range(0, len(numbers), many):
        index = numbers[start : start + many]
        values = np.array(columns_of(x, index), np.float64)
        if observed is not None:
            values[~observed[:, index]] = np.nan
        found |= zip(index, _of_numbers([columns[i] for i in index], values), strict=True)
    for i, each in enumerate(columns):
        if i not in found:
            values = columns_of(x, [i])[:, 0]
            found[i] = _of_levels(each, values if observed is None else values[observed[:, i]])
    every = [found[i] for i in range(len(columns))]
    if observed is not None and not observed.any(0).all():
        name = columns[int(np.argmin(observed.any(0)))].name
        advice = f"leave it out: {setting('data.columns', {name: 'none'})}"
        raise ValueError(f"column {name!r} has no value in the training rows; {advice}")
    return _joined(every, observed is not None)


def _joined(found: list[Domain], missing: bool) -> Domain:
    if {(each.kind, each.warp) for each in found} == {("real", "affine")}:
        location, scale = (tuple(getattr(each, name) for each in found) for name in ("location", "scale"))
        ends = tuple(end for each in found for end in each.ends)
        return Domain("real", location=location, scale=scale, missing=missing, ends=ends)
    if {each.kind for each in found} == {"binary"}:
        return Domain("binary", missing=missing)
    return Domain("columns", columns=tuple(found), missing=missing)


def _of_levels(column: Column, values: np.ndarray) -> Domain:
    """The domain of a column of levels, or between two ends, whose values in training are those (N,)."""
    if column.kind == "binary":
        return Domain("binary")
    if column.kind == "unit":
        low, high = column.low or 0.0, 1.0 if column.high is None else column.high
        return Domain("unit", location=low, scale=high - low)
    levels = max(2, len(column.categories))
    unseen = tuple(sorted(set(range(levels)) - set(np.unique(values).astype(int).tolist())))
    kind: Kind = "categorical" if column.kind == "categorical" else "grey"
    return Domain(kind, levels=levels, unseen=unseen, rows=len(values) if unseen else 0)


def _of_numbers(columns: Sequence[Column], values: np.ndarray) -> Iterator[Domain]:
    """The domains of columns of numbers, of their values (N, D) in the training rows, NaN where they are missing."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without values, which are refused later
        ends = np.stack([np.nanmin(values, 0), np.nanmax(values, 0)], 1)
        plain, logs, roots = _place(values), _logarithms(columns, values), _Robust.of(values)
        log_place, log_warped = _place(logs[0]), logs[1]
        as_log = log_warped > -np.log(plain[1])
        as_root = roots.better_than(-np.log(plain[1]))
    for i, column in enumerate(columns):
        kind: Kind = _number(column)
        own = ((float(ends[i, 0]), float(ends[i, 1])),)
        if kind in ("positive", "nonnegative") or (kind == "count" and as_log[i]):
            yield Domain(kind, location=log_place[0][i], scale=log_place[1][i], warp="log", ends=own)
        elif kind in WARPED["asinh"] and as_root[i]:
            yield Domain(kind, location=roots.location[i], scale=roots.scale[i], warp="asinh", ends=own)
        else:
            yield Domain(kind, location=plain[0][i], scale=plain[1][i], ends=own)


def _number(column: Column) -> Kind:
    """The kind of a column's numbers: dates are whole ones of their unit, or seconds."""
    if column.kind != "date":
        return column.kind  # type: ignore[return-value]
    return "real" if column.unit == "s" else "integer"


def _place(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; 1 for one of one value alone."""
    location, scale = np.nanmean(values, 0), np.nanstd(values, 0)
    location = np.nan_to_num(location)
    return location, np.where(scale > LEAST * np.abs(location), scale, 1.0)


def _logarithms(columns: Sequence[Column], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logarithms of each column, of counts of one more, NaN where there is none; and the log-density per value of
    the normal that fits them best, but for what a normal of the values has too.
    """
    counts = np.array([column.kind == "count" for column in columns])
    above = np.where(values + counts > 0, values + counts, np.nan)
    logs = np.log(above)
    return logs, -np.log(_place(logs)[1]) - np.nan_to_num(np.nanmean(logs, 0))


@dataclass(frozen=True)
class _Robust:
    """Medians, scales that half the values are within, and the values in these units."""

    location: np.ndarray
    scale: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> _Robust:
        location = np.nan_to_num(np.nanmedian(values, 0))
        distances = np.abs(values - location)
        scale = np.nanmedian(distances, 0)
        other = np.nanmean(np.where(distances > 0, distances, np.nan), 0)  # where half the values are the median
        scale = np.where(scale > 0, scale, np.nan_to_num(other, nan=1.0))
        scale = np.where(scale > 0, scale, 1.0)
        return cls(location, scale, (values - location) / scale)

    def better_than(self, plain: np.ndarray) -> np.ndarray:
        """Which columns have values far out, and are better described by a normal of asinh of them, with what it pays
        for the map, than by one of them, which has `plain` nats per value.
        """
        roots = np.arcsinh(self.values)
        own = -np.log(_place(roots)[1] * self.scale) - 0.5 * np.nanmean(np.log1p(self.values**2), 0)
        return (own > plain + MARGIN) & (np.nanmax(np.abs(self.values), 0) > FAR)
