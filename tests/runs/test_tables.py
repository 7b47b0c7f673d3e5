"""What users do with a table of a run: from a frame with holes to filled, odd, new and embedded rows, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import vaekit
from vaekit import Run
from vaekit.cli import main
from vaekit.data.tabular import described
from vaekit.data.tensors import TensorSplit
from vaekit.errors import LeftOutWarning
from vaekit.evaluation.annealing import Chains
from vaekit.evaluation.chained import chained
from vaekit.evaluation.decomposition import decomposed
from vaekit.evaluation.disentanglement import disentangled
from vaekit.evaluation.refinement import Refinement, gaps
from vaekit.models.scoring import Scores
from vaekit.runs.conditions import Where
from vaekit.runs.sampled import codes_of

ROWS = 240


def people(seed: int = 0, holes: float = 0.1) -> pd.DataFrame:
    """Rows of every kind of column that hang together: height by sex, income by age and city."""
    rng = np.random.default_rng(seed)
    sex = rng.random(ROWS) < 0.5
    age = rng.integers(18, 80, ROWS)
    city = np.where(age < 40, rng.choice(["Rome", "Oslo"], ROWS), rng.choice(["Oslo", "Lima"], ROWS))
    table = pd.DataFrame(
        {
            "name": [f"person {i}" for i in range(ROWS)],
            "sex": np.where(sex, "f", "m"),
            "height": np.round(rng.normal(np.where(sex, 165, 178), 4), 1),
            "age": age,
            "city": pd.Categorical(city),
            "income": np.round(np.where(rng.random(ROWS) < 0.3, 0, np.exp(rng.normal(7 + age / 60, 0.4))), 2),
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), "D"),
            "member": rng.random(ROWS) < 0.2,
        },
        index=pd.Index(np.arange(1000, 1000 + ROWS), name="id"),
    )
    hidden = rng.random(table.shape) < holes
    hidden[:, [0, 3, 7]] = False
    return table.mask(pd.DataFrame(hidden, table.index, table.columns))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    sets = ["model.encoder.hidden=[32]", "model.decoder.hidden=[32]", "model.latents.z.size=4"]
    folder = tmp_path_factory.mktemp("table") / "run"
    with pytest.warns(LeftOutWarning, match="column 'name' is left out: identifier"):
        return vaekit.train(people(), folder, sets=[*sets, "training.steps=500", "training.learning_rate=6e-3"])


def test_each_column_is_taken_for_what_it_is(run: Run) -> None:
    kinds = {each.name: each.kind for each in run.schema.table}
    assert kinds == {
        "sex": "binary",
        "height": "positive",
        "age": "count",
        "city": "categorical",
        "income": "nonnegative",
        "joined": "date",
        "member": "binary",
    }
    assert any("name" in note and "left out" in note for note in run.dataset.notes)


def test_holes_are_filled_and_the_rest_is_as_it_was(run: Run) -> None:
    table = people()
    filled = run.impute(table, samples=200).table
    assert list(filled.columns) == list(table.columns)
    assert filled.index.equals(table.index)
    known = [each.name for each in run.schema.table]
    assert filled[known].notna().all().all()
    pd.testing.assert_frame_equal(filled.where(table.notna()), table.where(table.notna()), check_dtype=False)
    assert filled["city"].dtype == table["city"].dtype
    assert str(filled["joined"].dtype).startswith("datetime64")
    assert filled["age"].dtype == table["age"].dtype
    assert (filled["income"] >= 0).all()


def test_words_of_columns_that_no_model_has_are_what_they_were(run: Run, tmp_path: Path) -> None:
    rows = people().reset_index(drop=True)
    rows["name"] = [("NA", "null", "n/a", " Ann", "", "01")[i % 6] for i in range(ROWS)]
    rows["country"] = [("NA", "DE", "?")[i % 3] for i in range(ROWS)]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    written = ["--out", str(tmp_path / "out.csv"), "--samples", "10"]
    assert main(["impute", str(run.path), str(tmp_path / "rows.csv"), *written]) == 0
    read = {"dtype": str, "keep_default_na": False}
    given, filled = (pd.read_csv(tmp_path / f"{name}.csv", **read) for name in ("rows", "out"))
    assert filled["country"].tolist() == given["country"].tolist()
    assert filled["name"].tolist() == given["name"].str.strip().tolist()
    assert not (filled["city"] == "").any()


def test_names_that_are_numbers_stay_numbers(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    table = pd.DataFrame(np.where(x > 1.5, np.nan, x))
    run = vaekit.train(table, tmp_path / "run", sets=["training.steps=3", "model.latents.z.size=2"])
    filled = run.impute(table, samples=5)
    assert list(filled.table.columns) == list(filled.spread.columns) == [0, 1, 2]


def test_filled_cells_are_nearer_to_the_truth_than_means(run: Run) -> None:
    whole = people(seed=1, holes=0.0)
    holes = whole.copy()
    holes["height"] = np.nan
    filled = run.impute(holes, samples=300).table["height"]
    by_sex = ((filled - whole["height"]) ** 2).mean()
    assert by_sex < 0.7 * whole["height"].var()


def test_multiple_imputation_draws_differ_only_where_cells_are_missing(run: Run) -> None:
    table = people()
    drawn = run.impute(table, samples=200, n=3).table
    assert drawn["draw"].tolist() == sorted([1, 2, 3] * ROWS)
    parts = [part.drop(columns="draw") for _, part in drawn.groupby("draw")]
    for part in parts:
        pd.testing.assert_series_equal(part["age"], table["age"], check_dtype=False)
    gone = table["height"].isna().to_numpy()
    assert not np.allclose(parts[0]["height"][gone], parts[1]["height"][gone])


def test_a_seed_gives_the_same_rows_again(run: Run) -> None:
    for ask in (
        lambda seed: run.impute(people(), samples=50, n=1, seed=seed).table,
        lambda seed: run.synthesize(20, seed=seed).table,
        lambda seed: run.detect(people(), samples=20, seed=seed)[["score"]],
    ):
        pd.testing.assert_frame_equal(ask(3), ask(3))
        assert not ask(3).equals(ask(4))


def test_made_up_rows_are_of_the_users_own_types(run: Run) -> None:
    made, table = run.synthesize(300, seed=0).table, people()
    known = [each.name for each in run.schema.table]
    assert list(made.columns) == known
    for name in known:
        assert made[name].notna().all()
        kind = "category" if name == "city" else table[name].dtype.kind
        assert kind == "category" or made[name].dtype.kind == kind or name in ("sex", "member"), name
    assert set(made["sex"]) <= {"f", "m"}
    assert (made["height"] * 10 == (made["height"] * 10).round()).mean() > 0.99  # one decimal, as the user has it
    assert made["age"].min() >= 0
    made_f, made_m = (made.loc[made["sex"] == sex, "height"].median() for sex in "fm")
    assert made_f < made_m


def test_every_row_of_a_condition_has_it(run: Run) -> None:
    made = run.synthesize(200, where={"city": "Rome", "sex": "f"}, samples=2000, seed=0)
    assert set(made.table["city"]) == {"Rome"}
    assert set(made.table["sex"]) == {"f"}
    assert made.effective_samples is not None
    assert 1 <= made.effective_samples <= 2000
    assert not made.caution or made.effective_samples < 200
    few = run.synthesize(200, where={"city": "Rome"}, samples=100, seed=0)
    assert re.match(r"200 rows are of about \d+ different codes, as many of the 100 samples count", few.caution)
    assert few.caution.endswith("more help: samples=1000")
    assert replace(few, effective_samples=3.2).caution.startswith("the condition is rare: 200 rows are of about 3 ")
    everybody = run.synthesize(400, seed=1).table
    assert made.table["age"].mean() < everybody["age"].mean()  # nobody above 40 lives in Rome
    with pytest.raises(ValueError, match="unknown column 'town'"):
        run.synthesize(3, where={"town": "Rome"})
    with pytest.raises(ValueError, match="Paris"):
        run.synthesize(3, where={"city": "Paris"})


CONDITIONS = [
    ({"age": (30, 40)}, lambda made: made["age"].between(30, 40)),
    (["age>=40", "age<=65"], lambda made: made["age"].between(40, 65)),
    (["age=30..40", "city!=Rome"], lambda made: made["age"].between(30, 40) & (made["city"] != "Rome")),
    (["age>39.5", "sex=f"], lambda made: (made["age"] >= 40) & (made["sex"] == "f")),
    ({"age": (None, 40), "city": "Oslo"}, lambda made: (made["age"] <= 40) & (made["city"] == "Oslo")),
    (["height>170.5", "height < 175"], lambda made: (made["height"] > 170.5) & (made["height"] < 175)),
    (["income>0"], lambda made: made["income"] > 0),
    (["joined<2020-12-31"], lambda made: made["joined"] < pd.Timestamp("2020-12-31")),
    ({"joined": (pd.Timestamp("2021-01-01"), None)}, lambda made: made["joined"] >= pd.Timestamp("2021-01-01")),
    (["member=yes"], lambda made: made["member"]),
    ({"member": "TRUE"}, lambda made: made["member"]),
    ({"member": 0, "city": "rome"}, lambda made: ~made["member"] & (made["city"] == "Rome")),
]


@pytest.mark.parametrize(("where", "holds"), CONDITIONS)
def test_what_is_asked_of_rows_holds_for_all_of_them(
    run: Run, where: Where, holds: Callable[[pd.DataFrame], pd.Series]
) -> None:
    made = run.synthesize(60, where, samples=1000)
    assert len(made.table) == 60
    assert holds(made.table).all()
    assert made.effective_samples is not None
    assert 1 <= made.effective_samples <= 1000


def test_made_up_numbers_lie_where_training_rows_do_also_under_a_condition(run: Run) -> None:
    table = people()
    made = run.synthesize(300, ["age>=70", "joined>=2022-01-01", "height<170"], samples=3000).table
    for name in ("age", "joined", "height"):
        assert made[name].between(table[name].min(), table[name].max()).all()
    beyond = run.synthesize(5, ["age>=90"], samples=100_000).table
    assert (beyond["age"] >= 90).all()


def test_times_of_day_that_are_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    minutes = np.clip(rng.normal(12 * 60, 200, 300), 0, 1439).astype(int)
    texts = [f"{each // 60:02d}:{each % 60:02d}" for each in minutes]
    run = vaekit.train(
        pd.DataFrame({"at": texts, "x": rng.normal(size=300)}), tmp_path / "run", sets=["training.steps=50"]
    )
    late, early = (run.synthesize(200, [each], samples=2000).table["at"] for each in ("at>=15:00", "at<09:00"))
    assert late.between("15:00", max(texts)).all()
    assert early.between(min(texts), "08:59").all()


def test_what_is_no_number_of_rows_is_refused_in_a_line(run: Run) -> None:
    with pytest.raises(ValueError, match=r"^n is 2\.5; accepted: a whole number from 1 on$"):
        run.synthesize(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^n is -1; accepted: a whole number from 0 on$"):
        run.impute("test", n=-1)


def test_a_file_may_be_named_by_a_text(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    people(seed=3).to_csv("new.csv")
    assert len(run.impute("new.csv", samples=20).table) == ROWS
    with pytest.raises(ValueError, match=r"has no split 'other\.csv'"):
        run.impute("other.csv")


REFUSED = [
    (["age"], "where='age' is not COLUMN=VALUE, such as 'city=Rome'"),
    (["town>=3"], "unknown column 'town'"),
    (["city>=Rome"], "where='city>=Rome': the categories of 'city' have no order; accepted: = and !="),
    (["age!=3"], "accepted of such: =, >=, <=, >, <"),
    (["age>=old"], "where='age>=old': 'old' is none that column 'age' has; accepted: numbers"),
    (["age="], "has no value"),
    ({"age": (1, 2, 3)}, "accepted: a value, or (low, high)"),
    (["age=40..30"], "the conditions on column 'age' leave none of its values; accepted: whole numbers from 0 on"),
    (["age>40", "age<41"], "the conditions on column 'age' leave none"),
    (
        ["city=Rome", "city!=Rome"],
        "the conditions on column 'city' leave none of its values; accepted: Lima, Oslo, Rome",
    ),
    (["age<0"], "the conditions on column 'age' leave none"),
    (["age>=100000"], "the condition holds for none of the 100 rows that were drawn for it; try samples=1000"),
]


@pytest.mark.parametrize(("where", "said"), REFUSED)
def test_what_cannot_be_asked_of_rows_is_refused_in_a_line(run: Run, where: Where, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        run.synthesize(3, where, samples=100)
    assert "\n" not in str(caught.value)


def test_what_makes_a_row_odd_is_named(run: Run) -> None:
    table = people(seed=2, holes=0.0)
    table.loc[1003, "height"] = 320.0
    found = run.detect(table, samples=50, contamination=0.05, per_column=True)
    assert found.index.equals(table.index)
    assert found["score"].idxmax() == 1003
    assert found.loc[1003, "outlier"]
    assert found.loc[1003, "why"].startswith("height=320.0 (+")
    assert found["outlier"].mean() < 0.5
    known = [each.name for each in run.schema.table]
    assert found.loc[1003, known].astype(float).idxmax() == "height"
    assert np.allclose(found[[*known, "latent"]].sum(axis=1), found["score"])


def test_columns_called_as_those_that_are_added_stay_apart(tmp_path: Path) -> None:
    names = ["score", "outlier", "why", "latent", "draw", "draw_"]
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(80, 6)), columns=names).mask(rng.random((80, 6)) < 0.1)
    run = vaekit.train(table, tmp_path / "run", sets=["training.steps=30"])
    found = run.detect(table, samples=10, per_column=True)
    assert list(found) == [
        "score",
        "outlier",
        "why",
        "score_",
        "outlier_",
        "why_",
        "latent_",
        "draw",
        "draw_",
        "latent",
    ]
    added = found[["score_", "outlier_", "why_", "latent_", "draw", "draw_", "latent"]]
    assert np.allclose(added.sum(axis=1), found["score"])
    filled = run.impute(table, samples=20, n=2).table
    assert list(filled) == ["draw__", *names]
    assert filled["draw__"].tolist() == [1] * 80 + [2] * 80


@pytest.mark.parametrize("scale", [1e-40, 1e37])
def test_numbers_of_no_usual_size_are_refused_by_the_column(tmp_path: Path, scale: float) -> None:
    table = pd.DataFrame({"a": np.arange(40.0), "b": scale * (1.5 + np.arange(40.0) ** 2)})
    with pytest.raises(ValueError, match=r"column 'b': its largest number is of size .*; accepted: 1e-35 to 1e\+38"):
        vaekit.train(table, tmp_path / "run")


def test_a_data_frame_beside_other_data_is_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": np.arange(40.0)})
    for target, data, words in [
        (table, "digits", "target is a data frame, and data='digits' is beside it; give one, or a recipe and data"),
        (table, table[:9], "target is a data frame, and a data frame is beside it"),
        ("mnist", table, "'mnist' and data='(data frame)' are both data; give one, or a recipe or a .toml file"),
    ]:
        with pytest.raises(ValueError, match=re.escape(words)):
            vaekit.train(target, tmp_path / "run", data=data)


def test_what_is_said_of_a_row_does_not_depend_on_where_it_stands(run: Run) -> None:
    table = people(seed=2, holes=0.2)
    found, turned = (run.detect(each, samples=20) for each in (table, table[::-1]))
    pd.testing.assert_series_equal(turned["score"].loc[table.index], found["score"], rtol=1e-5)


def test_of_a_row_that_cannot_be_nothing_is_left_to_its_code(run: Run) -> None:
    with pytest.warns(LeftOutWarning, match="Paris"):
        found = run.detect(impossible(), samples=10, per_column=True)
    never = np.isinf(found[[each.name for each in run.schema.table]]).any(axis=1)
    assert never.any()
    assert np.isinf(found["score"]).equals(never)
    assert found["latent"].isna().equals(never)


def test_columns_are_found_by_name_in_any_order(run: Run) -> None:
    table = people()
    turned = table[table.columns[::-1]].assign(other=1)
    one, other = (run.detect(each, samples=20)["score"] for each in (table, turned))
    pd.testing.assert_series_equal(one, other)
    with pytest.raises(ValueError, match="no column 'height'"):
        run.detect(table.drop(columns="height"))


def impossible(holes: float = 0.0) -> pd.DataFrame:
    """Rows two of which have a cell that its column can't have."""
    table = people(seed=2, holes=holes)
    table["city"] = table["city"].astype("str")
    table.loc[1007, "city"] = "Paris"
    table.loc[1009, "height"] = -3.0
    return table


NEVER = (
    r"2 cells of the table are none that their columns can have: 'Paris' at row 1007 \(from 0\), column 'city'; -3.0 "
    r"at row 1009 \(from 0\), column 'height'; log p of their rows is -inf, and all else that is told of their rows is"
)


def test_what_a_column_cannot_have_is_odd_beyond_measure(run: Run) -> None:
    with pytest.warns(LeftOutWarning, match=NEVER):
        found = run.detect(impossible(), samples=20)
    assert np.isinf(found.loc[[1007, 1009], "score"]).all()
    assert found.loc[1007, "why"].startswith("city=Paris (+inf)")
    assert found.loc[1009, "why"].startswith("height=-3.0 (+inf)")
    assert np.isfinite(found["score"]).sum() == ROWS - 2


def test_what_a_column_cannot_have_is_kept_and_the_rest_of_its_row_filled_without_it(run: Run) -> None:
    table = impossible(holes=0.2)
    table.loc[[1007, 1009], "income"] = np.nan
    with pytest.warns(LeftOutWarning, match=NEVER):
        found = run.impute(table, samples=50)
    assert found.table.loc[1007, "city"] == "Paris"
    assert found.table.loc[1009, "height"] == -3.0
    assert found.spread.loc[1007].notna().tolist() == table.loc[1007, found.spread.columns].isna().tolist()
    without = table.copy()
    without.loc[1007, "city"] = without.loc[1009, "height"] = None
    pd.testing.assert_series_equal(found.table["income"], run.impute(without, samples=50).table["income"])


def test_scores_are_of_the_rows_that_can_be(run: Run) -> None:
    parts: list[Scores] = []
    with pytest.warns(LeftOutWarning, match=NEVER):
        found = run.evaluate(impossible(), 20, on_scores=parts.append)
    assert found.impossible == (1007, 1009)
    assert found.n == ROWS - 2
    said = "log p is -inf for rows 1007, 1009, which have a cell that their column can't have: the scores are of the "
    assert said + f"other {ROWS - 2} data alone" in repr(found)
    log_prob = np.concatenate([each.log_prob.numpy() for each in parts])
    error = np.concatenate([each.log_prob_variance.numpy() for each in parts])
    assert (error[[7, 9]] == 0).all()  # it is exact
    assert np.isnan(np.concatenate([each.pareto_k.numpy() for each in parts])[[7, 9]]).all()
    assert np.flatnonzero(np.isinf(log_prob)).tolist() == [7, 9]
    assert found.nll == pytest.approx(-log_prob[np.isfinite(log_prob)].mean(), rel=1e-5)
    with pytest.warns(LeftOutWarning), pytest.raises(ValueError, match="each row of new data has a cell that"):
        run.evaluate(impossible().loc[[1007]], 20)


def test_metrics_are_of_the_rows_that_can_be(run: Run) -> None:
    """Whatever is told beside scores is of the same rows."""
    with pytest.warns(LeftOutWarning, match=NEVER):
        every = run.data(impossible())
    others = run.data(impossible().drop([1007, 1009]))
    y = torch.arange(ROWS) % 2
    every, others = replace(every, y=y), replace(others, y=y[every.possible()])

    def asked(data: TensorSplit) -> list[float]:
        return [
            chained(run.model, data, "new", how=Chains(2, 2, 1), samples=3).nll,
            gaps(run.model, data, "new", how=Refinement(2, 2), samples=3).refined.value,
            decomposed(run.model, data, "new").kl.value,
            disentangled(run.model, data, "new", ["mig"]).numbers[0].value,
            *codes_of(run, data, ROWS, seed=0).mean(1),
        ]

    assert asked(every) == pytest.approx(asked(others), rel=1e-4)
    with pytest.warns(LeftOutWarning):
        never = run.data(impossible().loc[[1007]])
    for ask in (partial(chained, samples=3), partial(gaps, samples=3), decomposed, disentangled):
        with pytest.raises(ValueError, match=r"each row of new .*column can't have|has no factors"):
            ask(run.model, never, "new")


def test_a_run_is_read_again_and_gives_the_same(run: Run) -> None:
    again = vaekit.load_run(run.path)
    pd.testing.assert_frame_equal(again.synthesize(10, seed=0).table, run.synthesize(10, seed=0).table)
    new = people(seed=3)
    pd.testing.assert_frame_equal(again.impute(new, samples=50).table, run.impute(new, samples=50).table)


def test_the_commands_write_what_the_methods_give(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = people(seed=3).drop(columns="name").reset_index(drop=True)
    new.to_csv(tmp_path / "new.csv", index=False)
    files = {name: tmp_path / f"{name}.csv" for name in ("imputed", "odd", "made", "codes", "scores")}
    given = [str(run.path), str(tmp_path / "new.csv"), "--out"]
    assert main(["impute", *given, str(files["imputed"]), "--samples", "50"]) == 0
    filled = pd.read_csv(files["imputed"])
    assert list(filled.columns) == list(new.columns)
    assert filled.notna().all().all()
    assert main(["detect", *given, str(files["odd"]), "--samples", "20", "--per-column"]) == 0
    odd = pd.read_csv(files["odd"])
    assert odd["score"].is_monotonic_decreasing
    assert sorted(odd["row"]) == list(range(ROWS))
    where = ["--where", "city=Rome"]
    assert main(["synthesize", str(run.path), "-n", "7", *where, "--out", str(files["made"])]) == 0
    assert pd.read_csv(files["made"])["city"].tolist() == ["Rome"] * 7
    assert main(["encode", *given, str(files["codes"])]) == 0
    assert pd.read_csv(files["codes"])["row"].tolist() == list(range(ROWS))
    assert main(["evaluate", *given, str(files["scores"]), "--samples", "20"]) == 0
    assert len(pd.read_csv(files["scores"])) == ROWS
    capsys.readouterr()
    assert main(["synthesize", str(run.path), "--where", "Rome", "--out", str(files["made"]), "--overwrite"]) == 2
    assert "--where Rome is not COLUMN=VALUE" in capsys.readouterr().err


def test_a_column_that_can_t_be_read_at_all_is_said_so_and_cells_are_told_from_columns(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = people(seed=3)[:4].drop(columns="name")
    new["height"] = ["tall", "tall", "small", None]
    new["city"] = ["Rome", "Paris", "Oslo", "Rome"]
    with pytest.warns(LeftOutWarning) as said:
        run.data(new)
    words = str(said[0].message)
    assert words.startswith(
        "no cell of the table in column 'height' ('tall', 'small', …; accepted: numbers above 0) can "
    )
    assert "; a cell of the table is none that its column can have: 'Paris' at row" in words
    assert words.endswith("log p of their rows is -inf, and all else that is told of their rows is by the other cells")
    anndata = pytest.importorskip("anndata")
    genes = pd.DataFrame(index=pd.Index(["g1", "g2"], dtype=object))
    cells = pd.DataFrame(index=pd.Index(list("abc"), dtype=object))
    anndata.AnnData(np.ones((3, 2), np.float32), cells, genes).write_h5ad(tmp_path / "cells.h5ad")
    assert main(["score", str(run.path), str(tmp_path / "cells.h5ad"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "cells.h5ad is of cells by genes, and lacks 7 of the 7 columns that the model was trained on: " in told
    assert told.count("cells.h5ad") == 1


def test_data_that_are_no_table_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((40, 8, 8)).astype(np.float32))
    other = vaekit.train(tmp_path / "x.npy", tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match="without columns"):
        other.synthesize(3)


def test_large_numbers_are_filled_and_made_up_to_their_digits(tmp_path: Path) -> None:
    """A mean of numbers of 1e12 that lie within 500 of each other does not leave them."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"big": 10**12 + rng.integers(0, 500, 200), "kind": rng.choice(["a", "b", "c"], 200)})
    run = vaekit.train(table, tmp_path / "run", epochs=3, sets=["model.encoder.hidden=[8]", "model.decoder.hidden=[8]"])
    holes = table.astype({"big": "Int64"}).mask(pd.DataFrame({"big": rng.random(200) < 0.3, "kind": False}))
    filled = run.impute(holes, samples=30).table["big"].astype("int64")
    assert filled.between(10**12, 10**12 + 499).all()
    made = run.synthesize(200, where={"kind": "a"}, samples=500).table["big"]
    assert made.nunique() > 20
    assert (made - 10**12).abs().median() < 2000


def test_a_condition_without_a_value_is_refused(run: Run) -> None:
    for nothing in (None, float("nan"), ""):
        with pytest.raises(ValueError, match="has no value"):
            run.synthesize(3, where={"city": nothing})


def test_means_of_two_valued_columns_are_written_as_one_of_them(run: Run, tmp_path: Path) -> None:
    people().to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "out.csv"
    given = [str(run.path), "--data", str(tmp_path / "new.csv"), "--out", str(out), "-n", "4"]
    assert main(["reconstruct", *given]) == 0
    assert set(pd.read_csv(out)["sex"].dropna()) <= {"f", "m"}


def test_what_is_read_is_not_written_over(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new.csv"
    people().to_csv(path, index=False)
    before = path.read_text()
    assert main(["impute", str(run.path), str(path), "--out", str(path)]) == 2
    assert "is the file that is read" in capsys.readouterr().err
    assert path.read_text() == before


def test_without_the_training_data_rows_are_compared_with_each_other_and_that_is_told(run: Run) -> None:
    new = people(seed=4)
    assert run.detect(new, samples=20).attrs["by_training_rows"]
    alone = vaekit.load_run(run.path).detect(new, samples=20, contamination=0.25)  # a data frame is not kept
    assert not alone.attrs["by_training_rows"]
    assert alone["outlier"].mean() == pytest.approx(0.25, abs=0.02)


def test_a_data_frame_is_a_run_called_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["model.encoder.hidden=[4]", "model.decoder.hidden=[4]"]
    made = vaekit.train(people()[["sex", "height"]], epochs=1, sets=small)
    assert made.path == Path("runs/table")


def test_a_cell_may_need_more_digits_than_those_that_are_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"big": 10**12 + rng.integers(0, 500, 100), "kind": rng.choice(["a", "b"], 100)})
    small = ["model.encoder.hidden=[4]", "model.decoder.hidden=[4]"]
    made = vaekit.train(table, tmp_path / "run", epochs=1, sets=small)
    nothing = table.assign(big=np.nan)  # no cell of it has any
    assert made.impute(nothing, samples=20).table["big"].between(10**12, 10**12 + 499).all()


def test_a_category_that_no_row_has_is_next_to_never_made_up(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    city = pd.Categorical(rng.choice(["Rome", "Oslo"], 200), ["Rome", "Lima", "Oslo", "Bern"])
    table = pd.DataFrame({"city": city, "size": rng.normal(size=200)})
    small = ["model.encoder.hidden=[4]", "model.decoder.hidden=[4]"]
    run = vaekit.train(table, tmp_path / "run", epochs=1, sets=small)
    made = run.synthesize(1000).table["city"]
    assert list(made.cat.categories) == ["Rome", "Lima", "Oslo", "Bern"]
    assert made.isin(["Lima", "Bern"]).mean() < 0.02
    rare = table[:2].assign(city=pd.Categorical(["Rome", "Lima"], city.categories))
    few, many = run.detect(rare, samples=20)["score"]
    assert few + 3 < many < few + 15  # it may be: it is declared
    assert described(run.dataset)[0][2] == "categories, 2 of them in no training row"


def test_a_csv_is_written_as_the_one_is_that_it_is_made_of(run: Run, tmp_path: Path) -> None:
    table = people().drop(columns="name").reset_index(drop=True)
    table.to_csv(tmp_path / "new.csv", index=False, sep=";", decimal=",")
    made = vaekit.train(tmp_path / "new.csv", tmp_path / "run", epochs=1, sets=["model.decoder.hidden=[4]"])
    again = {"sep": ";", "decimal": ","}
    for command in ("impute", "detect", "encode", "evaluate"):
        for of in (run, made):  # whatever the run was trained on
            out = tmp_path / f"{command}.csv"
            few = ["--overwrite"] if command == "encode" else ["--overwrite", "--samples", "20"]
            assert main([command, str(of.path), str(tmp_path / "new.csv"), *few, "--out", str(out)]) == 0
            numbers = pd.read_csv(out, **again).select_dtypes("float")
            assert numbers.shape[1] >= 1
            assert len(numbers) == ROWS
    for command in ("synthesize", "sample", "reconstruct"):
        out = tmp_path / f"{command}.csv"
        assert main([command, str(made.path), "-n", "5", "--out", str(out)]) == 0
        assert pd.read_csv(out, **again)["height"].dtype == "float64"
    table.to_csv(tmp_path / "plain.csv", index=False)
    few = ["--samples", "20", "--out", str(tmp_path / "out.csv")]
    assert main(["impute", str(made.path), str(tmp_path / "plain.csv"), *few]) == 0
    assert pd.read_csv(tmp_path / "out.csv")["height"].dtype == "float64"


def test_made_up_numbers_are_none_beyond_those_of_the_training_rows_but_where_that_is_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    money = np.exp(2 * rng.normal(size=300)).round(2)
    frame = pd.DataFrame({"money": money, "count": rng.poisson(3, 300), "sex": rng.choice(["f", "m"], 300)})
    run = vaekit.train("table", tmp_path / "run", data=frame, sets=("training.steps=30", "pictures.report=[]"))
    ends = frame.iloc[run.dataset.splits["train"].origin.astype(int)].agg(["min", "max"])
    made = run.synthesize(5000, seed=0).table
    for name in ("money", "count"):
        assert made[name].min() >= ends[name]["min"]
        assert made[name].max() <= ends[name]["max"]
    assert float(run.sample(5000, seed=0)[:, 0].max()) > ends["money"]["max"]
    beyond = float(2 * ends["money"]["max"])
    assert (run.synthesize(50, {"money": beyond}).table["money"] == beyond).all()
