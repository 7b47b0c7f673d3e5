"""Latents drawn one from another: laws where everything is known in closed form, and what is asked of such a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import DOMAINS, SMALL, data_of, gradient, model_of, moved, one_hot, refuses
from rounding_for_tests import close_in_ulps
from scipy import stats
from torch import Tensor, nn

from vaekit.data import Batch
from vaekit.data.domains import Domain
from vaekit.engine import recording
from vaekit.likelihoods import Bernoulli, FixedNormal
from vaekit.models import VAE, Given, HierarchicalVAE
from vaekit.networks.mlp import MLP
from vaekit.objectives.base import log_mean_exp
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.weighted import IWAE, STL, DReG
from vaekit.posteriors import DiagonalNormal, FullRankNormal
from vaekit.priors import DiagonalNormal as NormalPrior
from vaekit.priors import StandardNormal
from vaekit.seeding import seeded
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import changed, parse

ERRORS, WORST = 4.0, 4.5


pytestmark = pytest.mark.usefixtures("_float64")


# -- a chain of linear Gaussians, of which everything is known ---------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """z2 = e2, z1 = W2 z2 + s e1, x = W1 z1 + b + t e0 in units of the domain, each e standard normal."""

    lower: Tensor
    upper: Tensor
    bias: Tensor
    s: float
    t: float
    domain: Domain

    @property
    def of_z1(self) -> Tensor:
        """Its covariance."""
        return self.upper @ self.upper.T + self.s**2 * torch.eye(len(self.upper))

    def of_x(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance, in the data's units."""
        covariance = self.lower @ self.of_z1 @ self.lower.T + self.t**2 * torch.eye(len(self.bias))
        location, scale = np.asarray(self.domain.location), np.asarray(self.domain.scale)
        return location + scale * self.bias.numpy(), covariance.numpy() * np.outer(scale, scale)

    def draw(self, n: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng(0).multivariate_normal(*self.of_x(), n))

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.atleast_1d(stats.multivariate_normal(*self.of_x()).logpdf(x.numpy())))

    def model(self, wrong: float = 0.0) -> HierarchicalVAE:
        """With the true posteriors q(z1 given x) and q(z2 given z1); `wrong` moves their means and log-scales so."""
        (size, below), above = self.lower.shape, self.upper.shape[1]
        p = FixedNormal((size,), self.domain, sigma=self.t)
        first, second = FullRankNormal(size, below), FullRankNormal(below, above)
        prior, decoder = NormalPrior(below, condition=above), MLP((below,), p.parameter_shape, hidden=())
        model = HierarchicalVAE(
            encoder=MLP((size,), hidden=()),
            posteriors={"z1": first, "z2": Given(MLP((below,), hidden=()), second)},
            priors={"z1": Given(MLP((above,), hidden=()), prior), "z2": StandardNormal(above)},
            decoder=decoder,
            likelihood=p,
        )
        with torch.no_grad():
            decoder.layers[0].weight.copy_(self.lower)
            decoder.layers[0].bias.copy_(self.bias)
            prior.shift.weight.copy_(torch.cat([self.upper, torch.zeros_like(self.upper)]))  # type: ignore[union-attr]
            prior.start[below:] = 2 * math.log(self.s)
        set_posterior(first, self.lower, self.t, self.of_z1, self.bias, wrong)
        set_posterior(second, self.upper, self.s, torch.eye(above), torch.zeros(below), wrong)
        return model


@torch.no_grad()
def set_posterior(q: FullRankNormal, weight: Tensor, noise: float, prior: Tensor, bias: Tensor, wrong: float) -> None:
    """That of z ~ N(0, prior), where weight z + bias, with noise, is what q gets."""
    covariance = torch.linalg.inv(torch.linalg.inv(prior) + weight.T @ weight / noise**2)
    gain, factor = covariance @ weight.T / noise**2, torch.linalg.cholesky(covariance)
    q.head.weight.copy_(torch.cat([gain, torch.zeros_like(gain)]))
    q.head.bias.copy_(torch.cat([-gain @ bias + wrong, 2 * (factor.diagonal().log() + wrong)]))
    if q.relative is not None:
        rows, columns = q.rows_columns
        q.relative.bias.copy_(factor[rows, columns] / (factor.diagonal() * math.exp(wrong))[rows] / 0.01)


def chain(size: int = 4, below: int = 3, above: int = 2) -> Chain:
    generator = torch.Generator().manual_seed(0)
    columns = torch.arange(size, dtype=torch.float64)
    domain = Domain("real", location=tuple((columns - 1).tolist()), scale=tuple((0.5 * 2**columns).tolist()))
    lower, upper, bias = (
        torch.randn(*shape, generator=generator) for shape in ((size, below), (below, above), (size,))
    )
    return Chain(lower, upper, bias, 0.8, 0.6, domain)


def test_weights_are_log_prob_exactly_at_the_true_posteriors() -> None:
    truth = chain()
    x, model = truth.draw(5), truth.model()
    with seeded(0), torch.no_grad():
        weights = model.trace(Batch(x), samples=50).log_weight
    assert (weights - truth.log_prob(x)).abs().max() < 1e-10
    scores = model.score(x, samples=50, seed=0)
    assert torch.allclose(scores.log_prob, truth.log_prob(x), rtol=0, atol=1e-10)


def test_the_bound_with_its_closed_form_is_log_prob_in_expectation_at_the_true_posteriors() -> None:
    truth = chain()
    x = truth.draw(4)
    with seeded(0), torch.no_grad():
        trace = truth.model().trace(Batch(x), samples=2**15)
    assert [latent.closed_form for latent in trace.latents] == [False, True]
    bound = trace.log_px - sum(trace.kl.values())
    off = bound.mean(0) - truth.log_prob(x)
    assert (off.abs() < WORST * bound.std(0) / len(bound) ** 0.5).all()
    assert (bound.std(0) > 0.1).all()  # or the closed form was not used


def test_bounds_are_ordered_and_below_log_prob() -> None:
    truth = chain()
    x = truth.draw(4)
    with seeded(0), torch.no_grad():
        weights = truth.model(wrong=0.3).trace(Batch(x), samples=2**15).log_weight
    bounds = [log_mean_exp(weights.unflatten(0, (-1, k)).movedim(1, 0)) for k in (1, 4, 16, 128)]
    for lower, higher in pairwise(bounds):
        gain = higher - lower.unflatten(0, (len(higher), -1)).mean(1)
        assert gain.min() > -1e-12
        assert (gain.mean(0) > ERRORS * gain.std(0) / len(gain) ** 0.5).all()
    for bound in bounds:
        assert (bound.mean(0) < truth.log_prob(x) + ERRORS * bound.std(0) / len(bound) ** 0.5).all()
    assert (bounds[0].mean(0) < truth.log_prob(x) - 0.1).all()
    assert (bounds[-1].mean(0) - truth.log_prob(x)).abs().max() < 0.05


def test_stl_has_no_gradient_for_the_last_of_the_true_posteriors_and_none_in_expectation_for_the_others() -> None:
    truth = chain()
    model, x = truth.model(), truth.draw(1).expand(500, -1)
    found = []
    for seed in range(40):
        with seeded(seed):
            found.append(gradient(STL(1)(model.trace(Batch(x)), 1.0).loss, model))
    for name, first in found[0].items():
        if name.startswith("posteriors.z2"):
            assert first.abs().max() < 1e-10
        elif name.startswith("posteriors.z1"):
            each = torch.stack([gradients[name] for gradients in found])
            assert (each.mean(0).abs() <= WORST * each.std(0) / len(each) ** 0.5).all()


def moments_apart(z: Tensor, mean: Tensor, covariance: Tensor) -> float:
    """By how many standard errors the mean and the second moments of draws (N, D) are off, at worst."""
    off = z - mean
    products = off[:, :, None] * off[:, None, :] - covariance
    return max(float((each.mean(0).abs() / (each.std(0) / len(z) ** 0.5)).max()) for each in (off, products))


def test_samples_are_of_the_model_and_codes_of_its_posterior() -> None:
    truth = chain()
    model, n = truth.model(), 40_000
    mean, covariance = (torch.from_numpy(each) for each in truth.of_x())
    assert moments_apart(model.sample(n, seed=0), mean, covariance) < WORST
    top = torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    assert moments_apart(model.decode(top, draw=True, seed=2), mean, covariance) < WORST
    # (z1, z2) and x are normal together: q of both given x is what is left of the first given the second.
    joint = torch.cat([torch.cat([truth.of_z1, truth.upper], 1), torch.cat([truth.upper.T, torch.eye(2)], 1)])
    scale = torch.as_tensor(truth.domain.scale)
    across = joint[:, :3] @ truth.lower.T * scale
    x = truth.draw(1)
    gain = across @ torch.linalg.inv(covariance)
    expected = gain @ (x[0] - mean)
    assert torch.allclose(model.encode(x)[0], expected)
    assert moments_apart(model.encode(x, samples=n, seed=3)[:, 0], expected, joint - gain @ across.T) < WORST


def test_a_code_of_the_last_latent_is_decoded_by_the_means_of_those_below() -> None:
    truth = chain()
    model, z = truth.model(), torch.randn(6, 5)
    location, scale = (torch.as_tensor(each) for each in (truth.domain.location, truth.domain.scale))
    z1, z2 = model.split(z).values()
    assert torch.allclose(model.decode(z), location + scale * (z1 @ truth.lower.T + truth.bias))
    assert torch.allclose(model.decode(z2), location + scale * (z2 @ truth.upper.T @ truth.lower.T + truth.bias))
    x = truth.draw(3)
    assert torch.equal(model.reconstruct(x), model.decode(model.encode(x)))
    with refuses("z has shape (6, 3); accepted: (…, 5), the latents {'z1': 3, 'z2': 2}, or (…, 2), z2 alone"):
        model.decode(z1)


# -- as one builds it by names -----------------------------------------------------------------------------------------

PART = {"name": "mlp", **SMALL["mlp"]}
SCHEMA = Schema(event_shape=(4,), domain=Domain("binary"), condition=3)
GIVEN = {"prior": "diagonal-normal"}
THREE = {"a": {"size": 3, **GIVEN}, "b": {"size": 2, **GIVEN, "encoder": PART, "generator": PART}, "c": {"size": 1}}
TWO = {"z1": {"size": 3, **GIVEN}, "z2": {"size": 2, "encoder": PART, "generator": PART}}


def built(latents: Mapping[str, Any] = TWO, structure: str | None = "hierarchical", **model: Any) -> VAE:
    given = {"encoder": PART, "decoder": PART, "likelihood": "bernoulli", "structure": structure, "latents": latents}
    return moved(build_model(parse({"model": given | model}).model, SCHEMA))


@pytest.mark.parametrize("prior", ["standard-normal", "mixture", "vamp", "flow"])
@pytest.mark.parametrize("condition", [False, True, "decoder"])
def test_one_layer_is_a_vae(prior: str, condition: Any) -> None:
    latents = {"z": {"size": 2, "prior": {"name": prior, **SMALL.get(prior, {})}}}
    one, usual = (built(latents, structure, condition=condition) for structure in ("hierarchical", "vae"))
    assert (type(one), type(usual)) == (HierarchicalVAE, VAE)
    x, y = data_of(one.domain, (5, 4)), one_hot(5, 3) if condition else None
    for asked in (
        lambda model: model.trace(Batch(x, y), 3).log_weight,
        lambda model: model.trace(Batch(x, y), 3).kl["z"],
        lambda model: model.sample(5, y),
        lambda model: model.encode(x, y),
        lambda model: model.reconstruct(x, y, 3),
        lambda model: model.log_prob(x, y, 10),
    ):
        found = []
        for model in (one, usual):
            with seeded(0):
                found.append(asked(model))
        assert torch.equal(*found)


LATENTS: dict[str, Mapping[str, Any]] = {
    "two": TWO,
    "three": THREE,
    "flows": {
        "z1": {"size": 2, "posterior": "flow", "prior": {"name": "flow", **SMALL["flow"]}},
        "z2": {"size": 2, "posterior": "flow", "prior": {"name": "flow", **SMALL["flow"]}},
    },
    "mixtures": {
        "z1": {"size": 2, "posterior": "full-rank-normal", "prior": {"name": "mixture", "components": 3}},
        "z2": {"size": 2, "prior": {"name": "mixture", "components": 4}},
    },
    "pseudo-codes above": TWO | {"z2": TWO["z2"] | {"prior": {"name": "vamp", "components": 5}}},
    "classes above": {
        "z1": {"size": 2, **GIVEN},
        "z2": {"size": 3, "posterior": "relaxed-categorical", "prior": "uniform-categorical"},
    },
    "classes below": {
        "z1": {"size": 3, "posterior": "relaxed-categorical", "prior": "categorical"},
        "z2": {"size": 2},
    },
}
EVERY = pytest.mark.parametrize("case", LATENTS)


@pytest.mark.parametrize(
    ("case", "condition"),
    [
        pytest.param(case, condition, marks=[pytest.mark.slow] if case == "flows" and condition else [])
        for case in LATENTS
        for condition in (False, True, "decoder")
    ],
)
def test_what_is_asked_of_any_model(case: str, condition: Any) -> None:
    model = built(LATENTS[case], condition=condition)
    size, last = model.latent_size, list(model.sizes.values())[-1]
    x, y = data_of(model.domain, (6, 4)), one_hot(6, 3) if condition else None
    with seeded(0):
        trace = model.trace(Batch(x, y), 5)
    assert [latent.name for latent in trace.latents] == list(model.sizes)
    assert trace.log_weight.shape == (5, 6)
    gradients = gradient(-trace.log_weight.mean(), model)
    assert all(each.abs().max() > 0 for each in gradients.values())  # y reaches all that gets it, too
    assert model.encode(x, y).shape == (6, size)
    assert model.encode(x, y, 2, seed=0).shape == (2, 6, size)
    assert model.reconstruct(x, y, 2, seed=0).shape == (2, 6, 4)
    for z in (torch.zeros(6, size), torch.zeros(6, last)):
        assert model.decode(z, y).shape == model.decode(z, y, draw=True, seed=0).shape == (6, 4)
    assert model.sample(6, y, seed=0).shape == (6, 4)
    scores = model.score(x, y, samples=20, seed=0)
    assert scores.latent_mean.shape == (6, size)
    assert scores.log_prob.isfinite().all()
    assert (scores.elbo < scores.log_prob).all()
    has = case in ("mixtures", "classes above")
    assert model.has_clusters == has
    if has:
        assert model.clusters(x, y).shape == (6,)
    elif case != "pseudo-codes above":  # of which it says which is nearest
        with refuses("has clusters"):
            model.clusters(x, y)


@pytest.mark.parametrize("structure", ["hierarchical", "ladder"])
@pytest.mark.parametrize("condition", [False, True])
@pytest.mark.parametrize("deep", [False, True])
def test_a_vamp_prior_above_is_what_the_posterior_makes_of_pseudo_inputs(
    structure: str, condition: bool, deep: bool
) -> None:
    latents: dict[str, Any] = {**(THREE if deep else TWO)}
    last = list(latents)[-1]
    latents[last] = latents[last] | {"prior": {"name": "vamp", "components": 7}}
    model = built(latents, structure, condition=condition).eval()
    prior, y = model.priors[last], one_hot(4, 3) if condition else None
    sizes = list(model.sizes.values())
    seen = sizes[-2] if structure == "hierarchical" else 4  # codes of the latent before, or data
    assert prior.pseudo_inputs.shape == (7, seen)
    z = torch.randn(4, sizes[-1])
    with torch.no_grad(), seeded(0):
        prior.pseudo_inputs.uniform_(0, 1)
        u = prior.pseudo_inputs.repeat(4, 1)
        of_u = None if y is None else y.repeat_interleave(7, 0)
        if structure == "hierarchical":
            q = model.posteriors[last](u, of_u)
        else:
            q = model.infer(Batch(u, of_u), lambda name, q: q.mean)[last][0]
        each = q.log_prob(z.repeat_interleave(7, 0)).view(4, 7)
        p = prior(y)
        assert torch.allclose(p.log_prob(z), log_mean_exp(each.T))


@EVERY
def test_iwae_of_one_sample_is_the_elbo_of_draws(case: str) -> None:
    model = built(LATENTS[case])
    with seeded(0):
        trace = model.trace(Batch(data_of(model.domain, (6, 4))))
    assert close_in_ulps(IWAE(1)(trace, 1.0).loss, -trace.log_weight.mean())


def test_a_kl_in_closed_form_is_that_of_draws_in_expectation() -> None:
    model = built(THREE)
    with seeded(0), torch.no_grad():
        trace = model.trace(Batch(data_of(model.domain, (3, 4))), samples=2**14)
    assert [latent.exact for latent in trace.latents] == [False, False, True]
    last = trace.latents[-1]
    off = last.kl - (last.log_q - last.log_p)
    assert (off.mean(0).abs() < WORST * off.std(0) / len(off) ** 0.5).all()


def test_scores_do_not_depend_on_chunks_or_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = chain()
    model, x = truth.model(wrong=0.2), truth.draw(7)
    by_memory = [model.score(x, samples=1000, seed=0, memory=memory) for memory in (100_000, 10**9)]
    assert not torch.equal(by_memory[0].log_prob, by_memory[1].log_prob)  # of other draws
    for scores in by_memory:
        off = (scores.log_prob - truth.log_prob(x)).abs() / scores.log_prob_variance.sqrt()
        assert off.max() < WORST
    assert (by_memory[0].elbo - by_memory[1].elbo).abs().max() < 0.3
    monkeypatch.setattr(recording, "SOON", 2)
    monkeypatch.setattr(recording, "WORTHWHILE_WITHOUT", 0)
    again = model.score(x, samples=1000, seed=0, memory=100_000)
    assert torch.allclose(again.log_prob, by_memory[0].log_prob, rtol=0, atol=1e-9)
    assert torch.allclose(again.latent_mean, by_memory[0].latent_mean, rtol=0, atol=1e-9)


def test_free_bits_hold_what_is_a_kl_by_itself() -> None:
    model = built(TWO)
    with seeded(0):
        trace = model.trace(Batch(data_of(model.domain, (6, 4))))
    free = ELBO(free_bits=100.0)(trace, 1.0).loss
    assert torch.allclose(free, -trace.log_px.mean() + trace.kl["z1"].mean() + 200.0)


def test_dreg_is_refused() -> None:
    model = built(TWO)
    with refuses("DReG is for models whose latents are drawn apart"):
        DReG(3)(model.trace(Batch(data_of(model.domain, (6, 4))), samples=3), 1.0)


def test_lower_precision_is_of_the_networks_alone() -> None:
    model = built(TWO).float()
    x = data_of(model.domain, (3, 4)).float()
    with seeded(0), torch.no_grad():
        want = model.trace(Batch(x), samples=2).log_weight
    model.precision = torch.bfloat16
    with seeded(0):
        trace = model.trace(Batch(x), samples=2)
    assert {latent.z.dtype for latent in trace.latents} == {torch.float32}
    assert not torch.equal(trace.log_weight, want)
    assert torch.allclose(trace.log_weight, want, rtol=0.1, atol=0.5)


# -- what is refused ---------------------------------------------------------------------------------------------------

REFUSED: dict[str, dict[str, Any]] = {
    "model.latents.z1.prior is 'standard-normal', which is not given the latent above; choose": {
        "latents": TWO | {"z1": {}}
    },
    "model.latents.z1.prior is 'vamp', which is not given the latent above": {
        "latents": TWO | {"z1": {"prior": "vamp"}}
    },
    "model.latents.z1.encoder is set, but structure 'hierarchical' does not use it": {
        "latents": TWO | {"z1": GIVEN | {"encoder": "mlp"}}
    },
    "model.latents.z2.encoder is set, but structure 'vae' does not use it": {
        "structure": "vae",
        "latents": {"z2": TWO["z2"]},
    },
    "model.classifier is set, but structure 'hierarchical' does not use it": {"classifier": "mlp"},
    "structure 'semi-supervised' needs a classifier; give": {"structure": "semi-supervised", "latents": {"z": {}}},
    "unknown structure 'hierarchic' (did you mean 'hierarchical'?)": {"structure": "hierarchic"},
    "unknown option of structure 'vae': 'depth'": {"structure": {"name": "vae", "depth": 3}},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_structure_lacks_or_does_not_use_is_said(message: str) -> None:
    given = {"encoder": PART, "decoder": PART, "likelihood": "bernoulli", "structure": "hierarchical", "latents": TWO}
    with refuses(message):
        build_model(
            parse({"model": given | REFUSED[message]}).model, SCHEMA.model_copy(update={"classes": ("a", "b", "c")})
        )


def chained(first: int = 4, given: int = 4, features: int = 8, decoder: nn.Module | None = None) -> HierarchicalVAE:
    p = Bernoulli((6,), Domain("binary"))
    return HierarchicalVAE(
        encoder=MLP((6,), hidden=(8,)),
        posteriors={
            "z1": DiagonalNormal(8, first),
            "z2": Given(MLP((4,), hidden=(8,)), DiagonalNormal(features, 2)),
        },
        priors={"z1": Given(MLP((2,), hidden=(8,)), NormalPrior(given, condition=8)), "z2": StandardNormal(2)},
        decoder=decoder or MLP((4,), p.parameter_shape, hidden=()),
        likelihood=p,
    )


MISFITS = {
    "latent 'z1': its posterior is of 3 dimensions, but its prior of 4": lambda: chained(first=3),
    "the posterior of 'z2' does not take what it is given, of shape (3,), its first layer 4": lambda: chained(3, 3),
    "the posterior of 'z2' does not take what it is given, of shape (8,), its first layer 7": lambda: chained(
        features=7
    ),
    "the decoder does not take what it is given, of shape (4,), its first layer 5": lambda: chained(
        decoder=MLP((5,), (6,))
    ),
    "the decoder gives": lambda: chained(decoder=MLP((4,), (5,))),
}


@pytest.mark.parametrize("message", MISFITS)
def test_parts_that_do_not_fit_are_found_when_the_model_is_made(message: str) -> None:
    with refuses(message):
        MISFITS[message]()


def test_a_model_without_a_structure_is_what_it_was() -> None:
    assert type(model_of()) is VAE
    semi = parse({"model": {"classifier": "mlp"}})
    assert (semi.model.structure, semi.model.kind.name) == (None, "semi-supervised")
    assert changed(semi, ["model.classifier=none"]).model.kind.name == "vae"
    assert changed(parse({}), ["model.classifier=mlp"]).model.kind.name == "semi-supervised"


@pytest.mark.parametrize("structure", ["hierarchical", "ladder"])
def test_data_with_holes_are_taken(structure: str) -> None:
    """What the encoder is tried with once had the bits of missing cells twice."""
    domain = replace(DOMAINS["real"], missing=True)
    model = model_of(
        structure=structure, domain=domain, likelihood="normal", latents={"z1": 3, "z2": 2}, prior="diagonal-normal"
    )
    x = data_of(domain, (5, 4))
    observed = torch.rand(5, 4) < 0.7
    assert model.trace(Batch(x, observed=observed), samples=2).log_weight.isfinite().all()
