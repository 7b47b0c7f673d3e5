"""What is trained, checked before anything is written."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from ..data.tensors import PartlyLabelled, TensorSplit
from ..engine import engine_of
from ..models import VAE
from ..models.given import chooses_data, refuse_other_data, refuse_unscored
from ..modules import move
from ..objectives.base import Objective, coupled, schedules_of, with_modules
from ..schedules import Switch, settled
from ..settings import in_a_call, named, setting, unset
from ..spec.keys import TrainingSpec
from ..spec.parts import PARTS, Parts
from .step import rehearse

BATCH_SIZE = 128
"""Rows of a step where none are asked for, or all where there are fewer."""


FEWEST, MOST = 1, 2000
"""Epochs that a number of steps may be."""


def planned(options: TrainingSpec, rows: int, held_out: bool) -> TrainingSpec:
    """`options` for so many rows, in epochs: those that make its `steps`, and of a part of them for `early_stopping` as
    many as that is; none where no rows are held out.

    >>> found = planned(TrainingSpec(steps=5000, early_stopping=0.1), 1280, held_out=True)
    >>> found.epochs, found.early_stopping
    (500, 50)
    """
    found: dict[str, object] = {}
    epochs = options.epochs
    if options.steps is not None:
        batch = options.batch_size or min(BATCH_SIZE, rows)
        epochs = min(max(round(options.steps * batch / rows), FEWEST), MOST)
        found = {"epochs": epochs, "steps": None}
    if isinstance(options.early_stopping, float):
        found["early_stopping"] = math.ceil(options.early_stopping * epochs) if held_out else None
    return options.model_copy(update=found) if found else options


@dataclass(frozen=True)
class Task:
    """A model to be trained on `train` by an objective, looked at on `held_out` (called `split`) after each epoch."""

    model: VAE
    train: TensorSplit
    held_out: TensorSplit | None
    objective: Objective
    options: TrainingSpec
    split: str = "valid"
    parts: Parts = PARTS

    @property
    def batch_size(self) -> int:
        """Rows of a step."""
        return self.options.batch_size or min(BATCH_SIZE, len(self.train))

    @property
    def rows_at_once(self) -> int:
        """Rows of the parts that a step is computed in."""
        return self.batch_size // self.options.accumulate

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.train.steps(self.batch_size)

    @property
    def total(self) -> int:
        """Steps of all epochs."""
        return self.steps * self.options.epochs

    @property
    def chooses(self) -> bool:
        """Whether there are rows held out for validation, by which weights may be chosen: not by those of a test."""
        return self.held_out is not None and self.split != "test"

    @cached_property
    def settled(self) -> int:
        """The epochs after which no scheduled coefficient of the loss changes any more: those of the objective, what
        parts make of the progress, priors that are fitted on the way, and steps that are of some weights alone. The
        learning rate is none of them.
        """
        schedules = schedules_of(self.objective).values()
        parts = [copy.deepcopy(each) for each in self.model.modules() if hasattr(each, "advance")]

        def coefficients(progress: float) -> list[float]:
            values = [float(schedule(progress)) for schedule in schedules]
            for part in parts:
                part.advance(progress)  # type: ignore[operator]
                values += [number for buffer in part.buffers() for number in buffer.double().flatten().tolist()]
            return values

        epochs = self.options.epochs
        ends = [after for each in self.model.modules() for after in getattr(each, "fit_after", ())]
        ends += [self.options.aggressive.until] if self.options.aggressive else []
        return max([settled(coefficients, epochs), *(math.ceil(end * epochs) for end in ends)])


def check(task: Task, processes: int = 1) -> None:
    """Raise `ValueError`, one line, for a task that can't be trained by so many processes; the model is moved to where
    its data are.
    """
    n, model = len(task.train), task.model
    engine_of(task.options.engine)
    if task.batch_size > n:
        raise ValueError(f"batch_size is {task.batch_size}, but there are {n} training rows; accepted: 1..{n}")
    _check_shares(task, processes * task.options.accumulate)
    if task.options.accumulate > 1:
        _check_parts(task, processes)
    for data in (task.train, task.held_out):
        if data is not None:
            _check_data(model, data)
    if task.options.early_stopping and not task.chooses:
        rows = f"{setting('data.validation', '…')}, a number of rows"
        held = "a Dataset with a split 'valid'" if in_a_call() else rows
        raise ValueError(f"early_stopping needs rows held out for validation; give {held}")
    for name, prior in model.priors.items():
        _check_fitted(name, prior, n)
    for module in (model, *with_modules(task.objective)):
        move(module, task.train.x.device)
    rehearse(model, task.objective, task.train)
    for field, schedule in schedules_of(task.objective).items():
        if isinstance(schedule, Switch) and schedule.at > (task.total - 1) / task.total:
            raise ValueError(f"{field} switches at {schedule.at} of the run, after the last of its {task.total} steps")


def _check_shares(task: Task, processes: int) -> None:
    """`ValueError` where a full batch has not a row for each process, or not one with a label and one without."""
    size, seen = task.batch_size, task.train.first if isinstance(task.train, PartlyLabelled) else None
    if size < processes:
        raise ValueError(f"batch_size is {size}, of all processes together; accepted for {processes}: from {processes}")
    if seen is not None and min(seen, size - seen) < processes:
        each = f"{seen} rows with a label and {size - seen} without for {processes} processes"
        more = f"{setting('training.labelled', processes)} and {setting('training.batch_size', 2 * processes)}"
        raise ValueError(f"a batch has {each}; accepted: a row of either for each, from {more} on")


def _check_parts(task: Task, processes: int) -> None:
    """`ValueError` where the parts of a batch are not of equal sizes, or are not all that its loss is the mean of."""
    parts, size = processes * task.options.accumulate, task.batch_size
    seen = task.train.first if isinstance(task.train, PartlyLabelled) else 0
    given = named("training.accumulate", task.options.accumulate)
    if size % parts or seen % parts:
        of = f"{seen} with a label and {size - seen} without" if seen else f"{size}"
        each = f" for each of {processes} processes" if processes > 1 else ""
        raise ValueError(f"{given}{each}, but a batch has {of} rows; accepted: multiples of {parts}")
    if why := coupled(task.objective) or next(filter(None, map(coupled, task.model.modules())), ""):
        raise ValueError(
            f"{given}, but {why}, so that parts of a batch do not add up to it; {unset('training.accumulate')}"
        )


def _check_data(model: VAE, data: TensorSplit) -> None:
    refuse_other_data(model, tuple(data.x.shape[1:]), data.seen)
    if getattr(model.likelihood, "in_order", False) and data.mask:
        what = f"{type(model.likelihood).__name__} has no probability of pixels with any of their channels missing"
        raise ValueError(f"data.mask is {data.mask}, but {what}; {unset('data.mask')}")
    if chooses_data(model, data.observed is not None):
        for batch in data.blocks():
            refuse_unscored(model, batch.x, batch.observed)


def _check_fitted(name: str, prior: nn.Module, rows: int) -> None:
    count = getattr(prior, "components", 0)
    if getattr(prior, "fit_after", ()) and count > rows:
        most = f"accepted: at most {rows}"
        raise ValueError(f"the prior of {name!r} has {count} components to fit to {rows} rows; {most}")
