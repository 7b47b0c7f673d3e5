"""What a report says of a table in words: its columns, and its oddest rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...data.columns import Column
from ...errors import UndefinedError
from ...runs.tables import typed_columns
from ..pictures import Subject
from ..pictures.columns import errors, few, reconstructed, sampled, value_range
from ..worded import Table, number

SAMPLES = 20
"""Importance samples of each row that is scored."""
UNBROKEN = "\N{NO-BREAK SPACE}"
COLUMNS, ODD = 100, 10
"""Columns and rows, at most, that are listed."""


def scored(subject: Subject) -> pd.DataFrame | None:
    """How odd rows of the split are, all or some thousands chosen at random, as `Run.detect` gives it for each column;
    None of a model of which that is not defined.
    """
    data = subject.data
    if len(data) > (most := few(subject.run)):
        data = data.part(np.sort(subject.chosen(most)))
    try:
        return subject.run.detect(data, samples=SAMPLES, seed=subject.seed, per_column=True)
    except UndefinedError:
        return None


def column_table(subject: Subject, found: pd.DataFrame | None) -> Table:
    """The columns: of what kind, how well the model knows them, how near its samples come, and what is in them."""
    columns, table = typed_columns(subject.run), reconstructed(subject)
    made, marginals = table.data if table.made is None else table.made, sampled(subject).marginals()
    rows: list[tuple[str, ...]] = []
    for i, column in enumerate(columns[:COLUMNS]):
        x, gone = table.data[:, i], marginals[i].missing
        off, constant = errors(column, x, made[:, i])
        rows.append(
            (
                column.name,
                _kind(column),
                f"{100 * gone:.2g} %" if gone else "",
                *(() if found is None else (number(_nats(found, column.name, gone)),)),
                off.replace(" ", UNBROKEN),
                constant.replace(" ", UNBROKEN),
                f"{number(marginals[i].distance)}{UNBROKEN}({number(marginals[i].chance)})",
                value_range(column, x),
            )
        )
    heads = ("Column", "Kind", "Missing", *(() if found is None else ("Nats",)), "Error", "A constant's")
    n = subject.some_of(len(table.data))
    text = f"Of {n}. " if len(columns) <= COLUMNS else f"The first {COLUMNS} of {len(columns)}, of {n}. "
    if found is not None:
        text += "Nats: −log p(column | z) of a cell, averaged over its row's posterior. "
    text += "Error: how far a reconstruction is off on average, in the column's own unit, or how often it is another"
    text += " category; and how far or often the column's median or commonest category would be. Samples: the share of"
    text += " cells that lie elsewhere in samples than in data"
    text += " (total variation distance of what is drawn below), in brackets what chance alone would give."
    return Table("Columns", text, (*heads, "Samples", "Values"), rows)


def odd_table(subject: Subject, found: pd.DataFrame) -> Table:
    """The rows that the model finds least likely, and why."""
    most = found.sort_values("score", ascending=False, kind="stable").head(ODD)
    text = f"Those of least density of {subject.some_of(len(found))}, by {SAMPLES} importance samples: the"
    text += " score is −log p(row) in nats. Beside it are the cells that add most beyond what is usual for their"
    text += f" column, with how much. A tenth of the training rows score more than {number(found.attrs['threshold'])}."
    rows: list[tuple[str, ...]] = [
        (str(name), number(score), str(why))
        for name, score, why in zip(most.index, most["score"], most["why"], strict=True)
    ]
    return Table("The oddest rows", text, ("Row", "Score", "What makes it odd"), rows)


def _kind(column: Column) -> str:
    return f"{column.kind}, {len(column.categories)}" if len(column.categories) > 2 else column.kind


def _nats(found: pd.DataFrame, name: str, missing: float) -> float:
    """Of the cells that are observed; those that are not add nothing."""
    return float(found[name].mean()) / max(1.0 - missing, 1e-12)
