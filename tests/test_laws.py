"""Laws that hold for any model, checked where everything is known in closed form."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from models_for_tests import (
    OBJECTIVES,
    data_of,
    gradient,
    linear_gaussian,
    model_of,
    objective_of,
    one_hot,
    standard_errors_apart,
    trace_at,
)
from rounding_for_tests import close_in_ulps
from torch import Tensor

from vaekit.data.batch import Batch
from vaekit.models import VAE
from vaekit.models.trace import Trace
from vaekit.objectives.base import Objective, log_mean_exp
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.weighted import IWAE, STL, DReG
from vaekit.seeding import seeded

ERRORS = 4.0
"""Standard errors that an estimate may be off; of many numbers at once, the worst may be a little more."""
WORST = 4.5


pytestmark = pytest.mark.usefixtures("_float64")


def log_weights(model: VAE, x: Tensor, samples: int, seed: int = 0) -> Tensor:
    with seeded(seed), torch.no_grad():
        return model.trace(Batch(x), samples=samples).log_weight


def test_bounds_are_ordered_and_below_log_prob():
    truth = linear_gaussian()
    x = truth.draw(4)
    log_p = truth.log_prob(x)
    weights = log_weights(truth.model(wrong=0.4), x, 2**15)
    # The same draws in groups of k: the bounds differ by k alone.
    bounds = [log_mean_exp(weights.unflatten(0, (-1, k)).movedim(1, 0)) for k in (1, 2, 4, 16, 128)]
    for lower, higher in pairwise(bounds):
        gain = higher - lower.unflatten(0, (len(higher), -1)).mean(1)
        assert gain.min() > -1e-12  # Jensen's inequality, group by group
        assert (gain.mean(0) > ERRORS * gain.std(0) / len(gain) ** 0.5).all()
    for bound in bounds:
        assert (bound.mean(0) < log_p + ERRORS * bound.std(0) / len(bound) ** 0.5).all()
    assert (bounds[0].mean(0) < log_p - 0.1).all()
    assert (bounds[-1].mean(0) - log_p).abs().max() < 0.02


@pytest.mark.parametrize("latent", [1, 2, 3])
def test_weights_are_log_prob_exactly_at_the_true_posterior(latent: int):
    truth = linear_gaussian(size=4, latent=latent, seed=latent)
    x = truth.draw(5)
    log_p = truth.log_prob(x).numpy()
    weights = log_weights(truth.model(), x, 50)
    assert (weights - torch.from_numpy(log_p)).abs().max() < 1e-10
    scores = truth.model().score(x, samples=50, seed=0)
    assert torch.allclose(scores.log_prob, torch.from_numpy(log_p), rtol=0, atol=1e-10)
    assert scores.log_prob_variance.max() < 1e-15  # rounding


def test_elbo_at_the_true_posterior_is_log_prob_in_expectation():
    truth = linear_gaussian()
    x = truth.draw(1)
    log_p = float(truth.log_prob(x[0]))
    with seeded(1), torch.no_grad():
        trace = truth.model().trace(Batch(x), samples=20_000)
        elbo = trace.log_px - trace.latents[0].kl
    assert trace.latents[0].closed_form
    assert standard_errors_apart(elbo, log_p).max() < ERRORS


def test_iwae_of_one_sample_is_the_elbo():
    model = model_of(posterior="flow", prior="mixture")
    x = data_of(model.likelihood.domain, (6, 4))
    with seeded(0):
        trace = model.trace(Batch(x))
    assert close_in_ulps(IWAE(1)(trace, 1.0).loss, ELBO()(trace, 1.0).loss)
    assert torch.allclose(IWAE(1)(trace, 1.0).loss, -trace.log_weight.mean())


def test_exact_posterior_gives_stl_no_gradient_and_the_elbo_a_noisy_one():
    truth = linear_gaussian()
    model, x = truth.model(), truth.draw(3)
    with seeded(0):
        trace = model.trace(Batch(x), samples=7)
    stl = gradient(STL(7)(trace, 1.0).loss, model)
    with seeded(0):
        trace = model.trace(Batch(x), samples=7)
    plain = gradient(-trace.log_weight.mean(), model)
    for name in stl:
        if name.startswith("posteriors"):
            assert stl[name].abs().max() < 1e-10
            assert plain[name].abs().max() > 1e-5
        else:
            assert torch.allclose(stl[name], plain[name], rtol=0, atol=1e-12)


def negative_log_weight(trace: Trace) -> Tensor:
    return -trace.log_weight.mean()


def gradients(model: VAE, x: Tensor, loss, samples: int, repeats: int, copies: int, y: Tensor | None = None) -> Tensor:
    """Flattened gradients of independent estimates, each an average over `copies` of x: (repeats, parameters)."""
    x = x.repeat(copies, *[1] * (x.dim() - 1))
    y = None if y is None else y.repeat(copies, 1)
    rows = []
    for seed in range(repeats):
        with seeded(seed):
            trace = model.trace(Batch(x, y), samples)
        rows.append(torch.cat([g.flatten() for g in gradient(loss(trace), model).values()]))
    return torch.stack(rows)


def loss_of(objective: Objective):
    return lambda trace: objective(trace, 1.0).loss


PAIRS = [
    ("diagonal-normal", "standard-normal", {"z": 2}, 0),
    ("full-rank-normal", "mixture", {"z": 2}, 2),
    pytest.param("diagonal-normal", "vamp", {"z": 2}, 0, marks=pytest.mark.slow),
    ("flow", "vamp", {"z": 2}, 2),
    ("diagonal-normal", "flow", {"z": 1, "w": 2}, 0),
]


@pytest.mark.parametrize(("posterior", "prior", "latents", "condition"), PAIRS)
def test_stl_and_dreg_agree_in_expectation_with_elbo_and_iwae(posterior, prior, latents, condition):
    model = model_of(
        posterior=posterior, prior=prior, latents=latents, condition=condition, likelihood="normal", event_shape=(2,)
    )
    x = data_of(model.likelihood.domain, (2, 2))
    y = one_hot(2, condition) if condition else None
    k, repeats, copies = 4, 20, 100
    estimates = {
        name: gradients(model, x, loss, k, repeats, copies, y)
        for name, loss in {
            "plain": negative_log_weight,
            "elbo": loss_of(ELBO()),
            "stl": loss_of(STL(k)),
            "iwae": loss_of(IWAE(k)),
            "dreg": loss_of(DReG(k)),
        }.items()
    }
    # Nearly every parameter has a gradient to agree on: a flow's masked weights alone have none.
    assert (estimates["plain"] != 0).any(0).double().mean() > 0.8
    for one, other in [("elbo", "plain"), ("stl", "plain"), ("dreg", "iwae")]:
        apart = standard_errors_apart(estimates[one] - estimates[other], 0.0)
        assert apart.max() < WORST, (one, other)
    # The test can tell these two apart, so that it would tell a wrong gradient too.
    assert standard_errors_apart(estimates["iwae"] - estimates["plain"], 0.0).max() > 2 * WORST


def test_dreg_has_less_variance_for_the_encoder_and_the_same_for_the_decoder():
    truth = linear_gaussian()
    model, x = truth.model(wrong=0.2), truth.draw(2)
    k = 32
    iwae, dreg = (gradients(model, x, loss_of(o), k, 60, 5) for o in (IWAE(k), DReG(k)))
    sizes = [p.numel() for p in model.parameters()]
    names = [name for name, _ in model.named_parameters()]
    for name, one, other in zip(names, iwae.split(sizes, -1), dreg.split(sizes, -1), strict=True):
        if name.startswith("posteriors"):
            assert other.var(0).sum() < 0.3 * one.var(0).sum(), name
        else:
            assert torch.allclose(one, other), name


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("posterior", "prior"), [("full-rank-normal", "standard-normal"), ("flow", "mixture")])
def test_every_term_is_nats_per_datum(objective: str, posterior: str, prior: str):
    model = model_of(posterior=posterior, prior=prior, latents={"z": 2, "w": 1})
    x = data_of(model.likelihood.domain, (3, 4))
    with seeded(0), torch.no_grad():
        z = {latent.name: latent.z for latent in model.trace(Batch(x), samples=5).latents}
    results = []
    for copies in (1, 2):
        twice = {name: value.repeat(1, copies, 1) for name, value in z.items()}
        result = objective_of(objective)(trace_at(model, x.repeat(copies, 1), twice), 1.0)
        results.append({"loss": result.loss.detach()} | result.terms)
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        assert float(value) == pytest.approx(float(results[1][name]), rel=1e-12), name
