"""Training what a spec says on data that are at hand, without a run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..data import Dataset
from ..models import VAE
from ..seeding import plain_tensors
from ..settings import standing
from ..spec.building import schema_of
from ..spec.keys import Schema, Spec
from ..spec.parts import PARTS, Parts
from ..training.loop import optimize
from ..training.records import Epoch
from .preparation import completed, make_ready


@dataclass(frozen=True)
class Trained:
    """A trained model, with all that describes it: what a run folder holds."""

    spec: Spec
    schema: Schema
    model: VAE
    epochs: int
    """How many were taken, which early stopping may end before all."""


@standing("spec")
@plain_tensors()
def train_in_memory(
    spec: Spec,
    dataset: Dataset,
    parts: Parts = PARTS,
    on_epoch: Callable[[list[Epoch]], None] = lambda records: None,
) -> Trained:
    """Train a model of `spec` on `dataset`, in place of the data that it names; nothing is written.

    A batch is no more than there is. Raises `ValueError`, one line, for what can't be trained, and `NonFiniteError`.

    >>> from vaekit import load_dataset
    >>> from vaekit.spec.targets import resolve
    >>> train_in_memory(resolve("digits", ["training.epochs=1"]), load_dataset("digits")).model.latent_size
    16
    """
    schema = schema_of(dataset, spec.data.preprocessing, masked=spec.data.mask > 0)
    spec = completed(spec, schema, dataset, parts, capped=True)
    task = make_ready(spec, schema, dataset, parts).task
    state = optimize(task, on_epoch=on_epoch)
    return Trained(spec, schema, task.model.eval(), state.epoch)
