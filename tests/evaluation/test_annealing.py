"""Annealed importance sampling: exact where log p(x) is known, bracketed where the data are the model's own."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from models_for_tests import SMALL, data_of, linear_gaussian, model_of, refuses
from runs_for_tests import small_run
from scipy import stats

from vaekit.cli import main
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.evaluation import annealing
from vaekit.evaluation.annealing import Annealed, Chains, _moved, _path, anneal, bracket
from vaekit.evaluation.chained import Chained
from vaekit.seeding import seeded
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import parse

pytestmark = pytest.mark.usefixtures("_float64")


@pytest.mark.parametrize("start", ["posterior", "prior"])
def test_it_is_log_prob_where_that_is_known(start: Any) -> None:
    """By a posterior that is wrong, so that weights of ten draws are far off."""
    truth = linear_gaussian()
    x = truth.draw(6)
    model = truth.model(wrong=0.8)
    found = anneal(model, x, how=Chains(100, 25, 3, start))
    errors = (found.log_prob - truth.log_prob(x)) / found.stderr
    assert errors.abs().max() < 4
    assert found.stderr.max() < 0.25
    assert ((found.acceptance > 0.4) & (found.acceptance < 0.95)).all()


def test_it_is_far_nearer_than_importance_weights_of_as_many_draws() -> None:
    truth = linear_gaussian(size=6, latent=4, sigma=0.2)
    x = truth.draw(5)
    model = truth.model(wrong=1.0)
    plain = model.score(x, samples=100, seed=0).log_prob
    found = anneal(model, x, how=Chains(16, 40, 3)).log_prob
    assert (found - truth.log_prob(x)).abs().mean() < 0.5 * (plain - truth.log_prob(x)).abs().mean()


def test_of_many_data_some_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is that of so many, and what is said of the first of them is the same."""
    truth = linear_gaussian()
    x, model, sizes = truth.draw(5), truth.model(wrong=0.8), list[int]()

    def path(model: Any, batch: Any, how: Chains) -> Any:
        sizes.append(len(batch))
        return _path(model, batch, how)

    monkeypatch.setattr(annealing, "ROWS", 2)
    monkeypatch.setattr(annealing, "_path", path)
    found = anneal(model, x, how=Chains(50, 10, 3))
    assert sizes == [2, 2, 1]
    assert ((found.log_prob - truth.log_prob(x)).abs() < 4 * found.stderr).all()
    torch.testing.assert_close(found.log_prob[:2], anneal(model, x[:2], how=Chains(50, 10, 3)).log_prob)


def test_at_the_true_posterior_all_chains_agree() -> None:
    truth = linear_gaussian()
    x = truth.draw(4)
    found = anneal(truth.model(), x, how=Chains(8, 10, 3))
    torch.testing.assert_close(found.log_prob, truth.log_prob(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.effective_chains, torch.full((4,), 8.0))


@pytest.mark.parametrize("start", ["posterior", "prior"])
def test_data_of_the_models_own_are_bracketed(start: Any) -> None:
    truth = linear_gaussian()
    model = truth.model(wrong=0.8)
    few, many = (bracket(model, 80, how=Chains(4, temperatures, 3, start)) for temperatures in (3, 40))
    assert 0 < many.gap < 0.5 * few.gap
    assert many.gap < 0.5
    for found in (few, many):
        apart = (found.upper - found.lower).std() / 80**0.5
        assert found.gap > -3 * apart


def test_a_step_leaves_its_distribution_as_it_is() -> None:
    """From draws of N(0, 1), by a hundred long and rough steps, to draws of N(0, 1)."""
    truth = linear_gaussian()
    model = truth.model()
    with seeded(0):
        path = _path(model, Batch(truth.draw(1)), Chains(start="prior"))
        z = path.draw(4000)
        size, scale = torch.tensor([0.9]), torch.ones(1, 2)
        accepted = torch.ones(())
        for _ in range(10):
            z, probability = _moved(path, z, 0.0, 3, size, scale)
            accepted = probability.mean()
    assert accepted < 0.98  # so that some are refused
    for each in z[:, 0].T:
        assert stats.kstest(each.numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"posterior": "flow", "prior": "flow"},
        {"prior": "mixture", "latents": {"a": 2, "b": 1}},
        {"structure": "hierarchical", "latents": {"a": 2, "b": 3}, "prior": "mixture"},
        {"condition": 3},
        {"posterior": "full-rank-normal", "prior": "vamp"},
        {"posterior": "normal-mixture"},
    ],
    ids=["flows", "several", "hierarchy", "conditional", "full-rank", "mixture"],
)
def test_any_continuous_model_agrees_with_many_importance_weights(options: dict[str, Any]) -> None:
    model = model_of(by=0.4, **options).eval()
    x = data_of(model.domain, (4, 4))
    y = torch.arange(4) % 3 if options.get("condition") else None
    found: Annealed = anneal(model, x, y, how=Chains(12, 15, 3))
    scores = model.score(x, y, samples=4000, seed=1)
    error = (found.stderr.square() + scores.log_prob_variance).sqrt() + 1e-3
    assert ((found.log_prob - scores.log_prob) / error).abs().max() < 4.5


def test_missing_cells_are_left_out() -> None:
    model = model_of(by=0.4).eval()
    x, observed = data_of(model.domain, (3, 4)), torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    found = anneal(model, Batch(x, observed=observed), how=Chains(8, 40, 3))
    assert abs(float(found.log_prob[1])) < 4 * float(found.stderr[1]) + 0.02
    other = torch.where(observed, x, 1 - x)
    again = anneal(model, Batch(other, observed=observed), how=Chains(8, 40, 3))
    assert torch.equal(again.log_prob, found.log_prob)


@pytest.mark.parametrize("options", [{}, {"full": True}], ids=["diagonal", "full"])
def test_chains_start_at_a_prior_that_is_a_mixture(options: dict[str, Any]) -> None:
    model = model_of(prior="mixture", options=SMALL | {"mixture": {"components": 3, **options}}).eval()
    x = data_of(model.domain, (2, 4))
    found = anneal(model, x, how=Chains(12, 10, 3, start="prior"))
    scores = model.score(x, samples=2000, seed=1)
    error = (found.stderr.square() + scores.log_prob_variance).sqrt() + 1e-3
    assert ((found.log_prob - scores.log_prob) / error).abs().max() < 4.5


def test_chains_start_at_the_prior_where_a_posterior_has_no_density_of_other_values() -> None:
    model = model_of(structure="hamiltonian").eval()
    x = data_of(model.domain, (2, 4))
    torch.testing.assert_close(
        anneal(model, x).log_prob, anneal(model, x, how=Chains(start="prior")).log_prob, rtol=0, atol=0
    )
    for ask in (lambda how: anneal(model, x, how=how), lambda how: bracket(model, 2, how=how)):
        with refuses("have a density of their own alone; accepted: Chains(start='prior')"):
            ask(Chains(2, 2, 1))


def test_what_it_is_not_for_is_refused() -> None:
    for options in ({"posterior": "relaxed-categorical"}, {"posterior": "vq", "prior": "uniform-tokens"}):
        try:
            model = model_of(**options).eval()
        except ValueError:
            continue
        with refuses("chains are for latents"):
            anneal(model, data_of(model.domain, (2, 4)), how=Chains(2, 2, 1))
    values: dict[str, Any] = {"classifier": {"name": "mlp"}, "likelihood": "bernoulli"}
    schema = Schema(event_shape=(4,), domain=Domain("binary"), condition=3, classes=("a", "b", "c"))
    for more, y, words in (
        ({}, None, "the label is summed out where it is not given"),
        ({"auxiliary": {"size": 2, "skip": True}}, [0, 1], "the decoder sees an auxiliary latent"),
    ):
        model = build_model(parse({"model": values | more}).model, schema).eval()
        with refuses(words):
            anneal(model, torch.zeros(2, 4), y, how=Chains(2, 2, 1))
    with refuses("y has labels 0..9"):
        bracket(model_of(condition=3).eval(), 2, torch.tensor([0, 9]), how=Chains(2, 2, 1))
    with refuses("temperatures must be at least 1, got 0"):
        Chains(temperatures=0)


def test_the_command_says_which_number_to_believe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annealing, "Chains", partial(Chains, 2, 3, 1))
    run = small_run(tmp_path / "run")
    assert main(["evaluate", str(run.path), "--metrics", "ais", "-n", "6", "--samples", "5"]) == 0
    said = capsys.readouterr().out
    assert "NLL of 6 data of test, 2 chains from the posterior over 3 temperatures" in said
    assert "by 5 importance weights each" in said
    assert main(["evaluate", str(run.path), "--metrics", "ais", "-n", "6", "--samples", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["ais"]
    assert found["n"] == 6
    assert found["how"]["chains"] == 2


def test_of_two_numbers_the_lower_is_believed_unless_they_agree() -> None:
    def reading(nll: float, by_weights: float) -> str:
        return Chained("test", 9, Chains(), nll, 1.0, 0.1, by_weights, 50, 0.7, 0.1).reading

    assert reading(80.0, 80.1) == "the two agree"
    assert reading(80.0, 85.0) == "the lower NLL is the nearer one, 80.00"
    assert reading(80.0, 70.0).startswith("the lower NLL is the nearer one, 70.00: more temperatures")
