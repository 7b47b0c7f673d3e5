"""Likelihoods whose parameters mean what they say; that each is a density, test_parts_generic tells of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import mpmath
import numpy as np
import pytest
import torch
from models_for_tests import data_of, model_of, one_hot, refuses, standard_errors_apart
from scipy import special, stats
from torch import Tensor

from vaekit.data import Dataset, Preprocessing, Split
from vaekit.data.base import stored
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.data.tensors import to_device
from vaekit.distributions.moments import typical
from vaekit.engine import Use, record
from vaekit.evaluation.evaluation import evaluate
from vaekit.likelihoods import (
    Binomial,
    GlobalNormal,
    Laplace,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
    check_domain,
)
from vaekit.models import VAE
from vaekit.networks.mlp import MLP
from vaekit.posteriors import DiagonalNormal
from vaekit.priors.normal import StandardNormal
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS
from vaekit.training.fitting import fit

COUNTS = Domain("count", scale=(0.5, 20.0))
X = torch.arange(60, dtype=torch.float64)[:, None].expand(60, 2)


pytestmark = pytest.mark.usefixtures("_float64")


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


# -- counts of any size, in float32 ----------------------------------------------------------------------------------


def exact(likelihood: torch.nn.Module, raw: np.ndarray, x: np.ndarray, domain: Domain) -> np.ndarray:
    """SciPy's log-masses of counts x (N, D) of decoder outputs `raw` (N, P, D), both float32 numbers."""
    mean = np.exp(raw[:, 0].astype(float)) * np.float32(domain.scale).astype(float)
    if isinstance(likelihood, (NegativeBinomial, ZeroInflatedNegativeBinomial)):
        theta = np.exp(likelihood.log_theta.detach().numpy().astype(float))
        # SciPy's own log-gammas cancel at a large theta; theirs against a Poisson is the binomial series.
        log_mass = (
            special.xlogy(x, mean) - (x + theta) * np.log1p(mean / theta) - special.gammaln(x + 1) + rising(x, theta)
        )
    else:
        log_mass = stats.poisson(mean).logpmf(x)
    if raw.shape[1] == 2:
        zero = raw[:, 1].astype(float) - 2
        at_zero = np.logaddexp(special.log_expit(zero), special.log_expit(-zero) + log_mass)
        log_mass = np.where(x == 0, at_zero, special.log_expit(-zero) + log_mass)
    return log_mass


def rising(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """log Gamma(x + theta) - log Gamma(theta) - x log theta."""
    series = x * x / (2 * theta)  # for theta far above x²
    return np.where(theta > 1e13, series, special.gammaln(x + theta) - special.gammaln(theta) - x * np.log(theta))


COUNTING = [Poisson, NegativeBinomial, ZeroInflatedPoisson, ZeroInflatedNegativeBinomial]


@pytest.mark.parametrize("part", COUNTING)
def test_log_masses_are_right_to_a_thousandth_for_counts_of_any_size_in_float32(part: type):
    torch.set_default_dtype(torch.float32)
    means = np.array([1e-9, 1e-3, 1.0, 1e3, 1e5, 1e7, 1e9])
    domain = Domain("count", scale=tuple(means))
    likelihood = part((len(means),), domain)
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(200, likelihood.parameter_shape[0], len(means))).astype(np.float32)
    for log_theta in (-18.0, -3.0, 0.0, 5.0, 12.0, 20.0) if hasattr(likelihood, "log_theta") else (0.0,):
        if hasattr(likelihood, "log_theta"):
            with torch.no_grad():
                likelihood.log_theta.fill_(log_theta)
        around = np.exp(raw[:, 0]) * means
        near = np.clip(around + 5 * rng.normal(size=around.shape) * np.sqrt(around), 0, 1e9)
        far = np.clip(around * np.exp(3 * rng.normal(size=around.shape)), 0, 1e9)
        for x in (np.round(near).astype(np.float32), np.round(far).astype(np.float32), np.zeros_like(near, np.float32)):
            with torch.no_grad():
                got = likelihood(torch.from_numpy(raw)).base_dist.log_prob(torch.from_numpy(x)).numpy()
            want = exact(likelihood, raw, x.astype(float), domain)
            # A float32 has seven digits: of what is a million nats away no more is left.
            assert got.dtype == np.float32
            assert np.all(abs(got - want) < 1e-3 + 2e-7 * abs(want)), (log_theta, abs(got - want).max(0))


@pytest.mark.parametrize("log_theta", [-18.0, 0.0, 7.0, 20.0, 29.0])
def test_gradients_of_log_masses_are_right_for_counts_of_any_size_in_float32(log_theta: float):
    torch.set_default_dtype(torch.float32)
    means = np.array([1e-3, 1.0, 1e3, 1e6, 1e9])
    likelihood = NegativeBinomial((5,), Domain("count", scale=tuple(means)))
    with torch.no_grad():
        likelihood.log_theta.fill_(log_theta)
    raw = torch.zeros(1, 1, 5, requires_grad=True)
    x = np.round(means + 2 * np.sqrt(means)).astype(np.float32)
    likelihood(raw).log_prob(torch.from_numpy(x)[None]).sum().backward()
    mean, theta, x = np.float32(means).astype(float), np.exp(float(np.float32(log_theta))), x.astype(float)
    assert raw.grad is not None
    assert np.allclose(raw.grad.numpy()[0, 0], theta * (x - mean) / (theta + mean), rtol=1e-6, atol=1e-3)
    with mpmath.workdps(60):
        t = mpmath.mpf(theta)
        want = [
            float(t * (mpmath.psi(0, a + t) - mpmath.psi(0, t) + mpmath.log(t / (t + m)) + (m - a) / (t + m)))
            for a, m in zip(x.tolist(), mean.tolist(), strict=True)
        ]
    assert np.allclose(likelihood.log_theta.grad.numpy(), want, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("levels", [2, 17, 1025, 1026, 65536])
def test_binomial_log_masses_are_right_and_sum_to_one_in_float32(levels: int):
    torch.set_default_dtype(torch.float32)
    logits = np.array([-60.0, -3.0, 0.3, 9.0, 60.0], np.float32)
    px = Binomial((5,), Domain("grey", levels=levels))(torch.from_numpy(logits)[None]).base_dist
    x = np.arange(levels)
    got = px.log_prob(torch.arange(levels, dtype=torch.float32)[:, None]).numpy().astype(float)
    logit, n = logits.astype(float), levels - 1
    want = special.gammaln(n + 1) - special.gammaln(x + 1) - special.gammaln(n - x + 1)
    want = want[:, None] + x[:, None] * special.log_expit(logit) + (n - x)[:, None] * special.log_expit(-logit)
    assert np.all(abs(got - want) < 1e-3 + 2e-7 * abs(want))
    assert np.allclose(np.exp(got).sum(0), 1, atol=1e-4)


@pytest.mark.parametrize("part", COUNTING)
def test_large_counts_are_drawn_as_they_are_scored(part: type):
    torch.set_default_dtype(torch.float32)
    likelihood = part((2,), Domain("count", scale=(1e8, 1e5)))
    if hasattr(likelihood, "log_theta"):
        with torch.no_grad():
            likelihood.log_theta.copy_(torch.tensor([2.0, 15.0]))
    px = likelihood(torch.zeros(likelihood.parameter_shape))
    with seeded(0), torch.no_grad():
        draws = px.sample((20_000,)).double()
    assert torch.equal(draws, draws.round())
    assert standard_errors_apart(draws, px.mean.double()[None].expand(2, -1)[0]).max() < 4.5
    squares = (draws - px.mean).square()
    assert standard_errors_apart(squares, px.variance.detach().double()).max() < 4.5


# -- units and offsets -----------------------------------------------------------------------------------------------

SCALED = [(n, k) for n, p in PARTS.likelihoods.items() for k in p.domains if k in ("real", "positive", "unit")]


@pytest.mark.parametrize("factor", [1e-30, 1.6e-19, 1.989e30])
@pytest.mark.parametrize(("name", "kind"), SCALED)
def test_in_another_unit_log_p_changes_by_the_logarithm_of_the_factor(name: str, kind: str, factor: float):
    torch.set_default_dtype(torch.float32)
    domain = Domain(kind, location=0.0, scale=(0.5, 2.0))
    other = Domain(kind, location=0.0, scale=(0.5 * factor, 2.0 * factor))
    one, two = (PARTS.likelihoods[name](event_shape=(2,), domain=each) for each in (domain, other))
    with seeded(0):
        raw = torch.randn(50, *one.parameter_shape)
        u = torch.rand(50, 2) * 0.9 + 0.05
    x = u * torch.tensor([0.5, 2.0])
    parameters = [raw.clone().requires_grad_() for _ in range(2)]
    first = one(parameters[0]).log_prob(x)
    second = two(parameters[1]).log_prob((x.double() * factor).float())
    assert torch.allclose(second + 2 * np.log(factor), first, rtol=1e-5, atol=2e-4)
    gradients = [torch.autograd.grad(p.sum(), each)[0] for p, each in zip((first, second), parameters, strict=True)]
    assert gradients[0].abs().max() > 0.01
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-3)
    with seeded(1), torch.no_grad():
        draws = two(raw).sample()
    with seeded(1), torch.no_grad():
        wanted = one(raw).sample()
    # The far tails of a logarithm are beyond what float32 has, in one unit or the other.
    usual = (wanted.abs() > 1e-7) & (wanted.abs() < 1e7)
    assert usual.float().mean() > 0.9
    assert torch.allclose((draws / factor)[usual], wanted[usual], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, kind in SCALED if kind == "real"])
def test_far_from_zero_nothing_is_lost_but_what_is_stored(name: str):
    torch.set_default_dtype(torch.float32)
    far, near = (
        PARTS.likelihoods[name](event_shape=(1,), domain=Domain("real", location=m, scale=2.0)) for m in (1e6, 0.0)
    )
    with seeded(0):
        raw = torch.randn(100, *near.parameter_shape)
    x = torch.linspace(-5, 5, 100)[:, None].mul(16).round() / 16  # what float32 has beside a million
    with torch.no_grad():
        assert torch.allclose(far(raw).log_prob(x + 1e6), near(raw).log_prob(x), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("location", [1e9, 1e9 + 7.0])
def test_values_of_more_digits_than_the_parameters_keep_them(location: float):
    torch.set_default_dtype(torch.float32)
    px = Normal((1,), Domain("real", location=location, scale=1e-3))(torch.zeros(1, 2, 1))
    x = torch.tensor([[location + 5e-4]], dtype=torch.float64)
    assert px.log_prob(x).item() == pytest.approx(stats.norm(0, 1e-3).logpdf(5e-4), abs=1e-3)
    assert px.log_prob(x).dtype == torch.float32


# -- each is one of its own domain -----------------------------------------------------------------------------------


def climb(height: Callable[[], Tensor], parameters: Iterable[Tensor]) -> None:
    """Take `parameters` to where `height` is greatest."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        depth = -height()
        depth.backward()
        return depth

    optimizer.step(closure)


def test_one_sigma_each_is_learned_for_every_column():
    likelihood = GlobalNormal((2,), Domain("real", scale=(1.0, 10.0)), each=True)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 2)) * [0.1, 20.0])
    climb(lambda: likelihood(torch.zeros(1, 1, 2)).log_prob(x).mean(), likelihood.parameters())
    sigma = (0.5 * likelihood.log_variance).exp().detach() * torch.tensor([1.0, 10.0])
    assert torch.allclose(sigma, x.square().mean(0).sqrt(), rtol=1e-3)


def test_categories_stand_for_themselves():
    px = PARTS.likelihoods["categorical"](event_shape=(1,), domain=Domain("categorical", levels=3))
    logits = torch.tensor([[[5.0], [-5.0], [5.1]]])
    assert typical(px(logits)).tolist() == [[2.0]]  # the mean would be 1, which is next to impossible
    ordered = PARTS.likelihoods["categorical"](event_shape=(1,), domain=Domain("grey", levels=3))(logits)
    assert typical(ordered).item() == pytest.approx(1.05, abs=0.01)


@pytest.mark.parametrize("name", ["normal", "normal-fixed", "normal-global"])
@pytest.mark.parametrize("kind", ["positive", "unit"])
def test_a_normal_is_refused_where_its_tails_have_no_data(name: str, kind: str):
    with refuses("is a density of real data"):
        check_domain(PARTS.likelihoods, name, Domain(kind))  # type: ignore[arg-type]
    with refuses("is a density of real data"):
        model_of(likelihood="normal", domain=Domain(kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_a_beta_refuses_data_at_its_ends(end: float):
    model = model_of(likelihood="beta", domain=Domain("unit"))
    x = np.full((6, 4), 0.5)
    assert evaluate(model, x, samples=2).n == 6
    x[3, 2] = end
    for ask in (lambda: evaluate(model, x, samples=2), lambda: fit(model, x, epochs=1), lambda: model.log_prob(x)):
        with refuses("1 value of the data at an end"):
            ask()


@pytest.mark.parametrize("scale", ["decoder", "global", "each", 0.25])
def test_laplace_is_scipys_of_a_scale_that_is_the_decoders_learned_or_given(scale: str | float):
    domain = Domain("real", location=(1.0, -2.0), scale=(0.5, 20.0))
    likelihood = Laplace((2,), domain, scale=scale)  # type: ignore[arg-type]
    logs = {"decoder": [0.3, -0.7], "global": [0.4, 0.4], "each": [0.4, -1.0]}.get(scale, [np.log(0.25)] * 2)  # type: ignore[call-overload]
    raw = torch.tensor([[0.1, -0.2], logs][: likelihood.parameter_shape[0]])
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.copy_(torch.tensor(logs if parameter.dim() else logs[0]))
        px = likelihood(raw)
    assert len(list(likelihood.parameters())) == (scale in ("global", "each"))
    want = stats.laplace(np.array([1.0, -2.0]) + np.array([0.05, -4.0]), np.exp(logs) * [0.5, 20.0])
    assert np.allclose(px.log_prob(X), want.logpdf(X).sum(-1))
    assert np.allclose(px.mean, want.mean())


def test_a_laplace_learns_the_mean_absolute_error():
    x = torch.from_numpy(stats.laplace(0.0, [0.3, 5.0]).rvs((4000, 2), random_state=0))
    likelihood, raw = Laplace((2,), Domain("real"), scale="each"), torch.zeros(1, 2, requires_grad=True)
    optimizer = torch.optim.Adam([raw, *likelihood.parameters()], 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-likelihood(raw).log_prob(x).mean()).backward()
        optimizer.step()
    assert likelihood.log_scale is not None
    assert torch.allclose(likelihood.log_scale.exp(), (x - x.median(0).values).abs().mean(0), rtol=0.01)
    for scale in (0.0, -1.0, np.inf):
        with refuses("scale must be a finite number above 0, decoder, global or each"):
            Laplace((2,), Domain("real"), scale=scale)


def test_student_t_has_heavy_tails_and_learns_how_heavy():
    likelihood = StudentT((1,), Domain("real"), least=1.0)
    x = torch.from_numpy(stats.t(3).rvs((4000, 1), random_state=0))
    raw = torch.zeros(1, 2, 1, requires_grad=True)
    climb(lambda: likelihood(raw).log_prob(x).mean(), [raw, *likelihood.parameters()])
    assert 1 + likelihood.log_df.exp().item() == pytest.approx(stats.t.fit(x.numpy())[0], rel=0.02)
    for least in (0.5, 10.0):
        with refuses("must be at least 1"):
            StudentT((1,), Domain("real"), least=least)


# -- exposures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", COUNTING)
def test_means_are_proportional_to_the_exposure(part: type):
    plain, exposed = (part((3,), Domain("count", scale=4.0), exposure=each) for each in (False, True))
    with seeded(0):
        raw, exposure = torch.randn(2, 5, *plain.parameter_shape), 10 ** torch.randn(5, 1)
    shifted = raw.clone()
    shifted[:, :, 0] += exposure.log()
    x = data_of(Domain("count"), (5, 3))
    with torch.no_grad():
        one, other = exposed(raw, exposure), plain(shifted)
        assert torch.allclose(one.log_prob(x), other.log_prob(x))
        assert torch.allclose(one.mean, plain(raw).mean * exposure)


def exposed_model(name: str, condition: int = 1) -> VAE:
    """A model of three counts with an exposure, the last of its condition, which networks do not see."""
    likelihood = PARTS.likelihoods[name](event_shape=(3,), domain=Domain("count", scale=4.0), exposure=True)
    encoder = MLP((3,), hidden=(6,), condition=condition - 1)
    decoder = MLP((2,), likelihood.parameter_shape, hidden=(6,), condition=condition - 1)
    return VAE(
        encoder,
        {"z": DiagonalNormal(6, 2)},
        {"z": StandardNormal(2)},
        decoder,
        likelihood,
        condition,
        (0.0,) * condition,
        (*(1.0,) * (condition - 1), 50.0),
    )


@pytest.mark.parametrize("condition", [1, 3])
def test_the_exposure_of_a_row_reaches_scores_and_samples_but_no_network(condition: int):
    model = exposed_model("poisson", condition)
    x = data_of(Domain("count"), (6, 3))
    y = torch.cat([one_hot(6, condition - 1), 10 ** torch.linspace(-1, 3, 6)[:, None]], 1) if condition > 1 else None
    y = 10 ** torch.linspace(-1, 3, 6)[:, None] if y is None else y
    twice = y.clone()
    twice[:, -1] *= 2
    with torch.no_grad():
        with seeded(0):
            one = model.trace(Batch(x, y), samples=4)
        with seeded(0):
            two = model.trace(Batch(x, twice), samples=4)
        seen = model._seen(y)
        want = (
            stats.poisson(
                4
                * model.decoder(*[each for each in (one.latents[0].z, seen) if each is not None]).exp()[:, :, 0]
                * y[:, -1:]
                / 50
            )
            .logpmf(x)
            .sum(-1)
        )
    assert np.allclose(one.log_px, want)
    assert torch.equal(one.latents[0].z, two.latents[0].z)
    z = torch.zeros(6, 2)
    assert torch.allclose(model.decode(z, twice), 2 * model.decode(z, y))
    assert torch.equal(model.encode(x, y), model.encode(x, twice))
    assert (
        standard_errors_apart(model.sample(4000, y[5:], seed=0) / 3, model.sample(4000, y[5:], seed=1) / 3).max() < 4.5
    )
    assert model.sample(4000, y[5:], seed=0).mean() > 50 * model.sample(4000, y[2:3], seed=0).mean()
    assert (
        evaluate(
            model,
            to_device(
                Dataset("counts", model.domain, {"train": Split(x.numpy(), y.float().numpy())}),
                "train",
                Preprocessing(),
            ),
            samples=4,
        ).n
        == 6
    )
    for wrong in (None, y[:, :-1], torch.zeros_like(y), -torch.ones_like(y)):
        with refuses("exposure of a row"):
            model.score(x, wrong)


def test_more_of_a_poisson_is_known_where_its_exposure_is():
    """The scores of a model whose decoder ignores z are those of the closed form."""
    model = exposed_model("poisson")
    with torch.no_grad():
        for parameter in [*model.decoder.parameters(), *model.posteriors.parameters()]:
            parameter.zero_()
    rng = np.random.default_rng(0)
    exposure = 10 ** rng.uniform(0, 4, (200, 1))
    x = rng.poisson(4 * exposure / 50, (200, 3)).astype(float)
    scores = model.score(x, exposure, samples=3)
    assert np.allclose(scores.log_prob, stats.poisson(4 * exposure / 50).logpmf(x).sum(-1))


@pytest.mark.parametrize("engine", ["replay", pytest.param("inductor", marks=pytest.mark.slow)])
def test_recorded_and_compiled_steps_have_the_same_digits(engine: str):
    torch.set_default_dtype(torch.float32)
    likelihood = NegativeBinomial((40,), Domain("count", scale=1e8))
    with torch.no_grad():
        likelihood.log_theta.fill_(12.0)
    rng = np.random.default_rng(0)
    raw = torch.from_numpy(rng.normal(size=(64, 1, 40)).astype("f4")).requires_grad_()
    x = torch.from_numpy(rng.normal(1e8 * np.exp(raw.detach().numpy()[:, 0]), 3e5).round().astype("f4"))

    def step(x: torch.Tensor) -> list[torch.Tensor]:
        log_mass = likelihood(raw).log_prob(x)
        return [log_mass, *torch.autograd.grad(log_mass.sum(), [raw, likelihood.log_theta])]

    recording = record(step, [x], Use("steps", engine=engine), reads=[likelihood])
    assert recording is not None
    got, want = recording.at(0)(x), step(x)
    for one, other in zip(got, want, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-3)
    exactly = exact(likelihood, raw.detach().numpy(), x.double().numpy(), likelihood.domain).sum(-1)
    assert np.allclose(got[0].detach().numpy(), exactly, rtol=1e-6, atol=0.04)


def test_large_counts_are_read_and_drawn_to_the_last_digit():
    x = np.array([[1_000_100_031, 5], [1_000_100_033, 7]])
    assert (stored(x, "x") == x).all()
    assert stored(x.astype(np.float64), "x").dtype == np.float64
    assert stored(x[:, 1:], "x").dtype == stored(np.array([[16_777_216.0]]), "x").dtype == np.float32
    for name in ("poisson", "negative-binomial", "zero-inflated-poisson"):
        model = model_of(likelihood=name, domain=Domain("count", scale=1e9)).float()
        drawn = model.sample(200, seed=0)
        large = drawn[drawn > 2**25]
        assert 0.3 < float((large % 2).mean()) < 0.7, name
        assert model_of(likelihood=name, domain=Domain("count", scale=10.0)).float().sample(2).dtype == torch.float32
