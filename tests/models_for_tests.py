"""Small models, data and statistics that several test files share; all of it in float64 and from fixed seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from vaekit.data import Dataset, Preprocessing, Split
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.data.tensors import TensorSplit, as_split
from vaekit.engine import recording
from vaekit.likelihoods import FixedNormal
from vaekit.models import VAE
from vaekit.models.scoring import Scores, chunks, score, sums
from vaekit.models.trace import Latent, Trace
from vaekit.networks.base import flat
from vaekit.networks.mlp import MLP
from vaekit.posteriors.continuous import SLOWLY, FullRankNormal
from vaekit.priors.normal import StandardNormal
from vaekit.seeding import seeded
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import parse
from vaekit.spec.parts import PARTS, Parts

DOMAINS: dict[str, Domain] = {
    "binary": Domain("binary"),
    "grey": Domain("grey", levels=5),
    "categorical": Domain("categorical", levels=4),
    "count": Domain("count"),
    "unit": Domain("unit", location=-1.0, scale=8.0),
    "real": Domain("real", location=-3.0, scale=0.5),
    "positive": Domain("positive", scale=2.0),
    "nonnegative": Domain("nonnegative", location=0.5, scale=0.8, warp="log"),
    "integer": Domain("integer", location=-1.0, scale=3.0),
}
"""One domain of each kind but of columns."""
KINDS = ("real", "binary", "nonnegative", "categorical", "integer", "positive", "unit", "count", "grey")


def table_of(size: int) -> Domain:
    """A domain of so many columns of several kinds."""
    return Domain("columns", columns=tuple(DOMAINS[KINDS[i % len(KINDS)]] for i in range(size)))


CONDITIONS = pytest.mark.parametrize("condition", [0, 3], ids=["plain", "conditional"])


def alternately(first: int, cases: Sequence[str]) -> pytest.MarkDecorator:
    """Every case, plain or conditional by turns. Laws begin with either: a case meets some of them both ways."""
    chosen = [(case, 3 * ((i + first) % 2)) for i, case in enumerate(cases)]
    ids = [f"{case}-{'conditional' if condition else 'plain'}" for case, condition in chosen]
    return pytest.mark.parametrize(("case", "condition"), chosen, ids=ids)


TABLES_ALONE = ("columns", "logistic-mixture", "self-masked-columns")
"""Likelihoods of tables, which images have no use for."""

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [6], "activation": "tanh"},
    "conv": {"channels": [2, 3], "dense": 6, "activation": "tanh"},
    "resnet": {"channels": [2, 3], "blocks": 1},
    "pyramid": {"channels": [2, 3], "blocks": [1, 1]},
    "mixture": {"components": 3},
    "normal-mixture": {"components": 3},
    "semi-implicit": {"components": 3, "noise": 2, "hidden": [4], "activation": "tanh"},
    "vamp": {"components": 4},
    "flow": {"transforms": 2, "hidden": [6]},
    "resampled": {"hidden": [5], "tries": 5, "samples": 50},
    "vq": {"codes": 4},
    "rvq": {"codes": 3, "quantizers": 2},
    "fsq": {"levels": [3]},
    "lfq": {"dim": 1},
    "transformer": {"width": 4, "layers": 1, "heads": 2, "components": 2},
    "transformer-tokens": {"width": 4, "layers": 1, "heads": 2},
    "masked-tokens": {"width": 4, "layers": 1, "heads": 2},
}
"""Options that make parts small; a part that is not here gets its defaults."""

DISCRETE_POSTERIORS = {"relaxed-categorical", "categorical"}
DISCRETE_PRIORS = {"uniform-categorical", "categorical"}
SPHERICAL_POSTERIORS, SPHERICAL_PRIORS = {"von-mises-fisher"}, {"uniform-sphere"}
"""Of points of a sphere, whose densities are none of the space around it."""
SIMPLEX = {"dirichlet"}
"""Posteriors and priors of shares, likewise."""
EITHER = {"vamp"}
"""Priors of what the posterior is of, classes or not."""
RANDOM_PRIORS = {"resampled"}
"""Priors of which a number is estimated by new draws in each step of training."""
RANDOM_POSTERIORS = {"semi-implicit"}
"""Posteriors that are others in each step of training, by noise of their own."""
QUANTISED = {"vq", "rvq", "fsq", "lfq"}
TOKENS = {"uniform-tokens", "categorical-tokens", "transformer-tokens", "masked-tokens"}
"""Posteriors of codes, and their priors."""


def tried(posterior: str, prior: str) -> bool:
    """Whether a pair that fits is tried in every law: each part beside the usual ones of the other kind, and beside the
    one that is made of it; all with all are met by random specs.
    """
    special = DISCRETE_POSTERIORS | SPHERICAL_POSTERIORS | QUANTISED | SIMPLEX
    return posterior in {"diagonal-normal", *special} or prior in {"standard-normal", "vamp"}


CLUSTERED = {"mixture", "vamp", *DISCRETE_POSTERIORS}
"""Parts by which a model has clusters."""
CLUSTERING = "invariant-clusters"
"""The objective that needs them."""
CLASSIFYING = "semi-supervised"
"""The objective that needs a classifier."""
OBJECTIVES = [name for name in PARTS.objectives if name not in (CLUSTERING, CLASSIFYING)]
"""Those that any model will do for."""


def objective_of(name: str) -> Any:
    """The objective of that name, with its defaults, and what it has none of."""
    return PARTS.objectives[name](**({"target": 2.0} if name == "geco" else {}))


def fits(posterior: str, prior: str) -> bool:
    """Whether both are of classes, or of codes, or of neither."""
    if posterior in QUANTISED or prior in TOKENS:
        return posterior in QUANTISED and prior in TOKENS
    kinds = (DISCRETE_POSTERIORS, DISCRETE_PRIORS), (SPHERICAL_POSTERIORS, SPHERICAL_PRIORS), (SIMPLEX, SIMPLEX)
    return prior in EITHER or all((posterior in mine) == (prior in theirs) for mine, theirs in kinds)


def least(posterior: str, prior: str) -> int:
    """The smallest size of such a latent: two classes, a direction, or one number."""
    two = posterior in DISCRETE_POSTERIORS | SPHERICAL_POSTERIORS | SIMPLEX | {
        "householder",
        "wrapped-normal",
    } or prior in DISCRETE_PRIORS | SPHERICAL_PRIORS | SIMPLEX | {"logistic-normal"}
    return 2 if two else 1


@contextmanager
def float64() -> Iterator[None]:
    """Inside, what is made without a type is of float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def model_of(
    *,
    encoder: str = "mlp",
    decoder: str = "mlp",
    posterior: str | None = None,
    prior: str | None = None,
    likelihood: str = "bernoulli",
    domain: Domain | None = None,
    event_shape: tuple[int, ...] = (4,),
    latents: Mapping[str, int] | None = None,
    condition: int = 0,
    structure: str | Mapping[str, Any] = "vae",
    condition_units: tuple[Sequence[float], Sequence[float]] = ((), ()),
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] = SMALL,
    parts: Parts = PARTS,
    by: float = 0.3,
) -> VAE:
    """A small model of named parts, built as a run builds it, its weights moved `by` so much off any special values.

    Of a posterior and a prior, one that is not named is the usual one that fits the other.
    """
    if posterior is None:
        usual = {"relaxed-categorical": DISCRETE_PRIORS, "fsq": TOKENS, "von-mises-fisher": SPHERICAL_PRIORS}
        usual |= {"dirichlet": SIMPLEX}
        posterior = next((name for name, own in usual.items() if prior in own), "diagonal-normal")
    if prior is None:
        usual = {
            "uniform-categorical": DISCRETE_POSTERIORS,
            "uniform-tokens": QUANTISED,
            "uniform-sphere": SPHERICAL_POSTERIORS,
            "dirichlet": SIMPLEX,
        }
        prior = next((name for name, own in usual.items() if posterior in own), "standard-normal")

    def part(name: str) -> dict[str, Any]:
        return {"name": name, **options.get(name, {})}

    latent = {"posterior": part(posterior), "prior": part(prior)}
    values = {
        "encoder": part(encoder),
        "decoder": part(decoder),
        "likelihood": part(likelihood),
        "latents": {name: latent | {"size": size} for name, size in (latents or {"z": 2}).items()},
        "condition": condition > 0,
        "structure": structure,
    }
    if structure == "hierarchical":
        for each in list(values["latents"])[1:]:
            values["latents"][each] |= {"encoder": part(encoder), "generator": part(encoder)}
    domain = domain or domain_of(parts.likelihoods[likelihood].domains[0], event_shape)  # type: ignore[attr-defined]
    of_y = dict(zip(("condition_location", "condition_scale"), map(tuple, condition_units), strict=True))
    schema = Schema(event_shape=event_shape, domain=domain, condition=condition, **of_y)
    with float64():
        model = build_model(parse({"model": values}, parts).model, schema, seed, parts)
    return moved(model, seed, by) if by else model


def moved(model: VAE, seed: int = 0, by: float = 0.3) -> VAE:
    with seeded(seed + 1000), torch.no_grad():
        for parameter in model.parameters():
            parameter += by * torch.randn_like(parameter)
    return model


_MLP = {"name": "mlp", **SMALL["mlp"]}
_FLAT = {"encoder": _MLP, "decoder": _MLP, "likelihood": "bernoulli"}
_BETWEEN = {"size": 2, "encoder": _MLP, "generator": _MLP}
_LAYERS = _FLAT | {"latents": {"a": {"size": 2, "prior": "diagonal-normal"}, "b": _BETWEEN}}
STRUCTURES: dict[str, dict[str, Any]] = {
    "vae": _FLAT | {"latents": {"a": {"size": 2, "prior": {"name": "mixture", "components": 3}}, "b": {"size": 1}}},
    "hierarchical": _LAYERS | {"structure": "hierarchical"},
    "ladder": _LAYERS | {"structure": "ladder"},
    "top-down": {
        "structure": {"name": "top-down", "groups": [1, 1]},
        "encoder": {"name": "pyramid", "channels": [3, 4], "blocks": [1, 1]},
        "decoder": {"name": "resnet", "channels": [3], "blocks": 0},
        "likelihood": "bernoulli",
        "latents": {"z": {"size": 2, "maps": True, "prior": "diagonal-normal"}},
    },
    "hamiltonian": _FLAT | {"structure": {"name": "hamiltonian", "steps": 2, "temperature": 2.0}},
    "semi-supervised": _FLAT | {"classifier": _MLP, "latents": {"z": {"size": 2}}},
    "auxiliary": _FLAT | {"classifier": _MLP, "latents": {"z": {"size": 2}}, "auxiliary": _BETWEEN},
}
"""A small model of every structure, by its name, and a semi-supervised one with an auxiliary latent."""


def structured(name: str) -> VAE:
    """The model of a name among `STRUCTURES`."""
    spec, shape = STRUCTURES[name], (1, 4, 4) if name == "top-down" else (4,)
    classes = ("a", "b", "c") if "classifier" in spec else ()
    schema = Schema(event_shape=shape, domain=Domain("binary"), condition=len(classes), classes=classes)
    return moved(build_model(parse({"model": spec}).model, schema))


def rows_for(model: VAE) -> TensorSplit:
    """Six data for such a model."""
    return TensorSplit(data_of(model.domain, (6, *model.event_shape)), None, model.domain, Preprocessing())


def domain_of(kind: str, event_shape: tuple[int, ...] = (4,)) -> Domain:
    """The domain of a kind, for data of that shape."""
    return table_of(event_shape[-1]) if kind == "columns" else DOMAINS[kind]


def data_of(domain: Domain, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Values of `domain`, random."""
    if domain.kind == "columns":
        return torch.stack([data_of(each, shape[:-1], seed + 100 * i) for i, each in enumerate(domain.columns)], -1)
    with seeded(seed):
        u = torch.rand(shape, dtype=torch.float64)
        if domain.kind in ("grey", "categorical"):
            return (u * (domain.levels or 0)).floor()
        if domain.kind == "binary":
            return (u < 0.5).double()
        if domain.kind == "count":
            return (u * 4).floor()
        if domain.kind == "integer":
            return (u * 7).floor() - 4
        if domain.kind == "nonnegative":
            return (u * 4 - 1).clamp(min=0)
        location, scale = (torch.as_tensor(v, dtype=torch.float64) for v in (domain.location, domain.scale))
        return location + scale * (u if domain.kind != "positive" else u + 0.1)


def one_hot(n: int, classes: int) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[torch.arange(n) % classes]


def trace_at(model: VAE, x: Tensor, z: Mapping[str, Tensor], y: Tensor | None = None) -> Trace:
    """The trace of `model` at latents given, put together by hand from the model's parts."""
    features = flat(model.encoder, model.encoder(model.inputs(x), y))
    latents = tuple(Latent(name, z[name], q(features), model.priors[name](y)) for name, q in model.posteriors.items())
    return Trace(Batch(x), model.likelihood(model.decoder(torch.cat(list(z.values()), -1), y)), latents)


def recorded_after(chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have chunks that are scored recorded after so many, whatever there are to come."""
    monkeypatch.setattr(recording, "SOON", chunks)
    monkeypatch.setattr(recording, "WORTHWHILE_WITHOUT", 0)


@dataclass(frozen=True)
class LinearGaussian:
    """x = W z + b + sigma e in units of the domain, z and e standard normal: everything about it is known."""

    weight: Tensor
    bias: Tensor
    sigma: float
    domain: Domain

    @property
    def covariance(self) -> np.ndarray:
        """Of x, in the data's units."""
        scaled = self.weight @ self.weight.T + self.sigma**2 * torch.eye(len(self.bias))
        s = np.asarray(self.domain.scale)
        return scaled.numpy() * np.outer(s, s)

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self.domain.location) + np.asarray(self.domain.scale) * self.bias.numpy()

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Gain G (D, X) and covariance C (D, D): q(z given x) = N(G ((x - location) / scale - b), C)."""
        precision = torch.eye(self.weight.shape[1]) + self.weight.T @ self.weight / self.sigma**2
        covariance = torch.linalg.inv(precision)
        return covariance @ self.weight.T / self.sigma**2, covariance

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), (N,) nats, by SciPy."""
        return torch.as_tensor(multivariate_normal(self.mean, self.covariance).logpdf(x.numpy()))

    def draw(self, n: int, seed: int = 0) -> Tensor:
        return torch.from_numpy(np.random.default_rng(seed).multivariate_normal(self.mean, self.covariance, n))

    def model(self, wrong: float = 0.0) -> VAE:
        """Of vaekit's parts, with the exact posterior; `wrong` moves its mean and its log-scales by so much."""
        size, latent = self.weight.shape
        with float64():
            likelihood = FixedNormal((size,), self.domain, sigma=self.sigma)
            posterior = FullRankNormal(size, latent)
            decoder = MLP((latent,), likelihood.parameter_shape, hidden=())
            encoder = MLP((size,), hidden=())
            model = VAE(encoder, {"z": posterior}, {"z": StandardNormal(latent)}, decoder, likelihood)
        gain, covariance = self.posterior()
        factor = torch.linalg.cholesky(covariance)
        rows, columns = torch.tril_indices(latent, latent, -1)
        with torch.no_grad():
            decoder.layers[0].weight.copy_(self.weight)
            decoder.layers[0].bias.copy_(self.bias)
            posterior.head.weight.copy_(torch.cat([gain, torch.zeros_like(gain)]))
            log_variance = 2 * (factor.diagonal().log() + wrong)
            posterior.head.bias.copy_(torch.cat([-gain @ self.bias + wrong, log_variance]))
            if posterior.relative is not None:
                posterior.relative.weight.zero_()
                own = factor.diagonal() * math.exp(wrong)
                posterior.relative.bias.copy_(factor[rows, columns] / own[rows] / SLOWLY)
        return model


def split_of(model: VAE, x: Tensor) -> TensorSplit:
    """Data x (N, X) as the model sees them."""
    return as_split(Dataset("data", model.domain, {"train": Split(x.numpy())}), "train", model.domain)


def linear_gaussian(size: int = 3, latent: int = 2, sigma: float = 0.7, seed: int = 0) -> LinearGaussian:
    generator = torch.Generator().manual_seed(seed)
    columns = torch.arange(size, dtype=torch.float64)
    domain = Domain("real", location=tuple((columns - 1).tolist()), scale=tuple((0.5 * 2**columns).tolist()))
    weight = torch.randn(size, latent, generator=generator, dtype=torch.float64)
    return LinearGaussian(weight, torch.randn(size, generator=generator, dtype=torch.float64), sigma, domain)


@contextmanager
def refuses(message: str = "") -> Iterator[None]:
    """Inside, a `ValueError` or `TypeError` that has `message` in it is raised, and is one short line."""
    with pytest.raises((ValueError, TypeError), match=re.escape(message) or ".") as caught:
        yield
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def gradient(loss: Tensor, model: torch.nn.Module) -> dict[str, Tensor]:
    """d loss / d parameter of every parameter by name, zeros where there is none."""
    named = dict(model.named_parameters())
    values = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if value is None else value
        for (name, parameter), value in zip(named.items(), values, strict=True)
    }


def standard_errors_apart(a: Tensor, b: Tensor | float) -> Tensor:
    """How many standard errors the mean over the first dimension of `a` is from that of `b`, or from b itself, where
    that is a number or has a dimension less.

    Equal constants are 0 apart.
    """
    variance = a.var(0) / len(a)
    if not isinstance(b, Tensor) or b.dim() < a.dim():
        shift = a.mean(0) - b
    else:
        variance, shift = variance + b.var(0) / len(b), a.mean(0) - b.mean(0)
    # Below rounding error nothing is told apart.
    floor = 1e-12 * (1 + a.abs().amax(0))
    return shift.abs() / torch.maximum(variance.sqrt(), floor)


def scored(trace: Callable[[int], Trace], samples: int, chunk: int) -> Scores:
    """The scores of `samples` draws that `trace` makes, at most `chunk` at a time."""
    with torch.no_grad():
        return score((draws, sums(trace(draws), not i)) for i, draws in enumerate(chunks(samples, chunk)))


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes that torch's allocator had given out at once during `work`, beyond those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    assert any(change > 0 for change in changes)
    return int(np.cumsum(changes).max())
