"""A model, an objective, a schedule from a spec."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

from ..data import Dataset, Preprocessing
from ..data.domains import Domain
from ..data.loading import covariate_units
from ..likelihoods import check_domain
from ..models import VAE, Auxiliary, SemiSupervisedVAE
from ..objectives.base import Objective, Sum
from ..schedules import Constant, Schedule
from ..seeding import seeded, stream
from ..settings import setting, unset
from .keys import AuxiliarySpec, ModelSpec, PartSpec, Schema, Spec
from .parts import PARTS, Parts, build


def schema_of(dataset: Dataset, preprocessing: Preprocessing, fingerprint: str = "") -> Schema:
    """What a model must know of `dataset` under `preprocessing`."""
    y = dataset.splits["train"].y
    condition = 0 if y is None else len(dataset.classes) if y.ndim == 1 else y.shape[1]
    location, scale = ((), ()) if y is None or y.ndim == 1 else covariate_units(y)
    if dataset.exposed and y is not None:
        # The last covariate is not moved: means are proportional to it.
        location, scale = (*location[:-1], 0.0), (*scale[:-1], float(y[:, -1].mean(dtype=float)))
    return Schema(
        event_shape=dataset.event_shape,
        domain=preprocessing.domain(dataset.domain),
        stored=dataset.domain,
        condition=condition,
        condition_location=location,
        condition_scale=scale,
        classes=dataset.classes,
        columns=dataset.columns,
        fingerprint=fingerprint,
        exposed=dataset.exposed,
    )


def with_likelihood(spec: Spec, domain: Domain, parts: Parts = PARTS) -> Spec:
    """`spec` with a likelihood that fits `domain`: its own if it is one, else by default the first that does."""
    if spec.model.likelihood is None:
        fitting = [name for name, part in parts.likelihoods.items() if domain.kind in getattr(part, "domains", ())]
        if not fitting:
            other = f"give another domain, {setting('data.domain', '…')}, or bring a likelihood"
            raise ValueError(f"no named likelihood is a density of {domain}; {other}")
        model = spec.model.model_copy(update={"likelihood": PartSpec(name=fitting[0])})
        return spec.model_copy(update={"model": model})
    check_domain(parts.likelihoods, spec.model.likelihood.name, domain)
    return spec


def build_model(spec: ModelSpec, schema: Schema, seed: int = 0, parts: Parts = PARTS, *, older: bool = False) -> VAE:
    """The model that `spec` describes for data of `schema`, its weights drawn from `seed`.

    With `older`, a likelihood that older versions took for a density of such data will do, to be looked at.
    """
    is_density = _check_likelihood(spec, schema, parts, older)
    _check_labels(spec, schema)
    _check_priors(spec, parts)
    with seeded(seed):
        return _Building(spec, schema, parts, is_density).model()


def _check_likelihood(spec: ModelSpec, schema: Schema, parts: Parts, older: bool) -> bool:
    """Whether the likelihood is a density of the data; `ValueError` where it is none, or can't have an exposure."""
    if spec.likelihood is None:
        raise ValueError("model.likelihood is not set; name one of " + ", ".join(parts.likelihoods))
    name = spec.likelihood.name
    is_density = not (older and schema.domain.kind in getattr(parts.likelihoods.get(name), "formerly", ()))
    if is_density:
        check_domain(parts.likelihoods, name, schema.domain)
    if schema.exposed and "exposure" not in inspect.signature(parts.likelihoods[name]).parameters:
        fits = [each for each, part in parts.likelihoods.items() if "exposure" in inspect.signature(part).parameters]
        others = f"choose one of {', '.join(fits)}, or {unset('data.exposure')}"
        raise ValueError(f"likelihood {name!r} has no exposure; {others}")
    return is_density


def _check_labels(spec: ModelSpec, schema: Schema) -> None:
    for key in ("condition", "classifier"):
        if getattr(spec, key) and not schema.condition:
            column = f"name a table's column of them by {setting('data.label', '…')}"
            raise ValueError(f"model.{key} is set, but the data have no labels; {column}, or {unset(f'model.{key}')}")
    if spec.classifier and not schema.classes:
        raise ValueError("model.classifier is set, but the data have covariates, not classes; use model.condition")
    if spec.classifier and schema.exposed:
        raise ValueError(f"model.classifier is set beside data.exposure; {unset('data.exposure')}")


def _check_priors(spec: ModelSpec, parts: Parts) -> None:
    for name, latent in spec.latents.items() if spec.auxiliary else ():
        prior = parts.priors.get(latent.prior.name)
        if prior and "encoder" in inspect.signature(prior).parameters:
            needs = f"{latent.prior.name!r} needs an encoder of x and y alone, which an auxiliary latent changes"
            raise ValueError(f"model.latents.{name}.prior: {needs}; choose another, or {unset('model.auxiliary')}")


@dataclass
class _Building:
    """A model in the making: its parts are drawn from torch's stream in one order, which seeds of runs rest on."""

    spec: ModelSpec
    schema: Schema
    parts: Parts
    is_density: bool

    def __post_init__(self) -> None:
        spec, schema = self.spec, self.schema
        self.condition = schema.condition if spec.condition or spec.classifier or schema.exposed else 0
        self.seen = self.condition - schema.exposed  # by networks and priors
        self.inputs = schema.domain.inputs_shape(schema.event_shape)
        self.auxiliary = spec.auxiliary.size if spec.auxiliary else 0

    def part(self, family: str, given: PartSpec, **context: Any) -> Any:
        """A part by its name, with what the data and the model say."""
        shared = {"event_shape": self.schema.event_shape, "domain": self.schema.domain, "condition": self.seen}
        return build(self.parts, family, given.name, given.options, **shared | context)

    def network(self, given: PartSpec, condition: int, **shapes: Any) -> Any:
        """A network of x, unless its shapes are given."""
        return self.part("encoders", given, condition=condition, **({"in_shape": self.inputs} | shapes))

    def model(self) -> VAE:
        """All parts together."""
        spec, schema = self.spec, self.schema
        likelihood = self.part("likelihoods", spec.likelihood, exposure=schema.exposed)  # type: ignore[arg-type]
        if not self.is_density:
            likelihood.is_density = False
        encoder = self.network(spec.encoder, 0 if spec.condition == "decoder" else self.seen + self.auxiliary)
        features = math.prod(encoder.out_shape)
        posteriors, priors = {}, {}
        for name, latent in spec.latents.items():
            posteriors[name] = self.part("posteriors", latent.posterior, features=features, latent=latent.size)
            own = {"encoder": encoder, "posterior": posteriors[name]}
            priors[name] = self.part("priors", latent.prior, latent=latent.size, **own)
        size = sum(latent.size for latent in spec.latents.values())
        skipping = self.auxiliary if spec.auxiliary and spec.auxiliary.skip else 0
        shapes = {"in_shape": (size,), "out_shape": likelihood.parameter_shape, "condition": self.seen + skipping}
        decoder = self.part("decoders", spec.decoder, **shapes)
        usual = (encoder, posteriors, priors, decoder, likelihood, self.condition)
        if spec.classifier is None:
            units = (schema.condition_location or None, schema.condition_scale or None) if self.condition else ()
            return VAE(*usual, *units)
        classifier = self.network(spec.classifier, self.auxiliary, out_shape=(self.condition,))
        return SemiSupervisedVAE(*usual, classifier, self._auxiliary(size) if spec.auxiliary else None)

    def _auxiliary(self, size: int) -> Auxiliary:
        a: AuxiliarySpec = self.spec.auxiliary  # type: ignore[assignment]
        below = self.network(a.encoder, 0)
        # With the skip p(a) is one of y and z alone: x comes from a.
        given = {"condition": self.condition, "in_shape": (size,)} if a.skip else {"condition": self.condition + size}
        above = self.network(a.generator, **given)
        posterior, prior = (
            self.part("posteriors", each, features=math.prod(net.out_shape), latent=a.size)
            for each, net in ((a.posterior, below), (a.prior, above))
        )
        return Auxiliary(below, posterior, above, prior, a.skip)


def build_objective(spec: Spec, model: VAE, parts: Parts = PARTS) -> Objective:
    """The objective that `spec` names, for `model`, with the terms that are added to it."""
    sizes = {"event_shape": model.event_shape, "domain": model.domain, "condition": model.condition}
    named = [("objectives", spec.objective), *(("terms", term) for term in spec.objective.added.values())]
    with seeded(stream(spec.training.seed, "objective")):  # weights of its own leave the model's as they were
        made = [
            build(parts, family, part.name, part.options, latent=model.latent_size, **sizes) for family, part in named
        ]
    return made[0] if len(made) == 1 else Sum(tuple(made))


def build_schedule(rate: float | PartSpec, parts: Parts = PARTS) -> Schedule:
    """The schedule of a learning rate that is a number or a schedule by name.

    Raises `ValueError` for one without options: those that it has by itself are for weights of the KL, from 0 to 1.
    """
    if isinstance(rate, PartSpec) and not rate.options:
        given = setting("training.learning_rate", {"name": rate.name, "start": 1e-3, "end": 1e-5})
        raise ValueError(f"the learning rate is {rate.name!r}, but not from where to where; such as {given}")
    return build(parts, "schedules", rate.name, rate.options) if isinstance(rate, PartSpec) else Constant(rate)
