"""Evaluation where the truth is known: its numbers, its errors against the spread they claim, and its memory."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from models_for_tests import (
    DOMAINS,
    LinearGaussian,
    data_of,
    linear_gaussian,
    model_of,
    peak_bytes,
    recorded_after,
    refuses,
)
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from vaekit.data import Dataset, Preprocessing, Split
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.data.tensors import TensorSplit, to_device
from vaekit.distributions.shapes import independent
from vaekit.evaluation.evaluation import evaluate, mean_pass
from vaekit.likelihoods import Bernoulli
from vaekit.models import VAE, scoring
from vaekit.networks.mlp import MLP
from vaekit.posteriors import DiagonalNormal
from vaekit.priors.normal import StandardNormal
from vaekit.spec.parts import PARTS
from vaekit.training.fitting import fit

pytestmark = pytest.mark.usefixtures("_float64")


def split_of(x: Tensor, domain: Domain, y: Tensor | None = None) -> TensorSplit:
    return TensorSplit(x.float(), y, domain, Preprocessing())


def of(truth: LinearGaussian, n: int, seed: int = 0) -> TensorSplit:
    return split_of(truth.draw(n, seed), truth.domain)


def test_at_the_true_posterior_every_number_is_known():
    truth = linear_gaussian(size=4, latent=2)
    data = of(truth, 60)
    got = evaluate(truth.model(), data, samples=30, split="valid")
    x = data.x.double().numpy()
    nll = -stats.multivariate_normal(truth.mean, truth.covariance).logpdf(x)
    gain, covariance = truth.posterior()
    scaled = (torch.from_numpy(x) - torch.tensor(truth.domain.location)) / torch.tensor(truth.domain.scale)
    means = (scaled - truth.bias) @ gain.T
    kl = 0.5 * (covariance.trace() + means.square().sum(-1) - 2 - covariance.logdet())
    assert (got.split, got.n, got.samples, got.latent_size) == ("valid", 60, 30, 2)
    assert got.is_likelihood
    assert got.nll == pytest.approx(nll.mean(), rel=1e-9)
    assert got.nll_stderr == pytest.approx(nll.std(ddof=1) / 60**0.5, rel=1e-9)
    assert got.nll_mc_stderr < 1e-7
    assert got.bits_per_dim == pytest.approx(nll.mean() / 4 / math.log(2), rel=1e-9)
    assert got.kl == pytest.approx(float(kl.mean()), rel=1e-9)
    assert sum(got.kl_per_dimension["z"]) == pytest.approx(got.kl, rel=1e-9)
    assert got.elbo == pytest.approx(got.reconstruction - got.kl, rel=1e-12)
    assert got.elbo == pytest.approx(-got.nll, abs=5 * got.elbo_stderr)
    assert got.active_units == 2
    assert (got.effective_samples, got.untrusted, got.caution) == (pytest.approx(30), 0, "")
    assert got.pareto_k == -math.inf


class Always(nn.Module):
    """A posterior of a fraction of another's spread."""

    def __init__(self, posterior: nn.Module, spread: float) -> None:
        super().__init__()
        self.posterior, self.spread = posterior, spread

    def forward(self, features: Tensor) -> Distribution:
        q = self.posterior(features)
        return independent(Normal(q.mean, self.spread * q.stddev))


def test_weights_that_are_not_to_be_trusted_are_said_to_be_so():
    truth = linear_gaussian(size=4, latent=2)
    model, data = truth.model(), of(truth, 60)
    posterior = model.posteriors["z"]
    model.posteriors["z"] = Always(posterior, 0.02)  # far too narrow: weights without a mean
    got = evaluate(model, data, samples=200)
    assert got.untrusted > 30
    assert got.effective_samples < 20
    assert got.pareto_k > 0.7
    assert f"for {got.untrusted} of 60 data" in got.caution
    assert got.caution in repr(got)
    few = evaluate(model, data, samples=24)  # too few for a Pareto k
    assert few.effective_samples < 8
    assert f"for {few.untrusted} of 60 data a few of the 24 samples outweigh all others" in few.caution
    assert "for 60 of 60 data it is by one sample" in evaluate(model, data, samples=1).caution
    assert evaluate(truth.model(), data, samples=10).caution == ""  # the true posterior: all count
    assert (
        evaluate(truth.model(wrong=0.05), data, samples=50).caution == ""
    )  # tails by chance, of weights that all count


def test_nothing_but_the_draws_depends_on_the_memory():
    truth = linear_gaussian()
    data = of(truth, 13)
    model = truth.model(wrong=0.1)
    results = [evaluate(model, data, samples=50, memory=memory) for memory in (0, 20_000, 10**9)]
    for one in results:
        assert one.kl == pytest.approx(results[-1].kl, rel=1e-9)
        assert abs(one.nll - results[-1].nll) < 5 * math.hypot(one.nll_mc_stderr, results[-1].nll_mc_stderr)
        assert one.nll_stderr == pytest.approx(results[-1].nll_stderr, rel=0.02)
        assert one.active_units == results[-1].active_units
    again = evaluate(model, data, samples=50, memory=20_000)
    assert again == results[1]


@pytest.fixture
def unplanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """All draws of all data at once: to find out how many fit takes most of the time of a small evaluation."""
    monkeypatch.setattr(scoring, "plan", lambda trace, batch, n, samples, memory: (n, samples))


def test_monte_carlo_error_is_the_spread_between_seeds(unplanned: None):
    truth = linear_gaussian()
    model, data = truth.model(wrong=0.15), of(truth, 8)
    repeats = 200
    results = [evaluate(model, data, samples=60, seed=seed) for seed in range(repeats)]
    spread = np.std([each.nll for each in results], ddof=1)
    claimed = np.mean([each.nll_mc_stderr**2 for each in results]) ** 0.5
    # The standard error of a standard deviation is 1 / sqrt(2 n) of it.
    assert spread / claimed == pytest.approx(1, abs=4 / (2 * repeats) ** 0.5 + 0.05)
    kls = [each.kl for each in results]
    assert max(kls) - min(kls) < 1e-9  # what is in closed form does not depend on the seed


def test_standard_errors_are_the_spread_between_data(unplanned: None):
    truth = linear_gaussian()
    model, repeats = truth.model(wrong=0.1), 200
    results = [evaluate(model, of(truth, 50, seed), samples=5, seed=seed) for seed in range(repeats)]
    for number, error in (("nll", "nll_stderr"), ("elbo", "elbo_stderr")):
        spread = np.std([getattr(each, number) for each in results], ddof=1)
        claimed = np.mean([getattr(each, error) ** 2 for each in results]) ** 0.5
        assert spread / claimed == pytest.approx(1, abs=4 / (2 * repeats) ** 0.5), number


def test_one_sample_gives_the_elbo_and_no_monte_carlo_error():
    truth = linear_gaussian()
    got = evaluate(truth.model(wrong=0.3), of(truth, 30), samples=1)
    assert math.isnan(got.nll_mc_stderr)
    assert -got.nll == pytest.approx(got.elbo, abs=5 * got.elbo_stderr)


def test_one_datum_has_no_spread_over_data():
    truth = linear_gaussian()
    got = evaluate(truth.model(), of(truth, 1), samples=4)
    assert got.n == 1
    assert math.isnan(got.nll_stderr)
    assert got.active_units == 0
    assert math.isfinite(got.nll)
    assert "1 datum, nats per datum" in repr(got)
    assert "nan" not in repr(got)
    assert "±" not in repr(got)
    assert "scores of 1 datum tell next to nothing of others" in repr(got)


def test_data_of_which_nothing_is_observed_have_no_bits():
    truth = linear_gaussian()
    data = of(truth, 5)
    got = evaluate(truth.model(), replace(data, observed=torch.zeros_like(data.x, dtype=torch.bool)), samples=4)
    assert math.isnan(got.bits_per_dim)
    assert got.reconstruction == 0
    assert abs(got.nll) < 5
    assert "nan" not in repr(got)


def test_units_are_active_where_their_means_vary():
    truth = linear_gaussian(size=4, latent=4)
    weight = truth.weight.clone()
    weight[:, 1] = 0.0  # says nothing of x
    weight[:, 3] *= 0.01  # says next to nothing
    truth = LinearGaussian(weight, truth.bias, truth.sigma, truth.domain)
    got = evaluate(truth.model(), of(truth, 500), samples=1)
    assert got.active_units == 2
    # A mean that is far from 0 but the same for all data is not active.
    model = truth.model()
    with torch.no_grad():
        model.posteriors["z"].head.bias[:4] += 100.0
    assert evaluate(model, of(truth, 500), samples=1).active_units == 2


def test_kl_is_listed_for_each_dimension_of_each_latent():
    model = model_of(likelihood="normal", domain=DOMAINS["real"], latents={"a": 1, "b": 3}).float()
    data = split_of(data_of(DOMAINS["real"], (20, 4)), DOMAINS["real"])
    got = evaluate(model, data, samples=3, memory=5_000)
    assert {name: len(terms) for name, terms in got.kl_per_dimension.items()} == {"a": 1, "b": 3}
    assert got.kl == pytest.approx(sum(map(sum, got.kl_per_dimension.values())))
    with torch.no_grad():
        want = model.trace(Batch(data.x)).latents[1].kl_terms.mean(0)
    assert got.kl_per_dimension["b"] == pytest.approx(want.tolist(), rel=1e-5)


def test_grey_pixels_as_probabilities_are_no_likelihood():
    relaxed = Domain("binary", relaxed=True)
    model = model_of(domain=relaxed).float()
    assert not evaluate(model, split_of(torch.rand(3, 4), relaxed), samples=2).is_likelihood


def test_a_split_is_read_the_same_by_all():
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (2_300, 12)).astype(np.uint8))
    y = torch.arange(2_300)

    def read(seed: int) -> Tensor:
        data = TensorSplit(x, y, Domain("grey", levels=5), Preprocessing("stochastic", seed=seed))
        blocks = list(data.blocks())
        assert torch.equal(torch.cat([block.y for block in blocks]), y)  # type: ignore[misc]
        return torch.cat([block.x for block in blocks])

    torch.manual_seed(0)
    first, state = read(3), torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(first, read(3))
    torch.manual_seed(0)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(first, read(4))
    assert not torch.equal(first[:1_000], first[1_000:2_000])
    p = (x / 4).mean()
    assert abs(first.mean() - p) < 4 * (p * (1 - p) / first.numel()).sqrt()


def test_monte_carlo_errors_are_right_where_data_are_drawn(unplanned: None):
    torch.manual_seed(0)
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (40, 12)).astype(np.uint8))
    data = TensorSplit(x, None, Domain("grey", levels=5), Preprocessing("stochastic"))
    model = VAE(
        MLP((12,), hidden=(5,)),
        {"z": DiagonalNormal(5, 2)},
        {"z": StandardNormal(2)},
        MLP((2,), (1, 12), hidden=(5,)),
        Bernoulli((12,), Domain("binary")),
    )
    scores = [evaluate(model, data, 50, seed=seed) for seed in range(60)]
    spread = float(np.std([each.nll for each in scores], ddof=1))
    assert spread == pytest.approx(np.mean([each.nll_mc_stderr for each in scores]), rel=4 / np.sqrt(2 * 59))


def test_scores_come_block_by_block_and_samples_are_checked():
    truth, seen = linear_gaussian(), []
    data = of(truth, 2_500)
    evaluate(truth.model(), data, samples=2, on_scores=lambda scores: seen.append(len(scores.elbo)))
    assert seen == [1_000, 1_000, 500]
    with refuses("samples must be at least 1, got 0"):
        evaluate(truth.model(), of(truth, 10), samples=0)


# -- memory ----------------------------------------------------------------------------------------------------------


WIDE = {"mlp": {"hidden": [50]}, "conv": {"channels": [512], "dense": 16}, "flow": {"transforms": 1, "hidden": [100]}}
MODELS = {
    "mlp": {},
    "a wide encoder": {"encoder": "conv"},
    "a flow, with no mean": {"posterior": "flow"},
}


@pytest.mark.parametrize(
    "case", [pytest.param(each, marks=[pytest.mark.slow] if "flow" in each else []) for each in MODELS]
)
def test_memory_is_bounded_whatever_the_samples_and_the_data(case: str, monkeypatch: pytest.MonkeyPatch):
    model = model_of(**MODELS[case], event_shape=(1, 12, 12), options=WIDE).float()
    n = {"mlp": 60, "a wide encoder": 30, "a flow, with no mean": 40}[case]  # ten times what fits at once, or more
    x = data_of(model.likelihood.domain, (n, 1, 12, 12)).float()
    data, memory = split_of(x, model.likelihood.domain), 2 * 2**20
    recorded_after(5, monkeypatch)  # a recording's memory counts as well; to make one takes seconds, of a flow
    peaks = [peak_bytes(lambda: evaluate(model, data, 40, memory=memory))]
    peaks.append(peak_bytes(lambda: evaluate(model, split_of(x[:4], data.domain), 800, memory=memory)))
    recorded_after(10**9, monkeypatch)
    peaks.append(peak_bytes(lambda: evaluate(model, data, 1, memory=memory)))
    # The bound is on all that is ever made, so there is room; but not most of it is left unused. While chunks are
    # recorded, what the model is before and after each of two calls is compared.
    copies = 3 * sum(each.nbytes for each in model.parameters())
    assert max(peaks[:2]) < memory + copies
    assert peaks[2] < memory
    assert max(peaks) > memory / 10
    assert peak_bytes(lambda: model.score(x, samples=40, memory=memory)) < memory + x.nbytes
    # The bound is what holds it: with twenty times the memory it takes more.
    assert peak_bytes(lambda: evaluate(model, data, 40, memory=20 * memory)) > memory


def test_pass_at_the_mean_is_the_bound_without_the_spread():
    model = model_of()
    data = split_of(data_of(model.domain, (50, 4)), model.domain)
    with torch.no_grad():
        z = model.encode(data.x)
        by_hand = float(model.likelihood_of(z, None).log_prob(data.x.double()).mean())
    got, sampled = mean_pass(model, data), evaluate(model, data, 400)
    assert got["mean_reconstruction"] == pytest.approx(by_hand, rel=1e-12)
    assert got["mean_elbo"] == pytest.approx(by_hand - sampled.kl, rel=1e-12)
    head = model.posteriors["z"].head
    head.weight.data[2:] = 0.0  # of the log-variances
    head.bias.data[2:] = -10.0
    narrow = evaluate(model, data, 400)
    assert mean_pass(model, data)["mean_elbo"] == pytest.approx(narrow.elbo, abs=0.01)


UNIT = Domain("unit", scale=17.0)
DEQUANTIZE = Preprocessing(dequantize=True)


@pytest.mark.parametrize(
    ("model", "data", "preprocessing", "message"),
    [
        (
            Domain("unit"),
            UNIT,
            None,
            "one of numbers of the unit interval of shape (4,), but the data are numbers from 0 to 17",
        ),
        (
            UNIT,
            Domain("unit"),
            None,
            "one of numbers from 0 to 17 of shape (4,), but the data are numbers of the unit interval",
        ),
        (UNIT, Domain("grey", levels=17), None, "grey levels 0..16 of shape (4,); preprocess them, such as by"),
        (UNIT, Domain("grey", levels=256), DEQUANTIZE, "but the data are numbers from 0 to 256"),
        (UNIT, Domain("unit", location=(0.0,) * 4, scale=(17.0, 17.0, 17.0, 16.0)), None, "ends, for each column"),
        (Domain("grey", levels=17), Domain("grey", levels=16), None, "but the data are grey levels 0..15"),
        (Domain("positive"), Domain("real"), None, "but the data are real numbers"),
        (Domain("count"), Domain("binary"), None, "but the data are binary"),
    ],
)
def test_data_of_another_domain_are_refused_wherever_they_would_be_scored(model, data, preprocessing, message):
    one = model_of(likelihood=fitting(model.kind), domain=model)
    x = data_of(data, (6, 4)).numpy()
    dataset = Dataset("other", data, {"train": Split(x), "test": Split(x)})
    split = to_device(dataset, "test", preprocessing or Preprocessing())
    for ask in (
        lambda: evaluate(one, dataset, samples=2, preprocessing=preprocessing),
        lambda: evaluate(one, split, samples=2),
        lambda: fit(one, dataset, epochs=1, preprocessing=preprocessing),
        lambda: fit(one, split, epochs=1),
    ):
        with refuses(message):
            ask()


def fitting(kind: str) -> str:
    return next(name for name, part in PARTS.likelihoods.items() if kind in part.domains)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["real", "positive", "count"])
def test_data_of_another_location_and_scale_are_scored_as_the_models_own(kind: str):
    model = model_of(likelihood=fitting(kind), domain=Domain(kind, scale=2.0))  # type: ignore[arg-type]
    x = data_of(model.domain, (6, 4)).numpy().astype(np.float32)
    other = Dataset("other", Domain(kind, scale=5.0), {"train": Split(x), "test": Split(x)})  # type: ignore[arg-type]
    assert evaluate(model, other, samples=3).nll == evaluate(model, x, samples=3).nll


@pytest.mark.parametrize("kind", ["binary", "grey", "categorical", "count", "unit", "positive"])
def test_values_outside_the_domain_are_refused_as_arrays_tensors_and_datasets(kind: str):
    model = model_of(likelihood=fitting(kind))
    model.domain.check(x := data_of(model.domain, (6, 4)).numpy())
    x[3, 2] = -7.5
    lied = Dataset("lied", model.domain, {"train": Split(x), "test": Split(x)})
    for data in (x, torch.from_numpy(x), lied):
        for ask in (lambda data=data: evaluate(model, data, samples=2), lambda data=data: fit(model, data, epochs=1)):
            with refuses("1 value other than"):
                ask()
    for ask in (model.encode, model.score, model.log_prob, model.reconstruct):
        with refuses("1 value other than"):
            ask(x)


def test_whole_numbers_are_no_data_of_a_model_of_dequantised_ones_but_take_its_preprocessing():
    model = model_of(likelihood="continuous-bernoulli", domain=UNIT)
    x = data_of(Domain("grey", levels=17), (6, 4)).numpy().astype(np.float32)
    for ask in (lambda: evaluate(model, x, samples=2), lambda: model.log_prob(x), lambda: fit(model, x, epochs=1)):
        with refuses("has whole numbers alone"):
            ask()
    assert evaluate(model, x, samples=2, preprocessing=DEQUANTIZE).is_likelihood
    dataset = Dataset("grey", Domain("grey", levels=17), {"train": Split(x), "test": Split(x)})
    scores = evaluate(model, dataset, samples=2, preprocessing=DEQUANTIZE)
    assert scores.nll == evaluate(model, x, samples=2, preprocessing=DEQUANTIZE).nll
