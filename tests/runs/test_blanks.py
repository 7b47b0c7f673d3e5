"""One table, read by vaekit from a text or given as pandas reads it: blanks in names and cells, and ? for a hole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vaekit

ROWS = 120
TINY = ["training.steps=3", "model.latents.z.size=2", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A table as many are written: a blank after each comma, ? for a missing word."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=ROWS)
    work = np.where(rng.random(ROWS) < 0.1, "?", np.where(z > 0, "Private", "Gov"))
    rows = [f"{age}, {each}, {x:.3f}" for age, each, x in zip(rng.poisson(30, ROWS), work, z, strict=True)]
    path = tmp_path / "people.csv"
    path.write_text("\n".join(["age, work, x y", *rows]) + "\n")
    return path


def test_a_run_of_a_text_takes_the_frame_that_pandas_reads(text: Path, tmp_path: Path) -> None:
    run = vaekit.train(text, tmp_path / "run", sets=TINY)
    frame = pd.read_csv(text)
    assert list(frame) == ["age", " work", " x y"]
    filled = run.impute(frame, samples=5)
    assert list(filled.table) == list(filled.spread) == list(frame)
    assert set(filled.table[" work"]) == {" Gov", " Private"}  # as the column has them
    assert (filled.spread[" work"].notna() == (frame[" work"] == " ?")).all()
    by_path = run.impute(str(text), samples=5).table
    assert by_path["work"].tolist() == filled.table[" work"].str.strip().tolist()
    scores = [run.detect(each, samples=5, per_column=True) for each in (frame, str(text))]
    pd.testing.assert_frame_equal(*scores)
    np.testing.assert_array_equal(run.encode(frame)[0], run.encode(str(text))[0])


def test_a_run_of_a_frame_takes_the_text(text: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(text)
    run = vaekit.train(frame, tmp_path / "run", sets=TINY)
    assert run.schema.table[1].categories == (" Gov", " Private")
    assert run.dataset.splits["train"].observed is not None
    filled = run.impute(str(text), samples=5).table
    assert list(filled) == ["age", "work", "x y"]
    assert set(filled["work"].str.strip()) == {"Gov", "Private"}
    np.testing.assert_array_equal(run.encode(frame)[0], run.encode(str(text))[0])


def test_names_of_two_columns_that_would_be_one_are_not_taken(text: Path, tmp_path: Path) -> None:
    run = vaekit.train(text, tmp_path / "run", sets=TINY)
    frame = pd.read_csv(text).assign(**{"work ": "Gov"})
    with pytest.raises(ValueError, match="the table has no column 'work'"):
        run.impute(frame, samples=5)


def test_many_columns_are_told_apart_without_a_warning(tmp_path: Path) -> None:
    x = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 150))).add_prefix("c")
    run = vaekit.train(x, tmp_path / "run", sets=TINY)
    found = run.detect(x, samples=2, per_column=True)  # pandas would warn, which is an error here
    assert list(found) == ["score", "outlier", "why", *x, "latent"]
    np.testing.assert_allclose(found[[*x, "latent"]].sum(axis=1), found["score"])
