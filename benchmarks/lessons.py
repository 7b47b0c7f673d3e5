"""The recipes of the lessons against plain implementations of the same: the test loss that each ends with.

python benchmarks/lessons.py --seeds 3 --jobs 2 --cache lessons.jsonl --report benchmarks/lessons.md

The lessons are four public notebooks that teach variational autoencoders: L1 (in MXNet; statically binarised MNIST, a
diagonal and a full-rank posterior), L2a (the example of PyTorch; grey MNIST, ReLU and Adam or sigmoid and Adagrad), L2b
(in Pyro; softplus), L3 (in Lasagne; ELU), L4 (in PyTorch; conditional, beta and plain). `plain_lessons.py` has them
without vaekit. Both sides see the same data, treated alike, for the same epochs; the number is the lesson's own loss on
the test data, nats per image, the mean over ten draws of z for each: the negative ELBO, with the KL times beta where
the lesson weighs it. Needs MNIST and binarised MNIST, see `vaekit datasets`.

Each training is a process of its own, `--jobs` of them at a time; with OMP_NUM_THREADS=1 and a job for each core they
do not wait for each other. Every result is a line of `--cache`, so that an interrupted benchmark goes on where it was;
delete the file to measure anew. Equal is within two standard errors of the difference; of three seeds each, these are
so rough that one tie in seventeen is called worse by chance, and as many better.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from machine import heading
from plain_lessons import PIXELS, SETTINGS, Rows, test_loss, train

import vaekit
from vaekit.data.tensors import to_device
from vaekit.runs.run import load_data
from vaekit.spec.targets import resolve

PASSES = 10
SIDES = ("plain", "vaekit")


@dataclass(frozen=True)
class Lesson:
    """The recipe of a lesson, what is changed in it, and the weight of the KL in its loss."""

    recipe: str
    beta: float = 1.0
    sets: tuple[str, ...] = ()


LESSONS: dict[str, Lesson] = {
    "L1-diagonal": Lesson("binary-mnist-diagonal"),
    "L1-full-rank": Lesson("binary-mnist-full-rank"),
    "L2a": Lesson("grey-mnist"),
    "L2a-sigmoid-adagrad": Lesson("grey-mnist-sigmoid-adagrad"),
    "L2b": Lesson("softplus-mnist"),
    "L3": Lesson("elu-mnist"),
    "L4-conditional": Lesson("conditional-mnist", beta=10.0),
    "L4-beta": Lesson("beta-mnist", beta=10.0),
    "L4-plain": Lesson("beta-mnist", sets=("objective.beta=1.0",)),
}


@dataclass(frozen=True)
class Task:
    """One training."""

    lesson: str
    side: str
    seed: int
    epochs: int


@dataclass(frozen=True)
class Result:
    """What came of it: the test loss, nats per image."""

    loss: float
    seconds: float
    parameters: int


def plain(task: Task) -> Result:
    """Train the plain implementation."""
    spec = resolve(LESSONS[task.lesson].recipe)
    dataset = load_data(spec)
    rows = {}
    for split in ("train", "test"):
        batch = to_device(dataset, split, spec.data.preprocessing).batch(slice(None))
        x, y = batch.x, batch.y
        rows[split] = Rows(x.reshape(-1, PIXELS), y)
    start = time.perf_counter()
    model = train(SETTINGS[task.lesson], rows["train"], task.epochs, task.seed)
    seconds = time.perf_counter() - start
    return Result(test_loss(model, rows["test"], PASSES), seconds, sum(p.numel() for p in model.parameters()))


def ours(task: Task) -> Result:
    """Train the recipe."""
    lesson = LESSONS[task.lesson]
    sets = [*lesson.sets, f"training.seed={task.seed}", "training.device='cpu'"]
    with tempfile.TemporaryDirectory() as folder:
        run = vaekit.train(lesson.recipe, Path(folder) / "run", epochs=task.epochs, sets=sets)
        seconds = sum(record.seconds for record in run.history() if record.split == "train")
        scores = vaekit.evaluate(run.model, run.data("test"), PASSES, seed=task.seed)
    loss = lesson.beta * scores.kl - scores.reconstruction
    return Result(loss, seconds, sum(p.numel() for p in run.model.parameters()))


def measure(task: Task) -> Result:
    """A task in a process of its own."""
    command = [sys.executable, __file__, "--task", json.dumps(asdict(task))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def cached(path: Path | None) -> dict[Task, Result]:
    """The results in a cache; a line that was cut off by a kill is left out."""
    results = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path and path.exists() else ():
        with suppress(json.JSONDecodeError):
            values = json.loads(line)
            results[Task(**values["task"])] = Result(**values["result"])
    return results


def measured(tasks: Sequence[Task], jobs: int, cache: Path | None) -> dict[Task, Result]:
    """The results of all tasks, those that the cache lacks made now."""
    results = cached(cache)
    missing = [task for task in tasks if task not in results]
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(measure, task): task for task in missing}
        try:
            for future in as_completed(running):
                task, result = running[future], future.result()
                results[task] = result
                what = f"{task.lesson} {task.side} seed {task.seed}"
                print(f"{what}: {result.loss:.3f}, {result.seconds:.0f} s", flush=True)
                if cache:
                    with cache.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"task": asdict(task), "result": asdict(result)}) + "\n")
        finally:
            pool.shutdown(cancel_futures=True)
    return results


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error, NaN of a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), error


def verdict(difference: float, error: float) -> str:
    """vaekit's loss against the plain one's, in words; two standard errors are the line."""
    if math.isnan(error):
        return "one seed cannot tell"
    return "equal" if abs(difference) <= 2 * error else "better" if difference < 0 else "worse"


def row(name: str, epochs: int, results: dict[str, list[Result]]) -> str:
    """A lesson's line of the table; `results` of each side."""
    (plain_loss, plain_error), (loss, error) = (spread([r.loss for r in results[side]]) for side in SIDES)
    difference, both = loss - plain_loss, math.hypot(plain_error, error)
    seconds = [statistics.median(r.seconds for r in results[side]) for side in SIDES]
    sizes = dict.fromkeys(f"{results[side][0].parameters:,}" for side in SIDES)
    own = SETTINGS[name].epochs
    cells = [
        name,
        f"`{LESSONS[name].recipe}`",
        str(own) if epochs == own else f"{epochs} of {own}",
        f"{plain_loss:.2f} ± {plain_error:.2f}",
        f"{loss:.2f} ± {error:.2f}",
        f"{difference:+.2f} ± {both:.2f}",
        verdict(difference, both),
        f"{seconds[0]:.0f} / {seconds[1]:.0f}",
        " / ".join(sizes),
    ]
    return "| " + " | ".join(cells) + " |"


def report(names: Sequence[str], seeds: int, epochs: Mapping[str, int], jobs: int, cache: Path | None) -> str:
    def tasks(name: str, side: str) -> list[Task]:
        return [Task(name, side, seed, epochs_of(name, epochs)) for seed in range(seeds)]

    results = measured([task for name in names for side in SIDES for task in tasks(name, side)], jobs, cache)
    lines = [
        heading("The lessons: recipes against plain implementations"),
        f"Test loss, nats per image: mean ± standard error over {seeds} seeds.",
        "",
        "Equal means within two standard errors of the difference. Seconds are of training, plain / vaekit, "
        f"{jobs} at a time, beside whatever else the machine did: what is compared here is the loss.",
        "",
        "| lesson | recipe | epochs | plain | vaekit | vaekit - plain | vaekit is | seconds | parameters |",
        "|---" * 9 + "|",
    ]
    rows = [
        row(name, epochs_of(name, epochs), {side: [results[task] for task in tasks(name, side)] for side in SIDES})
        for name in names
    ]
    return "\n".join([*lines, *rows, ""])


def epochs_of(name: str, epochs: Mapping[str, int]) -> int:
    return epochs.get(name, SETTINGS[name].epochs)


def fewer(given: str) -> dict[str, int]:
    """The epochs of lessons, NAME=N separated by commas."""
    pairs = [each.partition("=")[::2] for each in given.split(",")]
    for name, number in pairs:
        if name not in LESSONS or not number.isdigit() or int(number) < 1:
            raise argparse.ArgumentTypeError(f"{name}={number}; accepted: NAME=N, N epochs of {', '.join(LESSONS)}")
    return {name: int(number) for name, number in pairs}


def chosen(given: str) -> list[str]:
    """The lessons of the names given, separated by commas; a name of none stands for all that begin with it."""
    beginnings = tuple(each for each in given.split(",") if each not in LESSONS)
    for each in beginnings:
        if not each or not any(name.startswith(each) for name in LESSONS):
            raise argparse.ArgumentTypeError(f"unknown {each!r}; accepted: {', '.join(LESSONS)}, or how they begin")
    return [name for name in LESSONS if name in given.split(",") or name.startswith(beginnings)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lessons", type=chosen, default=list(LESSONS), help="such as L1,L3; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=fewer, default={}, help="such as L1-full-rank=5; default: as many as each has")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        task = Task(**json.loads(given.task))
        print(json.dumps(asdict({"plain": plain, "vaekit": ours}[task.side](task))))
    else:
        text = report(given.lessons, given.seeds, given.epochs, given.jobs, given.cache)
        print(text)
        if given.report:
            given.report.write_text(text, encoding="utf-8")
