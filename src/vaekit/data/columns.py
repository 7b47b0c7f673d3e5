"""A table's columns: of what kind each is, its cells as numbers, and numbers as cells of the user's own type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ..errors import nearest, several, unknown
from .cells import as_type, category_text, factorized, number_in, numbers_in, refusal, type_of
from .dates import COMPACT, OBJECTS, SECONDS, TIMES, UNITS, dates_of, seconds_of, understood, written
from .digits import loses
from .numerals import Numeral
from .sniffing import is_mark, is_unknown

ColumnKind = Literal[
    "real", "positive", "nonnegative", "count", "integer", "binary", "categorical", "ordinal", "unit", "date"
]
COLUMN_KINDS: tuple[str, ...] = get_args(ColumnKind)
WITH_CATEGORIES = ("binary", "categorical", "ordinal")
WHOLE = ("count", "integer")
LEAST = float(np.finfo(np.float32).tiny)
"""Numbers below it have fewer digits in float32, or none."""


@dataclass(frozen=True)
class Column:
    """One column of a table: its kind, and what is needed to give back cells as the user had them.

    `categories` are the values of a binary, categorical or ordinal column as text, in the order of their numbers
    0..L-1. `dtype` is pandas' type of the user's column: of categories that are no text, as `category[int64]`, of
    ordered ones `ordered category`; of numbers given as text, that of the numbers. `decimals` are the most that were
    seen, None for more than 12. Dates are numbers of `unit` since 1970, the coarsest of days (D), hours (h), minutes
    (min) and seconds (s) that they are whole in, or seconds with decimals; those given as text have their `format`,
    and the `zone` that they are written in. Times of day are dates, counted from midnight. `low` and `high` are the
    ends of a unit column. Numbers that are texts with a unit or marks of thousands have a `numeral`; where these are
    categories, they are as it writes them. `why` says in a few words what it was taken for.

    >>> size = Column("size", "categorical", ("large", "small"), dtype="str")
    >>> size.numbers(pd.Series(["small", None, "large"]))
    array([ 1., nan,  0.])
    >>> size.values(np.array([0.0, np.nan])).tolist()
    ['large', nan]
    """

    name: str
    kind: ColumnKind
    categories: tuple[str, ...] = ()
    dtype: str = "float64"
    decimals: int | None = None
    unit: str = ""
    format: str = ""
    zone: str = ""
    low: float | None = None
    high: float | None = None
    numeral: Numeral | None = None
    why: str = ""

    def __post_init__(self) -> None:
        if self.kind not in COLUMN_KINDS:
            raise ValueError(unknown("kind of column", self.kind, COLUMN_KINDS))
        if (self.kind in WITH_CATEGORIES) != (len(self.categories) > 1):
            raise ValueError(f"column {self.name!r}, {self.kind}, has {len(self.categories)} categories")

    def numbers(self, values: pd.Series, what: str = "data") -> np.ndarray:
        """The cells as numbers (N,) float64, NaN where missing.

        Raises `ValueError`, one line naming the column and the first such cell, for what is none of this column.
        """
        where = f"{what}, column {self.name!r},"
        if self.categories:
            return self._codes(values, where)
        if self.kind == "date":
            return self._dates(values, where)
        x = self._numbers(values, where)
        if not (good := self.accepts(x)).all():
            row = int(np.argmin(good))
            raise ValueError(refusal(where, x[row].item(), row, self.accepted))
        return x

    def refused(self, values: pd.Series) -> np.ndarray:
        """Which cells (N,) are none of this column, those for which `numbers` raises; a missing one is not.

        >>> Column("a", "positive").refused(pd.Series([1.0, -1.0, None])).tolist()
        [False, True, False]
        """
        return self.possible(values)[1]

    def possible(self, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """The cells as numbers (N,), NaN also where they are none of this column; and which these are, (N,)."""
        try:
            x, bad = self.numbers(values), np.zeros(len(values), bool)
        except ValueError:
            x, bad = np.full(len(values), np.nan), self._bad(values)
            x[~bad] = self.numbers(values[~bad])
        bad |= ~self.accepts(x)  # a date between two whole ones of its unit
        return np.where(bad, np.nan, x), bad

    def _bad(self, values: pd.Series) -> np.ndarray:
        if not self.categories and self.kind != "date" and pd.api.types.is_numeric_dtype(values.dtype):
            return ~self.accepts(values.to_numpy(np.float64, na_value=np.nan))
        codes, distinct = factorized(values)
        return np.append([self._refuses(each) for each in distinct], False)[codes].astype(bool)

    def _refuses(self, cell: object) -> bool:
        try:
            self.numbers(pd.Series([cell], dtype=object))
        except ValueError:
            return True
        return False

    def values(self, numbers: np.ndarray) -> pd.Series:
        """Numbers (N,) as cells of the user's own type, missing where they are NaN.

        Raises `ValueError` for a number that is no category.
        """
        return pd.Series(self._cells(np.asarray(numbers, np.float64)), name=self.name)

    @property
    def accepted(self) -> str:
        """Which cells the column has, in words.

        >>> Column("a", "count").accepted
        'whole numbers from 0 on'
        """
        found = {
            "real": "finite numbers",
            "positive": "numbers above 0",
            "nonnegative": "numbers from 0 on",
            "count": "whole numbers from 0 on",
            "integer": "whole numbers",
            "unit": f"numbers from {self.low} to {self.high}",
            "date": self.what_dates + (f", in whole {UNITS[self.unit]}" if self.unit not in ("", "s") else ""),
        }.get(self.kind)
        example = {"unit": 12.5, "count": 1234, "integer": 1234}.get(self.kind, 1234.5)
        written = "" if self.numeral is None else f", written as {self.numeral.written(example)}"
        return f"{found}{written}" if found else self.shown_categories

    @property
    def what_dates(self) -> str:
        """What a column of dates has, in words.

        >>> Column("a", "date", unit="min", format="%H:%M").what_dates
        'times of day written as %H:%M'
        """
        what = "times of day" if self.format in TIMES else "dates"
        zone = f", in the zone {self.zone}" if self.zone else ""
        return f"{what} written as {self.format}{zone}" if self.format else what

    @property
    def shown_categories(self) -> str:
        """The categories on one line, of many the first.

        >>> Column("a", "binary", ("no", "yes")).shown_categories
        'no, yes'
        """
        return several(" ".join(each.splitlines()) for each in self.categories)

    def accepts(self, x: np.ndarray) -> np.ndarray:
        """Which of the numbers x (N,) are ones of this column's kind, or NaN."""
        low = {"count": 0.0, "nonnegative": 0.0, "unit": self.low}.get(self.kind)
        good = ~np.isinf(x)
        with np.errstate(invalid="ignore"):
            if low is not None:
                good &= x >= low
            if self.kind == "positive":
                good &= x > 0
            if self.kind == "unit" and self.high is not None:
                good &= x <= self.high
            if self.kind in WHOLE or (self.kind == "date" and self.unit != "s"):
                good &= x == np.floor(x)
        return good | np.isnan(x)

    def _numbers(self, values: pd.Series, where: str) -> np.ndarray:
        if self.numeral is None or pd.api.types.is_numeric_dtype(values.dtype):
            return numbers_in(values, where)
        codes, distinct = factorized(values)
        numbers = [self._number(each) for each in distinct]
        if None in numbers:
            first = numbers.index(None)
            raise ValueError(refusal(where, distinct[first], int(np.argmax(codes == first)), self.accepted))
        return np.array([*numbers, np.nan], np.float64)[codes]

    def _number(self, cell: object) -> float | None:
        if isinstance(cell, str) and is_mark(cell):
            return np.nan
        known = self.numeral.number(cell) if self.numeral is not None and isinstance(cell, str) else None
        return number_in(cell) if known is None else known

    def _codes(self, values: pd.Series, where: str) -> np.ndarray:
        table = _category_numbers(self.categories)
        if table is not None and isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf":
            x = values.to_numpy(np.float64)
            at = np.minimum(np.searchsorted(table[0], x), len(self.categories) - 1)
            gone, codes, bad = np.isnan(x), table[1][at], table[0][at] != x
            bad &= ~gone
            if bad.any():
                row = int(np.argmax(bad))
                raise ValueError(refusal(where, values.to_numpy()[row].item(), row, self.accepted))
            return np.where(gone, np.nan, codes)
        known = {text: float(i) for i, text in enumerate(self.categories)}
        codes, distinct = factorized(values)
        known = {text.strip(): number for text, number in known.items()} | known
        if set(known) == {"False", "True"}:  # of booleans also 0 and 1, and the words in any case
            known |= {"0": known["False"], "1": known["True"]}
            known |= {word: known[word.title()] for word in ("false", "true", "FALSE", "TRUE")}
        among = table is not None or self.numeral is not None
        numbers = [self._code(each, known) for each in distinct]
        numbers = [
            np.nan if number is None and is_unknown(each, among) else number
            for number, each in zip(numbers, distinct, strict=True)
        ]
        if None in numbers:
            first = numbers.index(None)
            raise ValueError(refusal(where, distinct[first], int(np.argmax(codes == first)), self.accepted))
        return np.array([*numbers, np.nan], np.float64)[codes]

    def _code(self, cell: object, known: Mapping[str, float]) -> float | None:
        """The number of a category as it is written, or with other blanks at its ends, or as another number."""
        ways = (text := category_text(cell), text.strip(), self._as_number(text))
        return next((known[each] for each in ways if each in known), None)

    def _as_number(self, text: str) -> str:
        """The category of a number that is written in another way."""
        number = number_in(text) if self.numeral is None else self._number(text)
        if number is None or np.isnan(number):
            return text
        return category_text(number) if self.numeral is None else self.numeral.written(number)

    def _dates(self, values: pd.Series, where: str) -> np.ndarray:
        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            return seconds_of(values) / SECONDS[self.unit]
        codes, distinct = factorized(values)
        if any(isinstance(each, str) and is_mark(each) for each in distinct):
            return self._dates(values.mask(values.map(lambda cell: isinstance(cell, str) and is_mark(cell))), where)
        if self.format == COMPACT:
            distinct = [category_text(each) for each in distinct]
        if all(isinstance(each, str | time) for each in distinct):
            dates = understood([str(each).strip() for each in distinct], self.format)
        else:
            dates = pd.to_datetime(pd.Series(distinct, dtype="object").map(_no_number), errors="coerce", utc=True)
        if (bad := dates.isna().to_numpy()).any():
            first = int(np.argmax(bad))
            raise ValueError(refusal(where, distinct[first], int(np.argmax(codes == first)), self.accepted))
        return np.append(seconds_of(dates) / SECONDS[self.unit], np.nan)[codes]

    def _cells(self, x: np.ndarray) -> Any:
        gone = np.isnan(x)
        if self.categories:
            return self._categories(x, gone)
        if self.kind == "date":
            seconds = (x if self.decimals is None else np.round(x, self.decimals)) * SECONDS[self.unit]
            if not self.format and self.dtype not in OBJECTS:
                return dates_of(seconds, self.dtype).array
            dates = dates_of(seconds, "datetime64[us]")
            if self.dtype in OBJECTS:
                return (dates.dt.date if self.dtype == "date" else dates.dt.time).array
            texts = written(dates, self.format, self.zone).array
            return as_type(pd.to_numeric(texts), gone, self.dtype) if self.format == COMPACT else texts
        if self.kind in WHOLE:
            x = np.rint(x)
        elif self.decimals is not None:
            x = np.round(x, self.decimals)
        if self.numeral is None:
            return as_type(x, gone, self.dtype)
        codes, distinct = pd.factorize(x)
        return _as_texts([*map(self.numeral.written, distinct.tolist()), None], codes, self.dtype)

    def _categories(self, x: np.ndarray, gone: np.ndarray) -> Any:
        outside = ~gone & ~((x >= 0) & (x < len(self.categories)) & (x == np.floor(x)))
        if outside.any():
            row, last = int(np.argmax(outside)), len(self.categories) - 1
            raise ValueError(refusal(f"column {self.name!r}", x[row].item(), row, f"its categories' numbers 0..{last}"))
        codes = np.where(gone, -1, x).astype(np.int64)
        ordered, _, dtype = self.dtype.rpartition("category")
        if "category" in self.dtype:
            values = _category_values(self.categories, dtype.strip("[]") or "str")
            return pd.Categorical.from_codes(codes, pd.Index(values), ordered=bool(ordered))
        if self.dtype in ("str", "object") or self.dtype.startswith(("string", "large_string")):
            return _as_texts([*self.categories, None], codes, self.dtype)
        return as_type(_category_floats(self.categories, self.dtype)[codes], gone, self.dtype)


def _as_texts(distinct: Sequence[str | None], codes: np.ndarray, dtype: str) -> pd.Series:
    """The texts that cells are, by their places among distinct ones, of which the last, None, is -1."""
    # An Arrow text's type has the name of another of pandas.
    own = "string" if "[" in dtype else dtype
    texts = pd.Series(list(distinct), dtype=own).array[codes]
    return pd.Series(texts, dtype=own)  # of objects, pandas would make texts


def frame_of(columns: Sequence[Column], x: np.ndarray) -> pd.DataFrame:
    """The table of numbers x (N, D), NaN where missing, as the user had it: each column of its own type.

    >>> frame_of([Column("n", "count", dtype="int64"), Column("b", "real", decimals=1)], np.array([[3.0, 0.25]]))
       n    b
    0  3  0.2
    """
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise ValueError(f"x has the shape {x.shape}; there are {len(columns)} columns")
    return pd.DataFrame({column.name: column._cells(x[:, i]) for i, column in enumerate(columns)})


def numbers_of(
    columns: Sequence[Column],
    frame: pd.DataFrame,
    what: str = "data",
    short: bool = False,
) -> np.ndarray:
    """The cells of a table as numbers (N, D) float64, NaN where missing; columns are found by name, in any order.

    A `short` table is of float32, unless a column would lose too much so. Raises `ValueError`, one line, where a column
    lacks, and for the first cell that is none of its column.
    """
    _refuse_lacking(columns, frame, what)
    x = np.full((len(frame), len(columns)), np.nan, np.float32 if short else np.float64)
    for i, column in enumerate(columns):
        numbers = column.numbers(frame[column.name], what)
        with np.errstate(over="ignore"):  # of sizes that are refused later
            x[:, i] = numbers
        if short and is_cut(column, numbers, x[:, i]):
            return numbers_of(columns, frame, what)
    return x


def is_cut(column: Column, numbers: np.ndarray, short: np.ndarray) -> bool:
    """Whether numbers (N,) of a column, some NaN, lose too much as the `short` ones, as one does that becomes 0 where
    all are above it, or 0 is a value of its own.
    """
    seen = ~np.isnan(numbers)
    numbers, short = numbers[seen], short[seen]
    tiny = column.kind in ("positive", "nonnegative") and ((np.abs(short) < LEAST) & (numbers != 0)).any()
    return bool(tiny) or not np.isfinite(short).all() or loses(numbers, short)


def possible_numbers(
    columns: Sequence[Column], frame: pd.DataFrame, what: str = "data"
) -> tuple[np.ndarray, np.ndarray]:
    """The cells of a table as `numbers_of` gives them, but NaN where a cell is none of its column; and which these are,
    of bool (N, D).

    >>> possible_numbers([Column("a", "positive")], pd.DataFrame({"a": [2.0, -1.0]}))[1].tolist()
    [[False], [True]]
    """
    _refuse_lacking(columns, frame, what)
    found = [column.possible(frame[column.name]) for column in columns]
    x, refused = (np.stack([each[i] for each in found], 1) for i in (0, 1))
    return np.ascontiguousarray(x), np.ascontiguousarray(refused)


def _refuse_lacking(columns: Sequence[Column], frame: pd.DataFrame, what: str) -> None:
    lacking = [column.name for column in columns if column.name not in frame.columns]
    if lacking:
        near = nearest(lacking[0], map(str, frame.columns))
        hint = f" (is it {near!r}?)" if near and len(lacking) == 1 else ""
        names = several((repr(name) for name in lacking), 8)
        raise ValueError(f"{what} has no column {names}{hint}; its columns: {several(frame.columns)}")


@lru_cache(maxsize=4096)
def _category_numbers(categories: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """The numbers that categories are, in their order, and which category each is; None where some are no numbers."""
    truth = {"False": 0.0, "True": 1.0}
    numbers = [truth.get(each, number_in(each)) for each in categories]
    if None in numbers:
        return None
    values = np.array(numbers, np.float64)
    order = np.argsort(values, kind="stable")
    return values[order], order.astype(np.float64)


def _category_values(categories: tuple[str, ...], dtype: str) -> Any:
    """Categories as values of a type that is no text's."""
    kind = type_of(dtype)
    if pd.api.types.is_bool_dtype(kind):
        return np.array([each == "True" for each in categories])
    if pd.api.types.is_numeric_dtype(kind):
        return np.array([float(each) for each in categories]).astype(kind.name if isinstance(kind, np.dtype) else float)
    return pd.array(list(categories), dtype="str")


@lru_cache(maxsize=4096)
def _category_floats(categories: tuple[str, ...], dtype: str) -> np.ndarray:
    """Categories of a type of numbers as such, and NaN after the last."""
    return np.append(_category_values(categories, dtype).astype(np.float64), np.nan)


def _no_number(cell: object) -> object:
    return None if isinstance(cell, int | float) else cell
