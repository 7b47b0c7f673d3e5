"""How long a row of `published.py` is trained: whole, a part of it, so many minutes, or hardly at all."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from published_rows import ROWS, Row

import vaekit
from vaekit.data.named import DATASETS
from vaekit.spec.keys import Spec
from vaekit.spec.targets import resolve
from vaekit.system.disk import write_atomic

PACE_ROWS, PACE_EPOCHS = 5000, 2
"""What the pace of a row is taken from."""
QUICK_ROWS, QUICK_HELD_OUT, QUICK_SAMPLES = 1000, 200, 2


@dataclass(frozen=True)
class Budget:
    """How long a row is trained: epochs of so many training rows, of those that the whole training has."""

    label: str
    epochs: int
    rows: int
    whole_epochs: int
    whole_rows: int
    batch: int
    sets: tuple[str, ...] = ()
    """What makes the data smaller, where one epoch of all is too long."""

    @property
    def part(self) -> float:
        return self.epochs * self.rows / (self.whole_epochs * self.whole_rows)

    @property
    def steps(self) -> int:
        return self.epochs * math.ceil(self.rows / self.batch)

    @property
    def whole_steps(self) -> int:
        return self.whole_epochs * math.ceil(self.whole_rows / self.batch)


def spec_of(row: Row) -> Spec:
    """The spec of a row, whose own settings have stand-ins for the folders of other rows' runs."""
    return resolve(row.target, (*row.sets, *(each.format(seed=0, **{n: n for n in row.below}) for each in row.own)))


def training_rows(spec: Spec) -> int:
    """How many rows a spec trains on, of data by name."""
    sizes = dict(DATASETS[spec.data.name].sizes)
    left = sizes["train"]
    for name, asked in (("valid", spec.data.validation), ("test", spec.data.test)):
        if name not in sizes:
            left -= sizes["train"] // 10 if asked is None else asked
    return min(left, spec.data.train or left)


def whole(row: Row) -> Budget:
    """The budget of the recipe."""
    spec = spec_of(row)
    rows, epochs = training_rows(spec), spec.training.epochs
    return Budget("whole", epochs, rows, epochs, rows, spec.training.batch_size or 128)


def scaled(row: Row, part: float, label: str) -> Budget:
    """A part of it: fewer epochs, and where that is less than one, one epoch of fewer rows."""
    budget = whole(row)
    epochs = max(1, round(part * budget.whole_epochs))
    if part * budget.whole_epochs >= 0.5 or row.below or row.goes_on:
        return replace(budget, label=label, epochs=epochs)
    rows = max(min(500, budget.whole_rows), round(part * budget.whole_epochs * budget.whole_rows))
    return replace(budget, label=label, epochs=1, rows=rows, sets=(f"data.train={rows}",))


def quick(row: Row) -> Budget:
    """The least that shows that a row runs."""
    budget, spec = whole(row), spec_of(row)
    if spec.data.codes is not None:
        return replace(budget, label="quick", epochs=1)
    rows = min(QUICK_ROWS, budget.whole_rows // 2)
    sets = [f"data.train={rows}", f"data.test={QUICK_HELD_OUT}"]
    sets += [] if spec.data.validation == 0 else [f"data.validation={QUICK_HELD_OUT}"]
    return replace(budget, label="quick", epochs=1, rows=rows, sets=tuple(sets))


def pace(row: Row) -> float:
    """Seconds that an epoch takes, the look at held-out rows included, by a short one of fewer rows."""
    spec = spec_of(row)
    rows = training_rows(spec)
    few = min(rows, PACE_ROWS)
    own = [each.format(seed=0) for each in row.own]
    sets = [*row.sets, *own, f"data.train={few}", f"training.epochs={PACE_EPOCHS}"]
    with tempfile.TemporaryDirectory() as folder:
        run = vaekit.train(row.target, Path(folder) / "run", sets=sets)
        last = [each for each in run.history() if each.epoch == PACE_EPOCHS]
    return sum(each.seconds * (rows / few if each.split == "train" else 1) for each in last)


def budget_of(row: Row, given: argparse.Namespace) -> Budget:
    """The budget that is asked for; one that was measured before a kill stays as it was."""
    if given.quick:
        return quick(row)
    if given.minutes is None:
        return whole(row) if given.scale is None else scaled(row, given.scale, f"scale-{given.scale:g}")
    label = f"minutes-{given.minutes:g}"
    file = given.folder / row.name / label / "budget.json"
    if file.exists():
        values = json.loads(file.read_text(encoding="utf-8"))
        return Budget(**values | {"sets": tuple(values["sets"])})
    if row.below:
        budget = scaled(row, budget_of(ROWS[row.below[0]], given).part, label)
    else:
        budget = scaled(row, min(1.0, 60 * given.minutes / (pace(row) * whole(row).whole_epochs)), label)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(asdict(budget)) + "\n")
    return budget
