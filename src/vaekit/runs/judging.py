"""How good, and how private, rows are that a run made up: beside those that it was trained on, and held-out ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ..data.columns import Column
from ..data.frames import is_frame
from ..data.tabular import rows_of_frame
from ..errors import unknown, wrong_kind
from ..evaluation.synthetic import Nearness, Prediction, nearness, predicted
from ..settings import option
from .tables import typed_columns

if TYPE_CHECKING:
    from .run import Run


@dataclass(frozen=True)
class Compared:
    """Made-up rows and those of a run as numbers (N, D) float64 of its `columns`, NaN where a cell is missing."""

    columns: tuple[Column, ...]
    made: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    split: str
    """The name of the split that was held out."""


@dataclass(frozen=True)
class Judged:
    """What there is to say of made-up rows."""

    split: str
    """The name of the split that was held out."""
    nearness: Nearness
    by_made: Prediction | None = None
    """How well a column is told on held-out rows by trees that were trained on made-up rows, and by such on training
    rows; None where no column is named.
    """
    by_train: Prediction | None = None


def check(run: Run, target: str | None = None) -> None:
    """What `judge` needs, before rows are made: `ValueError` where the run held no rows out, or has no column `target`;
    `RunError` where its data are not there.
    """
    names = [column.name for column in typed_columns(run)]
    if target is not None and target not in names:
        raise ValueError(f"{option('target', target)}: {unknown('column', target, names)}")
    if run.held_out == "train":
        raise ValueError(f"{run.path} held no rows out, with which made-up ones could be compared")


def compared(run: Run, made: pd.DataFrame) -> Compared:
    """The rows `made`, with the columns of `run`, beside its own; `ValueError` where it held none out, `RunError` where
    its data are not there.
    """
    if not is_frame(made):
        raise wrong_kind("made", made, "a data frame; of what `synthesize` gives that is its `table`")
    check(run)
    columns, split = typed_columns(run), run.held_out
    train, held_out = run.data("train"), run.data(split)
    rows = rows_of_frame(columns, made, "the made-up table")
    kept = np.float64 if train.x.dtype == torch.float64 else np.float32  # the same digits make the same cells
    x = np.asarray(rows.x, kept).astype(np.float64)
    if rows.observed is not None:
        x[~rows.observed] = np.nan
    return Compared(columns, x, train.cells(), held_out.cells(), split)


def judge(run: Run, made: pd.DataFrame | Compared, target: str | None = None, *, seed: int = 0) -> Judged:
    """How near rows lie to those of training, and how well they teach to tell `target`, as `Run.judge` says."""
    each = made if isinstance(made, Compared) else compared(run, made)
    near = nearness(each.columns, each.made, each.train, each.held_out, seed)
    if target is None:
        return Judged(each.split, near)
    by = (predicted(each.columns, rows, each.held_out, target, seed) for rows in (each.made, each.train))
    return Judged(each.split, near, *by)
