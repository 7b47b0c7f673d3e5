"""The columns of a table as pictures need them: their numbers, how they lie on an axis, and how often each value is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...data.columns import WHOLE, Column
from ...data.dates import SECONDS, TIMES
from ...data.domains import Domain
from ...evaluation.dependence import association, cuts
from ...runs.tables import typed_columns
from .. import plots
from .base import array, visible

if TYPE_CHECKING:
    from ...runs.run import Run
    from ..plots import Agreement, Colouring, Marginal, Scale
    from .base import Subject

ROWS = 5000
"""Rows, at most, of data and of samples, unless told otherwise."""
CELLS = 1 << 24
"""Cells, at most, of those rows."""
SHOWN = 24
"""Columns, at most, that have a panel."""
LEVELS = 8
"""Categories, at most, that have a name; the rarest of more are taken together."""
BINS = 32
ZERO = 0.3
"""The share of 0 from which on it would hide what else there is."""
FAR = 30.0
"""From the least to the greatest so many times: then logarithms tell more."""
SPAN = (0.5, 99.5)
"""Percentiles that an axis reaches to: a few far draws must not squeeze all others."""


@dataclass(frozen=True)
class Table:
    """Rows of a table as numbers: of data (N, D), NaN where missing, and of what a model makes of it (M, D)."""

    columns: tuple[Column, ...]
    domains: tuple[Domain, ...]
    data: np.ndarray
    made: np.ndarray | None = None

    def marginals(self) -> list[Marginal]:
        """How often each value of each column is, in data and in samples."""
        none: list[None] = [None] * len(self.columns)
        made = none if self.made is None else list(self.made.T)
        own = zip(self.columns, self.domains, self.data.T, made, strict=True)
        return [marginal(column, domain, x, y) for column, domain, x, y in own]

    def agreements(self) -> list[Agreement]:
        """What became of each column's cells that are observed."""
        made = self.data if self.made is None else self.made
        own = zip(self.columns, self.domains, self.data.T, made.T, strict=True)
        return [agreement(column, domain, x, y) for column, domain, x, y in own]

    def known(self) -> np.ndarray:
        """How well what was made of each column tells what it was: their dependence, (D,) in [0, 1]."""
        made = self.data if self.made is None else self.made
        levels = levels_of(self.columns)
        pairs = zip(cuts(self.data, levels), cuts(made, levels), self.data.T, made.T, strict=True)
        return np.nan_to_num([association(first(x), second(y)) for first, second, x, y in pairs])


def is_table(run: Run) -> bool:
    """Whether the data of `run` have columns with names."""
    return bool(run.schema.columns)


def no_table(run: Run) -> str:
    """What `run` lacks for a picture of columns."""
    return "" if is_table(run) else "a table (its data have no named columns)"


def few(run: Run) -> int:
    """How many rows are looked at unless told otherwise: fewer of very many columns."""
    return max(1, min(ROWS, CELLS // len(run.schema.columns)))


def data_of(subject: Subject, n: int | None = None) -> Table:
    """n rows of the split, chosen at random, and nothing made of them."""
    columns = typed_columns(subject.run)
    domains = subject.run.schema.domain.each(len(columns))
    return Table(columns, domains, visible(subject.some(n or few(subject.run))).astype(np.float64))


def sampled(subject: Subject, n: int | None = None) -> Table:
    """n rows of the split, chosen at random, and n draws of the model."""
    made = subject.samples(n or few(subject.run), draw=True)
    return replace(data_of(subject, n), made=made.astype(np.float64))


def reconstructed(subject: Subject, n: int | None = None) -> Table:
    """n rows of the split, chosen at random, and their reconstructions."""
    made = array(subject.run.model.reconstruct(subject.some(n or few(subject.run)), seed=subject.seed))
    return replace(data_of(subject, n), made=made.astype(np.float64))


def levels_of(columns: Sequence[Column]) -> list[int | None]:
    """How many categories each column has, None of numbers."""
    return [len(column.categories) or None for column in columns]


def scale_of(column: Column, domain: Domain, x: np.ndarray) -> Scale:
    """How the numbers of a column, x (N,), lie on an axis: as the model has them, by logarithms or their like where it
    has and they reach far enough.
    """
    if column.kind == "date":
        if column.format in TIMES:
            return plots.Scale("time", scale=SECONDS[column.unit] / SECONDS["h"])
        return plots.Scale("date", scale=_days(column))
    if domain.warp == "log" and not _reaches_far(x):
        return plots.Scale()
    location, scale = float(domain.location), float(domain.scale)  # type: ignore[arg-type]
    if domain.warp == "asinh":
        return plots.Scale("asinh", location, scale)
    if domain.warp == "log" and column.kind == "positive":
        return plots.Scale("log")
    if domain.warp == "log":  # where 0 has a place
        return plots.Scale("asinh", 0.0, 0.5 if column.kind == "count" else math.exp(location - 2 * scale))
    return plots.Scale()


def _reaches_far(x: np.ndarray) -> bool:
    above = x[x > 0]
    if not len(above):
        return False
    low, high = np.percentile(above, SPAN)
    return bool(high >= FAR * low)


def named(column: Column, values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which group each category (L,) of a column falls into, and the groups' names: the commonest of `values`, those of
    an ordered column in its order, and of more than 8 the others together.
    """
    counts = np.bincount(values[~np.isnan(values)].astype(np.int64), minlength=len(column.categories))
    order = np.argsort(-counts, kind="stable")
    rest = len(order) - LEVELS + 1 if len(order) > LEVELS else 0
    chosen = order[: LEVELS - 1] if rest else order
    if column.kind == "ordinal":
        chosen = np.sort(chosen)
    group = np.full(len(column.categories), len(chosen))
    group[chosen] = np.arange(len(chosen))
    names = tuple(column.categories[i] for i in chosen)
    return group, (*names, f"{rest} others") if rest else names


def marginal(column: Column, domain: Domain, x: np.ndarray, made: np.ndarray | None = None) -> Marginal:
    """How often each category or bin of a column is in its cells x (N,), NaN where missing, and in those made (M,)."""
    missing = float(np.isnan(x).mean())
    seen = [each[~np.isnan(each)] for each in (x, *([] if made is None else [made]))]
    counts = (len(seen[0]), len(seen[-1]))
    if column.categories:
        group, names = named(column, x)
        shares = [_shares(np.bincount(group[cells(column, each)], minlength=len(names)), len(each)) for each in seen]
        return plots.Marginal(column.name, *_two(shares), names, missing=missing, counts=counts)
    scale, zero = scale_of(column, domain, x), None
    sizes = [len(each) for each in seen]
    whole = column.kind in WHOLE or (column.kind == "date" and column.unit == "D")
    each_a_bin = whole and len(seen[0]) > 0 and np.ptp(np.percentile(seen[0], SPAN)) < BINS
    if scale.kind not in ("date", "time") and not each_a_bin and 1 > (seen[0] == 0).sum() / max(sizes[0], 1) >= ZERO:
        zero = (float((seen[0] == 0).mean()), float((seen[-1] == 0).mean()))
        seen = [each[each != 0] for each in seen]
    ends = _ends(scale, seen, whole)
    shares = [_shares(np.histogram(scale.place(each), ends)[0], n) for each, n in zip(seen, sizes, strict=True)]
    return plots.Marginal(column.name, *_two(shares), (), ends, scale, missing, zero, counts)


def agreement(column: Column, domain: Domain, x: np.ndarray, made: np.ndarray) -> Agreement:
    """What became of a column's cells x (N,), NaN where missing."""
    seen = ~np.isnan(x)
    off, _ = errors(column, x, made)
    if column.categories:
        said = f"{off} wrong" if off else ""
        group, names = named(column, x)
        return plots.Agreement(
            column.name, group[cells(column, x[seen])], group[cells(column, made[seen])], said, names
        )
    said = f"off by {off}" if off else ""
    return plots.Agreement(column.name, x[seen], made[seen], said, scale=scale_of(column, domain, x))


def errors(column: Column, x: np.ndarray, made: np.ndarray) -> tuple[str, str]:
    """How far cells made (N,) are from those of a column, x (N,), NaN where missing, in words; and how far its
    commonest category or its median would be.
    """
    seen = ~np.isnan(x)
    if not seen.any():
        return "", ""
    x, made = x[seen], made[seen]
    if column.categories:
        own = cells(column, x)
        found = (own != cells(column, made)).mean(), (own != np.bincount(own).argmax()).mean()
        return tuple(f"{100 * each:.3g} %" for each in found)  # type: ignore[return-value]
    made = np.rint(made) if column.kind in WHOLE else made
    found = np.abs(x - made).mean(), np.abs(x - np.median(x)).mean()
    return tuple(_amount(column, each) for each in found)  # type: ignore[return-value]


def colouring(column: Column, domain: Domain, x: np.ndarray) -> Colouring:
    """A column's cells x (N,), NaN where missing, as colours."""
    if not column.categories:
        return plots.Colouring(column.name, x, scale=scale_of(column, domain, x))
    group, names = named(column, x)
    gone = np.isnan(x)
    values = np.where(gone, np.nan, group[cells(column, np.where(gone, 0.0, x))])
    return plots.Colouring(column.name, values, names)


def cells(column: Column, numbers: np.ndarray) -> np.ndarray:
    """The categories that numbers, means of them too, are nearest to."""
    return np.clip(np.rint(numbers), 0, len(column.categories) - 1).astype(np.int64)


def value_range(column: Column, x: np.ndarray) -> str:
    """The commonest categories with their shares, or the least and the greatest number or date."""
    seen = x[~np.isnan(x)]
    if not len(seen):
        return ""
    if column.categories:
        counts = np.bincount(cells(column, seen), minlength=len(column.categories))
        most = np.argsort(-counts, kind="stable")[:3]
        texts = (f"{column.categories[i]} {100 * counts[i] / len(seen):.0f} %" for i in most if counts[i])
        return ", ".join(texts) + ("…" if len(column.categories) > len(most) else "")
    return " to ".join(column.values(np.array([seen.min(), seen.max()])).astype(str))


def _amount(column: Column, value: float) -> str:
    if column.kind != "date":
        return plots.said(float(f"{value:.3g}"))
    days = value * _days(column)
    return f"{days:.3g} days" if days >= 1 else f"{24 * days:.3g} h"


def _days(column: Column) -> float:
    """How long the unit of a column of dates is."""
    return SECONDS[column.unit] / SECONDS["D"]


def _shares(counts: np.ndarray, total: int) -> np.ndarray:
    return counts / max(total, 1)


def _two(shares: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Those of data, and those of samples where there are any."""
    return shares[0], shares[1] if len(shares) > 1 else None


def _ends(scale: Scale, seen: Sequence[np.ndarray], whole: bool) -> np.ndarray:
    """The ends of the bins of the values that are `seen`, as places on their scale; of whole numbers between two."""
    places = [each[np.isfinite(each)] for each in map(scale.place, seen)]
    spans = [np.percentile(each, SPAN) for each in places if len(each)]
    if not spans:
        return np.array([0.0, 1.0])
    room = max(float(np.ptp(spans[0])), 1.0 if whole and scale.kind != "asinh" else 0.0)
    # Samples may lie far out; what they say there is not worth that the data are squeezed.
    low = max(min(float(each[0]) for each in spans), float(spans[0][0]) - room)
    high = min(max(float(each[1]) for each in spans), float(spans[0][1]) + room)
    count = min(BINS, 4 + math.isqrt(len(seen[0])))
    if high - low <= 1e-12 * abs(low):
        return np.array([low - 0.5, low + 0.5])
    if not whole:
        return np.linspace(low, high, count + 1)
    if scale.kind != "asinh":
        width = max(1, math.ceil((high - low + 1) / count))
        return np.arange(math.floor(low), math.ceil(high) + width + 1, width) - 0.5
    # Bins between whole numbers, lest some hold two of them and others none.
    between = np.unique(np.floor(scale.number(np.linspace(low, high, count + 1))) + 0.5)
    return scale.place(np.array([between[0] - 1.0, *between]))
