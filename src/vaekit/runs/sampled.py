"""Samples of a run beside its data, by nearest neighbours in features that are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..data.tensors import TensorSplit
from ..distributions.moments import center
from ..errors import number_of, unknown
from ..evaluation.features import Features
from ..evaluation.images import MEANS, SAMPLES
from ..evaluation.neighbours import FEWEST, Fidelity, fidelity, memorised
from ..evaluation.sampled import Beside, Sampled
from ..models import VAE
from ..models.given import unchecked
from ..modules import evaluating
from ..seeding import chosen, stream
from ..settings import option
from ..system.progress import working
from .given import NEW
from .imaging import image_features, images, others, parts_of, samples

if TYPE_CHECKING:
    from .run import Data, Run

PRDC, MEMORISED = "prdc", "memorised"
KINDS = (PRDC, MEMORISED)
FEATURES = ("inputs", "codes", "pixels", "classes", "inception")
OF_IMAGES = ("pixels", "classes", "inception")
METRICS = tuple(f"{kind}-{name}" for kind in KINDS for name in FEATURES)
"""Precision, recall, density and coverage (prdc), and distances to training data, each in features of that name."""
TRAIN, NUMBERS = 100_000, 1 << 27
"""Training data, and numbers of their features, at most, to which distances are taken."""
Weights = Mapping[str, str | Path]


def check(run: Run, metrics: Sequence[str], weights: Weights, splits: Mapping[str, TensorSplit], n: int) -> None:
    """What `sampled` needs, before anything is computed: `ValueError`, one line, for what these data, this model or
    these files do not allow.
    """
    if bad := [name for name in metrics if name not in METRICS]:
        raise ValueError(unknown("metric", bad[0], METRICS))
    if n < FEWEST:
        raise ValueError(f"n is {n}; accepted: {FEWEST} or more for {metrics[0]}")
    for name in metrics:
        _check_features(run, name, name.partition("-")[2], weights)
    for split, data in splits.items():
        if (many := len(data.possible(split))) < FEWEST:
            raise ValueError(
                f"{split} has {number_of(many, 'datum', 'data')}; {metrics[0]} is of {FEWEST} at least; leave it out, "
                "or give more of them"
            )
        if data.observed is not None and not bool(data.observed.all()):
            _refuse_holes(split, metrics)
    if apart := [name for name in metrics if name.startswith(MEMORISED)]:
        refuse_training_data(run, splits, apart[0])


def _refuse_holes(split: str, metrics: Sequence[str]) -> None:
    """`ValueError` for the first metric of data with holes whose features are not codes, which a model has of what is
    observed.
    """
    if others := [name for name in metrics if name.partition("-")[2] != "codes"]:
        instead = others[0].replace(others[0].partition("-")[2], "codes")
        what = f"data of {split} lack cells, so that distances are not known"
        raise ValueError(f"{what}; in place of {others[0]} there is {instead}, of what is observed")


def refuse_training_data(run: Run, splits: Mapping[str, TensorSplit], metric: str) -> None:
    """`ValueError` where a metric that compares training data with others is asked of them alone."""
    if "train" in splits:
        other = "hold some out (data.test)" if run.held_out == "train" else f"give {option('split', run.held_out)}"
        raise ValueError(f"{metric} compares training data with others; {other}")


def _check_features(run: Run, metric: str, features: str, weights: Weights) -> None:
    shape, domain = run.model.event_shape, run.model.domain
    instead = f"without them there is {metric.replace(features, 'inputs')}"
    if features == "codes" and run.model.condition:
        raise ValueError(f"{metric} is of codes, which this model has of data and y; {instead}")
    if features in OF_IMAGES and (len(shape) != 3 or domain.kind == "categorical"):
        raise ValueError(f"{metric} is of images (C, H, W), the data are {domain} of shape {shape}; {instead}")
    if features == "classes" and not run.schema.classes:
        raise ValueError(f"{metric} needs data with class labels; {instead}")
    if features == "inception":
        file = option("weights", "inception=FILE")
        if "inception" not in weights or not Path(weights["inception"]).is_file():
            raise ValueError(f"{metric} needs weights, a file of yours that is there: {file}; {instead}")
        if shape[0] not in (1, 3) or domain.limits is None:
            raise ValueError(f"{metric} is of images of 1 or 3 channels between two ends, not of {domain}, {shape}")


@torch.no_grad()
def sampled(
    run: Run,
    split: str | Data = "test",
    metrics: str | Sequence[str] = ("prdc-inputs",),
    *,
    weights: Weights | None = None,
    n: int = 10_000,
    seed: int = 0,
) -> Sampled:
    """The `metrics` of as many samples of a run as there are data of a split, or new ones: at most `n`, by `seed`.

    prdc-FEATURES      precision, recall, density and coverage (`evaluation.neighbours.fidelity`): of samples, of means
                       of p(x given z), and of as many other data of the run, which is what perfect samples would have
    memorised-FEATURES distances to the training data (`evaluation.neighbours.memorised`), of samples and means

    FEATURES are inputs (data as an encoder sees them, scaled), codes (the model's own, posterior means), for images
    pixels and classes (`evaluation.features`, learned from training images) and inception (with `weights` of it, a
    file). The same each time for one seed. Raises `ValueError` as `check` does; `RunError` where the run's data are not
    there.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", tempfile.mkdtemp() + "/run", epochs=1)
    >>> found = sampled(run, "test", "prdc-codes", n=100)
    >>> [each.of for each in found.sets], found.sets[0].features
    (['samples', 'means of samples', 'train'], 'codes of the model, posterior means')
    """
    names = [each.strip() for each in metrics.split(",")] if isinstance(metrics, str) else list(metrics)
    name, data = split if isinstance(split, str) else NEW, run.data(split)
    check(run, names, weights or {}, {name: data}, n)
    rows, found, many = _rows(data, n, seed), [], 0
    wanted = list(dict.fromkeys(each.partition("-")[2] for each in names))
    with working("samples beside data", len(wanted)) as step:
        for number, features in enumerate(wanted):
            how = _features(run, features, weights or {}, seed)
            own = _seen(how, _given(features, data, rows))
            sets = {SAMPLES: samples(run, data, rows, True, seed), MEANS: samples(run, data, rows, False, seed)}
            seen = {of: _seen(how, _given(features, data, rows, made)) for of, made in sets.items()}
            known = None
            if f"{MEMORISED}-{features}" in names:
                known = _seen(how, _given(features, train := run.data("train"), _training_rows(train, how.size, seed)))
                many = len(known)
            place = stream(seed, "neighbours")
            for of, made in seen.items():
                lie = fidelity(own, made, place) if f"{PRDC}-{features}" in names else None
                near = memorised(known, own, made, place) if known is not None else None
                found.append(Beside(of, features, how.what, lie, near))
            if f"{PRDC}-{features}" in names and (other := others(run, name)) is not None:
                perfect = _of_others(how, features, own, other[1], seed)
                found += [] if perfect is None else [Beside(other[0], features, how.what, perfect)]
            step(number + 1)
    return Sampled(name, len(rows), many, tuple(found))


@torch.no_grad()
def codes_of(run: Run, data: TensorSplit, n: int, seed: int) -> np.ndarray:
    """Posterior means (N, D) of at most n data, chosen by the seed, of those without a cell that can't be."""
    rows = _rows(data, n, seed)
    parts = (run.model.asked(data.rows(part)) for part in parts_of(data, rows))
    return np.concatenate([run.model.encode(part).double().cpu().numpy() for part in parts])


def _of_others(how: Features, name: str, own: Tensor, data: TensorSplit, seed: int) -> Fidelity | None:
    """What as many other data have; None where there are fewer."""
    if len(data) < len(own):
        return None
    return fidelity(own, _seen(how, _given(name, data, chosen(len(data), len(own), seed))), stream(seed, "neighbours"))


def _rows(data: TensorSplit, n: int, seed: int) -> np.ndarray:
    """At most n of the rows without a cell that its column can't have."""
    possible = data.possible()
    return possible[chosen(len(possible), n, seed)]


def _training_rows(train: TensorSplit, size: int, seed: int) -> np.ndarray:
    return chosen(len(train), max(FEWEST, min(TRAIN, NUMBERS // size)), seed)


def _seen(how: Features, blocks: Iterable[Tensor]) -> Tensor:
    return torch.cat([how.of(each).cpu() for each in blocks])


def _given(
    features: str, data: TensorSplit, rows: np.ndarray, made: Iterable[Tensor] | None = None
) -> Iterator[Tensor]:
    """What features of that name are of, of `rows` of data, or as many that are `made` in their place. Codes know what
    is not observed, as NaN: of what is made the same cells, since codes of less are others.
    """
    found = images(data, rows) if made is None else made
    if features != "codes" or data.observed is None:
        yield from found
        return
    for x, part in zip(found, parts_of(data, rows), strict=True):
        observed = data.rows(part).observed
        yield x if observed is None else torch.where(observed, x, torch.nan)


def _codes(model: VAE, x: Tensor) -> Tensor:
    """Posterior means (N, D) of x (N, *event), NaN where it is not observed. x may be means, and so no data, of which a
    pixel is a level.
    """
    with evaluating(model):
        batch = unchecked(model, x.to(model.scale.device), None)
        return model.side_by_side(model.infer(batch, lambda _, q: center(q)))


def _features(run: Run, name: str, weights: Weights, seed: int) -> Features:
    """The features of that name."""
    model = run.model
    if name == "inputs":
        size = int(np.prod(model.inputs.shape))
        what = f"{size:,} numbers of a datum, scaled as encoders see them"
        return Features(what, size, lambda x: model.inputs(x.to(model.scale.device)).flatten(1))
    if name == "codes":
        return Features("codes of the model, posterior means", model.latent_size, lambda x: _codes(model, x))
    return image_features(run, [name], weights, seed)[name]
