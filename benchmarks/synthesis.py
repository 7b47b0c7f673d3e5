"""Made-up rows of the census table Adult: how good, how private, and how long they took, beside TVAE's and CTGAN's.

python benchmarks/synthesis.py --data adult.data --folder synthesis --report benchmarks/synthesis.md
    [--peers PYTHON --peer-epochs tvae=300,ctgan=100] [--set KEY=VALUE] [--seeds 1] [--quick]

vaekit trains the recipe `table` on Adult (UCI, adult.data, with or without a line of names) and makes as many rows as
it was trained on. The peers, TVAE and CTGAN of the package ctgan (Xu et al. 2019) with its defaults, are run by
`--peers`, a Python that has it (python -m venv V && V/bin/python -m pip install ctgan torch==2.13.0), on the same
training rows; fewer epochs than their 300 are said, and their numbers are brought between the least and the greatest of
the training rows, as SDV, which wraps them, has it. All are scored alike beside the same training and held-out rows:
SDMetrics' quality and diagnostic, the F1 (mean over classes) of telling `income` on held-out rows by trees trained on
the made-up rows, and how near they lie to training rows (`vaekit synthesize --metrics` says what each is). What is in
`--folder` is not made again, scores neither; the seconds are those of when it was. The processor's seconds are those of
all threads; the clock's say little on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from machine import heading

import vaekit
from vaekit.interop.sdmetrics import quality
from vaekit.runs.folder import is_run
from vaekit.runs.judging import compared, judge

HERE = Path(__file__).parent
NAMES = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"]
NAMES += ["race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"]
TARGET = "income"
PEERS = {"tvae": "TVAE", "ctgan": "CTGAN"}
QUANTITIES = {
    "quality": "overall",
    "column shapes": "column_shapes",
    "pair trends": "pair_trends",
    "validity": "validity",
    "F1": "f1",
    "AUROC": "auroc",
    "nearer": "nearer",
    "seen": "seen",
    "by chance": "seen_by_chance",
    "copies": "copies",
}


def adult(path: Path) -> pd.DataFrame:
    """The table, its columns named, cells written ? missing."""
    frame = pd.read_csv(path, skipinitialspace=True, na_values="?", header=None, names=NAMES, low_memory=False)
    if frame.iloc[0].astype(str).tolist() == NAMES:
        frame = pd.read_csv(path, skipinitialspace=True, na_values="?")
    return frame


def kept(path: Path, make: Callable[[], dict]) -> dict:
    """What is in a JSON file, or else what is made and then in it."""
    if not path.exists():
        path.write_text(json.dumps(make()), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def trained(folder: Path, frame: pd.DataFrame, seed: int, sets: list[str]) -> tuple[vaekit.Run, dict]:
    """A run of the recipe `table` and what it took to train it and to make as many rows as it was trained on."""
    run, csv = folder / f"vaekit-{seed}", folder / "adult.csv"
    if not csv.exists():
        frame.to_csv(csv, index=False)

    def make() -> dict:
        start, worked = time.perf_counter(), time.process_time()
        given = {} if is_run(run) else {"sets": [*sets, f"training.seed={seed}"]}
        made = vaekit.load_run(run) if is_run(run) else vaekit.train("table", run, data=csv, **given)
        rows = made.synthesize(len(made.data("train")), seed=seed).table
        rows.to_csv(folder / f"vaekit-{seed}.csv", index=False)
        return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - worked}

    spent = kept(folder / f"vaekit-{seed}.json", make)
    return vaekit.load_run(run), spent


def by_peer(
    folder: Path, run: vaekit.Run, frame: pd.DataFrame, which: str, python: str, epochs: int, seed: int
) -> dict:
    """What a peer took to be trained on the rows of `run` and to make as many."""
    rows = frame.iloc[run.dataset.splits["train"].origin.astype(int)]
    rows.to_csv(folder / f"train-{seed}.csv", index=False)
    discrete = ",".join(each.name for each in run.schema.table if each.categories)
    given = {"data": folder / f"train-{seed}.csv", "out": folder / f"{which}-{seed}.csv", "discrete": discrete}
    given |= {"epochs": epochs, "rows": len(rows), "seed": seed}
    options = [part for name, value in given.items() for part in (f"--{name}", str(value))]

    def make() -> dict:
        command = [python, str(HERE / "peers" / "ctgan_tables.py"), which, *options]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return kept(folder / f"{which}-{seed}.json", make)


def scored(run: vaekit.Run, rows: pd.DataFrame, seed: int) -> dict[str, float]:
    """What is said of rows."""
    each = compared(run, rows)
    judged, report = judge(run, each, TARGET, seed=seed), quality(run, each, seed=seed)
    values = vars(report) | vars(judged.by_made) | vars(judged.nearness)
    return {name: values[key] for name, key in QUANTITIES.items()} | {
        "least alike": [(*names, round(score, 3)) for *names, score in (*report.shapes[:3], *report.trends[:3])]
    }


def within(rows: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Rows whose numbers lie between the least and the greatest of the training rows'."""
    numbers = train.select_dtypes("number").columns
    return rows.assign(**{name: rows[name].clip(train[name].min(), train[name].max()) for name in numbers})


def seed_rows(given: argparse.Namespace, frame: pd.DataFrame, seed: int) -> list[dict]:
    """The scores of all sides of one seed."""
    sets = given.sets + (["training.steps=200"] if given.quick else [])
    run, spent = trained(given.folder, frame, seed, sets)
    splits = {name: frame.iloc[split.origin.astype(int)] for name, split in run.dataset.splits.items()}
    made = pd.read_csv(given.folder / f"vaekit-{seed}.csv")
    sides = {"vaekit": (made, spent)}
    for which, epochs in given.peer_epochs.items() if given.peers else ():
        spent = by_peer(given.folder, run, frame, which, given.peers, epochs, seed)
        rows = within(pd.read_csv(given.folder / f"{which}-{seed}.csv"), splits["train"])
        sides[f"{PEERS[which]}, {spent['epochs']} epochs"] = (rows, spent)
    sides |= {"held-out rows": (splits["test"], {}), "training rows": (splits["train"], {})}
    found = []
    for name, (rows, spent) in sides.items():
        path = given.folder / f"scores of {name}-{seed}.json"
        scores = kept(path, lambda rows=rows: scored(run, rows, seed))
        if name == "held-out rows":  # on which they would be tested themselves
            scores = {key: value for key, value in scores.items() if key not in ("F1", "AUROC", "seen", "by chance")}
        found.append({"by": name, "seed": seed, "rows": len(rows), **scores, **spent})
        print(json.dumps(found[-1]), flush=True)
    return found


def written(rows: list[dict]) -> str:
    """The report."""
    heads = ["by", "rows", *QUANTITIES, "seconds", "cpu"]
    lines = [heading("Made-up rows"), (__doc__ or "").split("\n\n")[2].replace("\n", " "), ""]
    lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for by in dict.fromkeys(row["by"] for row in rows):
        own = [row for row in rows if row["by"] == by]
        lines.append(f"| {by} | {own[0]['rows']:,} | {' | '.join(_mean(own, name) for name in heads[2:])} |")
    lines += ["", "Least alike, of seed 0:", ""]
    for row in rows:
        if row["seed"] == 0 and row["by"] not in ("held-out rows", "training rows"):
            said = (f"{' and '.join(names)} {score}" for *names, score in row["least alike"])
            lines.append(f"- {row['by']}: {', '.join(said)}")
    return "\n".join([*lines, ""])


def _mean(rows: list[dict], name: str) -> str:
    values = np.array([row[name] for row in rows if name in row])
    if not len(values):
        return ""
    digits = 0 if name in ("seconds", "cpu") else 4
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{error}"


def _epochs(text: str) -> dict[str, int]:
    found = {which: int(number) for which, _, number in (each.partition("=") for each in text.split(","))}
    if strange := set(found) - set(PEERS):
        raise argparse.ArgumentTypeError(f"{min(strange)!r} is none of {', '.join(PEERS)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="adult.data")
    parser.add_argument("--folder", type=Path, required=True, help="where runs and rows are kept")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--peers", default="", help="a Python that has ctgan")
    parser.add_argument("--peer-epochs", type=_epochs, default="tvae=300,ctgan=300", metavar="NAME=N,…")
    parser.add_argument("--set", dest="sets", action="append", default=[], help="of vaekit's recipe; repeatable")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="so small that the numbers mean nothing")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    frame = adult(given.data)
    if given.quick:
        frame = frame.iloc[:2000]
    rows = [row for seed in range(given.seeds) for row in seed_rows(given, frame, seed)]
    if given.report is not None:
        given.report.write_text(written(rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
