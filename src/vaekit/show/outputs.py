"""Arrays and figures to files of the kind that a name's ending says.

`.npy`, `.npz`, `.csv`, `.parquet`, and `.png` for images; `.png`, `.svg` and `.pdf` for figures.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.sniffing import PLAIN, Dialect
from ..errors import several
from ..system.disk import write_atomic
from . import plots
from .endings import FIGURES, FRAMES, check_ending

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ROWS = 100_000
"""Rows of a table that are texts at a time."""


def write_array(
    path: Path,
    array: np.ndarray,
    columns: Sequence[str] = (),
    extra: Mapping[str, np.ndarray] | None = None,
    *,
    before: Mapping[str, np.ndarray] | None = None,
    limits: tuple[float, float] | None = None,
    per_row: int = 8,
    dialect: Dialect = PLAIN,
) -> None:
    """Write `array` (N, …) to `path`, whole or not at all.

    A table has a row for each of N: the columns `before` (N,), one for each element, called as in `columns` (or x0, x1,
    …), and those of `extra` (N,); a .csv is written in a `dialect`. A PNG needs images (N, C, H, W), of which it shows
    `per_row` side by side; `limits` are black and white. `.npy` has the array alone, in its shape; `.npz` has it as x,
    beside what a table has beside it. Raises `ValueError` for two columns of one name.
    """
    check_ending(path)
    ending = path.suffix.lower()
    before, extra = dict(before or {}), dict(extra or {})
    if ending == ".npy":
        write_atomic(path, lambda temporary: _save_npy(temporary, array))
    elif ending == ".png":
        if array.ndim != 4 or array.shape[1] not in (1, 3):
            what = f"a .png is of images (N, 1, H, W) or (N, 3, H, W), this is {array.shape}"
            raise ValueError(f"{what}; accepted for it: .npy, .npz, .csv, .parquet")
        figure = plots.image_grid(array, columns=per_row, limits=limits)
        write_atomic(path, lambda temporary: plots.save(figure, temporary))
    else:
        flat = array.reshape(len(array), -1)
        names = list(columns) if len(columns) == flat.shape[1] else [f"x{i}" for i in range(flat.shape[1])]
        beside = [*before, *extra]
        if repeated := [name for name, times in Counter([*before, *names, *extra]).items() if times > 1]:
            raise ValueError(f"a table has more than one column of the name {repeated[0]!r}; give each its own")
        if ending == ".npz":
            if "x" in beside:
                raise ValueError("a .npz has the array as x, and another column is called so; rename it")
            arrays = {name: _without_objects(column) for name, column in (before | extra).items()}
            write_atomic(path, lambda temporary: _save_npz(temporary, {"x": array, **arrays}))
            return
        table = before | dict(zip(names, flat.T, strict=True)) | extra
        csv = ending == ".csv"
        write_atomic(path, lambda t: _save_csv(t, table, dialect.of_csv) if csv else _save_parquet(t, table))


def write_frame(path: Path, frame: pd.DataFrame, index: bool = False, dialect: Dialect = PLAIN) -> None:
    """Write a data frame to `path`, whole or not at all; `ValueError` unless its ending is .csv, .parquet or .xlsx.

    A .csv is written in a `dialect`, so that the program opens it that wrote what it was made of. With `index`, the
    names of its rows come first, as "row" unless they have a name.
    """
    check_ending(path, FRAMES)
    if index:
        name = "row" if frame.index.name is None else str(frame.index.name)
        frame = frame.reset_index(names=name)
    if repeated := [name for name, times in Counter(frame.columns).items() if times > 1]:
        raise ValueError(f"a table has more than one column of the name {repeated[0]!r}; give each its own")
    own = dialect.of_csv
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": lambda temporary: frame.to_csv(temporary, index=False, sep=own.delimiter, decimal=own.decimal),
        ".parquet": lambda temporary: frame.to_parquet(temporary, index=False),
        ".xlsx": lambda temporary: _save_excel(temporary, frame),
    }
    write_atomic(path, writers[path.suffix.lower()])


def write_frames(
    path: Path,
    frames: Iterable[pd.DataFrame],
    about: Mapping[str, str] | None = None,
    after: Callable[[], Mapping[str, str]] = dict,
) -> int:
    """Write data frames of the same columns, one below another, to a Parquet file, whole or not at all; how many rows.

    No more than one of them is kept in memory. What is said `about` it, and `after` the last of them, is kept in the
    file, for `read_about`. Raises `ValueError` where the columns of one are not those of the first.
    """
    check_ending(path, (".parquet",))
    import pyarrow
    from pyarrow import parquet

    rows = 0

    def write(temporary: Path) -> None:
        nonlocal rows
        writer = None
        try:
            for frame in frames:
                table = pyarrow.Table.from_pandas(frame, preserve_index=False)
                if writer is None:
                    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **(about or {})})
                    writer = parquet.ParquetWriter(temporary, table.schema)
                try:
                    writer.write_table(table.cast(writer.schema))
                except (pyarrow.ArrowInvalid, ValueError):  # other columns, or values of another type
                    theirs, ours = several(table.schema.names, 8), several(writer.schema.names, 8)
                    different = f"rows {rows} and on have the columns {theirs}, those before {ours}"
                    raise ValueError(f"{path} can't have all rows, since {different}, or other types") from None
                rows += len(frame)
            if writer is not None:
                writer.add_key_value_metadata(after())
        finally:
            if writer is not None:
                writer.close()

    write_atomic(path, write)
    return rows


def read_about(path: Path, key: str) -> str | None:
    """What `write_frames` has said about a file under `key`; None where it has not, or the file is another."""
    import pyarrow
    from pyarrow import parquet

    try:
        said = (parquet.read_metadata(path).metadata or {}).get(key.encode())
    except (pyarrow.ArrowException, OSError):
        return None
    return None if said is None else said.decode(errors="replace")


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure to `path`, whole or not at all; `ValueError` unless its ending is .png, .svg or .pdf."""
    check_ending(path, FIGURES)
    write_atomic(path, lambda temporary: plots.save(figure, temporary, path.suffix.lower().removeprefix(".")))


def _save_excel(path: Path, frame: pd.DataFrame) -> None:
    import pandas as pd

    with open(path, "wb") as file, pd.ExcelWriter(file, engine="openpyxl") as writer:  # it wants a path's ending
        frame.to_excel(writer, index=False)
        for row in next(iter(writer.sheets.values())).iter_rows():
            for cell in row:
                if cell.data_type == "f":  # a text that begins with "=" is no formula, and stays what it is
                    cell.data_type = "s"


def _save_npy(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # given a path, NumPy would add its own ending
        np.save(file, array, allow_pickle=False)


def _save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # `savez` takes no array that is called file
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _without_objects(column: np.ndarray) -> np.ndarray:
    return column.astype(str) if column.dtype == object else column


def _save_csv(path: Path, table: Mapping[str, np.ndarray], dialect: Dialect) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=dialect.delimiter)
        writer.writerow(table)
        for start in range(0, len(next(iter(table.values()), ())), ROWS):
            some = (_texts(column[start : start + ROWS], dialect.decimal) for column in table.values())
            writer.writerows(zip(*some, strict=True))


def _texts(column: np.ndarray, decimal: str) -> list[Any]:
    """What a CSV has of a column: the shortest text that reads back as the same value, 7.4 for the float32 next to it,
    and 7 for a whole number of any type.
    """
    if column.dtype.kind != "f":
        return column.tolist()
    # Of float32, Python's own numbers would have the digits of the float64 that is nearest to them.
    return [text.removesuffix(".0").replace(".", decimal) for text in column.astype(str).tolist()]


def _save_parquet(path: Path, table: Mapping[str, np.ndarray]) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({name: np.ascontiguousarray(column) for name, column in table.items()}), path)
