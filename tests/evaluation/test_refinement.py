"""The gap of a bound and its parts: known where log p(x) and the best posterior are."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from models_for_tests import LinearGaussian, data_of, linear_gaussian, model_of, one_hot, refuses, split_of
from runs_for_tests import small_run

from vaekit.cli import main
from vaekit.evaluation import chained, decomposition, refinement
from vaekit.evaluation.annealing import Chains, anneal
from vaekit.evaluation.estimates import Estimate
from vaekit.evaluation.refinement import Gaps, Refinement, gaps, refine
from vaekit.models import VAE
from vaekit.posteriors import DiagonalNormal
from vaekit.runs.run import Run

TRUTH = linear_gaussian(size=4, latent=3)


pytestmark = pytest.mark.usefixtures("_float64")


def diagonal(truth: LinearGaussian, wrong: float = 0.5) -> VAE:
    """With a diagonal posterior, its mean and scales off by so much."""
    own = truth.model()
    gain, _ = truth.posterior()
    posterior = DiagonalNormal(truth.weight.shape[0], truth.weight.shape[1])
    with torch.no_grad():
        posterior.head.weight.copy_(torch.cat([gain, torch.zeros_like(gain)]))
        posterior.head.bias.copy_(torch.cat([-gain @ truth.bias + wrong, torch.full((len(gain),), -1.0)]))
    return VAE(own.encoder, {"z": posterior}, dict(own.priors.items()), own.decoder, own.likelihood)


def test_of_a_family_that_has_the_posterior_all_of_the_gap_is_the_encoder_s() -> None:
    x = TRUTH.draw(5)
    found = refine(TRUTH.model(wrong=0.6), x, samples=300)
    exact = TRUTH.log_prob(x)
    assert (exact - found.elbo).min() > 0.3
    torch.testing.assert_close(found.refined, exact, rtol=0, atol=5e-4)
    torch.testing.assert_close(found.log_prob, exact, rtol=0, atol=5e-4)


def test_of_diagonal_normals_what_is_left_is_known() -> None:
    """The best has the precisions that are on the diagonal of P: KL = (sum log P_dd - log det P) / 2."""
    x = TRUTH.draw(5)
    model = diagonal(TRUTH)
    found = refine(model, x, how=Refinement(draws=16), samples=2000)
    precision = torch.linalg.inv(TRUTH.posterior()[1])
    gap = 0.5 * float(precision.diagonal().log().sum() - torch.logdet(precision))
    assert gap > 0.1
    errors = found.refined - (TRUTH.log_prob(x) - gap)
    assert errors.mean().abs() < 0.02
    assert (found.log_prob > found.refined + 0.2).all()
    # And of normals of any covariance nothing is.
    full = refine(model, x, how=Refinement(family="full-rank"), samples=300)
    torch.testing.assert_close(full.refined, TRUTH.log_prob(x), rtol=0, atol=1e-3)
    assert (full.elbo < full.refined).all()


def test_the_model_stays_as_it_is() -> None:
    model = TRUTH.model(wrong=0.3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    refine(model, TRUTH.draw(2), how=Refinement(steps=3), samples=4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("posterior", ["diagonal-normal", "full-rank-normal", "low-rank-normal", "householder"])
@pytest.mark.parametrize("family", ["own", "full-rank"])
def test_every_normal_gets_better(posterior: str, family: refinement.Family) -> None:
    model = model_of(posterior=posterior, prior="mixture", latents={"a": 3, "b": 2}, condition=3, by=1.0)
    x, y = data_of(model.domain, (4, 4)), one_hot(4, 3)
    x[0, 1] = torch.nan  # a cell that is not observed
    how = Refinement(steps=30, draws=4, family=family)
    found = refine(model, x, y, how, samples=200)
    assert found.elbo.shape == (4,)
    assert found.refined.mean() > found.elbo.mean()
    assert (found.refined < found.log_prob + 1e-9).all()


def test_data_in_parts_are_as_good_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = TRUTH.model(wrong=0.4), TRUTH.draw(3)
    whole = refine(model, x, samples=20)
    monkeypatch.setattr(refinement, "ROWS", 2)
    torch.testing.assert_close(refine(model, x, samples=20).refined, whole.refined, rtol=0, atol=1e-3)


def test_a_gap_is_the_sum_of_its_parts_with_errors_over_data() -> None:
    model = diagonal(TRUTH)
    x = TRUTH.draw(12)
    data = split_of(model, x)
    found = gaps(model, data, "train", 8, Refinement(steps=40), samples=100)
    assert found.n == 8
    parts = found.approximation_gap.value + found.amortization_gap.value
    assert found.inference_gap.value == pytest.approx(parts)
    assert found.inference_gap.value == pytest.approx(found.log_prob.value - found.elbo.value)
    assert found.amortization_gap.stderr > 0
    by_chains = anneal(model, x[:8], how=Chains(4, 10, 2)).log_prob
    other = gaps(model, data, "train", 8, Refinement(steps=40), samples=100, log_prob=by_chains)
    assert other.log_prob.value == pytest.approx(float(by_chains.mean()))
    with refuses("log_prob is of shape (3,); accepted: (8,)"):
        gaps(model, data, "train", 8, Refinement(steps=1), samples=1, log_prob=torch.zeros(3))
    assert math.isnan(gaps(model, data, "train", 1, Refinement(steps=1), samples=2).elbo.stderr)


def test_what_would_narrow_the_gap_is_said() -> None:
    def reading(approximation: float, amortization: float) -> str:
        parts = (Estimate(approximation + amortization, 0.1), Estimate(approximation, 0.1), Estimate(amortization, 0.1))
        return Gaps("test", 9, 5, Refinement(), Estimate(-5, 1), Estimate(-4, 1), Estimate(-3, 1), *parts).reading

    assert reading(0.01, 0.05).startswith("the bound is tight")
    larger = "a larger encoder, or longer training"
    assert reading(1.0, 3.0) == f"75 % of the gap is what {larger} would narrow, the decoder as it is"
    assert reading(3.0, 1.0) == "75 % of the gap is what a richer posterior would narrow, the decoder as it is"


@pytest.mark.parametrize("posterior", ["flow", "normal-mixture", "von-mises-fisher"])
def test_other_posteriors_are_refused(posterior: str) -> None:
    model = model_of(posterior=posterior)
    with refuses("posteriors that are normals, that of 'z' is none; accepted: diagonal-normal"):
        refine(model, data_of(model.domain, (2, 4)))


def test_what_it_is_not_for_is_refused() -> None:
    model = model_of(posterior="relaxed-categorical").eval()
    with refuses("is of classes"):
        refine(model, data_of(model.domain, (2, 4)))
    with refuses("steps must be at least 1, got 0"):
        Refinement(steps=0)
    with refuses("family is 'any'; accepted: 'own', 'full-rank'"):
        Refinement(family="any")  # type: ignore[arg-type]
    with refuses("rate must be above 0"):
        Refinement(rate=0)


def test_the_command_says_the_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "Refinement", lambda: Refinement(steps=3, draws=2))
    run = small_run(tmp_path / "run")
    command = ["evaluate", str(run.path), "--metrics", "inference-gap", "-n", "5", "--samples", "5"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "5 data of test" in said
    assert "approximation gap" in said
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["inference-gap"]
    assert found["how"]["steps"] == 3
    assert set(found["amortization_gap"]) == {"value", "stderr"}

    # What is not to be had of some data is said after their scores, and what of none before all data are scored.
    assert main(["evaluate", str(run.path), "--samples", "1", "--metrics", "modularity"]) == 2
    told = capsys.readouterr()
    assert "ELBO" in told.out
    assert "modularity compares factors" in told.err

    def never(*args: object, **options: object) -> None:
        raise ValueError("not of this model")

    monkeypatch.setattr(Run, "evaluate", lambda *args, **options: pytest.fail("data are scored"))
    asked = (("ais", chained, "chained"), ("inference-gap", refinement, "gaps"))
    for metric, module, name in (*asked, ("marginal-kl", decomposition, "decomposed")):
        monkeypatch.setattr(module, name, never)
        assert main(["evaluate", str(run.path), "--metrics", metric]) == 2
        assert "not of this model" in capsys.readouterr().err
