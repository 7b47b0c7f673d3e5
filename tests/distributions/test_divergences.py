"""Closed forms of the KL divergence against Monte Carlo and torch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import standard_errors_apart
from rounding_for_tests import close_in_ulps
from torch import Tensor
from torch.distributions import (
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    VonMises,
    kl_divergence,
)

from vaekit.distributions.discrete import RelaxedOneHot
from vaekit.distributions.divergences import kl, kl_terms
from vaekit.distributions.mixtures import Mixture
from vaekit.distributions.normals import UnitNormal
from vaekit.distributions.shapes import independent
from vaekit.seeding import seeded

ERRORS = 4.0


pytestmark = pytest.mark.usefixtures("_float64")


def diagonal(loc: Tensor, scale: Tensor) -> Independent:
    return independent(Normal(loc, scale, validate_args=False))


def normal_pair(seed: int, rows: int = 3, size: int = 2) -> tuple[Independent, Independent]:
    with seeded(seed):
        q = diagonal(torch.randn(rows, size), torch.rand(rows, size) + 0.2)
        return q, diagonal(torch.randn(size), torch.rand(size) + 0.5)


def full_rank(seed: int, rows: int = 3, size: int = 2) -> MultivariateNormal:
    with seeded(seed):
        factor = torch.randn(rows, size, size).tril(-1) + torch.diag_embed(torch.rand(rows, size) + 0.3)
        return MultivariateNormal(torch.randn(rows, size), scale_tril=factor)


CLOSED = {
    "normal-normal": lambda: normal_pair(0),
    "normal-normal-given-y": lambda: (normal_pair(0)[0], normal_pair(1)[0]),
    "full-rank-normal": lambda: (full_rank(0), normal_pair(1)[1]),
    "full-rank-normal-given-y": lambda: (full_rank(0), normal_pair(1)[0]),
    "full-rank-full-rank": lambda: (full_rank(0), full_rank(1)),
    "normal-laplace": lambda: (normal_pair(0)[0], independent(Laplace(torch.ones(2), torch.tensor([0.5, 2.0])))),
}


@pytest.mark.parametrize("pair", CLOSED)
def test_closed_form_kl_is_torchs_and_monte_carlos(pair: str):
    q, p = CLOSED[pair]()
    closed = kl(q, p)
    assert closed is not None
    assert closed.shape == (3,)
    assert (closed >= 0).all()
    dense = (
        p
        if pair.startswith("normal") or pair.endswith("full-rank")
        else MultivariateNormal(p.mean, torch.diag_embed(p.variance))
    )
    assert torch.allclose(closed, kl_divergence(q, dense), rtol=1e-12)
    with seeded(0):
        z = q.sample((40_000,))
    assert standard_errors_apart(q.log_prob(z) - p.log_prob(z) - closed, 0.0).max() < ERRORS


def test_kl_terms_are_one_a_dimension_where_both_factorise():
    q, p = normal_pair(0)
    terms = kl_terms(q, p)
    assert terms.shape == (3, 2)
    assert torch.allclose(terms, kl_divergence(q.base_dist, p.base_dist))
    assert kl_terms(full_rank(0), p).shape == (3, 1)
    # Of a pair whose formula only torch has, too.
    laplace = independent(Laplace(torch.ones(2), torch.tensor([0.5, 2.0])))
    terms = kl_terms(q, laplace)
    assert terms.shape == (3, 2)
    assert close_in_ulps(terms, kl_divergence(q.base_dist, laplace.base_dist))


@given(st.lists(st.tuples(*[st.floats(-5, 5)] * 4), min_size=1, max_size=4))
def test_full_rank_kl_with_a_diagonal_factor_is_the_diagonal_one(values):
    a, b, c, d = torch.tensor(values).unbind(-1)
    p = diagonal(c, d.exp())
    full = MultivariateNormal(a, scale_tril=torch.diag_embed(b.exp()), validate_args=False)
    diagonals = kl(diagonal(a, b.exp()), p)
    assert torch.allclose(kl(full, p), diagonals, rtol=1e-9, atol=1e-12)
    assert diagonals > -1e-12


def test_kl_of_one_distribution_for_many_priors():
    q, (many, _) = full_rank(0, rows=1), normal_pair(2)
    q = MultivariateNormal(q.loc[0], scale_tril=q.scale_tril[0])
    for got, loc, variance in zip(kl(q, many), many.mean, many.variance, strict=True):
        assert torch.allclose(got, kl_divergence(q, MultivariateNormal(loc, torch.diag(variance))))


@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
def test_kl_of_one_hots_is_torchs_and_monte_carlos(scale: float):
    with seeded(0):
        logits, other = scale * torch.randn(3, 5), torch.randn(5)
    # A relaxed one is taken for the one-hot that it relaxes.
    for temperature in (None, torch.tensor(0.5)):
        q, p = RelaxedOneHot(logits, temperature), RelaxedOneHot(other)
        closed = kl(q, p)
        assert kl_terms(q, p).shape == (3, 1)
        assert (closed >= 0).all()
        assert torch.allclose(closed, kl_divergence(OneHotCategorical(logits=logits), OneHotCategorical(logits=other)))
    if scale < 10:  # beyond, all but one class are too rare to be drawn
        with seeded(1):
            z = RelaxedOneHot(logits).sample((40_000,))
        assert standard_errors_apart(q.log_prob(z) - p.log_prob(z) - closed, 0.0).max() < ERRORS
    assert kl(q, RelaxedOneHot(torch.zeros(5))).max() <= math.log(5)


def test_no_closed_form_is_none():
    assert kl(RelaxedOneHot(torch.zeros(4)), RelaxedOneHot(torch.zeros(4), groups=2)) is None
    q, p = normal_pair(0)
    assert kl(q, Mixture(torch.zeros(2), diagonal(torch.zeros(2, 2), torch.ones(2, 2)))) is None
    assert kl(independent(VonMises(torch.zeros(3, 2), torch.ones(3, 2))), p) is None
    # One event of two dimensions is not two events of one: nothing may be looked up by the type alone.
    whole = independent(Normal(torch.randn(3, 2, 2), torch.ones(3, 2, 2)), 2)
    assert kl(whole, independent(Normal(torch.zeros(2, 2), torch.ones(2, 2)), 2)).shape == (3,)


def test_a_kl_from_the_unit_normal_is_that_from_a_normal() -> None:
    loc, scale = (torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in range(2))
    loc, scale = loc.requires_grad_(), scale.exp().requires_grad_()
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    found = []
    for kind in (Normal, UnitNormal):
        terms = kl_terms(independent(Normal(loc, scale)), independent(kind(zero, one)))
        assert terms is not None
        found.append([terms, *torch.autograd.grad((terms * terms.detach().cos()).sum(), (loc, scale))])
    for one_way, other in zip(*found, strict=True):
        torch.testing.assert_close(one_way, other)
    assert torch.autograd.gradcheck(
        lambda loc, scale: kl_terms(independent(Normal(loc, scale)), independent(UnitNormal(zero, one))), (loc, scale)
    )


def test_a_unit_normal_without_a_batch_is_spread_over_the_other_one() -> None:
    q, p = Normal(torch.zeros(3), torch.ones(3)), UnitNormal(torch.zeros(5, 3), torch.ones(5, 3))
    terms = kl_terms(independent(q), independent(p))
    assert terms is not None
    assert terms.shape == (5, 3)
