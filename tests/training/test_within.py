"""Trainings that end within an epoch, by Ctrl-C, `kill` or a crash, and go on at their batch, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands_for_tests import IN_THE_BACKGROUND, SECONDS, started
from processes_for_tests import together
from runs_for_tests import SMALL, assert_same_run, metrics, one_of_several, pieces, small_run
from torch import Tensor

from vaekit import Callbacks, train
from vaekit.errors import RunError
from vaekit.system.interrupts import ENDING, postponed
from vaekit.system.processes import Processes
from vaekit.training.checkpoint import Checkpoints, State
from vaekit.training.loop import Training, optimize
from vaekit.training.meter import STEPS, Meter
from vaekit.training.position import Position
from vaekit.training.records import Progress
from vaekit.training.step import Step, Terms
from vaekit.training.within import Within

pytestmark = pytest.mark.usefixtures("_interrupts")

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


def cut(folder: Path, at: int, *sets: str) -> State:
    """A run that is interrupted after so many steps; the state that it left."""
    with pytest.raises(KeyboardInterrupt):
        train("digits", folder, sets=[*SMALL, *sets, LONG], callbacks=Callbacks(on_progress=raising(at)))
    newest = Checkpoints(folder / "checkpoints").newest()
    assert newest
    return newest.state


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_training_goes_on_at_its_batch_bit_for_bit(case: str, tmp_path: Path) -> None:
    whole = small_run(tmp_path / "whole", *RUN, *CASES[case])
    steps = whole.history()[0].step
    at = 2 * steps - 1 if case == "batch normalisation" else steps + 2
    state = cut(tmp_path / "cut", at, *RUN, *CASES[case])
    assert (state.epoch, state.batches) == (1, at - steps + 1), "after the step that was under way"
    train(out=tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "cut", whole.path)


def test_an_interrupt_in_the_look_loses_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small_run(tmp_path / "whole", *RUN)
    with monkeypatch.context() as patch:
        patch.setattr("vaekit.training.validation.Validation.__call__", lambda *given: signal.raise_signal(2))
        with pytest.raises(KeyboardInterrupt):
            small_run(tmp_path / "look", *RUN)
    newest = Checkpoints(tmp_path / "look/checkpoints").newest()
    assert newest
    assert (newest.state.epoch, newest.state.batches) == (0, 13)
    taken, step = [], Training._take_step

    def counted(self: Training, *given: Any) -> None:
        taken.append(1)
        step(self, *given)

    monkeypatch.setattr(Training, "_take_step", counted)
    train(out=tmp_path / "look", resume=True)
    assert len(taken) == 2 * 13
    assert_same_run(tmp_path / "look", whole.path)


def test_each_row_of_an_epoch_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all parts of a run that is interrupted again and again."""
    seen: list[int] = []
    take = Step.__call__

    def watched(self: Step, index: Tensor, *given: Any) -> Terms:
        seen.extend(index.tolist())
        return take(self, index, *given)

    monkeypatch.setattr(Step, "__call__", watched)
    cut(tmp_path / "run", 4, "training.epochs=1")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(out=tmp_path / "run", resume=True, callbacks=Callbacks(on_progress=raising(3)))
    train(out=tmp_path / "run", resume=True)
    assert sorted(seen) == list(range(1297))


def test_states_within_an_epoch_are_saved_when_they_are_due_and_dropped_at_its_end(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    folder = tmp_path / "run"

    def look(where: Progress) -> None:
        seen.append({path.name for path in (folder / "checkpoints").glob("epoch-*")})

    train("digits", folder, sets=[*SMALL, *RUN, EACH_STEP], callbacks=Callbacks(on_progress=look))
    assert seen[14] == {"epoch-000000.safetensors", "epoch-000001.safetensors", "epoch-000001-batch-000002.safetensors"}
    assert all(len(names) == 2 + (i >= 13) for i, names in enumerate(seen))
    assert_same_run(folder, small_run(tmp_path / "other", *RUN).path)


def test_a_damaged_state_within_an_epoch_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = small_run(tmp_path / "whole", *RUN)
    cut(tmp_path / "cut", 17, *RUN)
    (state,) = (tmp_path / "cut/checkpoints").glob("*-batch-*")
    state.write_bytes(state.read_bytes()[:-7])
    train(out=tmp_path / "cut", resume=True)
    assert "the state before it is taken" in caplog.text
    assert metrics(tmp_path / "cut") == metrics(whole.path)
    assert not state.exists()


def test_a_part_of_an_epoch_is_more_than_the_epochs_before_it(tmp_path: Path) -> None:
    cut(tmp_path / "run", 17, *RUN)
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
def test_a_program_that_is_ended_goes_on_bit_for_bit_and_leaves_nothing(tmp_path: Path) -> None:
    """In the background, where it ignores Ctrl-C, and says so."""
    sets = [*SMALL, "training.batch_size=1", "training.engine=python", "training.epochs=1", "data.train=100", EACH_STEP]
    folder = tmp_path / "my run"
    argv = ("train", "digits", "--out", str(folder), *(f"--set={each}" for each in sets))
    with started(*IN_THE_BACKGROUND, *argv) as child:
        await_batch(folder, 1)
        child.send_signal(signal.SIGINT)
        await_batch(folder, 3)
        child.send_signal(signal.SIGTERM)
        out, said = child.communicate(timeout=SECONDS)
        with pytest.raises(ProcessLookupError):
            os.killpg(child.pid, 0)
    assert child.returncode == 143
    assert said == f"vaekit: terminated; go on with: vaekit train --resume --out '{folder}'\n"
    assert f"Ctrl-C does nothing here, this was started in the background; to stop: kill {child.pid}\n" in out
    newest = Checkpoints(folder / "checkpoints").newest()
    assert newest
    assert newest.state.batches
    train(out=folder, resume=True)
    assert_same_run(folder, train("digits", tmp_path / "whole", sets=[*sets[:-1], LONG]).path)


def await_batch(folder: Path, number: int) -> None:
    """Return when a training in another process has done so many steps of its first epoch."""
    until, found = time.monotonic() + SECONDS, [-1]
    while max(found) < number:
        assert time.monotonic() < until
        time.sleep(0.005)
        found = [-1, *(int(path.stem[-6:]) for path in (folder / "checkpoints").glob("epoch-*-batch-*.safetensors"))]


PROCESSES = (
    "training.epochs=2",
    "data.train=400",
    "training.batch_size=20",
    "training.ema=0.9",
    "model.encoder={name='mlp', hidden=[16], normalization='batch'}",
    "training.clip=5.0",
    EACH_STEP,
)
"""20 steps in an epoch."""


def _asked(rank: int, folder: Path) -> None:
    """One of them alone is asked to end, within the first epoch."""
    save, taken = Within.save_if_due, []

    def asked(self: Within, interrupt: Any) -> None:
        taken.append(1)
        if rank == 1 and len(taken) == 11:
            signal.raise_signal(signal.SIGINT)
        save(self, interrupt)

    Within.save_if_due = asked  # type: ignore[method-assign]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a suite that is started in the background ignores
    try:
        small_run(folder, *PROCESSES[:-1], LONG)
    except KeyboardInterrupt:
        os._exit(130)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
def test_two_processes_go_on_within_an_epoch_bit_for_bit(tmp_path: Path) -> None:
    """Each has its own draws, running averages and sums; with one process it goes on to a loss that is as good."""
    assert together(one_of_several, tmp_path / "whole", False, PROCESSES) == [0, 0]
    assert together(_asked, tmp_path / "asked") == [130, 130]
    newest = Checkpoints(tmp_path / "asked/checkpoints").newest()
    assert newest
    assert (newest.state.epoch, newest.state.batches) == (0, 16)
    shutil.copytree(tmp_path / "asked", tmp_path / "alone")
    assert together(one_of_several, tmp_path / "asked", True, PROCESSES) == [0, 0]
    assert_same_run(tmp_path / "asked", tmp_path / "whole")
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

        def inside() -> None:
            with postponed(insisting) as interrupt:
                for _ in range(2):
                    signal.raise_signal(signal.SIGINT)
                    seen.append(interrupt.asked)

        with pytest.raises(KeyboardInterrupt):
            inside()
        return seen

    assert twice(True) == [signal.SIGINT]
    assert twice(False) == [signal.SIGINT] * 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    kinds = {signal.SIGINT: signal.SIG_IGN} | dict.fromkeys(ENDING, signal.SIG_DFL)  # nohup ignores some
    before = {each: signal.signal(each, kind) for each, kind in kinds.items()}
    try:
        with postponed() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.asked is None
            for each in ENDING:
                signal.raise_signal(each)
                assert interrupt.asked == each
                interrupt.asked = None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    elsewhere = threading.Thread(target=lambda: postponed().__enter__())
    elsewhere.start()
    elsewhere.join()


def test_a_position_that_is_none_is_refused(tmp_path: Path) -> None:
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
