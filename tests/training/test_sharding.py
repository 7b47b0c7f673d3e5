"""A model whose weights are sharded over two processes learns what one that is whole does, into the same files."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models_for_tests import data_of, float64, model_of
from processes_for_tests import Constant, together
from runs_for_tests import assert_same_run, cut_short, metrics, small_run
from torch import Tensor

from vaekit import train
from vaekit.data import Preprocessing
from vaekit.data.tensors import TensorSplit
from vaekit.errors import LostProcessError
from vaekit.objectives import ELBO, IWAE, AdversarialCorrelation
from vaekit.spec.keys import TrainingSpec
from vaekit.system.processes import Processes
from vaekit.training import sharding
from vaekit.training.dtensors import gathered
from vaekit.training.sharding import Shards, check_sharding
from vaekit.training.task import Task
from vaekit.training.together import Parts
from vaekit.training.weights import load_tensors, model_tensors, save_tensors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
RUN = (
    *("data.train=250", "data.validation=51", "data.test=50", "training.epochs=2", "training.clip=20.0"),
    *("training.ema=0.9", "training.early_stopping=5", "training.engine=python"),
    "model.latents.z.prior={name='vamp', components=5}",
)
SHARDED = "training.shard_parameters=true"


def task_of(rows: int) -> Task:
    with float64():
        model = model_of(prior="vamp", by=0.0)
    data = TensorSplit(data_of(model.domain, (rows, 4)), None, model.domain, Preprocessing())
    return Task(model, data, None, ELBO(), TrainingSpec(batch_size=rows, shard_parameters=True))


def gradients(task: Task) -> dict[str, Tensor]:
    rows = task.train.training_batch(torch.arange(len(task.train)))
    with Constant():
        task.objective(task.model.trace(rows), 0.5).loss.backward()
    return {name: each.grad for name, each in task.model.named_parameters() if each.grad is not None}


def shared_gradients(task: Task, processes: Processes) -> dict[str, Tensor]:
    shards, parts = Shards(task, processes), Parts(task.train, task.batch_size, processes)
    shards.rehearse()
    (part,) = parts(torch.arange(len(task.train)))
    with Constant():
        shards.step(parts.data, parts.batch_size)(part.index, 0.5, 0, part.data, part.weight)
    found = {name: each.grad for name, each in shards.models["model"].named_parameters() if each.grad is not None}
    return gathered(found, kept=True)


def _resume(folder: Path, *sets: str) -> None:
    train(out=folder, resume=True, sets=sets)


def _all(rank: int, folder: Path) -> None:
    sharding.LEAST = 10
    save_tensors(folder / f"gradients {rank}", shared_gradients(task_of(7), Processes(rank, 2)))
    with Constant():
        small_run(folder / "plain", *RUN)
        small_run(folder / "sharded", *RUN, SHARDED)
        if rank == 0:
            for name in ("again", "with plain", "alone"):
                cut_short(folder / "sharded", folder / name)
        Processes(rank, 2).wait()
        _resume(folder / "again")
        _resume(folder / "with plain", "training.shard_parameters=false")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    assert together(_all, folder) == [0, 0]
    return folder


def test_gradients_of_shards_are_those_of_one_process(two: Path) -> None:
    """Seven rows of two processes, which weigh them by how many they have."""
    mine, theirs = gradients(task_of(7)), load_tensors(two / "gradients 0")
    assert mine.keys() == theirs.keys() == load_tensors(two / "gradients 1").keys()
    for name, each in mine.items():
        torch.testing.assert_close(theirs[name], each, rtol=1e-9, atol=1e-9)


def test_a_sharded_run_has_the_files_of_one_that_is_whole(two: Path) -> None:
    """Same names, tensors, records: weights, averages, the best ones, the optimiser's state."""
    plain, sharded = two / "plain", two / "sharded"
    paths = [sorted(str(path.relative_to(each)) for path in each.rglob("*")) for each in (plain, sharded)]
    assert paths[0] == paths[1]
    for path in ("weights.safetensors", *(f"checkpoints/{path.name}" for path in (plain / "checkpoints").iterdir())):
        assert_near(load_tensors(sharded / path), load_tensors(plain / path))
    for (*head, terms), (*other_head, other) in zip(metrics(sharded), metrics(plain), strict=True):
        assert head == other_head
        assert other == pytest.approx(terms, rel=1e-5)


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=1e-4, atol=1e-5, msg=name)


def test_a_sharded_run_goes_on_bit_for_bit_and_without_shards_too(two: Path) -> None:
    assert_same_run(two / "again", two / "sharded")
    with pytest.raises(
        ValueError, match=r"training.shard_parameters=.*is of several processes, and this is one; torchr"
    ):
        _resume(two / "alone")
    with Constant():
        _resume(two / "alone", "training.shard_parameters=false")
    for name in ("alone", "with plain"):
        assert_near(load_tensors(two / name / "weights.safetensors"), load_tensors(two / "plain/weights.safetensors"))


def _killed(rank: int, folder: Path) -> None:
    """The second process is killed in a step of the second epoch."""
    take, taken = sharding._sum_gradients, []

    def dying(*given: object) -> object:
        taken.append(given)
        if rank == 1 and len(taken) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return take(*given)  # type: ignore[arg-type]

    sharding._sum_gradients = dying  # type: ignore[assignment]
    try:
        small_run(folder, *RUN, SHARDED)
    except LostProcessError:
        os._exit(7)


def test_a_process_that_is_killed_ends_all(tmp_path: Path) -> None:
    assert together(_killed, tmp_path / "run") == [7, -signal.SIGKILL]
    assert [epoch for epoch, *_ in metrics(tmp_path / "run")] == [1, 1]


def test_what_cannot_be_sharded_is_refused_before_data_are_read(tmp_path: Path) -> None:
    (unreadable := tmp_path / "data.npy").write_text("no array")
    with pytest.raises(ValueError, match="is of several processes, and this is one"):
        train(unreadable, tmp_path / "run", sets=[SHARDED])
    with pytest.raises(ValueError, match="is not for AdversarialCorrelation, which plays against an opponent"):
        check_sharding(TrainingSpec(shard_parameters=True), 2, [AdversarialCorrelation])
    for options in ({"only": ["priors"]}, {"aggressive": {}}):
        with pytest.raises(ValueError, match=f"is of all weights, and training.{next(iter(options))} of some"):
            check_sharding(TrainingSpec.model_validate({"shard_parameters": True, **options}), 2)
    bounds = replace(task_of(4), objective=IWAE(4, bounds=2, partial=True))
    with pytest.raises(ValueError, match="for one loss of all weights, and the objective has another for inference"):
        Shards(bounds, Processes())
    task = task_of(4)
    task.model.decoder.register_parameter("gain", torch.nn.Parameter(torch.ones(())))
    with pytest.raises(ValueError, match=r"decoder\.gain is a number without a shape; give it the shape"):
        Shards(task, Processes())
    assert model_tensors(task.model)
