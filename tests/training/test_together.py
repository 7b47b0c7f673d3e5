"""Several processes train as one does: their shares of a batch, gradients, looks, runs that are killed and go on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands_for_tests import QUICK, command
from models_for_tests import OBJECTIVES, data_of, float64, model_of, objective_of
from processes_for_tests import Constant, together
from runs_for_tests import assert_same_run, equal, metrics, one_of_several, pieces, small_run, untimed, weights
from torch import Tensor

from vaekit.cli import main
from vaekit.data import Preprocessing
from vaekit.data.tensors import TensorSplit, partly_labelled
from vaekit.errors import LostProcessError
from vaekit.models import VAE
from vaekit.objectives.base import Objective
from vaekit.runs.run import load_run
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import parse
from vaekit.spec.parts import PARTS
from vaekit.system.processes import Processes
from vaekit.training.loop import optimize
from vaekit.training.meter import Meter
from vaekit.training.records import Epoch
from vaekit.training.step import Step
from vaekit.training.task import check
from vaekit.training.together import Part, Parts
from vaekit.training.validation import Validation
from vaekit.training.weights import load_tensors, save_tensors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")

# -- a batch is the sum of its shares ----------------------------------------------------------------------------------


def split_of(model: VAE, rows: int, labels: bool = False) -> TensorSplit:
    x = data_of(model.domain, (rows, *model.event_shape))
    y = torch.arange(rows) % 3 if labels or model.condition else None
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.8 if model.domain.missing else None
    return TensorSplit(x, y, model.domain, Preprocessing(), observed=observed)


def gradients(
    model: VAE, objective: Objective, data: TensorSplit, size: int, index: Tensor, processes: Processes
) -> tuple[list[Tensor], Part, Any]:
    parts = Parts(data, size, processes)
    (part,) = parts(index)
    with Constant():
        terms = Step(model, objective, parts.data, parts.batch_size)(part.index, 0.5, 0, part.data)
    found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
    return found, part, terms


def assert_shares_add_up(model: VAE, objective: Objective, data: TensorSplit, size: int, index: Tensor) -> None:
    model.train()
    whole, _, terms = gradients(model, objective, data, size, index, Processes())
    for count in (2, 3):
        found = [gradients(model, objective, data, size, index, Processes(rank, count)) for rank in range(count)]
        assert sum(part.weight for _, part, _ in found) == pytest.approx(1)
        for i, gradient in enumerate(whole):
            added = torch.stack([mine[i] * part.weight for mine, part, _ in found]).sum(0)
            torch.testing.assert_close(added, gradient, rtol=1e-10, atol=1e-10)
        values = torch.stack([own.values * part.weight for _, part, own in found]).sum(0)
        torch.testing.assert_close(values, terms.values, rtol=1e-10, atol=1e-10)


CASES: list[dict[str, Any]] = [
    *({"objective": name} for name in OBJECTIVES if name not in ("capacity", "geco")),
    {"structure": "hierarchical", "latents": {"a": 2, "b": 3}, "prior": "mixture"},
    {"condition": 3},
    {"posterior": "relaxed-categorical"},
    # Where pseudo-inputs are beyond their bounds, what leads back is decided in each share by itself.
    {"prior": "vamp", "encoder": "conv", "decoder": "conv", "event_shape": (1, 4, 5), "by": 0.0},
    {"likelihood": "columns"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
@pytest.mark.parametrize("rows", [8, 7, 1], ids=["full", "last", "too few for all"])
def test_the_gradients_of_shares_add_up_to_those_of_the_batch(case: dict[str, Any], rows: int) -> None:
    options = dict(case)
    objective = objective_of(options.pop("objective", "elbo"))
    model = model_of(**options)
    assert_shares_add_up(model, objective, split_of(model, 10), 8, torch.arange(9, -1, -1)[:rows])


def semi_supervised() -> VAE:
    values = {"classifier": {"name": "mlp", "hidden": [6]}, "latents": {"z": {"size": 2}}, "likelihood": "bernoulli"}
    small = {"name": "mlp", "hidden": [6]}
    schema = Schema(event_shape=(4,), domain=model_of().domain, condition=3, classes=("a", "b", "c"))
    with float64():
        return build_model(parse({"model": values | {"encoder": small, "decoder": small}}, PARTS).model, schema, 0)


@pytest.mark.parametrize("seen", [3, 4])
@pytest.mark.parametrize("objective", ["semi-supervised", "elbo"])
def test_shares_of_rows_of_which_some_show_a_label_add_up(objective: str, seen: int) -> None:
    """Whatever numbers of either there are for two and three processes, the cross-entropy of those that do too."""
    model = semi_supervised()
    data = partly_labelled(split_of(model, 30, labels=True), 6, seen, 3)
    others = [i for i in range(30) if i not in data.labelled.tolist()]
    for count in (8, 5, 1):
        index = torch.tensor([*data.labelled.tolist()[:seen], *others[:count]])
        assert_shares_add_up(model, objective_of(objective), data, seen + 8, index)


def test_more_processes_than_rows_of_a_batch_are_refused() -> None:
    p = pieces("training.batch_size=3", rows=10)
    with pytest.raises(ValueError, match="batch_size is 3, of all processes together; accepted for 4: from 4"):
        check(p.task(), 4)
    data = partly_labelled(p.train, 10, 1, 10) if p.train.y is not None else p.train
    p.options = p.options.model_copy(update={"batch_size": 8})
    with pytest.raises(ValueError, match="1 rows with a label and 7 without for 2 processes"):
        check(p.task(train=data), 2)


def test_the_first_step_that_is_not_finite_is_found_among_processes() -> None:
    found = [torch.tensor([0.0, 5.0, 60.0, *[9.0] * 2, *[2.0] * 2]), torch.tensor([0.0, 3.0, 40.0, *[1.0] * 2, 7, 7])]

    class Two(Processes):
        def gathered(self, tensor: Tensor) -> list[Tensor]:
            return [each.to(tensor) for each in found]

    meter = Meter(torch.device("cpu"))
    meter.sums = meter.last = torch.zeros(2, dtype=torch.float64)
    meter.gather(Two(0, 2))
    assert (int(meter.good), meter.last.tolist(), meter.sums.tolist(), meter.rows) == (3, [7, 7], [10, 10], 100)
    assert not bool(meter.finite)


# -- two processes -----------------------------------------------------------------------------------------------------

SAME = {
    "uneven": ("training.batch_size=99", "training.clip=20.0", "training.ema=0.9"),
    "mixture": ("model.latents.z.prior={name='mixture', components=3, fit_after=0.5}", "training.early_stopping=1"),
    "columns of a hierarchy": (
        "model.structure=hierarchical",
        "model.latents.w.size=2",
        "model.latents.z.prior=diagonal-normal",
        "training.batch_size=173",
    ),
    "parts one after another": ("training.batch_size=100", "training.accumulate=5"),
}
PYTHON = ("training.engine=python", "training.optimizer=sgd", "training.learning_rate=1e-4")
NORMALIZED = "model.encoder={name='mlp', hidden=[16], normalization='batch'}"


def trained(*sets: str, constant: bool = True) -> tuple[dict[str, Tensor], list[Epoch]]:
    p, records = pieces(*PYTHON, *sets, rows=250), list[Epoch]()
    with Constant() if constant else contextlib.nullcontext():
        optimize(p.task(), on_epoch=records.extend)
    return weights(p.model), records


def _train_all(rank: int, folder: Path) -> None:
    for name, sets in SAME.items():
        found, records = trained(*sets)
        save_tensors(folder / f"{name} {rank}", found)
        (folder / f"{name} {rank}.json").write_text(json.dumps(untimed(records)))
    save_tensors(folder / f"normalized {rank}", trained(NORMALIZED, "training.ema=0.9", constant=False)[0])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    assert together(_train_all, folder) == [0, 0]
    return folder


@pytest.mark.parametrize("name", SAME)
def test_two_processes_do_what_one_does(two: Path, name: str) -> None:
    """Of constant draws: same weights, same averages over training rows and rows held out, none twice or left out."""
    mine, records = trained(*SAME[name])
    theirs = load_tensors(two / f"{name} 0")
    assert equal(theirs, load_tensors(two / f"{name} 1"))
    assert mine.keys() == theirs.keys()
    for each, tensor in mine.items():
        torch.testing.assert_close(theirs[each], tensor, rtol=1e-5, atol=1e-6)
    told = json.loads((two / f"{name} 0.json").read_text())
    assert json.loads((two / f"{name} 1.json").read_text()) == []
    for (*head, terms), (*other_head, other) in zip(untimed(records), told, strict=True):
        assert head == other_head
        assert other == pytest.approx(terms, rel=1e-5)


def test_running_averages_are_the_same_in_all_processes(two: Path) -> None:
    first, second = (load_tensors(two / f"normalized {rank}") for rank in (0, 1))
    assert equal(first, second)
    (mean,) = (tensor for name, tensor in first.items() if name.endswith("running_mean"))
    one = trained(NORMALIZED, "training.ema=0.9", constant=False)[0]
    (alone,) = (tensor for name, tensor in one.items() if name.endswith("running_mean"))
    torch.testing.assert_close(mean, alone, rtol=0.2, atol=0.2)


# -- killed, and gone on with ------------------------------------------------------------------------------------------

RUN = ("training.epochs=4", "training.engine=replay", "training.early_stopping=3")


def _killed(rank: int, folder: Path) -> None:
    """The second process is killed in the third epoch, of which the first is told."""
    look = Validation.__call__

    def dying(self: Validation, epoch: int = 1) -> dict[str, float]:
        if rank == 1 and epoch == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return look(self, epoch)

    Validation.__call__ = dying  # type: ignore[method-assign]
    try:
        small_run(folder, *RUN)
    except LostProcessError:
        os._exit(7)


@pytest.mark.slow  # test_within.py has two processes that go on, test_sharding.py one of two that is killed
def test_a_run_of_which_a_process_is_killed_goes_on(tmp_path: Path) -> None:
    """Bit for bit with as many processes; of one more or less, see test_within."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert together(one_of_several, whole, False, RUN) == [0, 0]
    assert together(_killed, killed) == [7, -signal.SIGKILL]
    assert [epoch for epoch, *_ in metrics(killed)] == [1, 1, 2, 2]
    assert together(one_of_several, killed, True, RUN) == [0, 0]
    assert_same_run(killed, whole)


# -- the command -------------------------------------------------------------------------------------------------------


def _command(rank: int, folder: Path, *argv: str) -> None:
    with contextlib.ExitStack() as inside:
        for kind in ("stdout", "stderr"):
            file = inside.enter_context((folder / f"{rank}.{kind}").open("w"))
            setattr(sys, kind, file)
        status = main([*argv])
    os._exit(status)


def said(folder: Path) -> list[str]:
    return [(folder / f"{rank}.{kind}").read_text() for rank in (0, 1) for kind in ("stdout", "stderr")]


def test_the_command_trains_in_two_processes_and_speaks_once(tmp_path: Path) -> None:
    target, run = "digits", tmp_path / "run"
    given = ["train", target, "--out", str(run), *QUICK, "--samples=2"]
    assert together(_command, tmp_path, *given, grouped=False) == [0, 0]
    out, *others = said(tmp_path)
    assert others == ["", "", ""]
    assert out.count(f"run folder: {run}") == out.count("report: ") == 1
    assert len(load_run(run).history()) == 4


def test_an_error_of_all_processes_is_one_line(tmp_path: Path) -> None:
    given = ["train", "digits", "--out", str(tmp_path / "run"), "--set=training.batch_size=1"]
    assert together(_command, tmp_path, *given, grouped=False) == [2, 2]
    assert said(tmp_path) == [
        "",
        "vaekit: batch_size is 1, of all processes together; accepted for 2: from 2\n",
        "",
        "",
    ]
    assert not (tmp_path / "run").exists()


def _other_data(rank: int, folder: Path) -> None:
    x = np.random.default_rng(0).random((40 + rank, 3))
    np.save(folder / f"{rank}.npy", x)
    _command(rank, folder, "train", str(folder / f"{rank}.npy"), "--out", str(folder / "run"))


def test_an_error_of_one_process_is_said_by_it(tmp_path: Path) -> None:
    statuses = together(_other_data, tmp_path, grouped=False)
    assert statuses[1] == 2
    out, err, other, said_by_it = said(tmp_path)
    assert (out, err, other) == ("", "", "")
    assert said_by_it.startswith("vaekit: process 1: process 1 has data of the fingerprint ")


def test_other_commands_are_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    found = command("evaluate", "nowhere")
    assert found.status == 2
    assert found.err == "vaekit: vaekit evaluate is of one process; torchrun starts several for: vaekit train\n"
