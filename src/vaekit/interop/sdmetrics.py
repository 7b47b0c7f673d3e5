"""The reports of SDMetrics on rows that a run made up (`pip install 'vaekit[metrics]'`).

SDMetrics is told what each column is, and guesses nothing. Cells that are missing are left out of the shapes of
columns, and are a value of their own in trends of pairs. Trends of two numbers are correlations; for all others numbers
are cut into ten bins, those of either table between its own least and greatest value: one made-up value far out moves
all of them, and the trends of that column fall.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..data.columns import WITH_CATEGORIES, Column, frame_of
from ..evaluation.synthetic import ROWS, sample
from ..runs.judging import Compared, compared
from ..runs.run import Run
from ..system.extras import needing

with needing("vaekit.interop.sdmetrics", "SDMetrics", "metrics"):
    from sdmetrics.reports.single_table import DiagnosticReport, QualityReport


@dataclass(frozen=True)
class Quality:
    """What SDMetrics says of rows beside the training rows of a run, each number in [0, 1], 1 the best."""

    rows: int
    """The rows that were compared, and with how many of training."""
    train: int
    overall: float
    """The mean of the next two."""
    column_shapes: float
    """The mean over columns of how alike their values are distributed."""
    pair_trends: float
    """The mean over pairs of columns of how alike they hang together."""
    validity: float
    """Of the diagnostic report: the part of cells that are within the range, or among the categories, of training."""
    structure: float
    """Of the diagnostic report: whether the columns are the same."""
    shapes: tuple[tuple[str, float], ...]
    """The score of each column, the worst first."""
    trends: tuple[tuple[str, str, float], ...]
    """The score of each pair of columns, the worst first; without those of which there is none."""


def quality(run: Run, made: pd.DataFrame | Compared, *, seed: int = 0) -> Quality:
    """SDMetrics' quality and diagnostic reports on made-up rows, with the columns of `run`, beside its training rows.

    Of each at most 50,000 are compared, a sample by `seed`. Raises `ValueError` where columns lack or cells are none of
    their column, `RunError` where the run's data are not there.
    """
    each = made if isinstance(made, Compared) else compared(run, made)
    return reported(each.columns, each.made, each.train, seed)


def quality_of_held_out(run: Run, made: Compared, *, seed: int = 0) -> Quality:
    """The same of the rows that the run held out: what rows as good as real ones have, as many as these are."""
    return quality(run, replace(made, made=made.held_out), seed=seed)


def reported(columns: Sequence[Column], made: np.ndarray, train: np.ndarray, seed: int = 0) -> Quality:
    """The reports on numbers (S, D) of `columns` beside those of training (N, D), NaN where a cell is missing.

    A pair of columns takes SDMetrics about a twentieth of a second: all pairs of two hundred a quarter of an hour.
    """
    rng = np.random.default_rng(seed)
    frames = [frame(columns, sample(each, ROWS, rng)) for each in (train, made)]
    good, sound = QualityReport(), DiagnosticReport()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a column that is constant, and then has no trend
        for report in (good, sound):
            report.generate(*frames, metadata(columns), verbose=False)
    scores = dict(zip(*good.get_properties()[["Property", "Score"]].to_numpy().T, strict=True))
    checks = dict(zip(*sound.get_properties()[["Property", "Score"]].to_numpy().T, strict=True))
    shapes, trends = good.get_details("Column Shapes"), good.get_details("Column Pair Trends")
    return Quality(
        len(frames[1]),
        len(frames[0]),
        float(good.get_score()),
        float(scores["Column Shapes"]),
        float(scores["Column Pair Trends"]),
        float(checks["Data Validity"]),
        float(checks["Data Structure"]),
        _worst(shapes[["Column", "Score"]]),
        _worst(trends[["Column 1", "Column 2", "Score"]]),
    )


def metadata(columns: Sequence[Column]) -> dict[str, Any]:
    """What SDMetrics is told of the columns.

    >>> metadata([Column("age", "count"), Column("sex", "binary", ("f", "m")), Column("born", "date", unit="D")])
    {'columns': {'age': {'sdtype': 'numerical'}, 'sex': {'sdtype': 'categorical'}, 'born': {'sdtype': 'datetime'}}}
    """
    return {"columns": {each.name: {"sdtype": _sdtype(each)} for each in columns}}


def frame(columns: Sequence[Column], x: np.ndarray) -> pd.DataFrame:
    """The table of numbers x (N, D) in SDMetrics' terms: numbers, categories as text, dates."""
    return frame_of([replace(each, decimals=None, format="", numeral=None, dtype=_dtype(each)) for each in columns], x)


def _sdtype(column: Column) -> str:
    return "categorical" if column.kind in WITH_CATEGORIES else "datetime" if column.kind == "date" else "numerical"


def _dtype(column: Column) -> str:
    return {"categorical": "object", "datetime": "datetime64[ns]", "numerical": "float64"}[_sdtype(column)]


def _worst(table: pd.DataFrame) -> tuple[Any, ...]:
    known = table.dropna().sort_values("Score", kind="stable")
    return tuple((*map(str, names), float(score)) for *names, score in known.itertuples(index=False))
