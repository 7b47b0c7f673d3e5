"""What files can be written, by their endings: known before anything is imported that writes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import unknown
from ..settings import option
from ..system.disk import refuse_no_folder
from ..system.extras import check_importable, needing

ENDINGS = (".npy", ".npz", ".csv", ".parquet", ".png")
TABLES = (".csv", ".parquet", ".npz")
FRAMES = (".csv", ".parquet", ".xlsx")
FIGURES = (".png", ".svg", ".pdf")
PAGES = (".html", *FIGURES)
CELLS = ".h5ad"
BUILT_IN = (".csv", ".npy")
"""Those that need no other library."""
NEEDED = {".parquet": ("pyarrow", "tables"), ".xlsx": ("openpyxl", "tables"), CELLS: ("anndata", "anndata")}
"""The library, and the extra of vaekit's that brings it, of the others."""


def check_ending(path: Path, endings: Sequence[str] = ENDINGS) -> None:
    """Raise `ValueError` for a path that could not be written as one of `endings`, before any work is done for it."""
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path}: {unknown('ending', path.suffix, endings)}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; make it, or name another")
    if (ending := path.suffix.lower()) in NEEDED:
        library, extra = NEEDED[ending]
        instead = " or ".join(each for each in BUILT_IN if each in endings)
        with needing(f"a {ending} file", library, extra, f"or write {instead}" if instead else ""):
            check_importable(library)


def check_output(path: Path | None, endings: Sequence[str] = ENDINGS, *, overwrite: bool = False) -> None:
    """Raise `ValueError`, one line, for a path that could not be written as one of `endings`, and where something is
    there already that is not to be replaced: before any work is done for it. Without a path nothing is replaced.
    """
    if path is None:
        if overwrite:
            given = option("out", f"name{endings[0]}")
            raise ValueError(f"{option('overwrite')} is for a file; give {given} too")
        return
    check_ending(path, endings)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")
    _refuse_closed(path.parent)
    _refuse(path, os.path.lexists(path) and not overwrite)  # a link to nothing is something, too


def check_folder(path: Path, *, overwrite: bool = False) -> None:
    """The same of a folder of files, which may be there if it is empty."""
    refuse_no_folder(path)
    _refuse_closed(next(each for each in (path, *path.absolute().parents) if each.exists()))
    _refuse(path, path.is_dir() and any(path.iterdir()) and not overwrite)


def _refuse(path: Path, is_there: bool) -> None:
    if is_there:
        raise ValueError(f"{path} is there already; name another, or add {option('overwrite')} to replace it")


def _refuse_closed(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{folder} is a folder that can't be written to; name another")
