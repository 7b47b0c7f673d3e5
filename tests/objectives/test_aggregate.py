"""Terms of the aggregate posterior: against what it is exactly, on data few enough to have all of them in a batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from models_for_tests import data_of, model_of, refuses, standard_errors_apart
from torch import Tensor
from torch.distributions import (
    Categorical,
    Dirichlet,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)
from torch.nn.functional import normalize

from vaekit.data.batch import Batch
from vaekit.distributions.mixtures import NormalMixture
from vaekit.distributions.moments import covariance
from vaekit.distributions.normals import LowRankNormal, ReflectedNormal, TriangularNormal
from vaekit.distributions.sphere import VonMisesFisher
from vaekit.models.trace import Latent, Trace
from vaekit.objectives import ELBO, IWAE, TERMS, Capacity, Covariance, Discrepancy, Renyi, Sum, TotalCorrelation
from vaekit.objectives.aggregate import AdversarialCorrelation, AdversarialDiscrepancy, _Discriminator, shuffled
from vaekit.schedules import Linear
from vaekit.seeding import seeded
from vaekit.training.step import traced

pytestmark = pytest.mark.usefixtures("_float64")


def trace_of(means: Tensor, scales: Tensor, draws: int = 1, rows: int | None = None, own: Any = None) -> Trace:
    """A trace whose q are normals of these means and scales (B, D), and whose p is one for all, as priors give it."""
    q = Independent(Normal(means, scales), 1)
    p = Independent(Normal(torch.zeros_like(means[0]), 1.0), 1)
    z = q.rsample((draws,)) if own is None else own
    batch = Batch(torch.zeros(len(means), 1), rows=rows)
    return Trace(batch, Independent(Normal(torch.zeros(len(means), 1), 1.0), 1), (Latent("z", z, q, p),))


def correlation(means: Tensor, scales: Tensor, draws: int) -> float:
    """TC of the mixture of all q, by Monte Carlo with densities of torch's mixtures."""
    weights = Categorical(logits=torch.zeros(len(means)))
    joint = MixtureSameFamily(weights, Independent(Normal(means, scales), 1))
    z = joint.sample((draws,))
    single = [
        MixtureSameFamily(weights, Normal(mean, scale)).log_prob(each)
        for mean, scale, each in zip(means.T, scales.T, z.T, strict=True)
    ]
    return float((joint.log_prob(z) - torch.stack(single).sum(0)).mean())


LINE = torch.linspace(-2, 2, 12, dtype=torch.float64).unsqueeze(1).expand(-1, 2)


def test_of_all_data_the_total_correlation_is_that_of_their_mixture() -> None:
    scales = torch.full_like(LINE, 0.4)
    with seeded(0):
        found = float(TotalCorrelation(1.0)(trace_of(LINE, scales, 20_000)).loss)
        exact = correlation(LINE, scales, 200_000)
    assert found == pytest.approx(exact, abs=0.02)
    assert exact > 0.5


def test_independent_codes_have_none() -> None:
    grid = torch.cartesian_prod(torch.linspace(-2, 2, 5), torch.linspace(-1, 1, 4))
    with seeded(0):
        found = float(TotalCorrelation(1.0)(trace_of(grid, torch.full_like(grid, 0.3), 5000)).loss)
    assert found == pytest.approx(0, abs=0.02)


def test_the_density_of_all_codes_is_estimated_without_bias_from_some() -> None:
    """The mean over batches of what a code's row and the others count for is what each datum does: 1/N."""
    rows, size = 6, 3
    counted = torch.zeros(rows, rows)
    batches = torch.combinations(torch.arange(rows), size)
    for index in batches:
        trace = trace_of(LINE[index], torch.ones(size, 2), rows=rows)
        counted[index.unsqueeze(1), index] += TotalCorrelation()._log_shares(trace).exp()
    counted /= len(batches) * size / rows  # in how many a row is
    torch.testing.assert_close(counted, torch.full((rows, rows), 1 / rows))


def test_weighted_shares_are_those_of_the_paper() -> None:
    shares = TotalCorrelation(estimator="weighted")._log_shares(trace_of(LINE[:4], torch.ones(4, 2), rows=100))
    torch.testing.assert_close(shares, torch.full((4, 4), -math.log(4 * 100)))


def test_the_kl_is_information_correlation_and_that_of_each_dimension() -> None:
    """KL = I(x; z) + TC + sum_d KL(q(z_d) || p(z_d)), on the draws of one trace."""
    trace = trace_of(LINE, torch.full_like(LINE, 0.5), 20_000)
    (latent,) = trace.latents
    each = torch.as_tensor(latent.log_q_pair_terms).logsumexp(-2) - math.log(len(LINE))
    joint = latent.log_q_pairs.logsumexp(-1) - math.log(len(LINE))
    information = (latent.log_q - joint).mean()
    dimensions = (each - Normal(0.0, 1.0).log_prob(latent.z)).sum(-1).mean()
    total = TotalCorrelation(1.0)(trace).loss
    torch.testing.assert_close(information + total + dimensions, latent.kl.mean(), atol=0.02, rtol=0)


def test_an_optimal_discriminator_tells_the_total_correlation() -> None:
    """Of a Gaussian pair with correlation r, TC is -log(1 - r²) / 2: learned to within a few hundredths."""
    r = 0.8
    covariance = torch.tensor([[1, r], [r, 1]])
    exact = -0.5 * math.log(1 - r**2)
    with seeded(1):
        term = AdversarialCorrelation(2, 1.0, width=32, layers=2)
        optimiser = torch.optim.Adam(term.opponent.parameters(), 6e-3)
        of = MultivariateNormal(torch.zeros(2), covariance)
        for _ in range(300):
            z = of.sample((1024,))
            trace = trace_of(torch.zeros(1024, 2), torch.ones(1024, 2), own=z[None])
            optimiser.zero_grad()
            term.opponent_loss(trace).loss.backward()
            optimiser.step()
        z = of.sample((20_000,))
        found = term(trace_of(torch.zeros(20_000, 2), torch.ones(20_000, 2), own=z[None]))
    assert float(found.loss.detach()) == pytest.approx(exact, abs=0.06)
    assert not any(each.requires_grad and each.grad is None for each in term.opponent.parameters())


class Ratio(_Discriminator):
    """a log q(z) / p(z) + b, of q = N(m, s²) and p = N(0, I)."""

    def __init__(self, means: Tensor, scales: Tensor) -> None:
        super().__init__(2, 1, 1)
        self.q, self.line = Independent(Normal(means, scales), 1), torch.nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, z: Tensor) -> Tensor:
        return self.line[0] * (self.q.log_prob(z) - Normal(0.0, 1.0).log_prob(z).sum(-1)) + self.line[1]


def test_a_discriminator_of_codes_is_best_where_it_knows_both_densities() -> None:
    """The log-ratio of q and p is where its loss is least, and then the term is E_q[log(1 + q / p)]."""
    means, scales = torch.tensor([1.0, -0.5]), torch.tensor([0.6, 1.2])
    term = AdversarialDiscrepancy(2, 3.0, width=1, layers=1)
    term.opponent = Ratio(means, scales)
    with seeded(1):
        slopes = []
        for _ in range(60):
            own = term.opponent_loss(trace_of(means.expand(500, 2), scales.expand(500, 2))).loss
            slopes.append(torch.autograd.grad(own, term.opponent.line)[0])
        learned = means.expand(20_000, 2).clone().requires_grad_()
        trace = trace_of(learned, scales.expand(20_000, 2))
    assert (standard_errors_apart(torch.stack(slopes), 0.0) < 4).all()
    assert float(own.detach()) < math.log(2) - 0.1
    (latent,) = trace.latents
    exact = (latent.log_q - Normal(0.0, 1.0).log_prob(latent.z).sum(-1)).detach().exp().log1p().mean()
    loss = term(trace).loss
    assert float(loss.detach()) == pytest.approx(3 * float(exact))
    (slope,) = torch.autograd.grad(loss, learned, retain_graph=True)
    assert (slope.sum(0) * means > 0).all()  # downwards codes go to the prior
    loss.backward()
    assert term.opponent.line.grad is None
    like = AdversarialDiscrepancy(2, 3.0, width=1, layers=1)
    like.opponent = Ratio(torch.zeros(2), torch.ones(2))
    assert float(like(trace).loss.detach()) == pytest.approx(3 * math.log(2))


def test_shuffled_codes_keep_each_dimension() -> None:
    z = torch.randn(50, 3)
    with seeded(0):
        other = shuffled(z)
    torch.testing.assert_close(other.sort(0).values, z.sort(0).values)
    assert not torch.equal(other, z)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_covariances_are_those_of_means_or_codes(kind: Any) -> None:
    means, scales = torch.randn(40, 3), torch.rand(40, 3)
    covariance = torch.cov(means.T, correction=0) + (scales.square().mean(0).diag() if kind == "II" else 0)
    off = covariance - covariance.diagonal().diag()
    expected = 3 * off.square().sum() + 5 * (covariance.diagonal() - 1).square().sum()
    torch.testing.assert_close(Covariance(3.0, 5.0, kind)(trace_of(means, scales)).loss, expected)


def posteriors_with_correlations() -> dict[str, Distribution]:
    """For each of five data a posterior whose numbers hang together, by what it is."""
    torch.manual_seed(3)
    loc, scale, below = torch.randn(5, 3), 0.5 + torch.rand(5, 3), torch.randn(5, 3)
    return {
        "triangular": TriangularNormal(loc, scale, below, torch.tril_indices(3, 3, -1)),
        "low rank": LowRankNormal(loc, scale, torch.randn(5, 3, 2)),
        "reflected": ReflectedNormal(loc, scale, torch.randn(5, 2, 3)),
        "mixture": NormalMixture(torch.randn(5, 4), 2 * torch.randn(5, 4, 3), 0.5 + torch.rand(5, 4, 3)),
        "sphere": VonMisesFisher(normalize(loc, dim=-1), 0.5 + 5 * torch.rand(5)),
        "shares": Dirichlet(0.3 + 2 * torch.rand(5, 3)),
    }


@pytest.mark.parametrize("name", ["triangular", "low rank", "reflected", "mixture", "sphere", "shares"])
def test_covariances_of_codes_are_those_of_draws(name: str) -> None:
    q = posteriors_with_correlations()[name]
    with seeded(1):
        z = q.sample((100_000,))
    own = torch.stack([torch.cov(each.T) for each in z.unbind(1)])
    assert (covariance(q) - own).abs().max() < 0.02 * own.abs().max()
    torch.testing.assert_close(covariance(q).diagonal(dim1=-2, dim2=-1), q.variance)
    trace = Trace(Batch(torch.zeros(5, 1)), q, (Latent("z", z[:1], q, q),))
    of_codes = torch.cov(z.flatten(0, 1).T)
    off = of_codes - of_codes.diagonal().diag()
    found = Covariance(1.0, 0.0)(trace).loss
    assert float(found) == pytest.approx(float(off.square().sum()), rel=0.05, abs=1e-3)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_discrepancy_of_codes_like_the_prior_is_zero_on_average(kernel: Any) -> None:
    with seeded(0):
        term = Discrepancy(1.0, kernel)
        zeros, ones = torch.zeros(30, 2), torch.ones(30, 2)
        same = torch.stack([term(trace_of(zeros, ones)).loss for _ in range(400)])
        other = torch.stack([term(trace_of(zeros + 2, ones)).loss for _ in range(50)])
    assert abs(same.mean()) < 4 * same.std() / 20
    assert other.mean() > 20 * same.std() / 20


@pytest.mark.parametrize("prior", ["standard-normal", "mixture", "vamp", "flow", "resampled", "transformer"])
def test_codes_are_compared_with_as_many_draws_of_the_prior(prior: str) -> None:
    """Codes that are the prior's own are no further from its draws than noise makes them."""
    for condition in (0, 3):
        model = model_of(prior=prior, latents={"z": 2}, condition=condition)
        y = torch.arange(100) % 3 if condition else None
        with seeded(0), torch.no_grad():
            p = model.prior("z", model.network_condition(y))
            found = []
            for _ in range(30):
                z = p.sample((1, 100)[: 2 - len(p.batch_shape)])
                trace = Trace(Batch(torch.zeros(100, 1)), p, (Latent("z", z, p.expand((100,)), p),))
                found.append(Discrepancy(1.0)(trace).loss)
        assert float(torch.stack(found).std()) < 0.05
        assert abs(standard_errors_apart(torch.stack(found), 0.0)) < 4


def test_a_discrepancy_draws_codes_to_the_prior() -> None:
    means = torch.full((100, 2), 1.5).requires_grad_()
    optimiser = torch.optim.Adam([means], 0.05)
    with seeded(0):
        for _ in range(150):
            optimiser.zero_grad()
            Discrepancy(1.0)(trace_of(means, torch.full((100, 2), 0.5))).loss.backward()
            optimiser.step()
    assert means.detach().mean(0).abs().max() < 0.2
    assert float(means.detach().std(0).mean()) == pytest.approx(math.sqrt(0.75), abs=0.25)


def test_renyi_bounds_fall_with_alpha_from_the_largest_weight_to_the_elbo() -> None:
    model = model_of(by=0.5)
    x = data_of(model.domain, (20, 4))
    with seeded(3):
        trace = traced(model, Renyi(0.5, 6), Batch(x))
    bounds = [-float(Renyi(alpha, 6)(trace).loss.detach()) for alpha in (-math.inf, -50.0, -1.0, 0.0, 0.5, 1.0, 2.0)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[3] == pytest.approx(-float(IWAE(6)(trace).loss.detach()))
    assert bounds[5] == pytest.approx(float(trace.log_weight.mean().detach()))
    assert bounds[1] == pytest.approx(bounds[0], abs=math.log(6) / 51)
    near = -float(Renyi(1 - 1e-7, 6)(trace).loss.detach())
    assert near == pytest.approx(bounds[5], abs=1e-5)


def test_bounds_of_some_weights_lie_between_the_elbo_and_that_of_all() -> None:
    model = model_of(by=0.5)
    x = data_of(model.domain, (20, 4))
    with seeded(3):
        trace = traced(model, IWAE(6), Batch(x))
    found = [-float(IWAE(6, bounds=m)(trace).loss.detach()) for m in (6, 3, 2, 1)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(float(trace.log_weight.mean().detach()))
    mixed = -float(IWAE(6, elbo=0.3)(trace).loss.detach())
    assert mixed == pytest.approx(0.3 * found[0] + 0.7 * found[-1])
    with refuses("bounds is 4; accepted: what divides the 6 samples"):
        IWAE(6, bounds=4)


def test_a_capacity_is_what_the_kl_is_drawn_to() -> None:
    trace = trace_of(torch.full((5, 2), 2.0), torch.ones(5, 2))
    cases: list[tuple[Any, float, float]] = [(1.0, 1.0, 3.0), (7.0, 1.0, 3.0), (Linear(0.0, 8.0, until=1.0), 0.25, 2.0)]
    for capacity, progress, beyond in cases:
        found = Capacity(10.0, capacity)(trace, progress)
        reconstruction = found.terms["reconstruction"]
        assert float(found.loss) == pytest.approx(-float(reconstruction) + 10 * beyond)
        assert float(found.terms["elbo"]) == pytest.approx(float(reconstruction) - 4)


@pytest.mark.parametrize("term", ["total-correlation", "covariance", "discrepancy"])
def test_terms_reach_the_encoder_and_add_to_a_bound(term: str) -> None:
    model = model_of(by=0.5, latents={"a": 2, "b": 1})
    x = data_of(model.domain, (8, 4))
    with seeded(0):
        found = Sum((ELBO(), TERMS[term]()))(traced(model, ELBO(), Batch(x)), 1.0)
    found.loss.backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in model.encoder.parameters())


@pytest.mark.parametrize("term", ["total-correlation", "covariance", "discrepancy", "adversarial-discrepancy"])
@pytest.mark.parametrize(
    "options",
    [
        {"posterior": "relaxed-categorical"},
        {"structure": "hierarchical", "latents": {"a": 2, "b": 3}, "prior": "diagonal-normal"},
    ],
    ids=["relaxed", "one from another"],
)
def test_classes_and_chains_are_refused_by_name(term: str, options: dict[str, Any]) -> None:
    model = model_of(**options)
    with seeded(0), refuses(f"{term} is for numbers that are drawn for each datum"):
        TERMS[term]()(traced(model, ELBO(), Batch(data_of(model.domain, (8, 4)))), 1.0)
