"""The typed spec of a run: every key with its type and default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..data import Treatment
from ..data.domains import Domain
from ..settings import UNSET, setting, unset

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
