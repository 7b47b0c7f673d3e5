"""Cells given others, against the exact conditional of a linear-Gaussian model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest, truncnorm

from vaekit import VAE, Domain, likelihoods, networks, posteriors, priors
from vaekit.data.batch import Batch
from vaekit.evaluation.anomalies import anomalies
from vaekit.evaluation.imputation import Event, conditioned, fill, impute

D, SIGMA = 4, 0.5
NOWHERE = Event(torch.tensor([True, False, False, False]), lambda rows: rows[:, 0] > 1e9)
LOADINGS = torch.tensor([[1.0, -0.5], [0.3, 0.8], [-0.7, 0.4], [0.2, 0.2]])


def linear_gaussian():
    """x = W z + noise, z ~ N(0, I), with a posterior that is wide: what it gives is corrected by its weights."""
    torch.manual_seed(0)
    domain = Domain("real", missing=True)
    p = likelihoods.FixedNormal((D,), domain, sigma=SIGMA)
    encoder = networks.MLP(domain.inputs_shape((D,)), (2, 2), hidden=())
    vae = VAE(
        encoder=networks.MLP(domain.inputs_shape((D,)), hidden=(8,)),
        posteriors={"z": posteriors.DiagonalNormal(8, 2)},
        priors={"z": priors.StandardNormal(2)},
        decoder=networks.MLP((2,), p.parameter_shape, hidden=()),
        likelihood=p,
    )
    with torch.no_grad():
        for each in vae.posteriors.parameters():
            each.zero_()  # q is the prior
        linear = vae.decoder.layers[0]
        linear.weight.copy_(LOADINGS)
        linear.bias.zero_()
    assert encoder is not None
    return vae.eval()


def conditional(x, observed):
    """Mean and covariance of the other cells given those observed, from the joint normal."""
    covariance = (LOADINGS @ LOADINGS.T + SIGMA**2 * torch.eye(D)).double().numpy()
    o, m = np.flatnonzero(observed), np.flatnonzero(~observed)
    gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    return m, gain @ x[o], covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]


@pytest.mark.parametrize("memory", [2**16, 2**28])
def test_means_spreads_and_draws_are_those_of_the_conditional(memory):
    vae, x = linear_gaussian(), torch.tensor([1.2, -0.4, 0.3, 0.9])
    observed = torch.tensor([True, False, True, False])
    found = impute(vae, Batch(x[None], observed=observed[None]), 40_000, draws=4000, seed=0, memory=memory)
    m, mean, covariance = conditional(x.double().numpy(), observed.numpy())
    assert torch.equal(found.x[0, observed], x[observed])
    assert np.allclose(found.x[0, m], mean, atol=0.02)
    draws = found.draws[:, 0].double().numpy()
    assert np.allclose(draws[:, m].mean(0), mean, atol=4.5 * np.sqrt(np.diag(covariance) / 4000) + 0.02)
    assert np.allclose(np.cov(draws[:, m].T), covariance, atol=0.06)
    assert (draws[:, observed.numpy()] == x[observed].numpy()).all()
    assert np.allclose(found.spread[0, m], np.sqrt(np.diag(covariance)), rtol=0.1)
    assert (found.spread[0, observed] == 0).all()


def test_what_is_drawn_where_a_cell_lies_between_two_ends_is_of_the_exact_conditional():
    """x0 between two ends and x2 = 0.3: x0 is a truncated normal, by which the means of the others move."""
    vae, low, high = linear_gaussian(), 0.5, 1.5
    observed = torch.tensor([False, False, True, False])
    x = torch.tensor([0.0, 0.0, 0.3, 0.0])
    event = Event(torch.tensor([True, False, False, False]), lambda rows: (rows[:, 0] > low) & (rows[:, 0] < high))
    drawn, counted = conditioned(vae, Batch(x[None], observed=observed[None]), 8000, 200_000, seed=0, event=event)
    m, mean, covariance = conditional(x.double().numpy(), observed.numpy())
    deviation = np.sqrt(covariance[0, 0])
    first = truncnorm((low - mean[0]) / deviation, (high - mean[0]) / deviation, mean[0], deviation)
    moved = mean + covariance[:, 0] / covariance[0, 0] * (first.mean() - mean[0])
    left = covariance - np.outer(covariance[0], covariance[0]) / covariance[0, 0] * (1 - first.var() / covariance[0, 0])
    draws = drawn.double().numpy()
    assert (draws[:, 2] == np.float32(0.3)).all()
    assert 8000 < counted < 200_000
    assert np.allclose(draws[:, m].mean(0), moved, atol=5 * np.sqrt(np.diag(left) / 8000))
    assert np.allclose(np.cov(draws[:, m].T), left, atol=0.04)
    assert kstest(draws[:, 0], first.cdf).statistic < 2.2 / np.sqrt(8000)
    assert len(np.unique(draws[:, 0])) > 7000  # not the same few again and again
    none, counted = conditioned(vae, Batch(x[None], observed=observed[None]), 8, 100, seed=0, event=NOWHERE)
    assert (len(none), counted) == (0, 0.0)


def test_nothing_observed_is_the_marginal():
    vae = linear_gaussian()
    batch = Batch(torch.zeros(1, D), observed=torch.zeros(1, D, dtype=torch.bool))
    found = impute(vae, batch, 20_000, draws=4000, seed=1)
    assert float(found.effective_samples) == pytest.approx(20_000, rel=1e-3)
    covariance = (LOADINGS @ LOADINGS.T + SIGMA**2 * torch.eye(D)).numpy()
    assert np.allclose(np.cov(found.draws[:, 0].T.numpy()), covariance, atol=0.12)


def test_a_seed_gives_the_same_again_and_rows_do_not_depend_on_their_neighbours_cells():
    vae = linear_gaussian()
    x = torch.randn(6, D, generator=torch.Generator().manual_seed(0))
    observed = torch.rand(6, D, generator=torch.Generator().manual_seed(1)) < 0.6
    one, again = (impute(vae, Batch(x, observed=observed), 500, seed=3) for _ in range(2))
    assert torch.equal(one.x, again.x)
    hidden = torch.where(observed, x, 99.0)
    assert torch.equal(impute(vae, Batch(hidden, observed=observed), 500, seed=3).x[~observed], one.x[~observed])


def test_what_has_a_seed_moves_no_random_stream():
    vae, x = linear_gaussian(), torch.randn(6, D, generator=torch.Generator().manual_seed(0))
    batch, before = Batch(x, observed=x < 0.5), torch.get_rng_state()
    for asked in (impute, fill, anomalies):
        asked(vae, batch, 2000, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_score_of_a_row_is_its_density_and_its_parts_are_those_of_its_cells():
    vae, x = linear_gaussian(), torch.tensor([[1.2, -0.4, 0.3, 0.9], [0.0, 0.1, 0.0, 0.0]])
    found = anomalies(vae, Batch(x), 40_000, seed=0)
    covariance = LOADINGS @ LOADINGS.T + SIGMA**2 * torch.eye(D)
    exact = torch.distributions.MultivariateNormal(torch.zeros(D), covariance).log_prob(x)
    assert torch.allclose(found.score.float(), -exact, atol=0.03)
    assert (found.contributions.sum(1) < found.score).all()  # what is lacking is the KL of z
    odd = x.clone()
    odd[1, 3] = 4.0
    assert int(anomalies(vae, Batch(odd), 5000, seed=0).contributions[1].argmax()) == 3


def test_categories_are_filled_by_the_likeliest_and_entropy_says_how_sure():
    domain = Domain("columns", columns=(Domain("categorical", levels=3), Domain("binary")), missing=True)
    p = likelihoods.ColumnsLikelihood((2,), domain)
    vae = VAE(
        encoder=networks.MLP(domain.inputs_shape((2,)), hidden=(4,)),
        posteriors={"z": posteriors.DiagonalNormal(4, 1)},
        priors={"z": priors.StandardNormal(1)},
        decoder=networks.MLP((1,), p.parameter_shape, hidden=()),
        likelihood=p,
    ).eval()
    with torch.no_grad():
        vae.decoder.layers[0].weight.zero_()
        # A bucket of four levels, of which the last is none, then the bit.
        vae.decoder.layers[0].bias.copy_(torch.tensor([0.0, 2.0, 0.0, -1.0])[: p.parameter_shape[0]])
    found = impute(vae, Batch(torch.zeros(1, 2), observed=torch.zeros(1, 2, dtype=torch.bool)), 50, seed=0)
    probabilities = torch.softmax(torch.tensor([0.0, 2.0, 0.0]), 0)
    assert found.x.tolist() == [[1.0, 0.0]]
    expected = float(-(probabilities * probabilities.log()).sum())
    assert float(found.spread[0, 0]) == pytest.approx(expected, abs=1e-4)


def test_data_of_a_condition_follow_the_exact_conditional() -> None:
    vae, x = linear_gaussian(), torch.tensor([[1.2, 0.0, 0.3, 0.0]])
    observed = torch.tensor([[True, False, True, False]])
    drawn, counted = conditioned(vae, Batch(x, observed=observed), 4000, 20_000, seed=0)
    m, mean, covariance = conditional(x[0].double().numpy(), observed[0].numpy())
    assert np.allclose(drawn[:, m].mean(0), mean, atol=0.05)
    assert np.allclose(np.cov(drawn[:, m].T.numpy()), covariance, atol=0.06)
    assert (drawn[:, observed[0]] == x[0, observed[0]]).all()
    assert 1000 < counted < 20_000
