"""Logs of the real packages: each epoch once, also of a run that goes on; no run's bits depend on them."""

from __future__ import annotations

import json
import logging
import random
import shutil
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands_for_tests import QUICK, command, done
from runs_for_tests import SMALL, small_run

from vaekit import Callbacks, load_run, train
from vaekit.interop.mlflow import _address
from vaekit.interop.wandb import WandB
from vaekit.runs.logs import Beginning, End, Entry, _note, histogram
from vaekit.runs.run import Run
from vaekit.spec.parts import PARTS
from vaekit.spec.targets import resolve

EPOCHS = 4
PICTURES = "pictures.every_epoch=['samples']"
ONE = ("training.epochs=1",)


@dataclass
class Logged:
    """A run with logs that was interrupted and went on, the same without logs, and what was said of places."""

    run: Run
    plain: Run
    places: dict[str, str]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    return logged_by(tmp_path_factory.mktemp("logs"), "tensorboard")


@pytest.fixture(scope="module")
def logged_by_others(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    return logged_by(tmp_path_factory.mktemp("logs"), "wandb", "mlflow")


def logged_by(folder: Path, *names: str) -> Logged:
    """Interrupted before its last epoch is logged, at a time when the third is logged but no state has it; moved."""
    places = dict[str, str]()
    sets = [*SMALL, f"training.epochs={EPOCHS}", "training.checkpoint_every=2", PICTURES]

    def stop(records: list[Any]) -> None:
        if records[0].epoch == EPOCHS:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        for variable in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
            patch.delenv(variable, raising=False)
        plain = train("digits", folder / "plain", sets=sets)
        told = Callbacks(on_epoch=stop)
        with pytest.raises(KeyboardInterrupt):
            train("digits", folder / "run", sets=sets, log=[*names], callbacks=told)
        if "tensorboard" in names:
            # As after a kill between what is written to TensorBoard and the note of it.
            note = folder / "run" / "logs" / "tensorboard" / "vaekit.json"
            note.write_text(json.dumps({"key": "", "epoch": 2}))
        shutil.move(folder / "run", folder / "moved")
        train(out=folder / "moved", resume=True, callbacks=Callbacks(on_log=places.__setitem__))
    return Logged(load_run(folder / "moved"), plain, places)


@pytest.mark.parametrize("by", ["logged", pytest.param("logged_by_others", marks=pytest.mark.slow)])
def test_no_logger_changes_a_bit_of_a_run(by: str, request: pytest.FixtureRequest) -> None:
    logged = request.getfixturevalue(by)
    for name in ("weights.safetensors", "checkpoints/best.safetensors"):
        assert (logged.run.path / name).read_bytes() == (logged.plain.path / name).read_bytes()


def numbers(run: Run, name: str) -> list[tuple[int, float]]:
    split, _, term = name.partition("/")
    return [(each.epoch, each.terms[term]) for each in run.history() if each.split == split]


def test_tensorboard_has_each_epoch_once_with_pictures_and_histograms(logged: Logged) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(logged.places["tensorboard"], {"images": 0, "histograms": 0}).Reload()
    for name in ("train/loss", "valid/elbo", "valid/kl"):
        seen = [(each.step, each.value) for each in found.Scalars(name)]
        assert seen == [(epoch, pytest.approx(value, rel=1e-6)) for epoch, value in numbers(logged.run, name)]
    pictures = found.Images("pictures/samples")
    assert [each.step for each in pictures] == [1, 2, 3, 4]
    assert pictures[-1].width == pictures[-1].height > 100
    weights = dict(logged.run.model.named_parameters())
    assert {each.removeprefix("weights/") for each in found.Tags()["histograms"]} == weights.keys()
    for name in found.Tags()["histograms"]:
        last = found.Histograms(name)[-1]
        value = last.histogram_value
        assert last.step == EPOCHS
        own = weights[name.removeprefix("weights/")]
        assert value.num == own.numel() == sum(value.bucket)
        assert value.sum == pytest.approx(own.sum().item(), rel=1e-4, abs=1e-4)
    assert "spec/text_summary" in found.Tags()["tensors"]


@pytest.mark.slow
def test_mlflow_has_each_epoch_once_with_settings_and_pictures(logged_by_others: Logged) -> None:
    logged = logged_by_others
    from mlflow.tracking import MlflowClient

    place = logged.places["mlflow"]
    assert place == f"sqlite:///{logged.run.path}/logs/mlflow/mlflow.db"
    client = MlflowClient(place)
    (run,) = client.search_runs([client.get_experiment_by_name("vaekit").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["model.latents.z.size"] == "3"
    for name in ("train/loss", "valid/kl"):
        seen = [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
        assert sorted(seen) == numbers(logged.run, name)
    assert {Path(each.path).name for each in client.list_artifacts(run.info.run_id, "pictures")} == {
        f"sample_{epoch}.png" for epoch in (1, 2, 3, 4)
    }


def wandb_records(path: Path) -> Iterator[bytes]:
    """Those of a .wandb file: after 7 bytes LevelDB's log of blocks of 32 KiB, each record whole or in parts."""
    data, at, record = path.read_bytes(), 7, b""
    while at < len(data):
        if 0 < (left := -at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.mark.slow
def test_wandb_has_each_epoch_once_under_one_name(logged_by_others: Logged) -> None:
    logged = logged_by_others
    from wandb.proto.wandb_internal_pb2 import Record

    files = sorted(Path(logged.run.path, "logs", "wandb", "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({each.name for each in files}) == 1  # one run
    seen = []
    for record in (Record.FromString(each) for path in files for each in wandb_records(path)):
        values = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        if "train/loss" in values:
            seen.append((record.history.step.num, json.loads(values["train/loss"])))
            assert values["pictures/samples/_type"] == '"image-file"'
            kinds = [each for key, each in values.items() if key.startswith("weights/") and key.endswith("/_type")]
            assert kinds == ['"histogram"'] * len(list(logged.run.model.parameters()))
    assert seen == numbers(logged.run, "train/loss")
    assert "offline" in logged.places["wandb"]


@pytest.mark.slow
def test_a_run_of_weights_and_biases_that_is_open_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.delenv("WANDB_MODE", raising=False)
    (tmp_path / "mine").mkdir()
    quiet = wandb.Settings(console="off", silent=True)
    mine = wandb.init(project="mine", mode="offline", dir=tmp_path / "mine", settings=quiet)
    try:
        train("digits", tmp_path / "run", sets=[*SMALL, *ONE], log=["wandb"])
        assert wandb.run is mine
        mine.log({"still": 1.0})
    finally:
        mine.finish()
    assert json.loads((tmp_path / "run" / "logs" / "wandb" / "vaekit.json").read_text())["key"] != mine.id


def test_weights_and_biases_is_asked_for_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    asked: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **given: asked.update(given) or SimpleNamespace(id="mine"))
    WandB()(Beginning(tmp_path, "run", resolve("digits")))
    assert asked["settings"].reinit == "create_new"


def test_overwriting_a_run_empties_its_logs(tmp_path: Path) -> None:
    for _ in range(2):
        train("digits", tmp_path / "run", sets=[*SMALL, *ONE], log=["tensorboard"], overwrite=True)
        assert len(list((tmp_path / "run" / "logs" / "tensorboard").glob("events*"))) == 1


@pytest.mark.usefixtures("_no_report")
def test_the_command_says_where_logs_go_and_adds_one_to_a_run_that_goes_on(tmp_path: Path) -> None:
    given = ("--out", tmp_path / "run", "--samples=1")
    done("train", "digits", *QUICK, *given)
    out = done("train", "--resume", *given, "--log", "tensorboard", "--epochs=3")
    assert f"log: tensorboard, {tmp_path / 'run' / 'logs' / 'tensorboard'}\n" in out
    assert json.loads((tmp_path / "run" / "logs" / "tensorboard" / "vaekit.json").read_text()) == {
        "key": "",
        "epoch": 3,
    }


@dataclass(frozen=True)
class Clumsy:
    """A log that draws from every stream it can reach, and fails at one time."""

    fails: str = ""

    def __call__(self, beginning: Beginning) -> Clumsy:
        return self._drawn("open")

    place, key = "nowhere", "mine"

    def write(self, entry: Entry) -> None:
        self._drawn(f"epoch {entry.epoch}")

    def close(self, end: End) -> None:
        self._drawn(end)

    def _drawn(self, now: str) -> Clumsy:
        random.random()
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(3)
        torch.randn(5)
        if now == self.fails:
            raise OSError("No space left\non device")
        return self


@pytest.mark.parametrize("fails", ["", "open", "epoch 1", "finished"])
def test_a_log_that_fails_is_one_warning_and_changes_nothing(
    fails: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = PARTS.extended(loggers={"clumsy": Clumsy})
    before = random.getstate()
    run = small_run(tmp_path / "run", f"training.log=[{{name='clumsy', fails='{fails}'}}]", parts=mine)
    assert random.getstate() == before
    plain = small_run(tmp_path / "plain")
    assert (run.path / "weights.safetensors").read_bytes() == (plain.path / "weights.safetensors").read_bytes()
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    message = "the log 'clumsy' fails, and is left out from here on: No space left on device; the training goes on"
    assert said == ([message] if fails else [])


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (
            "tensorbord",
            "unknown logger 'tensorbord' (did you mean 'tensorboard'?); accepted: tensorboard, wandb, mlflow",
        ),
        ("tensorboard", "the log 'tensorboard' needs TensorBoard: pip install 'vaekit[tensorboard]'"),
        ("wandb", "the log 'wandb' needs Weights & Biases: pip install 'vaekit[wandb]'"),
        ("mlflow", "the log 'mlflow' needs MLflow: pip install 'vaekit[mlflow]'"),
    ],
)
def test_what_can_t_log_is_refused_in_one_line_before_anything_is_written(
    log: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorboard", "wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
    result = command("train", "digits", *QUICK, "--out", tmp_path / "run", "--log", log)
    assert (result.status, result.err) == (2, f"vaekit: {message}\n")
    assert not (tmp_path / "run").exists()


def test_mlflow_is_given_no_database_that_it_would_look_for_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    for name in ("run s#é", "(1) &"):
        assert _address(tmp_path / name / "mlflow.db") == f"sqlite:///{(tmp_path / name).as_posix()}/mlflow.db"
    with pytest.raises(ValueError, match=r"MLflow takes the % or \? in .* for something else; rename the folder"):
        _address(tmp_path / "100%25?" / "mlflow.db")


def test_what_a_log_calls_itself_is_no_path(tmp_path: Path) -> None:
    for key, told in (("b0-_9", ("b0-_9", 3)), ("../../elsewhere", ("", 0)), ("/etc", ("", 0)), (".", ("", 0))):
        (tmp_path / "vaekit.json").write_text(json.dumps({"key": key, "epoch": 3}))
        assert _note(tmp_path) == told


def test_a_logger_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.log has 'tensorboard' twice"):
        train("digits", tmp_path / "run", sets=SMALL, log=["tensorboard", "tensorboard"])


def test_histograms_count_every_value() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3 + 1
    found = histogram(x)
    counts, edges = np.histogram(x.numpy(), len(found.counts))
    assert np.abs(np.array(found.counts) - counts).sum() <= 2  # of one that lies on an edge
    np.testing.assert_allclose(found.edges, edges, rtol=1e-5)
    assert found.squares == pytest.approx(x.square().sum().item())
