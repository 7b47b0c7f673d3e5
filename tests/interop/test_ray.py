"""Runs and files by Ray, on this machine: what they give is what this process gives, and nothing of it stays."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from models_for_tests import refuses
from runs_for_tests import SMALL, metrics

from vaekit import load_dataset, score, sweep
from vaekit.interop.ray import connected

TINY = (*SMALL, "data.train=100", "data.validation=50", "data.test=50", "training.epochs=1")


def test_without_ray_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with refuses("pip install 'vaekit[ray]'"):
        sweep("digits", ["objective.beta=1"], out=tmp_path / "s", ray="local")
    assert not (tmp_path / "s").exists()


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Two workers, started once, since that takes seconds; ended with all their processes."""
    pytest.importorskip("ray")
    with connected("local", 2) as found:
        yield found
    assert not found.is_initialized()


@pytest.mark.ray
@pytest.mark.filterwarnings("default")  # Ray's own
def test_runs_and_scores_are_those_of_this_process(ray: Any, tmp_path: Path) -> None:
    over = ["objective.beta=1,-1"]
    found = sweep("digits", over, seeds=1, out=tmp_path / "ray", sets=TINY, samples=5, jobs=2, threads=1, ray="local")
    here = sweep("digits", over, seeds=1, out=tmp_path / "here", sets=TINY, samples=5, jobs=1, threads=1)
    assert [each.state for each in found.trials] == ["done", "failed"]
    for one, other in zip(found.trials, here.trials, strict=True):
        assert one.name == other.name
        assert one.state == other.state
        if one.state == "done":
            assert one.score("valid.nll") == other.score("valid.nll")
            assert metrics(found.folder / one.name) == metrics(here.folder / other.name)
    assert len(found.best.done) == 1

    x = load_dataset("digits").splits["test"].x
    for i in range(2):
        np.save(tmp_path / f"{i}.npy", x[i * 20 : i * 20 + 20])
    shards, run = sorted(tmp_path.glob("*.npy")), here.folder / here.best.done[0].name
    by_ray = score(run, shards, tmp_path / "by_ray", samples=5, codes=True, jobs=2, ray="local")
    by_me = score(run, shards, tmp_path / "by_me", samples=5, codes=True)
    for mine, its in zip(by_me, by_ray, strict=True):
        pd.testing.assert_frame_equal(pd.read_parquet(mine.path), pd.read_parquet(its.path))
    assert all(each.kept for each in score(run, shards, tmp_path / "by_ray", samples=5, codes=True, ray="local"))
