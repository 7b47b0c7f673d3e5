"""Trainings killed at random and awkward moments: what is on disk loads, and resuming gives the same run, exactly."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from processes_for_tests import server
from runs_for_tests import SMALL, assert_same_run, metrics

from vaekit import train
from vaekit.runs.folder import read_spec
from vaekit.training.checkpoint import Checkpoints
from vaekit.training.weights import load_tensors

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL and fork")

KILLS = {"average": (4, ["writing", "anytime", "renamed", "late"]), "early stopping": (2, ["writing", "renamed"])}
"""How often a training is killed, and at which moments by turns."""
SHORT = (*SMALL, "training.batch_size=200", "training.engine=replay")
"""Few steps an epoch: what is on disk changes from epoch to epoch; the first of them as Python, the others recorded, so
that kills hit both.
"""
VARIANTS = {
    "average": (
        "data.binarize=stochastic",
        "model.likelihood=bernoulli",
        "training.epochs=5",
        "training.ema=0.99",
        "training.clip=5.0",
        "training.learning_rate={name='cosine', start=3e-3, end=1e-5}",
        "training.checkpoint_minutes=1e-9",  # after each step
    ),
    "early stopping": (
        "model.latents.z.prior={name='vamp', components=5}",
        "objective={name='elbo', beta={name='linear', until=0.2}}",
        "training.epochs=30",
        "training.early_stopping=2",
        "training.checkpoint_every=3",
        "training.optimizer={name='adamw', weight_decay=0.01}",
        "training.learning_rate=0.2",
    ),
}


@pytest.fixture(scope="module")
def children() -> Iterator[ForkServerContext]:
    """Processes that start in milliseconds. None stays."""
    yield server()
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


@pytest.mark.parametrize(
    "variant", [pytest.param(each, marks=[pytest.mark.slow] if each == "average" else []) for each in VARIANTS]
)
def test_killed_trainings_end_in_the_same_run(variant: str, tmp_path: Path, children: ForkServerContext) -> None:
    sets = [*SHORT, *VARIANTS[variant]]
    reference, chance = tmp_path / "reference", random.Random(variant)
    started = time.perf_counter()
    undisturbed = start(children, reference, sets)
    undisturbed.join()
    seconds = time.perf_counter() - started
    assert undisturbed.exitcode == 0
    if variant == "early stopping":
        assert metrics(reference)[-1][0] < 30, "the training was to stop early"

    (wanted, moments), kills, folder, attempt = KILLS[variant], 0, tmp_path / "killed-0", 0
    while True:
        child = start(children, folder, sets)
        if kills < wanted:
            kills += kill(child, folder, moments[attempt % len(moments)], chance, seconds)
            attempt += 1
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        assert_whole(folder)
        if child.exitcode == 0:
            assert_same_run(folder, reference)
            if kills >= wanted:
                return
            folder = tmp_path / f"killed-{attempt}"


def start(children: ForkServerContext, folder: Path, sets: list[str]) -> BaseProcess:
    resume = (folder / "spec.json").exists()
    options = {"resume": resume, "sets": () if resume else sets}
    child = children.Process(target=train_here, args=("digits", folder), kwargs=options)
    child.start()
    return child


def train_here(*args: Any, **options: Any) -> None:
    train(*args, **options)  # which can't be pickled by its name


def kill(child: BaseProcess, folder: Path, moment: str, chance: random.Random, seconds: float) -> bool:
    """Kill `child` at a moment of the given kind; false if it has ended before."""
    if moment in ("anytime", "late"):
        child.join(chance.uniform(0, seconds) if moment == "anytime" else seconds * chance.uniform(0.5, 1))
    else:
        for _ in range(chance.randrange(1, 8)):
            await_write(child, folder, moment)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


def await_write(child: BaseProcess, folder: Path, moment: str) -> None:
    """Return while the next file of a run is being written, or just after it has got its name."""
    before = state(folder)
    while child.is_alive():
        now = state(folder)
        if moment == "writing" and any(name.endswith(".tmp") for name in now - before):
            return
        if moment == "renamed" and any(not name.endswith(".tmp") for name in now - before):
            return
        time.sleep(1e-4)  # the training needs the processor, too


def state(folder: Path) -> set[str]:
    """Each file of a run with its inode, which a rename changes."""
    found = set()
    for place in (folder, folder / "checkpoints"):
        try:
            found |= {f"{entry.inode()} {entry.name}" for entry in os.scandir(place)}
        except FileNotFoundError:
            continue
    return found


def assert_whole(folder: Path) -> None:
    """All that has a name in a run folder loads."""
    if not (folder / "spec.json").exists():
        strangers = [path for path in folder.glob("*") if path.suffix != ".tmp" and path.name != ".lock"]
        assert not strangers, "a folder that is no run, and not empty"
        return
    read_spec(folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    assert all(load_tensors(path) for path in folder.rglob("*.safetensors") if path.suffix != ".tmp")
    newest = checkpoints.newest()
    assert (newest is None) == (not checkpoints.all())
    if newest:
        epochs = [record[0] for record in metrics(folder)]
        assert epochs == sorted(epochs)
        assert newest.state.epoch <= max([0, *epochs])
