"""The programs on vaekit's side of the speed benchmark, and the hand-written models that stand against its own.

Each is run by bench.py in a process of its own and ends with one line of JSON. `train`: a recipe, by vaekit. `plain`:
the hand-written model of a pair, on the same data treated alike, with the same batches, rate and epochs. `torch`:
nothing but the import. `nll`: the importance-weighted likelihood of a run. `stream`: rows per second of a training that
is stopped after so many steps.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from measured import resident, tell
from torch import nn

BATCH_SIZE = 128
"""That of the grey-mnist recipe."""

NETWORK = '{name="resnet", channels=[16, 32, 64], blocks=1, groups=4}'
RESIDUAL = (f"model.encoder={NETWORK}", f"model.decoder={NETWORK}", "model.latents.z.size=64", "training.batch_size=32")
"""What makes grey-mnist a residual network of 3×32×32 images."""


@dataclass(frozen=True)
class Pair:
    """A recipe, what is changed in it, and who writes the same model by hand."""

    recipe: str
    model: Callable[[], nn.Module]
    sets: tuple[str, ...] = ()
    data: str | None = None


def pairs() -> dict[str, Pair]:
    """The hand-written models by name."""
    from plain_lessons import CLASSES, FullRankBinaryMNIST, GreyMNIST
    from plain_models import M2, Convolutional, Gumbel, Importance, ResNet, Vamp

    prior = 'model.latents.z.prior={name="vamp", components=100}'
    relaxed = 'model.latents.c.posterior={name="relaxed-categorical", temperature=0.67}'
    return {
        "plain": Pair("grey-mnist", GreyMNIST),
        "conditional": Pair("conditional-mnist", partial(GreyMNIST, beta=10.0, classes=CLASSES)),
        "iwae": Pair("grey-mnist", Importance, ("objective.name=iwae", "objective.samples=8")),
        "full-rank": Pair("binary-mnist-full-rank", FullRankBinaryMNIST, ("data.validation=0",), "mnist"),
        "vamp": Pair("grey-mnist", Vamp, (prior,)),
        "categorical": Pair("gumbel-mnist", Gumbel, (relaxed, "model.latents.z.size=20")),
        "m2": Pair("m2", M2, ("data.binarize=static",)),
        "conv": Pair("grey-mnist", Convolutional, ('model.encoder={name="conv"}', 'model.decoder={name="conv"}')),
        "resnet": Pair("grey-mnist", ResNet, RESIDUAL),
    }


def train(recipe: str, data: str | None, sets: Sequence[str], epochs: int, seed: int) -> None:
    """Train by vaekit: seconds of each training epoch, the training loss of the last and the test loss after it."""
    import vaekit

    sets = [*sets, f"training.seed={seed}", "training.device='cpu'"]
    with tempfile.TemporaryDirectory() as folder:
        run = vaekit.train(recipe, Path(folder) / "run", data=data, epochs=epochs, sets=sets)
        history = run.history()
    losses = {record.split: record.terms["loss"] for record in history}
    seconds = [record.seconds for record in history if record.split == "train"]
    tell(
        seconds=seconds,
        all=[sum(seconds)],
        loss=[losses["train"]],
        test=[losses.get("test", float("nan"))],
        parameters=[sum(p.numel() for p in run.model.parameters())],
    )


def plain(pair: Pair, data: str | None, sets: Sequence[str], epochs: int, seed: int, compiled: bool) -> None:
    """Train the hand-written model; the same numbers, and what part of its time goes into products of matrices."""
    from plain_lessons import Rows
    from plain_models import FewLabels, products_share
    from plain_models import train as train_plainly

    from vaekit.data.tensors import to_device
    from vaekit.runs.run import load_data
    from vaekit.spec.targets import resolve

    spec = resolve(pair.recipe, [*pair.sets, *sets], data=data or pair.data)
    options = spec.training
    batch = to_device(load_data(spec), "train", spec.data.preprocessing).batch(slice(None))
    x, y = batch.x, batch.y
    rows = Rows(x.flatten(1), y)
    if spec.data.labels:
        rows = FewLabels(rows.x, rows.y, spec.data.labels, options.labelled)
    torch.manual_seed(seed)
    model = pair.model()
    seconds, losses = train_plainly(model, rows, options.batch_size, options.learning_rate, epochs, compiled)
    tell(
        seconds=seconds,
        all=[sum(seconds)],
        loss=losses[-1:],
        parameters=[sum(p.numel() for p in model.parameters())],
        products=[100 * products_share(model, rows, options.batch_size)],
    )


def nll(folder: Path, samples: int, images: int, few: int) -> None:
    """Score the first `images` of the test data, and untimed the first `few` alone."""
    import vaekit

    run = vaekit.load_run(folder)
    data = run.data("test")
    first, fewer = (replace(data, x=data.x[:n], y=None, origin=None) for n in (images, few))
    vaekit.evaluate(run.model, fewer, 10)
    start = time.perf_counter()
    vaekit.evaluate(run.model, first, samples)
    seconds = time.perf_counter() - start
    tell(
        seconds=[seconds],
        each=[1e6 * seconds / (len(first) * samples)],
        nll=[vaekit.evaluate(run.model, fewer, samples).nll],
    )


class _EnoughError(Exception):
    """So many steps have been made."""


def stream(data: str, steps: int, warm_up: int) -> None:
    """Train the grey-mnist recipe on the rows of a file until `steps` are done.

    Rows per second are those from the beginning of each epoch, or from its first report after the first `warm_up`
    steps, to its last report. Of the memory, what is not the file's own pages, which the system lends and takes back,
    is looked at twenty times a second. "ready" is the seconds until the first step.
    """
    import vaekit
    from vaekit.training.records import Progress

    reports: list[tuple[int, int, float]] = []
    ready: list[float] = []
    own, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            own[0] = max(own[0], resident("RssAnon") or 0.0)

    def note(progress: Progress) -> None:
        now, before = time.perf_counter(), progress.epoch * progress.steps
        if not reports or reports[-1][0] != progress.epoch:
            reports.append((progress.epoch, before, now - BATCH_SIZE * progress.step / progress.rows_per_second))
        done = before + progress.step
        reports.append((progress.epoch, done, now))
        if done >= steps:
            raise _EnoughError

    sets = ["data.validation=0", "data.test=0", "pictures.every_epoch=[]", "training.device='cpu'"]
    watching = threading.Thread(target=watch)
    watching.start()
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            vaekit.train(
                "grey-mnist",
                Path(folder) / "run",
                data=data,
                sets=sets,
                epochs=1_000_000,
                callbacks=vaekit.Callbacks(
                    on_start=lambda *_: ready.append(time.perf_counter() - start), on_progress=note
                ),
            )
    except _EnoughError:
        pass
    finally:
        over.set()
        watching.join()
    made = spent = 0.0
    for _, of_epoch in groupby((each for each in reports if each[1] > warm_up), key=lambda each: each[0]):
        group = list(of_epoch)
        (_, first, begin), (_, last, end) = group[0], group[-1]
        made, spent = made + last - first, spent + end - begin
    tell(rate=[BATCH_SIZE * made / spent], ready=ready, own=own if own[0] else [])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "plain", "torch", "nll", "stream"])
    parser.add_argument("target", nargs="?", default="", help="a recipe, a pair, a run or a file")
    parser.add_argument("--data")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="A.B=C, as of vaekit train")
    parser.add_argument("--compile", action="store_true", help="the hand-written model by torch.compile")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--few", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--warm-up", type=int, default=500)
    given = parser.parse_args()
    if given.what == "train":
        train(given.target, given.data, given.sets, given.epochs, given.seed)
    elif given.what == "plain":
        plain(pairs()[given.target], given.data, given.sets, given.epochs, given.seed, given.compile)
    elif given.what == "nll":
        nll(Path(given.target), given.samples, given.images, given.few)
    elif given.what == "stream":
        stream(given.target, given.steps, given.warm_up)
    else:
        tell()
