"""What a command is about: a run, and its own data or new ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..data import Dataset
from ..data.base import no_split
from ..data.sniffing import PLAIN, Dialect
from ..data.tensors import TensorSplit
from .given import ALL, NEW, NOWHERE
from .run import Run, new_data, treated


@dataclass(frozen=True)
class Asked:
    """What a command is about: a run whose data are found, the splits by name that are meant, and what is to be said of
    data that are new to it.
    """

    run: Run
    splits: dict[str, TensorSplit]
    notes: tuple[str, ...] = ()
    dialect: Dialect = PLAIN
    """How the text of a table is written that it is about: so are those made of it."""


def asked(run: Run, data: str | Path | None = None, split: str | None = None, file: str | Path | None = None) -> Asked:
    """The splits of `run`, or new data, that `data` and `split` mean; all rows of a `file`, whatever it is.

    Without `data`, or where these are the run's own, lying elsewhere, `split` is one of these (by default "test"), or
    "all"; else they are new data, all of them or a `split` that they bring.
    """
    file = data if file is None and run.spec.data.name == NOWHERE else file
    if file is not None:
        return _new(run, new_data(run, file, split))
    if data is not None:
        moved = replace(run, place=str(data), loaded=None)
        try:
            run = replace(moved, loaded=moved.dataset)
        except ValueError:  # others, or such that no rows can be held out of them: new ones
            return _new(run, new_data(run, data, split))
    if split not in (None, ALL, *run.dataset.splits):
        raise ValueError(no_split(f"dataset {run.dataset.name!r}", str(split), [*run.dataset.splits, ALL]))
    names = list(run.dataset.splits) if split == ALL else [split or "test"]
    return Asked(run, {name: run.data(name) for name in names}, dialect=run.schema.dialect)


def _new(run: Run, dataset: Dataset) -> Asked:
    return Asked(run, {NEW: treated(run, dataset)}, dataset.notes, dataset.dialect)
