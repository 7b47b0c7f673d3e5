"""The typed spec of a run: every key with its type and default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..data import Preprocessing
from ..data.columns import Column
from ..data.covariates import Covariate
from ..data.domains import Domain
from ..data.exposure import TOTAL
from ..data.sniffing import PLAIN, Dialect
from ..settings import UNSET, setting, unset

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Side = Annotated[int, Field(ge=1, le=100_000)]


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


class ObjectiveSpec(PartSpec):
    """An objective by name, with its options beside it, and terms that are added to it."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    terms: dict[str, dict[str, Any]] = Field(default={}, examples=[{"classification": {"weight": 50.0}}])
    """Terms that are added, by name, each with its options."""

    @property
    def added(self) -> dict[str, PartSpec]:
        """The terms as parts."""
        return {name: PartSpec.model_validate({"name": name, **options}) for name, options in self.terms.items()}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

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
    """Which data, and what is done to them before they are shown to a model."""

    name: str = "digits"
    """A dataset by name, or the path of a file or folder."""
    label: str | None = Field(default=None, examples=["kind"])
    """The column of a table that has the labels."""
    domain: str | None = Field(default=None, examples=["count"])
    """What kind of values the data have, where that is not what they look like."""
    levels: Annotated[int, Field(ge=2)] | None = Field(default=None, examples=[256])
    """How many levels grey or categorical data have."""
    exposure: str | None = Field(default=None, examples=["total"])
    """The column of a table, or of obs, that counts are proportional to: an exposure, a library size; or "total"."""
    layer: str | None = Field(default=None, examples=["counts"])
    """Of cells, the layer that has the counts, where X has not."""
    covariates: dict[str, str] = Field(default={}, examples=[{"batch": "categorical"}])
    """Columns of a table, or of obs, that a model is given and does not model, each "categorical" or "real"."""
    columns: dict[str, str] = Field(default={}, examples=[{"age": "positive"}])
    """Of a table, the kinds of columns by name, where they are not what they look like; "none" leaves one out."""
    header: bool | Annotated[int, Field(ge=1)] | None = Field(default=None, examples=[3])
    """Whether the first line of a table's file has the names of its columns, where that can't be seen; or which line
    has, where there are others above it.
    """
    sheet: str | None = Field(default=None, examples=["Sheet1"])
    """The sheet of a workbook that is the table, where it is not the first that is not empty."""
    encoding: str | None = Field(default=None, examples=["cp1251"])
    """How the letters of a table's text are encoded, where it is no UTF-8: a name that Python has."""
    resize: Side | tuple[Side, Side] | None = Field(default=None, examples=[32, [32, 48]])
    """What the images of a folder are brought to: the side of a square, which is the middle of each once its shorter
    side is so long, or [height, width] of all of it.
    """
    crop: Side | tuple[Side, Side] | None = Field(default=None, examples=[28, [28, 40]])
    """The part of an image that is shown, a side or [height, width]: another one each time in training, the middle
    everywhere else.
    """
    flip: bool = False
    """Whether training shows one half of the images, others each time, mirrored left to right."""
    mask: Annotated[float, Field(ge=0, le=1)] = Field(default=0.0, examples=[0.5])
    """The most of a row's cells that training takes as not observed, so that encoders learn to do without; each row a
    part drawn between 0 and this.
    """
    train: Annotated[int, Field(ge=1)] | None = Field(default=None, examples=[1000])
    """Training rows; all that are left where it is not set."""
    validation: Annotated[int, Field(ge=0)] | None = Field(default=None, examples=[100])
    """Rows held out for validation, taken from the training rows where the data have none of their own."""
    test: Annotated[int, Field(ge=0)] | None = Field(default=None, examples=[100])
    """Rows held out for the test, likewise."""
    labels: Annotated[int, Field(ge=1)] | None = Field(default=None, examples=[100])
    """How many of the training labels are seen, by a model that has a classifier."""
    codes: str | None = Field(default=None, examples=["runs/first"])
    """The folder of a run, or a recipe that is trained on the data first, whose codes of the data are the data; other
    keys than `labels` and `seed` then say how the data of that run are read.
    """
    binarize: Literal["static", "stochastic", "threshold", "grey"] | None = None
    """How grey levels become 0 and 1: drawn once, drawn each time, by one half; or scored as probabilities, which is no
    likelihood.
    """
    dequantize: bool = False
    """Whether uniform noise makes real numbers of grey levels."""
    seed: Seed = 0
    """Seed of what is held out, of which labels are seen, and of what is drawn of the data."""

    @model_validator(mode="after")
    def _codes_are_as_they_are(self) -> DataSpec:
        pixels = ("binarize", "dequantize", "crop", "flip")
        if self.codes is not None and (key := next((each for each in pixels if getattr(self, each)), None)):
            raise ValueError(f"{key} is set beside codes, which are real numbers; {unset(f'data.{key}')} takes it back")
        return self

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.binarize, self.dequantize, self.seed, self.crop, self.flip)

    def of(self, name: str) -> DataSpec:
        """Other data, treated in the same way: label, domain and numbers of rows were those of the old. That they are
        taken for real numbers, or for counts given their total, is a treatment, which any such numbers can have.
        """
        return DataSpec(
            name=name,
            domain=self.domain if self.domain in ("real", "count") else None,
            exposure=self.exposure if self.exposure == TOTAL else None,
            codes=self.codes,
            labels=self.labels,
            resize=self.resize,
            crop=self.crop,
            flip=self.flip,
            mask=self.mask,
            binarize=self.binarize,
            dequantize=self.dequantize,
            seed=self.seed,
        )


class LatentSpec(_Strict):
    """One named latent."""

    size: Annotated[int, Field(ge=1, le=100_000)] = 16
    """Its dimensions; of a categorical one its categories, of all groups together."""
    maps: bool = False
    """Whether it is maps, `size` of them, of the height and width of the features, which are maps too."""
    posterior: PartSpec = PartSpec(name="diagonal-normal")
    """q(z given x)."""
    prior: PartSpec = PartSpec(name="standard-normal")
    """p(z), p(z given y); in a hierarchy, of all but the last latent, p(z given the next)."""
    encoder: PartSpec | None = None
    """In a hierarchy, of all but the first latent, the network from the latent before it to the features of its
    posterior; mlp where it is not set.
    """
    generator: PartSpec | None = None
    """The network from it to what the prior of the latent before it is given, named as an encoder; likewise."""


class AuxiliarySpec(_Strict):
    """An auxiliary latent a, which makes the posteriors of z and y mixtures (Maaløe et al. 2016)."""

    size: Annotated[int, Field(ge=1, le=100_000)] = 16
    """Its dimensions."""
    encoder: PartSpec = PartSpec(name="mlp")
    """The network of q(a given x)."""
    posterior: PartSpec = PartSpec(name="diagonal-normal")
    """q(a given x)."""
    generator: PartSpec = PartSpec(name="mlp")
    """The network of p(a given x, y, z), or with `skip` p(a given y, z); named as an encoder."""
    prior: PartSpec = PartSpec(name="diagonal-normal")
    """p(a given …), named as a posterior."""
    skip: bool = False
    """Whether the decoder sees a too."""


AUXILIARY_FAMILIES = {"encoder": "encoders", "generator": "encoders", "posterior": "posteriors", "prior": "posteriors"}


class ModelSpec(_Strict):
    """The parts of a VAE."""

    structure: PartSpec | None = Field(default=None, examples=["hierarchical"])
    """How the parts are put together; where it is not set, semi-supervised with a classifier, else vae."""
    encoder: PartSpec = PartSpec(name="mlp")
    """The network from data to the features that posteriors are made of."""
    decoder: PartSpec = PartSpec(name="mlp")
    """The network from latents to the parameters of the likelihood."""
    likelihood: PartSpec | None = Field(default=None, examples=["bernoulli"])
    """p(x given z); where it is not set, the first one named that is a density of the data."""
    latents: Annotated[dict[str, LatentSpec], Field(min_length=1)] = Field(
        default={"z": LatentSpec()}, examples=[{"z": {"size": 16}}]
    )
    """The latents by name, in their order."""
    condition: bool | Literal["decoder"] = False
    """Whether the parts are given the data's labels or covariates: true all of them, "decoder" all but the encoder."""
    classifier: PartSpec | None = Field(default=None, examples=["mlp"])
    """A network, named as an encoder, of q(y given x): labels are then part of what is modelled, summed out where they
    are not seen.
    """
    auxiliary: AuxiliarySpec | None = None
    """An auxiliary latent, of a model with a classifier."""

    @model_validator(mode="after")
    def _labels_are_given_or_modelled(self) -> ModelSpec:
        if self.classifier and self.condition:
            one = f"{unset('model.classifier')} or {unset('model.condition')}"
            raise ValueError(f"classifier and condition are both set: labels are modelled, or given; {one}")
        if self.auxiliary and not self.classifier and not self.structure:
            classifier = setting("model.classifier", "mlp")
            raise ValueError(f"auxiliary is set without a classifier, which it is there for; give {classifier}")
        return self

    @property
    def kind(self) -> PartSpec:
        """Its structure, also where that is not set."""
        return self.structure or PartSpec(name="semi-supervised" if self.classifier else "vae")


class AggressiveSpec(_Strict):
    """How inference is trained ahead of the model (He et al. 2019)."""

    steps: Annotated[int, Field(ge=1)] = 10
    """Steps of the weights of inference alone, q(z given x), before each one of all others alone."""
    until: Annotated[float, Field(gt=0, le=1)] = 0.2
    """The part of the run after which all steps are of all weights."""


class TrainingSpec(_Strict):
    """How to train."""

    epochs: Annotated[int, Field(ge=1)] = 20
    """Passes over the training rows."""
    steps: Annotated[int, Field(ge=1)] | None = Field(default=None, examples=[1000])
    """As many epochs as make so many steps, in place of `epochs`; from 1 to 2,000 of them."""
    batch_size: Annotated[int, Field(ge=1)] | None = Field(default=None, examples=[128])
    """Rows of a step; where it is not set 128, of a table a fiftieth of its rows as a power of two from 32 to 1,024; or
    all where there are fewer.
    """
    accumulate: Annotated[int, Field(ge=1)] = 1
    """In how many parts of equal size a batch is computed, one after another, whose gradients are added up: the same
    step in that part of the memory.
    """
    labelled: Annotated[int, Field(ge=1)] = 64
    """The rows of a batch that show their label, where `data.labels` of them are seen."""
    optimizer: PartSpec = PartSpec(name="adam")
    """What makes steps of gradients."""
    learning_rate: Annotated[float, Field(gt=0)] | PartSpec = 1e-3
    """A number, or a schedule by name."""
    clip: Annotated[float, Field(gt=0)] | None = Field(default=None, examples=[1.0])
    """The norm that all gradients together are cut to, where theirs is more."""
    skip: Annotated[float, Field(gt=0)] | None = Field(default=None, examples=[400.0])
    """The norm from which on a step is left out, as one whose gradients are no numbers is; very deep models have a few.
    What part of the steps it was is among the terms, in which a loss that is no number counts as the one before. Each
    step waits for the device to know.
    """
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(default=None, examples=[0.999])
    """The decay of averaged weights, which are then those of the run."""
    shard_parameters: bool = False
    """Whether each of several processes holds a share of the weights, their gradients and what is kept of them, in
    place of all: for models that one device does not hold.
    """
    early_stopping: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, examples=[5, 0.3]
    )
    """Epochs without a better validation loss after which a training ends, with its best weights; or that part of all
    epochs, where rows are held out for validation.
    """
    mean_pass: bool = False
    """Whether to measure after each epoch also what the posterior's mean in place of draws gives."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between saved states."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Minutes after which a state is saved within an epoch that takes longer."""
    seed: Seed = 0
    """Seed of the weights, of the order of rows, and of what is drawn."""
    device: str = "auto"
    """cpu, cuda, cuda:N, mps or auto."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in; distributions always have the type of the weights."""
    engine: Literal["auto", "python", "replay", "inductor"] = "auto"
    """How steps are made: as Python, replayed from a recording, or compiled by torch's Inductor; auto is what pays. The
    environment's `VAEKIT_ENGINE` wins.
    """
    start: str | None = Field(default=None, examples=["runs/first"])
    """The folder of a finished run on the same data whose weights it begins with. Parts that are others there begin as
    they are made, where `only` says that they are trained.
    """
    only: tuple[str, ...] = Field(default=(), examples=[["priors"]])
    """The parts that are trained, such as priors or priors.z; all others stay as they are, bit for bit. Where it is not
    set, all are trained.
    """
    aggressive: AggressiveSpec | None = Field(default=None, examples=[{"steps": 10, "until": 0.2}])
    """At first, most steps are of the weights of inference alone, so that it does not lag behind the model, which else
    learns to do without its codes.
    """
    log: tuple[PartSpec, ...] = ()
    """Where else what is measured after each epoch is logged, by name, with the pictures of `pictures.every_epoch`. No
    bit of a run depends on it.
    """


class PicturesSpec(_Strict):
    """Pictures by name."""

    report: tuple[PartSpec, ...] = Field(default=(), examples=[["samples"]])
    """Those that a report has beside its usual ones."""
    every_epoch: tuple[PartSpec, ...] = Field(default=(), examples=[["samples"]])
    """Those that are drawn while it trains."""
    every: Annotated[int, Field(ge=1)] = 1
    """After how many epochs each time."""


class Spec(_Strict):
    """A whole run: data, model, objective, training, pictures."""

    title: str = ""
    """What it is, in a line."""
    source: str = ""
    """Who published it."""
    meant_for: Literal["images", "tables", "cells", "documents"] | None = Field(default=None, examples=["images"])
    """What kind of data it is for, so that data of another kind that it can't take are refused by what it is for."""
    parts: str = ""
    """The file of parts of one's own that it was made with, and the name in it; set by `--parts`, which has to be given
    again: no code is run because a folder says so.
    """
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    objective: ObjectiveSpec = ObjectiveSpec(name="elbo")
    """What is maximised."""
    training: TrainingSpec = TrainingSpec()
    pictures: PicturesSpec = PicturesSpec()


class Schema(_Strict):
    """What a model must know of its data, saved with the run so that it loads without them.

    `condition_location` and `condition_scale` bring covariates to order one, as the domain's do x, where there are any.
    """

    event_shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    domain: Domain
    stored: Domain | None = None
    condition: Annotated[int, Field(ge=0)] = 0
    condition_location: tuple[float, ...] = ()
    condition_scale: tuple[Annotated[float, Field(gt=0)], ...] = ()
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    table: tuple[Column, ...] = ()
    fingerprint: str = ""
    covariates: tuple[Covariate, ...] = ()
    exposed: bool = False
    dialect: Dialect = PLAIN

    @property
    def of_files(self) -> Domain:
        """The domain of the data before preprocessing; of runs from before that was kept, after it."""
        return self.stored or self.domain

    @property
    def typed_columns(self) -> tuple[Column, ...]:
        """What the columns of a table are: real numbers where that is not known."""
        return self.table or tuple(Column(name, "real") for name in self.columns)

    @property
    def is_older_table(self) -> bool:
        """Whether it is of a table from before its columns had kinds: all are numbers alike."""
        return bool(self.columns) and not self.table

    @model_validator(mode="after")
    def _columns_fit(self) -> Schema:
        for values in (self.domain.location, self.domain.scale):
            if isinstance(values, tuple) and len(values) != self.event_shape[-1]:
                raise ValueError(f"the domain has {len(values)} columns, event_shape {self.event_shape[-1]}")
        for each in (self.domain.columns, self.table):
            if each and len(each) != self.event_shape[-1]:
                raise ValueError(f"there are {len(each)} columns, but event_shape is {self.event_shape[-1]}")
        for values in (self.condition_location, self.condition_scale):
            if values and len(values) != self.condition:
                raise ValueError(f"covariates have {len(values)} scales, but there are {self.condition} of them")
        return self
