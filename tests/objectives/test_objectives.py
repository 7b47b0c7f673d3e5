"""Objectives on traces whose terms are given: what each makes of them. Laws and gradients are in test_laws."""

from __future__ import annotations

import math

import pytest
import torch
from models_for_tests import data_of, gradient, model_of, refuses
from scipy.stats import entropy
from torch import Tensor
from torch.distributions import Distribution, Normal, OneHotCategorical

from vaekit.data.batch import Batch
from vaekit.distributions.bernoulli import IndependentBernoulli
from vaekit.distributions.discrete import RelaxedOneHot
from vaekit.distributions.mixtures import Mixture
from vaekit.distributions.shapes import independent
from vaekit.models.trace import Latent, Trace
from vaekit.objectives import Discrepancy, Sum
from vaekit.objectives.base import log_mean_exp
from vaekit.objectives.elbo import ELBO, InvariantClusters
from vaekit.objectives.weighted import IWAE, STL, DReG
from vaekit.schedules import Linear
from vaekit.seeding import seeded
from vaekit.training.step import traced

pytestmark = pytest.mark.usefixtures("_float64")


class Given(Distribution):
    """A likelihood whose log-probability is given."""

    def __init__(self, log_prob: Tensor) -> None:
        self.value = log_prob

    def log_prob(self, value: Tensor) -> Tensor:
        return self.value


def trace_with_kl(means: Tensor, log_px: float = -3.0) -> Trace:
    """KL terms of means (B, D): half the square of each."""
    q = independent(Normal(means, torch.ones_like(means)))
    p = independent(Normal(torch.zeros(means.shape[1]), torch.ones(means.shape[1])))
    latent = Latent("z", q.rsample((2,)), q, p)
    return Trace(Batch(torch.zeros(len(means), 1)), Given(torch.full((2, len(means)), log_px)), (latent,))


def test_elbo_is_reconstruction_less_kl_and_beta_weighs_the_kl_alone():
    trace = trace_with_kl(torch.tensor([[1.0, 2.0], [3.0, 0.0]]))
    kl = (0.5 + 2.0 + 4.5) / 2
    warm_up = Linear(0.0, 2.0, until=0.5)
    for beta, progress, weight in [(1.0, 0.3, 1.0), (4, 0.3, 4.0), (0.0, 1.0, 0.0), (warm_up, 0.25, 1.0)]:
        result = ELBO(beta=beta)(trace, progress)
        assert float(result.loss) == pytest.approx(3 + weight * kl)
        assert result.terms["beta"] == weight
        assert {k: float(v) for k, v in result.terms.items()} == pytest.approx(
            {"elbo": -3 - kl, "reconstruction": -3.0, "kl": kl, "beta": weight}
        )


def test_free_bits_hold_each_dimension_on_the_average_of_the_batch():
    # Averages over the batch: 0.25 + 2.25 = 2.5 in the first dimension, 0.02 in the second.
    means = torch.tensor([[0.5, 0.2], [3.0, 0.2]], requires_grad=True)
    trace = trace_with_kl(means)
    first, second = (0.125 + 4.5) / 2, 0.02
    for free, want in [(0.0, first + second), (0.1, first + 0.1), (2.0, first + 2.0), (5.0, 10.0)]:
        result = ELBO(free_bits=free)(trace, 1.0)
        assert float(result.loss.detach()) == pytest.approx(3 + want)
        assert float(result.terms["kl"]) == pytest.approx(first + second)  # what is reported is the KL itself
        (pull,) = torch.autograd.grad(result.loss, means, retain_graph=True)
        # A datum below the threshold is pressed on as long as the average is above it.
        assert (pull != 0).tolist() == [[first > free, second > free]] * 2
    doubled = ELBO(beta=2.0, free_bits=0.1)(trace, 1.0)
    assert float(doubled.loss.detach()) == pytest.approx(3 + 2 * (first + 0.1))


def test_free_bits_without_terms_hold_the_whole_kl_at_d_times_that():
    means = torch.tensor([[1.0, 2.0]], requires_grad=True)
    q = independent(Normal(means, torch.ones(1, 2)))
    p = Mixture(torch.zeros(1), independent(Normal(torch.zeros(1, 2), torch.ones(1, 2))))
    z = q.rsample((50_000,))
    trace = Trace(Batch(torch.zeros(1, 1)), Given(torch.zeros(50_000, 1)), (Latent("z", z, q, p),))
    assert not trace.latents[0].closed_form
    assert float(ELBO()(trace, 1.0).loss.detach()) == pytest.approx(2.5, abs=4 * math.sqrt(5 / 50_000))
    held = ELBO(free_bits=3.0)(trace, 1.0)
    assert float(held.loss.detach()) == 6.0
    assert not torch.autograd.grad(held.loss, means)[0].any()


def test_free_bits_count_one_hots_not_their_classes():
    """Two one-hots of three classes, the second as its prior says: each is held at the free bits, or both at twice."""
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    q, p = RelaxedOneHot(logits, groups=2), RelaxedOneHot(torch.zeros(6), groups=2)
    trace = Trace(Batch(torch.zeros(1, 1)), Given(torch.zeros(1, 1)), (Latent("z", q.rsample((1,)), q, p),))
    apart = float((q.mean * (q.logits - p.logits))[:, :3].sum())
    assert 0.3 < apart < 0.5
    assert float(ELBO(free_bits=0.3)(trace).loss) == pytest.approx(apart + 0.3)
    assert float(ELBO(free_bits=0.5)(trace).loss) == pytest.approx(1.0)
    q, p = (OneHotCategorical(logits=each.logits[..., :3], validate_args=False) for each in (q, p))
    trace = Trace(Batch(torch.zeros(1, 1)), Given(torch.zeros(1, 1)), (Latent("z", q.sample((1,)), q, p),))
    assert float(ELBO(free_bits=0.5)(trace).loss) == pytest.approx(0.5)


def test_bounds_of_weights_given():
    log_weight = torch.tensor([[-900.0, 3.0], [-900.0 + math.log(3), 3.0]])
    assert torch.allclose(log_mean_exp(log_weight), torch.tensor([-900 + math.log(2), 3.0]))
    model = model_of()
    with seeded(0):
        trace = model.trace(Batch(data_of(model.likelihood.domain, (4, 4))), samples=5)
    bound = float(log_mean_exp(trace.log_weight.detach()).mean())
    for objective in (IWAE(5), DReG(5)):
        result = objective(trace, 1.0)
        assert float(result.loss.detach()) == pytest.approx(-bound)
        assert float(result.terms["iwae"]) == pytest.approx(bound)
        assert result.terms["elbo"] < result.terms["iwae"]
    assert float(STL(5)(trace, 1.0).loss.detach()) == pytest.approx(-float(trace.log_weight.detach().mean()))


def test_dreg_weighs_each_sample_by_its_square():
    """On one latent by hand: d loss / d z_k = -w_k² (d log weight_k / d z_k, parameters of q held), w normalised."""
    loc = torch.tensor([[0.3]], requires_grad=True)
    q, p = independent(Normal(loc, torch.full((1, 1), 0.7))), independent(Normal(torch.zeros(1), torch.ones(1)))
    with seeded(0):
        z = q.rsample((4,))
    trace = Trace(Batch(torch.zeros(1, 1)), Given(-2 * (z - 1).square().sum(-1)), (Latent("z", z, q, p),))
    (got,) = torch.autograd.grad(DReG(4)(trace, 1.0).loss, loc)
    at = z.detach()
    weight = trace.log_weight.detach().softmax(0)[..., None]
    slope = -4 * (at - 1) - at + (at - 0.3) / 0.49
    assert float(got) == pytest.approx(-float((weight.square() * slope).sum()))


def test_what_is_added_to_dreg_has_its_own_gradient():
    """The weighting of the gradient of z is of DReG's own part of it."""
    model = model_of(latents={"z": 2, "w": 1}, by=0.4)
    x, term = data_of(model.domain, (6, 4)), Discrepancy(10.0)
    found = []
    for objective in (Sum((DReG(4), term)), DReG(4), term):
        with seeded(0):
            found.append(gradient(objective(model.trace(Batch(x), samples=4), 1.0).loss, model))
    both, alone, other = found
    for name, value in both.items():
        torch.testing.assert_close(value, alone[name] + other[name], rtol=1e-9, atol=1e-12)


def test_one_sample_dreg_is_stl():
    model = model_of(posterior="full-rank-normal", prior="vamp")
    x = data_of(model.likelihood.domain, (3, 4))
    results = []
    for objective in (DReG(1), STL(1)):
        with seeded(0):
            results.append(gradient(objective(model.trace(Batch(x)), 1.0).loss, model))
    for name in results[0]:
        assert torch.allclose(results[0][name], results[1][name], rtol=1e-9, atol=1e-12), name


def clusters_trace(own: Tensor, changed: Tensor) -> Trace:
    """A trace of data whose clusters have these probabilities (B, K), and those of their views these."""
    prior = RelaxedOneHot(torch.zeros(own.shape[-1]))
    latent, of_augmented = (
        Latent("c", q.sample((1,)), q, prior) for q in (RelaxedOneHot(p.log()) for p in (own, changed))
    )
    px = IndependentBernoulli(torch.zeros(1, len(own), 1))
    return Trace(Batch(torch.zeros(len(own), 1)), px, (latent,), of_augmented=(of_augmented,))


def test_information_is_that_of_the_clusters_of_data_and_views():
    objective, k = InvariantClusters(invariance=2.0), 4
    certain = torch.eye(k).repeat(3, 1).clamp_min(1e-300)
    even = torch.full((12, k), 1 / k)
    turned = certain.roll(6, 0)  # each datum's view is of another cluster, and theirs of its
    for own, changed, expected in [
        (certain, certain, math.log(k)),
        (even, certain, 0.0),
        (even, even, 0.0),
        (certain[:1].expand(12, k), certain[:1].expand(12, k), 0.0),
        (certain, turned, math.log(k)),
    ]:
        trace = clusters_trace(own, changed)
        result = objective(trace)
        assert float(result.terms["information"]) == pytest.approx(expected, abs=1e-9)
        assert float(result.loss) == pytest.approx(float(ELBO()(trace).loss) - 2 * expected, abs=1e-8)
    with seeded(0):
        own, changed = (3 * torch.randn(2, 12, k)).softmax(-1)
    joint = (own.T @ changed + changed.T @ own).numpy() / 24
    got = float(objective(clusters_trace(own, changed)).terms["information"])
    assert got == pytest.approx(2 * entropy(joint.sum(0)) - entropy(joint.ravel()), rel=1e-9)


def test_information_needs_clusters_and_views():
    model, objective = model_of(prior="mixture"), InvariantClusters()
    x = data_of(model.domain, (5, 4))
    with refuses("has no clusters"):
        objective(model.trace(Batch(x)))
    traced(model, objective, Batch(x))
    plain = model_of()
    with refuses("has no clusters"):
        objective(traced(plain, objective, Batch(x)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ELBO(beta=-1.0),
        lambda: ELBO(beta=float("nan")),
        lambda: ELBO(free_bits=-0.1),
        lambda: ELBO(free_bits=float("nan")),
        lambda: ELBO(samples=0),
        lambda: IWAE(0),
        lambda: DReG(-1),
        lambda: STL(0),
        lambda: InvariantClusters(invariance=-1.0),
        lambda: InvariantClusters(rotate=-1.0),
    ],
)
def test_what_objectives_refuse(make):
    with refuses("must be at least"):
        make()
