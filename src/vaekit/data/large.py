"""Tables of Parquet files that memory does not hold: read a few columns at a time, and kept on disk as numbers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike

from ..settings import setting
from ..system.memory import SMALL, available, check_memory, size
from ..system.progress import working
from ..system.torchrun import local
from .base import Content, Split
from .columns import Column, is_cut, numbers_of
from .download import cache_folder
from .exposure import check_exposure, exposures
from .formats import check_ratio
from .frames import as_text, named_columns
from .headers import UNNAMED, check_names, without_row_numbers
from .kinds import infer
from .memmap import BLOCK, MemmapRows
from .tabular import labels_of, nothing_to_learn, refuse_sizes, told_left_out
from .workbooks import nested_left_out, parquet_columns, parquet_size

CELL = 8
"""Bytes that a cell takes while a table is read, texts apart."""
SHARE = 8
"""The columns that are read together take so much of what memory is free."""


def is_large(path: Path) -> bool:
    """Whether a Parquet file is of a table that would take more than half of the memory; raises as `parquet_size`."""
    rows, names = parquet_size(path)
    needed, free = CELL * rows * len(names), available()
    return needed >= SMALL and free is not None and 2 * needed * local()[1] > free


def refuse_larger(path: Path) -> None:
    """`ValueError` where the cells of a Parquet file, and the numbers that are made of them, are more than memory."""
    rows, names = parquet_size(path)
    advice = "give its rows in several files; vaekit score and vaekit encode read such a file some rows at a time"
    check_memory(2 * CELL * rows * len(names), f"the cells of {path}, all at once,", advice)


@dataclass(frozen=True, eq=False)
class _Table:
    """A table in a file, read by the names of some of its columns."""

    path: Path
    names: tuple[str, ...]
    rows: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, label: str | None) -> _Table:
        rows, names = parquet_size(path)
        if not rows:
            raise ValueError(f"{path} has no rows")
        check_ratio(path, CELL * rows * len(names))
        check_names(str(path), names, label)
        found = cls(path, tuple(names), rows, nested_left_out(path))
        if len(names) < 2 or names[0] not in UNNAMED:
            return found
        kept, notes = without_row_numbers(str(path), found.read(names[:2]))
        return replace(found, names=found.names[2 - kept.shape[1] :], notes=(*notes, *found.notes))

    def read(self, names: Sequence[str]) -> pd.DataFrame:
        return named_columns(str(self.path), parquet_columns(self.path, names))

    def parts(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        """These columns, so many at a time as memory holds."""
        free = (available() or SMALL) // local()[1]
        many = max(1, free // (SHARE * CELL * self.rows))
        with working(f"reading the columns of {self.path.name}", len(names)) as step:
            for start in range(0, len(names), many):
                yield self.read(names[start : start + many])
                step(start + many)


def typed_large(
    path: Path, name: str, label: str | None, asked: Mapping[str, str], plain: str, exposure: str | None = None
) -> Content:
    """A table as `tabular.typed` gives it, to the bit, of the Parquet file at `path`, which memory does not hold.

    Kinds of columns are those of all rows: of each column all cells are read, one after another. Their numbers go to
    files without a name in the cache folder, by columns and by rows, which go when the process ends; rows are then read
    as those of a mapped array are. The column of the `exposure` is no data, but y. Raises `ValueError` as `typed` and
    `exposed` do, and where there is no room on disk.
    """
    table = _Table.of(path, label)
    y: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if label is not None:
        y, classes = labels_of(as_text(table.read([label])[label]), name, label)
    if exposure is not None:
        check_exposure(exposure, table.names, labelled=label is not None)
        given = numbers_of([Column(exposure, "real")], table.read([exposure]), name)[:, 0]
        y = exposures(given, f"{setting('data.exposure', exposure)}, split train,")
    names = [each for each in table.names if each not in (label, exposure)]
    if not names:
        raise ValueError(f"{name} has no columns besides the label {label!r}")
    if unknown := [each for each in asked if each not in names]:
        infer(pd.DataFrame(columns=names), {unknown[0]: asked[unknown[0]]})  # which says so
    disk = _disk(table.rows * len(names), f"the numbers of {table.path}")
    by_column, cut = _mapped((len(names), table.rows), np.float64, disk), False
    columns: list[Column] = []
    without: dict[str, str] = {}
    for frame in table.parts(names):
        own, left = infer(frame, {each: kind for each, kind in asked.items() if each in frame}, plain)
        without |= left
        for column in own:
            numbers = numbers_of([column], frame, name)
            refuse_sizes([column], numbers, name)
            with np.errstate(over="ignore"):
                cut = cut or is_cut(column, numbers[:, 0], numbers[:, 0].astype(np.float32))
            by_column[len(columns)] = numbers[:, 0]
            columns.append(column)
    if not columns:
        raise ValueError(nothing_to_learn(name, without))
    x, observed = _by_rows(by_column[: len(columns)], np.float64 if cut else np.float32, disk)
    notes = (*table.notes, f"{size(CELL * x.size)} of numbers: kept in temporary files in {disk}")
    left_out = told_left_out(without)
    return Content(
        {"train": Split(x, y, observed=observed)},
        classes,
        tuple(each.name for each in columns),
        notes,
        left_out,
        table=tuple(columns),
        large=table.path,
        exposed=exposure is not None,
    )


def _by_rows(by_column: np.ndarray, dtype: DTypeLike, disk: Path) -> tuple[MemmapRows, np.ndarray | None]:
    """The rows (N, D) of numbers (D, N), zeros where they are NaN, and which are not; None where none is."""
    width, rows = by_column.shape
    x, observed = _mapped((rows, width), dtype, disk), None
    if any(np.isnan(each).any() for each in by_column):
        check_memory(rows * width, "which cells of the table are missing", "leave columns with holes out")
        observed = np.ones((rows, width), bool)
    many = max(1, BLOCK // width)
    for start in range(0, rows, many):
        block = by_column[:, start : start + many].T
        if observed is not None:
            gaps = np.isnan(block)
            observed[start : start + many] = ~gaps
            block = np.where(gaps, 0.0, block)
        x[start : start + many] = block
    return MemmapRows(x, columns=by_column), observed


def _mapped(shape: tuple[int, int], dtype: DTypeLike, disk: Path) -> np.ndarray:
    """An array of zeros in a file without a name, which goes when the process ends, however it does."""
    with TemporaryFile(dir=disk) as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _disk(numbers: int, what: str) -> Path:
    disk = cache_folder()
    disk.mkdir(parents=True, exist_ok=True)
    needed, room = 2 * CELL * numbers * local()[1], shutil.disk_usage(disk).free
    if needed > room:
        advice = f"leave columns out: {setting('data.columns', {'NAME': 'none'})}"
        raise ValueError(f"{what} take {size(needed)} on disk, and {size(room)} is free in {disk}; {advice}")
    return disk
