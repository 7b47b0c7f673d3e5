"""What the recipes that know labels or find clusters get of MNIST's digits: test scores over seeds, and how they came.

python benchmarks/labels.py --recipes cluster-mnist --seeds 5 --jobs 2 --folder labels --report benchmarks/clusters.md

A run for each recipe and seed, as `vaekit train RECIPE` makes it, in `--folder`: one that is there is gone on with. The
seed is that of the training and of which labels are seen. Scores are those of the last epoch on the 10,000 test images:
of clusters their accuracy after the best matching of clusters to digits and their normalised mutual information with
them; of models that classify, the fraction of errors; of m1, that of a support vector machine on its codes.
cluster-wide is cluster-mnist with a wider encoder and larger changes of the images, cluster-m2 is m1-m2 on its codes.
None of them chooses an epoch or a seed by labels of the test set; but the settings of cluster-mnist, cluster-wide, adgm
and sdgm were found on MNIST, by looking at these scores. Needs MNIST, see `vaekit datasets`.

Each training is a process of its own, `--jobs` of them at a time; with OMP_NUM_THREADS=1 and a job for each core they
do not wait for each other.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machine import heading

import vaekit
from vaekit.runs.codes import error_of_codes
from vaekit.runs.folder import is_run
from vaekit.runs.run import Run, load_run

RECIPES = ("cluster-mnist", "m1", "m2", "m1-m2", "cluster-wide", "cluster-m2", "adgm", "sdgm")
STACKED = {"m1-m2": "m1", "cluster-m2": "cluster-wide"}
"""Runs on the codes of other recipes."""
VARIANTS = {
    "cluster-wide": (
        "cluster-mnist",
        (
            "model.encoder.hidden=[1000, 1000]",
            "objective.rotate=20.0",
            "objective.stretch=0.2",
            "training.batch_size=256",
        ),
    ),
    "cluster-m2": ("m1-m2", ()),
}
"""What is no recipe: the recipe that it is of, and what is set."""
SCORES = ("accuracy", "nmi", "error")
MOMENTS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""The fractions of a run at which its course is shown."""


def folder_of(folder: Path, recipe: str, seed: int) -> Path:
    return folder / f"seed-{seed}" / recipe


def trained(folder: Path, recipe: str, seed: int, sets: Sequence[str]) -> None:
    """Train a recipe, or go on with its run; before it the one whose codes it takes."""
    own, below = folder_of(folder, recipe, seed), []
    if recipe in STACKED:
        trained(folder, STACKED[recipe], seed, sets)
        below = [f"data.codes={folder_of(folder, STACKED[recipe], seed)}"]
    if is_run(own):
        vaekit.train(out=own, resume=True)
    else:
        of, own_sets = VARIANTS.get(recipe, (recipe, ()))
        options = [f"training.seed={seed}", f"data.seed={seed}", "training.device='cpu'", *below, *own_sets, *sets]
        vaekit.train(of, own, sets=options)


def course(run: Run) -> dict[str, list[float]]:
    """Each score at the moments of the run; of one that has none while training, only at the end."""
    records = [record for record in run.history() if record.split == "test"]
    found = {
        name: [records[max(0, round(moment * len(records)) - 1)].terms[name] for moment in MOMENTS]
        for name in SCORES
        if name in records[-1].terms
    }
    return found or {"error": [float("nan")] * (len(MOMENTS) - 1) + [error_of_codes(run)]}


def lines_of(recipe: str, runs: Sequence[Run]) -> list[str]:
    courses, spec = [course(run) for run in runs], runs[0].spec.training
    minutes = [sum(record.seconds for record in run.history()) / 60 for run in runs]
    lines = []
    for name in courses[0]:
        last = [each[name][-1] for each in courses]
        error = f" ± {statistics.stdev(last) / len(last) ** 0.5:.1%}" if len(last) > 1 else ""
        means = [statistics.mean(values) for values in zip(*(each[name] for each in courses), strict=True)]
        cells = [
            f"`{recipe}`",
            name,
            f"{statistics.mean(last):.1%}{error}",
            ", ".join(f"{value:.1%}" for value in last),
            ", ".join("–" if value != value else f"{value:.1%}" for value in means[:-1]),
            str(spec.epochs),
            f"{statistics.mean(minutes):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def report(recipes: Sequence[str], seeds: int, jobs: int, folder: Path, sets: Sequence[str]) -> str:
    def make(task: tuple[str, int]) -> None:
        recipe, seed = task
        given = [
            "--folder",
            str(folder),
            "--task",
            recipe,
            str(seed),
            *(part for each in sets for part in ("--set", each)),
        ]
        subprocess.run([sys.executable, __file__, *given], check=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(make, [(recipe, seed) for recipe in recipes for seed in range(seeds)]))
    moments = ", ".join(f"{moment:.0%}" for moment in MOMENTS[:-1])
    lines = [
        heading("Labels and clusters of MNIST"),
        f"Of the 10,000 test images after the last epoch: mean ± standard error over {seeds} seeds, each seed, and the "
        f"mean at {moments} of the run. Minutes are of one training, {jobs} at a time.",
        "",
        f"| recipe | score | mean | seeds | at {moments} | epochs | minutes |",
        "|---" * 7 + "|",
    ]
    for recipe in recipes:
        lines += lines_of(recipe, [load_run(folder_of(folder, recipe, seed)) for seed in range(seeds)])
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=lambda given: given.split(","), default=RECIPES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--folder", type=Path, required=True, help="where the runs are")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="A.B=C, as of vaekit train")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        trained(given.folder, given.task[0], int(given.task[1]), given.sets)
    else:
        text = report(given.recipes, given.seeds, given.jobs, given.folder, given.sets)
        print(text)
        if given.report:
            given.report.write_text(text, encoding="utf-8")
