"""The cells of a column as pandas has them: distinct ones, numbers among texts, the type of Python's objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from ..errors import shown
from .sniffing import is_mark, is_number

WRITTEN_OUT = re.compile(r"[+-]?\d+")
FEW_CATEGORIES, SHARE = 20, 0.05
"""Distinct cells that are categories however few rows there are, and the part of many rows up to which they are."""


def most_categories(rows: int) -> float:
    """The most distinct cells of so many rows that are taken for categories."""
    return max(FEW_CATEGORIES, SHARE * rows)


def refuse_fractions(distinct: Sequence[object], rows: int, what: str, instead: str) -> None:
    """Raise `ValueError` where the distinct cells of a column that is to have categories are numbers with decimals, and
    more than categories are: it is one of numbers. `instead` is what else to ask for.
    """
    most = most_categories(rows)
    numbers = [number_in(each) for each in distinct] if len(distinct) > most else []
    if not numbers or None in numbers or all(each == np.floor(each) for each in numbers):  # type: ignore[arg-type]
        return
    many = f"{len(distinct):,} distinct numbers with decimals in {rows:,} rows"
    raise ValueError(f"{what} has {many}, no categories; accepted: {int(most):,} at most; {instead}, or bin it first")


def numbers_in(values: pd.Series, where: str) -> np.ndarray:
    """The numbers (N,) float64 of a column of numbers, or of texts that are such, NaN where missing.

    Raises `ValueError` for the first cell that is none.
    """
    if pd.api.types.is_numeric_dtype(values.dtype) and values.dtype.kind != "c":
        return values.to_numpy(np.float64, na_value=np.nan)
    codes, distinct = factorized(values)
    numbers = np.full(len(distinct) + 1, np.nan)
    for i, each in enumerate(distinct):
        if isinstance(each, str) and is_mark(each):
            continue
        number = number_in(each)
        if number is None:
            raise ValueError(refusal(where, each, int(np.argmax(codes == i)), "numbers"))
        numbers[i] = number
    return numbers[codes]


def number_in(cell: object) -> float | None:
    """The number that a cell is or is written as, with a decimal point or comma; None where it is none.

    >>> number_in("1.234,5"), number_in("-0.5"), number_in(7), number_in("7 kg")
    (1234.5, -0.5, 7.0, None)
    """
    if isinstance(cell, str):
        plain = cell.strip()
        if "," in plain and "." in plain and plain.rindex(",") > plain.rindex("."):
            plain = plain.replace(".", "")
        return float(plain.replace(",", ".")) if is_number(plain) else None
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def rounded(texts: Sequence[object]) -> bool:
    """Whether some texts are whole numbers of more digits than floats have, which would be written as others.

    >>> rounded(["4929000000000017", "7"]), rounded(["49290000000000178"]), rounded(["5970000000000000000000000"])
    (False, True, False)
    """
    long = (each.strip() for each in texts if isinstance(each, str) and len(each.strip()) > 15)
    return any(Decimal(repr(float(each))) != Decimal(each) for each in long if WRITTEN_OUT.fullmatch(each))


def factorized(values: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """The distinct cells in the order that they first stand in, and (N,) which each row has; -1 where it is missing.

    Texts of nothing but blanks are missing. Raises `ValueError` for cells that are lists or the like.
    """
    try:
        codes, found = pd.factorize(values)
    except TypeError:
        raise ValueError(f"column {values.name!r} has cells that are no plain values, such as lists") from None
    distinct = found.tolist()
    blank = [i for i, each in enumerate(distinct) if isinstance(each, str) and not each.strip()]
    if blank:
        place = np.arange(len(distinct) + 1)
        place[-1] = -1
        place[blank] = -1
        kept = np.flatnonzero(place[:-1] >= 0)
        place[kept] = np.arange(len(kept))
        codes, distinct = place[codes], [distinct[i] for i in kept]
    return np.asarray(codes), distinct


def category_text(value: object) -> str:
    """A category as text: whole numbers without a decimal point, since missing cells make floats of them.

    >>> category_text(3.0), category_text(np.float64(0.5)), category_text(True), category_text("b")
    ('3', '0.5', 'True', 'b')
    """
    if isinstance(value, float | np.floating):
        return str(int(value)) if np.isfinite(value) and value == int(value) else repr(float(value))
    return str(value)


def sorted_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Categories in their order, numbers as such."""
    if all_numbers(texts):
        return tuple(sorted(texts, key=lambda text: (number_in(text) or 0.0, text)))
    return tuple(sorted(texts))


def all_numbers(texts: Sequence[str]) -> bool:
    """Whether all texts are numbers."""
    return all(number_in(text) is not None for text in texts)


def typed(column: pd.Series) -> pd.Series:
    """A column of Python's objects as of the type that its values have; texts stay as they are.

    >>> typed(pd.Series([True, None], dtype=object)).dtype, typed(pd.Series([1, "a"], dtype=object)).tolist()
    (BooleanDtype, ['1', 'a'])
    """
    kind = pd.api.types.infer_dtype(column, skipna=True)
    gaps = column.isna().any()
    if kind == "boolean":
        return column.astype("boolean" if gaps else "bool")
    if kind == "integer":
        try:
            return column.astype("Int64" if gaps else "int64")
        except OverflowError:  # more than 64 bits hold
            return column.map(str, na_action="ignore")
    if kind in ("floating", "mixed-integer-float", "decimal", "empty"):
        return column.mask(column.isna(), np.nan).astype("float64")
    if kind in ("datetime", "datetime64", "date"):
        return _dates(column)
    return column if kind == "string" else column.map(str, na_action="ignore")


def _dates(column: pd.Series) -> pd.Series:
    """Python's dates as pandas', those of several zones in UTC; `ValueError` where some have a zone and some none."""
    zones = {getattr(each, "tzinfo", None) for each in column.dropna()}
    if None in zones and len(zones) > 1:
        raise ValueError(
            f"column {column.name!r} has dates with a zone and dates without; give a zone to all or to none"
        )
    return pd.to_datetime(column, utc=len(zones) > 1)


def replaced(table: pd.DataFrame, columns: dict[Any, pd.Series]) -> pd.DataFrame:
    """The table with some columns changed; all at once, since one at a time takes time of their number squared."""
    if not columns:
        return table
    return pd.DataFrame({name: columns.get(name, each) for name, each in table.items()}, index=table.index)


def as_type(x: np.ndarray, gone: np.ndarray, dtype: str) -> Any:
    """Numbers, missing where `gone`, as an array of pandas' type, or of one of its kind that holds them all.

    >>> as_type(np.array([3.0, np.nan]), np.array([False, True]), "uint8")
    <IntegerArray>
    [3, <NA>]
    Length: 2, dtype: UInt8
    """
    kind = type_of(dtype)
    if pd.api.types.is_bool_dtype(kind):
        truth = np.where(gone, 0, x).astype(bool)
        if isinstance(kind, np.dtype):
            return pd.arrays.BooleanArray(truth, gone) if gone.any() else truth
        return pd.Series(pd.arrays.BooleanArray(truth, gone)).astype(kind).array
    if pd.api.types.is_integer_dtype(kind):
        return _whole(x, gone, kind)
    return x.astype(kind) if isinstance(kind, np.dtype) else pd.Series(x).astype(kind).array


@lru_cache(maxsize=256)
def type_of(dtype: str) -> Any:
    """pandas' type of that name, which takes it a while to find."""
    return pd.api.types.pandas_dtype(dtype)


def _whole(x: np.ndarray, gone: np.ndarray, kind: Any) -> Any:
    whole = np.rint(np.where(gone, 0, x))
    if (np.abs(whole) >= 2.0**63).any():
        return x
    numbers: Any = whole.astype(np.int64)
    ends = np.iinfo(getattr(kind, "numpy_dtype", kind).name)
    fits = numbers.min(initial=0) >= ends.min and numbers.max(initial=0) <= ends.max
    if isinstance(kind, np.dtype) and not gone.any():
        return numbers.astype(kind) if fits else numbers
    if isinstance(kind, np.dtype):
        return pd.arrays.IntegerArray(numbers.astype(kind) if fits else numbers, gone)
    masked = pd.Series(pd.arrays.IntegerArray(numbers, gone))
    return masked.astype(kind).array if fits else masked.array


def refusal(where: str, value: object, row: int, accepted: str) -> str:
    """The message for a cell that is none of its column."""
    return f"{where} has {shown(value)} in row {row} (from 0); accepted: {accepted}"
