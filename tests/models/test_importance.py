"""Importance weights: the error of a log of their mean, and the shape of their tail, against oracles and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats
from scipy import stats
from torch import Tensor

from vaekit.models.importance import LEAST_KEPT, kept_size, log_mean_variance, pareto_shape, tail_size

GENERATOR = np.random.default_rng(0)


def largest(weights: Tensor, kept: int | None = None) -> Tensor:
    """The largest of log-weights (K, B), all or those that are kept."""
    return weights.sort(0, descending=True).values[: kept or kept_size(len(weights))]


def variance(weights: Tensor, kept: int | None = None) -> Tensor:
    log_sum = weights.logsumexp(0)
    squares = (2 * (weights - log_sum)).exp().sum(0)
    return log_mean_variance(largest(weights, kept), log_sum, squares, len(weights))


def jackknife(weights: Tensor) -> Tensor:
    without = [torch.cat([weights[:i], weights[i + 1 :]]).logsumexp(0) for i in range(len(weights))]
    return len(weights) * torch.stack(without).var(0, correction=0)


@pytest.mark.parametrize("samples", [25, 100, 1000])
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_the_shape_of_a_tail_is_what_arviz_finds(samples: int, spread: float) -> None:
    weights = torch.from_numpy(spread * GENERATOR.normal(size=(samples, 6)))
    _, wanted = array_stats.psislw(-weights.T.numpy(), axis=-1)
    np.testing.assert_allclose(pareto_shape(largest(weights), samples), wanted, rtol=1e-8)


@pytest.mark.parametrize("shape", [0.1, 0.5, 1.0, 2.0])
def test_the_shape_of_a_pareto_tail_is_found(shape: float) -> None:
    samples, data = 10_000, 200
    draws = stats.genpareto(shape).rvs((samples, data), random_state=np.random.default_rng(1))
    found = pareto_shape(largest(torch.from_numpy(np.log(draws))), samples)
    n = tail_size(samples)
    # The prior counts as ten more weights of shape 1/2; the estimate's error is (1 + k) / sqrt(n).
    expected = (n * shape + 10 * 0.5) / (n + 10)
    assert abs(float(found.mean()) - expected) < 4 * (1 + shape) / math.sqrt(n * data) + 0.02 * (1 + shape)


def test_the_shape_does_not_depend_on_the_unit() -> None:
    weights = torch.from_numpy(2 * GENERATOR.normal(size=(500, 4)))
    torch.testing.assert_close(pareto_shape(largest(weights - 1e4), 500), pareto_shape(largest(weights), 500))


def test_tails_that_no_distribution_fits() -> None:
    same, ramp = torch.zeros(200), torch.arange(200.0)
    assert pareto_shape(largest(torch.stack([same, ramp * -1e4], 1).double()), 200).tolist() == [-math.inf, math.inf]
    assert pareto_shape(torch.zeros(1, 1), 200).tolist() == [-math.inf]  # one stands for all
    ties = torch.zeros(200, 1, dtype=torch.float64)
    ties[:3] = 1.0
    assert pareto_shape(largest(ties), 200).isnan().all()
    assert pareto_shape(largest(torch.randn(24, 3, dtype=torch.float64)), 24).isnan().all()
    assert not pareto_shape(largest(torch.randn(25, 3, dtype=torch.float64)), 25).isnan().any()


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("samples", [2, 30, 500])
def test_the_variance_is_that_of_the_jackknife(samples: int, spread: float) -> None:
    weights = torch.from_numpy(spread * GENERATOR.normal(size=(samples, 5)))
    wanted = jackknife(weights)
    torch.testing.assert_close(variance(weights), wanted, rtol=2e-2, atol=0)
    torch.testing.assert_close(variance(weights, samples), wanted, rtol=1e-6, atol=0)


def test_one_weight_may_be_all_there_is() -> None:
    weights = torch.tensor([0.1, -1000.0, -1003.0], dtype=torch.float64).repeat(40, 1).T.contiguous()
    weights += torch.linspace(0, 1, 40)
    wanted = torch.tensor([0.1, -1000 + math.log1p(math.exp(-3)), 0.1]).double()
    without = torch.stack([torch.full((40,), float(wanted[1])), *[torch.full((40,), 0.1)] * 2])
    torch.testing.assert_close(variance(weights), 3 * without.double().var(0, correction=0))


def test_one_weight_says_nothing_of_its_variance() -> None:
    assert variance(torch.zeros(1, 2)).isnan().all()


@pytest.mark.parametrize("weights", [torch.zeros(50, 1), torch.full((50, 1), -1e5)])
def test_equal_weights_have_none(weights: Tensor) -> None:
    assert variance(weights.double()).abs().max() < 1e-9


@pytest.mark.parametrize(("samples", "spread"), [(200, 0.3), (200, 2.0), (30, 5.0), (1000, 20.0)])
def test_the_variance_is_no_less_than_the_spread_between_seeds(samples: int, spread: float) -> None:
    """As the inequality of Efron and Stein says; the delta method's, at most 1, is a hundredth of the last one."""
    weights = torch.from_numpy(spread * np.random.default_rng(2).normal(size=(samples, 2000)))
    of_seeds = weights.logsumexp(0).var()
    claimed = variance(weights)
    error = math.hypot(float(claimed.std()) / math.sqrt(2000), float(of_seeds) * math.sqrt(2 / 2000) * 2)
    assert float(claimed.mean()) > float(of_seeds) - 4 * error
    if spread < 1:  # where the delta method holds
        assert float(claimed.mean()) == pytest.approx(math.expm1(spread**2) / samples, rel=0.05)


def test_few_weights_are_kept_however_many_there_are() -> None:
    assert kept_size(10) == 10
    assert kept_size(LEAST_KEPT + 1) == LEAST_KEPT
    assert [tail_size(samples) for samples in (20, 100, 5000)] == [4, 20, 212]
    assert kept_size(1_000_000) == 3001
