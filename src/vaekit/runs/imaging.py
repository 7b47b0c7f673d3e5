"""Images of a run by which it is judged: data with their reconstructions, samples, other data; some at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..data.tensors import TensorSplit
from ..errors import RunError
from ..evaluation.features import Features, class_features, pixel_features
from ..networks.inception import FEATURES, InceptionFeatures
from ..networks.weights import tensors_of
from ..objectives.images import of_order_one
from ..seeding import chosen, stream
from ..settings import option

if TYPE_CHECKING:
    from .run import Run

BATCH = 32
"""Images that a network of somebody else's takes at a time."""
LEARNED, NUMBERS = 10_000, 1 << 27
"""Images, and numbers in them, at most, that features are learned from."""


def pairs(run: Run, data: TensorSplit, rows: np.ndarray) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """The images x (B, *event) at `rows`, their reconstructions, which are the means of p(x given z) at posterior
    means, and which cells are observed (None for all): where one is not, x is what is reconstructed.
    """
    for part in parts_of(data, rows):
        batch = data.rows(part)
        made = run.model.reconstruct(batch)
        x = batch.x.to(made.dtype)
        yield x if batch.observed is None else torch.where(batch.observed, x, made), made, batch.observed


def images(data: TensorSplit, rows: np.ndarray) -> Iterator[Tensor]:
    """The images x (B, *event) at `rows`."""
    for part in parts_of(data, rows):
        yield data.rows(part).x


def samples(run: Run, data: TensorSplit, rows: np.ndarray, draw: bool, seed: int) -> Iterator[Tensor]:
    """As many samples of the model: draws of x, or without `draw` means of p(x given z). A model that is conditioned is
    given the y of `rows`, or where these have none the classes in turn.
    """
    for number, part in enumerate(parts_of(data, rows)):
        y = None
        if run.model.condition:
            y = run.conditions(len(part)) if data.y is None else data.rows(part).y
        yield run.model.sample(len(part), y, draw, seed=stream(seed, "samples", number))


def others(run: Run, split: str) -> tuple[str, TensorSplit] | None:
    """Data of the run other than `split`, by name: those of training, or where they are that, those it held out; None
    where there are none.
    """
    try:
        name = run.held_out if split == "train" else "train"
        return None if name == split else (name, run.data(name))
    except RunError:  # they are not there
        return None


def learned_from(run: Run, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (N, *event) of training, chosen by `seed`, and their y; `RunError` where the run's data are not there."""
    data = run.data("train")
    rows = chosen(len(data), min(LEARNED, max(1000, NUMBERS // data.x[:1].numel())), seed)
    found = torch.cat([each.cpu() for each in images(data, rows)]).numpy()
    return found, None if data.y is None else data.y.cpu().numpy()[rows]


def image_features(run: Run, names: Collection[str], weights: Mapping[str, Any], seed: int) -> dict[str, Features]:
    """The features of images of these names: pixels, and classes where there are labels, are learned from images of
    training, chosen by `seed`; those of inception are read from the file in `weights`.
    """
    found: dict[str, Features] = {}
    if "inception" in names:
        found["inception"] = inception_features(run, str(weights["inception"]))
    if "pixels" in names or "classes" in names:
        (train, y), place = learned_from(run, seed), stream(seed, "features") % 2**32
        if "pixels" in names:
            found["pixels"] = pixel_features(train, place)
        if "classes" in names and y is not None:
            found["classes"] = class_features(train, y, place)
    return found


@torch.no_grad()
def inception_features(run: Run, path: str) -> Features:
    """Those of Inception-v3, whose weights are in a file, of images (N, C, H, W) in the run's units, C 1 or 3;
    `ValueError` for other files.
    """
    tensors = tensors_of(path, "Inception-v3", option("weights", "inception=FILE"))
    network, domain = InceptionFeatures(tensors).to(run.model.scale.device), run.model.domain

    def of(given: Tensor) -> Tensor:
        parts = of_order_one(domain, given).float().expand(-1, 3, -1, -1).split(BATCH)
        return torch.cat([network(part) for part in parts])

    return Features(f"{FEATURES:,} features of Inception-v3", FEATURES, of)


def parts_of(data: TensorSplit, rows: np.ndarray) -> list[np.ndarray]:
    """The numbers of rows of data, a block of them at a time."""
    return [rows[start : start + data.block_rows] for start in range(0, len(rows), data.block_rows)]
