"""Tables that know their types: Parquet and Excel's; both need libraries that not everyone has."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import MOST_LINES, several, unknown
from ..settings import setting
from ..system.disk import check_regular
from ..system.extras import check_importable, needing
from .cells import replaced, typed
from .formats import check_unpacked
from .headers import Reading, check_names, line_of_names, name_of, numbered
from .sniffing import has_names, is_missing
from .tabular import told_left_out


def read_parquet(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A Parquet table with the types that it was saved with, but for columns of lists and the like, which a note names.
    Needs pyarrow.

    Raises `ValueError`, one line, where it is damaged, out of all proportion, or has columns of files.
    """
    with _parquet(path) as (pyarrow, schema, rows):
        # Before a row is read: a few bytes may stand for as many equal values as one likes.
        check_unpacked(path, 8 * rows * len(schema.names))
        texts = _texts(pyarrow, schema)
        table = pyarrow.parquet.read_table(path, columns=schema.names, read_dictionary=texts)
        check_unpacked(path, sum(_length(table.column(name)) for name in texts))
        frame = _frame(pyarrow, table, schema)
    named = [str(each) for each in frame.index.names if each is not None]
    notes = (f"the index of {path.name}, {several(named)}, is no column: left out",) if named else ()
    return frame.reset_index(drop=True), (*notes, *nested_left_out(path))


def parquet_rows(path: Path) -> int:
    """How many rows a Parquet file has; raises as `read_parquet` does."""
    with _parquet(path) as (_, _, rows):
        return rows


def parquet_size(path: Path) -> tuple[int, list[str]]:
    """How many rows a Parquet file has, and the names of its columns; raises as `read_parquet` does."""
    with _parquet(path) as (_, schema, rows):
        index = [each for each in (schema.pandas_metadata or {}).get("index_columns", []) if isinstance(each, str)]
        return rows, [name for name in schema.names if name not in index]


def nested_left_out(path: Path) -> tuple[str, ...]:
    """What is said of the columns of a Parquet file that are lists or the like."""
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    return told_left_out({each.name: "no plain values" for each in schema if pyarrow.types.is_nested(each.type)})


def parquet_columns(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Some columns of a Parquet table, as `read_parquet` gives them all."""
    with _parquet(path) as (pyarrow, schema, _):
        chosen = pyarrow.schema([schema.field(name) for name in names])
        texts = _texts(pyarrow, chosen)
        table = pyarrow.parquet.read_table(path, columns=[*names], read_dictionary=texts).select([*names])
        return _frame(pyarrow, table.replace_schema_metadata(None), chosen).reset_index(drop=True)


def parquet_pieces(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """A Parquet table as `read_parquet` gives it, so many rows at a time, whatever its row groups are, each piece with
    the index that pandas has given the file, or the numbers of its rows from 0. No more than a row group of a column
    and a piece are in memory.
    """
    with _parquet(path) as (pyarrow, schema, _):
        start, left = 0, None
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=rows, columns=schema.names):
                table = pyarrow.Table.from_batches([batch])
                left = table if left is None else pyarrow.concat_tables([left, table])
                while len(left) >= rows:
                    yield _numbered(_frame(pyarrow, left.slice(0, rows), schema), start, schema)
                    start, left = start + rows, left.slice(rows)
        if left is not None and len(left):
            yield _numbered(_frame(pyarrow, left, schema), start, schema)


def _numbered(frame: pd.DataFrame, start: int, schema: Any) -> pd.DataFrame:
    """A piece that begins at row `start` with its part of the file's index, where that is no column of it: pandas
    keeps of numbers in equal steps the first and the step, and of no index nothing.
    """
    if not isinstance(frame.index, pd.RangeIndex):
        return frame
    kept = ((schema.pandas_metadata or {}).get("index_columns") or [{}])[0]
    kept = kept if isinstance(kept, dict) else {}
    first, step = kept.get("start", 0), kept.get("step", 1)
    places = range(first + step * start, first + step * (start + len(frame)), step)
    return frame.set_axis(pd.RangeIndex(places, name=kept.get("name")), axis=0)


@contextmanager
def _parquet(path: Path) -> Iterator[tuple[Any, Any, int]]:
    """Inside, pyarrow with the schema of a file's columns of plain values, and its number of rows; `ValueError` where
    it is damaged, has columns of files, or none of plain values.
    """
    with needing(f"{path}: a Parquet file", "pyarrow", "tables"):
        import pyarrow
        import pyarrow.parquet
    check_regular(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
        check_names(str(path), schema.names)
        types = pyarrow.types
        if files := [each.name for each in schema if _has_files(types, each.type)]:
            instead = "images are read as files, from a folder of them or shards (.tar): write them to such"
            raise ValueError(f"{path} has columns of files: {several(map(repr, files), 8)}; take them out; {instead}")
        plain = [each for each in schema if not types.is_nested(each.type)]
        if schema.names and not plain:
            raise ValueError(f"{path} has no column of plain values: {several(map(repr, schema.names), 8)}")
        yield pyarrow, pyarrow.schema(plain, schema.metadata), rows
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be read as Parquet: {(str(error) or '?').splitlines()[0]}") from error


def _has_files(types: Any, kind: Any) -> bool:
    """Whether a column is of bytes, or has some in each cell, as collections of images have them."""
    if types.is_struct(kind):
        return any(_has_files(types, kind.field(i).type) for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _texts(pyarrow: Any, schema: Any) -> list[str]:
    types = pyarrow.types
    return [each.name for each in schema if types.is_string(each.type) or types.is_large_string(each.type)]


def _frame(pyarrow: Any, table: Any, schema: Any) -> pd.DataFrame:
    """Rows of a file of that schema as pandas has them: decimals as floats, dates as times, whole numbers whole."""
    types, texts = pyarrow.types, _texts(pyarrow, schema)
    for i, field in enumerate(schema):
        if types.is_decimal(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pyarrow.float64()))
        elif types.is_date(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pyarrow.timestamp("s")))
        elif field.name in texts:
            table = table.set_column(i, field, table.column(i).cast(field.type))
    scales = {each.name: each.type.scale for each in schema if types.is_decimal(each.type)}
    frame = table.to_pandas().round(scales)  # Arrow's cast is off in the last digit
    return nullable(frame, [each.name for each in schema if types.is_integer(each.type) and each.name in frame])


def nullable(table: pd.DataFrame, whole: list[str]) -> pd.DataFrame:
    """The table with those columns of whole numbers that missing cells made floats as `Int64`."""
    floats = [name for name in whole if table[name].dtype.kind == "f"]
    return replaced(table, {name: table[name].astype("Int64") for name in floats})


def of_arrow(column: pd.Series) -> pd.Series:
    """A column of a type of Arrow's as pandas has it itself, categories as such."""
    import pyarrow

    found: pd.Series = pyarrow.array(column.array).to_pandas()
    return found.set_axis(column.index)


def _length(column: Any) -> int:
    """The bytes of a column of text that is read as a dictionary, spelt out."""
    from pyarrow import compute

    total = 0
    for chunk in column.chunks:
        lengths = compute.take(compute.binary_length(chunk.dictionary), chunk.indices)
        total += compute.sum(lengths).as_py() or 0
    return total


def read_excel(path: Path, reading: Reading) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The sheet of an Excel workbook that is asked for, or the first that is not empty. Needs openpyxl.

    Raises `ValueError`, one line, as `read_delimited` does.
    """
    with needing(f"{path}: an Excel file", "openpyxl", "tables"):
        check_importable("openpyxl")
    cells, at, notes = _sheet(path, reading)
    rows = [["" if pd.isna(cell) else str(cell) for cell in row] for row in cells.head(100).itertuples(index=False)]
    lines, label = [int(i) + 1 for i in cells.index[: len(rows)]], reading.label
    place, named = reading.place(rows, lines, f"{path}, sheet {at!r},")
    if place:
        notes = (*notes, f"the names of {path.name} stand in line {lines[place]}: what is above is left out")
    hint = line_of_names(rows, lines)
    found = has_names(rows) if named is None else named
    if found:
        names, cells = list(map(name_of, rows[place])), cells.iloc[place + 1 :]
    else:
        names, note = numbered(len(rows[0]), hint)
        notes = notes if named is False else (*notes, note)
    check_names(str(path), names, label, found=found, hint=hint, cells=True)
    if cells.empty:
        raise ValueError(f"{path} has a line of names but no rows")
    columns = {name: _plain(cells.iloc[:, i].reset_index(drop=True)) for i, name in enumerate(names) if name != label}
    if label is not None:
        columns[label] = cells.iloc[:, names.index(label)].reset_index(drop=True)
    return pd.DataFrame({name: columns[name] for name in names}), notes


def _sheet(path: Path, reading: Reading) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """The cells of a sheet, its rows called by their places, its name, and a note where there are others."""
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(path, sum(each.file_size for each in archive.infolist()))
        with pd.ExcelFile(path, engine="openpyxl") as book:
            sheets = [str(each) for each in book.sheet_names]
            cells, at, asked = pd.DataFrame(), "", reading.sheet
            if asked is not None and asked not in sheets and not reading.known:
                raise ValueError(unknown(f"sheet of {path}:", asked, sheets))
            for at in [asked] if asked in sheets else sheets:
                given: dict[str, Any] = {"header": None, "dtype": object, "keep_default_na": False, "na_values": [""]}
                cells = pd.read_excel(book, sheet_name=at, **given).dropna(how="all")
                if not cells.empty:
                    break
    except (KeyError, IndexError, TypeError, ValueError, SyntaxError, zipfile.BadZipFile) as error:
        if str(path) in str(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as an Excel workbook: {reason}") from error
    if cells.empty:
        raise ValueError(f"{path} is empty")
    first = "the first" if at == sheets[0] else "the first that is not empty"
    what = f"{path.name}: of {len(sheets)} sheets {first} is read, {at!r}"
    if not reading.known:
        others = several([each for each in sheets if each != at], MOST_LINES)
        what += f"; another one is {setting('data.sheet', '…')}, of {others}"
    return cells, at, (what,) if len(sheets) > 1 and asked not in sheets else ()


def _plain(column: pd.Series) -> pd.Series:
    """The cells of one type, without words that mean a missing one."""
    words = column.map(lambda cell: isinstance(cell, str) and is_missing(cell)).astype(bool)
    column = typed(column.mask(words))
    return column.str.strip().astype("str") if column.dtype == "object" else column
