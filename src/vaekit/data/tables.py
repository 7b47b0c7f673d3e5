"""Tables of numbers from CSV and Parquet, with an optional column of class labels."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..settings import setting
from .base import Content, Split, encode_labels, stored
from .formats import check_unpacked

MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}  # in lower case
CHUNK = 20_000  # lines held as Python strings at a time


def read_csv(path: Path, label: str | None) -> Content:
    """A comma-separated table of numbers whose first line names the columns; `label` may hold text.

    Raises `ValueError` naming the line or the columns that are not so: ragged, missing, not a number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _parse_csv(path, file, label)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file: {error}") from error


def read_parquet(path: Path, label: str | None) -> Content:
    """A Parquet table of numbers; `label` may hold text. Needs pyarrow.

    Raises `ValueError` naming the columns that have missing values or are not numbers.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"{path}: Parquet files need pyarrow: pip install 'vaekit[tables]'") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            names = schema.names
            _check_names(path, names, label)
            # Before a row is read: a few bytes may stand for as many equal values as one likes.
            kinds = {field.name: field.type for field in schema}
            _refuse_text(path, [name for name in names if name != label and not _is_numeric(pyarrow, kinds[name])])
            check_unpacked(path, 8 * rows * len(names))
        # Labels as numbers of their names: one long name may be that of all rows.
        table = pyarrow.parquet.read_table(path, read_dictionary=None if label is None else [label])
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    if holes := [name for name in names if table.column(name).null_count]:
        raise ValueError(f"{path} has missing values in {_quoted(holes)}; fill them or drop those rows")
    arrays = {name: table.column(name).to_numpy() for name in names}
    return _content(path, arrays, label)


def _is_numeric(pyarrow: Any, kind: Any) -> bool:
    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _parse_csv(path: Path, file: Iterable[str], label: str | None) -> Content:
    reader = csv.reader(file, skipinitialspace=True, strict=True)
    rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader if row)
    names = next(rows, (0, []))[1]
    if not names:
        raise ValueError(f"{path} is empty")
    if all(map(_is_number, names)):
        raise ValueError(f"{path}: the first line is all numbers; a first line with the names of the columns is needed")
    _check_names(path, names, label)
    chunks = []
    while chunk := list(islice(rows, CHUNK)):
        for line, row in chunk:
            if len(row) != len(names):
                raise ValueError(f"{path}, line {line}: {len(row)} values, but there are {len(names)} columns")
        lines, cells = zip(*chunk, strict=True)
        columns = dict(zip(names, zip(*cells, strict=True), strict=True))
        chunks.append(_parse_columns(path, columns, lines, label))
    if not chunks:
        raise ValueError(f"{path} has a header but no rows")
    return _content(path, {name: np.concatenate([chunk[name] for chunk in chunks]) for name in names}, label)


def _parse_columns(
    path: Path, columns: Mapping[str, Sequence[str]], lines: Sequence[int], label: str | None
) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    text: list[str] = []
    for name, cells in columns.items():
        try:
            arrays[name] = np.array(cells) if name == label else _numbers(cells)
        except ValueError:
            text.append(name)
    _refuse_text(path, text)
    for name, array in arrays.items():
        missing = array == "" if name == label else np.isnan(array)
        if missing.any():
            row = int(np.argmax(missing))
            hole = f"missing value {columns[name][row]!r} in column {name!r}"
            raise ValueError(f"{path}, line {lines[row]}: {hole}; fill it or drop the row")
    return arrays


def _numbers(cells: Sequence[str]) -> np.ndarray:
    """Float64, NaN where a value is missing. Raises `ValueError` where a cell is something else."""
    return np.array(["nan" if cell.lower() in MISSING else cell for cell in cells], dtype=np.float64)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _content(path: Path, arrays: Mapping[str, np.ndarray], label: str | None) -> Content:
    names = tuple(name for name in arrays if name != label)
    if not names:
        raise ValueError(f"{path} has no columns besides the label {label!r}")
    columns = [stored(arrays[name], f"{path}, column {name!r},") for name in names]
    x = np.stack(columns, 1).astype(np.result_type(np.float32, *{each.dtype for each in columns}), copy=False)
    if label is None:
        return Content({"train": Split(x)}, columns=names)
    y, classes = encode_labels(_integers_if_all_are(arrays[label]))
    return Content({"train": Split(x, y)}, classes, names)


def _integers_if_all_are(labels: np.ndarray) -> np.ndarray:
    """Labels 2 and 10 sort as numbers, not as text."""
    try:
        return labels.astype(np.int64) if labels.dtype.kind in "OSU" else labels
    except ValueError:
        return labels


def _check_names(path: Path, names: Sequence[str], label: str | None) -> None:
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        raise ValueError(f"{path} has more than one column of the name {_quoted(twice)}; rename them")
    if label is not None and label not in names:
        near = get_close_matches(label, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"columns: {_quoted(names)}"
        raise ValueError(f"{path} has no column {label!r}; {hint}")


def _refuse_text(path: Path, names: Sequence[str]) -> None:
    if names:
        column = names[0] if len(names) == 1 else "…"
        advice = f"encode them as numbers or drop them, or name the column of classes: {setting('data.label', column)}"
        raise ValueError(f"{path} has columns that are not numbers: {_quoted(names)}; {advice}")


def _quoted(names: Sequence[str]) -> str:
    """At most eight names, so that a message stays one readable line."""
    shown = ", ".join(repr(name) for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
