"""Of what kind each column of a table is: what its type says, or what its values are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import pandas as pd

from ..errors import unknown
from ..settings import setting
from .cells import (
    all_numbers,
    category_text,
    factorized,
    number_in,
    numbers_in,
    refuse_fractions,
    sorted_texts,
    typed,
)
from .columns import COLUMN_KINDS, WHOLE, WITH_CATEGORIES, Column, ColumnKind
from .dates import COMPACT, TIMES, UNITS, are_compact, formats_of, parsed, seconds_of, understood, whole_texts, zone_of
from .inferring import MOST_CATEGORIES, category_dtype, column_of, of_dates, of_numbers, of_numerals
from .looks import look_at, looks_at
from .numerals import Numeral, numeral_of
from .sniffing import is_mark, is_unknown

NONE = "none"
"""The kind that leaves a column out."""


def infer(
    frame: pd.DataFrame, asked: Mapping[str, str] | None = None, plain: str = ""
) -> tuple[tuple[Column, ...], dict[str, str]]:
    """The columns of a table that are kept, with their kinds, and of those left out the reason by name.

    pandas' types are believed; of numbers and text the values of all rows decide. `asked` gives columns a kind by name,
    or "none" to leave one out; where a domain is asked for all of the table, `plain`, the others are numbers. Raises
    `ValueError`, one line, for a name or a kind that is not there, for a kind that the values are not of, and for
    infinite numbers.

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
        elif plain:
            found = _plain(name, frame[name], plain)
        elif name in looked_at:
            found = of_numbers(name, *looked_at[name], partial(_cells, frame, name))
        else:
            found = column_of(name, frame[name])
        if isinstance(found, str):
            left_out[name] = found
        else:
            kept.append(found)
    return tuple(kept), left_out


def _cells(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[name]


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


def _plain(name: str, values: pd.Series, domain: str) -> Column:
    """The column as numbers of a domain that is asked for all of the table."""
    try:
        return _asked(name, values, "real", domain)
    except ValueError as error:
        raise ValueError(f"{error}; or leave it out: {setting('data.columns', {name: NONE})}") from None


def _asked(name: str, values: pd.Series, kind: ColumnKind, said: str = "") -> Column:
    """The column as a kind that the user wants, `said` where all columns are asked for as another. Raises `ValueError`
    where its values are not of it.
    """
    what = f"asked for as {said or kind}:"
    if values.dtype == object:
        values = typed(values)
    if kind in WITH_CATEGORIES:
        return _asked_categories(name, values, kind, what)
    if kind == "date":
        return _asked_dates(name, values, what)
    if isinstance(numeral := _numeral_asked(values, kind), Numeral):
        return cast(Column, of_numerals(name, values, numeral, partial(_asked, kind=kind, said=said)))
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
    column.numbers(pd.Series(x), what.removesuffix(":"))
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
        dtype = category_dtype(values)
        if kind == "ordinal" and not values.cat.ordered and not all_numbers(texts):
            raise ValueError(f"{what} column {name!r} has categories without an order; make them ordered in pandas")
    else:
        distinct = [each for each in factorized(values)[1] if not is_unknown(each)]
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
    column = of_dates(name, seconds, str(values.dtype), format, zone)
    if isinstance(column, str):
        raise ValueError(f"{what} column {name!r} is {column}; leave it out")
    return replace(column, why="asked for")
