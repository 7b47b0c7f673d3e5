"""The runs that `corruption.py` damages, and what they are without damage."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit import load_run, train
from vaekit.training.weights import model_tensors

SMALL = (
    "model.encoder={name='mlp', hidden=[8]}",
    "model.decoder={name='mlp', hidden=[8]}",
    "model.latents.z.size=2",
    "training.batch_size=32",
    "training.epochs=3",
)
RUNS = {
    "average": ("x.npy", ("training.ema=0.9", "training.clip=5.0")),
    "early stopping": ("x.npy", ("training.early_stopping=2", "training.optimizer=adamw")),
    "flow": ("x.npy", ("model.latents.z.prior={name='flow', hidden=[8, 8]}",)),
    "conditional": ("t.csv", ("data.label=kind", "model.condition=true", "training.optimizer=sgd")),
    "classifier": (
        "t.csv",
        ("data.label=kind", "model.classifier={name='mlp', hidden=[8]}", "data.labels=30", "training.labelled=8"),
    ),
}
MORE = 5
"""Epochs of the resumed runs."""


@dataclass
class Reference:
    """What an undamaged run is: its weights, those of its newest states, its records, and the same resumed."""

    folder: Path
    weights: dict[str, torch.Tensor]
    states: list[dict[str, torch.Tensor]]
    described: Any
    records: list[Any]
    resumed: dict[str, torch.Tensor]
    resumed_records: list[Any]


def untimed(records: Any) -> list[Any]:
    return [(r.epoch, r.step, r.split, r.rows, sorted(r.terms.items())) for r in records]


def weights_of(run: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model_tensors(run.model).items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def prepared(folder: Path) -> list[Reference]:
    """The runs, trained, loaded, cut off and resumed."""
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.normal(size=(80, 4)).astype(np.float32))
    rows = [f"{a:.3f},{b:.3f},{'abc'[i % 3]}" for i, (a, b) in enumerate(rng.normal(size=(80, 2)))]
    (folder / "t.csv").write_text("\n".join(["left,right,kind", *rows]))
    references = []
    for name, (data, sets) in RUNS.items():
        path = folder / name.replace(" ", "-")
        run = train(folder / data, path, sets=[*SMALL, *sets])
        for other in ("cut", "more"):
            shutil.copytree(path, folder / f"{path.name}-{other}")
        (folder / f"{path.name}-cut" / "weights.safetensors").unlink()
        cut = load_run(folder / f"{path.name}-cut")
        more = train(out=folder / f"{path.name}-more", resume=True, epochs=MORE)
        described = (run.spec, run.schema)
        records = [untimed(run.history()), untimed(more.history())]
        states = [weights_of(cut)]
        sorted((cut.path / "checkpoints").glob("epoch-*"))[-1].unlink()
        states.append(weights_of(load_run(cut.path)))
        weights = weights_of(load_run(path))
        references.append(Reference(path, weights, states, described, records[0], weights_of(more), records[1]))
    return references
