"""One suite over every named part, and over parts that are not in the package: a new row in a table is tested by it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import (
    CLASSIFYING,
    CLUSTERED,
    CLUSTERING,
    CONDITIONS,
    DISCRETE_POSTERIORS,
    QUANTISED,
    RANDOM_POSTERIORS,
    RANDOM_PRIORS,
    SIMPLEX,
    SMALL,
    SPHERICAL_POSTERIORS,
    SPHERICAL_PRIORS,
    TABLES_ALONE,
    alternately,
    data_of,
    domain_of,
    fits,
    least,
    model_of,
    objective_of,
    one_hot,
    refuses,
    standard_errors_apart,
    trace_at,
    tried,
)
from rounding_for_tests import close_in_ulps
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace, Normal, Poisson

from vaekit import cli, train
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.distributions.flows import KINDS
from vaekit.distributions.levels import Levels
from vaekit.distributions.moments import typical
from vaekit.distributions.shapes import independent
from vaekit.likelihoods import Likelihood
from vaekit.models import VAE
from vaekit.models.trace import with_scores
from vaekit.runs.run import load_run
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS
from vaekit.training.step import traced
from vaekit.training.weights import load_tensors, model_tensors, save_tensors, set_model_tensors

ERRORS, WORST, SMALL_P = 4.0, 4.5, 1e-4


class Bell(Likelihood):
    """A toy likelihood of somebody else's: P(k) proportional to exp(a k + b k²), k the level in units of the range."""

    domains = ("grey", "categorical")

    def __init__(self, event_shape: Sequence[int], domain: Domain, peak: float = 4.0) -> None:
        super().__init__(event_shape, domain, parameters=2)
        self.peak = peak
        self.register_buffer("k", torch.linspace(0, 1, domain.levels or 0), persistent=False)

    def forward(self, parameters: Tensor) -> Distribution:
        a, b = (each[..., None] for each in self.split(parameters))
        return self.event(Levels(logits=self.peak * (a * self.k + b * self.k.square())))


class Counts(nn.Module):
    """A toy likelihood that derives from nothing of vaekit's."""

    domains = ("count",)

    def __init__(self, event_shape: Sequence[int], domain: Domain) -> None:
        super().__init__()
        self.event_shape, self.domain, self.parameter_shape = event_shape, domain, event_shape

    def forward(self, parameters: Tensor) -> Distribution:
        return Independent(Poisson(parameters.exp(), validate_args=False), len(self.event_shape), validate_args=False)


class LaplacePrior(nn.Module):
    """A toy prior, with a closed-form KL that only torch knows."""

    def __init__(self, latent: int, condition: int = 0, width: float = 1.0) -> None:
        super().__init__()
        self.loc, self.log_width = nn.Parameter(torch.zeros(latent)), nn.Parameter(torch.full((latent,), width).log())
        self.shift = nn.Linear(condition, latent, bias=False) if condition else None

    def forward(self, y: Tensor | None = None) -> Distribution:
        loc = self.loc if self.shift is None else self.loc + self.shift(y)
        return independent(Laplace(loc, self.log_width.exp().expand_as(loc), validate_args=False))


MINE = PARTS.extended(likelihoods={"my-bell": Bell, "my-counts": Counts}, priors={"my-laplace": LaplacePrior})

IMAGE = (2, 5, 4)
GROUPED: dict[str, Any] = {
    "posterior": "relaxed-categorical",
    "latents": {"z": 6},
    "options": SMALL | {name: {"groups": 2} for name in ("relaxed-categorical", "uniform-categorical", "categorical")},
}
"""Latents of several one-hots side by side."""
PAIRS = [
    (posterior, prior)
    for posterior, prior in itertools.product(MINE.posteriors, MINE.priors)
    # Priors of tokens ask all posteriors of codes for the same: one of these for each will do.
    if fits(posterior, prior)
    and tried(posterior, prior)
    and (posterior not in QUANTISED or posterior == "vq" or prior == "uniform-tokens")
]
CASES: dict[str, dict[str, Any]] = (
    {f"encoder {name}": {"encoder": name, "event_shape": IMAGE} for name in MINE.encoders}
    | {f"decoder {name}": {"decoder": name, "event_shape": IMAGE, "likelihood": "normal"} for name in MINE.decoders}
    | {f"likelihood {name}": {"likelihood": name, "event_shape": (3,)} for name in MINE.likelihoods}
    | {
        f"likelihood {name} of images": {"likelihood": name, "event_shape": IMAGE}
        for name in MINE.likelihoods
        if name not in TABLES_ALONE
    }
    | {f"{posterior} and {prior}": {"posterior": posterior, "prior": prior} for posterior, prior in PAIRS}
    | {
        f"flow of {kind}, {size} numbers": {
            "posterior": "flow",
            "prior": "flow",
            "latents": {"z": size},
            "options": SMALL | {"flow": {"kind": kind, "transforms": 2, "hidden": [6]}},
        }
        for kind in KINDS
        for size in (1, 3)
        if kind != "coupling"
    }
    | {f"smallest: {name}": {"posterior": name, "latents": {"z": least(name, "")}} for name in MINE.posteriors}
    | {f"smallest: prior {name}": {"prior": name, "latents": {"z": least("", name)}} for name in MINE.priors}
    | {"two latents": {"posterior": "flow", "prior": "vamp", "latents": {"style": 1, "content": 3}}}
    | {f"one-hots and {prior}": {**GROUPED, "prior": prior} for prior in ("uniform-categorical", "categorical", "vamp")}
)
OF_OTHER_MEASURES = DISCRETE_POSTERIORS | QUANTISED | SPHERICAL_POSTERIORS | SIMPLEX
"""Posteriors that have no density of all vectors."""


pytestmark = pytest.mark.usefixtures("_float64")


def made(case: str, condition: int, **changes: Any) -> tuple[VAE, Tensor, Tensor | None]:
    """The model of a case, five data and their condition; in evaluation mode where training moves its codes
    or draws more than z.
    """
    model = model_of(**{**CASES[case], "condition": condition, "parts": MINE} | changes)
    if CASES[case].get("posterior") in QUANTISED | RANDOM_POSTERIORS or CASES[case].get("prior") in RANDOM_PRIORS:
        model.eval()
    return (
        model,
        data_of(model.likelihood.domain, (5, *model.event_shape)),
        one_hot(5, condition) if condition else None,
    )


def weights_of(model: VAE, x: Tensor, y: Tensor | None) -> Tensor:
    """Log-weights of draws of a seed, to which every part of a model contributes."""
    with seeded(0), torch.no_grad():
        return model.trace(Batch(x, y), samples=2).log_weight_at(1.0, scored=True)


@alternately(0, tuple(CASES))
def test_shapes_with_any_samples_and_batch(case: str, condition: int):
    model, x, y = made(case, condition)
    size = model.latent_size
    for samples, batch in [(3, 5), (4, 1), (1, 5)]:
        trace = model.trace(Batch(x[:batch], None if y is None else y[:batch]), samples)
        log_weight = trace.log_weight_at(1.0, scored=True)
        assert trace.log_px.shape == log_weight.shape == (samples, batch)
        assert [latent.z.shape for latent in trace.latents] == [(samples, batch, n) for n in model.sizes.values()]
        for latent in trace.latents:
            assert latent.log_q.shape == latent.log_p.shape == (samples, batch)
            assert latent.kl.shape in [(batch,), (samples, batch)]
            assert latent.closed_form == (latent.kl.dim() == 1)
        assert log_weight.dtype == torch.float64
        assert log_weight.isfinite().all()
    event = model.event_shape
    assert model.encode(x, y).shape == (5, size)
    assert model.encode(x, y, samples=2).shape == (2, 5, size)
    assert model.decode(model.encode(x, y), y).shape == (5, *event)
    assert model.decode(model.encode(x, y, samples=2), y, draw=True).shape == (2, 5, *event)
    assert model.reconstruct(x, y).shape == (5, *event)
    assert model.reconstruct(x, y, samples=2).shape == (2, 5, *event)
    assert model.log_prob(x, y, samples=3).shape == (5,)
    for draw in (True, False):
        samples_ = model.sample(5, y, draw=draw)
        assert samples_.shape == (5, *event)
        if draw:
            model.likelihood.domain.check(samples_.numpy())


@alternately(1, tuple(CASES))
def test_gradients_reach_every_parameter(case: str, condition: int):
    model, x, y = made(case, condition)
    with seeded(0):
        # What learns which cells are missing needs some of them.
        holes = torch.rand(x.shape) < 0.5 if case.startswith("likelihood self-masked") else None
        trace = model.trace(Batch(x, y, observed=holes), samples=20)
    (-with_scores(trace.log_weight_at(1.0, scored=True), trace.log_score).mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@alternately(0, tuple(CASES))
def test_a_datum_does_not_depend_on_its_batch(case: str, condition: int):
    model, x, y = made(case, condition)
    with torch.no_grad():
        trace = model.trace(Batch(x, y), samples=3)
        z = {latent.name: latent.z for latent in trace.latents}
        again = trace_at(model, x, z, y)
        alone = trace_at(model, x[1:2], {k: v[2:3, 1:2] for k, v in z.items()}, None if y is None else y[1:2])
    assert torch.allclose(trace.log_weight, again.log_weight)
    assert torch.allclose(trace.log_weight[2, 1], alone.log_weight[0, 0])
    for latent, one in zip(trace.latents, alone.latents, strict=True):
        assert torch.allclose(latent.kl[1] if latent.closed_form else latent.kl[2, 1], one.kl.flatten()[0])


@alternately(1, tuple(CASES))
def test_saved_and_loaded_or_copied_it_is_the_same_and_apart(case: str, condition: int, tmp_path: Path):
    model, x, y = made(case, condition)
    tensors = {name: value.clone() for name, value in model_tensors(model).items()}  # codebooks learn when asked
    save_tensors(tmp_path / "weights.safetensors", tensors)
    other, twin = made(case, condition, seed=1)[0], copy.deepcopy(model)
    before = weights_of(model, x, y)
    assert not all(torch.equal(value, tensors[name]) for name, value in model_tensors(other).items())
    set_model_tensors(other, load_tensors(tmp_path / "weights.safetensors"))
    assert all(torch.equal(value, tensors[name]) for name, value in model_tensors(other).items())
    for each in (other, twin):
        assert close_in_ulps(weights_of(each, x, y), before)
    assert close_in_ulps(other.sample(5, y, draw=False, seed=0), model.sample(5, y, draw=False, seed=0))
    assert len(list(twin.parameters())) == len(list(model.parameters()))  # what was shared still is
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(0.5)
    assert torch.equal(weights_of(model, x, y), before)
    assert not torch.equal(weights_of(twin, x, y), before)


@alternately(0, [case for case in CASES if "my-" not in case])
def test_without_memory_it_has_the_same_tensors(case: str, condition: int):
    # Such a model is what weights of a run are compared with before memory is taken for them.
    model, _, _ = made(case, condition)
    with torch.device("meta"):
        outline, _, _ = made(case, condition, by=0.0)
    tensors, outlines = model_tensors(model), model_tensors(outline)
    assert all(tensor.is_meta for tensor in outlines.values())
    wanted = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in outlines.items()} == wanted


@alternately(0, tuple(CASES))
def test_float32_agrees_with_float64(case: str, condition: int):
    model, x, y = made(case, condition)
    single = copy.deepcopy(model).float()
    with torch.no_grad():
        trace = model.trace(Batch(x, y), samples=2)
        # A label's vector is often of another type than the weights.
        low = single.trace(Batch(x.float(), y), samples=2)
        assert low.log_weight.dtype == torch.float32
        z = {latent.name: latent.z.float() for latent in trace.latents}
        again = trace_at(single, x.float(), z, None if y is None else y.float())
    assert torch.allclose(again.log_px.double(), trace.log_px, rtol=1e-4, atol=1e-3)
    assert torch.allclose(again.log_weight.double(), trace.log_weight, rtol=1e-3, atol=1e-2)


def importance_errors(p: Distribution, draws: Tensor) -> Tensor:
    """Standard errors between 1 and the mean over z ~ p of r(z) / p(z), for some normal r of lighter tails: (r, …)."""
    centre, spread = draws.mean(0), draws.std(0)
    log_p = p.log_prob(draws)
    apart = []
    for shift, narrow in [(0.0, 0.5), (0.5, 0.4), (-0.5, 0.4), (0.0, 0.3)]:
        r = independent(Normal(centre + shift * spread, narrow * spread))
        apart.append(standard_errors_apart((r.log_prob(draws) - log_p).exp(), 1.0))
    return torch.stack(apart)


def class_errors(p: Distribution, draws: Tensor) -> Tensor:
    """Standard errors between the mass of each class and how often it is drawn, one-hots all: (…, K)."""
    assert torch.equal(draws, torch.nn.functional.one_hot(draws.argmax(-1), draws.shape[-1]).to(draws.dtype))
    masses = torch.stack([p.log_prob(one).exp() for one in torch.eye(draws.shape[-1])], -1)
    return (draws.mean(0) - masses).abs() / (masses * (1 - masses) / len(draws)).sqrt()


@CONDITIONS
@pytest.mark.parametrize("name", sorted(DISCRETE_POSTERIORS))
def test_posterior_samplers_match_their_masses_in_evaluation(name: str, condition: int):
    model = model_of(posterior=name, condition=condition, latents={"z": 4}, parts=MINE).eval()
    x, y = data_of(model.likelihood.domain, (3, 4)), one_hot(3, condition) if condition else None
    with seeded(0), torch.no_grad():
        (latent,) = model.trace(Batch(x, y), samples=20_000).latents
        assert class_errors(latent.q, latent.z).max() < WORST
        assert class_errors(latent.q, latent.q.sample((20_000,))).max() < WORST


@CONDITIONS
@pytest.mark.parametrize(("posterior", "name"), [pair for pair in PAIRS if pair[0] in DISCRETE_POSTERIORS])
def test_prior_samplers_match_their_masses(name: str, posterior: str, condition: int):
    model = model_of(prior=name, posterior=posterior, condition=condition, latents={"z": 4}, parts=MINE).eval()
    with seeded(0), torch.no_grad():
        p = model.priors["z"](one_hot(3, condition) if condition else None)
        assert p.batch_shape == ((3,) if condition else ())
        assert class_errors(p, p.sample((20_000,))).max() < WORST


@pytest.mark.parametrize(
    ("posterior", "prior"), [pair for pair in itertools.product(MINE.posteriors, MINE.priors) if not fits(*pair)]
)
def test_masses_and_densities_are_not_compared(posterior: str, prior: str):
    with refuses("accepted: two of a kind"):
        model_of(posterior=posterior, prior=prior, parts=MINE)


@CONDITIONS
@pytest.mark.parametrize("name", [name for name in MINE.posteriors if name not in OF_OTHER_MEASURES])
def test_posterior_samplers_match_their_densities(name: str, condition: int):
    model = model_of(posterior=name, condition=condition, parts=MINE)
    x, y = data_of(model.likelihood.domain, (3, 4)), one_hot(3, condition) if condition else None
    with seeded(0), torch.no_grad():
        (latent,) = model.trace(Batch(x, y), samples=20_000).latents
        assert importance_errors(latent.q, latent.z).max() < WORST
        assert importance_errors(latent.q, latent.q.sample((20_000,))).max() < WORST


@CONDITIONS
@pytest.mark.parametrize(
    ("posterior", "name"),
    # Of the priors only `vamp` is made of posteriors; the others are the same beside any.
    [
        (posterior, prior)
        for posterior, prior in PAIRS
        if posterior not in OF_OTHER_MEASURES and (posterior == "diagonal-normal" or prior == "vamp")
    ],
)
def test_prior_samplers_match_their_densities(name: str, posterior: str, condition: int):
    model = model_of(prior=name, posterior=posterior, condition=condition, parts=MINE)
    model.train(name not in RANDOM_PRIORS)
    with seeded(0), torch.no_grad():
        p = model.priors["z"](one_hot(3, condition) if condition else None)
        assert p.batch_shape == ((3,) if condition else ())
        assert importance_errors(p, p.sample((20_000,))).max() < WORST


@CONDITIONS
@pytest.mark.parametrize("prior", sorted(SPHERICAL_PRIORS | {"vamp"}))
@pytest.mark.parametrize("posterior", sorted(SPHERICAL_POSTERIORS))
def test_samplers_on_a_sphere_match_their_densities(posterior: str, prior: str, condition: int):
    model = model_of(posterior=posterior, prior=prior, condition=condition, latents={"z": 3}, parts=MINE)
    x, y = data_of(model.likelihood.domain, (3, 4)), one_hot(3, condition) if condition else None
    with seeded(0), torch.no_grad():
        (latent,) = model.trace(Batch(x, y), samples=20_000).latents
        for p, draws in ((latent.q, latent.z), (latent.p, latent.p.sample((20_000,)))):
            assert close_in_ulps(draws.norm(dim=-1), torch.ones(draws.shape[:-1]))
            # The mean of 1 / p(z) is the area of the sphere.
            assert standard_errors_apart((-p.log_prob(draws)).exp() / (4 * np.pi), 1.0).max() < WORST


def grid(domain: Domain, columns: int) -> tuple[list[Tensor], list[Tensor]]:
    """For each column the points that a sum over the domain runs over, and their weights."""
    if domain.kind == "columns":
        each = [grid(one, 1) for one in domain.columns]
        return [points for (points,), _ in each], [weights for _, (weights,) in each]
    if domain.kind == "nonnegative":  # a mass at 0, a density above
        (points, _), (weights, _) = grid(Domain("positive"), 2)
        return [torch.cat([torch.zeros(1), points])] * columns, [torch.cat([torch.ones(1), weights])] * columns
    if domain.kind == "integer":
        points = torch.arange(-400.0, 401.0)
        return [points] * columns, [torch.ones_like(points)] * columns
    if domain.kind in ("binary", "grey", "categorical", "count"):
        points = torch.arange({"binary": 2, "count": 400}.get(domain.kind, domain.levels or 0), dtype=torch.float64)
        return [points] * columns, [torch.ones_like(points)] * columns
    if domain.kind == "unit":  # close at both ends
        t = torch.linspace(-36, 36, 401)
        nodes, weights = t.sigmoid(), (t[1] - t[0]) * t.sigmoid() * (-t).sigmoid()
    elif domain.kind == "positive":
        t = torch.linspace(-5.5, 30, 1351)
        nodes = (t - (-t).exp()).exp()
        weights = (t[1] - t[0]) * nodes * (1 + (-t).exp())
    else:
        t = torch.linspace(-12, 12, 1001)
        nodes, weights = t.sinh(), (t[1] - t[0]) * t.cosh()
    location, scale = (torch.as_tensor(v).expand(columns) for v in (domain.location, domain.scale))
    if domain.kind == "positive":
        location = torch.zeros(columns)
    return [m + s * nodes for m, s in zip(location, scale, strict=True)], [s * weights for s in scale]


GENTLE = {"log-normal": (0.5, 0.0), "weibull": (0.5, 0.0), "student-t": (0.5, 0.0), "beta": (0.5, 2.0)}
GENTLE |= dict.fromkeys(TABLES_ALONE, (0.5, -0.5)) | {"laplace": (0.3, 4.7)}
"""How far parameters of likelihoods are from 0, and around what (all but the first): so that sums converge near the
ends, and averages.
"""


def likelihood_at(name: str, domain: Domain, seed: int, batch: int = 2) -> Distribution:
    likelihood = MINE.likelihoods[name](event_shape=(2,), domain=domain)
    spread, centre = GENTLE.get(name, (1.2, 0.0))
    with seeded(seed), torch.no_grad():
        parameters = spread * torch.randn(batch, *likelihood.parameter_shape)
        parameters[:, 1:] += centre
        return likelihood(parameters)


FITTING = [(name, kind) for name, part in MINE.likelihoods.items() for kind in part.domains]
COLUMNS = {
    "unit": ((-3.0, 5.0), (0.5, 256.0)),
    "real": ((-3.0, 5.0), (0.5, 20.0)),
    "positive": ((0.0, 1.0), (0.5, 20.0)),
}
"""Kinds of data whose columns have a location and a scale of their own."""


CROSSED = 10_000
"""Pairs of points of two columns, chosen at random, of the million that there are."""


@pytest.mark.parametrize(
    ("name", "kind", "per_column"),
    [(name, kind, columns) for name, kind in FITTING for columns in (False, True) if kind in COLUMNS or not columns],
)
def test_likelihoods_sum_to_one(name: str, kind: str, per_column: bool):
    domain = Domain(kind, location=COLUMNS[kind][0], scale=COLUMNS[kind][1]) if per_column else domain_of(kind, (2,))
    px = likelihood_at(name, domain, seed=0)
    (first, second), weights = grid(domain, 2)
    with seeded(1):
        a, b = px.sample()[0]
        i, j = (torch.randint(len(x), (CROSSED,)) for x in (first, second))

    def at(left: Tensor, right: Tensor) -> Tensor:
        return px.log_prob(torch.stack(torch.broadcast_tensors(left, right), -1)[:, None])

    # Columns are independent given z: so says the density at pairs of points, and so their sum is that of two lines.
    whole, rows, columns = at(a[None], b), at(first, b), at(a, second)
    torch.testing.assert_close(at(first[i], second[j]) + whole, rows[i] + columns[j], rtol=1e-9, atol=1e-9)
    mass = (weights[0] @ rows.exp()) * (weights[1] @ columns.exp()) / whole.exp()[0]
    assert torch.allclose(mass, torch.ones(2), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_likelihood_samplers_match_their_densities(name: str, kind: str):
    px = likelihood_at(name, domain_of(kind, (2,)), seed=1, batch=1)
    with seeded(2):
        draws = px.sample((10_000,))[:, 0]
    points, weights = grid(domain_of(kind, (2,)), 2)
    for column in range(2):
        # With the other column held where it is likely, the density is that of this one but for a factor.
        x = draws[0].expand(len(points[column]), 2).clone()
        x[:, column] = points[column]
        mass = (weights[column] * px.log_prob(x[:, None])[:, 0].exp()).numpy()
        mass /= mass.sum()
        if kind in COLUMNS:
            cdf = np.interp(draws[:, column], points[column], np.cumsum(mass) - mass / 2)
            assert stats.kstest(cdf, "uniform").pvalue > SMALL_P
        else:
            between = (points[column][1:] + points[column][:-1]) / 2
            counts = np.bincount(torch.searchsorted(between, draws[:, column].contiguous()), minlength=len(mass))
            common = mass * len(draws) > 10
            got = [*counts[common], counts[~common].sum()]
            want = [*(mass[common] * len(draws)), mass[~common].sum() * len(draws) + 1e-9]
            assert stats.chisquare(got, np.array(want) * sum(got) / sum(want)).pvalue > SMALL_P


EXTREMES = [-1e30, -1e4, -30.0, -1.0, 0.0, 1.0, 30.0, 1e4, 1e30]


@pytest.mark.parametrize(
    ("name", "kind", "per_column"),
    [
        (name, kind, columns)
        for name, part in PARTS.likelihoods.items()
        for kind in part.domains
        for columns in (False, True)
        if kind in COLUMNS or not columns
    ],
)
def test_no_likelihood_leaves_its_domain(name: str, kind: str, per_column: bool):
    size = 9 if kind == "columns" else 2
    domain = domain_of(kind, (size,))
    if per_column:
        domain = Domain(kind, location=0.0 if kind == "positive" else (0.1, 1.0), scale=(0.7, 1e30))
    likelihood = PARTS.likelihoods[name](event_shape=(size,), domain=domain).float()
    number, *columns = likelihood.parameter_shape
    pairs = torch.tensor(list(itertools.product(EXTREMES, EXTREMES)), dtype=torch.float32)
    parameters = pairs.repeat(1, number)[:, :number]
    px = likelihood(parameters[..., None].expand(-1, -1, 2) if columns else parameters)
    with seeded(0), torch.no_grad():
        draws, one = px.sample((50,)), typical(px)
    assert draws.dtype == one.dtype == torch.float32
    if kind != "real":  # at 1e30 times such a scale there are none
        domain.check(draws.flatten(0, -2).numpy())
        assert one.isfinite().all()
    if kind in ("positive", "unit", "categorical"):
        domain.check(one.numpy())


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_likelihood_means_are_those_of_their_samples(name: str, kind: str):
    px = likelihood_at(name, domain_of(kind, (2,)), seed=3)
    if kind == "categorical" and not name.startswith("my-"):
        assert px.mean.isnan().all()
        return
    with seeded(0):
        draws = px.sample((20_000,))
    if name in TABLES_ALONE:  # means of some quantiles, of whole numbers before they are rounded
        off = (draws.mean(0) - px.mean).abs() / draws.std(0).clamp(min=1e-9)
        assert off.max() < (0.5 if kind in ("count", "integer") else 0.06)
        return
    assert standard_errors_apart(draws - px.mean, 0.0).max() < WORST


@pytest.mark.parametrize(
    ("objective", "posterior", "prior", "condition"),
    [
        (objective, *pair, 3 * ((i + j) % 2))
        for i, objective in enumerate(MINE.objectives)
        for j, pair in enumerate(PAIRS)
        if objective != "autoencoder"  # which learns no scale of q, and no prior
    ],
)
def test_every_objective_trains_every_part(objective: str, posterior: str, prior: str, condition: int):
    latents = {"z": 3, "w": least(posterior, prior)}
    model = model_of(posterior=posterior, prior=prior, latents=latents, condition=condition, parts=MINE)
    x, y = data_of(model.likelihood.domain, (4, 4)), one_hot(4, condition) if condition else None
    chosen = objective_of(objective)
    if objective == CLUSTERING and not {posterior, prior} & CLUSTERED:
        with refuses("the model has no clusters; it needs a discrete latent"):
            chosen(traced(model, chosen, Batch(x, y)), 0.5)
        return
    if objective == CLASSIFYING:
        with refuses("the model has no classifier; give it one"):
            chosen(traced(model, chosen, Batch(x, y)), 0.5)
        return
    if objective in ("stl", "dreg") and posterior in DISCRETE_POSTERIORS:
        with refuses("is for latents that are drawn from a density, 'z' is of classes; accepted: elbo"):
            chosen(traced(model, chosen, Batch(x, y)), 0.5)
        return
    if objective == "renyi" and posterior == "categorical":
        with refuses("draws of 'z' carry a part of their gradient alone"):
            chosen(traced(model, chosen, Batch(x, y)), 0.5)
        return
    if objective in ("iwae", "renyi", "stl", "dreg") and posterior in QUANTISED:
        with refuses("is for latents that are drawn, 'z' is a code, of which all draws are the same; accepted: elbo"):
            chosen(traced(model, chosen, Batch(x, y)), 0.5)
        return
    if posterior in QUANTISED:
        model.eval()
    for batch in (1, 4):
        chosen = objective_of(objective)  # anew: some follow what they are shown
        with seeded(0):
            trace = traced(model, chosen, Batch(x[:batch], None if y is None else y[:batch]))
        result = chosen(trace, 0.5)
        model.zero_grad()
        result.loss.backward()
        assert result.loss.shape == ()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        for term in result.terms.values():
            assert not isinstance(term, Tensor) or (term.shape == () and not term.requires_grad)
        assert {"elbo", "reconstruction", "kl", "kl/z", "kl/w"} <= set(result.terms)
        # The parameters are left as they are where nothing is to be learned from the trace.
        with seeded(0), torch.no_grad():
            trace = traced(model, chosen, Batch(x[:batch], None if y is None else y[:batch]))
            assert torch.allclose(chosen(trace, 0.5).loss, result.loss.detach())


# -- what a change may touch: parts of one's own go everywhere, with nothing changed in the package -------------------

MY_MODEL = ["model.likelihood.name=my-bell", "model.likelihood.peak=2", "model.latents.z.prior=my-laplace"]
QUICK = ["data.name=digits", *MY_MODEL, "model.latents.z.size=3", "training.epochs=1"]


def test_parts_of_ones_own_train_and_load(tmp_path: Path):
    torch.set_default_dtype(torch.float32)
    run = train("digits", tmp_path / "run", sets=QUICK, parts=MINE)
    assert isinstance(run.model.likelihood, Bell)
    assert run.model.likelihood.peak == 2.0
    assert isinstance(run.model.priors["z"], LaplacePrior)
    x = run.data("test").x[:5]
    loaded = load_run(tmp_path / "run", parts=MINE)
    assert close_in_ulps(loaded.model.encode(x), run.model.encode(x))
    assert close_in_ulps(loaded.model.log_prob(x, samples=3, seed=0), run.model.log_prob(x, samples=3, seed=0))
    with pytest.raises(ValueError, match="unknown likelihood 'my-bell'"):
        load_run(tmp_path / "run")


def test_parts_of_ones_own_work_at_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.set_default_dtype(torch.float32)
    sets = [word for each in QUICK for word in ("--set", each)]
    assert cli.main(["train", "digits", "--out", str(tmp_path / "run"), *sets, "--samples", "2"], parts=MINE) == 0
    assert cli.main(["evaluate", str(tmp_path / "run"), "--samples", "2"], parts=MINE) == 0
    assert cli.main(["parts"], parts=MINE) == 0
    out = capsys.readouterr().out
    assert "my-bell" in out
    assert "my-laplace" in out
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 2
    assert "unknown likelihood 'my-bell'" in capsys.readouterr().err
