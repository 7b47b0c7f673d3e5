from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.data import load
from vaekit.data.base import Split
from vaekit.data.remarks import FEW_ROWS, classes_unseen, far_above, few_rows, row_keys, rows_shared

RNG = np.random.default_rng(0)


def notes(**columns: object) -> list[str]:
    return [note for note in load(pd.DataFrame(columns)).notes if "far from" in note]


def test_a_value_far_from_all_others_is_named_with_its_row() -> None:
    x = RNG.normal(size=200).round(2)
    x[17] = 1e9
    (said,) = notes(x=x, y=RNG.normal(size=200))
    assert said.startswith("column 'x': 1000000000.0 in row 17 (from 0) is far from all others, -")
    assert "columns={'x': 'none'}" in said


def test_a_code_for_missing_is_named_once() -> None:
    ages = RNG.integers(18, 60, 200).astype("int64")
    ages[[3, 8, 90]] = 9999
    (said,) = notes(age=ages, y=RNG.normal(size=200))
    assert "9999 in row 3 (from 0) is far from all others, 18 to 59, as 2 more are" in said


@pytest.mark.parametrize("code", [999, -999])
def test_a_code_of_nines_is_named_nearer_by(code: int) -> None:
    points = RNG.permutation(np.r_[np.arange(150), np.arange(150), [code] * 16])
    (said,) = notes(points=points, y=RNG.normal(size=316))
    assert f"points': {code} in row" in said
    assert "is far from all others, 0 to 149, as 15 more are" in said
    assert not notes(points=np.where(points == code, code - 1, points), y=RNG.normal(size=316))
    assert not notes(points=np.r_[np.arange(150), np.arange(150), code], y=RNG.normal(size=301))  # there once


def test_a_date_far_from_all_others_is_one() -> None:
    days = pd.Series(pd.date_range("2024-01-01", periods=200)).sample(frac=1, random_state=0).reset_index(drop=True)
    days[5] = pd.Timestamp("1900-01-01")
    (said,) = notes(day=days, y=RNG.normal(size=200))
    assert "1900-01-01 00:00:00 in row 5" in said


@settings(max_examples=60, deadline=None)
@given(
    st.integers(30, 500), st.integers(0, 2**32 - 1), st.sampled_from(["normal", "exponential", "lognormal", "poisson"])
)
def test_usual_columns_have_none(rows: int, seed: int, kind: str) -> None:
    x = getattr(np.random.default_rng(seed), kind)(size=rows).astype(float)
    assert far_above(x) is None
    assert far_above(-x) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(12, 200), st.integers(0, 2**32 - 1), st.integers(1, 3), st.floats(-3, 3))
def test_what_is_far_is_found_wherever_it_stands(rows: int, seed: int, many: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.random(rows + many) * 10.0**unit
    where = rng.choice(rows + many, many, replace=False)
    x[where] = (20 + np.arange(many)) * 10.0**unit
    found = far_above(x)
    assert found is not None
    assert sorted(np.flatnonzero(found)) == sorted(where)


@pytest.mark.parametrize("rows", [2, FEW_ROWS - 1, FEW_ROWS])
def test_few_rows_are_said_to_be_few(rows: int) -> None:
    table = pd.DataFrame({"a": RNG.normal(size=rows), "b": RNG.normal(size=rows)})
    assert (few_rows(rows) in load(table).notes) == (rows < FEW_ROWS)


def test_a_class_that_no_training_row_is_of_is_said(tmp_path: Path) -> None:
    """A conditional model would have made samples of it, by weights that are as they were drawn."""
    x = np.zeros((6, 3, 4, 4), np.uint8) + 200
    np.savez(tmp_path / "x.npz", x_train=x, y_train=np.array(["a", "b"] * 3), x_test=x, y_test=np.array(["b", "c"] * 3))
    data = load(tmp_path / "x.npz", validation=0)
    assert classes_unseen(data.classes, data.splits["train"]) in data.notes
    assert any("no training row is of the class c" in note for note in data.notes)
    assert not any("no training row" in note for note in load("digits").notes)
    few = load("digits", train=3)
    assert any("no training row is of the classes" in note for note in few.notes)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1e-300, 1e12]))
def test_rows_have_the_same_key_where_they_are_equal_and_only_there(n: int, d: int, seed: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 2, (n, d)) * unit
    observed = rng.random((n, d)) < 0.8
    keys = row_keys(Split(x, observed=observed))
    frame = pd.DataFrame(np.where(observed, x, np.nan)).astype(object).where(observed, "hole")
    groups = frame.groupby(list(frame.columns), sort=False).ngroup()
    assert ((keys[:, None] == keys) == (groups.to_numpy()[:, None] == groups.to_numpy())).all()


def test_rows_that_are_held_out_and_trained_on_are_said() -> None:
    once = pd.DataFrame({"a": RNG.normal(size=300), "b": RNG.choice(list("xyz"), 300), "c": RNG.normal(size=300)})
    once.loc[:20, "a"] = np.nan
    assert not any("as a training row" in note for note in load(once).notes)
    data = load(pd.concat([once, once]), seed=1)
    said = [note for note in data.notes if "as a training row" in note]
    assert said == rows_shared(data.splits)
    assert [note.split(":")[0].split(" rows of ")[1].split()[0] for note in said] == ["valid", "test"]
    train = set(data.splits["train"].origin % 300)  # type: ignore[operator, arg-type]
    shared = sum(row % 300 in train for row in data.splits["test"].origin)  # type: ignore[union-attr]
    assert said[1].startswith(f"{shared} of 60 rows of test are as a training row in every cell (")
