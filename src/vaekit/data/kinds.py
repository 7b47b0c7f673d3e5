"""Of what kind each column of a table is: what its type says, or what its values are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import pandas as pd

from ..errors import several, unknown
from .cells import (
    all_numbers,
    category_text,
    factorized,
    most_categories,
    number_in,
    numbers_in,
    refusal,
    refuse_fractions,
    sorted_texts,
    typed,
)
from .columns import COLUMN_KINDS, WHOLE, WITH_CATEGORIES, Column, ColumnKind
from .dates import (
    COMPACT,
    OBJECTS,
    SECONDS,
    TIMES,
    UNITS,
    are_compact,
    formats_of,
    may_be_compact,
    parsed,
    seconds_of,
    understood,
    whole_texts,
    zone_of,
)
from .looks import FIRST_ROWS, Look, fills_unit, look_at, looks_at
from .numerals import Numeral, are_numbers, nearly_numbers, numeral_of
from .prose import of_texts
from .sniffing import is_mark

NONE = "none"
"""The kind that leaves a column out."""
MOST_CATEGORIES = 1000
UNIQUE, HANDFUL = 0.95, 10
"""The part of a column's cells that differ from which on they name rows: a few may be there twice. Of fewer rows than a
handful nothing is told by that.
"""
ID = re.compile(r"(?i:(^|[_\W])(id|idx|index|uuid|guid|row_?(number|num|nr|no)?)$|^unnamed: \d+$|^id[_\W])|[a-z]I[dD]$")


def infer(frame: pd.DataFrame, asked: Mapping[str, str] | None = None) -> tuple[tuple[Column, ...], dict[str, str]]:
    """The columns of a table that are kept, with their kinds, and of those left out the reason by name.

    pandas' types are believed; of numbers and text the values of all rows decide. `asked` gives columns a kind by name,
    or "none" to leave one out. Raises `ValueError`, one line, for a name or a kind that is not there, for a kind that
    the values are not of, and for infinite numbers.

    >>> columns, left_out = infer(pd.DataFrame({"n": [3, 9, 0], "x": [0.5, 7.25, None], "who": "me"}))
    >>> [(column.name, column.kind, column.why) for column in columns], left_out
    ([('n', 'count', 'whole numbers from 0 on'), ('x', 'positive', 'numbers above 0')], {'who': 'constant'})
    """
    asked = asked or {}
    for name, kind in asked.items():
        if name not in frame.columns:
            raise ValueError(unknown("column", name, map(str, frame.columns)))
        if kind not in (*COLUMN_KINDS, NONE):
            raise ValueError(unknown(f"kind of column {name!r}:", kind, (*COLUMN_KINDS, NONE)))
    kept: list[Column] = []
    left_out: dict[str, str] = {}
    looked_at = looks_at(frame)
    for name in map(str, frame.columns):
        wanted = asked.get(name)
        if wanted == NONE:
            left_out[name] = "asked to be left out"
            continue
        if wanted:
            found: Column | str = _asked(name, frame[name], cast(ColumnKind, wanted))
        elif name in looked_at:
            found = _of_numbers(name, *looked_at[name], partial(_cells, frame, name))
        else:
            found = _found(name, frame[name])
        if isinstance(found, str):
            left_out[name] = found
        else:
            kept.append(found)
    return tuple(kept), left_out


def _cells(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[name]


def describe(
    columns: Sequence[Column], left_out: Mapping[str, str], frame: pd.DataFrame
) -> list[tuple[str, str, str, str]]:
    """Rows of a table that shows the columns in the order of `frame`: name, kind, why, and how much is missing.

    >>> frame = pd.DataFrame({"a": ["yes", "no", None, "no"], "b": 1})
    >>> describe(*infer(frame), frame)
    [('a', 'binary: no, yes', '2 values', '25 %'), ('b', 'left out', 'constant', '')]
    """
    by_name = {column.name: column for column in columns}
    gaps = frame.isna().mean()
    rows = []
    for name in frame.columns:
        missing = f"{100 * gaps[name]:.3g} %" if gaps[name] else ""
        if name in by_name:
            rows.append((name, in_words(by_name[name]), by_name[name].why, missing))
        elif name in left_out:
            rows.append((name, "left out", left_out[name], missing))
    return rows


def in_words(column: Column) -> str:
    """The kind of a column, with what it has of values.

    >>> in_words(Column("size", "binary", ("large", "small")))
    'binary: large, small'
    """
    if column.kind == "binary":
        return f"binary: {column.shown_categories}"
    if column.categories:
        return f"{column.kind}, {len(column.categories)} {'levels' if column.kind == 'ordinal' else 'categories'}"
    if column.kind == "date":
        return f"date{', times of day' * (column.format in TIMES)} in {UNITS[column.unit]}"
    return f"unit, {column.low:g} to {column.high:g}" if column.kind == "unit" else column.kind


def _found(name: str, values: pd.Series) -> Column | str:
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
        return _of_dates(name, seconds_of(values), str(dtype))
    if pd.api.types.is_numeric_dtype(dtype) and dtype.kind in "iuf":
        x = numbers_in(values, "")
        return _of_numbers(name, str(dtype), next(look_at(x[:, None])), lambda: values)
    if pd.api.types.is_string_dtype(dtype):
        return _of_text(name, values)
    return f"values of the type {dtype}"


def _of_objects(name: str, values: pd.Series, kind: str) -> Column | str:
    """The column of dates or times as Python has them."""
    if kind == "date":
        return _of_dates(name, seconds_of(pd.to_datetime(values)), kind)
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
    return Column(name, kind, texts, _category_dtype(values), why=why)


def _category_dtype(values: pd.Series) -> str:
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
        found = _of_numerals(name, values, numeral)
    elif not formats and are_numbers(cells):
        found = _of_plain_numbers(name, values)
    else:
        return _of_words(name, values, distinct, seen, formats, numeral)
    if isinstance(found, str) or not marks or len(cells) == len(distinct):
        return found
    return replace(found, why=f"{found.why}; {several(map(repr, marks), 3)} for missing")


def _of_dates_in_text(name: str, codes: np.ndarray, distinct: Sequence[str], dtype: str, format: str) -> Column | str:
    texts = [None if is_mark(each) else each for each in distinct]
    seconds = np.append(seconds_of(parsed(texts, format)), np.nan)[codes]
    return _of_dates(name, seconds, dtype, format, zone_of(distinct, format))


def _of_plain_numbers(name: str, values: pd.Series) -> Column | str:
    x = numbers_in(values, f"column {name!r}")
    look = next(look_at(x[:, None]))
    whole = look.whole and look.seen == len(x)
    return _of_numbers(name, "int64" if whole else "Int64" if look.whole else "float64", look, lambda: pd.Series(x))


def _of_numerals(name: str, values: pd.Series, numeral: Numeral, kind: ColumnKind | None = None) -> Column | str:
    """The column of numbers that are written with a unit or marks of thousands, and are to be written so again."""
    read = Column(name, "real", dtype=str(values.dtype), numeral=numeral)
    x = read.numbers(values)
    found = _of_plain_numbers(name, pd.Series(x)) if kind is None else _asked(name, pd.Series(x), kind)
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
    if numbers := unread or nearly_numbers(distinct):
        return numbers
    unnamed = _identifier(len(distinct), seen) if names else f"free text, {len(distinct)} distinct values"
    return of_texts(distinct) or unnamed


def _names_rows(distinct: int, seen: int) -> bool:
    """Whether so many distinct cells of all that are seen name rows, rather than say what they are like."""
    return seen >= HANDFUL and distinct >= UNIQUE * seen


def _identifier(distinct: int, seen: int) -> str:
    return "identifier" if distinct == seen else f"identifier, {distinct:,} of {seen:,} values are distinct"


def _of_dates(name: str, seconds: np.ndarray, dtype: str, format: str = "", zone: str = "") -> Column | str:
    seen = seconds[~np.isnan(seconds)]
    if not seen.size:
        return "no value"
    if seen.min() == seen.max():
        return "constant"
    unit = next((unit for unit, each in SECONDS.items() if (seen % each == 0).all()), "s")
    decimals = 0 if (seen % 1 == 0).all() else 3 if (np.round(seen, 3) == seen).all() else 6
    column = Column(name, "date", dtype=dtype, decimals=decimals, unit=unit, format=format, zone=zone)
    return replace(column, why=column.what_dates)


def _of_numbers(name: str, dtype: str, look: Look, cells: Callable[[], pd.Series]) -> Column | str:
    if not look.seen:
        return "no value"
    if np.isinf(look.low) or np.isinf(look.high):
        x = numbers_in(cells(), "")
        row = int(np.argmax(np.isinf(x)))
        raise ValueError(refusal(f"column {name!r}", x[row].item(), row, "finite numbers, or an empty cell"))
    if "int" in dtype.lower() and not look.whole:  # of more digits than floats have
        return "identifier" if cells().nunique() == look.seen > 1 else "whole numbers of more than 15 digits"
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
        return _of_dates(name, seconds_of(understood(whole_texts(cells()), COMPACT)), dtype, COMPACT)
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


def _asked(name: str, values: pd.Series, kind: ColumnKind) -> Column:
    """The column as a kind that the user wants. Raises `ValueError` where its values are not of it."""
    what = f"asked for as {kind}:"
    if values.dtype == object:
        values = typed(values)
    if kind in WITH_CATEGORIES:
        return _asked_categories(name, values, kind, what)
    if kind == "date":
        return _asked_dates(name, values, what)
    if isinstance(numeral := _numeral_asked(values, kind), Numeral):
        return cast(Column, _of_numerals(name, values, numeral, kind))
    x = numbers_in(values, f"{what} column {name!r}")
    look = next(look_at(x[:, None]))
    if not look.seen:
        raise ValueError(f"{what} column {name!r} has no value; leave it out")
    dtype = str(values.dtype)
    if not pd.api.types.is_numeric_dtype(values.dtype) or isinstance(values.dtype, pd.CategoricalDtype):
        dtype = "float64" if not look.whole else "int64" if look.seen == len(x) else "Int64"
    column = Column(name, kind, dtype=dtype, decimals=look.decimals, why="asked for")
    if kind == "unit":
        ends = next(
            ((0.0, high) for high in (1.0, 100.0) if look.low >= 0 and look.high <= high), (look.low, look.high)
        )
        column = replace(column, low=ends[0], high=ends[1])
    column.numbers(pd.Series(x), f"asked for as {kind}")
    return column


def _numeral_asked(values: pd.Series, kind: ColumnKind) -> Numeral | str:
    if not pd.api.types.is_string_dtype(values.dtype):
        return ""
    cells = [each for each in map(str, factorized(values)[1]) if not is_mark(each)]
    whole = kind in WHOLE
    plain = all(number_in(each) is not None for each in cells)
    return "" if plain and not (whole and any("," in each for each in cells)) else numeral_of(cells, whole)


def _asked_categories(name: str, values: pd.Series, kind: ColumnKind, what: str) -> Column:
    if isinstance(values.dtype, pd.CategoricalDtype):
        texts: tuple[str, ...] = tuple(category_text(each) for each in values.cat.categories)
        dtype = _category_dtype(values)
        if kind == "ordinal" and not values.cat.ordered and not all_numbers(texts):
            raise ValueError(f"{what} column {name!r} has categories without an order; make them ordered in pandas")
    else:
        distinct = factorized(values)[1]
        texts, dtype = sorted_texts([category_text(each) for each in distinct]), str(values.dtype)
        if kind == "ordinal" and not all_numbers(texts) and not pd.api.types.is_bool_dtype(values.dtype):
            advice = "give numbers, or an ordered category of pandas, or ask for categorical"
            raise ValueError(f"{what} column {name!r} has texts, which have no order of their own; {advice}")
        if kind == "categorical":
            refuse_fractions(distinct, len(values), f"{what} column {name!r}", "leave the kind out, or ask for ordinal")
    if kind == "binary" and len(texts) == 1 and texts[0] in ("0", "1"):
        texts = ("0", "1")
    most = 2 if kind == "binary" else MOST_CATEGORIES
    if not 2 <= len(texts) <= most:
        accepted = "2" if most == 2 else f"2 to {most}"
        raise ValueError(f"{what} column {name!r} has {len(texts)} distinct values; accepted: {accepted}")
    return Column(name, kind, texts, dtype, why="asked for")


def _asked_dates(name: str, values: pd.Series, what: str) -> Column:
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        seconds, format, zone = seconds_of(values), "", ""
    elif pd.api.types.is_numeric_dtype(values.dtype) and are_compact(values):
        seconds, format, zone = seconds_of(understood(whole_texts(values), COMPACT)), COMPACT, ""
    else:
        codes, distinct = factorized(values)
        if not distinct:
            raise ValueError(f"{what} column {name!r} has no value; leave it out")
        formats = formats_of([str(each) for each in distinct])
        if len(formats) != 1:
            found = "can be read day or month first" if formats else "are no dates of one format"
            advice = "write them as 2024-01-31"
            raise ValueError(f"{what} the cells of column {name!r} {found}, such as {distinct[0]!r}; {advice}")
        format, zone = formats[0], zone_of([str(each) for each in distinct], formats[0])
        seconds = np.append(seconds_of(parsed(distinct, format)), np.nan)[codes]
    column = _of_dates(name, seconds, str(values.dtype), format, zone)
    if isinstance(column, str):
        raise ValueError(f"{what} column {name!r} is {column}; leave it out")
    return replace(column, why="asked for")
