"""Made-up rows beside those of a run: distances, what they teach, SDMetrics' reports, and the command that tells."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vaekit
from vaekit import Run
from vaekit.cli import main
from vaekit.data.columns import Column, frame_of
from vaekit.runs.judging import compared, judge


def shops(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Rows whose sales follow from city and size, some cells missing."""
    rng = np.random.default_rng(seed)
    city, size = rng.choice(["Rome", "Oslo", "Lima"], n), rng.normal(50, 10, n).round(1)
    table = pd.DataFrame(
        {
            "city": city,
            "size": size,
            "opened": (pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")).strftime("%Y-%m-%d"),
            "open": rng.random(n) < 0.5,
            "sales": np.where(city == "Rome", 3, 1) * size.round() + rng.integers(0, 5, n),
        }
    )
    return table.mask(pd.DataFrame({name: rng.random(n) < 0.05 * (name in ("city", "size")) for name in table}))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("judged")
    shops().to_csv(folder / "shops.csv", index=False)
    sets = ["model.encoder.hidden=[16]", "model.decoder.hidden=[16]", "model.latents.z.size=3", "training.steps=60"]
    return vaekit.train(folder / "shops.csv", folder / "run", sets=sets)


def test_rows_of_the_run_are_found_again_in_every_cell(run: Run) -> None:
    """A training row that is given as made up is a copy, whatever way its cells went."""
    train = run.data("train")
    rows = shops().iloc[train.origin.astype(int)]
    found = compared(run, rows)
    np.testing.assert_array_equal(found.made, found.train)
    assert found.split == "test"
    judged = run.judge(rows, "sales")
    assert judged.nearness.copies == 1
    assert judged.nearness.median == 0
    assert "known by heart" in judged.nearness.reading
    assert judged.by_made == judged.by_train
    assert judged.by_made is not None
    assert judged.by_made.r2 is not None
    assert judged.by_made.r2 > 0.5


def test_rows_of_the_model_are_judged_the_same_each_time(run: Run) -> None:
    made = run.synthesize(300, seed=0).table
    first = run.judge(made, "city", seed=1)
    assert first == run.judge(made[made.columns[::-1]], "city", seed=1)
    assert first.nearness.copies < 0.05
    assert first.by_made is not None
    assert first.by_made.rows == 300
    assert run.judge(made).by_made is None
    with pytest.raises(ValueError, match="unknown column 'town'"):
        run.judge(made, "town")
    with pytest.raises(ValueError, match="no column 'size'"):
        run.judge(made.drop(columns="size"))
    with pytest.raises(TypeError, match="made is a Synthesized; accepted: a data frame; of what `synthesize` gives"):
        run.judge(run.synthesize(9))  # type: ignore[arg-type]


def test_without_held_out_rows_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    small = ["model.encoder.hidden=[4]", "model.decoder.hidden=[4]", "data.validation=0", "data.test=0"]
    alone = vaekit.train(shops(60), tmp_path / "run", epochs=1, sets=[*small, "training.early_stopping=none"])
    with pytest.raises(ValueError, match="held no rows out"):
        alone.judge(alone.synthesize(9).table)


def test_reports_are_those_of_sdmetrics_called_by_hand(run: Run) -> None:
    reports = pytest.importorskip("sdmetrics.reports.single_table")
    from vaekit.interop.sdmetrics import quality, quality_of_held_out

    made = run.synthesize(300, seed=0).table
    found = quality(run, made)
    real = shops().iloc[run.data("train").origin.astype(int)]
    kinds = {"city": "categorical", "size": "numerical", "opened": "datetime", "open": "boolean", "sales": "numerical"}
    metadata = {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}
    metadata["columns"]["opened"]["datetime_format"] = "%Y-%m-%d"
    good, sound = reports.QualityReport(), reports.DiagnosticReport()
    for report in (good, sound):
        report.generate(real, made, metadata, verbose=False)
    assert found.overall == pytest.approx(good.get_score(), abs=1e-6)
    assert [found.column_shapes, found.pair_trends] == pytest.approx(list(good.get_properties()["Score"]), abs=1e-6)
    assert [found.validity, found.structure] == pytest.approx(list(sound.get_properties()["Score"]), abs=1e-6)
    by_column = good.get_details("Column Shapes").set_index("Column")["Score"]
    assert dict(found.shapes) == pytest.approx(by_column.to_dict(), abs=1e-6)
    assert [score for _, score in found.shapes] == sorted(by_column)
    assert len(found.trends) == 10
    assert (found.rows, found.train) == (300, len(real))
    own = compared(run, made)
    assert quality(run, replace(own, made=own.train)).overall == pytest.approx(1)
    assert quality_of_held_out(run, own).rows == len(own.held_out)


def test_a_few_rows_are_compared_too(run: Run) -> None:
    sdmetrics = pytest.importorskip("vaekit.interop.sdmetrics")
    made = run.synthesize(2, seed=0).table
    made = pd.concat([made.head(1), made.head(1)], ignore_index=True)  # no column has two values
    assert 0 < sdmetrics.quality(run, made).column_shapes < 1
    assert run.judge(made, "city").by_made.accuracy < 0.8


def test_every_kind_of_column_has_a_type_for_sdmetrics() -> None:
    sdmetrics = pytest.importorskip("vaekit.interop.sdmetrics")
    columns = [
        Column("grade", "ordinal", ("1", "2"), dtype="category[int64]"),
        Column("at", "date", unit="s", dtype="datetime64[us]"),
        Column("part", "unit", low=0.0, high=1.0),
        Column("n", "integer", dtype="int64"),
    ]
    x = np.array([[0, 1.5e9, 0.25, -3], [1, np.nan, np.nan, 4]])
    made = sdmetrics.frame(columns, x)
    assert made["grade"].tolist() == ["1", "2"]
    assert str(made["at"].dtype).startswith("datetime64")
    assert made["at"].isna().tolist() == [False, True]
    assert made["n"].tolist() == [-3.0, 4.0]
    types = [each["sdtype"] for each in sdmetrics.metadata(columns)["columns"].values()]
    assert types == ["categorical", "datetime", "numerical", "numerical"]
    assert len(frame_of(columns, np.nan_to_num(x))) == 2


def test_the_command_says_it_and_gives_it_as_json(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sdmetrics")
    out = str(tmp_path / "made.csv")
    asked = ["synthesize", str(run.path), "-n", "200", "--out", out, "--overwrite", "--metrics", "--target", "city"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    for words in ("200 rows", "median distance", "known by heart", "city of test", "F1", "SDMetrics", "least alike"):
        assert words in said
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    made = pd.read_csv(out)
    judged = judge(run, made, "city")
    assert found["rows"] == len(made) == 200
    assert found["nearness"]["median"] == judged.nearness.median
    assert found["by_made"]["f1"] == judged.by_made.f1
    assert 0.5 < found["quality"]["overall"] < 1
    assert 0.5 < found["quality_held_out"]["overall"] < 1


def test_without_sdmetrics_all_else_is_said(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sdmetrics.reports.single_table", None)
    monkeypatch.delitem(sys.modules, "vaekit.interop.sdmetrics", raising=False)
    asked = ["synthesize", str(run.path), "-n", "50", "--out", str(tmp_path / "made.csv"), "--metrics", "--json"]
    assert main(asked) == 0
    said = capsys.readouterr()
    assert "pip install 'vaekit[metrics]'" in said.err
    assert json.loads(said.out)["quality"] is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--metrics", "--target", "town"], "unknown column 'town'"),
        (["--target", "city"], "--target city is for --metrics"),
        (["--metrics", "--where", "city=Rome"], "leave --where out"),
        (["--metrics", "--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_can_not_be_judged_is_refused_before_rows_are_made(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str], message: str
) -> None:
    assert main(["synthesize", str(run.path), "--out", str(tmp_path / "made.csv"), *wrong]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "made.csv").exists()
