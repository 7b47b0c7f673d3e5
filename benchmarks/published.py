"""Published numbers beside those that recipes reach: a table of all rows, from what has been measured of each.

python benchmarks/published.py --minutes 3 --seeds 1 --samples 100 grey m1 --report benchmarks/published.md
python benchmarks/published.py --report benchmarks/published.md         # all rows, as long as their papers trained

Rows are those of `published_rows.py`, by name or how their names begin. Each is a sweep over seeds in a folder of its
own below `--folder`, where a killed one goes on. What each seed has reached is written down there, and with `--report`
once more in a file of numbers beside the report: a later report adds to them, on any machine, and a seed that is
written down is not measured again. Without an option of budget a row has the epochs of its recipe. `--scale 0.01` has
a hundredth of them, `--minutes 3` as many as fit into three minutes a seed, by the pace of two short epochs; schedules
are fractions of a run, and shrink with it. `--quick` takes seconds a row, and shows that it runs. The table has of each
row the longest that was measured.

A row that needs a GPU is left out where there is none, unless it is named. Needs the data: see `vaekit datasets`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from machine import heading, where
from published_metrics import METRICS
from published_rows import ROWS, Row

import vaekit
from vaekit.data.named import DATASETS
from vaekit.spec.keys import Spec
from vaekit.spec.targets import resolve
from vaekit.system.disk import write_atomic

PACE_ROWS, PACE_EPOCHS = 5000, 2
"""What the pace of a row is taken from."""
QUICK_ROWS, QUICK_HELD_OUT, QUICK_SAMPLES = 1000, 200, 2
PACED = 2000
"""Steps from which on a training tells how long a longer one takes."""
ERRORS = 2.0
"""The combined standard errors within which a value is reproduced."""
FEWEST = 3
"""Seeds of which there is a verdict: the spread of two says next to nothing."""
NUMBERS = "measured.json"

Told = dict[str, Any]
"""What is written down of a row: `row`, what it was; `budget`; `seeds`, of each its `value`, `seconds`, `samples`,
`epochs` and `where`.
"""


# -- budgets -----------------------------------------------------------------------------------------------------------


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
    if part * budget.whole_epochs >= 0.5 or row.below:
        return replace(budget, label=label, epochs=epochs)
    rows = max(min(500, budget.whole_rows), round(part * budget.whole_epochs * budget.whole_rows))
    return replace(budget, label=label, epochs=1, rows=rows, sets=(f"data.train={rows}",))


def quick(row: Row) -> Budget:
    """The least that shows that a row runs."""
    budget, spec = whole(row), spec_of(row)
    if row.below:
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


# -- measuring ---------------------------------------------------------------------------------------------------------


def measure(row: Row, given: argparse.Namespace, known: Sequence[Told] = ()) -> None:
    """Train and score what is not there yet of a row, and write down what it has reached; seeds that are known are
    left alone.
    """
    for name in row.below:
        measure(ROWS[name], given)  # their runs are needed, not what they have reached
    budget = budget_of(row, given)
    folder = given.folder / row.name / budget.label
    samples = QUICK_SAMPLES if given.quick else given.samples or row.samples
    asked = range(1 if given.quick else given.seeds or row.seeds)
    done = {seed for told in known if same(told, row, budget) for seed in told["seeds"]}
    seeds = [seed for seed in asked if str(seed) not in done]
    if not seeds:
        return
    sets = [*row.sets, *budget.sets, *given.sets, f"training.epochs={budget.epochs}"]
    options: dict[str, Any] = {"samples": min(samples, row.samples), "jobs": given.jobs, "on_trial": said(row)}
    if row.own:  # which are others for each seed: a sweep for each
        found = []
        for seed in seeds:
            runs = {name: given.folder / name / budget.label / f"runs-{seed}" / f"seed={seed}" for name in row.below}
            own = [each.format(seed=seed, **runs) for each in row.own]
            out = folder / f"runs-{seed}"
            found.append(vaekit.sweep(row.target, seeds=[seed], out=out, sets=[*sets, *own], **options))
    else:
        found = [vaekit.sweep(row.target, seeds=seeds, out=folder / "runs", sets=sets, **options)]
    results = {}
    for sweep in found:
        for trial in sweep.trials:
            if trial.state == "done" and trial.outcome is not None:
                scores = trial.outcome.scores.get("test") or next(iter(trial.outcome.scores.values()))
                run = vaekit.load_run(sweep.folder / trial.name)
                value = METRICS[row.metric].of(scores, run)
                results[str(trial.seed)] = {"value": value, "seconds": trial.outcome.seconds}
                results[str(trial.seed)] |= {"samples": scores.samples, "epochs": run.history()[-1].epoch}
                results[str(trial.seed)] |= {"where": where()}
    told = {"row": identity(row), "budget": asdict(budget), "seeds": results}
    write_atomic(folder / NUMBERS, json.dumps(told, indent=1) + "\n")


def said(row: Row) -> Callable[[Any], None]:
    return lambda trial: print(f"{row.name}, seed {trial.seed}: {trial.state}", file=sys.stderr, flush=True)


def identity(row: Row) -> dict[str, Any]:
    """What tells whether a number is of this row."""
    return {"target": row.target, "metric": row.metric, "sets": list(row.sets), "own": list(row.own)}


# -- what is written down ----------------------------------------------------------------------------------------------


def same(told: Told, row: Row, budget: Budget) -> bool:
    """Whether what is written down is of this row within this budget."""
    return told["row"] == identity(row) and told["budget"] == json.loads(json.dumps(asdict(budget)))


def recorded(report: Path | None) -> list[Told]:
    """The numbers that stand beside a report."""
    file = report.with_suffix(".json") if report else None
    return json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else []


def gathered(folder: Path, known: Sequence[Told] = ()) -> list[Told]:
    """What is known, and what a folder has beside it: of each row and budget all seeds, once."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(f"*/*/{NUMBERS}"))]
    together: dict[str, Told] = {}
    for told in (*known, *found):
        key = json.dumps([told["row"], told["budget"]])
        seeds = {**together.get(key, told)["seeds"], **told["seeds"]}
        together[key] = {**told, "seeds": dict(sorted(seeds.items(), key=lambda each: int(each[0])))}
    return list(together.values())


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What a row has reached within a budget."""

    budget: Budget
    values: tuple[float, ...]
    seconds: float
    """Of one training, the mean."""
    samples: int
    where: tuple[str, ...]
    """The machines."""

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def spread(self) -> float:
        """The standard deviation over seeds; NaN of one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def stderr(self) -> float:
        return self.spread / math.sqrt(len(self.values))


def longest(row: Row, known: Sequence[Told]) -> Measured | None:
    """Of what is known of a row as it is now, that with the largest budget, and of these the one of most seeds."""
    found = [measured(told) for told in known if told["row"] == identity(row) and told["seeds"]]
    return max(found, key=lambda each: (each.budget.part, len(each.values)), default=None)


def measured(told: Told) -> Measured:
    seeds = list(told["seeds"].values())
    return Measured(
        Budget(**told["budget"] | {"sets": tuple(told["budget"]["sets"])}),
        tuple(each["value"] for each in seeds),
        statistics.mean(each["seconds"] for each in seeds),
        min(each["samples"] for each in seeds),
        tuple(dict.fromkeys(each["where"] for each in seeds)),
    )


def verdict(row: Row, found: Measured) -> str:
    """What a value says beside the published one, and why; a single run that was published is taken to be as far from
    its mean as one of ours.
    """
    part = found.budget.part
    why = f" ({100 * part:.2g} % of the training)" if part < 0.995 else ""
    if row.differs:
        return f"not to be compared: {row.differs}{why}"
    if row.published is None:
        return f"nothing published{why}"
    difference = found.mean - row.published
    better = difference > 0 if METRICS[row.metric].more_is_better else difference < 0
    side = "better" if better else "behind"
    if len(found.values) < FEWEST:
        return f"{side} by {abs(difference):.2f}; fewer than {FEWEST} seeds tell no more{why}"
    both = math.hypot(found.stderr, found.spread if row.stderr is None else row.stderr)
    return f"{'reproduced' if abs(difference) <= ERRORS * both else side}, {difference:+.2f} ± {both:.2f}{why}"


def hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def line(row: Row, found: Measured | None, machines: dict[str, int]) -> str:
    metric, budget = METRICS[row.metric], whole(row)
    published = "–" if row.published is None else f"{row.published:.{metric.digits}f}"
    published += f" ± {row.stderr:g}" if row.stderr is not None else ""
    steps = f"{budget.whole_epochs:,} epochs, {budget.whole_steps:,} steps"
    cells = [f"`{row.name}`", row.what, f"{published} {metric.unit}".strip(), f"{row.source}, {row.mark}"]
    if found is None:
        need = f"waits for {row.waits}" if row.waits else "needs a GPU" if row.gpu else "not measured"
        return f"| {' | '.join([*cells, '–', '–', steps, '–', need])} |"
    error = f" ± {found.stderr:.{metric.digits}f}" if len(found.values) > 1 else ""
    marks = ", ".join(str(machines.setdefault(each, len(machines) + 1)) for each in found.where)
    done = found.budget
    trained = f"{done.epochs:,} of {done.whole_epochs:,} epochs"
    trained += f" of {done.rows:,} of {done.whole_rows:,} rows" if done.rows < done.whole_rows else ""
    trained = steps if done.part > 0.995 else trained
    trained += f"; {found.samples:,} of {row.samples:,} samples" if found.samples < row.samples else ""
    spent = f"{found.seconds:,.0f} s [{marks}]"
    if done.part < 0.995 and done.steps >= PACED:  # the first steps take longer
        spent += f", whole {hours(found.seconds / done.part)}"
    cells += [f"{found.mean:.{metric.digits}f}{error}", str(len(found.values)), trained, spent, verdict(row, found)]
    return f"| {' | '.join(cells)} |"


def report(known: Sequence[Told], rows: Mapping[str, Row] = ROWS) -> str:
    """The table of all rows."""
    machines: dict[str, int] = {}
    found = {name: longest(row, known) for name, row in rows.items()}
    lines = [line(row, found[name], machines) for name, row in rows.items()]
    verdicts = [verdict(rows[name], each) for name, each in found.items() if each is not None]
    reproduced = sum(each.startswith(("reproduced", "better,")) for each in verdicts)
    whole_ones = sum(each is not None and each.budget.part > 0.995 for each in found.values())
    return "\n".join(
        [
            heading("Published numbers, and what recipes reach"),
            f"**{len(verdicts)} of {len(rows)} rows are measured, {whole_ones} of them with the whole training; "
            f"{reproduced} are reproduced or better.**",
            "",
            "A value is the mean over seeds ± its standard error, of test data. *Reproduced* is within two standard "
            "errors of the difference; where the source has no error, its value is taken for one run with the spread "
            "of ours. Of a part of the training it is a trial, no verdict. Sources: V read in a public README, page or "
            "code, S quoted by a public note, M from memory. Seconds are of the training of one seed by the clock, "
            "whatever else the machine did; behind those of a part stands the time of the whole, stretched.",
            "",
            "| row | what | published | source | ours | seeds | budget | time of a seed | verdict |",
            "|---" * 9 + "|",
            *lines,
            "",
            *(f"[{number}] {machine}\n" for machine, number in machines.items()),
        ]
    )


def chosen(given: Sequence[str]) -> list[str]:
    """The rows of these names, or whose names begin so; without names those that this machine can do."""
    if not given:
        able = torch.cuda.is_available()
        return [name for name, row in ROWS.items() if not row.waits and (able or not row.gpu)]
    for each in given:
        if not any(name.startswith(each) for name in ROWS):
            raise SystemExit(f"unknown row {each!r}; accepted: {', '.join(ROWS)}, or how they begin")
    found = [name for name in ROWS if name in given or (name.startswith(tuple(set(given) - set(ROWS))))]
    if waiting := [name for name in found if ROWS[name].waits]:
        raise SystemExit(f"{waiting[0]} waits for {ROWS[waiting[0]].waits}")
    return found


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="names of rows, or how they begin; default: all that can be done here")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--scale", type=float, help="the part of each recipe's epochs")
    budget.add_argument("--minutes", type=float, help="of the training of a seed")
    budget.add_argument("--quick", action="store_true", help="seconds a row: shows that it runs")
    budget.add_argument("--table", action="store_true", help="measure nothing: the table of what there is")
    parser.add_argument("--seeds", type=int, help="default: a row's own")
    parser.add_argument("--samples", type=int, help="importance samples, at most a row's own")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="A.B=C, such as training.device=cpu")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/published"), help="where runs go, and are found again"
    )
    parser.add_argument("--report", type=Path)
    return parser.parse_args()


def main() -> None:
    given, failed = parsed(), False
    known = recorded(given.report)
    for name in [] if given.table else chosen(given.rows):
        try:
            measure(ROWS[name], given, known)
        except ValueError as error:  # the others are measured all the same
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            failed = True
    known = gathered(given.folder, known)
    text = report(known)
    print(text)
    if given.report:
        write_atomic(given.report, text)
        write_atomic(given.report.with_suffix(".json"), json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
