"""The spec of a run: everything needed to build it again, typed, checked, and saved as JSON."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .datasets import Dataset, Treatment
from .datasets.loading import covariate_units
from .distributions import seeded
from .domains import Domain
from .errors import said, shown, unknown
from .likelihoods import check_domain
from .models import VAE, Auxiliary, SemiSupervisedVAE
from .objectives import Objective
from .parts import PARTS, Parts, build, check
from .schedules import Constant, Schedule
from .settings import UNSET, assign, setting, unset, without_unset

FORMAT = 1
"""The version of the saved form, raised when a change makes older files unreadable."""
SUM = "sha256"
"""The key of the saved form's sum."""


Seed = Annotated[int, Field(ge=0, lt=2**63)]


class PartSpec(BaseModel):
    """A part by name, with its options beside it; a bare string is a name with no options."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _default_names(cls, values: Any) -> Any:
        """Options alone mean those of the default part: objective = { beta = 4 } is the ELBO's."""
        if not isinstance(values, Mapping):
            return values
        named = {key: value for key, value in values.items() if value is not UNSET or key not in cls.model_fields}
        for key, field in cls.model_fields.items():
            if isinstance(field.default, PartSpec) and isinstance(named.get(key), Mapping):
                named[key] = {"name": field.default.name} | dict(named[key])
        return named


_Model = TypeVar("_Model", bound=_Strict)


class DataSpec(_Strict):
    """Which data, and what is done to them before they are shown to a model.

    `train`, `validation` and `test` are numbers of rows, as `vaekit.load_dataset` takes them. `labels` is how many of
    the training labels are seen, by a model that has a classifier. With `codes`, a run's folder, or a recipe that is
    trained on the data first, the data are the codes that it gives them; other options than `labels` and `seed` then
    say how the data of that run are read.
    """

    name: str = "digits"
    label: str | None = None
    domain: str | None = None
    levels: Annotated[int, Field(ge=2)] | None = None
    exposure: str | None = None
    train: Annotated[int, Field(ge=1)] | None = None
    validation: Annotated[int, Field(ge=0)] | None = None
    test: Annotated[int, Field(ge=0)] | None = None
    labels: Annotated[int, Field(ge=1)] | None = None
    codes: str | None = None
    binarize: Literal["static", "stochastic", "threshold", "grey"] | None = None
    dequantize: bool = False
    seed: Seed = 0

    @model_validator(mode="after")
    def _codes_are_as_they_are(self) -> DataSpec:
        if self.codes is not None and (self.binarize or self.dequantize):
            key = "binarize" if self.binarize else "dequantize"
            raise ValueError(f"{key} is set beside codes, which are real numbers; {unset(f'data.{key}')} takes it back")
        return self

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.binarize, self.dequantize, self.seed)

    def of(self, name: str) -> DataSpec:
        """Other data, treated in the same way: label, domain and numbers of rows were those of the old."""
        return DataSpec(
            name=name,
            codes=self.codes,
            labels=self.labels,
            binarize=self.binarize,
            dequantize=self.dequantize,
            seed=self.seed,
        )


class LatentSpec(_Strict):
    """One named latent."""

    size: Annotated[int, Field(ge=1, le=100_000)] = 16
    posterior: PartSpec = PartSpec(name="diagonal-normal")
    prior: PartSpec = PartSpec(name="standard-normal")


class AuxiliarySpec(_Strict):
    """An auxiliary latent a: q(a given x) by `encoder` and `posterior`, p(a given …) by `generator` and `prior`.

    With `skip`, the decoder sees a too, and p(a given y, z) does not see x.
    """

    size: Annotated[int, Field(ge=1, le=100_000)] = 16
    encoder: PartSpec = PartSpec(name="mlp")
    posterior: PartSpec = PartSpec(name="diagonal-normal")
    generator: PartSpec = PartSpec(name="mlp")
    prior: PartSpec = PartSpec(name="diagonal-normal")
    skip: bool = False


AUXILIARY_FAMILIES = {"encoder": "encoders", "generator": "encoders", "posterior": "posteriors", "prior": "posteriors"}


class ModelSpec(_Strict):
    """The parts of a VAE. `condition` conditions them on the data's labels or covariates: true all of them, "decoder"
    all but the encoder.

    With a `classifier` (a network, named as an encoder) labels are part of what is modelled, summed out where they are
    not seen; only then may there be an `auxiliary` latent. Without a likelihood, it is the first one named that is a
    density of the data.
    """

    encoder: PartSpec = PartSpec(name="mlp")
    decoder: PartSpec = PartSpec(name="mlp")
    likelihood: PartSpec | None = None
    latents: Annotated[dict[str, LatentSpec], Field(min_length=1)] = {"z": LatentSpec()}
    condition: bool | Literal["decoder"] = False
    classifier: PartSpec | None = None
    auxiliary: AuxiliarySpec | None = None

    @model_validator(mode="after")
    def _labels_are_given_or_modelled(self) -> ModelSpec:
        if self.classifier and self.condition:
            one = f"{unset('model.classifier')} or {unset('model.condition')}"
            raise ValueError(f"classifier and condition are both set: labels are modelled, or given; {one}")
        if self.auxiliary and not self.classifier:
            classifier = setting("model.classifier", "mlp")
            raise ValueError(f"auxiliary is set without a classifier, which it is there for; give {classifier}")
        return self


class TrainingSpec(_Strict):
    """How to train. `early_stopping`: epochs without a better validation loss; `ema`: decay of averaged weights.

    `labelled`: the rows of a batch that show their label, where `data.labels` of them are seen. `mean_pass`: whether to
    measure after each epoch also what the posterior's mean in place of draws gives, on training rows and held-out ones.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] | None = None
    labelled: Annotated[int, Field(ge=1)] = 64
    optimizer: PartSpec = PartSpec(name="adam")
    learning_rate: Annotated[float, Field(gt=0)] | PartSpec = 1e-3
    clip: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    mean_pass: bool = False
    checkpoint_every: Annotated[int, Field(ge=1)] = 1
    seed: Seed = 0
    device: str = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"


class PicturesSpec(_Strict):
    """Pictures by name: those that a report has beside its usual ones, and those that are drawn while training, after
    each `every` epochs.
    """

    report: tuple[PartSpec, ...] = ()
    every_epoch: tuple[PartSpec, ...] = ()
    every: Annotated[int, Field(ge=1)] = 1


class Spec(_Strict):
    """A whole run: data, model, objective, training; `title` and `source` say what it is and who published it."""

    title: str = ""
    source: str = ""
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    objective: PartSpec = PartSpec(name="elbo")
    training: TrainingSpec = TrainingSpec()
    pictures: PicturesSpec = PicturesSpec()


class Schema(_Strict):
    """What a model must know of its data, saved with the run so that it loads without them.

    `condition_location` and `condition_scale` bring covariates to order one, as the domain's do x; without them they
    are taken as they are. `stored` is the domain of the data before their treatment, None in runs from before it was
    kept.
    """

    event_shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    domain: Domain
    stored: Domain | None = None
    condition: Annotated[int, Field(ge=0)] = 0
    condition_location: tuple[float, ...] = ()
    condition_scale: tuple[Annotated[float, Field(gt=0)], ...] = ()
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    fingerprint: str = ""
    exposed: bool = False

    @model_validator(mode="after")
    def _columns_fit(self) -> Schema:
        for values in (self.domain.location, self.domain.scale):
            if isinstance(values, tuple) and len(values) != self.event_shape[-1]:
                raise ValueError(f"the domain has {len(values)} columns, event_shape {self.event_shape[-1]}")
        for values in (self.condition_location, self.condition_scale):
            if values and len(values) != self.condition:
                raise ValueError(f"covariates have {len(values)} scales, but there are {self.condition} of them")
        return self


def parse(values: Mapping[str, Any], parts: Parts = PARTS) -> Spec:
    """A spec from nested tables, as TOML gives them; `ValueError`, one line, for what in them is not understood."""
    spec = _validated(Spec, values, "spec")
    for key, part, family in _named(spec):
        check(parts, family, part.name, part.options, key)
    known = without_unset(values)
    return spec if known == values else _validated(Spec, known, "spec")


def training_options(values: Mapping[str, Any]) -> TrainingSpec:
    """The options of a training from their names and values; `ValueError`, one line, for what is not understood."""
    return _validated(TrainingSpec, values, "training")


def parse_toml(text: str, sets: Iterable[str] = (), parts: Parts = PARTS) -> Spec:
    """A spec from TOML, changed by `sets` of the form "a.b=c", where c is a TOML value, numbers with commas between, or
    else a string; none takes back what was set.

    >>> parse_toml("[training]\\nepochs = 3", ["training.seed=7", "model.latents.z.prior=vamp"]).training.seed
    7
    """
    values = tables(text)
    for each in sets:
        assign(values, each)
    return parse(values, parts)


def tables(text: str) -> dict[str, Any]:
    """What TOML says, as nested tables; `ValueError`, one line, where it is none."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {error}") from None


def changed(spec: Spec, sets: Iterable[str], parts: Parts = PARTS) -> Spec:
    """`spec` with the changes of `sets`, as in `parse_toml`."""
    values = spec.model_dump()
    values["data"] = spec.data.model_dump(exclude_unset=True)  # what is not said may be that of the run of data.codes
    for each in sets:
        assign(values, each)
    return parse(values, parts)


def options_from(sets: Iterable[str]) -> dict[str, Any]:
    """The options of a part from `sets` of the form "n=100", as in `parse_toml`."""
    values: dict[str, Any] = {}
    for each in sets:
        assign(values, each)
    return values


def _named(spec: Spec) -> Iterator[tuple[str, PartSpec, str]]:
    """Every part that is named: its key in the spec ("" of one in a list), itself, and its family."""
    model = spec.model
    yield from [("model.encoder", model.encoder, "encoders"), ("model.decoder", model.decoder, "decoders")]
    if model.likelihood:
        yield "model.likelihood", model.likelihood, "likelihoods"
    if model.classifier:
        yield "model.classifier", model.classifier, "encoders"
    if model.auxiliary:
        for name, family in AUXILIARY_FAMILIES.items():
            yield f"model.auxiliary.{name}", getattr(model.auxiliary, name), family
    for name, latent in model.latents.items():
        yield f"model.latents.{name}.posterior", latent.posterior, "posteriors"
        yield f"model.latents.{name}.prior", latent.prior, "priors"
    yield "objective", spec.objective, "objectives"
    yield "training.optimizer", spec.training.optimizer, "optimizers"
    if isinstance(spec.training.learning_rate, PartSpec):
        yield "training.learning_rate", spec.training.learning_rate, "schedules"
    yield from (("", picture, "pictures") for picture in (*spec.pictures.report, *spec.pictures.every_epoch))


def schema_of(dataset: Dataset, treatment: Treatment, fingerprint: str = "") -> Schema:
    """What a model must know of `dataset` under `treatment`."""
    y = dataset.splits["train"].y
    condition = 0 if y is None else len(dataset.classes) if y.ndim == 1 else y.shape[1]
    location, scale = ((), ()) if y is None or y.ndim == 1 else covariate_units(y)
    if dataset.exposed and y is not None:
        # The last covariate is not moved: means are proportional to it.
        location, scale = (*location[:-1], 0.0), (*scale[:-1], float(y[:, -1].mean(dtype=float)))
    return Schema(
        event_shape=dataset.event_shape,
        domain=treatment.domain(dataset.domain),
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
    if spec.likelihood is None:
        raise ValueError("model.likelihood is not set; name one of " + ", ".join(parts.likelihoods))
    formerly = getattr(parts.likelihoods.get(spec.likelihood.name), "formerly", ())
    is_density = not (older and schema.domain.kind in formerly)
    if is_density:
        check_domain(parts.likelihoods, spec.likelihood.name, schema.domain)
    for key in ("condition", "classifier"):
        if getattr(spec, key) and not schema.condition:
            column = f"name a table's column of them by {setting('data.label', '…')}"
            raise ValueError(f"model.{key} is set, but the data have no labels; {column}, or {unset(f'model.{key}')}")
    for name, latent in spec.latents.items() if spec.auxiliary else ():
        prior = parts.priors.get(latent.prior.name)
        if prior and "encoder" in inspect.signature(prior).parameters:
            needs = f"{latent.prior.name!r} needs an encoder of x and y alone, which an auxiliary latent changes"
            raise ValueError(f"model.latents.{name}.prior: {needs}; choose another, or {unset('model.auxiliary')}")
    if spec.classifier and not schema.classes:
        raise ValueError("model.classifier is set, but the data have covariates, not classes; use model.condition")
    modelled = spec.classifier is not None
    if schema.exposed and modelled:
        raise ValueError(f"model.classifier is set beside data.exposure; {unset('data.exposure')}")
    condition = schema.condition if spec.condition or modelled or schema.exposed else 0
    seen = condition - schema.exposed  # by networks and priors
    takes = inspect.signature(parts.likelihoods[spec.likelihood.name]).parameters
    if schema.exposed and "exposure" not in takes:
        fits = [name for name, part in parts.likelihoods.items() if "exposure" in inspect.signature(part).parameters]
        raise ValueError(
            f"likelihood {spec.likelihood.name!r} has no exposure; choose one of {', '.join(fits)}, "
            f"or {unset('data.exposure')}"
        )
    auxiliary = spec.auxiliary.size if spec.auxiliary else 0

    def part(family: str, given: PartSpec, **context: Any) -> Any:
        shared = {"event_shape": schema.event_shape, "domain": schema.domain, "condition": seen}
        return build(parts, family, given.name, given.options, **shared | context)

    def network(given: PartSpec, condition: int, **shapes: Any) -> Any:
        return part("encoders", given, condition=condition, **({"in_shape": schema.event_shape} | shapes))

    with seeded(seed):
        likelihood = part("likelihoods", spec.likelihood, exposure=schema.exposed)
        if not is_density:
            likelihood.is_density = False
        encoder = network(spec.encoder, 0 if spec.condition == "decoder" else seen + auxiliary)
        features = math.prod(encoder.out_shape)
        posteriors, priors = {}, {}
        for name, latent in spec.latents.items():
            posteriors[name] = part("posteriors", latent.posterior, features=features, latent=latent.size)
            own = {"encoder": encoder, "posterior": posteriors[name]}
            priors[name] = part("priors", latent.prior, latent=latent.size, **own)
        size = sum(latent.size for latent in spec.latents.values())
        skipping = auxiliary if spec.auxiliary and spec.auxiliary.skip else 0
        shapes = {"in_shape": (size,), "out_shape": likelihood.parameter_shape, "condition": seen + skipping}
        decoder = part("decoders", spec.decoder, **shapes)
        if spec.classifier is None:
            units = (schema.condition_location or None, schema.condition_scale or None) if condition else ()
            return VAE(encoder, posteriors, priors, decoder, likelihood, condition, *units)
        classifier = network(spec.classifier, auxiliary, out_shape=(condition,))
        extra = None
        if spec.auxiliary:
            a = spec.auxiliary
            below = network(a.encoder, 0)
            # With the skip p(a) is one of y and z alone: x comes from a.
            given = {"condition": condition, "in_shape": (size,)} if a.skip else {"condition": condition + size}
            above = network(a.generator, **given)
            posterior, prior = (
                part("posteriors", each, features=math.prod(net.out_shape), latent=auxiliary)
                for each, net in ((a.posterior, below), (a.prior, above))
            )
            extra = Auxiliary(below, posterior, above, prior, a.skip)
        return SemiSupervisedVAE(encoder, posteriors, priors, decoder, likelihood, condition, classifier, extra)


def build_objective(spec: Spec, parts: Parts = PARTS) -> Objective:
    """The objective that `spec` names."""
    return build(parts, "objectives", spec.objective.name, spec.objective.options)


def build_schedule(rate: float | PartSpec, parts: Parts = PARTS) -> Schedule:
    """The schedule of a learning rate that is a number or a schedule by name."""
    return build(parts, "schedules", rate.name, rate.options) if isinstance(rate, PartSpec) else Constant(rate)


def to_json(spec: Spec, schema: Schema) -> str:
    """The saved form of a run's description, with the sum of what it says."""
    values = {"format": FORMAT, "spec": spec.model_dump(mode="json"), "schema": schema.model_dump(mode="json")}
    return json.dumps({SUM: _sum(values)} | values, indent=2) + "\n"


def from_json(text: str, parts: Parts = PARTS) -> tuple[Spec, Schema]:
    """Spec and schema from their saved form; `ValueError`, one line, for anything else, and where its sum is not its.

    Without a sum, as in the first version, it is taken as it is.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from None
    except (ValueError, RecursionError):  # numbers of thousands of digits, lists thousands deep
        raise ValueError("not valid JSON: a number is too long, or something too deep") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT or isinstance(values["format"], bool):
        given = shown(values.get("format")) if isinstance(values, dict) else f"of a {type(values).__name__}"
        raise ValueError(f"format is {given}; accepted: {FORMAT}, as this version of vaekit writes it")
    written = values.pop(SUM, None)
    if others := [key for key in values if key not in ("format", "spec", "schema")]:
        raise ValueError(unknown("key", others[0], (SUM, "format", "spec", "schema")))
    found = parse(values.get("spec", {}), parts), _validated(Schema, values.get("schema", {}), "schema")
    if written is not None and written != _sum(values):
        raise ValueError(f"it was damaged or edited: restore it; or delete its line {SUM!r}, and it counts as it is")
    return found


def _sum(values: Mapping[str, Any]) -> str:
    """A SHA-256 of what is said, however it is laid out."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _validated(model: type[_Model], values: Any, what: str) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = _given(first["loc"], values)
        if first["type"] == "extra_forbidden":
            *above, key = path
            table = f"key of {_where(what, above)}:" if above else f"{what} key"
            raise ValueError(unknown(table, key, _keys(model, above))) from None
        where = _where(what, path)
        if first["type"] == "missing":
            raise ValueError(f"{where} is missing") from None
        raise ValueError(f"{where} is {shown(first['input'])}: {said(first)}") from None


def _given(location: Iterable[str | int], values: Any) -> list[str]:
    """Those steps of a location that are in what was given, or lack there: not the name of one of the types that would
    do, which pydantic puts among them.
    """
    path = []
    for key in location:
        if isinstance(key, int) and isinstance(values, list | tuple):
            values = values[key]
        elif isinstance(key, str) and isinstance(values, Mapping):
            values = values.get(key)
        else:
            break
        path.append(str(key))
    return path


def _where(what: str, path: list[str]) -> str:
    joined = ".".join(path)
    return f"{what} {joined if joined.isprintable() else shown(joined)}" if path else what


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys that `model` accepts at `path`; none where that leads into a table of free names."""
    for key in path:
        inner = model.model_fields[key].annotation if key in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return list(LatentSpec.model_fields) if "latents" in path else []
        model = inner
    return list(model.model_fields)
