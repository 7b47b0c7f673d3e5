"""Tables that memory does not hold are the data that they would be if it did."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from runs_for_tests import SMALL, metrics

from vaekit import train
from vaekit.data import Dataset, large, load
from vaekit.data.memmap import MemmapRows
from vaekit.runs.given import fingerprint
from vaekit.runs.run import load_run

pytest.importorskip("pyarrow")


def table(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "Unnamed: 0": np.arange(rows),
            "age": rng.integers(17, 90, rows),
            "wage": np.exp(rng.normal(8, 1, rows)).round(2),
            "city": rng.choice(["Aachen", "Bonn", "Celle"], rows),
            "who": [f"person {i}" for i in range(rows)],
            "kind": rng.choice(["a", "b"], rows),
            "height": rng.normal(170, 9, rows),
            "exact": 1e9 + rng.normal(size=rows) * 1e-3,
            "born": pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, rows), "D"),
            "constant": 3,
        }
    )
    return frame.mask(rng.random(frame.shape) < [0, 0.1, 0.1, 0.1, 0, 0, 0, 0, 0.05, 0])


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table in row groups of 64 rows."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table().to_parquet(tmp_path / "people.parquet", row_group_size=64)
    return tmp_path / "people.parquet"


def both(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Dataset, Dataset]:
    """The table read whole, and a column at a time."""
    whole = load(path, **options)
    with monkeypatch.context() as patch:
        patch.setattr("vaekit.data.files.is_large", lambda path: True)
        patch.setattr(large, "available", lambda: 1)
        return whole, load(path, **options)


CASES: dict[str, dict[str, Any]] = {
    "label": {"label": "kind", "validation": 30, "test": 20},
    "asked": {"columns": {"age": "real", "exact": "none"}, "train": 100},
    "short": {"columns": {"exact": "none"}, "validation": 0, "test": 0},
}


@pytest.mark.filterwarnings("ignore:.*is left out")
@pytest.mark.parametrize("case", CASES)
def test_a_table_read_by_columns_is_the_data_that_it_is_read_whole(
    case: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, found = both(path, monkeypatch, **CASES[case])
    assert isinstance(found.splits["train"].x, MemmapRows)
    assert (found.table, found.columns, found.classes) == (whole.table, whole.columns, whole.classes)
    assert found.domain == whole.domain
    for name, split in whole.splits.items():
        mine = found.splits[name]
        assert mine.x.dtype == split.x.dtype == (np.float64 if case == "label" else np.float32)
        for each in ("x", "y", "observed", "origin"):
            expected = getattr(split, each)
            if expected is None:
                assert getattr(mine, each) is None
            else:
                np.testing.assert_array_equal(np.asarray(getattr(mine, each)), np.asarray(expected))
    assert fingerprint(found) == fingerprint(whole)
    said = [note for note in found.notes if note not in whole.notes]
    assert len(said) == 1
    assert "of numbers: kept in temporary files in" in said[0]
    assert not any((path.parent / "cache/vaekit").iterdir()), "they have no name"


@pytest.mark.parametrize("exposure", ["total", "c"])
def test_totals_and_columns_are_exposures_as_of_a_table_read_whole(
    exposure: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = pd.DataFrame(np.random.default_rng(0).poisson(3, (90, 4)) + 1, columns=list("abcd"))
    counts.to_parquet(path, row_group_size=20)
    whole, found = both(path, monkeypatch, exposure=exposure, domain="count")
    assert (found.columns, found.exposed) == (whole.columns, True)
    assert isinstance(found.splits["train"].x, MemmapRows)
    for name, split in whole.splits.items():
        np.testing.assert_array_equal(found.splits[name].y, split.y)
        np.testing.assert_array_equal(np.asarray(found.splits[name].x), np.asarray(split.x))
    counts.astype("Int64").mask(np.eye(90, 4, dtype=bool)).to_parquet(path)
    for large_too in (False, True):
        monkeypatch.setattr("vaekit.data.files.is_large", lambda path, found=large_too: found)
        with pytest.raises(ValueError, match=r"the exposure nan in row [02]"):
            load(path, exposure=exposure, domain="count", validation=0, test=0)


@pytest.mark.filterwarnings("ignore:.*is left out")
def test_it_trains_the_same_run_and_goes_on_with_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [*SMALL, "training.batch_size=50", "data.columns={exact='none'}", "training.engine=replay"]
    whole = train(path, path.parent / "whole", sets=sets)
    monkeypatch.setattr("vaekit.data.files.is_large", lambda path: True)
    found = train(path, path.parent / "large", sets=sets)
    assert metrics(found.path) == metrics(whole.path)
    loaded = load_run(whole.path)
    assert isinstance(loaded.dataset.splits["train"].x, MemmapRows), "its own data, read the other way"
    assert loaded.evaluate("test", 3).nll == whole.evaluate("test", 3).nll


def test_what_wont_do_is_refused_as_of_a_table_read_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.data.files.is_large", lambda path: True)
    for options, words in {
        "label": ({"label": "nobody"}, "nobody"),
        "column": ({"columns": {"agee": "real"}}, "unknown column 'agee'"),
        "kind": ({"columns": {"age": "numbr"}}, "unknown kind of column 'age'"),
        "cell": ({"columns": {"height": "count"}}, "asked for as count"),
        "exposure": ({"exposure": "agee"}, "unknown column of exposures 'agee' .did you mean 'age'"),
    }.values():
        with pytest.raises(ValueError, match=words) as raised:
            load(path, **options)  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)
    monkeypatch.setattr(large.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(ValueError, match=r"the numbers of .* take 0 MB on disk, and 0 MB is free in .*; leave columns"):
        load(path)


def test_a_table_is_large_by_its_cells_and_the_memory_there_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not large.is_large(path)
    monkeypatch.setattr(large, "SMALL", 0)
    for free, expected in {2 * 8 * 400 * 10 - 1: True, 2 * 8 * 400 * 10: False}.items():
        monkeypatch.setattr(large, "available", lambda free=free: free)
        assert large.is_large(path) == expected
