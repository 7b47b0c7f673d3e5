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
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from machine import where
from published_budgets import budget_of
from published_metrics import METRICS
from published_records import NUMBERS, Told, gathered, identity, recorded, same
from published_report import report
from published_rows import ROWS, Row

import vaekit
from vaekit.system.disk import write_atomic

QUICK_SAMPLES = 2


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
            runs = {name: run_of(ROWS[name], seed, given, budget.label) for name in row.below}
            own = [each.format(seed=seed, **runs) for each in row.own]
            out = run_of(row, seed, given, budget.label).parent
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


def run_of(row: Row, seed: int, given: argparse.Namespace, label: str) -> Path:
    """The folder of the run of a seed, which a row with settings of its own for each has in a sweep of its own."""
    runs = f"runs-{seed}" if row.own else "runs"
    return given.folder.resolve() / row.name / label / runs / f"seed={seed}"


def said(row: Row) -> Callable[[Any], None]:
    return lambda trial: print(f"{row.name}, seed {trial.seed}: {trial.state}", file=sys.stderr, flush=True)


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
