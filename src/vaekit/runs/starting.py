"""A training that begins with the weights of a finished run: of all parts, or of those that are not trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data import Dataset
from ..errors import RunError, shown
from ..models import VAE
from ..settings import key_called, setting
from ..spec.keys import ModelSpec, Schema, Spec
from ..spec.parts import Parts
from ..training.held import parts_of, trained_parts
from ..training.weights import Kind, adopt, load_tensors, model_tensors, set_model_tensors
from .codes import finished, first_difference
from .given import fingerprint_of

KEY = "training.start"


def start_from(model: VAE, spec: Spec | None, schema: Schema, dataset: Dataset, parts: Parts) -> None:
    """Give `model` the weights of the run that `training.start` of `spec` names, if it names one; without a spec it
    stays as it is.

    All of its parts have to be those of that run, as the specs say and as their weights are; but for those that
    `training.only` says are trained, which begin as they are made where they are others. Raises `RunError`, one line,
    where they are not, or where that run has not finished, or was on other data.
    """
    if spec is None or spec.training.start is None:
        return
    folder = Path(spec.training.start)
    below, its = finished(folder, parts, KEY)
    _check_data(folder, below, its, schema, dataset, parts)
    saved = load_tensors(folder / "weights.safetensors")
    adopt(model, saved)
    own = model_tensors(model)
    trained = trained_parts(model, spec.training.only) if spec.training.only else set()
    for name, _ in parts_of(model):
        mine, theirs = (_kinds(each, name) for each in (own, saved))
        other = first_difference(_said(below.model, name), _said(spec.model, name), f"{name}.")
        if mine == theirs and (other is None or name in trained):
            own |= {key: saved[key] for key in mine}
        elif name not in trained:
            what = other or f"its weights are {_differing(theirs, mine)}"
            only = "training.only"
            but = f", or let it be trained: {setting(only, [name])}" if key_called(only) == only else ""
            of = f"{folder}, {key_called(KEY)}"
            raise RunError(f"{name} is to be that of {of}, but is another: {what}; take the same{but}")
    set_model_tensors(model, own)


def _check_data(folder: Path, below: Spec, its: Schema, schema: Schema, dataset: Dataset, parts: Parts) -> None:
    left = {"fingerprint": its.fingerprint, "dialect": its.dialect}  # that of an older run is made in another way
    same = its == schema.model_copy(update=left)
    if same and its.fingerprint != schema.fingerprint:
        same = its.fingerprint == fingerprint_of(below, dataset, parts, its.fingerprint)
    if not same:
        here = f"than {shown(dataset.name)} as they are here, or sees them in another way"
        raise RunError(f"{folder}, the run of {key_called(KEY)}, was trained on other data {here}")


def _kinds(tensors: Mapping[str, Any], part: str) -> dict[str, Kind]:
    return {name: Kind.of(each) for name, each in tensors.items() if name.startswith(f"{part}.")}


def _differing(theirs: Mapping[str, Kind], mine: Mapping[str, Kind]) -> str:
    name = next(each for each in [*mine, *theirs] if mine.get(each) != theirs.get(each))
    return f"{name} of {theirs.get(name, 'none')}, not of {mine.get(name, 'none')}"


def _said(spec: ModelSpec, part: str) -> dict[str, Any]:
    """What the spec says of a part that is called as `training.only` calls it."""
    values, (kind, _, name) = spec.model_dump(mode="json"), part.partition(".")
    latent = values["latents"].get(name, {})
    if kind == "posteriors":
        return {key: latent.get(key) for key in ("size", "maps", "posterior", "encoder")}
    if kind == "priors":
        return {key: latent.get(key) for key in ("size", "maps", "prior")}
    if kind == "auxiliary":
        return {"auxiliary": values["auxiliary"]}
    return {key: values[key] for key in (kind, "condition") if key in values}
