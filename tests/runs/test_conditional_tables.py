"""Rows that a conditional model makes up: each says what it was made under."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vaekit

TINY = ["training.steps=3", "model.condition=true", "model.latents.z.size=2", "model.encoder.hidden=[8]"]


@pytest.mark.parametrize("given", ["data.label=kind", "data.covariates.kind=categorical"])
def test_made_up_rows_have_their_class_or_covariate(given: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=80), "kind": ["yes", "no"] * 40, "n": rng.poisson(3, 80)})
    run = vaekit.train(table, tmp_path / "run", sets=[*TINY, given])
    made = run.synthesize(6, seed=1).table
    assert list(made) == ["a", "n", "kind"]
    assert set(made["kind"]) == {"yes", "no"}
    drawn = run.model.sample(6, run.conditions(6), seed=1).numpy()
    np.testing.assert_allclose(made["n"], drawn[:, 1])
