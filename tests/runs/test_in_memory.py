"""Training without a run folder: the model is that of one, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vaekit import load_dataset, train
from vaekit.runs.in_memory import train_in_memory
from vaekit.runs.run import Run
from vaekit.spec.targets import resolve
from vaekit.training.weights import model_tensors

TINY = {"epochs": 2, "batch_size": 16}
SETS = ["model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latents.z.size=2"]


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "b": rng.choice(["x", "y", "z"], 60), "c": rng.poisson(9, 60)})
    return table.mask(rng.random(table.shape) < 0.1)


def test_the_model_is_that_of_a_run_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train("table", tmp_path / "run", data=frame(), sets=SETS, device="cpu", **TINY)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    spec = resolve("table", [*SETS, "training.device=cpu", *(f"training.{key}={value}" for key, value in TINY.items())])
    trained = train_in_memory(spec, load_dataset(frame()))
    assert not list((tmp_path / "empty").iterdir())
    assert trained.epochs == 2
    assert trained.schema == run.schema.model_copy(update={"fingerprint": ""})
    own = model_tensors(run.model)
    assert own.keys() == model_tensors(trained.model).keys()
    for name, tensor in model_tensors(trained.model).items():
        assert torch.equal(tensor, own[name])


def test_words_for_a_missing_cell_among_objects_are_filled_too() -> None:
    table = frame().assign(a=lambda t: t["a"].astype(object))
    table.loc[3, "a"] = "?"
    trained = train_in_memory(resolve("table", [*SETS, "training.epochs=1"]), load_dataset(table))
    filled = Run(Path("none"), trained.spec, trained.schema, trained.model).impute(table, samples=5).table
    assert isinstance(filled.loc[3, "a"], float)
    assert not filled.isna().any().any()
