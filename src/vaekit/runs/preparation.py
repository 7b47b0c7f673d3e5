"""What a training takes, made from a spec and its data, and checked before anything is written."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from ..data import Dataset
from ..data.tensors import TensorSplit, partly_labelled, to_device
from ..models import VAE
from ..models.given import chooses_data, refuse_unscored
from ..settings import setting, unset
from ..spec.building import build_model, build_objective, with_likelihood
from ..spec.keys import PartSpec, Schema, Spec
from ..spec.parts import Parts
from ..spec.saving import from_json, to_json
from ..system.devices import resolve_device
from ..system.memory import check_memory
from ..system.processes import join
from ..training.sharding import check_sharding
from ..training.task import BATCH_SIZE, Task, planned
from ..training.weights import Kind, model_tensors
from .restoring import check_outline, rebuilt
from .starting import start_from

FEW_ROWS = 1000
"""Training rows of a table below which the scales of a column's numbers are the same for all rows: a network that may
choose them learns by heart which rows are narrow. With one for all, breast cancer's 455 rows have 1.2 nats less a
held-out row, the mean of three seeds; 1,100 rows of banknotes and 1,279 of wine have none, nor has the census table.
"""


def completed(spec: Spec, schema: Schema, dataset: Dataset, parts: Parts, capped: bool) -> Spec:
    """`spec` with what it leaves to the data: a likelihood, of a table the width of its networks and whether a column's
    scales are the same for all rows, a batch of no more than there is, also its own if `capped`, and the epochs that
    make its steps.
    """
    rows = len(dataset.splits["train"])
    spec, asked = with_likelihood(spec, schema.domain, parts, schema.event_shape), spec.training
    if schema.table:
        spec = _sized(spec, table_width(rows), rows < FEW_ROWS)
    if asked.batch_size is None or capped:
        batch = asked.batch_size or (table_batch(rows) if schema.table else BATCH_SIZE)
        asked = asked.model_copy(update={"batch_size": min(batch, rows)})
    return spec.model_copy(update={"training": planned(asked, rows, "valid" in dataset.splits)})


def _sized(spec: Spec, width: int, few: bool) -> Spec:
    """`spec` with the layers of an encoder and a decoder that are an mlp, where it does not say how wide they are, and
    of `few` rows with scales that are the same for all, where it does not say whether they are.
    """
    found, likelihood = {}, spec.model.likelihood
    if few and likelihood is not None and likelihood.name == "columns" and "global_scale" not in likelihood.options:
        options = {"name": "columns", **likelihood.options, "global_scale": True}
        found["likelihood"] = PartSpec.model_validate(options)
    for family in ("encoder", "decoder"):
        part = getattr(spec.model, family)
        if part.name == "mlp" and "hidden" not in part.options:
            found[family] = PartSpec.model_validate({"name": "mlp", **part.options, "hidden": [width, width]})
    return spec.model_copy(update={"model": spec.model.model_copy(update=found)}) if found else spec


def table_width(rows: int) -> int:
    """The width of the two layers of a network of a table of so many rows: more than these tell apart are learned by
    heart, and more than 128 tell no more apart (the census table: twice as many have the same NLL).

    >>> [table_width(rows) for rows in (100, 569, 26_000, 10**6)]
    [16, 32, 128, 128]
    """
    return min(max(2 ** round(math.log2(1.5 * math.sqrt(rows))), 16), 128)


def table_batch(rows: int) -> int:
    """The rows of a step of a table of so many.

    >>> [table_batch(rows) for rows in (100, 26_000, 10**6)]
    [32, 256, 1024]
    """
    return min(max(2 ** round(math.log2(rows / 100)), 32), 1024)


@dataclass(frozen=True)
class Ready:
    """What is trained, and the held-out data with their labels, which the model may not see, if there are any."""

    task: Task
    labelled: TensorSplit | None


def make_ready(spec: Spec, schema: Schema, dataset: Dataset, parts: Parts, *, begins: bool = True) -> Ready:
    """All that a training of `spec` takes, which `begins`, or goes on from a saved state; `ValueError` where its parts
    or its labels do not fit together.
    """
    device = resolve_device(spec.training.device)
    _check_memory(spec, schema, parts, device)
    model = build_model(spec.model, schema, spec.training.seed, parts)
    start_from(model, spec if begins else None, schema, dataset, parts)
    _check_loads(model, spec, schema, parts)
    for name in (name for name, each in dataset.splits.items() if chooses_data(model, each.observed is not None)):
        for batch in to_device(dataset, name, spec.data.preprocessing, model.scale.device).blocks():
            refuse_unscored(model, batch.x, batch.observed, f"{dataset.name}, split {name},")
    split = "test" if spec.data.validation == 0 and "valid" not in dataset.splits else "valid"
    train_data = replace(to_device(dataset, "train", spec.data.preprocessing, device), mask=spec.data.mask)
    labelled = to_device(dataset, split, spec.data.preprocessing, device) if split in dataset.splits else None
    held_out = labelled
    if spec.data.labels is not None and spec.model.condition:
        one = f"{unset('data.labels')} or {unset('model.condition')}"
        raise ValueError(f"data.labels is {spec.data.labels}, but model.condition gives the model all; {one}")
    if model.classifies and spec.training.mean_pass:
        what = "training.mean_pass is for models without a classifier, whose posteriors are of x"
        raise ValueError(f"{what}; {unset('training.mean_pass')}")
    if not model.apart and spec.training.mean_pass:
        what = "training.mean_pass is for models whose latents are drawn apart, so that their KL needs no draw"
        raise ValueError(f"{what}; {unset('training.mean_pass')}")
    if model.classifies or spec.data.labels is not None:
        labels = len(train_data) if spec.data.labels is None else spec.data.labels
        first = min(spec.training.labelled, labels)
        partly = partly_labelled(train_data, labels, first, len(schema.classes), spec.data.seed)
        if model.classifies and labels < len(train_data):
            if first >= (spec.training.batch_size or 0):
                raise ValueError(f"training.labelled is {first}; accepted: 1 to {(spec.training.batch_size or 1) - 1}")
            train_data = partly
        if model.classifies:
            held_out = replace(labelled, y=None) if labelled is not None else None
    objective = build_objective(spec, model, parts)
    return Ready(Task(model, train_data, held_out, objective, spec.training, split, parts), labelled)


def check_sharded(spec: Spec, parts: Parts) -> None:
    """`ValueError` where `spec` shards its weights, and that can't be, by what is known before its data are read."""
    named = [parts.objectives.get(spec.objective.name), *map(parts.terms.get, spec.objective.terms)]
    check_sharding(spec.training, join().count, named)


def _check_memory(spec: Spec, schema: Schema, parts: Parts, device: torch.device) -> None:
    """`ValueError` where the weights of `spec` and what an optimiser keeps of them take more memory than there is."""
    with suppress(ArithmeticError, RuntimeError, TypeError), torch.device("meta"):  # some parts can't be made so
        weights = sum(each.numel() for each in build_model(spec.model, schema, parts=parts).parameters())
        # Themselves, their gradients and the two averages of Adam; and averaged ones, and the best.
        copies: float = 4 + bool(spec.training.ema) + bool(spec.training.early_stopping)
        if spec.training.shard_parameters:  # its share of them and all weights, with all gradients of a few rows before
            copies = max(2, 1 + copies / join().count)
        advice = "take smaller layers"
        if len(schema.event_shape) == 3:
            conv = f"{setting('model.encoder', 'conv')} {setting('model.decoder', 'conv')}"
            advice += f" or images, or networks of fewer weights: {conv}"
        what = f"{weights:,} weights, their gradients and what the optimiser keeps of them"
        check_memory(int(4 * weights * copies), what, advice, device)


def _check_loads(model: VAE, spec: Spec, schema: Schema, parts: Parts) -> None:
    """`ValueError` unless what will be saved of `model` can be loaded: its spec once it is read again, and its weights
    in the model that is made of that.
    """
    text = to_json(spec, schema)
    read = from_json(text, parts)
    if to_json(*read) != text:
        raise ValueError("the spec is another once it is saved and read; give its options as numbers, texts and lists")
    kinds = {name: Kind.of(tensor) for name, tensor in model_tensors(model).items()}
    if not check_outline(*read, kinds, "the weights", parts):
        rebuilt(*read, kinds, "the weights", "the spec", parts)
