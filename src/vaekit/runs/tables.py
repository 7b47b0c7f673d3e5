"""What users do with the table of a run: fill its holes, find its odd rows, make others like them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..data.base import stored
from ..data.batch import Batch
from ..data.columns import Column, frame_of
from ..data.domains import Domain
from ..data.headers import names_known
from ..data.tensors import TensorSplit
from ..evaluation.anomalies import anomalies
from ..evaluation.imputation import Event, conditioned
from ..evaluation.imputation import impute as imputed
from ..models.given import refuse_number, refuse_too_many
from ..settings import option
from ..system.progress import working
from .conditions import Condition, Where, conditions_of, with_ends
from .given import classes_of, label_column, source_frame
from .pieces import is_long, pieces_of

if TYPE_CHECKING:
    from .run import Data, Run

REASONS = 3
"""Columns that are named as what makes a row odd."""
REFERENCE = 2000
"""Training rows whose scores say what is usual."""
FEW = 20
"""Samples that count below which what they say of a row is not to be relied on."""
RARE = 0.1
"""The part of samples that count below which a condition is called rare."""
MANY = 20_000
"""Rows whose holes are filled at once, of which some go through the model at a time."""
ENDLESS = (-np.inf, np.inf)
LATENT = "latent"
"""What a row's code adds to its score, as a column beside those of the table."""


Usual = tuple[np.ndarray, np.ndarray]
"""The scores of training rows, and the mean of what each column adds to them."""
DRAW = "draw"
"""The column that says of which draw a row is."""


def apart(name: str, taken: Collection[object]) -> str:
    """`name`, with as many underscores as set it apart from those `taken`.

    >>> apart("draw", ["a"]), apart("draw", ["draw", "draw_"])
    ('draw', 'draw__')
    """
    return apart(f"{name}_", taken) if name in taken else name


def typed_columns(run: Run) -> tuple[Column, ...]:
    """The columns of the table of `run`, in its model's order; `ValueError` where its data are no table."""
    if not run.schema.columns:
        raise ValueError(f"{run.path} is of data of shape {run.schema.event_shape} without columns; accepted: a table")
    return run.schema.typed_columns


@dataclass(frozen=True)
class Filled:
    """A table whose holes are filled."""

    table: pd.DataFrame
    """As the user had it, its observed cells as they were; of n draws all of them one below another, by "draw" (with
    an underscore where the table has a column of that name).
    """
    spread: pd.DataFrame
    """Of each cell of the model's columns that was filled the standard deviation, of categories the entropy in nats;
    NaN of those that were there.
    """
    trusted: np.ndarray
    """(N,): how many of the samples count; few of them say little."""
    samples: int = 0
    """How many there were for each row."""

    @property
    def caution(self) -> str:
        """A sentence where too few of the samples count for some rows, else ""."""
        few = int((self.trusted < FEW).sum()) if self.samples > FEW else 0
        if not few:
            return ""
        many = f"{few:,} rows fewer than" if few > 1 else "a row fewer than"
        return (
            f"for {many} {FEW} of the {self.samples:,} samples count; more help: {option('samples', 10 * self.samples)}"
        )


def impute(run: Run, given: str | Data, *, samples: int = 1000, n: int = 0, seed: int = 0) -> Filled:
    """Fill the holes of a split of `run`, or of new rows, as `Run.impute` says."""
    refuse_number("n", n, least=0)
    columns, data = typed_columns(run), run.data(given)
    frame = source_frame(run, given, data)
    theirs = names_known(frame.columns, run.schema.columns)
    frame = frame.rename(columns=theirs)
    x, spread, draws, trusted = [], [], [], []
    before = Counter[bytes]()
    with working("imputing", len(data)) as step:
        for start in range(0, len(data), MANY):
            batch = run.model.asked(data.rows(np.arange(start, min(start + MANY, len(data)))))
            told = partial(_told, step, start)
            found = imputed(run.model, run.model.typed(batch), samples, n, seed, before=before, on_rows=told)
            x.append(found.x.double().cpu().numpy())
            spread.append(found.spread.double().cpu().numpy())
            trusted.append(found.effective_samples.cpu().numpy())
            if found.draws is not None:
                draws.append(found.draws.double().cpu().numpy())
            step(start + len(batch))
    every = [np.concatenate(x)] if not n else list(np.concatenate(draws, 1))
    holes = np.zeros(data.x.shape, bool) if data.observed is None else ~data.observed.cpu().numpy()
    holes &= True if data.refused is None else ~data.refused
    tables = [filled(frame, columns, each, holes) for each in every]
    draw = apart(DRAW, [*frame.columns, *frame.index.names])
    table = tables[0] if not n else pd.concat(tables, keys=range(1, n + 1), names=[draw]).reset_index(draw)
    names = [each.name for each in columns]
    sure = pd.DataFrame(np.where(holes, np.concatenate(spread), np.nan), frame.index, names)
    own: dict[str, Any] = {name: each for each, name in theirs.items()}
    if isinstance(given, pd.DataFrame):
        own |= {str(name): name for name in given.columns}  # whatever names are
    return Filled(table.rename(columns=own), sure.rename(columns=own), np.concatenate(trusted), samples)


def _told(step: Callable[[int], None], before: int, rows: int) -> None:
    step(before + rows)


def filled(frame: pd.DataFrame, columns: Sequence[Column], x: np.ndarray, holes: np.ndarray) -> pd.DataFrame:
    """`frame` with the numbers x (N, D) in the `holes` (N, D) of its columns, what was there as it was."""
    made, table = frame_of(columns, x), frame.copy()
    for each, gone in zip(columns, holes.T, strict=True):
        values, given = made[each.name], frame[each.name]
        if values.dtype.kind in "iuf" and given.dtype.kind not in "iuf" and not each.refused(given).any():
            given = each.values(each.numbers(given)).set_axis(frame.index)  # numbers as text, with words for missing
        if gone.any() and pd.api.types.is_string_dtype(values.dtype):
            values = _as_written(values, given)
        if gone.all():
            table[each.name] = values.array
        elif gone.any():
            cells = pd.Series(values.astype(object).where(gone, given.astype(object).array).array, frame.index)
            own = values.dtype == given.dtype or values.dtype.kind in "iuM" or each.categories
            fits = own and not each.refused(given.where(~gone)).any()
            table[each.name] = cells.astype(values.dtype) if fits else cells.infer_objects()
    return table


def _as_written(values: pd.Series, given: pd.Series) -> pd.Series:
    """Texts as a column has them that was `given`, with the blanks at their ends that it has there."""
    own = [each for each in given.dropna().unique().tolist() if isinstance(each, str)]
    forms = {each.strip(): each for each in own} | {each: each for each in own}
    return values.map(lambda cell: forms.get(cell, cell), na_action="ignore").astype(values.dtype)


def detect(
    run: Run,
    given: str | Data,
    *,
    samples: int = 100,
    contamination: float = 0.1,
    seed: int = 0,
    per_column: bool = False,
) -> pd.DataFrame:
    """How odd the rows of a split of `run` are, or new ones, as `Run.detect` says."""
    if not 0 < contamination < 0.5:
        raise ValueError(f"contamination is {contamination}; accepted: a part of the rows, above 0 and below 0.5")
    typed_columns(run)  # of others there is nothing to read
    known = _usual(run, samples, seed)
    asked: dict[str, Any] = {"contamination": contamination, "per_column": per_column}
    if isinstance(given, Path) and is_long(given):
        if known is None:
            there = f"the data of {run.path} are not there, which say what is usual"
            raise ValueError(f"{there} for the rows of {given}, of which memory holds some at a time; give them back")
        parts = [_detected(run, piece, known, samples, seed, **asked) for piece, _ in pieces_of(run, given)]
        table = pd.concat(parts)
        table.attrs |= parts[0].attrs
        return table
    return _detected(run, given, known, samples, seed, **asked)


def _detected(
    run: Run, given: str | Data, known: Usual | None, samples: int, seed: int, *, contamination: float, per_column: bool
) -> pd.DataFrame:
    """`detect`, by what is `known` to be usual, or by the rows themselves."""
    columns, data, shown = typed_columns(run), run.data(given), {}
    frame = source_frame(run, given, data)
    frame = frame.rename(columns=names_known(frame.columns, run.schema.columns))
    score, cells = _odd(run, data, samples, seed)
    usual, of_columns = known or (score, cells.mean(0))
    threshold = float(np.quantile(usual, 1 - contamination))
    if data.refused is not None:
        cells, score = np.where(data.refused, np.inf, cells), np.where(data.refused.any(1), np.inf, score)
        never = [columns[i].name for i in np.flatnonzero(data.refused.any(0))]
        shown = {name: frame[name].astype(str).tolist() for name in never}
    why = _reasons(columns, data, cells - of_columns, shown)
    table = pd.DataFrame({"score": score, "outlier": score > threshold, "why": why}, frame.index)
    if per_column:
        with np.errstate(invalid="ignore"):  # of a row that no code explains nothing is left
            latent = score - cells.sum(1)
        names = [*(apart(each.name, (*table.columns, LATENT)) for each in columns), LATENT]
        parts = pd.DataFrame(np.column_stack([cells, latent]), frame.index, names)
        table = pd.concat([table, parts], axis=1)
    table.attrs |= {"threshold": threshold, "by_training_rows": known is not None}
    return table


def _odd(run: Run, data: TensorSplit, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    score, cells, done = [], [], 0
    with working("scoring", len(data)) as step:
        for batch in data.blocks():
            found = anomalies(run.model, run.model.typed(run.model.asked(batch)), samples, seed)
            score.append(found.score.double().cpu().numpy())
            cells.append(found.contributions.double().cpu().numpy())
            step(done := done + len(batch))
    return np.concatenate(score), np.concatenate(cells)


def _usual(run: Run, samples: int, seed: int) -> Usual | None:
    """The scores (M,) of training rows, nats, and the mean of what each column adds to them, (D,); None where the
    training data are not there.
    """
    try:
        train = run.data("train")
    except (ValueError, OSError):
        return None
    rows = np.random.default_rng(seed).permutation(len(train))[:REFERENCE]
    found = anomalies(run.model, run.model.typed(run.model.asked(train.rows(np.sort(rows)))), samples, seed)
    return found.score.double().cpu().numpy(), found.contributions.double().cpu().numpy().mean(0)


def _reasons(
    columns: tuple[Column, ...], data: TensorSplit, above: np.ndarray, shown: Mapping[str, list[str]]
) -> list[str]:
    """What makes each row odd: its cells of the most nats more than usual, with their values, as they are `shown` where
    some are such that their column can't have.
    """
    x = data.cells()
    cells = {each.name: frame_of([each], x[:, [i]])[each.name].astype(str).tolist() for i, each in enumerate(columns)}
    cells |= shown
    order = np.argsort(-above, 1)[:, :REASONS]
    names = [each.name for each in columns]
    return [
        "; ".join(f"{names[i]}={cells[names[i]][row]} ({above[row, i]:+.1f})" for i in best if above[row, i] > 0)
        for row, best in enumerate(order)
    ]


@dataclass(frozen=True)
class Synthesized:
    """Rows that a model made."""

    table: pd.DataFrame
    effective_samples: float | None = None
    """How many of the samples that a condition was weighed by count; None without one."""
    samples: int = 0
    """How many there were."""

    @property
    def caution(self) -> str:
        """A sentence where fewer samples of a code count than there are rows, which then share codes, else ""."""
        rows, counted = len(self.table), self.effective_samples
        if counted is None or counted >= rows:
            return ""
        why = "the condition is rare: " if counted < RARE * self.samples else ""
        return (
            f"{why}{rows:,} rows are of about {max(1, round(counted)):,} different codes, as many of the "
            f"{self.samples:,} samples count, and so resemble each other; more help: "
            f"{option('samples', 10 * self.samples)}"
        )


@torch.no_grad()
def synthesize(run: Run, n: int, where: Where | None = None, *, samples: int = 10_000, seed: int = 0) -> Synthesized:
    """n rows of the model of `run`, as `Run.synthesize` says."""
    columns = typed_columns(run)
    refuse_number("n", n, least=1)
    refuse_too_many(n, run.model.event_shape, run.model.scale)
    if not where:
        made = frame_of(columns, within(run.schema.domain, run.sample(n, seed=seed).double().cpu().numpy()))
        return Synthesized(made.assign(**classes_of(run, run.conditions(n), label_column(run))))
    if run.model.condition:
        raise ValueError(f"{run.path} is conditional: {option('where', '…')} is for models of whole rows")
    conditions = with_ends(conditions_of(columns, where), run.schema.domain.each(len(columns)))
    cells = {each.place: each.number for each in conditions if each.sign == "="}
    others = [each for each in conditions if each.place not in cells]
    device = run.model.scale.device
    x = np.broadcast_to(run.schema.domain.filler, (len(columns),)).astype(np.float64)
    x[list(cells)] = list(cells.values())
    seen = np.isin(np.arange(len(columns)), list(cells))
    given, observed = (
        torch.from_numpy(each).to(device) for each in (stored(x[None], "the condition", run.schema.domain), seen[None])
    )
    event = event_of(others, len(columns), device) if others else None
    row = run.model.typed(Batch(given, observed=observed))
    drawn, counted = conditioned(run.model, row, n, samples, seed, event)
    if not len(drawn):
        more = option("samples", 10 * samples)
        raise ValueError(f"the condition holds for none of the {samples:,} rows that were drawn for it; try {more}")
    asked = [each.place for each in conditions]
    return Synthesized(
        frame_of(columns, within(run.schema.domain, drawn.double().cpu().numpy(), asked)), counted, samples
    )


def within(domain: Domain, x: np.ndarray, but: Sequence[int] = ()) -> np.ndarray:
    """Rows (n, D) whose numbers, `but` of some columns, are none beyond the least and the greatest of training rows: a
    density has tails, and of many rows some lie where no user's do.
    """
    low, high = np.array([each.ends[0] if each.ends else ENDLESS for each in domain.each(x.shape[1])]).T
    low[list(but)], high[list(but)] = ENDLESS
    return x.clip(low, high)


def event_of(conditions: Sequence[Condition], size: int, device: torch.device) -> Event:
    """That all conditions hold of rows of so many columns."""

    def holds(x: torch.Tensor) -> torch.Tensor:
        own = [each.holds(x[:, each.place].double().cpu().numpy()) for each in conditions]
        return torch.from_numpy(np.logical_and.reduce(own)).to(device)

    asked = torch.zeros(size, dtype=torch.bool, device=device)
    asked[[each.place for each in conditions]] = True
    return Event(asked, holds)
