"""What values a datum can take: the contract between a dataset and a likelihood.

A dataset *has* a domain; a likelihood *declares* the domains it is a density (or mass function) of. The two are
compared before training, so that no number is ever reported as a likelihood of data it is not a likelihood of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .memmap import Array, blocks

Kind = Literal["binary", "grey", "unit", "real", "positive", "count", "categorical"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Domain:
    """The values that one element of a datum can take, in the data's own units.

    `kind` is one of

    - `binary`: 0 or 1
    - `grey`: integers 0..levels-1, ordered (pixels: 256 levels; scikit-learn's digits: 17)
    - `categorical`: integers 0..levels-1, unordered
    - `count`: integers 0, 1, 2, …
    - `unit`: reals between `location` and `location + scale` (0 and 1 unless dequantised)
    - `real`, `positive`: any real, any real above 0

    `location` and `scale` are the affine map to numbers of order one, (x - location) / scale: what encoders see, and
    the space in which real densities are parameterised. A density pays for it with its Jacobian, so that it stays a
    density in the data's own units. Each is one number or one per element of the last axis of x (the columns of a
    table).

    `relaxed` marks grey values that are scored as if they were Bernoulli probabilities: that number is no likelihood.
    `missing` says that cells may be missing, of which encoders are told.

    >>> Domain("grey", levels=17)
    Domain(kind='grey', levels=17, location=0.0, scale=16.0, relaxed=False, missing=False)
    >>> str(Domain("grey", levels=17))
    'grey levels 0..16'
    """

    kind: Kind
    levels: int | None = None
    location: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    relaxed: bool = False
    missing: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown domain {self.kind!r}; accepted: {', '.join(KINDS)}")
        if (self.kind in ("grey", "categorical")) != (self.levels is not None):
            raise ValueError(
                f"domain {self.kind!r} with levels={self.levels}: levels go with 'grey' and 'categorical' only"
            )
        if self.levels is not None and not (isinstance(self.levels, int) and self.levels >= 2):
            raise ValueError(f"domain {self.kind!r} needs at least 2 levels, a whole number, got {self.levels}")
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
            "count": "counts 0, 1, 2, …",
        }[self.kind]

    @property
    def is_scaled(self) -> bool:
        """Whether the map to numbers of order one changes any.

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
        location, scale = (np.asarray(each, float) for each in (self.location, self.scale))
        return {"real": location, "positive": scale, "unit": location + scale / 2}.get(self.kind, np.zeros(()))

    def inputs_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what encoders see of a datum: of a domain with missing cells, twice as much in its first.

        >>> Domain("binary", missing=True).inputs_shape((1, 28, 28))
        (2, 28, 28)
        """
        first, *rest = event_shape
        return (2 * first if self.missing else first, *rest)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """What a model gives, of any shape, in the type that data of the domain are kept in: draws of levels as bytes
        where there are no more than 256, of counts as integers; means, and what has gaps, as they are.

        >>> Domain("count").outputs(np.array([3.0, 12.0])).tolist()
        [3, 12]
        """
        whole = self.kind in ("binary", "grey", "categorical", "count") and not self.relaxed
        if not whole or not (x == np.floor(x)).all():
            return x
        few = self.kind == "binary" or (self.levels is not None and self.levels <= 256)
        return x.astype(np.uint8 if few else np.int64)

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
        large = self.kind == "count" and float(np.max(self.scale)) >= 2**20  # a count may be 16 times its scale
        return large or self.location_parts[1] is not None

    def same_values(self, other: Domain) -> bool:
        """Whether both are of the same values, so that a density of one is one of the other: of an interval its ends
        are compared, of other kinds location and scale are only a map.

        >>> [Domain(kind).same_values(Domain(kind, scale=17.0)) for kind in ("unit", "real")]
        [False, True]
        """
        if (self.kind, self.levels, self.relaxed) != (other.kind, other.levels, other.relaxed):
            return False
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
        if x.dtype.kind == "f":
            _refuse(x, lambda x: ~np.isfinite(x), what, "finite numbers", place)
        if self.kind != "real":
            _refuse(x, self._outside, what, str(self), place)
        # Of levels that are dequantised, and no number between two of them: that was forgotten.
        levels = self.scale if self.kind == "unit" and self.location == 0 else 1.0
        dequantised = isinstance(levels, float) and levels > 1 and levels % 1 == 0
        if dequantised and all((block == np.floor(block)).all() for _, block in _blocks(x)):
            raise ValueError(
                f"{what} has whole numbers alone, which a density of {self} does not take; add uniform noise to "
                "them (dequantize)"
            )

    def _outside(self, x: np.ndarray) -> np.ndarray:
        if self.relaxed:
            return (x < 0) | (x > 1)
        if self.kind == "binary":
            return (x != 0) & (x != 1)
        if self.levels is not None:
            return (x < 0) | (x >= self.levels) | (x != np.floor(x))
        if self.kind == "count":
            return (x < 0) | (x != np.floor(x))
        if self.kind == "positive":
            return x <= 0
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
        raise ValueError(f"{what} has {count:,} {values} other than {accepted}; the first is {first}")
