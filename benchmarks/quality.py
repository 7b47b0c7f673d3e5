"""Which likelihood is reached in which time of training on dynamic MNIST, 784-200-200-50 beside a plain loop.

python benchmarks/quality.py --minutes 10 --cache runs/quality --report benchmarks/quality.md

Each of SETTINGS is a recipe with options; without another recipe it is 784-200-200-50, k = 1. `plain` trains the same
network with the same batches, rates and optimiser by a loop of plain PyTorch, `JAX` by a compiled scan, with `--peers
PYTHON`, that of an environment with jax and optax. A run is made as long as fits into
`--minutes` of training, by the pace of a few epochs, so that every schedule ends when the time does. On the way, at
some epochs, its weights (the averaged ones, where there are such) are scored: NLL of the first `--rows` test images,
binarised once by a seed, from `--samples` importance samples, of fewer where a network is slow. The time is that of
training alone: looks and scores stop the clock on both sides. Interrupted, it goes on; what is scored is kept in
`--cache`, and the report is made of all that is there. Needs MNIST, see `vaekit datasets`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import heading
from plain_models import Burda
from torch import Tensor

import vaekit
from vaekit.data import Preprocessing
from vaekit.data.tensors import to_device
from vaekit.runs.run import load_data
from vaekit.runs.training import Callbacks
from vaekit.schedules import Cosine, Geometric, Schedule
from vaekit.show.plots.style import LIGHT, WIDTH, new_axes, new_figure, save
from vaekit.spec.targets import resolve

RECIPE = "iwae-mnist"
TRIAL = 3
MOMENTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
"""The parts of a run after which it is scored."""
LEVELS = (100.0, 95.0, 92.0, 90.0, 89.0, 88.0, 87.5, 87.0)
"""NLLs of which it is said when they were reached."""
COSINE = "training.learning_rate={name='cosine', start=1e-3, end=1e-5}"
FAST = "training.learning_rate={name='cosine', start=3e-3, end=1e-5}"
LARGE = ("training.batch_size=128", "training.optimizer=adam")
AVERAGED = "training.ema=0.999"
IWAE = "objective={name='iwae', samples=50}"


@dataclass(frozen=True)
class Side:
    """Options of a recipe; its weights are scored by at most so many images, of so many samples each."""

    options: tuple[str, ...]
    recipe: str = RECIPE
    rows: int | None = None
    samples: int | None = None
    after: str | None = None
    """A side that is trained first, whose weights it begins with."""
    share: float = 0.0
    """The part of the time that this takes."""


def muon(rate: float) -> tuple[str, ...]:
    schedule = f"training.learning_rate={{name='cosine', start={rate:g}, end=1e-5}}"
    return ("training.batch_size=512", "training.optimizer=muon", schedule)


SETTINGS: dict[str, Side] = {
    "as published: batches of 20": Side(()),
    "batches of 128": Side((*LARGE, COSINE)),
    "128, rate 3e-3": Side((*LARGE, FAST)),
    "128, rate 3e-3, averaged": Side((*LARGE, FAST, AVERAGED)),
    "128, rate 3e-3, STL": Side((*LARGE, FAST, "objective=stl")),
    "128, rate 3e-3, bfloat16": Side((*LARGE, FAST, "training.precision=bfloat16")),
    "128, rate 3e-3, AdamW": Side((*LARGE, FAST, "training.optimizer=adamw")),
    "512, rate 1e-2, Muon": Side(muon(1e-2)),
    "512, rate 1e-2, Muon, STL": Side((*muon(1e-2), "objective=stl")),
    "512, rate 3e-3, averaged": Side((*LARGE, FAST, "training.batch_size=512", AVERAGED)),
    "DReG, k = 5: 512, rate 5e-3, Muon, after k = 1": Side(
        (*muon(5e-3), "objective={name='dreg', samples=5}"), after="512, rate 1e-2, Muon, STL", share=1 / 3
    ),
    "DReG, k = 50: 256, rate 2e-3, Muon, after k = 1 and 5": Side(
        (*muon(2e-3), "training.batch_size=256", "objective={name='dreg', samples=50}"),
        after="DReG, k = 5: 512, rate 5e-3, Muon, after k = 1",
        share=3 / 4,
    ),
    "two stochastic layers, k = 50: 128, rate 3e-3, averaged": Side((*LARGE, FAST, AVERAGED, IWAE), "iwae-2-mnist"),
    "very deep (vdvae-mnist)": Side((), "vdvae-mnist", rows=200, samples=100),
}


@dataclass(frozen=True)
class Plain:
    """The same in a plain loop: rows of a batch, Adam's epsilon, the learning rate over the run; `muon` is of Muon and
    of the gradient of STL.
    """

    batch: int
    eps: float
    rate: Schedule
    muon: bool = False


PLAIN: dict[str, Plain] = {
    "plain: batches of 20": Plain(20, 1e-4, Geometric(1e-3, 1e-4)),
    "plain: batches of 128": Plain(128, 1e-8, Cosine(1e-3, 1e-5)),
    "plain: 128, rate 3e-3": Plain(128, 1e-8, Cosine(3e-3, 1e-5)),
    "plain: 512, rate 1e-2, Muon, STL": Plain(512, 1e-8, Cosine(1e-2, 1e-5), muon=True),
}


JAX = "JAX: 512, rate 1e-2, Muon, STL"
SCRIPT = Path(__file__).parent / "peers" / "jax_burda.py"


@dataclass(frozen=True)
class Point:
    """A run on its way: `seconds` of training, and the NLL of its weights then, of `rows` images by `samples` each."""

    epoch: int
    epochs: int
    seconds: float
    nll: float
    stderr: float
    rows: int
    samples: int


class Points:
    """The points of a run in a file, a line each."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> list[Point]:
        found = {}
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else ():
            try:
                point = Point(**json.loads(line))
            except (ValueError, TypeError):  # cut off by a kill
                continue
            found[point.epoch] = point
        return sorted(found.values(), key=lambda point: point.epoch)

    def add(self, point: Point) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(point)) + "\n")

    @property
    def whole(self) -> bool:
        found = self.read()
        return bool(found) and found[-1].epoch == found[-1].epochs


def points_of(name: str, given: argparse.Namespace, length: str) -> Points:
    """Those of a side, in the cache."""
    words = "".join(letter if letter.isalnum() else "-" for letter in name)
    return Points(given.cache / length / f"seed={given.seed}" / f"{words}.jsonl")


def looked_at(epochs: int) -> set[int]:
    """The epochs after which a run of so many is scored.

    >>> sorted(looked_at(16))
    [1, 2, 4, 8, 12, 16]
    """
    return {max(1, round(part * epochs)) for part in MOMENTS}


def test_images(rows: int) -> np.ndarray:
    """The first test images (N, 1, 28, 28), binarised as `vaekit evaluate` has them."""
    spec = resolve(RECIPE)
    return to_device(load_data(spec), "test", spec.data.preprocessing).rows(np.arange(rows)).x.numpy()


# -- the two sides -----------------------------------------------------------------------------------------------------


def of_recipe(name: str, given: argparse.Namespace, points: Points, x: np.ndarray) -> None:
    """Train the recipe with the settings of that name, and note its points."""
    folder, side = points.file.with_suffix(""), SETTINGS[name]
    sets = [*side.options, f"training.seed={given.seed}", "training.device=cpu", "training.checkpoint_every=20"]
    before: dict[int, float] = {}
    if side.after:
        minutes = given.minutes * side.share
        first = points_of(side.after, given, f"minutes={minutes:g}")
        if not first.whole:
            of_recipe(side.after, argparse.Namespace(**vars(given) | {"minutes": minutes, "epochs": None}), first, x)
        before[0] = first.read()[-1].seconds
        sets.append(f"training.start={first.file.with_suffix('')}")
    x, samples = x[: side.rows], min(side.samples or given.samples, given.samples)

    def watch(run: vaekit.Run, split: str) -> Callable[[vaekit.VAE, int], None]:
        for record in run.history() if (folder / "metrics.jsonl").exists() else ():
            if record.split == "train":
                before[record.epoch] = record.seconds

        def look(model: vaekit.VAE, epoch: int) -> None:
            if epoch in looked_at(epochs):
                scores[epoch] = vaekit.evaluate(model, x, samples)

        return look

    def note(records: Sequence[Any]) -> None:
        (train,) = (each for each in records if each.split == "train")
        before[train.epoch] = train.seconds
        if (found := scores.pop(train.epoch, None)) is not None:
            spent = sum(seconds for epoch, seconds in before.items() if epoch <= train.epoch)
            points.add(Point(train.epoch, epochs, spent, found.nll, found.nll_stderr, len(x), samples))
            print(f"{name}: {spent:.0f} s, {found.nll:.2f}", flush=True)

    scores: dict[int, vaekit.Evaluation] = {}
    callbacks = Callbacks(watch=watch, on_epoch=note)
    if (folder / "spec.json").exists():
        epochs = vaekit.load_run(folder).spec.training.epochs
        vaekit.train(out=folder, resume=True, callbacks=callbacks)
        return
    epochs = given.epochs or long_enough(side.recipe, sets, given.minutes - before.get(0, 0.0) / 60)
    vaekit.train(side.recipe, folder, sets=sets, epochs=epochs, callbacks=callbacks)


def long_enough(recipe: str, sets: Sequence[str], minutes: float) -> int:
    """The epochs that fit into so many minutes, by the pace of a few."""
    with tempfile.TemporaryDirectory() as temporary:
        trial = vaekit.train(recipe, Path(temporary) / "run", sets=sets, epochs=TRIAL)
        each = [record.seconds for record in trial.history() if record.split == "train"]
    return max(len(MOMENTS), math.floor(60 * minutes / statistics.median(each)))


def of_plain(name: str, given: argparse.Namespace, points: Points, x: np.ndarray) -> None:
    """Train the plain network, and note its points; what was interrupted begins anew."""
    points.file.unlink(missing_ok=True)
    dataset = load_data(resolve(RECIPE))
    grey = to_device(dataset, "train", Preprocessing("grey")).batch(slice(None)).x.reshape(-1, 784)
    test = torch.from_numpy(x).reshape(-1, 784)
    pace = statistics.median(epochs_of(PLAIN[name], grey, given.seed, TRIAL, TRIAL, lambda epoch, model, spent: None))
    epochs = max(len(MOMENTS), math.floor(60 * given.minutes / pace))

    def look(epoch: int, model: Burda, spent: float) -> None:
        if epoch in looked_at(epochs):
            nll = model.nll(test, given.samples).double()
            stderr = float(nll.std() / len(nll) ** 0.5)
            points.add(Point(epoch, epochs, spent, float(nll.mean()), stderr, len(test), given.samples))
            print(f"{name}: {spent:.0f} s, {nll.mean():.2f}", flush=True)

    epochs_of(PLAIN[name], grey, given.seed, epochs, epochs, look)


def of_jax(name: str, given: argparse.Namespace, points: Points, x: np.ndarray) -> None:
    """Have JAX train the network, and note its points."""
    points.file.unlink(missing_ok=True)
    dataset = load_data(resolve(RECIPE))
    grey = to_device(dataset, "train", Preprocessing("grey")).batch(slice(None)).x.reshape(-1, 784)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "mnist.npz"
        np.savez(data, grey=grey.numpy(), test=x.reshape(-1, 784))
        command = [given.peers, str(SCRIPT), "--data", str(data), "--seed", str(given.seed)]
        paced = subprocess.run(
            [*command, "--epochs", "1000", "--pace", "4"], check=True, capture_output=True, text=True
        )
        pace = statistics.median(json.loads(paced.stdout)[1:])  # the first compiles
        epochs = given.epochs or max(len(MOMENTS), math.floor(60 * given.minutes / pace))
        at = [str(each) for each in sorted(looked_at(epochs))]
        command += ["--epochs", str(epochs), "--samples", str(given.samples), "--at", *at]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                points.add(point := Point(**json.loads(line)))
                print(f"{name}: {point.seconds:.0f} s, {point.nll:.2f}", flush=True)


def epochs_of(
    plain: Plain, grey: Tensor, seed: int, take: int, epochs: int, look: Callable[[int, Burda, float], None]
) -> list[float]:
    """Seconds of each of the first epochs of a training of so many."""
    torch.manual_seed(seed)
    model = Burda()
    rate = plain.rate(0.0)
    if plain.muon:
        matrices, others = ([p for p in model.parameters() if (p.dim() == 2) is each] for each in (True, False))
        steps_by: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.Adam(others, lr=rate, eps=plain.eps, fused=True),
        ]
    else:
        steps_by = [torch.optim.Adam(model.parameters(), lr=rate, eps=plain.eps, fused=True)]
    steps = epochs * math.ceil(len(grey) / plain.batch)
    seconds: list[float] = []
    step = 0
    for epoch in range(1, take + 1):
        started = time.perf_counter()
        for index in torch.randperm(len(grey)).split(plain.batch):
            for group in (group for each in steps_by for group in each.param_groups):
                group["lr"] = plain.rate(step / steps)
            model.zero_grad()
            (model.loss(torch.bernoulli(grey[index]), stl=plain.muon) / len(index)).backward()
            for each in steps_by:
                each.step()
            step += 1
        seconds.append(time.perf_counter() - started)
        look(epoch, model, sum(seconds))
    return seconds


SIDES: dict[str, Callable[[str, argparse.Namespace, Points, np.ndarray], None]] = {
    **dict.fromkeys(SETTINGS, of_recipe),
    **dict.fromkeys(PLAIN, of_plain),
    JAX: of_jax,
}


# -- the report --------------------------------------------------------------------------------------------------------


def reached(points: Sequence[Point], level: float) -> str:
    """When an NLL was reached, by a straight line between two points in the logarithm of the time."""
    for before, after in zip([None, *points], points, strict=False):
        if after.nll <= level:
            if before is None:
                return f"< {after.seconds / 60:.1f}"
            part = (before.nll - level) / (before.nll - after.nll)
            return f"{math.exp(math.log(before.seconds) * (1 - part) + math.log(after.seconds) * part) / 60:.1f}"
    return "–"


def drawn(found: dict[str, list[Point]], path: Path) -> None:
    figure = new_figure(WIDTH, 4.2, LIGHT)
    axes = new_axes(figure, (1, 1, 1), LIGHT, "NLL, nats")
    colours = iter(LIGHT.colours * 2)
    for name, points in found.items():
        style: dict[str, Any] = (
            {"color": LIGHT.muted, "ls": "--" if name.startswith("plain") else ":"}
            if not name.startswith(tuple(SETTINGS))
            else {"color": next(colours)}
        )
        axes.plot(
            [each.seconds / 60 for each in points], [each.nll for each in points], "o-", ms=3, label=name, **style
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("minutes of training")
    axes.legend(fontsize=7, frameon=False, labelcolor=LIGHT.text)
    save(figure, path, "svg")


def report(found: dict[str, list[Point]]) -> str:
    best = {name: points[-1] for name, points in found.items()}
    lines = [
        heading("Time to quality on dynamic MNIST"),
        "NLL of the first test images from importance samples, after each part of a run that was made as long as its "
        "time; ± is the standard error over images, the same in lines of as many, and one seed is one. The clock runs "
        "for training alone. Where nothing else is said the network is 784-200-200-50 and k = 1: published, after "
        "3,280 epochs in batches of 20, 86.76 (Burda et al. 2016), 86.35 (a reproduction), of all test images; of two "
        "stochastic layers and k = 50, 82.90. Few samples give an NLL that is too high.",
        "",
        "| side | images, samples | epochs | minutes | NLL at the end | "
        f"{' | '.join(f'at {part:.0%}' for part in MOMENTS[:-1])} |",
        "|---" * (5 + len(MOMENTS) - 1) + "|",
    ]
    for name, points in found.items():
        end = best[name]
        at = {round(part * end.epochs): part for part in MOMENTS}
        nlls = {at.get(each.epoch): f"{each.nll:.2f}" for each in points}
        cells = [
            name,
            f"{end.rows:,}, {end.samples:,}",
            f"{end.epoch:,} of {end.epochs:,}",
            f"{end.seconds / 60:.1f}",
            f"{end.nll:.2f} ± {end.stderr:.2f}",
        ]
        lines.append(f"| {' | '.join([*cells, *(nlls.get(part, '–') for part in MOMENTS[:-1])])} |")
    lines += ["", "Minutes until an NLL is reached, with the schedule of the whole run:", ""]
    lines += [f"| side | {' | '.join(f'{level:g}' for level in LEVELS)} |", "|---" * (1 + len(LEVELS)) + "|"]
    for name, points in found.items():
        lines.append(f"| {' | '.join([name, *(reached(points, level) for level in LEVELS)])} |")
    return "\n".join([*lines, ""])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of training, each side")
    parser.add_argument(
        "--epochs", type=int, help="in place of --minutes, where the pace is known and an epoch is long"
    )
    parser.add_argument("--only", action="append", choices=SIDES, help="a side; repeatable")
    parser.add_argument("--peers", help="a Python that has jax and optax")
    parser.add_argument("--rows", type=int, default=1000, help="test images")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/quality"), help="where runs and scores are kept")
    parser.add_argument("--report", type=Path)
    return parser.parse_args()


def main() -> None:
    given = parsed()
    x, files = test_images(given.rows), {}
    length = f"epochs={given.epochs}" if given.epochs else f"minutes={given.minutes:g}"
    for name in SIDES:
        points = points_of(name, given, length)
        asked = name in given.only if given.only else name != JAX or given.peers
        if asked and not points.whole:
            SIDES[name](name, given, points, x)
        files |= dict.fromkeys(sorted(given.cache.glob(f"*/seed=*/{points.file.name}")), name)
    several = [name for name, times in Counter(files.values()).items() if times > 1]
    found = {
        f"{name}; {file.parents[1].name}, {file.parent.name}" if name in several else name: Points(file).read()
        for file, name in files.items()
    }
    text = report(found)
    if given.report and found:
        picture = given.report.with_suffix(".svg")
        drawn(found, picture)
        given.report.write_text(f"{text}\n![NLL against time]({picture.name})\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
