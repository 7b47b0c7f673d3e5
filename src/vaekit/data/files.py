"""The user's own data: NumPy arrays, tables and folders of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import number_of
from ..settings import named
from ..system.disk import check_regular
from .annotated import CELLS, read_cells
from .base import Content, Split, encode_labels, stored, with_holes
from .documents import are_documents, read_documents
from .domains import Domain
from .formats import array_names, read_arrays
from .frames import ENDINGS, TEXTS, ending, read_frame
from .headers import AS_IT_IS, Reading
from .images import read_folder
from .large import is_large, refuse_larger
from .memmap import MemmapRows
from .naming import Arrays, arrange
from .shards import TAR, are_shards, read_shards

CHANNELS = range(1, 5)
ARRAYS = (".npy", ".npz")


def read_path(path: Path, reading: Reading = AS_IT_IS) -> Content:
    """The content of a file, a folder of images or shards of them; `reading` says what can't be seen of a table's file.

    Raises `FileNotFoundError` where nothing is there, `ValueError` naming what cannot be read, and why.
    """
    if are_shards(path):
        return read_shards(path, reading.resize, reading.label, coloured=reading.coloured)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if not path.is_dir():
        check_regular(path)
    if path.suffix.lower() == CELLS and not path.is_dir():
        return read_cells(path, reading)
    if are_documents(path):
        return read_documents(path, reading)
    is_table = not path.is_dir() and ending(path) is not None
    if not is_table and not path.is_dir() and path.suffix.lower() not in ARRAYS:
        accepted = f"{', '.join((*ARRAYS, *ENDINGS, CELLS))}, or a folder of images, or of shards of them ({TAR})"
        raise ValueError(f"{path} has the ending {path.suffix!r}; accepted: {accepted}")
    _check_said(path, reading)
    if is_table:
        return _read_table(path, reading)
    if path.is_dir():
        return read_folder(path, reading.resize, coloured=reading.coloured)
    return _read_arrays(path, reading.domain)


def _check_said(path: Path, reading: Reading) -> None:
    """`ValueError` where `reading` says what a file of this ending does not have."""
    if reading.label is not None and (path.is_dir() or ending(path) is None):
        raise ValueError(f"{named('data.label', reading.label)} names a column of a table; {path} is none")
    if reading.known:  # what was said of the training rows' file
        return
    if reading.sheet is not None and ending(path) != ".xlsx":
        raise ValueError(f"{named('data.sheet', reading.sheet)} names a sheet of a workbook; {path} is none")
    if reading.encoding is not None and ending(path) not in TEXTS:
        raise ValueError(f"{named('data.encoding', reading.encoding)} is of a table's text; {path} is none")


def _read_table(path: Path, reading: Reading) -> Content:
    if ending(path) == ".parquet" and is_large(path):
        if reading.lazily:
            return Content({}, large=path)
        refuse_larger(path)
    frame = read_frame(path, reading)
    return Content({}, notes=frame.notes, frame=frame.table, dialect=frame.dialect)


def _read_arrays(path: Path, domain: Domain | None) -> Content:
    """Arrays by what their names say: x and y, or x_train, y_train, x_valid, …, and what else these are called."""
    names = array_names(path)
    try:
        found = arrange(names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    holds = ", ".join(names) or "no arrays"
    if "train" not in found.x:
        raise ValueError(
            f"{path} holds {holds}; needed: x (and y), x_train (and y_train, x_valid, …) or a single array; save it "
            "again with such names"
        )
    notes = () if found.usual else (f"arrays of {path.name}: {_taken(found)}",)
    left_out = (f"arrays of {path.name} that are not used: {', '.join(found.unused)}",) if found.unused else ()
    arrays = read_arrays(path, (*found.x.values(), *found.y.values()))
    data = found.x
    xs = {split: _split(arrays[name], f"{path}: {name}", domain) for split, name in data.items()}
    ys = {split: arrays[name] for split, name in found.y.items()}
    if not ys:
        return Content(xs, notes=notes, left_out=left_out)
    # A label for every row or for none.
    if len(ys) < len(xs):
        raise ValueError(f"{path} holds {holds}; y is needed for every x or for none")
    for split, y in ys.items():
        if y.ndim == 0 or len(y) != len(xs[split]):
            raise ValueError(f"{path}: {data[split]} has {len(xs[split])} rows, but its y has the shape {y.shape}")
    targets, classes = _targets(ys, path)
    splits = {split: replace(x, y=targets[split]) for split, x in xs.items()}
    if not classes:
        size = targets["train"].shape[1]
        what = f"{number_of(size, 'covariate')} of each row"
        notes = (*notes, f"y is taken as {what}; labels of classes are whole numbers (N,) of an integer type, or texts")
    return Content(splits, classes, notes=notes, left_out=left_out)


def _taken(found: Arrays) -> str:
    """Which arrays are what, of each split."""
    return "; ".join(
        f"{name} is {split}" + (f", {found.y[split]} its labels" if split in found.y else "")
        for split, name in found.x.items()
    )


def _split(given: np.ndarray, what: str, domain: Domain | None) -> Split:
    """Tables (N, D) as they are, images as (N, C, H, W); of a mapped file its rows, unless they have to be changed."""
    kept, observed = with_holes(given, what, domain)
    x = _images(kept, what)
    mapped = isinstance(given, np.memmap) and np.may_share_memory(x, given)
    return Split(MemmapRows(x) if mapped else x, observed=None if observed is None else _images(observed, what))


def _images(x: np.ndarray, what: str) -> np.ndarray:
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in CHANNELS:
        return x
    if x.ndim == 4 and x.shape[3] in CHANNELS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    raise ValueError(
        f"{what} has the shape {x.shape}; accepted: a table (N, D), or images (N, H, W), (N, C, H, W) or (N, H, W, C) "
        f"of 1 to {CHANNELS[-1]} channels"
    )


def _plain(y: np.ndarray) -> np.ndarray:
    """Labels of bytes as texts, and whole numbers of one type."""
    if y.dtype.kind == "S":
        return np.strings.decode(y, "utf-8", "replace")
    return y.astype(np.int64) if y.dtype.kind == "u" else y


def _targets(ys: dict[str, np.ndarray], path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Text and integers (N,) are class labels; floats, and tables (N, C), are covariates."""
    ys = {split: y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y for split, y in ys.items()}
    ys = {split: _plain(y) for split, y in ys.items()}
    train = ys["train"]
    if any(y.shape[1:] != train.shape[1:] or y.dtype.kind != train.dtype.kind for y in ys.values()) or train.ndim > 2:
        raise ValueError(f"{path}: y must be labels (N,) or covariates (N, C), of one type in all splits")
    if train.ndim == 1 and train.dtype.kind in "buiU":
        labels, classes = encode_labels(np.concatenate(list(ys.values())))
        ends = np.cumsum([len(y) for y in ys.values()])[:-1]
        return dict(zip(ys, np.split(labels, ends), strict=True)), classes
    covariates = {split: stored(y, f"{path}: y of {split}").astype(np.float32) for split, y in ys.items()}
    return {split: y.reshape(len(y), -1) for split, y in covariates.items()}, ()
