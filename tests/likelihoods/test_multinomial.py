"""Words of documents: multinomial likelihoods, and shares of topics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from models_for_tests import data_of, refuses, standard_errors_apart
from scipy import stats
from torch.distributions import Dirichlet

from vaekit.data.domains import Domain
from vaekit.distributions.divergences import kl
from vaekit.distributions.multinomial import MultinomialCounts
from vaekit.distributions.observed import given_missing, observed_log_prob
from vaekit.likelihoods import Multinomial
from vaekit.priors import PRIORS
from vaekit.seeding import seeded

pytestmark = pytest.mark.usefixtures("_float64")


def likelihood_at(
    shape: tuple[int, ...], totals: list[float], unit: float = 7.0
) -> tuple[MultinomialCounts, np.ndarray]:
    """Of rows with these totals, which are exposures in a unit of their own; and the shares (S, B, V) of words."""
    likelihood = Multinomial(shape, Domain("count", scale=3.0), exposure=unit)
    with seeded(0):
        logits = torch.randn(2, len(totals), 1, *shape)
    exposure = (torch.tensor(totals) / unit).view(-1, *[1] * len(shape))
    shares = logits.flatten(2).softmax(-1).numpy()
    return likelihood(logits, exposure), shares


@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_log_masses_of_documents_are_those_of_scipy(shape: tuple[int, ...]) -> None:
    x = data_of(Domain("count"), (3, *shape)) + 1
    totals = x.flatten(1).sum(1).tolist()
    px, shares = likelihood_at(shape, totals)
    flat = x.flatten(1).numpy()
    want = np.array(
        [[stats.multinomial(n, p).logpmf(own) for n, p, own in zip(totals, s, flat, strict=True)] for s in shares]
    )
    np.testing.assert_allclose(px.log_prob(x), want, rtol=1e-10)
    assert (px.log_prob(x + 1) == -torch.inf).all()
    np.testing.assert_allclose(px.mean.sum(tuple(range(-len(shape), 0))), np.array(totals) * np.ones((2, 1)))


def test_what_is_seen_of_a_document_has_its_marginal() -> None:
    px, shares = likelihood_at((4,), [6.0])
    observed = torch.tensor([[True, False, True, False]])
    x = torch.tensor([[2.0, 99.0, 1.0, 0.0]])
    rest = [np.array([p[0], p[2], p[1] + p[3]]) for p in shares[:, 0]]
    want = [stats.multinomial(6, p / p.sum()).logpmf([2, 1, 3]) for p in rest]
    np.testing.assert_allclose(observed_log_prob(px, x, observed)[:, 0], want, rtol=1e-10)
    whole = torch.tensor([[2.0, 3.0, 1.0, 0.0]])
    np.testing.assert_allclose(observed_log_prob(px, whole, observed | True), px.log_prob(whole), rtol=1e-10)
    assert observed_log_prob(px, x, observed & False).abs().max() < 1e-12
    assert (observed_log_prob(px, x * 3, observed) == -torch.inf).all()


def test_what_is_missing_of_a_document_is_what_the_others_leave() -> None:
    """Against all documents of that total, one by one."""
    px, _ = likelihood_at((4,), [6.0])
    observed, x = torch.tensor([[True, False, True, False]]), torch.tensor([[2.0, 99.0, 1.0, 99.0]])
    found = given_missing(px, x, observed)
    every = torch.tensor([[2.0, own, 1.0, 3.0 - own] for own in range(4)])
    chance = torch.stack([px.log_prob(each[None])[:, 0] for each in every]).softmax(0)
    torch.testing.assert_close(found.mean[:, 0, [1, 3]], torch.einsum("ns,nd->sd", chance, every[:, [1, 3]]))
    with seeded(0):
        draws = found.sample((4000,))[:, :, 0]
    assert (draws[..., [1, 3]].sum(-1) == 3).all()
    for own in range(4):
        part = (draws[..., 1] == own).double().mean(0)
        error = (chance[own] * (1 - chance[own]) / 4000).sqrt()
        assert ((part - chance[own]).abs() / error).max() < 4.5


def test_what_the_rounding_of_a_large_total_leaves_is_no_count() -> None:
    """A row without a hole has one probability, beside rows with holes or not."""
    shares = torch.tensor([[0.5, 0.3, 0.2]])
    for more in (-5.0, 4.0):
        p, x = MultinomialCounts(shares.log(), torch.tensor([1e8])), torch.tensor([[5e7, 3e7, 2e7 + more]])
        assert torch.equal(p.marginal_log_prob(x, torch.ones(1, 3, dtype=torch.bool)).isfinite(), torch.tensor([True]))
        torch.testing.assert_close(p.marginal_log_prob(x, torch.ones(1, 3, dtype=torch.bool)), p.log_prob(x))
        off = torch.tensor([[5e7, 3e7, 1.9e7]])
        assert p.marginal_log_prob(off, torch.ones(1, 3, dtype=torch.bool)) == p.log_prob(off) == -torch.inf


def test_documents_are_drawn_as_they_are_scored() -> None:
    px, _ = likelihood_at((3,), [3.0, 0.0, 5.0])
    with seeded(1):
        draws = px.sample((20_000,))
    assert (draws.sum(-1) == torch.tensor([3.0, 0.0, 5.0])).all()
    for n, column in ((3, 0), (5, 2)):
        every = torch.tensor([x for x in itertools.product(range(n + 1), repeat=3) if sum(x) == n]).double()
        mass = px.log_prob(every[:, None, None, :].expand(-1, 2, 3, -1) if column < 0 else every[:, None, None, :])
        mass = mass.exp()[:, :, column]
        np.testing.assert_allclose(mass.sum(0), 1.0, rtol=1e-10)
        found = (draws[:, 0, column, None, :] == every).all(-1).double().mean(0)
        error = (mass[:, 0] * (1 - mass[:, 0]) / len(draws)).sqrt()
        assert ((found - mass[:, 0]).abs() / error).max() < 4.5


def test_long_documents_are_drawn_at_once() -> None:
    log_shares = torch.randn(4000).log_softmax(0)
    px = MultinomialCounts(log_shares, torch.tensor([10.0, 3e8]))
    with seeded(0):
        draws = px.sample()
    assert draws.sum(-1).tolist() == [10.0, 3e8]
    off = (draws[1] - px.mean[1]) / px.variance[1].sqrt()
    assert 0.9 < off.std() < 1.1


def test_without_an_exposure_the_total_is_a_poisson_of_its_own() -> None:
    likelihood = Multinomial((3,), Domain("count", scale=(1.0, 2.0, 3.0)))
    with seeded(0):
        logits = torch.randn(5, 1, 3)
    x = data_of(Domain("count"), (5, 3))
    px, shares = likelihood(logits), logits[:, 0].softmax(-1).detach().numpy()
    n = x.sum(1).numpy()
    want = stats.poisson(6.0).logpmf(n) + [
        stats.multinomial(m, p).logpmf(own) for m, p, own in zip(n, shares, x.numpy(), strict=True)
    ]
    np.testing.assert_allclose(px.log_prob(x).detach(), want, rtol=1e-10)


def test_the_kl_of_shares_is_that_of_draws() -> None:
    with seeded(0):
        q = Dirichlet(0.2 + 3 * torch.rand(4, 5), validate_args=False)
        z = q.sample((40_000,))
    p = PRIORS["dirichlet"](latent=5, concentration=0.7)()
    exact = kl(q, p)
    assert exact is not None
    assert standard_errors_apart(q.log_prob(z) - p.log_prob(z) - exact, 0.0).max() < 4.5


def test_the_softmax_of_the_normal_is_nearly_dirichlet() -> None:
    """Laplace's approximation in the basis of softmax has its maximum and its curvature there."""
    p, alpha, size = PRIORS["logistic-normal"](latent=4, concentration=3.0)(), 3.0, 4

    def log_density(logits: torch.Tensor) -> torch.Tensor:  # of the softmax basis, eq. 2 of Hennig et al. 2012
        return (alpha * logits.log_softmax(-1)).sum(-1)

    curvature = torch.autograd.functional.hessian(log_density, torch.zeros(size))
    # Along directions that change the softmax: those whose numbers add up to nothing.
    along = torch.linalg.pinv(-curvature)
    assert torch.allclose(along.diagonal(), p.variance, rtol=1e-6)


def test_what_is_no_share_is_refused() -> None:
    with refuses("concentration must be above 0"):
        PRIORS["dirichlet"](latent=3, concentration=0.0)
    with refuses("shares are of latents of size 2 or more, got 1"):
        PRIORS["logistic-normal"](latent=1)
