"""Densities against SciPy and torch, samplers against their densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import refuses, standard_errors_apart
from rounding_for_tests import close_in_ulps
from scipy import stats
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    RelaxedOneHotCategorical,
)

from vaekit.distributions.bernoulli import IndependentBernoulli
from vaekit.distributions.bounds import bounded, checked_clamp
from vaekit.distributions.discrete import RelaxedOneHot
from vaekit.distributions.divergences import kl, kl_terms
from vaekit.distributions.levels import DiscretizedLogistic, Levels
from vaekit.distributions.mixtures import Mixture
from vaekit.distributions.moments import log_prob_stopped, mean
from vaekit.distributions.normals import TriangularNormal
from vaekit.distributions.shapes import Scaled, independent
from vaekit.distributions.tilted import TiltedUniform
from vaekit.posteriors import Flow, FullRankNormal
from vaekit.seeding import seeded, stream

ERRORS = 4.0
SMALL_P = 1e-4
"""A p-value below which a seeded test of a sampler fails."""


pytestmark = pytest.mark.usefixtures("_float64")


def diagonal(loc: Tensor, scale: Tensor) -> Independent:
    return independent(Normal(loc, scale, validate_args=False))


# -- densities -------------------------------------------------------------------------------------------------------


@given(
    loc=st.floats(-10, 30), log_scale=st.floats(-6, 6), levels=st.integers(2, 40), dtype=st.sampled_from(["32", "64"])
)
def test_discretized_logistic_is_the_logistic_of_scipy_over_each_level(loc, log_scale, levels, dtype):
    scale = math.exp(log_scale)
    p = DiscretizedLogistic(*(torch.tensor(v, dtype=getattr(torch, f"float{dtype}")) for v in (loc, scale)), levels)
    mass = p.log_prob(torch.arange(levels)).exp()
    edges = np.concatenate([[-np.inf], np.arange(levels - 1) + 0.5, [np.inf]])
    want = np.diff(stats.logistic(loc, scale).cdf(edges))
    assert np.allclose(mass, want, rtol=0, atol=1e-12 if dtype == "64" else 1e-4)
    assert float(p.mean) == pytest.approx(want @ np.arange(levels), rel=1e-9 if dtype == "64" else 1e-4, abs=1e-4)


@pytest.mark.parametrize(
    "shapes", [((3, 5, 784), (5, 784)), ((5, 98), (5, 98)), ((7,), (4, 7)), ((2, 1, 197), (6, 197))]
)
def test_independent_bernoullis_are_torchs(shapes: tuple[tuple[int, ...], tuple[int, ...]]):
    with seeded(0):
        logits, x = 10 * torch.randn(shapes[0]), torch.rand(shapes[1])
    x[..., ::2] = x[..., ::2].round()
    theirs = Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)
    ours = IndependentBernoulli(logits)
    assert torch.allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-12)
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    assert torch.equal(ours.mean, theirs.mean)
    single = IndependentBernoulli(logits.float()).log_prob(x.float()).double()
    assert torch.allclose(single, theirs.log_prob(x), rtol=1e-6)
    wide = ours.expand((2, *logits.expand_as(logits + x).shape[:-1]))
    assert type(wide) is IndependentBernoulli
    assert torch.allclose(wide.log_prob(x)[1], ours.log_prob(x))
    rows = IndependentBernoulli(logits[..., None, :], dimensions=2)
    assert torch.allclose(rows.log_prob(x[..., None, :]), ours.log_prob(x))


def test_independent_bernoullis_have_all_their_gradients():
    with seeded(0):
        logits, x = 3 * torch.randn(2, 3, 5, requires_grad=True), torch.rand(3, 5, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: IndependentBernoulli(given[0]).log_prob(given[1]), (logits, x))
    assert torch.autograd.gradgradcheck(lambda *given: IndependentBernoulli(given[0]).log_prob(given[1]), (logits, x))


def test_far_logits_of_bernoullis_are_finite_with_a_gradient():
    logits = torch.tensor([[-1e4, 1e4], [1e4, -1e4], [90.0, -90.0]], dtype=torch.float32).repeat(1, 100)
    logits.requires_grad_()
    log_p = IndependentBernoulli(logits).log_prob(torch.tensor([0.0, 1.0]).repeat(100))
    assert log_p.tolist() == pytest.approx([0.0, -2e6, -18_000.0], rel=1e-6)
    (gradient,) = torch.autograd.grad(log_p.sum(), logits)
    assert (gradient - gradient.round()).abs().max() < 1e-6
    assert gradient.round().abs().unique().tolist() == [0.0, 1.0]


def test_discretized_logistic_far_tails_are_finite_with_a_gradient():
    loc = torch.tensor([-1e3, 1e3, 3.0], dtype=torch.float32, requires_grad=True)
    scale = torch.tensor([0.1, 0.1, 1e-3], dtype=torch.float32, requires_grad=True)
    log_p = DiscretizedLogistic(loc, scale, 256).log_prob(torch.tensor([[255.0], [0.0], [77.0]]))
    gradients = torch.autograd.grad(log_p.sum(), [loc, scale])
    assert log_p.isfinite().all()
    assert all(g.isfinite().all() for g in gradients)
    # Where the mass has long underflowed, log P still falls in a straight line.
    assert float(log_p.detach()[0, 0]) == pytest.approx(-(254.5 + 1e3) / 0.1, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logits", [0.0, 1e-8, 1e-3, 0.0999, 0.1001, 1.0, 12.0, 15.0, 20.0, 100.0, 1000.0])
def test_tilted_uniform_is_the_truncated_exponential_of_scipy(logits: float, dtype: torch.dtype):
    precise = dtype == torch.float64
    x = np.linspace(0.0, 1.0, 11)
    for sign in (1, -1):
        p = TiltedUniform(torch.tensor(sign * logits, dtype=dtype))
        # exp(-l x) on [0, 1] is SciPy's truncexpon(l) scaled by 1/l; the sign mirrors it.
        oracle = stats.truncexpon(logits, scale=1 / logits) if logits else stats.uniform()
        want = oracle.logpdf(1 - x if sign > 0 else x)
        got = p.log_prob(torch.tensor(x, dtype=dtype)).numpy()
        assert np.allclose(got, want, rtol=1e-7 if precise else 1e-5, atol=1e-9 if precise else 1e-5)
        want_mean = oracle.mean() if logits > 0.05 else 0.5 - logits / 12
        assert float(p.mean) == pytest.approx(1 - want_mean if sign > 0 else want_mean, rel=1e-7 if precise else 1e-4)


def test_tilted_uniform_is_torchs_continuous_bernoulli_where_that_is_right():
    logits, x = torch.linspace(-8, 8, 33), torch.linspace(0, 1, 9)[:, None]
    torchs = torch.distributions.ContinuousBernoulli(logits=logits, validate_args=False)
    assert torch.allclose(TiltedUniform(logits).log_prob(x), torchs.log_prob(x), atol=1e-6)
    assert torch.allclose(TiltedUniform(logits).mean, torchs.mean, atol=1e-5)


def test_tilted_uniform_gradients_are_right_on_both_sides_of_the_series():
    logits = torch.tensor([-300.0, -1.0, -0.1001, -0.0999, -1e-9, 0.0, 0.0999, 0.1001, 40.0], requires_grad=True)
    for x in (0.0, 0.3, 1.0):
        value = TiltedUniform(logits).log_prob(torch.tensor(x))
        (got,) = torch.autograd.grad(value.sum(), logits)
        # The score of an exponential family: the statistic less its mean.
        assert torch.allclose(got, x - TiltedUniform(logits).mean.detach(), atol=1e-10)


def test_levels_has_the_moments_of_its_numbers():
    probabilities = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    p = Levels(probabilities.clamp(min=1e-30).log())
    numbers = np.arange(3)
    for row, mean_, variance in zip(probabilities.numpy(), p.mean, p.variance, strict=True):
        want = stats.rv_discrete(values=(numbers, row))
        assert float(mean_) == pytest.approx(want.mean())
        assert float(variance) == pytest.approx(want.var())


def test_scaled_pays_its_jacobian():
    location, scale = torch.tensor([-2.0, 5.0]), torch.tensor([0.5, 8.0])
    p = Scaled(Normal(torch.zeros(2), torch.tensor([1.0, 2.0])), location, scale)
    x = torch.tensor([[-1.0, 3.0], [0.0, 30.0]])
    want = stats.norm(location, [0.5, 16.0]).logpdf(x)
    assert np.allclose(p.log_prob(x), want)
    assert torch.equal(p.mean, location)
    assert torch.allclose(p.variance, torch.tensor([0.25, 256.0]))


def test_scaled_pays_its_jacobian_for_every_dimension_of_an_event():
    base = independent(Normal(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])))
    x = torch.randn(4, 3)
    for scale in (torch.tensor(5.0), torch.tensor([0.5, 8.0, 2.0]), torch.rand(4, 3) + 0.5):
        p = Scaled(base, torch.tensor(-1.0), scale)
        want = stats.norm(-1.0, scale * base.base_dist.scale).logpdf(x).sum(-1)
        assert np.allclose(p.log_prob(x), want)
    assert p.batch_shape == (4,)


def test_scaled_by_a_scale_of_its_own_for_each_draws_each_on_its_own():
    p = Scaled(Normal(0.0, 1.0), torch.tensor(0.0), torch.ones(2))
    with seeded(0):
        left, right = p.sample((20_000,)).unbind(-1)
    assert p.batch_shape == (2,)
    assert torch.corrcoef(torch.stack([left, right]))[0, 1].abs() < ERRORS / 20_000**0.5


OWN = {
    "levels": lambda: Levels(torch.randn(2, 5)),
    "discretized-logistic": lambda: DiscretizedLogistic(torch.randn(2) + 2, torch.tensor(1.5), 5),
    "tilted-uniform": lambda: TiltedUniform(torch.randn(2)),
    "scaled": lambda: Scaled(Normal(torch.randn(2), 1.0), torch.tensor(1.0), torch.tensor([0.5, 2.0])),
    "mixture": lambda: Mixture(torch.randn(2, 3), Normal(torch.randn(2, 3), 1.0)),
}


@pytest.mark.parametrize("name", OWN)
def test_expanded_they_are_the_same_for_all_of_a_batch(name: str):
    p = independent(OWN[name]())
    many = p.expand((4, 3))
    with seeded(0):
        x = many.sample()
    assert x.shape == (4, 3, 2)
    assert len(x.unique(dim=1)[0]) > 1
    assert type(many.base_dist) is type(p.base_dist)
    assert torch.allclose(many.log_prob(x), p.log_prob(x))
    assert torch.allclose(many.mean, p.mean.expand(4, 3, 2))


def test_mixture_is_the_weighted_sum_of_its_components():
    logits, loc, scale = torch.randn(3), torch.randn(3, 2), torch.rand(3, 2) + 0.2
    p, z = Mixture(logits, diagonal(loc, scale)), torch.randn(5, 4, 2)
    weights = torch.softmax(logits, 0).numpy()
    want = sum(w * stats.norm(m, s).pdf(z).prod(-1) for w, m, s in zip(weights, loc, scale, strict=True))
    assert np.allclose(p.log_prob(z).exp(), want)
    assert torch.allclose(p.mean, (torch.softmax(logits, 0)[:, None] * loc).sum(0))
    parts = np.stack([w * stats.norm(m, s).pdf(z).prod(-1) for w, m, s in zip(weights, loc, scale, strict=True)], -1)
    assert np.allclose(p.responsibilities(z), parts / parts.sum(-1, keepdims=True))


def test_responsibilities_of_mixtures_of_a_batch():
    logits, p = torch.randn(4, 3), diagonal(torch.randn(4, 3, 2), torch.ones(4, 3, 2))
    z = torch.randn(5, 4, 2)
    found = Mixture(logits, p).responsibilities(z)
    assert found.shape == (5, 4, 3)
    alone = Mixture(logits[1], diagonal(p.base_dist.loc[1], torch.ones(3, 2))).responsibilities(z[:, 1])
    assert torch.allclose(found[:, 1], alone)


# -- one-hots --------------------------------------------------------------------------------------------------------


def test_one_hots_have_the_masses_of_torchs():
    logits, classes = torch.randn(4, 5) * 3, torch.eye(5)
    q, torchs = RelaxedOneHot(logits), OneHotCategorical(logits=logits)
    assert torch.allclose(q.log_prob(classes[:, None]), torchs.log_prob(classes[:, None]))
    assert torch.allclose(q.mean, torchs.mean)
    for expand in (True, False):
        assert torch.equal(q.enumerate_support(expand), torchs.enumerate_support(expand))
    assert (q.batch_shape, q.event_shape) == (torchs.batch_shape, torchs.event_shape)
    many = q.expand((3, 4))
    with seeded(0):
        z = many.sample((2,))
    assert z.shape == (2, 3, 4, 5)
    assert torch.allclose(many.log_prob(z), q.log_prob(z))
    assert torch.allclose(many.mean, q.mean.expand(3, 4, 5))


def test_one_hots_are_drawn_as_often_as_their_masses_and_have_no_gradient():
    logits = torch.tensor([[2.0, 0.0, -3.0, 1.0], [0.0, 0.0, 0.0, -80.0]], requires_grad=True)
    q = RelaxedOneHot(logits)
    with seeded(0):
        z = q.rsample((40_000,))
    assert not z.requires_grad
    assert not q.has_rsample
    assert torch.equal(z, torch.nn.functional.one_hot(z.argmax(-1), 4).to(z.dtype))
    assert standard_errors_apart(z, q.mean.detach().expand_as(z)).max() < ERRORS
    assert z[:, 1, 3].sum() == 0


@pytest.mark.parametrize("temperature", [0.1, 0.67, 3.0])
def test_relaxed_one_hots_are_drawn_as_torchs(temperature: float):
    logits = torch.tensor([1.0, 0.0, -1.5])
    q = RelaxedOneHot(logits, torch.tensor(temperature))
    with seeded(0):
        mine, theirs = (
            q.sample((5_000,)),
            RelaxedOneHotCategorical(torch.tensor(temperature), logits=logits).sample((5_000,)),
        )
    assert torch.allclose(mine.sum(-1), torch.ones(5_000))
    for k in range(3):
        assert stats.ks_2samp(mine[:, k], theirs[:, k]).pvalue > SMALL_P


def test_relaxed_one_hots_have_the_gradient_of_the_softmax_of_their_noise():
    logits, temperature = torch.randn(2, 3, requires_grad=True), torch.tensor(0.7)
    weights = torch.randn(2, 3)
    with seeded(3):
        z = RelaxedOneHot(logits, temperature).rsample()
    (got,) = torch.autograd.grad((weights * z).sum(), logits)
    # J^T w for the Jacobian (diag(z) - z z^T) / t of a softmax, and no more: the noise does not depend on the logits.
    want = (z * weights - z * (z * weights).sum(-1, keepdim=True)) / temperature
    assert torch.allclose(got, want.detach())


def test_relaxed_one_hots_go_to_one_hots_when_cold_and_to_the_centre_when_hot():
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5])
    q = RelaxedOneHot(logits)
    distances = []
    for temperature in (1.0, 0.3, 0.1, 0.01, 1e-4):
        with seeded(0):
            z = RelaxedOneHot(logits, torch.tensor(temperature)).sample((20_000,))
        distances.append(float((1 - z.amax(-1)).mean()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-4
    assert standard_errors_apart(z - q.mean, 0.0).max() < ERRORS
    with seeded(0):
        assert torch.equal(z.round(), q.sample((20_000,)))  # of the same noise
        hot = RelaxedOneHot(logits, torch.tensor(1e4)).sample((1_000,))
    assert (hot - 0.25).abs().max() < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("groups", [1, 2])
def test_straight_through_is_a_one_hot_with_the_gradient_of_the_soft_one(groups: int, dtype: torch.dtype):
    logits = torch.randn(50, 6, dtype=dtype, requires_grad=True)
    weights, temperature = torch.randn(50, 6, dtype=dtype), torch.tensor(0.5, dtype=dtype)
    results = []
    for straight_through in (False, True):
        with seeded(1):
            z = RelaxedOneHot(logits, temperature, straight_through, groups).rsample()
        results.append((z.detach(), torch.autograd.grad((weights * z).sum(), logits)[0]))
    (soft, gradient), (hard, other) = results
    assert set(hard.unique().tolist()) == {0.0, 1.0}  # to the last bit
    assert torch.equal(hard.unflatten(-1, (groups, -1)).sum(-1), torch.ones(50, groups, dtype=dtype))
    assert torch.equal(hard.unflatten(-1, (groups, -1)).argmax(-1), soft.unflatten(-1, (groups, -1)).argmax(-1))
    assert close_in_ulps(gradient, other)
    assert gradient.abs().min() > 0


def test_groups_are_independent_one_hots_side_by_side():
    with seeded(0):
        logits, other = torch.randn(4, 6), torch.randn(6)
    q, p = RelaxedOneHot(logits, groups=2), RelaxedOneHot(other, groups=2)
    alone = [(RelaxedOneHot(a), RelaxedOneHot(b)) for a, b in zip(logits.split(3, -1), other.split(3, -1), strict=True)]
    with seeded(0):
        z = q.sample((20_000,))
    assert torch.allclose(
        q.log_prob(z), sum(one.log_prob(part) for (one, _), part in zip(alone, z.split(3, -1), strict=True))
    )
    assert torch.allclose(q.mean, torch.cat([one.mean for one, _ in alone], -1))
    assert standard_errors_apart(z - q.mean, 0.0).max() < ERRORS
    # Independent: the mean of the product is the product of the means.
    both = z[..., 0] * z[..., 4]
    assert standard_errors_apart(both - q.mean[..., 0] * q.mean[..., 4], 0.0).max() < ERRORS
    assert torch.allclose(kl_terms(q, p), torch.stack([kl(*each) for each in alone], -1))
    assert torch.allclose(q.expand((3, 4)).mean[1], q.mean)


def test_relaxed_draws_of_any_logits_are_finite():
    logits = torch.tensor([[0.0, 1e4, -1e4], [1e-30, 0.0, 0.0]], dtype=torch.float32, requires_grad=True)
    for temperature in (1e-3, 0.5, 100.0):
        with seeded(0):
            z = RelaxedOneHot(logits, torch.tensor(temperature)).rsample((100_000,))
        (gradient,) = torch.autograd.grad(z[..., 0].sum(), logits)
        assert z.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("groups", "size"), [(0, 4), (-1, 4), (3, 4), (1, 1), (2, 2), (1, 0)])
def test_one_hots_of_fewer_than_two_classes_are_refused(groups: int, size: int):
    with refuses(f"{size} numbers are no {groups} one-hots"):
        RelaxedOneHot(torch.zeros(size), groups=groups)


@pytest.mark.parametrize("options", [{"temperature": torch.tensor(1.0)}, {"groups": 2}])
def test_relaxed_and_several_one_hots_are_not_enumerated(options: dict):
    q = RelaxedOneHot(torch.zeros(4), **options)
    assert not q.has_enumerate_support
    with pytest.raises(NotImplementedError):
        q.enumerate_support()


# -- samplers --------------------------------------------------------------------------------------------------------


def discrete_fits(p: Distribution, levels: int, seed: int) -> float:
    """p-value of a chi-square test of 20,000 draws against p's own masses, rare levels together."""
    with seeded(seed):
        draws = p.sample((20_000,)).flatten()
    want = p.log_prob(torch.arange(levels, dtype=torch.float64)).exp().numpy() * len(draws)
    got = np.bincount(draws.long().numpy(), minlength=levels)
    assert len(got) == levels
    rare = want < 10
    if rare.any():
        got, want = np.append(got[~rare], got[rare].sum()), np.append(want[~rare], want[rare].sum())
    return 1.0 if len(got) == 1 else float(stats.chisquare(got, want * got.sum() / want.sum()).pvalue)


@pytest.mark.parametrize("seed", range(4))
def test_discrete_samplers_match_their_masses(seed: int):
    with seeded(seed):
        loc, scale, logits = torch.randn(()) * 6 + 4, torch.rand(()) * 4 + 0.1, torch.randn(9)
    assert discrete_fits(DiscretizedLogistic(loc, scale, 9), 9, seed) > SMALL_P
    assert discrete_fits(Levels(logits), 9, seed) > SMALL_P


@pytest.mark.parametrize("logits", [-300.0, -3.0, -0.01, 0.0, 1e-7, 0.5, 30.0])
def test_tilted_uniform_sampler_matches_the_cdf_of_scipy(logits: float):
    p = TiltedUniform(torch.tensor(logits))
    with seeded(0):
        draws = p.sample((5_000,))
    steep = abs(logits)
    oracle = stats.truncexpon(steep, scale=1 / steep) if steep > 1e-3 else stats.uniform()
    assert stats.kstest(1 - draws if logits > 0 else draws, oracle.cdf).pvalue > SMALL_P


def test_float32_samplers_stay_inside_their_support():
    with seeded(0):
        unit = TiltedUniform(torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], dtype=torch.float32)).sample((100_000,))
        level = DiscretizedLogistic(*torch.tensor([3.0, 100.0], dtype=torch.float32), levels=8).sample((100_000,))
    assert unit.dtype == level.dtype == torch.float32
    assert unit.isfinite().all()
    assert unit.min() >= 0
    assert unit.max() <= 1
    assert level.unique().tolist() == list(range(8))


# -- stopped gradients -----------------------------------------------------------------------------------------------


def posterior_of(name: str, features: Tensor) -> tuple[Distribution, list[Tensor]]:
    with seeded(1):
        if name == "flow":
            module = Flow(3, 2, transforms=2, hidden=(5,))
        elif name == "full-rank-normal":
            module = FullRankNormal(3, 2)
        else:
            raw = torch.randn(3, 4, requires_grad=True)
            loc, log_scale = (features @ raw).chunk(2, -1)
            if name == "normal":
                return diagonal(loc, log_scale.exp()), [raw]
            components = diagonal(torch.stack([loc, -loc], -2), log_scale.exp()[..., None, :].expand(-1, 2, -1))
            return Mixture(torch.zeros(len(loc), 2), components), [raw]
        return module(features), list(module.parameters())


@pytest.mark.parametrize("name", ["normal", "full-rank-normal", "mixture", "flow"])
def test_stopped_log_prob_has_the_value_and_the_gradient_in_z_alone(name: str):
    features = torch.randn(4, 3, requires_grad=True)
    q, parameters = posterior_of(name, features)
    z = torch.randn(5, 4, 2, requires_grad=True)
    stopped, plain = log_prob_stopped(q, z), q.log_prob(z)
    weights = torch.rand(5, 4)
    assert torch.allclose(stopped, plain, rtol=1e-12)
    (in_z,) = torch.autograd.grad((weights * stopped).sum(), z, retain_graph=True)
    assert torch.allclose(in_z, torch.autograd.grad((weights * plain).sum(), z, retain_graph=True)[0])
    leaks = torch.autograd.grad(stopped.sum(), [*parameters, features], allow_unused=True, retain_graph=True)
    assert all(leak is None for leak in leaks)
    # The stop does not use up q's own graph.
    assert any(g is not None for g in torch.autograd.grad(plain.sum(), parameters, allow_unused=True))


def test_stopped_log_prob_at_a_constant_has_no_gradient():
    loc = torch.zeros(1, 2, requires_grad=True)
    q = diagonal(loc, torch.ones(1, 2))
    assert not log_prob_stopped(q, torch.ones(3, 1, 2)).requires_grad
    with torch.no_grad():
        assert close_in_ulps(log_prob_stopped(q, torch.ones(3, 1, 2)), q.log_prob(torch.ones(3, 1, 2)))


# -- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5])
def test_triangular_normal_is_torchs(size: int):
    with seeded(0):
        factor = torch.randn(3, size, size).tril(-1) + torch.diag_embed(torch.rand(3, size) + 0.3)
        theirs = MultivariateNormal(torch.randn(3, size), scale_tril=factor)
    ours = TriangularNormal.of(theirs)
    z = torch.randn(7, 3, size)
    assert torch.equal(ours.scale_tril, theirs.scale_tril)
    for one, other in ((ours, theirs), (ours.expand((4, 3)), theirs.expand((4, 3)))):
        assert torch.allclose(one.covariance_matrix, other.covariance_matrix)
        assert torch.allclose(one.entropy(), other.entropy())
        for shape in ((), (1,), (2,), (2, 3)):
            draws = []
            for q in (one, other):
                with seeded(1):
                    draws.append(q.rsample(shape))
            assert torch.allclose(*draws)
    assert torch.allclose(ours.log_prob(z), theirs.log_prob(z))


def test_mean_is_the_closed_form_or_an_average_that_does_not_depend_on_the_seed():
    q = diagonal(torch.randn(3, 2), torch.rand(3, 2) + 0.2)
    assert torch.equal(mean(q), q.mean)
    with seeded(3):
        transformed = Flow(3, 2, transforms=2, hidden=(5,))(torch.randn(4, 3))
    torch.manual_seed(1)
    first = mean(transformed)
    assert torch.equal(first, mean(transformed))
    with seeded(5), torch.no_grad():
        draws = transformed.sample((50_000,))
    spread = draws.std(0) * (1 / 256 + 1 / 50_000) ** 0.5
    assert ((first - draws.mean(0)).abs() / spread).max() < ERRORS


def test_seeded_repeats_and_leaves_the_stream_as_it_was():
    torch.manual_seed(0)
    want = torch.rand(3)
    torch.manual_seed(0)
    with seeded(7):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(3), want)
    with seeded(7):
        assert torch.equal(torch.rand(2), inside)
    before = torch.get_rng_state()
    with seeded(None):
        torch.rand(1)
    assert not torch.equal(torch.get_rng_state(), before)


class Accelerator:
    """A device's random stream, as `torch.mps` has it: a number that counts up."""

    def __init__(self) -> None:
        self.state = 0

    def get_rng_state(self, device: int = 0) -> int:
        return self.state

    def set_rng_state(self, state: int, device: int = 0) -> None:
        self.state = state


def test_seeded_leaves_the_stream_of_any_accelerator_as_it_was(monkeypatch: pytest.MonkeyPatch):
    mps = Accelerator()
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "get_device_module", lambda kind: {"mps": mps}[kind])
    with seeded(7):
        mps.state += 5
    assert mps.state == 0


def test_importing_flows_leaves_argument_validation_as_it_was():
    Flow(2, 2, transforms=1, hidden=(3,))
    with pytest.raises(ValueError, match="scale"):
        Normal(0.0, -1.0)


@pytest.mark.parametrize("clamp", [(1.0, 1.0), (2.0, -2.0), (float("nan"), 1.0)])
def test_a_clamp_that_holds_nothing_is_refused(clamp: tuple[float, float]):
    with pytest.raises(ValueError, match="log_scale_clamp must be"):
        checked_clamp("log_scale_clamp", clamp)


def test_bounded_values_come_back_from_either_side() -> None:
    value = torch.tensor([-30.0, 0.3, 30.0], requires_grad=True)
    optimizer = torch.optim.SGD([value], lr=1.0)
    wanted = torch.tensor([0.7, -0.2, -0.5])
    for _ in range(200):
        optimizer.zero_grad()
        (0.5 * (bounded(value, -2.0, 2.0) - wanted).square()).sum().backward()
        optimizer.step()
    assert torch.allclose(value, wanted)


def test_bounded_values_are_not_pushed_further_out() -> None:
    value = torch.tensor([-3.0, 3.0], requires_grad=True)
    (bounded(value, -2.0, 2.0) * torch.tensor([1.0, -1.0])).sum().backward()
    assert value.grad is not None
    assert not value.grad.any()


OUTSIDE = torch.tensor([-1e30, -30.0, -2.0 - 1e-9, 3.0 + 1e-9, 30.0, 1e30, math.inf], dtype=torch.float64)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bound_lets_through_what_leads_back_and_nothing_that_leads_further_out(sign: int):
    value = torch.cat([OUTSIDE, torch.linspace(-2, 3, 9, dtype=torch.float64)]).requires_grad_()
    result = bounded(value, -2.0, 3.0)
    assert torch.equal(result, value.clamp(-2, 3))
    (slope,) = torch.autograd.grad(sign * 0.5 * result.sum(), value)
    low, high = value < -2, value > 3
    led_out = low if sign > 0 else high
    assert torch.equal(slope, torch.where(led_out, 0.0, 0.5 * sign))
    assert (value.detach()[led_out] != result[led_out]).all()
    assert torch.equal(slope[low | high] != 0, (high if sign > 0 else low)[low | high])


def test_a_bound_is_differentiated_twice_and_row_by_row():
    value = torch.tensor([-5.0, -1.0, 0.5, 5.0], dtype=torch.float64)

    def loss(value: Tensor) -> Tensor:
        return (bounded(value, -2.0, 3.0) ** 3).sum()

    at = value.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(at), at, create_graph=True)
    assert torch.allclose(first, torch.tensor([0.0, 3.0, 0.75, 27.0], dtype=torch.float64))
    (second,) = torch.autograd.grad(first.sum(), at)
    assert torch.allclose(second[1:3], 6 * value[1:3])
    rows = torch.stack([value, -value])
    by_row = torch.vmap(torch.func.grad(loss))(rows)
    assert torch.allclose(by_row[0], first)
    assert torch.allclose(by_row[1], torch.func.grad(loss)(-value))


def test_what_is_no_number_passes_a_bound():
    assert bounded(torch.tensor([math.nan], requires_grad=True), 0.0, 1.0).isnan().all()


def test_no_two_streams_of_a_run_are_the_same():
    """Seeds are 0 by default, whatever they are of."""
    names = [("preprocessing", start) for start in (0, 1, 500, 1000)] + [("evaluation", 0), ("evaluation", 1)]
    seeds = [stream(seed, epoch) for seed in range(3) for epoch in range(-1, 200)]
    seeds += [stream(seed, name, number) for seed in range(3) for name, number in names]
    assert len({*seeds, *range(3)}) == len(seeds) + 3
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pixels", [5, 112, 1000])
def test_bernoulli_of_half_sized_numbers_is_that_of_whole_ones(kind: torch.dtype, pixels: int) -> None:
    with seeded(0):
        logits, x = torch.randn(3, pixels).to(kind), (torch.rand(3, pixels) < 0.5).to(kind)
    logits[0], x[0] = 0.0, 1.0  # 112 factors of 1/2
    made = [logits.clone().requires_grad_(), logits.double().requires_grad_()]
    got, want = (IndependentBernoulli(each).log_prob(x.to(each.dtype)) for each in made)
    assert got.dtype == kind
    assert torch.allclose(got.double(), want, rtol=torch.finfo(kind).eps)
    gradients = [torch.autograd.grad(each.sum(), each_of)[0] for each, each_of in zip((got, want), made, strict=True)]
    assert torch.allclose(gradients[0].double(), gradients[1], atol=2 * torch.finfo(kind).eps)
