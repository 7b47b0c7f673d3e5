"""Small runs on the digits, and what tests compare of them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit import train
from vaekit.data.tensors import TensorSplit, to_device
from vaekit.models import VAE
from vaekit.models.trace import Trace
from vaekit.objectives.base import Loss, Objective
from vaekit.runs import history
from vaekit.runs.run import Run, load_data
from vaekit.spec.building import build_model, build_objective, schema_of, with_likelihood
from vaekit.spec.keys import TrainingSpec
from vaekit.spec.parts import PARTS, Parts
from vaekit.spec.targets import resolve
from vaekit.training.records import Epoch
from vaekit.training.step import rehearse
from vaekit.training.task import Task
from vaekit.training.weights import load_tensors, model_tensors

SMALL = (
    "model.encoder={name='mlp', hidden=[16]}",
    "model.decoder={name='mlp', hidden=[16]}",
    "model.latents.z.size=3",
    "training.epochs=2",
    "training.batch_size=100",
    "training.learning_rate=1e-3",
    "training.checkpoint_every=1",
)


def small_run(folder: Path, *sets: str, parts: Parts = PARTS) -> Run:
    return train("digits", folder, sets=[*SMALL, *sets], parts=parts)


def cut_short(run: Path, folder: Path) -> Path:
    """A copy of a run as it would be, had it been killed in its last epoch, the state before which was kept."""
    shutil.copytree(run, folder)
    before, last = sorted((folder / "checkpoints").glob("epoch-*.safetensors"))[-2:]
    assert int(before.stem[6:]) == int(last.stem[6:]) - 1
    for each in (last, folder / "weights.safetensors"):
        each.unlink()
    return folder


def one_of_several(rank: int, folder: Path, resume: bool, sets: tuple[str, ...]) -> None:
    """What each of several processes does: a small run together, or going on with one."""
    if resume:
        train(out=folder, resume=True)
    else:
        small_run(folder, *sets)


@dataclass
class Pieces:
    """The arguments of `fit`, made from a spec."""

    model: VAE
    train: TensorSplit
    valid: TensorSplit
    objective: Objective
    options: TrainingSpec

    def task(self, **changes: Any) -> Task:
        """What is trained of them."""
        return replace(Task(self.model, self.train, self.valid, self.objective, self.options), **changes)


def pieces(*sets: str, rows: int | None = None, parts: Parts = PARTS) -> Pieces:
    """What a small run on the first `rows` digits would train."""
    spec = resolve("digits", [*SMALL, *sets], parts)
    dataset = load_data(spec)
    schema = schema_of(dataset, spec.data.preprocessing)
    spec = with_likelihood(spec, schema.domain, parts)
    model = build_model(spec.model, schema, spec.training.seed, parts)
    data, valid = (to_device(dataset, split, spec.data.preprocessing) for split in ("train", "valid"))
    if rows:
        data = TensorSplit(data.x[:rows], None if data.y is None else data.y[:rows], data.domain, data.preprocessing)
    return Pieces(model, data, valid, build_objective(spec, model, parts), spec.training)


def spied(objective: Objective, look: Callable[[Trace, Loss], Loss | None]) -> Objective:
    """`objective`, its losses shown to `look`, which may replace them; not those of validation and of the rehearsal."""

    def wrapped(trace: Trace, progress: float = 1.0) -> Loss:
        loss = objective(trace, progress)
        rehearsed = sys._getframe(1).f_code is rehearse.__code__
        return (look(trace, loss) or loss) if torch.is_grad_enabled() and not rehearsed else loss

    return wrapped


def weights(model: VAE) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model_tensors(model).items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors are the same, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def metrics(folder: Path) -> list[tuple[object, ...]]:
    """The records of a run without their seconds."""
    return untimed(history.read(folder))


def untimed(records: Sequence[Epoch]) -> list[tuple[object, ...]]:
    return [(r.epoch, r.step, r.split, r.rows, r.terms) for r in records]


def assert_same_run(folder: Path, reference: Path) -> None:
    """Two run folders hold the same, bit for bit, but for the times taken."""
    names = [sorted(str(path.relative_to(each)) for path in each.rglob("*")) for each in (folder, reference)]
    assert names[0] == names[1], set(names[0]) ^ set(names[1])
    for name in ("weights.safetensors", "checkpoints/best.safetensors"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name
    for path in sorted((reference / "checkpoints").glob("epoch-*")):
        assert equal(load_tensors(folder / "checkpoints" / path.name), load_tensors(path)), path.name
    assert metrics(folder) == metrics(reference)
