"""Pictures of a table as a whole: how its columns hang together, and which cells are missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.dependence import BINS, cuts, dependences
from .. import plots
from . import columns
from .base import Picture, Prepared, Subject

if TYPE_CHECKING:
    from ...runs.run import Run

MANY = 1000
"""Columns, at most, of which all pairs are looked at."""
PAIRS = 3
"""Pairs that are named."""


@dataclass(frozen=True)
class Dependences(Picture):
    """How much each two columns of a table hang together, of any kinds, in data and in samples of the model."""

    n: int | None = None

    def lacks(self, run: Run) -> str:
        return columns.no_table(run) or ("" if len(run.schema.columns) > 1 else "two columns or more")

    def __call__(self, subject: Subject) -> Prepared:
        table = columns.sampled(subject, self.n)
        made = table.data if table.made is None else table.made
        names = [each.name for each in table.columns][:MANY]
        groups = cuts(table.data[:, :MANY], columns.levels_of(table.columns[:MANY]))
        both = [np.nan_to_num(dependences(x[:, :MANY], groups)) for x in (table.data, made)]
        text = f"Cramér's V of each two columns, corrected for chance, in {subject.some_of(len(table.data))} and in"
        text += f" {len(made):,} draws of the model; numbers are cut into groups of as many rows, at most {BINS}. 0 is"
        text += " independent, 1 is that each tells the other's group."
        if len(table.columns) > columns.SHOWN:
            strongest = (both[0] - np.eye(len(names))).max(0)
            index = np.sort(np.argsort(-strongest, kind="stable")[: columns.SHOWN])
            both, names = [each[np.ix_(index, index)] for each in both], [names[i] for i in index]
            of = (
                f"the first {MANY:,} of {len(table.columns):,}"
                if len(table.columns) > MANY
                else f"{len(table.columns)}"
            )
            text += f" Shown are the {len(index)} of {of} columns with the strongest ones."
        text += _farthest(names, *both)
        return Prepared("Dependences between columns", text, partial(plots.dependences, both[0], both[1], names))


@dataclass(frozen=True)
class Missing(Picture):
    """How much of each column of a table is missing, and which columns are missing together, in all splits."""

    def lacks(self, run: Run) -> str:
        return columns.no_table(run) or ("" if run.schema.domain.missing else "missing cells")

    def __call__(self, subject: Subject) -> Prepared:
        splits = subject.run.dataset.splits.values()
        gaps = np.concatenate(
            [np.zeros(each.x.shape, bool) if each.observed is None else ~each.observed for each in splits]
        )
        shares = gaps.mean(0)
        some = np.flatnonzero(shares)
        chosen = np.sort(some[np.argsort(-shares[some], kind="stable")][: columns.SHOWN])
        chosen = chosen if len(chosen) else np.arange(min(len(shares), columns.SHOWN))
        text = (
            f"{len(some)} of {len(shares)} columns have cells that are missing: {gaps.sum():,} of {gaps.size:,} cells"
        )
        text += f", in {gaps.any(1).sum():,} of {len(gaps):,} rows."
        if len(chosen) < len(some):
            text += f" Shown are the {len(chosen)} columns that lack most."
        text += " At the right each line is a pattern of columns that are missing together (grey), with its share of"
        text += " the rows, the commonest first."
        names = [subject.run.schema.columns[i] for i in chosen]
        return Prepared("Missing cells", text, partial(plots.holes, gaps[:, chosen], names))


def _farthest(names: list[str], data: np.ndarray, samples: np.ndarray) -> str:
    """The pairs whose dependence differs most, in words."""
    i, j = np.tril_indices(len(names), -1)
    off = np.abs(samples - data)[i, j]
    most = [k for k in np.argsort(-off, kind="stable")[:PAIRS] if off[k] >= 0.05]
    pairs = [f"{names[j[k]]} and {names[i[k]]} ({data[i[k], j[k]]:.2f}, {samples[i[k], j[k]]:.2f})" for k in most]
    return f" Farthest apart, data and samples: {'; '.join(pairs)}." if pairs else ""
