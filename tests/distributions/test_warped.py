"""Mixtures of warped logistics: masses and densities sum to one, draws follow them, and they hold in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from vaekit.distributions.warped import ColumnOf, WarpedMixture, WholeMixture, ZeroOr
from vaekit.distributions.warps import WARPS, log_slope, unwarped, warped

LOGITS = torch.tensor([[0.3], [-0.4], [0.0]], dtype=torch.float64)
LOC = torch.tensor([[-1.0], [0.5], [1.2]], dtype=torch.float64)
SCALE = torch.tensor([[0.3], [0.1], [0.6]], dtype=torch.float64)


def column(warp, location=0.7, scale=1.4, ends=(-1e9, 1e9), whole=False):
    values = (torch.tensor([each], dtype=torch.float64) for each in (location, scale))
    return ColumnOf(warp, *values, torch.tensor(ends, dtype=torch.float64)[:, None], whole)


def mixture_cdf(p, x):
    """P(X <= x) of a continuous mixture, by SciPy's logistic."""
    t = p.column.inwards(torch.tensor(x)).numpy()
    weights = torch.softmax(LOGITS, 0).numpy()[:, 0]
    return sum(w * stats.logistic.cdf(t, m, s) for w, m, s in zip(weights, LOC[:, 0], SCALE[:, 0], strict=True))


@pytest.mark.parametrize("warp", WARPS)
def test_a_warp_is_undone_and_its_slope_is_its_derivative(warp):
    x = torch.tensor([0.01, 0.5, 3.0, 900.0], dtype=torch.float64, requires_grad=True)
    location, scale = torch.tensor(0.7, dtype=torch.float64), torch.tensor(1.4, dtype=torch.float64)
    t = warped(warp, x, location, scale)
    assert torch.allclose(unwarped(warp, t, location, scale), x)
    (slope,) = torch.autograd.grad(t.sum(), x)
    assert torch.allclose(slope.log(), log_slope(warp, x, location, scale))


@pytest.mark.parametrize("warp", ["log", "asinh"])
def test_numbers_beyond_those_of_their_type_are_the_last_of_it(warp):
    t = torch.tensor([-1e30, -300.0, 300.0, 1e30])
    x = unwarped(warp, t, torch.tensor(0.5), torch.tensor(4.0))
    assert x.isfinite().all()
    assert (x.diff() >= 0).all()
    assert (x > 0).all() if warp == "log" else (x[0] < -1e38)
    assert x[-1] > 1e38


@pytest.mark.parametrize("warp", WARPS)
def test_a_density_integrates_to_the_probability_of_any_interval(warp):
    p = WarpedMixture(LOGITS, LOC, SCALE, column(warp))
    for low, high in ((0.2, 1.0), (1.0, 4.0), (4.0, 30.0)):
        found, _ = integrate.quad(lambda x: float(p.log_prob(torch.tensor([x])).exp()), low, high, epsabs=1e-10)
        assert found == pytest.approx(mixture_cdf(p, high) - mixture_cdf(p, low), abs=1e-8)


@pytest.mark.parametrize(
    ("warp", "least", "most"),
    [("affine", None, 10**4), ("asinh", None, 10**6), ("affine", 0, 10**4), ("log", 0, 10**6)],
)
def test_masses_of_whole_numbers_sum_to_one(warp, least, most):
    p = WholeMixture(LOGITS, LOC, SCALE, column(warp, scale=0.6, whole=True), least)
    x = torch.arange(-most if least is None else 0, most, dtype=torch.float64)[:, None]
    assert float(p.log_prob(x).exp().sum()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("warp", WARPS)
def test_draws_follow_the_density(warp):
    p = WarpedMixture(LOGITS, LOC, SCALE, column(warp))
    torch.manual_seed(0)
    x = p.sample((20_000,))[:, 0].numpy()
    assert stats.kstest(x, lambda values: mixture_cdf(p, values)).pvalue > 1e-3


def test_draws_of_whole_numbers_follow_their_masses():
    p = WholeMixture(LOGITS, LOC, SCALE, column("log", scale=0.6, whole=True), least=0)
    torch.manual_seed(0)
    x = p.sample((50_000,))[:, 0]
    assert ((x >= 0) & (x == x.round())).all()
    for k in range(6):
        expected = float(p.log_prob(torch.tensor([float(k)])).exp())
        error = (expected * (1 - expected) / len(x)) ** 0.5
        assert abs(float((x == k).double().mean()) - expected) < 4.5 * error


@pytest.mark.parametrize("value", [0.0, 3.0, 1e4, 1.4e6, 1e9])
def test_float32_is_right_at_large_whole_numbers(value):
    """What float64 says of the same parameters, to 1e-3 nats, where a step is a millionth of the scale."""
    for warp, location, scale in (("affine", value, 0.05 * value + 1), ("log", np.log1p(value), 0.5)):
        exact, single = (
            WholeMixture(
                *(each.to(kind) for each in (LOGITS, LOC, SCALE)), column(warp, location, scale, whole=True), least=0
            )
            for kind in (torch.float64, torch.float32)
        )
        x = torch.tensor([value], dtype=torch.float64)
        assert float(single.log_prob(x)) == pytest.approx(float(exact.log_prob(x)), abs=1e-3)


def test_gradients_are_finite_however_far_a_value_is():
    parameters = [each.float().clone().requires_grad_() for each in (LOGITS, LOC, SCALE)]
    for kind, least in ((WarpedMixture, ()), (WholeMixture, (0,))):
        for value in (0.0, 1.0, 1e6, 1e12):
            p = kind(*parameters, column("affine"), *least)
            found = torch.autograd.grad(p.log_prob(torch.tensor([value])).sum(), parameters)
            assert all(each.isfinite().all() for each in found)


def test_a_mean_is_the_average_of_draws_and_stays_between_the_ends():
    torch.manual_seed(0)
    p = WarpedMixture(LOGITS, LOC, SCALE, column("affine"))
    draws = p.sample((100_000,))
    assert abs(float(p.mean - draws.mean())) < 0.02 * float(draws.std())
    wild = WarpedMixture(LOGITS, LOC, 30 * SCALE, column("log", ends=(0.1, 40.0)))
    assert 0.1 < float(wild.mean) < 40.0


def test_zero_has_a_mass_and_the_rest_a_density():
    logits = torch.tensor([0.4], dtype=torch.float64)
    p = ZeroOr(logits, WarpedMixture(LOGITS, LOC, SCALE, column("log")))
    zero = float(p.log_prob(torch.zeros(1, dtype=torch.float64)).exp())
    assert zero == pytest.approx(float(logits.sigmoid()))
    low = 1e-9
    rest, _ = integrate.quad(lambda t: float(p.log_prob(torch.tensor([np.exp(t)])).exp()) * np.exp(t), np.log(low), 40)
    assert zero + rest == pytest.approx(1.0, abs=1e-6)
    torch.manual_seed(0)
    draws = p.sample((20_000,))
    assert abs(float((draws == 0).double().mean()) - zero) < 4.5 * (zero * (1 - zero) / 20_000) ** 0.5
