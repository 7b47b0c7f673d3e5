"""Parquet files of new rows that memory does not hold: whether one is such, and its rows some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ..data.large import is_large
from ..data.tensors import block_rows
from ..data.workbooks import parquet_pieces

if TYPE_CHECKING:
    from .run import Run

PARQUET = ".parquet"


def is_long(file: Path) -> bool:
    """Whether a file is a Parquet table that memory does not hold with what is made of it."""
    return file.suffix.lower() == PARQUET and file.is_file() and is_large(file)


def pieces_of(run: Run, file: Path) -> Iterator[tuple[pd.DataFrame, pd.Index]]:
    """The rows of a Parquet file, so many at a time as a block of the model's data has, called by their numbers, and
    what they are called in the file.
    """
    start = 0
    for piece in parquet_pieces(file, block_rows(prod(run.schema.event_shape))):
        yield piece.set_axis(pd.RangeIndex(start, start := start + len(piece)), axis=0), piece.index
