"""Likelihoods whose parameters mean what they say; that each is a density, test_parts_generic tells of all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models_for_tests import float64, refuses
from scipy import stats

from vaekit.domains import Domain
from vaekit.likelihoods import NegativeBinomial, Poisson

COUNTS = Domain("count", scale=(0.5, 20.0))
X = torch.arange(60, dtype=torch.float64)[:, None].expand(60, 2)


@pytest.fixture(autouse=True)
def _float64():
    with float64():
        yield


def test_poisson_is_scipys_with_a_mean_in_units_of_the_scale():
    px = Poisson((2,), COUNTS)(torch.tensor([[0.3, -0.7]]))
    mean = np.exp([0.3, -0.7]) * [0.5, 20.0]
    assert np.allclose(px.mean, mean)
    assert np.allclose(px.log_prob(X), stats.poisson(mean).logpmf(X).sum(-1))


def test_negative_binomial_is_scipys_of_that_mean_and_dispersion():
    likelihood, theta = NegativeBinomial((2,), COUNTS), np.array([0.2, 30.0])
    with torch.no_grad():
        likelihood.log_theta.copy_(torch.from_numpy(theta).log())
        px = likelihood(torch.tensor([[0.3, -0.7]]))
    mean = np.exp([0.3, -0.7]) * [0.5, 20.0]
    assert np.allclose(px.mean, mean)
    assert np.allclose(px.variance, mean + mean**2 / theta)
    assert np.allclose(px.log_prob(X), stats.nbinom(theta, theta / (theta + mean)).logpmf(X).sum(-1))


@pytest.mark.parametrize("part", [Poisson, NegativeBinomial])
def test_counts_of_any_size_have_a_finite_log_mass_and_gradient_in_float32(part: type):
    likelihood = part((1,), Domain("count")).float()
    parameters = torch.tensor([-1e4, -5.0, 0.0, 9.0, 1e4], dtype=torch.float32)[:, None, None].requires_grad_()
    log_mass = likelihood(parameters).log_prob(torch.tensor([0.0, 1.0, 1e5], dtype=torch.float32)[:, None, None])
    gradients = torch.autograd.grad(log_mass.sum(), [parameters, *likelihood.parameters()])
    assert log_mass.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("part", [Poisson, NegativeBinomial])
def test_bounds_in_the_wrong_order_are_refused(part: type):
    with refuses("log_mean_clamp must be (low, high)"):
        part((1,), Domain("count"), log_mean_clamp=(1.0, -1.0))
