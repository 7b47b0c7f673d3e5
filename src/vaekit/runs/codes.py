"""The codes of one run as the data of another: how models are stacked (M1 + M2 of Kingma et al. 2014)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..data import Dataset, Split
from ..data.domains import Domain
from ..data.tensors import partly_labelled, to_device
from ..errors import RunError, shown
from ..modules import evaluating
from ..settings import option
from ..spec.keys import DataSpec, Schema, Spec
from ..spec.parts import PARTS, Parts
from ..spec.recipes import RECIPES
from ..system.progress import working
from .folder import is_run, read_spec

if TYPE_CHECKING:
    from .run import Run

_SPLITS = ("train", "validation", "test")
_OF_TABLES = ("exposure", "layer", "covariates", "columns", "header", "sheet", "encoding")
READING = ("label", "domain", "levels", *_OF_TABLES, "resize", *_SPLITS)
"""The options of data that say how they are read: of codes, those of the run that gives them."""


@torch.no_grad()
def codes_of(run: Run) -> Dataset:
    """The data of `run` as its posteriors: means (N, D), and standard deviations as noise that is added when shown.

    Labels stay. Raises `ValueError` for a posterior without a standard deviation of each dimension (a flow), and for a
    run that is given labels or models them, whose codes leave out what these say.
    """
    model, dataset = run.model, run.dataset
    if model.condition:
        what = "is conditional" if model.conditional else "models labels (model.classifier)"
        raise ValueError(f"{run.path} {what}; data.codes takes a run that is without")
    if not model.apart:
        raise ValueError(f"{run.path} draws latents one from another; data.codes takes a run that draws them apart")
    splits = {}
    with evaluating(model):
        for name, split in dataset.splits.items():
            data = to_device(dataset, name, run.spec.data.preprocessing, model.scale.device)
            posteriors = [model.posterior(model.typed(batch.without_y())).values() for batch in data.blocks()]
            try:
                means, noise = (
                    torch.cat([torch.cat([getattr(q, what) for q in each], -1) for each in posteriors]).cpu().numpy()
                    for what in ("mean", "stddev")
                )
            except NotImplementedError:
                raise ValueError(
                    f"{run.path} has a posterior without standard deviations; data.codes needs them"
                ) from None
            splits[name] = Split(means, split.y, noise, split.origin)
    train = splits["train"]
    means = np.asarray(train.x, np.float64)
    location, variance = means.mean(0), means.var(0)
    if train.noise is not None:
        variance += np.square(train.noise, dtype=np.float64).mean(0)
    scale = np.sqrt(variance)
    domain = Domain("real", location=tuple(location.tolist()), scale=tuple(scale.tolist()))
    columns = tuple(f"{name}.{i}" for name, size in model.sizes.items() for i in range(size))
    return Dataset(
        f"codes of {dataset.name}", domain, splits, dataset.classes, columns, dataset.source, dataset.license
    )


def error_of_codes(run: Run, split: str = "test") -> float:
    """The fraction of `split` that a classifier on the codes of `run` gets wrong, its posterior means (M1).

    The classifier, a support vector machine of scikit-learn with its usual kernel, is trained on the rows that show
    their label, `data.labels` of them.
    """
    from sklearn.svm import SVC

    data, labels = run.spec.data, run.spec.data.labels
    train, y = run.encode("train")
    rows = np.arange(len(train))
    if labels is not None:
        rows = partly_labelled(run.data("train"), labels, 1, len(run.schema.classes), data.seed).labelled.cpu().numpy()
    # Codes are not standardised: dimensions that tell nothing of the data have next to no variance, and are to keep it.
    codes, truth = run.encode(split)
    with working("classifying codes"):
        classifier = SVC(C=10.0).fit(train[rows], y[rows])  # type: ignore[index]
        return float((classifier.predict(codes) != truth).mean())


def runs_below(codes: str | Path, parts: Parts = PARTS) -> list[Path]:
    """The folder of the run that gives `codes`, that of the run whose codes it was trained on, and so on.

    Raises `RunError` where one of them is no run or has not finished, or comes again.
    """
    folders: list[Path] = []
    following: str | Path | None = codes
    while following is not None:
        folder = Path(following).resolve()
        if folder in folders:
            raise RunError(f"{folder} is a run on codes that lead back to itself; name another in data.codes")
        folders.append(folder)
        following = finished(folder, parts)[0].data.codes
    return folders


def fingerprint_of_codes(codes: str | Path, parts: Parts = PARTS) -> str:
    """A SHA-256 of what makes the codes of a run, since their own last bits depend on the machine."""
    made = hashlib.sha256()
    schema = finished(Path(codes), parts)[1]
    made.update((Path(codes) / "weights.safetensors").read_bytes())
    made.update(schema.fingerprint.encode())
    return made.hexdigest()


def on_codes(spec: Spec, parts: Parts = PARTS) -> Spec:
    """`spec`; where its data are the codes of a run in a folder, with what that run's data are and how they are read.

    Raises `ValueError` where the folder has no finished run, and where the spec says otherwise of its data.
    """
    if spec.data.codes is None or spec.data.codes in RECIPES:
        return spec
    return spec.model_copy(update={"data": _read_as_below(spec.data, parts)})


def _read_as_below(data: DataSpec, parts: Parts = PARTS) -> DataSpec:
    folder = Path(data.codes or "").expanduser().resolve()
    if not is_run(folder):
        raise ValueError(f"data.codes is {shown(data.codes)}: neither a run's folder nor a recipe")
    below = finished(folder, parts)[0].data
    for key in ("name", *READING):
        given, its = getattr(data, key), getattr(below, key)
        if key in data.model_fields_set and given not in (None, its):
            of = f"of the run of data.codes, {folder}, it is {shown(its)}"
            raise ValueError(f"data.{key} is {shown(given)}, but {of}; leave it out, or change data.codes")
    its = {key: getattr(below, key) for key in ("name", *READING)}
    return data.model_copy(update={"codes": str(folder), **its})


def check_same_spec(folder: Path, asked: Spec, parts: Parts = PARTS) -> None:
    """Raise `RunError` where the run in `folder` was not made from `asked`, but for what `asked` leaves to the data."""
    there = read_spec(folder, parts)[0]
    batch, most = there.training.batch_size or 0, asked.training.batch_size
    batch_size = batch if most is None or batch < most else most
    left = {"batch_size": batch_size, "device": there.training.device, "log": there.training.log}
    if asked.training.steps is not None:  # as many epochs as its data made of them
        left |= {"steps": None, "epochs": there.training.epochs, "early_stopping": there.training.early_stopping}
    training = asked.training.model_copy(update=left)
    parts_left = {key: getattr(there.model, key) for key in ("encoder", "decoder") if _unsized(asked, there, key)}
    model = asked.model.model_copy(
        update={"likelihood": asked.model.likelihood or there.model.likelihood, **parts_left}
    )
    asked = asked.model_copy(update={"training": training, "model": model})
    other = first_difference(there.model_dump(mode="json"), asked.model_dump(mode="json"))
    if other is not None:
        anew = f"name another folder, or add {option('overwrite')} to make it anew"
        raise RunError(f"{folder} holds another run than is needed: its {other}; {anew}")


def _unsized(asked: Spec, there: Spec, key: str) -> bool:
    """Whether the network that `asked` has as `key` is that of `there`, but for a width that it leaves to the data."""
    mine, its = getattr(asked.model, key), getattr(there.model, key)
    return mine.name == its.name and {**mine.options, "hidden": its.options.get("hidden")} == its.options


def first_difference(there: Mapping[str, Any], asked: Mapping[str, Any], above: str = "") -> str | None:
    """The first key whose values differ, with both; titles, which follow from the rest, come last."""
    for key in sorted(dict.fromkeys([*there, *asked]), key=("title", "source").__contains__):
        mine, its = asked.get(key), there.get(key)
        if isinstance(mine, Mapping) and isinstance(its, Mapping):
            if found := first_difference(its, mine, f"{above}{key}."):
                return found
        elif mine != its:
            return f"{above}{key} is {shown(its)}, not {shown(mine)}"
    return None


def finished(folder: Path, parts: Parts, key: str = "data.codes") -> tuple[Spec, Schema]:
    """Spec and schema of the run in `folder`, which the `key` of another names; `RunError` if it has not finished."""
    found = read_spec(folder, parts)
    if not (folder / "weights.safetensors").exists():
        raise RunError(f"{folder}, the run of {key}, has not finished: go on with it first")
    return found
