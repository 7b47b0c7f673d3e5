"""Inference that is trained ahead: whose steps are whose, by the number of the step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models_for_tests import gradient, refuses
from runs_for_tests import assert_same_run, pieces, small_run

from vaekit import train
from vaekit.seeding import seeded
from vaekit.system.processes import Processes
from vaekit.training.checkpoint import Checkpoints
from vaekit.training.held import of_inference
from vaekit.training.loop import Training, optimize
from vaekit.training.meter import Meter
from vaekit.training.step import traced

SETS = ("training.optimizer=sgd", "training.learning_rate=1e-3", "training.batch_size=50", "training.epochs=4")
AHEAD = "training.aggressive={steps=2, until=0.5}"


def test_a_step_is_of_inference_of_all_else_or_at_last_of_all() -> None:
    """Of 200 rows 16 steps of 50: 8 by turns, of which each third is of the model, then of all; each is the plain
    step down the plain gradient.
    """
    p = pieces(*SETS, AHEAD, rows=200)
    training = Training(p.task(), None, Processes())
    training.begin()
    model, inferring = p.model, of_inference(p.model)
    whose = ["inference", "inference", "others"] * 2 + ["inference"] * 2 + ["all"] * 8
    index = torch.arange(50)
    for step, of in enumerate(whose):
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        with seeded(step):
            found = p.objective(traced(model, p.objective, p.train.training_batch(index)), 0.0)
        down = gradient(found.loss, model)
        with seeded(step):
            training._take_step(training.parts(index), 50, 0.0, Meter(index.device))
        training.state.step += 1
        for name, weight in model.named_parameters():
            moves = of == "all" or (weight in inferring) is (of == "inference")
            wanted = before[name] - 1e-3 * down[name] if moves else before[name]
            assert torch.allclose(weight, wanted, atol=1e-7), (step, name)
            assert moves or torch.equal(weight, before[name])


def test_a_run_goes_on_in_its_turn(tmp_path: Path) -> None:
    sets = (AHEAD, "training.epochs=3", "data.train=250")
    small_run(tmp_path / "whole", *sets)
    small_run(tmp_path / "run", *sets)
    run = tmp_path / "run"
    (run / "weights.safetensors").unlink()
    Checkpoints(run / "checkpoints").all()[-1].unlink()
    train(out=run, resume=True)
    assert_same_run(run, tmp_path / "whole")


def test_patience_counts_from_its_end() -> None:
    assert pieces(*SETS, AHEAD).task().settled == 2
    assert pieces(*SETS).task().settled == 0


@pytest.mark.parametrize(("only", "kind"), [("priors", "inference"), ("encoder", "all others")])
def test_weights_of_one_kind_take_no_turns(only: str, kind: str) -> None:
    p = pieces(*SETS, AHEAD, f"training.only=['{only}']", "model.latents.z.prior=mixture")
    with refuses(f"no weights of {kind} are trained"):
        optimize(p.task())
