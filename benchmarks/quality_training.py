"""Trains what `quality.py` compares, and scores its weights on the way."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_models import Burda
from quality_points import MOMENTS, Point, Points, looked_at, points_of
from quality_settings import JAX, PLAIN, RECIPE, SETTINGS, Plain
from torch import Tensor

import vaekit
from vaekit.data import Preprocessing
from vaekit.data.tensors import to_device
from vaekit.runs.keeping import Callbacks
from vaekit.runs.run import load_data
from vaekit.spec.targets import resolve

TRIAL = 3
"""Epochs that tell the pace of a training."""
SCRIPT = Path(__file__).parent / "peers" / "jax_burda.py"


def test_images(rows: int) -> np.ndarray:
    """The first test images (N, 1, 28, 28), binarised as `vaekit evaluate` has them."""
    spec = resolve(RECIPE)
    return to_device(load_data(spec), "test", spec.data.preprocessing).rows(np.arange(rows)).x.numpy()


def grey_images() -> Tensor:
    """The training images (N, 784), from 0 to 1."""
    images = to_device(load_data(resolve(RECIPE)), "train", Preprocessing("grey"))
    return images.batch(slice(None)).x.reshape(-1, 784)


def fitting(minutes: float, pace: float) -> int:
    """The epochs of so many seconds each that fit into so many minutes; enough for all moments."""
    return max(len(MOMENTS), math.floor(60 * minutes / pace))


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
    return fitting(minutes, statistics.median(each))


def of_plain(name: str, given: argparse.Namespace, points: Points, x: np.ndarray) -> None:
    """Train the plain network, and note its points; what was interrupted begins anew."""
    points.file.unlink(missing_ok=True)
    grey = grey_images()
    test = torch.from_numpy(x).reshape(-1, 784)
    pace = statistics.median(epochs_of(PLAIN[name], grey, given.seed, TRIAL, TRIAL, lambda epoch, model, spent: None))
    epochs = given.epochs or fitting(given.minutes, pace)

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
    grey = grey_images()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "mnist.npz"
        np.savez(data, grey=grey.numpy(), test=x.reshape(-1, 784))
        command = [given.peers, str(SCRIPT), "--data", str(data), "--seed", str(given.seed)]
        paced = subprocess.run(
            [*command, "--epochs", "1000", "--pace", "4"], check=True, capture_output=True, text=True
        )
        pace = statistics.median(json.loads(paced.stdout)[1:])  # the first compiles
        epochs = given.epochs or fitting(given.minutes, pace)
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
