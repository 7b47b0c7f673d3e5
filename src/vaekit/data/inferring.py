"""What the values of a column say that it is, where nobody has said so."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..errors import several
from .cells import (
    category_text,
    factorized,
    most_categories,
    numbers_in,
    refusal,
    rounded,
    sorted_texts,
    typed,
)
from .columns import Column, ColumnKind
from .dates import (
    COMPACT,
    OBJECTS,
    SECONDS,
    TIMES,
    are_compact,
    formats_of,
    may_be_compact,
    nearly_dates,
    parsed,
    seconds_of,
    understood,
    whole_texts,
    zone_of,
)
from .looks import FIRST_ROWS, Look, fills_unit, look_at
from .numerals import Numeral, are_numbers, nearly_numbers, numeral_of
from .prose import of_texts
from .sniffing import is_mark, is_unknown

MOST_CATEGORIES = 1000
UNIQUE, HANDFUL = 0.95, 10
"""The part of a column's cells that differ from which on they name rows: a few may be there twice. Of fewer rows than a
handful nothing is told by that.
"""
ID = re.compile(r"(?i:(^|[_\W])(id|idx|index|uuid|guid|row_?(number|num|nr|no)?)$|^unnamed: \d+$|^id[_\W])|[a-z]I[dD]$")


def column_of(name: str, values: pd.Series) -> Column | str:
    """The column, or why it is left out."""
    if values.isna().all():
        return "no value"
    if values.dtype == object:
        if any(isinstance(each, list | tuple | dict | set | np.ndarray) for each in values.head(FIRST_ROWS)):
            return "no plain values"
        kind = pd.api.types.infer_dtype(values, skipna=True)
        if kind in OBJECTS:
            return _of_objects(name, values, kind)
        values = typed(values)
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _of_type_category(name, values)
    if pd.api.types.is_bool_dtype(dtype):
        one = values.nunique() < 2
        return "constant" if one else Column(name, "binary", ("False", "True"), str(dtype), why="true or false")
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return of_dates(name, seconds_of(values), str(dtype))
    if pd.api.types.is_numeric_dtype(dtype) and dtype.kind in "iuf":
        x = numbers_in(values, "")
        return of_numbers(name, str(dtype), next(look_at(x[:, None])), lambda: values)
    if pd.api.types.is_string_dtype(dtype):
        return _of_text(name, values)
    return f"values of the type {dtype}"


def _of_objects(name: str, values: pd.Series, kind: str) -> Column | str:
    """The column of dates or times as Python has them."""
    if kind == "date":
        seconds = seconds_of(pd.to_datetime(values))
        days = (np.nan_to_num(seconds) % SECONDS["D"] == 0).all()  # others have a time, which is to be written too
        return of_dates(name, seconds, kind if days else "datetime64[us]")
    column = _of_text(name, values.map(str, na_action="ignore"))
    return replace(column, dtype=kind) if isinstance(column, Column) and column.format in TIMES else column


def _of_type_category(name: str, values: pd.Series) -> Column | str:
    categories, ordered = values.cat.categories, bool(values.cat.ordered)
    if values.nunique() < 2:
        return "constant"
    texts = tuple(category_text(each) for each in categories)
    if len(set(texts)) < len(texts):
        return "categories that are written alike"
    kind: ColumnKind = "ordinal" if ordered else "binary" if len(texts) == 2 else "categorical"
    why = f"{'ordered ' * ordered}categories" if kind != "binary" else "2 values"
    return Column(name, kind, texts, category_dtype(values), why=why)


def category_dtype(values: pd.Series) -> str:
    """The type of a column of pandas' categories, as `Column.dtype` has it."""
    inner = values.cat.categories.dtype
    of = f"[{inner}]" if isinstance(inner, np.dtype) and inner.kind in "biuf" else ""  # others come back as text
    return f"{'ordered ' * bool(values.cat.ordered)}category{of}"


def _of_text(name: str, values: pd.Series) -> Column | str:
    codes, distinct = factorized(values)
    seen = int((codes >= 0).sum())
    if len(distinct) < 2:
        return "constant" if distinct else "no value"
    marks = [each for each in distinct if is_mark(each)]
    cells = [each for each in distinct if not is_mark(each)] if len(distinct) - len(marks) > 1 else distinct
    formats = formats_of(cells)
    numeral = "" if formats or are_numbers(cells) else numeral_of(cells)
    if len(formats) == 1:
        found = _of_dates_in_text(name, codes, distinct, str(values.dtype), formats[0])
    elif isinstance(numeral, Numeral):
        found = of_numerals(name, values, numeral, _of_plain_numbers)
    elif not formats and are_numbers(cells):
        found = _too_long(len(cells), seen) if rounded(cells) else _of_plain_numbers(name, values)
    else:
        words = [each for each in distinct if not is_unknown(each)]
        seen -= sum(int((codes == i).sum()) for i, each in enumerate(distinct) if is_unknown(each))
        return _of_words(name, values, words, seen, formats, numeral) if len(words) > 1 else "constant"
    if isinstance(found, str) or not marks or len(cells) == len(distinct):
        return found
    return replace(found, why=f"{found.why}; {several(map(repr, marks), 3)} for missing")


def _of_dates_in_text(name: str, codes: np.ndarray, distinct: Sequence[str], dtype: str, format: str) -> Column | str:
    texts = [None if is_mark(each) else each for each in distinct]
    seconds = np.append(seconds_of(parsed(texts, format)), np.nan)[codes]
    return of_dates(name, seconds, dtype, format, zone_of(distinct, format))


def _of_plain_numbers(name: str, values: pd.Series) -> Column | str:
    x = numbers_in(values, f"column {name!r}")
    look = next(look_at(x[:, None]))
    whole = look.whole and look.seen == len(x)
    return of_numbers(name, "int64" if whole else "Int64" if look.whole else "float64", look, lambda: pd.Series(x))


def of_numerals(
    name: str, values: pd.Series, numeral: Numeral, of: Callable[[str, pd.Series], Column | str]
) -> Column | str:
    """The column of numbers that are written with a unit or marks of thousands, and are to be written so again; what it
    is `of` its name and its numbers.
    """
    read = Column(name, "real", dtype=str(values.dtype), numeral=numeral)
    x = read.numbers(values)
    found = of(name, pd.Series(x))
    if isinstance(found, str):
        return found
    if numeral.after.strip() == "%" and found.kind in ("positive", "nonnegative") and fills_unit(x / 100):
        found = replace(found, kind="unit", low=0.0, high=100.0, why="numbers from 0 to 100")
    categories = tuple(numeral.written(float(each)) for each in found.categories)
    example = numeral.written(x[np.argmax(np.nan_to_num(x, nan=-np.inf))])
    why = f"{found.why}, written as {example}"
    return replace(found, dtype=read.dtype, numeral=numeral, categories=categories, why=why)


def _of_words(
    name: str, values: pd.Series, distinct: Sequence[str], seen: int, formats: Sequence[str], unread: str
) -> Column | str:
    """The column of texts that are neither numbers nor dates: categories, if they are few; `unread` says why they are
    no numbers.
    """
    names = _names_rows(len(distinct), seen)
    if not names and len(distinct) <= min(MOST_CATEGORIES, most_categories(len(values))):
        categories = sorted_texts([category_text(each) for each in distinct])
        kind: ColumnKind = "binary" if len(categories) == 2 else "categorical"
        return Column(name, kind, categories, str(values.dtype), why=f"{len(categories)} values")
    if formats:
        return "dates of two readings, day or month first"
    if reason := unread or nearly_numbers(distinct) or nearly_dates(distinct):
        return reason
    unnamed = _identifier(len(distinct), seen) if names else f"free text, {len(distinct)} distinct values"
    return of_texts(distinct) or unnamed


def _names_rows(distinct: int, seen: int) -> bool:
    """Whether so many distinct cells of all that are seen name rows, rather than say what they are like."""
    return seen >= HANDFUL and distinct >= UNIQUE * seen


def _identifier(distinct: int, seen: int) -> str:
    return "identifier" if distinct == seen else f"identifier, {distinct:,} of {seen:,} values are distinct"


def _too_long(distinct: int, seen: int) -> str:
    """Why a column of whole numbers that floats would round is left out."""
    return "identifier" if distinct == seen > 1 else "whole numbers of more than 15 digits"


def of_dates(name: str, seconds: np.ndarray, dtype: str, format: str = "", zone: str = "") -> Column | str:
    """The column of dates (N,), seconds since 1970, NaN where missing; or why it is left out."""
    seen = seconds[~np.isnan(seconds)]
    if not seen.size:
        return "no value"
    if seen.min() == seen.max():
        return "constant"
    unit = next((unit for unit, each in SECONDS.items() if (seen % each == 0).all()), "s")
    decimals = 0 if (seen % 1 == 0).all() else 3 if (np.round(seen, 3) == seen).all() else 6
    column = Column(name, "date", dtype=dtype, decimals=decimals, unit=unit, format=format, zone=zone)
    return replace(column, why=column.what_dates)


def of_numbers(name: str, dtype: str, look: Look, cells: Callable[[], pd.Series]) -> Column | str:
    """The column of numbers that `look` so, of `cells`; or why it is left out. `ValueError` for infinite ones."""
    if not look.seen:
        return "no value"
    if np.isinf(look.low) or np.isinf(look.high):
        x = numbers_in(cells(), "")
        row = int(np.argmax(np.isinf(x)))
        raise ValueError(refusal(f"column {name!r}", x[row].item(), row, "finite numbers, or an empty cell"))
    if "int" in dtype.lower() and not look.whole:  # of more digits than floats have
        return _too_long(cells().nunique(), look.seen)
    if look.low == look.high:
        return "constant"
    if look.whole:
        return _of_whole_numbers(name, dtype, look, cells)
    real = Column(name, "real", dtype=dtype, decimals=look.decimals, why="numbers")
    if fills_unit(np.array([look.low, look.high])):
        return replace(real, kind="unit", low=0.0, high=1.0, why="numbers from 0 to 1")
    if look.low > 0:
        return replace(real, kind="positive", why="numbers above 0")
    return replace(real, kind="nonnegative", why="numbers from 0 on") if look.low == 0 else real


def _of_whole_numbers(name: str, dtype: str, look: Look, cells: Callable[[], pd.Series]) -> Column | str:
    if look.levels == 2:
        categories = (category_text(look.low), category_text(look.high))
        return Column(name, "binary", categories, dtype, decimals=0, why="2 values")
    if may_be_compact(look.low, look.high) and are_compact(cells()):
        return of_dates(name, seconds_of(understood(whole_texts(cells()), COMPACT)), dtype, COMPACT)
    span = int(look.high - look.low) + 1
    # Years in their order are no numbers of rows, which begin at 0 or 1; some rows may be left out.
    numbers_rows = look.low in (0, 1) and UNIQUE * look.seen <= span <= look.seen / UNIQUE
    if (numbers_rows or ID.search(name)) and _names_rows(distinct := cells().nunique(), look.seen):
        return _identifier(distinct, look.seen)
    if look.low >= 0 and look.levels == span:
        levels = tuple(str(int(look.low) + i) for i in range(span))
        why = f"whole numbers {levels[0]} to {levels[-1]}"
        return Column(name, "ordinal", levels, dtype, decimals=0, why=why)
    if look.low >= 0:
        return Column(name, "count", dtype=dtype, decimals=0, why="whole numbers from 0 on")
    return Column(name, "integer", dtype=dtype, decimals=0, why="whole numbers")
