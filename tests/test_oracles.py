"""The same numbers from other code: SciPy point by point, torch by hand with explicit loops, Pyro's estimators."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import TABLES_ALONE, data_of, domain_of, model_of, one_hot, scored
from scipy import special, stats
from torch import Tensor
from torch import distributions as td

from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.likelihoods import Multinomial
from vaekit.models import VAE
from vaekit.models.trace import Latent, Trace
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.weighted import IWAE
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS

pytestmark = pytest.mark.usefixtures("_float64")


# -- each likelihood, element by element -----------------------------------------------------------------------------


def _levels(domain: Domain) -> int:
    assert domain.levels
    return domain.levels


def _truncated_exponential(x: float, logit: float, location: float, scale: float) -> float:
    u, steep = (x - location) / scale, abs(logit)
    return float(stats.truncexpon(steep, scale=1 / steep).logpdf(1 - u if logit > 0 else u)) - math.log(scale)


Element = Callable[[float, list[float], Domain, float, float], float]
SCIPY: dict[str, Element] = {
    # x, its parameters, domain, location and scale of its column
    "bernoulli": lambda x, p, d, m, s: stats.bernoulli(special.expit(p[0])).logpmf(x),
    "binomial": lambda x, p, d, m, s: stats.binom(_levels(d) - 1, special.expit(p[0])).logpmf(x),
    "continuous-bernoulli": lambda x, p, d, m, s: _truncated_exponential(x, p[0], m, s),
    "normal-fixed": lambda x, p, d, m, s: stats.norm(m + s * p[0], s * 0.3).logpdf(x),
    "normal-global": lambda x, p, d, m, s: stats.norm(m + s * p[0], s * 0.6).logpdf(x),
    "normal": lambda x, p, d, m, s: stats.norm(m + s * p[0], s * math.exp(p[1] / 2)).logpdf(x),
    "categorical": lambda x, p, d, m, s: math.log(special.softmax(p)[int(x)]),
    "multinomial": lambda x, p, d, m, s: stats.poisson(3 * math.exp(p[0])).logpmf(x),  # of a total of three by itself
    "poisson": lambda x, p, d, m, s: stats.poisson(s * math.exp(p[0])).logpmf(x),
    "negative-binomial": lambda x, p, d, m, s: stats.nbinom(1, 1 / (1 + s * math.exp(p[0]))).logpmf(x),
    "zero-inflated-poisson": lambda x, p, d, m, s: _inflated(x, p[1], stats.poisson(s * math.exp(p[0]))),
    "zero-inflated-negative-binomial": lambda x, p, d, m, s: _inflated(
        x, p[1], stats.nbinom(1, 1 / (1 + s * math.exp(p[0])))
    ),
    "laplace": lambda x, p, d, m, s: stats.laplace(m + s * p[0], s * math.exp(p[1])).logpdf(x),
    "student-t": lambda x, p, d, m, s: stats.t(10, m + s * p[0], s * math.exp(p[1])).logpdf(x),
    "log-normal": lambda x, p, d, m, s: stats.lognorm(math.exp(p[1] / 2), scale=s * math.exp(p[0])).logpdf(x),
    "gamma": lambda x, p, d, m, s: stats.gamma(math.exp(p[1]), scale=s * math.exp(p[0] - p[1])).logpdf(x),
    "weibull": lambda x, p, d, m, s: stats.weibull_min(math.exp(p[1]), scale=s * math.exp(p[0])).logpdf(x),
    "beta": lambda x, p, d, m, s: stats.beta(
        2 * math.exp(p[1]) * special.expit(p[0]), 2 * math.exp(p[1]) * special.expit(-p[0]), m, s
    ).logpdf(x),
    "truncated-normal": lambda x, p, d, m, s: _truncated_normal(x, p, d, m, s),
    "discretized-logistic": lambda x, p, d, m, s: _logistic_level(x, p, _levels(d)),
    "discretized-logistic-mixture": lambda x, p, d, m, s: _mixed_levels(x, p, _levels(d)),
    "logistic-mixture": lambda x, p, d, m, s: _mixture(x, p, d, m, s),
    **dict.fromkeys(
        ("columns", "self-masked-columns"),
        lambda x, p, d, m, s: SCIPY[MEMBER.get(d.kind, "logistic-mixture")](x, p, d, m, s),
    ),
}
MEMBER = {
    "binary": "bernoulli",
    "categorical": "categorical",
    "grey": "categorical",
    "unit": "truncated-normal",
}
"""What columns of a kind are scored by, those of numbers by a mixture."""


def _inflated(x: float, logit: float, counts: Any) -> float:
    share = special.expit(logit - 2)
    return math.log(share * (x == 0) + (1 - share) * counts.pmf(x))


def _truncated_normal(x: float, p: list[float], domain: Domain, location: float, scale: float) -> float:
    centre, spread = p[0] + 0.5 * (domain.kind == "unit"), math.exp(p[1] / 2)
    low, high = -centre / spread, (1 - centre) / spread if domain.kind == "unit" else math.inf
    start = location if domain.kind == "unit" else 0.0
    return float(stats.truncnorm(low, high, start + scale * centre, scale * spread).logpdf(x))


def _mixture(x: float, p: list[float], domain: Domain, location: float, scale: float) -> float:
    """Three logistics of t(x), log-scales from -1 on and places from -1 to 1; whole numbers, and what may be 0."""
    warp, step = domain.warp, float(domain.kind in ("count", "integer")) / 2
    if domain.kind == "positive" and warp == "affine":
        warp, location, scale = "log", math.log(scale), 1.0

    def inwards(value: float) -> float:
        moved = value + (domain.kind == "count") if warp == "log" else (value - location) / scale
        return (
            (math.log(moved) - location) / scale if warp == "log" else math.asinh(moved) if warp == "asinh" else moved
        )

    parts = [stats.logistic(p[3 + k] + k - 1, math.exp(p[6 + k] - 1)) for k in range(3)]
    shares, zero = special.softmax(p[:3]), p[9] if domain.kind == "nonnegative" else -math.inf
    if x == 0 and domain.kind == "nonnegative":
        return float(special.log_expit(zero))
    if step:
        low = -math.inf if x == 0 and domain.kind == "count" else inwards(x - step)
        masses = [part.cdf(inwards(x + step)) - part.cdf(low) for part in parts]
        return math.log(float(shares @ masses))
    near = 1e-6 * abs(x)
    slope = (inwards(x + near) - inwards(x - near)) / (2 * near)
    density = float(shares @ [part.pdf(inwards(x)) for part in parts]) * slope
    return math.log(density) + float(special.log_expit(-zero))


def _logistic_level(x: float, parameters: list[float], levels: int) -> float:
    top = levels - 1
    loc, scale = (0.5 + parameters[0]) * top, math.exp(parameters[1] - 2) * top
    low, high = -math.inf if x == 0 else x - 0.5, math.inf if x == top else x + 0.5
    if x > loc:  # the same by symmetry, in the tail where a difference keeps its digits
        loc, low, high = -loc, -high, -low
    cdf = stats.logistic(loc, scale).cdf
    return math.log(cdf(high) - cdf(low))


def _mixed_levels(x: float, parameters: list[float], levels: int) -> float:
    logits, places, log_scales = np.split(np.array(parameters), 3)
    # From the middle, as of one logistic; in units of a fifth of the range.
    places = 0.2 * places + (np.arange(len(places)) + 0.5) / len(places) - 0.5
    each = [_logistic_level(x, [m, s], levels) for m, s in zip(places, log_scales, strict=True)]
    return float(special.logsumexp(np.log(special.softmax(logits)) + each))


def _of_column(likelihood: torch.nn.Module, parameters: Tensor, i: int) -> list[float]:
    """The parameters of column i of three."""
    if isinstance(likelihood, Multinomial):
        parameters = parameters.log_softmax(-1)
    if parameters.dim() == 2:
        return parameters[:, i].tolist()
    groups = [index for _, index in likelihood.domain.groups] or [(0, 1, 2)]
    for index, part in zip(groups, parameters.split(likelihood.sizes), strict=True):
        if i in index:
            return part.unflatten(0, (-1, len(index)))[:, index.index(i)].tolist()
    raise AssertionError(i)


def test_every_likelihood_has_an_oracle():
    assert SCIPY.keys() == PARTS.likelihoods.keys()


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, part in PARTS.likelihoods.items() for k in part.domains])
@pytest.mark.parametrize("columns", [False, True])
def test_likelihoods_are_those_of_scipy(name: str, kind: str, columns: bool):
    domain = domain_of(kind, (3,))
    if columns and kind in ("unit", "real", "positive"):
        domain = Domain(kind, location=0.0 if kind == "positive" else (0.0, -2.0, 0.25), scale=(0.5, 3.0, 100.0))
    options = {"sigma": 0.3} if name == "normal-fixed" else {}
    likelihood = PARTS.likelihoods[name](event_shape=(3,), domain=domain, **options)
    if name == "normal-global":
        with torch.no_grad():
            likelihood.log_variance.fill_(2 * math.log(0.6))
    with seeded(0):
        parameters = torch.randn(2, 4, *likelihood.parameter_shape)
    x = data_of(domain, (4, 3))
    with torch.no_grad():
        got = likelihood(parameters).log_prob(x)
    location, scale = (np.broadcast_to(v, 3) for v in (domain.location, domain.scale))
    own = domain.columns or [replace(domain, location=m, scale=s) for m, s in zip(location, scale, strict=True)]
    for s, b in np.ndindex(2, 4):
        want = sum(
            SCIPY[name](float(x[b, i]), _of_column(likelihood, parameters[s, b], i), each, each.location, each.scale)
            for i, each in enumerate(own)
        )
        assert float(got[s, b]) == pytest.approx(want, rel=1e-7 if name in TABLES_ALONE else 1e-9)


def test_relaxed_bernoulli_is_the_cross_entropy():
    likelihood = PARTS.likelihoods["bernoulli"](event_shape=(3,), domain=Domain("binary", relaxed=True))
    x, logits = torch.rand(4, 3), torch.randn(4, 1, 3)
    want = -torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], x, reduction="none").sum(-1)
    assert torch.allclose(likelihood(logits).log_prob(x), want)


# -- a whole model by hand -------------------------------------------------------------------------------------------


def mlp_by_hand(network: torch.nn.Module, x: Tensor) -> Tensor:
    first, last = network.layers[0], network.layers[2] if len(network.layers) > 2 else None
    hidden = torch.tanh(first.weight @ x + first.bias)
    return hidden if last is None else last.weight @ hidden + last.bias


@pytest.mark.parametrize("condition", [0, 3])
def test_elbo_and_weights_are_those_of_explicit_loops(condition: int):
    model = model_of(likelihood="normal", event_shape=(3,), condition=condition)
    x = data_of(model.likelihood.domain, (4, 3))
    y = one_hot(4, condition) if condition else None
    with seeded(0), torch.no_grad():
        trace = model.trace(Batch(x, y), samples=3)
    z = trace.latents[0].z
    kl_sum = weight_sum = 0.0
    log_weights = torch.zeros(3, 4)
    for b in range(4):
        label = torch.zeros(0) if y is None else y[b]
        scaled = (x[b] - model.likelihood.domain.location) / model.likelihood.domain.scale
        head = model.posteriors["z"].head
        raw = (head.weight @ mlp_by_hand(model.encoder, torch.cat([scaled, label])) + head.bias).detach()
        for d in range(2):
            q = td.Normal(raw[d], math.exp(raw[2 + d] / 2))
            kl_sum += float(td.kl_divergence(q, td.Normal(0.0, 1.0)))
            for s in range(3):
                log_weights[s, b] += td.Normal(0.0, 1.0).log_prob(z[s, b, d]) - q.log_prob(z[s, b, d])
        for s in range(3):
            out = mlp_by_hand(model.decoder, torch.cat([z[s, b], label])).detach()
            for i in range(3):
                scale = model.likelihood.domain.scale
                px = td.Normal(model.likelihood.domain.location + scale * out[i], scale * math.exp(out[3 + i] / 2))
                log_weights[s, b] += px.log_prob(x[b, i])
                weight_sum += float(px.log_prob(x[b, i]))
    with torch.no_grad():
        assert torch.allclose(trace.log_weight, log_weights, rtol=1e-12)
        assert float(ELBO()(trace, 1.0).loss) == pytest.approx(kl_sum / 4 - weight_sum / 12, rel=1e-12)
        bound = float(log_weights.exp().mean(0).log().mean())
        assert float(IWAE(3)(trace, 1.0).loss) == pytest.approx(-bound, rel=1e-12)


# -- importance-weighted likelihoods ---------------------------------------------------------------------------------


def fixed_draws(model: VAE, x: Tensor, samples: int) -> tuple[Trace, Callable[[int], Trace]]:
    """A trace of so many draws, and a function that deals them out again a few at a time."""
    with seeded(0), torch.no_grad():
        whole = model.trace(Batch(x), samples=samples)
    dealt = 0

    def deal(count: int) -> Trace:
        nonlocal dealt
        dealt += count
        z = {latent.name: latent.z[dealt - count : dealt] for latent in whole.latents}
        latents = tuple(type(latent)(latent.name, z[latent.name], latent.q, latent.p) for latent in whole.latents)
        return Trace(Batch(x), model.likelihood(model.decoder(torch.cat(list(z.values()), -1))), latents)

    return whole, deal


@pytest.mark.parametrize(
    ("samples", "chunk"), [(1, 1), (1, 9), (12, 12), (12, 5), (12, 1), (13, 4), (100, 7), (150, 1)]
)
@pytest.mark.parametrize("posterior", ["diagonal-normal", "flow"])
@torch.no_grad()
def test_score_is_a_naive_one_in_float64_whatever_the_chunk(samples: int, chunk: int, posterior: str):
    model = model_of(posterior=posterior, latents={"z": 2, "w": 1})
    x = data_of(model.likelihood.domain, (3, 4))
    whole, deal = fixed_draws(model, x, samples)
    scores = scored(deal, samples, chunk)
    weights = np.exp(whole.log_weight.numpy())
    assert np.allclose(scores.log_prob, np.log(weights.mean(0)), rtol=1e-12)
    assert np.allclose(scores.reconstruction, whole.log_px.numpy().mean(0), rtol=1e-12)
    for latent in whole.latents:
        sampled = (latent.log_q - latent.log_p).mean(0)
        want = latent.kl if posterior == "diagonal-normal" else sampled
        assert torch.allclose(scores.kl_terms[latent.name].sum(-1), want, rtol=1e-12)
    assert torch.allclose(scores.elbo, scores.reconstruction - scores.kl)
    if samples > 1:
        without = np.log([np.delete(weights, i, 0).mean(0) for i in range(samples)])
        variance = ((without - without.mean(0)) ** 2).sum(0)
        assert np.allclose(scores.log_prob_variance, variance, rtol=1e-6)
        assert np.allclose(scores.effective_samples, weights.sum(0) ** 2 / (weights**2).sum(0), rtol=1e-9)
    else:
        assert scores.log_prob_variance.isnan().all()


def test_score_does_not_overflow_where_weights_do():
    q = td.Independent(td.Normal(torch.zeros(2, 1), torch.ones(2, 1)), 1)
    weights = iter(torch.tensor([[[-5e3, 4e3]], [[-5e3 + 1, 4e3 - 800]], [[-5e3 - 900, 4e3]]]))

    class Given(Trace):
        log_weight = property(lambda self: self.x)

    def deal(count: int) -> Trace:
        trace = Given(Batch(next(weights)), q, (Latent("z", torch.zeros(1, 2, 1), q, q),))
        object.__setattr__(trace, "log_px", torch.zeros(1, 2))
        return trace

    scores = scored(deal, 3, 1)
    assert scores.log_prob.tolist() == pytest.approx([-5e3 + math.log((1 + math.e) / 3), 4e3 + math.log(2 / 3)])
    assert scores.log_prob_variance.isfinite().all()


# -- Pyro ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pyro():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pyro's own making
        module = pytest.importorskip("pyro")
        pytest.importorskip("pyro.infer")
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("particles", [1, 6])
def test_bounds_are_those_of_pyro_with_the_same_noise(pyro, particles: int):
    model = model_of()
    x = data_of(model.likelihood.domain, (5, 4))

    def generative(data: Tensor) -> None:
        with pyro.plate("data", len(data)):
            z = pyro.sample("z", pyro.distributions.Normal(torch.zeros(2), torch.ones(2)).to_event(1))
            logits = model.decoder(z).squeeze(-2)
            pyro.sample("x", pyro.distributions.Bernoulli(logits=logits).to_event(1), obs=data)

    def guide(data: Tensor) -> None:
        loc, log_variance = model.posteriors["z"].head(model.encoder(data)).chunk(2, -1)
        with pyro.plate("data", len(data)):
            pyro.sample("z", pyro.distributions.Normal(loc, (log_variance / 2).exp()).to_event(1))

    with seeded(3), torch.no_grad():
        trace = model.trace(Batch(x), samples=particles)
        iwae = IWAE(particles)(trace, 1.0)
    shared = {"num_particles": particles, "vectorize_particles": True, "max_plate_nesting": 1}
    losses = {
        "elbo": pyro.infer.Trace_ELBO(**shared),
        "elbo with closed KL": pyro.infer.TraceMeanField_ELBO(**shared),
        "iwae": pyro.infer.RenyiELBO(alpha=0.0, **shared),
    }
    got = {}
    for name, estimator in losses.items():
        pyro.clear_param_store()
        with seeded(3):
            got[name] = -estimator.loss(generative, guide, x)
    assert got["elbo"] == pytest.approx(float(trace.log_weight.mean(0).sum()), rel=1e-10)
    assert got["elbo with closed KL"] == pytest.approx(float(iwae.terms["elbo"]) * 5, rel=1e-10)
    assert got["iwae"] == pytest.approx(-float(iwae.loss) * 5, rel=1e-10)
