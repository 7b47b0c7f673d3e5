"""Discrete latents: relaxed in training, discrete in evaluation, summed out exactly where there are few classes."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from models_for_tests import (
    data_of,
    gradient,
    model_of,
    moved,
    one_hot,
    peak_bytes,
    refuses,
    standard_errors_apart,
)
from rounding_for_tests import close_in_ulps
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, OneHotCategorical, OneHotCategoricalStraightThrough

from vaekit import train
from vaekit.data import Preprocessing, load
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.data.tensors import TensorSplit, as_split
from vaekit.distributions.discrete import RelaxedOneHot
from vaekit.distributions.shapes import independent
from vaekit.evaluation.evaluation import clusters, evaluate
from vaekit.evaluation.metrics import clustering_scores
from vaekit.likelihoods import Bernoulli, Binomial
from vaekit.models import VAE
from vaekit.models.cases import Cases
from vaekit.models.summing import CLASSES
from vaekit.models.trace import Latent, Trace
from vaekit.networks.mlp import MLP
from vaekit.objectives.base import log_mean_exp
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.weighted import IWAE, STL, DReG
from vaekit.posteriors import DiagonalNormal, RelaxedCategorical
from vaekit.priors.categorical import Categorical, UniformCategorical
from vaekit.priors.normal import StandardNormal
from vaekit.runs.run import load_run
from vaekit.schedules import Linear
from vaekit.seeding import seeded
from vaekit.training.fitting import fit

ERRORS, WORST = 4.0, 4.5


pytestmark = pytest.mark.usefixtures("_float64")


def discrete(classes: int = 3, latent: int = 1, size: int = 4, condition: int = 0, hidden: int = 6) -> VAE:
    """Latents z, a normal of `latent` numbers unless that is 0, and c, one of `classes`; in evaluation mode."""
    likelihood = Bernoulli((size,), Domain("binary"))
    with seeded(0):
        posteriors: dict[str, nn.Module] = {"z": DiagonalNormal(hidden, latent)} if latent else {}
        priors: dict[str, nn.Module] = {"z": StandardNormal(latent)} if latent else {}
        model = VAE(
            MLP((size,), hidden=(hidden,), condition=condition, activation="tanh"),
            posteriors | {"c": RelaxedCategorical(hidden, classes)},
            priors | {"c": Categorical(classes, condition)},
            MLP((latent + classes,), likelihood.parameter_shape, condition, hidden=(hidden,), activation="tanh"),
            likelihood,
            condition,
        )
    return moved(model, by=0.6).eval()


def data(model: VAE, n: int = 5) -> Tensor:
    return data_of(model.domain, (n, *model.event_shape))


def log_joint(model: VAE, x: Tensor, c: int, z: Tensor | None, y: Tensor | None = None) -> Tensor:
    """log p(c) + log p(x given z, c) for one z (D,) and class, (B,), from the parts alone."""
    classes = model.sizes["c"]
    code = torch.eye(classes)[c].expand(len(x), -1)
    if z is not None:
        code = torch.cat([z.expand(len(x), -1), code], -1)
    prior = model.priors["c"](y).logits.expand(len(x), -1)[:, c]
    return prior + model.likelihood(model.decoder(code, y)).log_prob(x)


@torch.no_grad()
def log_prob(model: VAE, x: Tensor, y: Tensor | None = None) -> Tensor:
    """log p(x), exact: a sum over classes, and over a z of one dimension by Gauss-Hermite quadrature."""
    classes = range(model.sizes["c"])
    if "z" not in model.sizes:
        return torch.stack([log_joint(model, x, c, None, y) for c in classes]).logsumexp(0)
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(100))
    weights = weights / weights.sum()
    terms = [log_joint(model, x, c, z[None], y) + w.log() for c in classes for z, w in zip(nodes, weights, strict=True)]
    return torch.stack(terms).logsumexp(0)


# -- relaxed or not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("straight_through", [False, True])
def test_relaxed_in_training_and_discrete_in_evaluation(straight_through: bool):
    posterior = RelaxedCategorical(3, 6, groups=2, straight_through=straight_through)
    features = torch.randn(50, 3)
    relaxed = posterior(features).rsample((4,))
    assert relaxed.requires_grad
    assert bool(((relaxed == 0) | (relaxed == 1)).all()) is straight_through
    hard = posterior.eval()(features).rsample((4,))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(hard.unflatten(-1, (2, 3)).sum(-1), torch.ones(4, 50, 2))
    assert not hard.requires_grad
    assert torch.allclose(posterior(features).mean, posterior.train()(features).mean)


def test_temperature_follows_its_schedule_in_place():
    posterior = RelaxedCategorical(3, 4, temperature=Linear(2.0, 0.5, until=1.0))
    buffer = posterior.temperature
    for progress, temperature in [(0.0, 2.0), (0.5, 1.25), (1.0, 0.5)]:
        posterior.advance(progress)
        assert posterior.temperature is buffer
        assert float(posterior(torch.zeros(1, 3)).temperature) == temperature
    assert "temperature" not in posterior.state_dict()
    assert float(RelaxedCategorical(3, 4).temperature) == 0.67
    assert copy.deepcopy(posterior).float().temperature.dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan"), Linear(0.0, 1.0)])
def test_temperatures_that_are_none_are_refused(temperature):
    with refuses("temperature must be above 0 and finite"):
        RelaxedCategorical(3, 4, temperature=temperature)
    falling = RelaxedCategorical(3, 4, temperature=Linear(1.0, 0.0, until=0.5))
    with refuses("got 0.0 at progress 0.5"):
        falling.advance(0.5)


@pytest.mark.parametrize("latent", [0, 2])
def test_samples_of_the_model_are_of_its_classes(latent: int):
    model = discrete(latent=latent).train()
    with seeded(0), torch.no_grad():
        drawn = model.priors["c"]().sample((20_000,))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    x = model.sample(40_000, seed=0)
    with seeded(1), torch.no_grad():
        z = torch.randn(4_000, latent)
        means = torch.zeros(len(z), 4)
        for c, mass in enumerate(model.priors["c"]().mean):
            code = torch.cat([z, torch.eye(3)[c].expand(len(z), -1)], -1)
            means += mass * model.likelihood(model.decoder(code)).mean
    assert standard_errors_apart(x, means).max() < ERRORS


def test_codes_are_the_probabilities_of_the_classes():
    model = discrete(latent=2)
    codes = model.split(model.encode(data(model)))
    with torch.no_grad():
        want = model.posteriors["c"](model.encoder(data(model))).logits.softmax(-1)
    assert torch.allclose(codes["c"], want)
    draws = model.split(model.encode(data(model), samples=20_000, seed=0))["c"]
    assert standard_errors_apart(draws, want.expand_as(draws)).max() < WORST


# -- summing out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [0, 2])
def test_a_model_of_classes_alone_is_scored_exactly(condition: int):
    model = discrete(latent=0, condition=condition)
    x, y = data(model), one_hot(5, condition) if condition else None
    want = log_prob(model, x, y)
    scores = model.score(x, y, samples=7)
    assert torch.allclose(scores.log_prob, want)
    assert scores.log_prob_variance.abs().max() < 1e-12
    q = model.encode(x, y)
    joint = torch.stack([log_joint(model, x, c, None, y) for c in range(3)], -1)
    elbo = (q * (joint - q.log())).sum(-1)
    assert torch.allclose(scores.elbo, elbo)
    assert (elbo < want - 1e-3).all()
    assert (scores.kl > 0).all()
    with seeded(0), torch.no_grad():
        drawn = model.trace(Batch(x, y), samples=20_000)
    assert standard_errors_apart((drawn.log_weight - want).exp(), 1.0).max() < ERRORS
    assert standard_errors_apart(drawn.log_weight, elbo.expand_as(drawn.log_weight)).max() < ERRORS


@pytest.mark.parametrize("condition", [0, 2])
def test_summing_out_agrees_with_drawing_and_has_less_variance(condition: int):
    model = discrete(condition=condition)
    x, y = data(model), one_hot(5, condition) if condition else None
    truth = log_prob(model, x, y)
    with seeded(0), torch.no_grad():
        drawn, summed = (model.trace(Batch(x, y), 20_000, sum_classes) for sum_classes in (False, True))
    weights = [(trace.log_weight - truth).exp() for trace in (drawn, summed)]
    for each in weights:
        assert each.shape == (20_000, 5)
        assert standard_errors_apart(each, 1.0).max() < ERRORS
    assert (weights[1].var(0) < weights[0].var(0)).all()
    assert weights[1].var(0).sum() < 0.6 * weights[0].var(0).sum()
    for one, other in [(drawn.log_px, summed.log_px), *((drawn.kl[name], summed.kl[name]) for name in drawn.kl)]:
        assert standard_errors_apart(one, other).max() < ERRORS if one.dim() == 2 else close_in_ulps(one, other)
    assert summed.log_px.var(0).sum() < 0.9 * drawn.log_px.var(0).sum()


def test_bounds_are_ordered_and_below_log_prob():
    model = discrete()
    x = data(model)
    truth = log_prob(model, x)
    with seeded(0), torch.no_grad():
        trace = model.trace(Batch(x), samples=2**15, sum_classes=True)
    elbo = trace.log_px - sum(trace.kl.values())
    bounds = [log_mean_exp(trace.log_weight.unflatten(0, (-1, k)).movedim(1, 0)) for k in (1, 4, 64)]
    for lower, higher in pairwise([elbo, *bounds]):
        means = lower.unflatten(0, (len(higher), -1)).mean(1)
        assert ((higher - means).mean(0) > ERRORS * (higher - means).std(0) / len(higher) ** 0.5).all()
    for bound in bounds:
        assert (bound.mean(0) < truth + ERRORS * bound.std(0) / len(bound) ** 0.5).all()
    assert (truth - bounds[-1].mean(0)).max() < 0.15
    # The weights have heavy tails, which one estimate's own variance need not see: that between estimates does.
    several = [model.score(x, samples=20_000, seed=seed) for seed in range(8)]
    estimates = torch.stack([each.log_prob for each in several])
    assert ((estimates.mean(0) - truth).abs() < ERRORS * estimates.std(0) / len(several) ** 0.5).all()
    scores = several[0]
    spread = elbo.std(0) * (1 / len(elbo) + 1 / 20_000) ** 0.5
    assert ((scores.elbo - elbo.mean(0)).abs() < ERRORS * spread).all()


class Given(nn.Module):
    """A normal z of q(z given x, c) and p(z given c): what a model with a label makes of the parts."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head, self.prior = nn.Linear(4 + classes, 2), nn.Linear(classes, 2)

    def forward(self, x: Tensor, c: Tensor) -> tuple[Distribution, Distribution]:
        lead = torch.broadcast_shapes(x.shape[:-1], c.shape[:-1])
        both = (
            self.head(torch.cat([x.expand(*lead, -1), c.expand(*lead, -1)], -1)).chunk(2, -1),
            self.prior(c).chunk(2, -1),
        )
        q, p = (independent(Normal(loc, (0.3 * scale).exp(), validate_args=False)) for loc, scale in both)
        return q, p


class Hidden(Distribution):
    """A distribution whose divergences nobody knows."""

    def __init__(self, base: Distribution) -> None:
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value)


def labelled(model: VAE, given: Given, x: Tensor, samples: int, closed: bool = True) -> Trace:
    """A trace of q(c given x) q(z given x, c) with c summed out, put together by hand."""
    q_c = model.posteriors["c"](model.encoder(x))
    classes = q_c.enumerate_support()
    cases = Cases(q_c.log_prob(classes).flatten(), 0, len(classes))
    one_hots = classes.flatten(0, 1)
    q, p = given(cases.repeat(x), one_hots)
    z = q.rsample(torch.Size((samples,)))
    code = torch.cat([z, one_hots.expand(*z.shape[:-1], -1)], -1)
    q_c = model.posteriors["c"](cases.repeat(model.encoder(x)))
    latents = (
        Latent("z", z, q, p if closed else Hidden(p), cases),
        Latent("c", one_hots[None], q_c, model.priors["c"](), cases, enumerated=True),
    )
    return Trace(Batch(x), model.likelihood(model.decoder(code)), latents, cases)


def by_loops(trace: Trace, model: VAE) -> dict[str, Tensor]:
    """Of a trace with c summed out: weight, reconstruction and KL of z, datum by datum and class by class."""
    z, classes = trace.latents[0], model.sizes["c"]
    batch = len(trace.batch)
    q_c, p_c = (trace.latents[1].q.mean[:batch], trace.latents[1].p.mean)
    samples, rows = len(z.z), []
    for s, b in np.ndindex(samples, batch):
        weight = reconstruction = kl = kl_c = torch.zeros(())
        for c in range(classes):
            case = c * batch + b
            code = torch.cat([z.z[s, case], torch.eye(classes)[c]])
            log_px = model.likelihood(model.decoder(code)).log_prob(trace.x[b])
            log_q, log_p = (
                Normal(d.base_dist.loc[case, 0], d.base_dist.scale[case, 0]).log_prob(z.z[s, case, 0])
                for d in (z.q, getattr(z.p, "base", z.p))
            )
            weight = weight + p_c[c] * (log_px + log_p - log_q).exp()
            reconstruction = reconstruction + q_c[b, c] * log_px
            kl = kl + q_c[b, c] * (log_q - log_p)
            kl_c = kl_c + q_c[b, c] * (q_c[b, c] / p_c[c]).log()
        rows.append(torch.stack([weight.log(), reconstruction, kl, kl_c]))
    names = ("log_weight", "log_px", "kl of z", "kl of c")
    return dict(zip(names, torch.stack(rows).unflatten(0, (samples, batch)).unbind(-1), strict=True))


def test_latents_that_depend_on_the_class_are_summed_as_by_explicit_loops():
    model, given = discrete(), Given(3)
    x = data(model)
    for closed in (True, False):
        trace = labelled(model, given, x, 3, closed)
        want = by_loops(trace, model)
        assert torch.allclose(trace.log_weight, want["log_weight"])
        assert torch.allclose(trace.log_weight_stopped, want["log_weight"])
        assert torch.allclose(trace.log_px, want["log_px"])
        assert torch.allclose(trace.kl["c"].expand(3, 5), want["kl of c"])
        assert trace.latents[0].closed_form is closed
        assert trace.latents[0].mean.shape == (5, 1)
        if closed:
            assert trace.kl["z"].shape == (5,)
        else:
            assert torch.allclose(trace.kl["z"], want["kl of z"])
    with seeded(0), torch.no_grad():
        exact, sampled = (labelled(model, given, x, 20_000, closed).kl["z"] for closed in (True, False))
    assert standard_errors_apart(sampled - exact, 0.0).max() < ERRORS


def test_weights_of_latents_that_depend_on_the_class_estimate_log_prob():
    model, given = discrete(), Given(3)
    x = data(model)
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(100))
    with torch.no_grad():
        _, p = given(x, torch.eye(3)[:, None])
        points = p.base_dist.loc[:, 0] + p.base_dist.scale[:, 0] * nodes
        truth = torch.stack(
            [
                log_joint(model, x, c, points[c, i, None]) + (weights[i] / weights.sum()).log()
                for c, i in np.ndindex(3, 100)
            ]
        ).logsumexp(0)
        with seeded(0):
            trace = labelled(model, given, x, 40_000)
    assert standard_errors_apart((trace.log_weight - truth).exp(), 1.0).max() < ERRORS
    elbo = trace.log_px - trace.kl["z"] - trace.kl["c"]
    assert (elbo.mean(0) < truth).all()


@pytest.mark.parametrize("objective", [STL(), DReG()])
def test_gradients_of_latents_that_are_all_drawn_are_refused(objective: STL | DReG):
    model, given = discrete(), Given(3)
    with refuses("sums out a label"):
        objective(labelled(model, given, data(model), 4))


def test_objectives_have_the_gradients_of_the_sums():
    model, given = discrete(), Given(3)
    whole, x = nn.ModuleList([model, given]), data(model)

    def gradients(loss) -> dict[str, Tensor]:
        with seeded(0):
            trace = labelled(model, given, x, 4)
        return gradient(loss(trace), whole)

    def kls(trace: Trace) -> Tensor:
        return sum(kl.mean() for kl in trace.kl.values())

    elbo = gradients(lambda trace: ELBO()(trace).loss)
    by_hand = gradients(lambda trace: kls(trace) - by_loops(trace, model)["log_px"].mean())
    iwae = gradients(lambda trace: IWAE(4)(trace).loss)
    weights_by_hand = gradients(lambda trace: -log_mean_exp(by_loops(trace, model)["log_weight"]).mean())
    for name in elbo:
        assert torch.allclose(elbo[name], by_hand[name]), name
        assert torch.allclose(iwae[name], weights_by_hand[name], atol=1e-12), name
        if name.startswith("0.posteriors.c"):
            # log p(x) does not depend on q(c given x), nor does a bound of it that sums c out.
            assert elbo[name].abs().min() > 1e-6
            assert iwae[name].abs().max() < 1e-12
        elif name.startswith("0.posteriors.z"):  # of the other model
            assert not elbo[name].any()
        else:
            assert elbo[name].any(), name


@pytest.mark.parametrize("free_bits", [0.0, 0.5])
def test_free_bits_hold_the_mean_over_classes(free_bits: float):
    model, given = discrete(), Given(3)
    with seeded(0):
        trace = labelled(model, given, data(model), 4)
    z, c = (float(kl.mean().detach()) for kl in trace.kl.values())
    penalty = max(z, free_bits) + max(c, free_bits)
    assert float(ELBO(free_bits=free_bits)(trace).loss.detach()) == pytest.approx(
        penalty - float(trace.log_px.mean().detach())
    )


def test_only_the_first_of_few_classes_is_summed_out():
    likelihood = Bernoulli((4,), Domain("binary"))

    def model(**sizes: int) -> VAE:
        posteriors = {name: RelaxedCategorical(6, size) for name, size in sizes.items()}
        priors = {name: UniformCategorical(size) for name, size in sizes.items()}
        decoder = MLP((sum(sizes.values()),), likelihood.parameter_shape, hidden=(6,))
        return VAE(MLP((4,), hidden=(6,)), posteriors, priors, decoder, likelihood).eval()

    x = torch.ones(5, 4)
    for sizes, lead in [
        ({"a": 3, "b": 2}, (2, 3 * 5)),
        ({"a": CLASSES + 1, "b": 2}, (2, 2 * 5)),
        ({"a": CLASSES}, (1, CLASSES * 5)),
        ({"a": CLASSES + 1}, (2, 5)),
    ]:
        trace = model(**sizes).trace(Batch(x), samples=2, sum_classes=True)
        assert trace.px.batch_shape == lead
        assert trace.log_weight.shape == (lead[0], 5)
        assert model(**sizes).trace(Batch(x), samples=2).px.batch_shape == (2, 5)
    # What is relaxed is no class.
    assert model(a=3).train().trace(Batch(x), samples=2, sum_classes=True).px.batch_shape == (2, 5)


@pytest.mark.parametrize("other", ["full-rank-normal", "flow"])
@pytest.mark.parametrize("prior", ["standard-normal", "mixture", "vamp", "flow"])
@pytest.mark.parametrize("condition", [0, 2])
def test_any_other_latent_may_stand_beside_the_class(other: str, prior: str, condition: int):
    beside = model_of(posterior=other, prior=prior, latents={"z": 2, "w": 2}, condition=condition)
    encoder, decoder = beside.encoder, beside.decoder
    posteriors = {"z": beside.posteriors["z"], "w": RelaxedCategorical(6, 2)}
    priors = {"z": beside.priors["z"], "w": Categorical(2, condition)}
    model = VAE(encoder, posteriors, priors, decoder, beside.likelihood, condition).eval()
    x, y = data(model), one_hot(5, condition) if condition else None
    with seeded(0), torch.no_grad():
        drawn, summed = (model.trace(Batch(x, y), 4_000, sum_classes) for sum_classes in (False, True))
    centre = summed.log_weight.logsumexp(0)
    apart = [(trace.log_weight - centre).exp() for trace in (drawn, summed)]
    assert standard_errors_apart(*apart).max() < ERRORS
    assert summed.kl["z"].shape == drawn.kl["z"].shape
    assert standard_errors_apart(summed.log_px, drawn.log_px).max() < ERRORS


class Foreign(nn.Module):
    """Somebody else's posterior and prior of classes, from torch alone."""

    def __init__(self, features: int = 0, latent: int = 3) -> None:
        super().__init__()
        self.head = nn.Linear(features, latent) if features else None
        self.logits = nn.Parameter(torch.zeros(latent))

    def forward(self, given: Tensor | None = None) -> Distribution:
        if self.head is None:
            return OneHotCategorical(logits=self.logits, validate_args=False)
        return OneHotCategoricalStraightThrough(logits=self.head(given) + self.logits, validate_args=False)


def test_classes_of_torch_are_summed_out_too():
    likelihood = Bernoulli((4,), Domain("binary"))
    model = VAE(MLP((4,), hidden=(6,)), {"c": Foreign(6)}, {"c": Foreign()}, MLP((3,), (1, 4), hidden=(6,)), likelihood)
    moved(model)
    x = data(model)
    q = model.encode(x)
    joint = [
        model.priors["c"]().probs[c].log() + likelihood(model.decoder(torch.eye(3)[c])).log_prob(x) for c in range(3)
    ]
    assert torch.allclose(model.log_prob(x, samples=1), torch.stack(joint).logsumexp(0))
    assert torch.equal(model.clusters(x), q.argmax(-1))


# -- evaluation, training, clusters ------------------------------------------------------------------------------------


def split_of(model: VAE, n: int) -> TensorSplit:
    return TensorSplit(data(model, n), None, model.domain, Preprocessing())


@pytest.mark.parametrize("latent", [0, 2])
def test_evaluation_does_not_depend_on_the_memory(latent: int):
    model = discrete(latent=latent).train()
    results = [evaluate(model, split_of(model, 8), samples=20, memory=memory) for memory in (0, 10_000, 10**9)]
    assert model.training
    assert model.posteriors["c"].training
    for one in results:
        assert one.kl == pytest.approx(results[-1].kl, rel=1e-9)
        assert len(one.kl_per_dimension["c"]) == 1
        assert one.latent_size == latent + 3
        assert abs(one.nll - results[-1].nll) <= 5 * np.hypot(one.nll_mc_stderr, results[-1].nll_mc_stderr) + 1e-12
        assert one.active_units == results[-1].active_units
    assert (results[0].nll_mc_stderr < 1e-9) == (latent == 0)


def test_memory_is_bounded_with_a_class_summed_out():
    model = discrete(classes=10, latent=2, size=100, hidden=50).float()
    x, memory = data(model, 200).float(), 4 * 2**20
    split = TensorSplit(x, None, model.domain, Preprocessing())
    peaks = [peak_bytes(lambda k=k: evaluate(model, split, k, memory=memory)) for k in (1, 40)]
    assert memory / 10 < max(peaks) < memory
    assert peak_bytes(lambda: evaluate(model, split, 40, memory=20 * memory)) > memory
    # Where nothing is drawn, no number of samples takes memory or time.
    model = discrete(classes=10, latent=0, size=100, hidden=50).float()
    assert peak_bytes(lambda: evaluate(model, split, 10**9, memory=memory)) < memory


def digits_model(classes: int = 10, latent: int = 4, **options) -> VAE:
    likelihood = Binomial((1, 8, 8), Domain("grey", levels=17))
    with seeded(0):
        return VAE(
            MLP((1, 8, 8), hidden=(64,)),
            {"z": DiagonalNormal(64, latent), "c": RelaxedCategorical(64, classes, **options)},
            {"z": StandardNormal(latent), "c": UniformCategorical(classes)},
            MLP((latent + classes,), likelihood.parameter_shape, hidden=(64,)),
            likelihood,
        )


@pytest.mark.parametrize("options", [{}, {"straight_through": True, "temperature": Linear(2.0, 0.5)}])
def test_training_finds_clusters_of_digits(options: dict):
    torch.set_default_dtype(torch.float32)
    model, digits = digits_model(**options), load("digits")
    before = evaluate(model, digits, samples=10)
    losses = []
    fit(model, digits, epochs=15, learning_rate=3e-3, on_epoch=lambda records: losses.append(records[0].terms["loss"]))
    assert losses[-1] < losses[5] < losses[0]
    after = evaluate(model, digits, samples=10)
    assert after.nll < before.nll / 2
    assert after.elbo <= -after.nll
    test = as_split(digits, "test", model.domain)
    found = clusters(model, digits)
    assert np.array_equal(found, model.split(model.encode(test.x))["c"].argmax(-1).numpy())
    assert test.y is not None
    # Ten random clusters of these 300 have 0.07.
    assert clustering_scores(found, test.y.numpy())["nmi"] > 0.25


def test_clusters_of_a_mixture_are_its_likeliest_components():
    model = model_of(prior="mixture", latents={"w": 1, "z": 2}, condition=2)
    x, y = data(model, 30), one_hot(30, 2)
    z = model.split(model.encode(x, y))["w"]
    p = model.priors["w"](y)
    with torch.no_grad():
        parts = p.component_distribution.log_prob(z[:, None]) + p.mixture_distribution.logits
    assert torch.equal(model.clusters(x, y), parts.argmax(-1))
    found = clusters(model, TensorSplit(x, torch.arange(30) % 2, model.domain, Preprocessing()))
    assert np.array_equal(found, parts.argmax(-1).numpy())
    assert len(np.unique(found)) > 1


def test_a_class_goes_before_a_mixture():
    beside = model_of(prior="mixture", latents={"z": 2, "c": 3})
    posteriors = {"z": beside.posteriors["z"], "c": RelaxedCategorical(6, 3)}
    priors = {"z": beside.priors["z"], "c": UniformCategorical(3)}
    model = moved(VAE(beside.encoder, posteriors, priors, beside.decoder, beside.likelihood))
    x = data(model, 30)
    assert torch.equal(model.clusters(x), model.split(model.encode(x))["c"].argmax(-1))


@pytest.mark.parametrize("case", [{}, {"posterior": "flow", "prior": "flow"}])
def test_models_without_classes_have_no_clusters(case: dict):
    model = model_of(**case)
    with refuses("no latent of 'z' has clusters"):
        clusters(model, split_of(model, 3))


def test_a_run_with_a_class_goes_through_the_whole_toolkit(tmp_path: Path):
    torch.set_default_dtype(torch.float32)
    latent = "model.latents.c"
    sets = [
        "training.epochs=2",
        "model.latents.z.size=2",
        f"{latent}.size=10",
        f"{latent}.posterior=relaxed-categorical",
    ]
    schedule = [f"{latent}.posterior.temperature.{key}" for key in ("name=cosine", "start=2.0", "end=0.5")]
    with refuses("latent 'c': its posterior RelaxedCategorical has 1 one-hot group, but its prior StandardNormal is"):
        train("digits", tmp_path / "none", sets=sets)
    sets[-1:] = [f"{latent}.posterior.name=relaxed-categorical", *schedule, f"{latent}.prior=uniform-categorical"]
    run = train("digits", tmp_path / "run", sets=sets)
    x = run.data("test").x[:5]
    loaded = load_run(tmp_path / "run")
    assert close_in_ulps(loaded.model.log_prob(x, samples=3, seed=0), run.model.log_prob(x, samples=3, seed=0))
    codes, _ = loaded.encode("test")
    assert codes.shape == (300, 12)
    assert np.allclose(codes[:, 2:].sum(-1), 1, atol=1e-5)


def test_relaxed_ones_are_what_their_prior_takes_for_one_hots():
    # The prior scores a relaxed draw as the posterior does: the same sum of z log pi.
    prior, z = Categorical(3), torch.tensor([0.2, 0.3, 0.5])
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([1.0, 0.0, -1.0]))
        assert torch.allclose(prior().log_prob(z), (z * prior.logits.log_softmax(-1)).sum())
        assert isinstance(prior(), RelaxedOneHot)
