"""What a dataset is: arrays in their stored type, and what is known about them. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import nearest, number_of
from .columns import Column
from .covariates import Covariate
from .digits import loses, loses_of
from .domains import Domain, Kind
from .impossible import NONE, Impossible
from .memmap import Array, MemmapRows, blocks
from .sniffing import PLAIN, Dialect

SPLITS = ("train", "valid", "test")


def no_split(what: str, split: str, accepted: Sequence[str]) -> str:
    """The message for a split that there is not, with the nearest."""
    near = nearest(split, accepted)
    return (
        f"{what} has no split {split!r}{f' (did you mean {near!r}?)' if near else ''}; accepted: {', '.join(accepted)}"
    )


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split: data `x` (N, *event_shape) and, if known, `y`: class labels (N,) or covariates (N, C).

    With `noise` (N, *event_shape), standard deviations, a row is shown with normal noise, drawn afresh each time.
    `observed` (N, *event_shape) of bool says which cells are; None where all are. The others hold any value. `refused`
    (N, *event_shape) of bool are those that are not since their column can't have what stands there; None for none;
    `impossible` says the first of them.
    `origin` (N,) is where each row comes from: its number in the file, from 0, or the name of its image.
    Raises `ValueError` where `y` is neither int64 labels nor float32 covariates of the same number of rows.

    >>> len(Split(np.zeros((3, 1, 8, 8), np.uint8)))
    3
    """

    x: Array
    y: np.ndarray | None = None
    noise: np.ndarray | None = None
    origin: np.ndarray | None = None
    observed: np.ndarray | None = None
    refused: np.ndarray | None = None
    impossible: Impossible = NONE

    def __post_init__(self) -> None:
        for name, given in (("noise", self.noise), ("observed", self.observed)):
            if given is not None and given.shape != self.x.shape:
                raise ValueError(f"x has shape {self.x.shape} but {name} {given.shape}")
        if self.observed is not None and self.observed.dtype != np.bool_:
            raise ValueError(f"observed has type {self.observed.dtype}; accepted: bool")
        if self.origin is not None and self.origin.shape != (len(self.x),):
            raise ValueError(f"x has {len(self.x)} rows but origin the shape {self.origin.shape}")
        if self.y is None:
            return
        labels = self.y.dtype == np.int64 and self.y.ndim == 1
        covariates = self.y.dtype == np.float32 and self.y.ndim == 2
        if not (labels or covariates):
            found = f"y has type {self.y.dtype} and shape {self.y.shape}"
            raise ValueError(f"{found}; accepted: int64 labels (N,) or float32 covariates (N, C)")
        if len(self.y) != len(self.x):
            raise ValueError(f"x has {len(self.x)} rows but y has {len(self.y)}")

    def __len__(self) -> int:
        return len(self.x)

    def where(self, mask: np.ndarray) -> Split:
        """The rows for which `mask` (N,) is true."""
        if mask.all():
            return self
        x = self.x[mask] if isinstance(self.x, np.ndarray) else self.x.where(mask)
        beside = ("y", "noise", "origin", "observed", "refused")
        own: dict[str, Any] = {name: None if (each := getattr(self, name)) is None else each[mask] for name in beside}
        return Split(x, **own)

    def filled(self, domain: Domain) -> Split:
        """With a value of `domain` in the cells that are not observed."""
        if self.observed is None:
            return self
        filler = domain.filler.astype(self.x.dtype)
        if isinstance(self.x, MemmapRows) and self.x.columns is not None:
            self.x.fill(self.observed, filler)
            return self
        return replace(self, x=np.where(self.observed, np.asarray(self.x), filler))

    def place(self, index: tuple[int, ...], columns: Sequence[str] = ()) -> str:
        """Where the element of x at `index` is from, in the user's words.

        >>> Split(np.zeros((2, 3)), origin=np.array([7, 4])).place((1, 2), ["a", "b", "c"])
        "row 4 (from 0), column 'c'"
        """
        row, *within = index
        name = row if self.origin is None else self.origin[row]
        where = name if isinstance(name, str) else f"row {name} (from 0)"
        if len(within) == 1 and columns:
            return f"{where}, column {columns[within[0]]!r}"
        return f"{where}, at index {tuple(within)}" if within else where


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset: its splits ("train" always, "valid" and "test" where there are any) and the domain of its values.

    `classes[label]` is the name of a class, `columns` are the names of a table's columns, and `table` what is known of
    each. `notes` say, a line each,
    what its files were taken for where they do not say so themselves, and what of them is not used. Raises `ValueError`
    where the splits do not fit together, or a label has no class.
    """

    name: str
    domain: Domain
    splits: Mapping[str, Split]
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    source: str = ""
    license: str = ""
    notes: tuple[str, ...] = ()
    table: tuple[Column, ...] = ()
    covariates: tuple[Covariate, ...] = ()
    """What the covariates are, of a table or of cells; of arrays nothing is known of them."""
    exposed: bool = False
    """Whether the last of y's covariates is the exposure that the means of counts are proportional to."""
    dialect: Dialect = PLAIN
    """How the text of a table is written."""

    def __post_init__(self) -> None:
        if "train" not in self.splits or not set(self.splits) <= set(SPLITS):
            found = ", ".join(self.splits) or "none"
            raise ValueError(f"{self.name} has the splits {found}; needed: train; accepted: valid, test")
        for name, split in self.splits.items():
            if split.x.shape[1:] != self.event_shape:
                found = f"a datum of {name} has shape {split.x.shape[1:]}"
                raise ValueError(f"{self.name}: {found}, one of train {self.event_shape}")
            if split.y is not None and split.y.ndim == 1 and len(split):
                low, high = int(split.y.min()), int(split.y.max())
                if low < 0 or high >= len(self.classes):
                    found = f"labels of {name} are {low}..{high}"
                    many = number_of(len(self.classes), "class", "classes")
                    raise ValueError(f"{self.name}: {found}; accepted: 0..{len(self.classes) - 1}, there being {many}")

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one datum: (C, H, W) for images, (columns,) for tables."""
        return self.splits["train"].x.shape[1:]


@dataclass(frozen=True)
class Content:
    """What a reader finds in files, before rows are held out and the domain is known.

    `notes` say what was taken for what, `left_out` what is not used. Of a table it is its `frame`, whose columns are
    not numbers yet, without splits; of one that memory does not hold the file is `large`, read a few columns at a time.
    `kind` is that of its values, where it says so itself; `exposed` whether the last covariate is the exposure.
    """

    splits: Mapping[str, Split]
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    table: tuple[Column, ...] = ()
    frame: pd.DataFrame | None = None
    dialect: Dialect = PLAIN
    large: Path | None = None
    kind: Kind | None = None
    covariates: tuple[Covariate, ...] = ()
    exposed: bool = False


def with_holes(x: np.ndarray, what: str, domain: Domain | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """x as `stored` keeps it, zeros where it is NaN, and which of it is not; None where all of it is a number.

    Raises `ValueError` as `stored` does, and where nothing is observed.

    >>> with_holes(np.array([1.0, np.nan]), "x")
    (array([1., 0.], dtype=float32), array([ True, False]))
    """
    if x.dtype.kind != "f" or not any(np.isnan(block).any() for _, block in blocks(np.atleast_1d(x))):
        return stored(x, what, domain), None
    observed = ~np.isnan(x)
    if not observed.any():
        raise ValueError(f"{what} has no value at all: each is NaN")
    return stored(np.where(observed, x, 0).astype(x.dtype), what, domain), observed


def stored(x: np.ndarray, what: str, domain: Domain | None = None) -> np.ndarray:
    """The array as it is kept: bytes and booleans as uint8, every other number as float32, which is what a batch is.

    Numbers far from 0 and close together, of whose spread (per column) float32 would lose more than a thousandth, are
    kept in float64, and so are whole numbers that it does not have. Of rows that are new to a model its `domain` says
    which numbers are close together. Raises `ValueError` where it is empty, not of numbers, or a value is not finite in
    float32.
    """
    if x.dtype.kind not in "buif":
        raise ValueError(f"{what} has type {x.dtype}; numbers are needed")
    if x.size == 0:
        raise ValueError(f"{what} is empty: its shape is {x.shape}")
    if x.dtype == np.bool_ and x.flags.c_contiguous:
        return x.view(np.uint8)
    if x.dtype in (np.bool_, np.uint8):
        return np.asarray(x, np.uint8, order="C")
    with np.errstate(over="ignore"):  # found by the next check, and named
        kept = np.asarray(x, np.float32, order="C")
    for start, block in blocks(np.atleast_1d(kept)):
        finite = np.isfinite(block)
        if not finite.all():
            first, *rest = (int(i) for i in np.argwhere(~finite)[0])
            where = (start + first, *rest)[: x.ndim]
            raise ValueError(f"{what} has a value that is no finite 32-bit number: {x[where]} at index {where}")
    lost = loses(x, kept) if domain is None else loses_of(domain, x, kept)
    return np.asarray(x, np.float64, order="C") if lost else kept


def encode_labels(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels 0..C-1 (N,) in the sorted order of the distinct values, and the C names.

    >>> encode_labels(np.array(["cat", "ant", "cat"]))
    (array([1, 0, 1]), ('ant', 'cat'))
    """
    names, y = np.unique(values, return_inverse=True)
    return y.astype(np.int64), tuple(str(name) for name in names)
