"""What values a datum can take: the contract between a dataset and a likelihood.

A dataset *has* a domain; a likelihood *declares* the domains it is a density (or mass function) of. The two are
compared before training, so that no number is ever reported as a likelihood of data it is not a likelihood of.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields, replace
from typing import Literal, get_args

import numpy as np

from .memmap import Array, blocks, columns_of

Kind = Literal[
    "binary", "grey", "unit", "real", "positive", "nonnegative", "count", "integer", "categorical", "columns"
]
KINDS: tuple[str, ...] = get_args(Kind)
Warp = Literal["affine", "log", "asinh"]


WARPED: dict[str, tuple[Kind, ...]] = {
    "log": ("positive", "nonnegative", "count"),
    "asinh": ("real", "integer"),
}
"""The kinds that a warp is one of."""
KIND_NAMES: dict[str, str] = {"grey": "ordinal", "unit": "bounded"}
"""What columns of a kind are called."""
WHOLE = ("binary", "grey", "categorical", "count", "integer")
"""The kinds of whole numbers."""


@dataclass(frozen=True, repr=False)
class Domain:
    """The values that one element of a datum can take, in the data's own units; of a table, those of each column.

    `kind` is one of

    - `binary`: 0 or 1
    - `grey`: integers 0..levels-1, ordered (pixels: 256 levels; scikit-learn's digits: 17)
    - `categorical`: integers 0..levels-1, unordered
    - `count`, `integer`: integers 0, 1, 2, …, any integer
    - `unit`: reals between `location` and `location + scale` (0 and 1 unless dequantised)
    - `real`, `positive`, `nonnegative`: any real, any real above 0, 0 or any above it
    - `columns`: a row of columns, each of its own domain, which `columns` are

    `location` and `scale` are the affine map to numbers of order one, (x - location) / scale: what encoders see, and
    the space in which real densities are parameterised. A density pays for it with its Jacobian, so that it stays a
    density in the data's own units. Each is one number or one per element of the last axis of x (the columns of a
    table). `warp` says of a column what of x that map is of: x itself, its logarithm (of x + 1 where x is a count), or
    asinh of what it gives, for numbers with outliers. `ends` are the least and the greatest value of each column among
    the training rows: no part of the domain, but means of heavy tails are only taken between them. `unseen` are the
    levels of a column that none of its `rows` of training has, which a likelihood is to give next to no probability.

    `relaxed` marks grey values that are scored as if they were Bernoulli probabilities: that number is no likelihood.
    `missing` says that cells may be missing, of which encoders are told.

    >>> Domain("grey", levels=17)
    Domain('grey', levels=17, scale=16.0)
    >>> str(Domain("grey", levels=17))
    'grey levels 0..16'
    """

    kind: Kind
    levels: int | None = None
    location: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    relaxed: bool = False
    missing: bool = False
    warp: Warp = "affine"
    columns: tuple[Domain, ...] = ()
    ends: tuple[tuple[float, float], ...] = ()
    unseen: tuple[int, ...] = ()
    rows: int = 0

    def __repr__(self) -> str:
        own = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self)[1:] if self._is_set(each))
        return f"Domain({', '.join([repr(self.kind), *own])})"

    def _is_set(self, each: Field[object]) -> bool:
        return bool(getattr(self, each.name) != each.default)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown domain {self.kind!r}; accepted: {', '.join(KINDS)}")
        if (self.kind in ("grey", "categorical")) != (self.levels is not None):
            raise ValueError(
                f"domain {self.kind!r} with levels={self.levels}: levels go with 'grey' and 'categorical' only"
            )
        if self.levels is not None and not (isinstance(self.levels, int) and self.levels >= 2):
            raise ValueError(f"domain {self.kind!r} needs at least 2 levels, a whole number, got {self.levels}")
        if (self.kind == "columns") != bool(self.columns) or any(each.columns for each in self.columns):
            raise ValueError("the domains of columns go with 'columns' alone, at least one, none of them of columns")
        if self.warp != "affine" and self.kind not in WARPED.get(self.warp, ()):
            fits = ", ".join(WARPED.get(self.warp, ())) or f"none: accepted are {', '.join(get_args(Warp))}"
            raise ValueError(f"domain {self.kind!r} with warp={self.warp!r}, which goes with {fits}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.relaxed and self.kind != "binary":
            raise ValueError(f"only a binary domain can be relaxed, not {self.kind!r}")
        for name in ("location", "scale"):  # floats, whatever numbers were given
            value = getattr(self, name)
            kept = tuple(float(each) for each in value) if np.ndim(value) else float(value)
            object.__setattr__(self, name, kept)
        if self.kind == "grey" and self.levels is not None:
            if self.location != 0.0 or self.scale not in (1.0, self.levels - 1):
                raise ValueError(f"grey levels have location 0, scale levels - 1; got {self.location}, {self.scale}")
            object.__setattr__(self, "scale", float(self.levels - 1))
        scales = np.asarray(self.scale, dtype=float)
        if not (np.isfinite(scales).all() and (scales > 0).all() and np.isfinite(np.asarray(self.location)).all()):
            raise ValueError(
                f"domain scale must be finite and above 0 and location finite, got {self.location}, {self.scale}"
            )

    def __str__(self) -> str:
        if self.kind == "grey":
            return f"grey levels 0..{self.levels - 1}"  # type: ignore[operator]
        if self.kind == "categorical":
            return f"categories 0..{self.levels - 1}"  # type: ignore[operator]
        if self.kind == "columns":
            many = Counter(each.kind for each in self.columns)
            return f"columns: {', '.join(f'{n} {KIND_NAMES.get(kind, kind)}' for kind, n in many.items())}"
        if self.relaxed:
            return "grey values as Bernoulli probabilities (no likelihood)"
        if self.kind == "unit" and (self.location, self.scale) != (0.0, 1.0):
            if isinstance(self.location, tuple) or isinstance(self.scale, tuple):
                return "numbers between two ends, for each column its own"
            return f"numbers from {self.location:g} to {self.location + self.scale:g}"
        return {
            "binary": "binary 0/1",
            "unit": "numbers of the unit interval",
            "real": "real numbers",
            "positive": "positive numbers",
            "nonnegative": "numbers from 0 on",
            "count": "counts 0, 1, 2, …",
            "integer": "whole numbers",
        }[self.kind]

    @property
    def is_scaled(self) -> bool:
        """Whether the map to numbers of order one changes any, other than by a warp.

        >>> Domain("binary").is_scaled, Domain("grey", levels=17).is_scaled
        (False, True)
        """
        return bool(np.any(np.not_equal(self.location, 0)) or np.any(np.not_equal(self.scale, 1)))

    @property
    def filler(self) -> np.ndarray:
        """A value of the domain, for cells that are not observed, of the shape of `location` and `scale`.

        >>> float(Domain("unit", location=-1.0, scale=4.0).filler)
        1.0
        """
        if self.kind == "columns":
            return np.array([float(each.filler) for each in self.columns])
        location, scale = (np.asarray(each, float) for each in (self.location, self.scale))
        if self.warp == "log":
            return np.exp(location) if self.kind == "positive" else np.zeros(())
        if self.kind == "integer":
            return np.round(location)
        return {"real": location, "positive": scale, "unit": location + scale / 2}.get(self.kind, np.zeros(()))

    def inputs_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what encoders see of a datum: of a domain with missing cells, twice as much in its first.

        >>> Domain("binary", missing=True).inputs_shape((1, 28, 28))
        (2, 28, 28)
        """
        first, *rest = event_shape
        if self.kind == "columns":
            seen = sum(own.width * len(index) for own, index in self.groups)
            return (seen + self.missing * len(self.columns),)
        return (first * (1 + (self.kind == "nonnegative") + self.missing), *rest)

    @property
    def width(self) -> int:
        """How many numbers encoders see of a column of this domain, but for the bit that says whether it is observed: a
        one-hot of categories, a bit more of what may be 0.

        >>> Domain("categorical", levels=5).width, Domain("nonnegative").width, Domain("count").width
        (5, 2, 1)
        """
        return (self.levels or 0) if self.kind == "categorical" else 2 if self.kind == "nonnegative" else 1

    @property
    def groups(self) -> tuple[tuple[Domain, tuple[int, ...]], ...]:
        """Columns that can be computed together, as one domain of those of a kind and warp, and which of the columns
        they are: of categories and ordinal levels, those of up to twice as many.

        >>> table = Domain("columns", columns=(Domain("real", scale=2.0), Domain("binary"), Domain("real")))
        >>> table.groups
        ((Domain('real', location=(0.0, 0.0), scale=(2.0, 1.0)), (0, 2)), (Domain('binary'), (1,)))
        """
        found: dict[tuple[object, ...], list[int]] = {}
        for i, each in enumerate(self.columns):
            found.setdefault((each.kind, each.warp, math.ceil(math.log2(each.levels or 1))), []).append(i)
        return tuple((self._group(index), tuple(index)) for index in found.values())

    def each(self, count: int) -> tuple[Domain, ...]:
        """The domains of `count` columns, one by one, be they of one kind or of several.

        >>> Domain("real", location=(0.0, 3.0), scale=2.0).each(2)[1]
        Domain('real', location=3.0, scale=2.0)
        """
        if self.columns:
            return self.columns
        location, scale = (np.broadcast_to(each, count).tolist() for each in (self.location, self.scale))
        return tuple(
            replace(self, location=location[i], scale=scale[i], ends=self.ends[i : i + 1]) for i in range(count)
        )

    def _group(self, index: list[int]) -> Domain:
        own = [self.columns[i] for i in index]
        kind, warp = own[0].kind, own[0].warp
        if kind in ("binary", "grey", "categorical"):
            levels = max(each.levels or 0 for each in own) or None
            return Domain(kind, levels=levels)
        location = tuple(each.location for each in own)
        scale, ends = tuple(each.scale for each in own), tuple(end for each in own for end in each.ends)
        given = {"location": location, "scale": scale, "warp": warp, "ends": ends if len(ends) == len(own) else ()}
        return Domain(kind, **given)  # type: ignore[arg-type]

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """What a model gives, of any shape, in the type that data of the domain are kept in: draws of levels as bytes
        where there are no more than 256, of counts as integers; means, and what has gaps, as they are.

        >>> Domain("count").outputs(np.array([3.0, 12.0])).tolist()
        [3, 12]
        """
        whole = self.kind in WHOLE and not self.relaxed
        if not whole or not (x == np.floor(x)).all():
            return x
        few = self.kind == "binary" or (self.levels is not None and self.levels <= 256)
        return x.astype(np.uint8 if few else np.int64)

    @property
    def typical_counts(self) -> np.ndarray:
        """The counts that means are multiples of, of the shape of `location` and `scale`.

        >>> float(Domain("count", scale=3.0).typical_counts)
        3.0
        """
        return np.expm1(self.location) if self.warp == "log" else np.asarray(self.scale)

    def log_frequencies(self, shape: tuple[int, ...]) -> np.ndarray:
        """log of the share that each of counts of that shape has of them all in training rows, nats."""
        counts = np.broadcast_to(np.asarray(self.typical_counts, np.float64), shape)
        return np.log(counts / counts.sum())

    @property
    def limits(self) -> tuple[float, float] | None:
        """The least and the greatest value, where the domain has them, the same for all elements.

        >>> Domain("grey", levels=17).limits
        (0.0, 16.0)
        """
        if self.kind not in ("binary", "grey", "unit") or not (
            isinstance(self.location, float) and isinstance(self.scale, float)
        ):
            return None
        return self.location, self.location + self.scale

    @property
    def location_parts(self) -> tuple[np.ndarray, np.ndarray | None]:
        """`location` as float32 has it, and what that lacks where it is more than a thousandth of the scale, else None.

        >>> Domain("real", location=1e9 + 7.0, scale=2.0).location_parts
        (array(1.e+09), array(7.))
        """
        location = np.asarray(self.location, float)
        near = location.astype(np.float32).astype(float)
        rest = np.asarray(location - near)
        return (near, rest) if np.any(np.abs(rest) > 1e-3 * np.asarray(self.scale)) else (location, None)

    @property
    def in_float64(self) -> bool:
        """Whether draws need more digits than float32 has: numbers far from 0 and close together, large counts.

        >>> [Domain("count", scale=scale).in_float64 for scale in (100.0, 1e9)]
        [False, True]
        """
        if self.kind == "columns":
            return any(each.in_float64 for each in self.columns)
        location, scale = np.abs(np.asarray(self.location, float)), np.asarray(self.scale, float)
        if self.warp == "log":
            large = self.kind == "count" and float(np.max(location + 4 * scale)) >= 24 * math.log(2)
        else:  # a whole number may be 16 times its scale
            large = self.kind in ("count", "integer") and float(np.max(location + 16 * scale)) >= 2**24
        return large or self.location_parts[1] is not None

    def same_values(self, other: Domain) -> bool:
        """Whether both are of the same values, so that a density of one is one of the other: of an interval its ends
        are compared, of other kinds location and scale are only a map.

        >>> [Domain(kind).same_values(Domain(kind, scale=17.0)) for kind in ("unit", "real")]
        [False, True]
        """
        if (self.kind, self.levels, self.relaxed) != (other.kind, other.levels, other.relaxed):
            return False
        if self.kind == "columns":
            return len(self.columns) == len(other.columns) and all(map(Domain.same_values, self.columns, other.columns))
        return self.kind != "unit" or (_close(self.location, other.location) and _close(self.scale, other.scale))

    def check(self, x: Array, what: str = "data", place: Callable[[tuple[int, ...]], str] | None = None) -> None:
        """Raise `ValueError` where an element of `x` (any shape) lies outside the domain: a line naming the first, by
        the `place` of its index.
        """
        place = place or "index {}".format
        if x.size == 0:
            raise ValueError(f"{what} is empty")
        if x.dtype.kind not in "biuf":
            raise ValueError(f"{what} has type {x.dtype}; numbers are needed")
        if self.kind == "columns":
            self._check_columns(x, what, place)
            return
        if x.dtype.kind == "f":
            _refuse(x, lambda x: ~np.isfinite(x), what, "finite numbers", place)
        any_byte = x.dtype == np.uint8 and self.kind == "grey" and (self.levels or 0) >= 256
        if self.kind != "real" and not any_byte:
            _refuse(x, self._outside, what, str(self), place, lambda: self._divided(x))
        # Of levels that are dequantised, and no number between two of them: that was forgotten.
        levels = self.scale if self.kind == "unit" and self.location == 0 else 1.0
        dequantised = isinstance(levels, float) and levels > 1 and levels % 1 == 0
        if dequantised and all((block == np.floor(block)).all() for _, block in _blocks(x)):
            raise ValueError(
                f"{what} has whole numbers alone, which a density of {self} does not take; add uniform noise to "
                "them (dequantize)"
            )

    def _divided(self, x: Array) -> str:
        """What to do with grey levels that were divided by the greatest of them."""
        if self.kind != "grey" or x.dtype.kind != "f" or x.ndim < 2:
            return ""
        divided = all(((block >= 0) & (block <= 1)).all() for _, block in _blocks(x))
        most = (self.levels or 2) - 1
        return f"; all are between 0 and 1: if they are levels divided by {most}, multiply by {most}" if divided else ""

    def _check_columns(self, x: Array, what: str, place: Callable[[tuple[int, ...]], str]) -> None:
        _refuse(x, lambda x: ~np.isfinite(x), what, "finite numbers", place)
        for i, each in enumerate(self.columns):
            if each.kind != "real":
                column = columns_of(x, [i])
                _refuse(column, each._outside, what, str(each), lambda at, i=i: place((at[0], i)))  # type: ignore[misc]

    def _outside(self, x: np.ndarray) -> np.ndarray:
        if self.relaxed:
            return (x < 0) | (x > 1)
        if self.kind == "binary":
            return (x != 0) & (x != 1)
        if self.levels is not None:
            return (x < 0) | (x >= self.levels) | (x != np.floor(x))
        if self.kind == "integer":
            return x != np.floor(x)
        if self.kind == "count":
            return (x < 0) | (x != np.floor(x))
        if self.kind in ("positive", "nonnegative"):
            return x <= 0 if self.kind == "positive" else x < 0
        # The ends as numbers of the type of x, which may be a little outside.
        kind = x.dtype if x.dtype.kind == "f" else np.dtype(float)
        low, high = np.asarray(self.location), np.asarray(self.location) + np.asarray(self.scale)
        return (x < low.astype(kind)) | (x > high.astype(kind))


def _close(one: float | tuple[float, ...], other: float | tuple[float, ...]) -> bool:
    fit = np.ndim(one) + np.ndim(other) < 2 or np.shape(one) == np.shape(other)
    return fit and np.allclose(one, other, rtol=1e-6, atol=0)


def _blocks(x: Array) -> Iterator[tuple[int, np.ndarray]]:
    return blocks(x if x.ndim else np.asarray(x)[None])


def _refuse(
    x: Array,
    outside: Callable[[np.ndarray], np.ndarray],
    what: str,
    accepted: str,
    place: Callable[[tuple[int, ...]], str],
    advice: Callable[[], str] = str,
) -> None:
    """Raise `ValueError` where `outside` is true of elements of x, looked at a block of rows at a time."""
    count, first = 0, ""
    for start, block in _blocks(x):
        bad = outside(block)
        if bad.any():
            row, *rest = (int(i) for i in np.argwhere(bad)[0])
            first = first or f"{block[(row, *rest)]} at {place((start + row, *rest)[: x.ndim])}"
            count += int(bad.sum())
    if count:
        values = "value" if count == 1 else "values"
        raise ValueError(f"{what} has {count:,} {values} other than {accepted}; the first is {first}{advice()}")
