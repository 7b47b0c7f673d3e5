"""New rows of a file, a block of them at a time, so that memory does not grow with the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..data.impossible import NONE
from ..data.tensors import TensorSplit, block_rows
from ..errors import LeftOutWarning
from .pieces import PARQUET, pieces_of
from .run import new_data, treated

if TYPE_CHECKING:
    from .run import Run


def blocks_of(run: Run, shard: Path) -> Iterator[tuple[TensorSplit, pd.Index]]:
    """The blocks of a file of new rows, each a split of its own, with what its rows are called there: a Parquet file is
    read so many at a time. Raises `ValueError`, one line that names the file, where they are not of the run's kind.
    """
    if shard.suffix.lower() == PARQUET:
        for piece, names in pieces_of(run, shard):
            first, last = int(piece.index[0]), int(piece.index[-1])
            split = _asked(run, piece, f"{shard}, rows {first} to {last}")
            yield replace(split, offset=first, origin=piece.index.to_numpy()), names
        return
    rows = block_rows(prod(run.schema.event_shape))
    whole = _asked(run, shard, str(shard))
    origin = np.arange(len(whole)) if whole.origin is None else whole.origin
    for start in range(0, len(whole), rows):
        yield _part(whole, start, rows), pd.Index(origin[start : start + rows])


def _asked(run: Run, given: Any, name: str) -> TensorSplit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOutWarning)  # these rows have a log_prob of -inf
        try:
            return treated(run, new_data(run, given))
        except ValueError as error:
            raise ValueError(_of_file(str(error), name, Path(given).stem if isinstance(given, Path) else "")) from None


def _of_file(said: str, name: str, called: str) -> str:
    """What is said of a file, which begins with its `name`, in place of what it is `called` otherwise."""
    for each in filter(None, (name, called)):
        if said.startswith((f"{each} ", f"{each},", f"{each}:")):
            return f"{name}{said.removeprefix(each)}"
    return f"{name}: {said}"


def _part(whole: TensorSplit, start: int, rows: int) -> TensorSplit:
    """The rows of a block as a split of their own; of the first one, what cells of the whole are impossible."""
    chosen = slice(start, start + rows)
    whole.wait(chosen)
    own = {name: getattr(whole, name) for name in ("y", "noise", "origin", "observed", "refused")}
    cut: dict[str, Any] = {name: None if each is None else each[chosen] for name, each in own.items()}
    once = NONE if start else whole.impossible
    return replace(whole, x=whole.x[chosen], arriving=None, offset=start, impossible=once, **cut)
