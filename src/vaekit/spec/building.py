"""A model, an objective, a schedule from a spec."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..data import Dataset, Preprocessing
from ..data.covariates import covariate_units
from ..data.domains import Domain
from ..errors import MisfitError, shown
from ..likelihoods import check_domain
from ..models import VAE
from ..models.compatibility import check_pair
from ..objectives.base import Objective, Sum
from ..schedules import Constant, Schedule, check_schedule
from ..seeding import seeded, stream
from ..settings import key_called, setting, unset
from .keys import AUXILIARY_FAMILIES, ModelSpec, PartSpec, Schema, Spec
from .parts import PARTS, Parts, build, options


def schema_of(dataset: Dataset, preprocessing: Preprocessing, fingerprint: str = "", *, masked: bool = False) -> Schema:
    """What a model must know of `dataset` under `preprocessing`; `masked` says that cells are hidden in training."""
    y = dataset.splits["train"].y
    condition = 0 if y is None else len(dataset.classes) if y.ndim == 1 else y.shape[1]
    location, scale = ((), ()) if y is None or y.ndim == 1 else covariate_units(y)
    if dataset.exposed and y is not None:
        # The last covariate is not moved: means are proportional to it.
        location, scale = (*location[:-1], 0.0), (*scale[:-1], float(y[:, -1].mean(dtype=float)))
    return Schema(
        event_shape=preprocessing.event_shape(dataset.event_shape),
        domain=replace(preprocessing.domain(dataset.domain), missing=dataset.domain.missing or masked),
        stored=dataset.domain,
        condition=condition,
        condition_location=location,
        condition_scale=scale,
        classes=dataset.classes,
        columns=dataset.columns,
        table=dataset.table,
        fingerprint=fingerprint,
        covariates=dataset.covariates,
        exposed=dataset.exposed,
        dialect=dataset.dialect,
    )


COLOURS = "discretized-logistic-mixture"
"""The likelihood of images of several channels where none is named: those of a pixel hang together."""


def with_likelihood(spec: Spec, domain: Domain, parts: Parts = PARTS, event_shape: tuple[int, ...] = ()) -> Spec:
    """`spec` with a likelihood that fits `domain`: its own if it is one, else by default the first that does, of images
    of several channels that of `COLOURS` if it does.
    """
    if spec.model.likelihood is None:
        fitting = [name for name, part in parts.likelihoods.items() if domain.kind in getattr(part, "domains", ())]
        if len(event_shape) == 3 and event_shape[0] > 1:
            fitting.sort(key=lambda name: name != COLOURS)
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
    structure = spec.kind
    with seeded(seed):
        builder = Builder(spec, schema, parts, is_density)
        model = build(parts, "structures", structure.name, structure.options, builder=builder)
    if not isinstance(model, VAE):
        raise ValueError(f"structure {structure.name!r} gives a {type(model).__name__}; accepted: a vaekit.VAE")
    if unused := builder.unused():
        raise ValueError(f"{unused[0]} is set, but structure {structure.name!r} does not use it; {unset(unused[0])}")
    return model


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
    if schema.exposed and schema.condition > 1 and not spec.condition:
        given = f"{setting('model.condition', True)}, or 'decoder', or {unset('data.covariates')}"
        raise ValueError(f"covariates stand beside the exposure, but model.condition is not set; {given}")
    if spec.classifier and schema.exposed:
        raise ValueError(f"model.classifier is set beside data.exposure; {unset('data.exposure')}")


@dataclass
class Builder:
    """What a structure makes a model with: the spec's parts by their names, with what the data and the model say.

    Weights are drawn from torch's stream in the order in which parts are asked for, which seeds of runs rest on.
    """

    spec: ModelSpec
    schema: Schema
    parts: Parts = PARTS
    is_density: bool = True

    def __post_init__(self) -> None:
        spec, schema = self.spec, self.schema
        self.condition = schema.condition if spec.condition or spec.classifier or schema.exposed else 0
        """C, the size of the condition y, 0 where there is none."""
        self.seen = self.condition - schema.exposed
        """What networks and priors see of it."""
        self.seen_by_encoder = 0 if spec.condition == "decoder" else self.seen
        """What networks of posteriors see of it."""
        self.posteriors: dict[str, Any] = {}
        """The posteriors that are made."""
        self.shapes: dict[str, tuple[int, ...]] = {}
        """The shapes of the latents whose posteriors are made, each (D,) or maps (C, H, W)."""
        self._asked: set[int] = set()
        self.inputs = schema.domain.inputs_shape(schema.event_shape)
        """The shape of what encoders see of a datum."""

    def part(self, family: str, given: PartSpec, **context: Any) -> Any:
        """A part by its name, with what the data and the model say, and with `context` (see `parts.CONTEXT`)."""
        self._asked.add(id(given))
        shared = {"event_shape": self.schema.event_shape, "domain": self.schema.domain, "condition": self.seen}
        return build(self.parts, family, given.name, given.options, **shared | context)

    def network(self, given: PartSpec, condition: int = 0, **shapes: Any) -> Any:
        """A network, named as an encoder: of x, unless its `in_shape` is given; to features, unless its `out_shape` is.

        `condition` is the size of what it gets beside.
        """
        network = self.part("encoders", given, condition=condition, **({"in_shape": self.inputs} | shapes))
        says = getattr(network, "out_shape", None)
        if not isinstance(says, Sequence) or not all(isinstance(each, int) for each in says):
            wanted = "its out_shape, that of what it makes of one datum, such as (64,)"
            raise ValueError(f"the network {given.name!r} has the out_shape {shown(says)}; accepted: {wanted}")
        return network

    def likelihood(self) -> Any:
        """p(x given z)."""
        exposure = self.schema.condition_scale[-1] if self.schema.exposed else 0.0
        likelihood = self.part("likelihoods", self.spec.likelihood, exposure=exposure)  # type: ignore[arg-type]
        if not self.is_density:
            likelihood.is_density = False
        return likelihood

    def encoder(self, beside: int = 0) -> Any:
        """The network from x to features, which gets the condition, if any, and `beside` that so many numbers."""
        return self.network(self.spec.encoder, self.seen_by_encoder + beside)

    @property
    def latent_size(self) -> int:
        """D, of all latents together whose posteriors are made."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def posterior(self, name: str, features: int | Sequence[int], shape: tuple[int, ...] | None = None) -> Any:
        """The posterior of a latent, of so many features, or of features of that shape; of the `shape` given, or that
        which the spec says.
        """
        latent, features = self.spec.latents[name], (features,) if isinstance(features, int) else features
        shape = self.shapes[name] = shape or self._latent_shape(name, features)
        given = {"feature_shape": tuple(features), "latent_shape": shape}
        sizes = {"features": math.prod(features), "latent": math.prod(shape)}
        self.posteriors[name] = self.part("posteriors", latent.posterior, **sizes, **given)
        return self.posteriors[name]

    def _latent_shape(self, name: str, features: Sequence[int]) -> tuple[int, ...]:
        latent = self.spec.latents[name]
        if not latent.maps:
            return (latent.size,)
        if len(features) != 3:
            key = f"model.latents.{name}.maps"
            what = f"{key} is set, but its features are no maps, they have the shape {tuple(features)}"
            raise ValueError(f"{what}; {setting('model.encoder', 'resnet')}, or {unset(key)}")
        return (latent.size, *features[1:])

    def prior(self, name: str, **context: Any) -> Any:
        """The prior of a latent; `condition` is the size of what it is given, where that is not y alone."""
        shape = self.shapes[name]
        posterior, given = self.posteriors[name], self.spec.latents[name].prior
        known = {"latent": math.prod(shape), "latent_shape": shape, "posterior": posterior} | context
        try:
            prior = self.part("priors", given, **known)
            check_pair(name, posterior, prior)
        except MisfitError as error:
            fits = self._priors_for(name, known)
            if not fits:
                raise
            key = f"model.latents.{name}.prior"
            such = setting(key, fits[0] if len(fits[0]) > 1 and key_called(key) == key else fits[0]["name"])
            named = ", ".join(each["name"] for each in fits)
            raise MisfitError(f"{error}; priors that fit: {named} ({such})") from None
        return prior

    def _priors_for(self, name: str, known: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The priors that the posterior of a latent can have, each with what must be set of it."""
        found, posterior = [], self.posteriors[name]
        groups = getattr(posterior, "groups", None)
        for each, factory in self.parts.priors.items():
            own = {"groups": groups} if groups and "groups" in options(factory, "priors") else {}
            with suppress(Exception):  # of a part that wants what is not there
                check_pair(name, posterior, self.part("priors", PartSpec(name=each, **own), **known))
                found.append({"name": each, **own})
        return found

    def decoder(self, likelihood: Any, latents: Sequence[str] = (), beside: int = 0) -> Any:
        """The network from these latents, or all, to the likelihood's parameters; `beside` as of `encoder`.

        One latent of maps it is given as maps, several as vectors side by side.
        """
        sizes = [self.shapes[name] for name in latents or self.shapes]
        shape = sizes[0] if len(sizes) == 1 else (sum(map(math.prod, sizes)),)
        shapes = {"in_shape": shape, "out_shape": likelihood.parameter_shape}
        own = [self.posteriors[name] for name in latents or self.shapes]
        space = getattr(own[0], "space", None) if len(own) == 1 else None
        return self.part("decoders", self.spec.decoder, **shapes, space=space, condition=self.seen + beside)

    def usual(self, encoder: int = 0, decoder: int = 0) -> dict[str, Any]:
        """The parts of a `VAE` whose latents are drawn apart, by the names of its arguments, and the size of its
        condition; `encoder` and `decoder` are so many numbers that these get beside it.
        """
        likelihood, network = self.likelihood(), self.encoder(encoder)
        posteriors, priors = {}, {}
        for name in self.spec.latents:
            posteriors[name] = self.posterior(name, network.out_shape)
            priors[name] = self.prior(name, encoder=network, posterior=posteriors[name])
        parts = {"encoder": network, "posteriors": posteriors, "priors": priors, "likelihood": likelihood}
        return parts | {"decoder": self.decoder(likelihood, beside=decoder), "condition": self.condition}

    @property
    def units(self) -> dict[str, Any]:
        """Location and scale of covariates, by the names of a model's arguments."""
        location, scale = self.schema.condition_location or None, self.schema.condition_scale or None
        return {"condition_location": location, "condition_scale": scale} if self.condition else {}

    def unused(self) -> list[str]:
        """The keys of the spec that are set, but have not been asked for."""
        spec = self.spec
        parts = {"model.classifier": [spec.classifier]}
        parts["model.auxiliary"] = [getattr(spec.auxiliary, key, None) for key in AUXILIARY_FAMILIES]
        for name, latent in spec.latents.items():
            parts |= {f"model.latents.{name}.{key}": [getattr(latent, key)] for key in ("encoder", "generator")}
        return [key for key, own in parts.items() if any(own) and not self._asked & set(map(id, own))]


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

    Raises `ValueError` for one of vaekit's without options: those that it has by itself are for weights of the KL, from
    0 to 1. One of the user's own is taken as it is.
    """
    if not isinstance(rate, PartSpec):
        return Constant(rate)
    if not rate.options and rate.name in PARTS.schedules:
        takes, lacks = {"start": 1e-3, "end": 1e-5}, "from where to where"
        if rate.name == "constant":
            takes, lacks = {"value": 1e-3}, "how much"
        given = setting("training.learning_rate", {"name": rate.name, **takes})
        raise ValueError(f"the learning rate is {rate.name!r}, but not {lacks}; such as {given}")
    schedule: Schedule = build(parts, "schedules", rate.name, rate.options)
    check_schedule(f"schedule {rate.name!r}", schedule)
    return schedule
