"""Draws that are led by leapfrog steps: weights whose mean is p(x), gradients through the steps, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import (
    LinearGaussian,
    data_of,
    linear_gaussian,
    model_of,
    refuses,
    standard_errors_apart,
)
from runs_for_tests import small_run
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.distributions import Independent, Normal

from vaekit import load_run
from vaekit.data.batch import Batch
from vaekit.data.preprocessing import Preprocessing
from vaekit.data.tensors import TensorSplit
from vaekit.distributions.leapfrog import Leapfrog
from vaekit.evaluation.annealing import Chains, anneal
from vaekit.evaluation.chained import chained
from vaekit.evaluation.decomposition import decomposed
from vaekit.evaluation.refinement import refine
from vaekit.models import VAE, Dynamics, HamiltonianVAE
from vaekit.objectives.aggregate import AdversarialDiscrepancy, Covariance, Discrepancy, TotalCorrelation
from vaekit.objectives.base import Sum
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.weighted import IWAE, STL, DReG
from vaekit.seeding import seeded

TRUTH = linear_gaussian()
S = 8_000


pytestmark = pytest.mark.usefixtures("_float64")


def led(truth: LinearGaussian = TRUTH, wrong: float = 0.4, **how: Any) -> HamiltonianVAE:
    """The linear model, whose posterior is off by `wrong`, with draws that are led."""
    plain = truth.model(wrong)
    parts = {name: getattr(plain, name) for name in ("encoder", "posteriors", "priors", "decoder", "likelihood")}
    return HamiltonianVAE(**parts, dynamics=Dynamics(truth.weight.shape[1], **how))


def small(**how: Any) -> HamiltonianVAE:
    own = {name: how.pop(name) for name in ("steps", "step_size", "temperature", "learned") if name in how}
    return model_of(structure={"name": "hamiltonian", "steps": 3, "temperature": 2.0, **own}, **how)  # type: ignore[arg-type, return-value]


def weights_of(model: VAE, x: Tensor, observed: Tensor | None = None, samples: int = S) -> Tensor:
    with seeded(0), torch.no_grad():
        return model.trace(Batch(x, observed=observed), samples).log_weight


@pytest.mark.parametrize(
    "how", [{"steps": 1, "step_size": 0.3, "temperature": 1.0}, {"steps": 3, "step_size": 0.2, "temperature": 2.0}]
)
def test_the_mean_of_weights_is_the_marginal_of_what_is_observed(how: Mapping[str, Any]) -> None:
    x = TRUTH.draw(4)
    gaps = torch.zeros(4, 3, dtype=torch.bool)
    gaps[1, 0] = gaps[2, 1] = gaps[2, 2] = True
    wanted = []
    for row, gap in zip(x.numpy(), gaps.numpy(), strict=True):
        seen = np.flatnonzero(~gap)
        wanted.append(multivariate_normal(TRUTH.mean[seen], TRUTH.covariance[np.ix_(seen, seen)]).logpdf(row[seen]))
    model = led(**how)
    found = weights_of(model, torch.where(gaps, torch.zeros(()), x), ~gaps)
    assert standard_errors_apart((found - torch.tensor(wanted)).exp(), 1.0).max() < 4.5
    whole = multivariate_normal(TRUTH.mean, TRUTH.covariance).logpdf(x.numpy())
    assert standard_errors_apart((weights_of(model, x) - torch.from_numpy(whole)).exp(), 1.0).max() < 4.5


def test_without_tempering_weights_are_those_of_the_start_but_for_the_size_of_steps() -> None:
    """Hamilton's equations keep log p(x, z) + log N(r); leapfrog steps do to an error of the square of their size."""
    x = TRUTH.draw(5)
    plain = weights_of(TRUTH.model(0.4), x, samples=20)
    errors = [
        (weights_of(led(steps=n, step_size=0.8 / n, temperature=1.0), x, samples=20) - plain).abs().mean()
        for n in (20, 40)
    ]
    assert errors[1] < 0.02
    assert float(errors[0] / errors[1]) == pytest.approx(4.0, rel=0.05)


def test_dynamics_that_are_trained_raise_the_bound_and_stay_below() -> None:
    x = TRUTH.draw(10)
    log_p = float(multivariate_normal(TRUTH.mean, TRUTH.covariance).logpdf(x.numpy()).mean())
    plain = float(weights_of(TRUTH.model(0.5), x, samples=2000).mean())
    model = led(wrong=0.5, steps=2, step_size=0.3, temperature=4.0)
    weights = list(model.dynamics.parameters())
    with seeded(0):
        for _ in range(20):
            slopes = torch.autograd.grad(model.trace(Batch(x), samples=10).log_weight.mean(), weights)
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    weight += 0.1 * slope.clamp(-1, 1)
    assert plain + 1 < float(weights_of(model, x, samples=2000).mean()) < log_p


def test_steps_keep_the_volume_of_codes_and_momenta_together() -> None:
    """The determinant of (z_K, r_K) by (z0, r0 before tempering), by autograd, of a slope that is no gradient."""
    q = Leapfrog(
        Independent(Normal(torch.zeros(1, 2), torch.ones(1, 2)), 1),
        lambda z: torch.tanh(z.flip(-1) * 3) - z,
        sizes=torch.tensor([0.4, 0.7]),
        tempers=torch.tensor([0.5, 0.8, 1.0]),
    )

    def moved(both: Tensor) -> Tensor:
        return torch.cat(q.moved(both[:2], both[2:]))

    for start in torch.randn(5, 4, generator=torch.Generator().manual_seed(0)):
        _, log_det = torch.linalg.slogdet(torch.autograd.functional.jacobian(moved, start))
        assert log_det.abs() < 1e-12


@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized-logistic", "normal"])
def test_gradients_go_through_the_steps(likelihood: str) -> None:
    """Those of a bound, beside differences of it, for one number of each part and of the dynamics."""
    model = small(likelihood=likelihood)
    batch = Batch(data_of(model.domain, (3, 4)))

    def loss() -> Tensor:
        with seeded(3):
            return -model.trace(batch, samples=2).log_weight.mean()

    weights = dict(model.named_parameters())
    slopes = torch.autograd.grad(loss(), list(weights.values()))
    assert {"dynamics.log_step", "dynamics.log_heat"} <= set(weights)
    for slope, weight in zip(slopes, weights.values(), strict=True):
        at, step = int(slope.abs().argmax()), 1e-6
        with torch.no_grad():
            flat = weight.view(-1)
            flat[at] += step
            up = loss()
            flat[at] -= 2 * step
            down = loss()
            flat[at] += step
        assert float(slope.flatten()[at]) == pytest.approx(float(up - down) / (2 * step), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("posterior", "condition"), [("full-rank-normal", 0), ("flow", 3), ("normal-mixture", 0)])
def test_it_is_asked_as_any_model(posterior: str, condition: int) -> None:
    model = small(posterior=posterior, prior="mixture", condition=condition)
    x, y = data_of(model.domain, (5, 4)), torch.arange(5) % 3 if condition else None
    holes = x.clone()
    holes[0, 1] = torch.nan
    assert torch.equal(model.encode(holes, y), model.encode(holes, y))
    assert model.encode(x, y, samples=3, seed=0).shape == (3, 5, 2)
    assert model.reconstruct(x, y, samples=2, seed=0).shape == (2, 5, 4)
    assert model.sample(5, y, seed=0).shape == (5, 4)
    scores = model.score(holes, y, samples=40, seed=0)
    assert scores.log_prob.isfinite().all()
    assert (scores.elbo < scores.log_prob).all()
    for objective in (ELBO(), IWAE(samples=3)):
        with seeded(0):
            trace = model.trace(Batch(x, model.one_hot(y)), samples=3)
            slopes = torch.autograd.grad(objective(trace, 0.5).loss, list(model.parameters()))
        assert all(each.isfinite().all() for each in slopes)


def test_what_is_not_learned_stays_and_is_saved(tmp_path: Path) -> None:
    model = small(learned=False)
    assert not any(each.requires_grad for each in model.dynamics.parameters())
    sizes, tempers = small(temperature=1.0, step_size=0.1, by=0.0).dynamics()
    assert torch.allclose(sizes, torch.tensor(0.1))
    assert torch.equal(tempers, torch.ones(4))
    with torch.random.fork_rng():
        torch.set_default_dtype(torch.float32)
        run = small_run(tmp_path / "run", "model.structure={name='hamiltonian', steps=2, temperature=3.0}")
    again = load_run(tmp_path / "run")
    assert np.array_equal(again.encode("test")[0], run.encode("test")[0])
    log_step = again.model.dynamics.log_step  # type: ignore[union-attr]
    assert log_step.shape == (3,)
    assert (log_step - np.log(0.05)).abs().max() > 1e-4


def test_terms_of_draws_alone_have_them_and_others_are_refused() -> None:
    model = led()
    batch = Batch(TRUTH.draw(6), rows=6)
    for term, said in (
        (TotalCorrelation(), "total-correlation needs the density of each number of a code"),
        (Covariance(), "covariance of kind 'II' needs the covariances of codes, which q of 'z' does not have"),
    ):
        with refuses(said):
            Sum((ELBO(), term))(model.trace(batch), 0.5)
    for term in (Discrepancy(), Covariance(kind="I"), AdversarialDiscrepancy(latent=2, width=4)):  # of draws alone
        slopes = torch.autograd.grad(term(model.trace(batch), 0.5).loss, list(model.dynamics.parameters()))
        assert any(each.abs().max() > 0 for each in slopes)


def test_what_asks_for_a_density_of_other_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = led()
    x = TRUTH.draw(6)
    batch = Batch(x, rows=6)
    for objective in (STL(), DReG(samples=2)):
        with refuses("a density of their own alone"):
            objective(model.trace(batch, samples=2), 0.5)
    split = TensorSplit(x, None, model.domain, Preprocessing())
    with refuses("a density of their own alone"):
        decomposed(model, split, "test")
    with refuses("a density of their own alone"):
        anneal(model, x, how=Chains(2, 2, 1))
    with monkeypatch.context() as few:
        few.setattr("vaekit.evaluation.annealing.Chains", partial(Chains, 2, 3, 1))
        assert chained(model, split, "test", 2, samples=5).how.start == "prior"  # where nobody says
    with refuses("posteriors that are normals"):
        refine(model, x)
    found = anneal(model, x, how=Chains(32, 30, 3, start="prior"))
    wanted = torch.from_numpy(multivariate_normal(TRUTH.mean, TRUTH.covariance).logpdf(x.numpy()))
    assert found.stderr.max() < 0.5
    assert ((found.log_prob - wanted).abs() / found.stderr).max() < 4.5


def test_what_it_can_not_be_made_of_is_refused() -> None:
    for latents, posterior, words in (
        ({"a": 2, "b": 1}, "diagonal-normal", "has one latent, got a, b"),
        ({"z": 2}, "relaxed-categorical", "'z', by RelaxedCategorical, is of classes"),
        ({"z": 2}, "fsq", "is of codes"),
        ({"z": 3}, "von-mises-fisher", "is of points of a space of its own"),
    ):
        with refuses(words):
            small(latents=latents, posterior=posterior)
    for option, value, words in (
        ("steps", 0, "steps must be at least 1"),
        ("step_size", 0.0, "step_size must be above 0"),
        ("temperature", 0.5, "temperature must be at least 1"),
    ):
        with refuses(words):
            small(**{option: value})
    plain = TRUTH.model()
    with refuses("dynamics are of 5 dimensions, the latent of 2"):
        HamiltonianVAE(plain.encoder, plain.posteriors, plain.priors, plain.decoder, plain.likelihood, Dynamics(5))
