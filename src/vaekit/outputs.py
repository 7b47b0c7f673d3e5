"""Arrays and figures to files of the kind that a name's ending says.

`.npy`, `.csv`, `.parquet`, and `.png` for images; `.png`, `.svg` and `.pdf` for figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import plots
from .disk import write_atomic
from .errors import unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".npy", ".csv", ".parquet", ".png")
FIGURES = (".png", ".svg", ".pdf")
PAGES = (".html", *FIGURES)


def check_ending(path: Path, endings: Sequence[str] = ENDINGS) -> None:
    """Raise `ValueError` for a path that could not be written as one of `endings`, before any work is done for it."""
    if path.suffix.lower() not in endings:
        raise ValueError(unknown("ending of --out", path.suffix, endings))
    if not path.parent.is_dir():
        raise ValueError(f"the folder of --out, {path.parent}, is not there")
    if path.suffix.lower() == ".parquet":
        _pyarrow()


def write_array(
    path: Path,
    array: np.ndarray,
    columns: Sequence[str] = (),
    extra: Mapping[str, np.ndarray] | None = None,
    *,
    limits: tuple[float, float] | None = None,
    per_row: int = 8,
) -> None:
    """Write `array` (N, …) to `path`, whole or not at all.

    A table has a row for each of N and a column for each element, called as in `columns` (or x0, x1, …), then the
    columns of `extra` (N,). A PNG needs images (N, C, H, W), of which it shows `per_row` side by side; `limits` are
    black and white. `.npy` has the array alone, in its shape. Raises `ValueError` for two columns of one name.
    """
    check_ending(path)
    ending = path.suffix.lower()
    if ending == ".npy":
        write_atomic(path, lambda temporary: _save_npy(temporary, array))
    elif ending == ".png":
        if array.ndim != 4:
            raise ValueError(
                f"a .png is of images (N, C, H, W), this is {array.shape}; accepted for it: .npy, .csv, .parquet"
            )
        figure = plots.image_grid(array, columns=per_row, limits=limits)
        write_atomic(path, lambda temporary: plots.save(figure, temporary))
    else:
        flat = array.reshape(len(array), -1)
        names = list(columns) if len(columns) == flat.shape[1] else [f"x{i}" for i in range(flat.shape[1])]
        names += extra or {}
        if repeated := [name for name, times in Counter(names).items() if times > 1]:
            raise ValueError(f"a table has more than one column of the name {repeated[0]!r}; give each its own")
        table = dict(zip(names, [*flat.T, *(extra or {}).values()], strict=True))
        write_atomic(path, (lambda t: _save_csv(t, table)) if ending == ".csv" else (lambda t: _save_parquet(t, table)))


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure to `path`, whole or not at all; `ValueError` unless its ending is .png, .svg or .pdf."""
    check_ending(path, FIGURES)
    write_atomic(path, lambda temporary: plots.save(figure, temporary, path.suffix.lower().removeprefix(".")))


def _save_npy(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # given a path, NumPy would add its own ending
        np.save(file, array, allow_pickle=False)


def _save_csv(path: Path, table: Mapping[str, np.ndarray]) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        # tolist: Python numbers, whose repr is the shortest text that reads back as the same value
        writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))


def _save_parquet(path: Path, table: Mapping[str, np.ndarray]) -> None:
    pyarrow, parquet = _pyarrow()
    parquet.write_table(pyarrow.table({name: np.ascontiguousarray(column) for name, column in table.items()}), path)


def _pyarrow():  # type: ignore[no-untyped-def]
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError("a .parquet file needs pyarrow: pip install 'vaekit[tables]'; or write .csv or .npy") from None
    return pyarrow, parquet
