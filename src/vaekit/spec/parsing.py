"""Specs from tables, TOML and settings, checked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import shown, unknown, wrong_kind
from ..settings import BARE, assign, without_unset
from .accepted import inner, keys_of, refused
from .keys import AUXILIARY_FAMILIES, PartSpec, Spec, TrainingSpec, _Strict
from .parts import PARTS, Parts, check
from .recipes import extended

_Model = TypeVar("_Model", bound=_Strict)


def parse(values: Mapping[str, Any], parts: Parts = PARTS) -> Spec:
    """A spec from nested tables, as TOML gives them; `ValueError`, one line, for what in them is not understood."""
    spec = validated(Spec, values, "spec")
    for key, part, family in _named(spec):
        check(parts, family, part.name, part.options, key)
    known = without_unset(values)
    return spec if known == values else validated(Spec, known, "spec")


def training_options(values: Mapping[str, Any]) -> TrainingSpec:
    """The options of a training from their names and values; `ValueError`, one line, for what is not understood."""
    return validated(TrainingSpec, values, "training")


def tables(text: str) -> dict[str, Any]:
    """What TOML says, with what it extends, as nested tables; `ValueError`, one line, where it is none."""
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {error}") from None
    return extended(values)


def texts_of(sets: object) -> list[str]:
    """The settings that are given, one text or several; `TypeError` for anything else.

    >>> texts_of("training.epochs=5"), texts_of(("training.epochs=5", "training.seed=1"))
    (['training.epochs=5'], ['training.epochs=5', 'training.seed=1'])
    """
    several = isinstance(sets, Iterable) and not isinstance(sets, (str, Mapping))
    found: list[Any] = list(sets) if several else [sets]  # type: ignore[call-overload]
    if not all(isinstance(each, str) for each in found):
        raise wrong_kind("sets", sets, "texts such as ['training.epochs=5', 'objective.beta=2']")
    return found


def assign_all(values: dict[str, Any], sets: Iterable[str]) -> None:
    """Put into a spec's nested tables what `sets` of the form "a.b=c" say, where c is a TOML value, numbers with commas
    between, or else a string; none takes back what was set. Epochs that are asked for stand, whatever `steps` there
    are.

    >>> values = {"training": {"epochs": 3}}
    >>> assign_all(values, ["training.seed=7", "model.latents.z.prior=vamp"])
    >>> parse(values).training.seed
    7
    """
    for each in sets:
        assign(values, each)
        if each.partition("=")[0].strip() == "training.epochs":
            values["training"].pop("steps", None)


def changed(spec: Spec, sets: Iterable[str], parts: Parts = PARTS) -> Spec:
    """`spec` with the changes of `sets`, as `assign_all` has them."""
    values = spec.model_dump()
    values["data"] = spec.data.model_dump(exclude_unset=True)  # what is not said may be that of the run of data.codes
    assign_all(values, sets)
    return parse(values, parts)


def options_from(sets: Iterable[str]) -> dict[str, Any]:
    """The options of a part from `sets` of the form "n=100", as `assign_all` has them."""
    values: dict[str, Any] = {}
    for each in sets:
        assign(values, each)
    return values


def _named(spec: Spec) -> Iterator[tuple[str, PartSpec, str]]:
    """Every part of the model and the training that is named: its key in the spec, itself, and its family."""
    model = spec.model
    yield "model.structure", model.kind, "structures"
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
        for key in ("encoder", "generator"):
            if part := getattr(latent, key):
                yield f"model.latents.{name}.{key}", part, "encoders"
    yield "objective", spec.objective, "objectives"
    for name, term in spec.objective.added.items():
        yield f"objective.terms.{name}", term, "terms"
    yield "training.optimizer", spec.training.optimizer, "optimizers"
    if isinstance(spec.training.learning_rate, PartSpec):
        yield "training.learning_rate", spec.training.learning_rate, "schedules"


def validated(model: type[_Model], values: Any, what: str) -> _Model:
    """`values` as a `model` of pydantic's, called `what`; `ValueError`, one line, for the first that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path, value = _given(first["loc"], values)
        names = [str(key) for key in path]
        if first["type"] == "extra_forbidden":
            *above, last = path
            table = f"key of {_where(what, names[:-1])}:" if above else f"{what} key"
            raise ValueError(unknown(table, last, keys_of(_at(model, above)[0]))) from None
        where = _where(what, names)
        if first["type"] == "missing":
            raise ValueError(f"{where} is missing") from None
        key = ".".join(names) if what != "schema" and all(map(BARE.fullmatch, names)) else ""
        raise refused(where, key, value, *_at(model, path), error) from None


def _given(location: Iterable[str | int], values: Any) -> tuple[list[str | int], Any]:
    """Those steps of a location that are in what was given, or lack there, and what is there: not the name of one of
    the types that would do, which pydantic puts among them.
    """
    path: list[str | int] = []
    for key in location:
        if isinstance(key, int) and isinstance(values, list | tuple):
            values = values[key]
        elif isinstance(key, str) and isinstance(values, Mapping):
            values = values.get(key)
        else:
            break
        path.append(key)
    return path, values


def _at(model: type[BaseModel], path: Iterable[str | int]) -> tuple[Any, Any]:
    """The type of what is at `path`, and its default."""
    found: tuple[Any, Any] = model, None
    for key in path:
        found = inner(found[0], key)
    return found


def _where(what: str, path: list[str]) -> str:
    joined = ".".join(path)
    return f"{what} {joined if joined.isprintable() else shown(joined)}" if path else what
