"""Text tables: CSV and its relatives, parsed by pandas once their dialect is known and their lines are even."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import number_of
from .cells import replaced, rounded
from .headers import Reading, check_names, line_of_names, name_of, numbered
from .sniffing import (
    LEADING_ZERO,
    MISSING,
    WHITESPACE,
    Dialect,
    has_names,
    is_number,
    records,
    sample,
    sniff,
)
from .texts import text_of

BLOCK = 2**22
WORDS = sorted({form for word in MISSING for form in (word, word.upper(), word.title(), word.capitalize())} | {"NaN"})
"""What pandas takes for missing; other spellings are found among the distinct values of a text column."""
LABEL_WORDS = ["", "?"]
"""What is missing in a column of labels: NA may be the name of a class."""
MOST_NULLABLE = 1000
"""Columns that get a type of whole numbers with gaps at most: each takes a while."""


@dataclass(frozen=True)
class _Text:
    path: Path
    data: bytes
    dialect: Dialect
    start: int
    """Where the rows begin."""
    width: int

    def parse(self, columns: list[int] | None = None, words: list[str] = WORDS, dtype: Any = None) -> pd.DataFrame:
        """The rows as pandas reads them; columns are called by their places."""
        stream = io.BytesIO(self.data)
        stream.seek(self.start)
        try:
            return pd.read_csv(
                stream,
                sep=r"\s+" if self.dialect.delimiter == WHITESPACE else self.dialect.delimiter,
                decimal=self.dialect.decimal,
                header=None,
                names=range(self.width),
                usecols=columns,
                index_col=False,
                skipinitialspace=True,
                keep_default_na=False,
                na_values=words,
                low_memory=False,
                dtype=dtype,
            )
        except pd.errors.EmptyDataError:
            raise ValueError(f"{self.path} has a line of names but no rows") from None
        except (pd.errors.ParserError, OverflowError) as error:
            reason = str(error).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
            quote = "; is a quote not closed?" if "inside string" in reason else ""
            raise ValueError(f"{self.path} cannot be read as a table: {reason}{quote}") from None


def read_delimited(path: Path, reading: Reading) -> tuple[pd.DataFrame, tuple[str, ...], Dialect]:
    """The table of a text file, its columns by name, notes of what it was taken for, and how it is written.

    Raises `ValueError`, one line, where there are no rows, lines are uneven, or names are missing or not unique.
    """
    data, notes = text_of(path, reading.encoding)
    head = sample(data)
    dialect = sniff(head)
    try:
        found = list(records(head, dialect.delimiter))
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from None
    if not found:
        raise ValueError(f"{path} is empty")
    lines, rows, label = [line for line, *_ in found], [row for *_, row in found], reading.label
    at, named = reading.place(rows, lines, str(path))
    above, first, hint = lines[at] - 1, rows[at], "" if at else line_of_names(rows, lines)
    data, start = data[_line_end(data, above) :], 0
    if at:
        notes = (*notes, f"the names of {path.name} stand in line {lines[at]}: what is above is left out")
    if has_names(rows) if named is None else named:
        names, start = list(map(name_of, first)), _line_end(data, found[at][1] - above)
    else:
        names, note = numbered(len(first), hint)
        notes = notes if named is False else (*notes, note)
    if dialect.delimiter == WHITESPACE and b"\t\t" in data:  # or an empty cell of an uneven line
        notes = (*notes, "cells are taken to stand between runs of blanks and tabs: two tabs are no empty cell")
    text = _Text(path, data, dialect, start, len(names))
    _check_lines(text, above, hint)
    table = text.parse()
    if not len(table):
        raise ValueError(f"{path} has a line of names but no rows")
    # Of a delimiter at the end of each line.
    spare = [i for i, name in enumerate(names) if i and not name and table[i].isna().all()]
    kept = [name for i, name in enumerate(names) if i not in spare]
    check_names(str(path), kept, label, found=start > 0, hint=hint, cells=True)
    if spare:
        notes = (*notes, f"{len(spare)} of {len(names)} columns have neither a name nor a value: left out")
    changed = _whole_with_gaps(text, table)
    texts, others = _text_columns(table), reading.unknown(names)
    changed |= {i: _tidied(table[i]) for i in texts if i not in others}
    changed |= _with_leading_zeros(text, table)
    if as_they_are := [i for i in texts if i in others]:
        cells = text.parse(as_they_are, [""], dtype="str")
        changed |= {i: cells[i] for i in as_they_are}
    if label is not None:
        place = names.index(label)
        changed[place] = _tidied(text.parse([place], LABEL_WORDS, dtype="str")[place], LABEL_WORDS)
    table = replaced(table, changed).drop(columns=spare)
    table.columns = pd.Index(kept, dtype="str")
    return table, notes, dialect


def _line_end(data: bytes, line: int) -> int:
    end = 0
    for _ in range(line):
        end = data.find(b"\n", end) + 1
        if not end:
            return len(data)
    return end


def _check_lines(text: _Text, above: int, hint: str) -> None:
    """Raise `ValueError` for the first line that has too many or too few cells: pandas fills those with NaN. Of the
    file's lines so many are `above`; the `hint` says what to do.
    """
    if _are_even(text):
        return
    lines = text.data.decode()
    try:
        for line, _, row in records(lines, text.dialect.delimiter):
            if len(row) != text.width:
                cells = number_of(len(row), "cell")
                columns = f"there {'are' if text.width != 1 else 'is'} {number_of(text.width, 'column')}"
                raise ValueError(f"{text.path}, line {above + line}: {cells}, but {columns}{hint}")
    except csv.Error as error:
        raise ValueError(f"{text.path} cannot be read as a table: {error}") from None


def _are_even(text: _Text) -> bool:
    """Whether all lines but empty ones have as many cells; False where only a slow look at each can tell."""
    data = np.frombuffer(text.data, np.uint8)
    if text.dialect.delimiter == WHITESPACE:
        data = _single_blanks(data)
    delimiter, has_quotes = ord(text.dialect.delimiter), b'"' in text.data
    inside, before, length = False, 0, 0  # of the line that a block begins within: quoted, its delimiters and bytes
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        marks, ends = block == delimiter, block == ord("\n")
        if has_quotes:
            quoted = np.logical_xor.accumulate(block == ord('"')) ^ inside
            opened = np.flatnonzero((block == ord('"')) & quoted) + start
            if not _begin_cells(data, opened, delimiter):
                return False
            inside = bool(quoted[-1])
            marks, ends = marks & ~quoted, ends & ~quoted
        at, total = np.flatnonzero(ends), np.cumsum(marks, dtype=np.int32)
        if not at.size:
            before, length = before + int(total[-1]), length + len(block)
            continue
        counts, lengths = np.diff(total[at], prepend=0), np.diff(at, prepend=-1) - 1
        counts[0], lengths[0] = counts[0] + before, lengths[0] + length
        if ((counts != text.width - 1) & (lengths > 0)).any():
            return False
        before, length = int(total[-1] - total[at[-1]]), len(block) - 1 - int(at[-1])
    return not inside and (length == 0 or before == text.width - 1)


def _begin_cells(data: np.ndarray, at: np.ndarray, delimiter: int) -> bool:
    """Whether the quotes at these places begin a cell, or are the second of two within one; an inch sign does not."""
    edges = (delimiter, ord("\n"))
    before = data[at[at > 0] - 1]
    blank = at[at > 0][before == ord(" ")] - 2
    good = np.isin(before, (*edges, ord('"'), ord(" ")))
    return bool(good.all() and np.isin(data[blank[blank >= 0]], edges).all())


def _single_blanks(data: np.ndarray) -> np.ndarray:
    """With one blank between cells, none at the ends of lines."""
    end = ord("\n")
    data = np.where(data == ord("\t"), np.uint8(ord(" ")), data)
    blank = data == ord(" ")
    data = data[~(blank & np.r_[True, (blank | (data == end))[:-1]])]
    return data[~((data == ord(" ")) & np.r_[data[1:] == end, True])]


def _with_leading_zeros(text: _Text, table: pd.DataFrame) -> dict[int, pd.Series]:
    """The columns of whole numbers some of which are written as 01234, as text."""
    if not _may_have_leading_zeros(text):
        return {}
    numbers = table.select_dtypes("number")
    values = numbers.to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        whole = ((values == np.floor(values)) | np.isnan(values)).all(0)
    places = [int(each) for each in numbers.columns[whole]]
    if not places:
        return {}
    cells = text.parse(places, dtype="str")
    coded = [i for i in places if cells[i].str.fullmatch(LEADING_ZERO.pattern).any()]
    return {i: _tidied(cells[i]) for i in coded}


def _may_have_leading_zeros(text: _Text) -> bool:
    data = np.frombuffer(text.data, np.uint8)[max(0, text.start - 1) :]
    begins = {ord(each) for each in (text.dialect.delimiter, "\n", " ", "\t", '"')}
    if not text.start and len(data) > 1 and data[0] == ord("0") and ord("0") <= data[1] <= ord("9"):
        return True
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK + 2]
        zero = (block[1:-1] == ord("0")) & (block[2:] - np.uint8(ord("0")) < 10)
        at = np.flatnonzero(zero)
        if at.size and np.isin(block[at], list(begins)).any():
            return True
    return False


def _whole_with_gaps(text: _Text, table: pd.DataFrame) -> dict[int, pd.Series]:
    """Columns of whole numbers that missing cells made floats, as a type that has both; as text those of more digits
    than floats have.
    """
    floats = table.select_dtypes("float")
    values = floats.to_numpy(np.float64)
    gaps = np.isnan(values)
    with np.errstate(invalid="ignore"):
        all_whole = ((values == np.floor(values)) | gaps).all(0) & gaps.any(0) & ~gaps.all(0)
        long = all_whole & (np.abs(values) >= 2**53).any(0)
    places = floats.columns[all_whole & ~long]
    changed = {int(i): table[i].astype("Int64") for i in places} if len(places) <= MOST_NULLABLE else {}
    at = [int(i) for i in floats.columns[long]]
    cells = text.parse(at, dtype="str") if at else table
    return changed | {i: _tidied(cells[i]) for i in at if rounded(cells[i].dropna().unique().tolist())}


def _text_columns(table: pd.DataFrame) -> list[int]:
    return [i for i, dtype in enumerate(table.dtypes) if not isinstance(dtype, np.dtype) or dtype.kind == "O"]


def _tidied(column: pd.Series, words: Collection[str] | None = None) -> pd.Series:
    """A column of text stripped, NaN where a cell is one of `words` or else missing; of booleans as such."""
    if pd.api.types.infer_dtype(column, skipna=True) == "boolean":
        return column.astype("boolean")
    texts = column.astype("str").str.strip()
    gaps = texts.isin(words) if words is not None else texts.str.lower().isin(MISSING)
    if not gaps.any():
        return texts
    texts = texts.mask(gaps)
    if words is not None:
        return texts
    left = texts.dropna().unique().tolist()
    if not left or not all(is_number(each) and not LEADING_ZERO.fullmatch(each) for each in left):
        return texts
    if rounded(left):
        return texts
    # pandas has missed a spelling of missing: the others are numbers.
    numbers = pd.to_numeric(texts.str.replace(",", ".", regex=False)).astype("float64")
    whole = ((numbers % 1 == 0) & (numbers.abs() < 2**53) | numbers.isna()).all()
    return numbers.astype("Int64") if whole else numbers
