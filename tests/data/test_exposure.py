"""Exposures of counts, from files to scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models_for_tests import refuses

from vaekit import train
from vaekit.data import load
from vaekit.runs.run import load_run

RNG = np.random.default_rng(0)
DEPTH = 10 ** RNG.uniform(0, 2, (300, 1))
COUNTS = RNG.poisson(DEPTH * RNG.uniform(0.2, 2, 6)) + (np.arange(6) == 0)
QUICK = ("data.domain=count", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latents.z.size=2")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "counts.csv"
    names = ["depth", *(f"gene{i}" for i in range(6))]
    rows = [",".join(map(str, [round(float(d[0]), 3), *r])) for d, r in zip(DEPTH, COUNTS.tolist(), strict=True)]
    path.write_text("\n".join([",".join(names), *rows]) + "\n")
    return path


def test_a_column_is_the_exposure_and_no_data(table: Path) -> None:
    dataset = load(table, domain="count", exposure="depth", validation=0, test=0)
    assert dataset.exposed
    assert dataset.columns == tuple(f"gene{i}" for i in range(6))
    assert np.array_equal(dataset.splits["train"].x, COUNTS)
    assert np.allclose(dataset.splits["train"].y, DEPTH, atol=1e-3)  # type: ignore[arg-type]


def test_missing_counts_and_missing_exposures(tmp_path: Path) -> None:
    lines = ["depth,a,b", *(f"{i % 7 + 1},{'' if i == 3 else i % 5},{i % 3}" for i in range(60))]
    (tmp_path / "holes.csv").write_text("\n".join(lines))
    found = load(tmp_path / "holes.csv", domain="count", exposure="depth", validation=0, test=0)
    assert found.columns == ("a", "b")
    assert np.argwhere(~found.splits["train"].observed).tolist() == [[3, 0]]  # type: ignore[operator]
    (tmp_path / "holes.csv").write_text("\n".join([*lines, ",4,2"]))
    with refuses("has the exposure nan in row 60; accepted: numbers above 0; drop such rows"):
        load(tmp_path / "holes.csv", domain="count", exposure="depth")


def test_the_total_is_the_exposure_and_said_to_be_given(tmp_path: Path) -> None:
    np.save(tmp_path / "counts.npy", COUNTS)
    dataset = load(tmp_path / "counts.npy", domain="count", exposure="total", validation=0, test=0)
    assert np.array_equal(dataset.splits["train"].y, COUNTS.sum(1, keepdims=True))  # type: ignore[arg-type]
    assert any("given its total" in note for note in dataset.notes)
    rows = ["total,a,b", *(f"{9 + i % 4},{1 + i % 5},{i % 3}" for i in range(60))]
    (tmp_path / "counts.csv").write_text("\n".join(rows))
    said = load(tmp_path / "counts.csv", domain="count", exposure="total").notes
    assert any("own total, part of which is the column 'total'; rename that column" in note for note in said)


def test_exposures_that_make_no_sense_are_refused(table: Path, tmp_path: Path) -> None:
    with refuses("unknown column of exposures 'dept' (did you mean 'depth'?)"):
        load(table, domain="count", exposure="dept")
    with refuses("is for counts; the data are columns: 6 count; if they are counts: domain='count'"):
        load(table, exposure="depth")
    with refuses("beside labels"):
        load(table, domain="count", exposure="depth", label="gene3")
    np.save(tmp_path / "empty.npy", np.concatenate([COUNTS, 0 * COUNTS[:1]]))
    with refuses("rows without a count: 300; accepted: rows with one"):
        load(tmp_path / "empty.npy", domain="count", exposure="total")
    with refuses("model.classifier is set"):
        sets = [*QUICK, "data.exposure=depth", "model.classifier=mlp", "model.likelihood=poisson"]
        train(table, tmp_path / "run", sets=sets, epochs=1)


@pytest.mark.parametrize("likelihood", ["negative-binomial", "zero-inflated-poisson"])
def test_a_run_with_exposures_is_scored_and_sampled_as_it_was_trained(table: Path, tmp_path: Path, likelihood: str):
    sets = [*QUICK, "data.exposure=depth", f"model.likelihood={likelihood}", "training.learning_rate=0.03"]
    run = train(table, tmp_path / "run", sets=sets, epochs=15)
    np.save(tmp_path / "alone.npy", COUNTS)
    plain = train(tmp_path / "alone.npy", tmp_path / "plain", sets=[*sets[:4], *sets[5:]], epochs=15)
    loaded = load_run(run.path)
    scores = loaded.evaluate("test", samples=20)
    assert scores.nll == run.evaluate("test", samples=20).nll
    assert scores.nll < plain.evaluate("test", samples=20).nll - 1
    few, many = (loaded.model.sample(500, np.array([[depth]]), seed=0).mean() for depth in (2.0, 80.0))
    assert 20 < many / few < 80
    assert loaded.sample(7, seed=0).shape == (7, 6)
    assert loaded.encode("test")[0].shape == (len(loaded.data("test")), 2)
    assert loaded.reconstructions("test", 3).shape == (3, 2, 6)
