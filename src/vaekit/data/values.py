"""The domain of arrays of numbers, where no file says it: by their name, by what is asked for, or by their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from ..errors import unknown
from ..settings import named, setting
from .base import Content, Split
from .covariates import CONSTANT
from .domains import KINDS, Domain, Kind
from .memmap import Array, blocks
from .pixels import BYTES, understand
from .tabular import table_domain


@dataclass(frozen=True)
class Asked:
    """What is said of the values of data: a `kind` of domain, grey `levels` or categories, the domain that is `known`
    of a dataset with a name; `older` is for what a run was trained on before values said what they are.
    """

    kind: str | None = None
    levels: int | None = None
    older: bool = False
    known: Domain | None = None


def domain_of(
    splits: Mapping[str, Split], content: Content, name: str, asked: Asked
) -> tuple[Mapping[str, Split], Domain, list[str]]:
    """The rows as they are to be stored, the domain of their values, and what is to be said of it.

    Raises `ValueError` as `understand` and `infer_domain` do.
    """
    x, kind, known = splits["train"].x, asked.kind, asked.known
    if kind == "columns" and not content.table:
        raise ValueError(f"{named('data.domain', kind)} is of a table whose columns have names; {name} is none")
    if content.table and not asked.older and kind in (None, "columns"):
        return splits, table_domain(content.table, x, splits["train"].observed), []
    if known is not None and asked.levels is None and kind in (None, known.kind):
        return splits, known, []
    notes: list[str] = []
    if not asked.older and (x.ndim > 2 or x.dtype == np.uint8):
        if kind == "real" and x.dtype == np.uint8 and asked.levels is None:
            greatest = ((known.levels if known else None) or BYTES) - 1
            return splits, Domain("real", location=greatest / 2, scale=greatest / 2), []
        if known is None and kind in (None, "binary"):
            found = understand(splits, asked.levels)
            if kind is None or (found.domain and found.domain.kind == "binary"):
                splits, notes = found.splits, [found.note] if found.note else []
                if found.domain is not None:
                    return splits, found.domain, notes
    domain = infer_domain(splits, kind, content.columns, asked.levels)
    if domain.kind == "real" and kind is None and not content.table and _are_counts(splits):
        counts = setting("data.domain", "count")
        notes.append(f"values are whole numbers from 0 on: taken as real ones; counts are {counts}")
    return splits, domain, notes


def infer_domain(
    splits: Mapping[str, Split], kind: str | None = None, columns: Sequence[str] = (), levels: int | None = None
) -> Domain:
    """The domain of the data, or of the given kind (and levels) with the location and scale of its training rows.

    Raises `ValueError` where the kind is unknown or has no levels, or a column of real numbers is constant.
    """
    x, observed = splits["train"].x, splits["train"].observed
    if kind is None:
        binary = all(((x == 0) | (x == 1)).all() for split in splits.values() for _, x in blocks(split.x))
        kind = "binary" if binary else "grey" if x.dtype == np.uint8 else "real"
    if kind not in KINDS:
        raise ValueError(unknown("domain", kind, KINDS))
    kind = cast(Kind, kind)
    if levels is not None and kind not in ("grey", "categorical"):
        raise ValueError(
            f"{named('data.levels', levels)} was given, but the domain is {kind!r}; accepted: 'grey', 'categorical'"
        )
    if kind in ("binary", "unit"):
        return Domain(kind)
    if kind == "grey":
        return Domain("grey", levels=256 if levels is None else levels)
    if kind == "categorical":
        if levels is None:
            levels = max(2, 1 + max(int(x.max()) for split in splits.values() for _, x in blocks(split.x)))
        return Domain("categorical", levels=levels, scale=levels - 1)
    axis = 0 if x.ndim == 2 else None
    return _counts(x, axis, observed) if kind == "count" else _numbers_of(kind, x, axis, observed, columns)


def _numbers_of(kind: Kind, x: Array, axis: int | None, observed: np.ndarray | None, columns: Sequence[str]) -> Domain:
    """The domain of real numbers, or of others with a scale."""
    if kind == "real":
        location = _mean(x, axis, observed=observed)
        scale = np.sqrt(_mean(x, axis, location, observed))
        constant = np.flatnonzero(scale <= (CONSTANT if x.dtype.itemsize <= 4 else CONSTANT**2) * np.abs(location))
        if constant.size:
            which = ", ".join(columns[i] if columns else str(i) for i in constant[:8]) if axis == 0 else "all values"
            other = f"drop it, or give another domain: {setting('data.domain', '…')}"
            raise ValueError(f"constant to six digits in the training rows: {which}; {other}")
        return Domain("real", location=_numbers(location), scale=_numbers(scale))
    # Location 0 keeps positive numbers positive; a column of zeros alone has no scale of its own.
    scale = np.sqrt(_mean(x, axis, 0.0, observed))
    return Domain(kind, scale=_numbers(np.where(scale > 0, scale, 1.0)))


def _counts(x: Array, axis: int | None, observed: np.ndarray | None) -> Domain:
    """The domain of counts x, seen as log(x + 1), whose mean and standard deviation are of its training rows; where
    there are zeros alone, as if one were 1/2.
    """
    location = _mean(x, axis, None, observed, np.log1p)
    scale = np.sqrt(_mean(x, axis, location, observed, np.log1p))
    least = np.log1p(0.5 / len(x))
    numbers = _numbers(np.where(location > 0, location, least)), _numbers(np.where(scale > 0, scale, 1.0))
    return Domain("count", location=numbers[0], scale=numbers[1], warp="log")


def _are_counts(splits: Mapping[str, Split]) -> bool:
    """Whether all values might be counts."""
    return all(((x >= 0) & (x == np.floor(x))).all() for split in splits.values() for _, x in blocks(split.x))


def _mean(
    x: Array,
    axis: int | None,
    center: np.ndarray | float | None = None,
    observed: np.ndarray | None = None,
    of: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """The mean of x over its rows, or over all of it for None; with a `center`, that of its squared distances to it; or
    all that `of` a function of x.

    Of the cells that are `observed`; `ValueError` for a column without any.
    """
    total: np.ndarray | float = 0.0
    for start, block in blocks(x):
        values = of(block.astype(np.float64))
        terms = values if center is None else np.square(values - center)
        total = total + (terms if observed is None else terms * observed[start : start + len(block)]).sum(axis)
    count = (len(x) if axis == 0 else x.size) if observed is None else observed.sum(axis)
    if np.any(count == 0):
        raise ValueError(f"nothing is observed in the training rows of column {int(np.argmin(count))}; leave it out")
    return np.asarray(total / count)


def _numbers(values: np.ndarray) -> float | tuple[float, ...]:
    return tuple(values.tolist()) if np.ndim(values) else float(values)
