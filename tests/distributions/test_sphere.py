"""Von Mises and Fisher's distribution against SciPy's, quadrature, and its own laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from models_for_tests import refuses, standard_errors_apart
from scipy import special, stats
from torch import Tensor
from torch.nn.functional import normalize

from vaekit.distributions.divergences import kl, kl_terms
from vaekit.distributions.noise import from_noise
from vaekit.distributions.sphere import Along, UniformOnSphere, VonMisesFisher, log_area
from vaekit.posteriors import VonMisesFisher as Posterior
from vaekit.priors import UniformSphere
from vaekit.seeding import seeded

SIZES = [2, 3, 4, 10, 40, 200, 500]
CONCENTRATIONS = torch.logspace(-3, 4, 29, dtype=torch.float64)


pytestmark = pytest.mark.usefixtures("_float64")


def log_bessel(order: float, k: Tensor) -> Tensor:
    """log(exp(-k) I_order(k)) by the integral of which von Mises and Fisher's normaliser is made."""
    log_total = Along(k, round(2 * order + 2)).log_total
    return order * (k / 2).log() + log_total - 0.5 * math.log(math.pi) - math.lgamma(order + 0.5)


def direction(size: int, seed: int = 0) -> Tensor:
    with seeded(seed):
        return normalize(torch.randn(size), dim=-1)


@pytest.mark.parametrize("size", SIZES)
def test_the_logarithm_of_bessel_s_function_is_scipy_s(size: int):
    order = size / 2 - 1
    theirs, found = special.ive(order, CONCENTRATIONS.numpy()), log_bessel(order, CONCENTRATIONS).numpy()
    told = theirs > 1e-280  # SciPy's underflows for small numbers of large orders
    assert np.isfinite(found).all()
    assert told.sum() > 10
    np.testing.assert_allclose(found[told], np.log(theirs[told]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_the_mean_along_the_axis_is_a_ratio_of_bessel_s_functions_and_its_slope_the_variance(size: int):
    k = CONCENTRATIONS[8:].clone().requires_grad_()  # below, SciPy's ratio is one of denormal numbers at large orders
    along = Along(k, size)
    of = k.detach().numpy()
    low, high = special.ive(size / 2 - 1, of), special.ive(size / 2, of)
    told = (low > 1e-250) & (high > 1e-250)
    np.testing.assert_allclose(1 + along.mean_short.detach().numpy()[told], high[told] / low[told], rtol=0, atol=1e-10)
    (slope,) = torch.autograd.grad(along.mean_short.sum(), k)
    torch.testing.assert_close(slope, along.spread.detach(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("k", [0.001, 0.7, 20.0, 3000.0])
def test_it_integrates_to_one_on_the_circle_and_the_sphere(k: float):
    angle = torch.linspace(0, 2 * math.pi, 20_001)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    q = VonMisesFisher(direction(2), torch.tensor(k))
    assert float(q.log_prob(circle).exp().mean() * 2 * math.pi) == pytest.approx(1, rel=1e-10)
    # On the sphere around m, height by height: areas of equal height are equal (Archimedes).
    q = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(k))
    nodes, weights = np.polynomial.legendre.leggauss(400)
    height = torch.from_numpy(nodes)
    points = torch.stack([(1 - height.square()).sqrt(), torch.zeros(400), height], -1)
    total = (q.log_prob(points).exp() * torch.from_numpy(weights)).sum() * 2 * math.pi
    assert float(total) == pytest.approx(1, rel=1e-8)


@pytest.mark.parametrize("size", [2, 3, 7, 50])
@pytest.mark.parametrize("k", [0.05, 3.0, 400.0])
def test_density_and_entropy_are_scipy_s(size: int, k: float):
    m = direction(size)
    q, theirs = VonMisesFisher(m, torch.tensor(k)), stats.vonmises_fisher(m.numpy(), k)
    with seeded(1):
        z = torch.cat([q.sample((5,)), normalize(torch.randn(5, size), dim=-1)])
    np.testing.assert_allclose(q.log_prob(z).numpy(), theirs.logpdf(z.numpy()), rtol=1e-10, atol=1e-9)
    assert float(q.entropy()) == pytest.approx(float(theirs.entropy()), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("size", [2, 3, 7, 50])
@pytest.mark.parametrize("k", [0.05, 3.0, 400.0])
def test_draws_are_distributed_as_scipy_s(size: int, k: float):
    m, n = direction(size), 4000
    with seeded(2):
        mine = VonMisesFisher(m, torch.tensor(k)).sample((n,)).numpy()
    np.testing.assert_allclose(np.linalg.norm(mine, axis=-1), 1, rtol=1e-12)
    theirs = stats.vonmises_fisher(m.numpy(), k).rvs(n, random_state=3)
    across = direction(size, seed=9).numpy()
    for axis in (m.numpy(), across, np.eye(size)[0]):
        assert stats.ks_2samp(mine @ axis, theirs @ axis).pvalue > 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_a_draw_is_the_inverse_of_the_distribution_function(size: int):
    """By another rule: a sum over many points in t."""
    k = torch.tensor([1e-3, 0.3, 10.0, 1e3, 1e4])
    u = torch.tensor([1e-7, 1e-3, 0.2, 0.5, 0.77, 0.999, 1 - 1e-7])[:, None].expand(-1, 5)
    along = Along(k, size)
    t, _ = along.quantile(u)
    assert (t.diff(dim=0) > 0).all()
    low = along._at(torch.tensor([[-9.0]]), 1)[0].squeeze(-1)
    # The smaller the steps the nearer to t, s from 0 to 1: t - (t - low) s³.
    s = (torch.arange(4000) + 0.5) / 4000
    at = t.unsqueeze(-1) - (t - low).unsqueeze(-1) * s**3
    density = (along._log_density(at, k.unsqueeze(-1)) - along.log_total.unsqueeze(-1)).exp()
    below = (density * 3 * s.square()).mean(-1) * (t - low)
    torch.testing.assert_close(below, u, rtol=1e-4, atol=5e-8)


@pytest.mark.parametrize("size", SIZES)
def test_how_a_draw_moves_with_the_concentration_is_the_difference_of_two(size: int):
    k = torch.tensor([1e-2, 0.3, 10.0, 1e3, 9e3])
    u = torch.tensor([1e-4, 0.2, 0.5, 0.9, 1 - 1e-4])[:, None].expand(-1, 5)
    step = 1e-4
    (up, _), (down, _) = (Along(k * (1 + sign * step), size).quantile(u) for sign in (1, -1))
    torch.testing.assert_close(Along(k, size).quantile(u)[1], (up - down) / (2 * step * k), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_gradients_of_an_expectation_are_those_of_quadrature(size: int):
    """E[f(z)] of f(z) = exp(a · z), a quotient of normalisers: log E = log C(k) - log C(|k m + a|)."""
    with seeded(4):
        a, raw = torch.randn(size), torch.randn(size)
    log_k = torch.tensor(0.8, requires_grad=True)
    raw.requires_grad_()

    def log_normaliser(k: Tensor) -> Tensor:
        return Along(k, size).log_total + k

    k, m = log_k.exp(), normalize(raw, dim=-1)
    exact = (log_normaliser((k * m + a).norm()) - log_normaliser(k)).exp()
    want = torch.autograd.grad(exact, (log_k, raw), retain_graph=True)
    rows = []
    for seed in range(60):
        with seeded(seed):
            z = VonMisesFisher(m, k).rsample((400,))
        rows.append(torch.autograd.grad((z @ a).exp().mean(), (log_k, raw), retain_graph=True))
    for found, exactly in zip(zip(*rows, strict=True), want, strict=True):
        apart = (torch.stack(found).mean(0) - exactly).abs() / (torch.stack(found).std(0) / 60**0.5)
        assert apart.max() < 4
        assert exactly.abs().max() > 0.05


@pytest.mark.parametrize("size", [2, 3, 20])
def test_the_kl_from_the_uniform_is_its_closed_form(size: int):
    k = torch.tensor([1e-3, 0.5, 8.0, 300.0])
    q, p = VonMisesFisher(direction(size).expand(4, -1), k), UniformOnSphere(torch.zeros(size))
    found = kl(q, p)
    assert kl_terms(q, p).shape == (4, 1)
    with seeded(0):
        z = q.rsample((20_000,))
    assert standard_errors_apart(q.log_prob(z) - p.log_prob(z), found).max() < 4.5
    # Of small concentrations k² / 2 D.
    assert float(found[0]) == pytest.approx(1e-6 / (2 * size), rel=1e-3)
    assert float(found[0]) > 0


def test_mean_and_variance_are_those_of_draws():
    q = VonMisesFisher(direction(4), torch.tensor(3.0))
    with seeded(0):
        z = q.sample((40_000,))
    assert standard_errors_apart(z, 0.0).max() > 10
    assert ((z.mean(0) - q.mean).abs() / (z.std(0) / 200)).max() < 4.5
    assert standard_errors_apart((z - q.mean).square() - q.variance, 0.0).max() < 4.5
    assert torch.equal(q.center, q.loc)


@pytest.mark.parametrize("k", [1e-3, 1.0, 1e4])
def test_float32_has_the_digits_of_float32(k: float):
    m = direction(5)
    noise = torch.linspace(-3, 3, 35).reshape(7, 5)
    q = VonMisesFisher(m, torch.tensor(k))
    low = VonMisesFisher(m.float(), torch.tensor(k, dtype=torch.float32))
    z = from_noise(low, noise.float())
    assert z.dtype == torch.float32
    assert (z.norm(dim=-1) - 1).abs().max() < 1e-6
    torch.testing.assert_close(z.double(), from_noise(q, noise), rtol=0, atol=2e-6)
    torch.testing.assert_close(low.log_prob(z).double(), q.log_prob(from_noise(q, noise)), rtol=0, atol=2e-3)


def test_what_is_on_no_sphere_is_refused():
    with refuses("a sphere is of latents of size 2 or more, got 1"):
        Posterior(3, 1)
    with refuses("a sphere is of latents of size 2 or more, got 1"):
        UniformSphere(1)
    with refuses("concentration_clamp must be within (0.001, 10000), got (1e-06, 10.0)"):
        Posterior(3, 2, concentration_clamp=(1e-6, 10.0))
    assert log_area(2) == pytest.approx(math.log(2 * math.pi))
