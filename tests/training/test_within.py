"""Trainings that end within an epoch, by Ctrl-C, `kill` or a crash, and go on at the batch they stood at, to the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands_for_tests import AT_A_TERMINAL, SECONDS, started
from processes_for_tests import together
from runs_for_tests import assert_same_run, metrics, pieces, small_run
from torch import Tensor

from vaekit import Callbacks, train
from vaekit.errors import LostProcessError, RunError
from vaekit.models import VAE
from vaekit.runs.run import Run
from vaekit.system.interrupts import postponed
from vaekit.system.processes import Processes
from vaekit.training import within
from vaekit.training.checkpoint import Checkpoints
from vaekit.training.loop import Training, optimize
from vaekit.training.meter import STEPS, Meter
from vaekit.training.records import Progress
from vaekit.training.step import Terms
from vaekit.training.within import Within

LONG = "training.checkpoint_minutes=1000"
EACH_STEP = "training.checkpoint_minutes=1e-9"
RUN = ("training.epochs=3", "training.batch_size=100")
"""13 steps in an epoch."""
CASES: dict[str, tuple[str, ...]] = {
    "average, clipping, schedules": (
        "data.binarize=stochastic",
        "model.likelihood=bernoulli",
        "training.ema=0.9",
        "training.clip=5.0",
        "training.learning_rate={name='cosine', start=3e-3, end=1e-5}",
        "objective={name='elbo', beta={name='linear', until=0.6}}",
        "training.checkpoint_every=2",
    ),
    "recorded": ("training.engine=replay", "training.early_stopping=1", "training.skip=1e4"),
    "fitted prior": ("model.latents.z.prior={name='mixture', components=3, fit_after=0.4}", "data.mask=0.3"),
    "some labels": ("model.classifier=mlp", "objective=semi-supervised", "data.labels=60", "training.labelled=10"),
    "batch normalisation": ("model.encoder={name='mlp', hidden=[16], normalization='batch'}",),
}


def raising(at: int, number: int = signal.SIGINT) -> Callable[[Progress], None]:
    """What asks a training to end after so many steps."""
    steps = 0

    def told(where: Progress) -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            signal.raise_signal(number)

    return told


@pytest.fixture(autouse=True)
def _told_of_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.training.loop.POLL_SECONDS", -1.0)


def cut(folder: Path, at: int, *sets: str) -> Run:
    """A run that is interrupted after so many steps, and gone on with."""
    with pytest.raises(KeyboardInterrupt):
        train("digits", folder, sets=sets, callbacks=Callbacks(on_progress=raising(at)))
    return train(out=folder, resume=True)


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_training_goes_on_at_its_batch_bit_for_bit(case: str, tmp_path: Path) -> None:
    small = [*RUN, *CASES[case], LONG]
    whole = small_run(tmp_path / "whole", *small)
    sets = [f"{key}" for key in (*_small(), *small)]
    steps = len(whole.history()) and max(record.step for record in whole.history()) // len(
        [record for record in whole.history() if record.split == "train"]
    )
    for at in (1, steps + 2, 2 * steps - 1):
        folder = tmp_path / f"cut {at}"
        with pytest.raises(KeyboardInterrupt):
            train("digits", folder, sets=sets, callbacks=Callbacks(on_progress=raising(at)))
        states = Checkpoints(folder / "checkpoints")
        newest = states.newest()
        assert newest
        assert (newest[1].epoch, newest[1].batches) == (at // steps, at % steps + 1), "the step that was under way"
        train(out=folder, resume=True)
        assert_same_run(folder, whole.path)


def _small() -> tuple[str, ...]:
    from runs_for_tests import SMALL

    return SMALL


def test_an_interrupt_after_the_last_step_or_in_the_look_loses_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = small_run(tmp_path / "whole", *RUN, LONG)
    cut(tmp_path / "last", 13 + 12, *_small(), *RUN, LONG)
    assert_same_run(tmp_path / "last", whole.path)
    with monkeypatch.context() as patch:
        patch.setattr("vaekit.training.validation.Validation.__call__", lambda *given: signal.raise_signal(2))
        with pytest.raises(KeyboardInterrupt):
            small_run(tmp_path / "look", *RUN, LONG)
    newest = Checkpoints(tmp_path / "look/checkpoints").newest()
    assert newest
    assert (newest[1].epoch, newest[1].batches) == (0, 13)
    taken = []
    patch_of(monkeypatch, taken)
    train(out=tmp_path / "look", resume=True)
    assert len(taken) == 2 * 13
    assert_same_run(tmp_path / "look", whole.path)


def patch_of(monkeypatch: pytest.MonkeyPatch, taken: list[int]) -> None:
    step = Training._take_step

    def counted(self: Training, *given: Any) -> None:
        taken.append(1)
        step(self, *given)

    monkeypatch.setattr(Training, "_take_step", counted)


def test_each_batch_of_an_epoch_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all parts of a run that is interrupted again and again."""
    seen: list[list[int]] = []
    order = type(pieces().train).order

    def watched(self: Any, *given: Any) -> Any:
        for index in order(self, *given):
            seen.append(index.tolist())
            yield index

    monkeypatch.setattr(type(pieces().train), "order", watched)
    sets = (*_small(), "training.epochs=1", LONG)
    with pytest.raises(KeyboardInterrupt):
        train("digits", tmp_path / "run", sets=sets, callbacks=Callbacks(on_progress=raising(4)))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(out=tmp_path / "run", resume=True, callbacks=Callbacks(on_progress=raising(3)))
    train(out=tmp_path / "run", resume=True)
    rows = [row for batch in seen[10:] for row in batch]  # the loss of untrained weights has some first
    assert sorted(rows) == list(range(1297))


def test_states_within_an_epoch_are_saved_when_they_are_due_and_dropped_at_its_end(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    folder = tmp_path / "run"

    def look(where: Progress) -> None:
        seen.append({path.name for path in (folder / "checkpoints").glob("epoch-*")})

    train("digits", folder, sets=[*_small(), *RUN, EACH_STEP], callbacks=Callbacks(on_progress=look))
    assert seen[14] == {"epoch-000000.safetensors", "epoch-000001.safetensors", "epoch-000001-batch-000002.safetensors"}
    assert all(len(names) == 2 + (i >= 13) for i, names in enumerate(seen))
    assert_same_run(folder, small_run(tmp_path / "other", *RUN, LONG).path)


def test_a_damaged_state_within_an_epoch_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = small_run(tmp_path / "whole", *RUN, LONG)
    with pytest.raises(KeyboardInterrupt):
        train("digits", tmp_path / "cut", sets=[*_small(), *RUN, LONG], callbacks=Callbacks(on_progress=raising(17)))
    (state,) = (tmp_path / "cut/checkpoints").glob("*-batch-*")
    state.write_bytes(state.read_bytes()[:-7])
    train(out=tmp_path / "cut", resume=True)
    assert "the state before it is taken" in caplog.text
    assert metrics(tmp_path / "cut") == metrics(whole.path)
    assert not state.exists()


def test_a_part_of_an_epoch_is_more_than_the_epochs_before_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("digits", tmp_path / "run", sets=[*_small(), *RUN], callbacks=Callbacks(on_progress=raising(17)))
    with pytest.raises(RunError, match=r"training.epochs is 1, but .* has 1 done and a part of another; accepted: 2"):
        train(out=tmp_path / "run", resume=True, epochs=1)
    assert len(train(out=tmp_path / "run", resume=True, epochs=2).history()) == 4


def test_training_without_a_folder_ends_when_it_is_asked_to() -> None:
    p = pieces()
    with pytest.raises(KeyboardInterrupt):
        optimize(p.task(), on_progress=raising(3))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- real processes ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_program_goes_on_bit_for_bit_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    sets = ["--set=training.batch_size=1", "--set=training.engine=python", "--epochs=1", f"--set={EACH_STEP}"]
    sets += ["--set=data.train=120", *(f"--set={each}" for each in _small() if "batch_size" not in each)]
    folder = tmp_path / "run"
    with started(*AT_A_TERMINAL, "train", "digits", "--out", str(folder), *sets, "--samples=1") as child:
        until = time.monotonic() + SECONDS
        while not any((folder / "checkpoints").glob("*-batch-*")) and time.monotonic() < until:
            time.sleep(0.005)
        child.send_signal(number)
        _, said = child.communicate(timeout=SECONDS)
        left = subprocess.run(["pgrep", "-g", str(child.pid)], capture_output=True, text=True, check=False).stdout
    assert left == ""
    if number != signal.SIGKILL:
        assert child.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]  # type: ignore[index]
        assert "train --resume --out" in said
    newest = Checkpoints(folder / "checkpoints").newest()
    assert newest
    assert newest[1].batches
    given = [each.removeprefix("--set=") for each in sets if each.startswith("--set")]
    train(out=folder, resume=True)
    assert_same_run(folder, train("digits", tmp_path / "whole", sets=given, epochs=1).path)


PROCESSES = (
    "training.epochs=2",
    "training.batch_size=40",
    "training.ema=0.9",
    "model.encoder={name='mlp', hidden=[16], normalization='batch'}",
    "training.clip=5.0",
    EACH_STEP,
)
"""33 steps in an epoch."""


def _whole(rank: int, folder: Path, resume: bool) -> None:
    if resume:
        train(out=folder, resume=True)
    else:
        small_run(folder, *PROCESSES)


def _killed(rank: int, folder: Path) -> None:
    """The second process is killed within the second epoch."""
    save, taken = Within.save_if_due, []

    def dying(self: Within, interrupt: Any) -> None:
        save(self, interrupt)
        taken.append(1)
        if rank == 1 and len(taken) == 33 + 21:
            os.kill(os.getpid(), signal.SIGKILL)

    Within.save_if_due = dying  # type: ignore[method-assign]
    try:
        small_run(folder, *PROCESSES)
    except LostProcessError:
        os._exit(7)


def _asked(rank: int, folder: Path) -> None:
    """One of them alone is asked to end, within the first epoch."""
    save, taken = Within.save_if_due, []

    def asked(self: Within, interrupt: Any) -> None:
        taken.append(1)
        if rank == 1 and len(taken) == 11:
            signal.raise_signal(signal.SIGINT)
        save(self, interrupt)

    Within.save_if_due = asked  # type: ignore[method-assign]
    try:
        small_run(folder, *PROCESSES[:-1], LONG)
    except KeyboardInterrupt:
        os._exit(130)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
def test_two_processes_go_on_within_an_epoch_bit_for_bit(tmp_path: Path) -> None:
    """Each has its own draws, running averages and sums; with one process it goes on to a loss that is as good."""
    assert together(_whole, tmp_path / "whole", False) == [0, 0]
    assert together(_killed, tmp_path / "killed") == [7, -signal.SIGKILL]
    assert together(_asked, tmp_path / "asked") == [130, 130]
    for name, place in {"killed": (1, 16), "asked": (0, 16)}.items():
        newest = Checkpoints(tmp_path / name / "checkpoints").newest()
        assert newest
        assert (newest[1].epoch, newest[1].batches) == place
        if name == "killed":
            shutil.copytree(tmp_path / name, tmp_path / "alone")
        assert together(_whole, tmp_path / name, True) == [0, 0]
        assert_same_run(tmp_path / name, tmp_path / "whole")
    alone = train(out=tmp_path / "alone", resume=True)
    for mine, theirs in zip(metrics(alone.path), metrics(tmp_path / "whole"), strict=True):
        assert mine[:4] == theirs[:4]
        assert mine[4]["loss"] == pytest.approx(theirs[4]["loss"], rel=0.02)  # type: ignore[index]


# -- its parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [3, STEPS - 1, STEPS, STEPS + 5])
def test_sums_go_on_bit_for_bit_whoever_looks(steps: int) -> None:
    values = torch.randn(3 * STEPS, 2, generator=torch.Generator().manual_seed(0)) * 1e3
    names = ("loss", "kl")
    whole, first, second = (Meter(torch.device("cpu")) for _ in range(3))
    for i, each in enumerate(values):
        whole.add(Terms(names, each, {"beta": 1.0}), 7 + i % 3)
        mine = first if i < steps else second
        if i == steps:
            second.restore(first.state, first.names, first.numbers)
        mine.add(Terms(names, each, {"beta": 1.0}), 7 + i % 3)
        mine.averages()
    assert second.averages() == whole.averages()
    assert torch.equal(second.state, whole.state)
    for bad in (whole.state[:-1], torch.zeros(2), torch.cat([torch.full((4,), 70.0), torch.zeros(4)])):
        with pytest.raises(ValueError, match="sums of 2 terms are not"):
            Meter(torch.device("cpu")).restore(bad, names, {})


def test_signals_wait_once_and_a_second_comes_through() -> None:
    def twice(insisting: bool) -> list[int | None]:
        seen: list[int | None] = []
        with pytest.raises(KeyboardInterrupt), postponed(insisting) as interrupt:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
                seen.append(interrupt.asked)
        return seen

    assert twice(True) == [signal.SIGINT]
    assert twice(False) == [signal.SIGINT] * 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with postponed() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.asked is None
    finally:
        signal.signal(signal.SIGINT, ignored)
    elsewhere = threading.Thread(target=lambda: postponed().__enter__())
    elsewhere.start()
    elsewhere.join()


def test_a_position_that_is_none_is_refused(tmp_path: Path) -> None:
    from vaekit.training.position import Position

    meter = Meter(torch.device("cpu"))
    meter.add(Terms(("loss",), torch.ones(1), {}), 3)
    found = Position.now(torch.get_rng_state(), meter, {}, Processes(), 1, 0.5)
    again = Position.read(found.tensors, found.text, "state")
    assert (again.names, again.updates, again.seconds) == (("loss",), 1, 0.5)
    changed: list[tuple[dict[str, Tensor], str]] = [
        ({}, found.text),
        (found.tensors, "{"),
        (found.tensors, '{"names": 3}'),
        (found.tensors | {"order": torch.zeros(3, dtype=torch.uint8)}, found.text),
        (found.tensors | {"meter": torch.zeros(1, 3)}, found.text),
    ]
    for tensors, text in changed:
        with pytest.raises(RunError, match="state does not say where in an epoch it is"):
            Position.read(tensors, text, "state")


def test_modules_are_used() -> None:
    assert VAE
    assert within.AGREED == 8
