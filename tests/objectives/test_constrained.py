"""GECO: the multiplier follows the distortion, the target holds in the end, and a resumed training is the same."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from models_for_tests import linear_gaussian, refuses
from runs_for_tests import SMALL, assert_same_run, small_run
from torch.distributions import Distribution, Normal

from vaekit import Callbacks, fit, train
from vaekit.data.batch import Batch
from vaekit.distributions.shapes import independent
from vaekit.models.trace import Latent, Trace
from vaekit.objectives import ELBO, GECO
from vaekit.seeding import seeded
from vaekit.training.records import Epoch
from vaekit.training.step import traced
from vaekit.training.weights import read_tensors

pytestmark = pytest.mark.usefixtures("_float64_but_of_runs")


class Given(Distribution):
    """A likelihood whose log-probability is given."""

    def __init__(self, log_prob: torch.Tensor) -> None:
        self.value = log_prob

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self.value


def trace_of(distortion: float) -> tuple[Trace, torch.Tensor]:
    """A trace of two data with this distortion and a KL of 2 nats each, and the means of its posteriors."""
    means = torch.tensor([[2.0], [-2.0]], requires_grad=True)
    q = independent(Normal(means, torch.ones(2, 1)))
    latent = Latent("z", q.rsample((1,)), q, independent(Normal(torch.zeros(1), torch.ones(1))))
    log_px = torch.full((1, 2), -distortion) + 0 * means.sum()
    return Trace(Batch(torch.zeros(2, 1)), Given(log_px), (latent,)), means


def test_the_multiplier_follows_the_average_of_the_distortion_by_hand() -> None:
    objective, log_multiplier, average = GECO(target=10.0, rate=0.1, decay=0.8), 0.0, None
    for distortion in (10.5, 10.1, 14.0, 9.0, 2.0, 2.0, 10.0):
        trace, means = trace_of(distortion)
        found = objective(trace, 0.5)
        beyond = distortion - 10.0
        assert float(found.loss.detach()) == pytest.approx(12 + math.exp(log_multiplier) * beyond)
        assert float(found.terms["multiplier"]) == pytest.approx(math.exp(log_multiplier))
        assert float(found.terms["elbo"]) == pytest.approx(-distortion - 2)
        (pull,) = torch.autograd.grad(found.loss, means)
        torch.testing.assert_close(pull, means.detach() / 2)  # that of the KL alone, here
        average = beyond if average is None else 0.8 * average + 0.2 * beyond
        log_multiplier += 0.1 * min(max(average, -1.0), 1.0)
        assert float(objective.multiplier) == pytest.approx(math.exp(log_multiplier))
    for _ in range(200):
        objective(trace_of(99.0)[0])
    assert float(objective.multiplier) == pytest.approx(1e4)


def test_where_no_gradient_is_taken_it_is_the_elbo_and_nothing_moves() -> None:
    objective, (trace, _) = GECO(target=1.0), trace_of(7.0)
    with torch.no_grad():
        found = objective(trace)
        assert float(found.loss) == pytest.approx(float(ELBO()(trace).loss)) == pytest.approx(9.0)
    assert float(objective.multiplier) == 1


@pytest.mark.parametrize("less", [0.3, -0.3])
def test_the_target_holds_in_the_end(less: float) -> None:
    """A target below the distortion of the best ELBO takes a multiplier above 1, one above it one below."""
    known = linear_gaussian()
    model, x = known.model(), known.draw(1000)
    with seeded(0), torch.no_grad():
        usual = -float(traced(model, ELBO(samples=50), Batch(x)).log_px.mean())
    for each in (model.decoder, model.likelihood):
        each.requires_grad_(False)
    objective = GECO(target=usual - less, rate=0.05, decay=0.8)
    fit(model, x, objective, epochs=24, batch_size=100, learning_rate=0.02)
    with seeded(1), torch.no_grad():
        found = -float(traced(model, ELBO(samples=50), Batch(x)).log_px.mean())
    assert found == pytest.approx(usual - less, abs=0.12)
    assert (float(objective.multiplier) > 1) == (less > 0)


def test_a_resumed_training_is_the_same(tmp_path: Path) -> None:
    sets = ("objective={name='geco', target=110.0}", "data.train=200", "data.validation=50", "training.epochs=3")
    small_run(tmp_path / "whole", *sets)

    def stop(records: list[Epoch]) -> None:
        if records[0].epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("digits", tmp_path / "cut", sets=[*SMALL, *sets], callbacks=Callbacks(on_epoch=stop))
    train(None, tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    state = read_tensors(max((tmp_path / "whole" / "checkpoints").glob("epoch-*")), "objective")
    assert float(state["0.log_multiplier"]) == pytest.approx(6 * 0.01, abs=1e-6)  # the target is far after six steps


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rate": 0.0}, "rate must be above 0"), ({"decay": 1.0}, "decay must be"), ({"target": math.nan}, "target must")],
)
def test_what_it_refuses(options: dict[str, float], message: str) -> None:
    with refuses(message):
        GECO(**{"target": 1.0, **options})
