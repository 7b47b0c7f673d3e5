"""Estimators of scikit-learn: its own checks of them, and on its data that they do better than what is simple."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from functools import cache
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from vaekit.errors import LeftOutWarning
from vaekit.interop.sklearn import VAEImputer, VAEOutlierDetector, VAESynthesizer, VAETransformer

pytestmark = pytest.mark.filterwarnings("ignore:columns of X that are left out")

ALL = (VAEImputer, VAEOutlierDetector, VAESynthesizer, VAETransformer)
TINY = {"epochs": 1, "hidden": (8,), "latent_size": 2, "samples": 2, "device": "cpu"}
SMALL = {"hidden": (32,), "latent_size": 4, "batch_size": 32, "learning_rate": 5e-3, "device": "cpu", "random_state": 0}
EACH = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def by_turns() -> pytest.MarkDecorator:
    """What scikit-learn checks of all estimators is checked of two of them by turns; of the others in slow tests."""
    every = parametrize_with_checks([kind(**TINY) for kind in ALL])
    named, found = every.kwargs["ids"], defaultdict[str, list[Any]](list)
    for estimator, check in every.args[1]:
        found[named(check)].append((estimator, check))
    cases = [
        pytest.param(*case, marks=[pytest.mark.slow] if len(same) == len(ALL) and (i + j) % 2 else [])
        for i, same in enumerate(found.values())
        for j, case in enumerate(same)
    ]
    return pytest.mark.parametrize(("estimator", "check"), cases, ids=named)


@by_turns()
def test_scikit_learn_s_own_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without which one of them is skipped
    check(estimator)


def mixed(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """A table of every kind of column, some cells missing, and columns that no model learns."""
    rng = np.random.default_rng(seed)
    size = rng.choice(["small", "large", "huge"], rows)
    table = pd.DataFrame(
        {
            "name": [f"item {i}" for i in range(rows)],
            "size": size,
            "weight": np.where(size == "huge", 100.0, 10.0) * rng.lognormal(0, 0.1, rows),
            "fixed": "metre",
            "count": rng.poisson(20, rows),
            "sold": pd.array(rng.random(rows) < 0.5, dtype="boolean"),
            "grade": pd.Categorical(rng.choice(["c", "b", "a"], rows), ["c", "b", "a"], ordered=True),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D"),
            "empty": np.full(rows, np.nan),
        }
    )
    table.index = [f"row {i}" for i in range(rows)]
    for name in ("size", "weight", "fixed", "sold", "grade", "day"):
        table.loc[rng.random(rows) < 0.2, name] = None
    return table


@cache
def fitted(kind: Any, seed: int = 0) -> Any:
    """An estimator of `mixed`."""
    return kind(**TINY, random_state=seed).fit(mixed())


# -- filling holes ---------------------------------------------------------------------------------------------------


def test_it_fills_holes_better_than_means_do() -> None:
    x = load_wine().data
    gone = np.random.default_rng(0).random(x.shape) < 0.3
    holes = np.where(gone, np.nan, x)

    def error(filled: np.ndarray) -> float:
        return float(np.sqrt((((filled - x) / x.std(0))[gone] ** 2).mean()))

    filled = VAEImputer(epochs=40, samples=20, **SMALL).fit_transform(holes)
    assert (filled[~gone] == x[~gone]).all()
    assert error(filled) < 0.9 * error(SimpleImputer().fit_transform(holes))


def test_a_table_keeps_its_columns_their_order_and_types() -> None:
    table = mixed()
    imputer = VAEImputer(**TINY, random_state=0).set_output(transform="pandas")
    with pytest.warns(LeftOutWarning, match="left out: 'name': identifier; 'fixed': constant; 'empty': no value; say"):
        imputer.fit(table)
    filled = imputer.transform(table)
    assert filled.columns.tolist() == table.columns.tolist() == imputer.get_feature_names_out().tolist()
    assert filled.dtypes.drop("empty").equals(table.dtypes.drop("empty"))
    assert filled.index.equals(table.index)
    assert not filled.drop(columns="empty").isna().any().any()
    assert filled["empty"].isna().all()
    assert (filled["fixed"] == "metre").all()
    seen = table.notna()
    assert filled.astype(object).where(seen).equals(table.astype(object).where(seen))
    assert imputer.left_out_ == {"name": "identifier", "fixed": "constant", "empty": "no value"}


def test_without_set_output_it_gives_arrays() -> None:
    table = mixed()
    filled = VAEImputer(**TINY, random_state=0).fit_transform(table)
    assert isinstance(filled, np.ndarray)
    assert filled.shape == table.shape
    numbers = VAEImputer(**TINY, random_state=0).fit_transform(table[["weight", "count"]])
    assert numbers.dtype == np.float64


def test_columns_of_an_array_that_say_nothing_are_filled_as_they_can_be() -> None:
    x = np.column_stack(
        [np.arange(20.0), np.full(20, 7.0), np.full(20, np.nan), np.random.default_rng(0).normal(size=20)]
    )
    imputer = VAEImputer(**TINY, random_state=0).fit(x)
    assert imputer.left_out_ == {"x1": "constant", "x2": "no value"}
    x[3] = np.nan
    filled = imputer.transform(x)
    assert filled[3, 1] == 7.0
    assert np.isnan(filled).any(0).tolist() == [False, False, True, False]


def test_where_no_column_can_be_learned_constants_are_filled() -> None:
    x = np.full((5, 2), 3.0)
    x[2, 0] = np.nan
    imputer = VAEImputer(**TINY)
    assert (imputer.fit_transform(x) == 3.0).all()
    assert imputer.score(x) == 0
    assert joblib_copy(imputer).transform(x).shape == (5, 2)
    with pytest.raises(ValueError, match="no column to learn from"):
        VAETransformer(**TINY).fit(x)


def test_cells_that_a_column_can_t_have_stay_and_have_no_probability() -> None:
    table = mixed()
    imputer = VAEImputer(**TINY, random_state=0).set_output(transform="pandas").fit(table)
    new = table.copy()
    new.iloc[0, table.columns.get_loc("size")] = "vast"
    new.iloc[0, table.columns.get_loc("weight")] = np.nan
    new.iloc[1, table.columns.get_loc("weight")] = -1.0
    new["count"] = new["count"].astype(float)
    new.iloc[0, table.columns.get_loc("count")] = 3.5
    new.iloc[1, table.columns.get_loc("count")] = np.nan
    new["grade"] = new["grade"].astype(object)
    new.iloc[0, table.columns.get_loc("grade")] = "d"
    filled = imputer.transform(new)
    assert filled["count"].iloc[0] == 3.5
    assert filled["grade"].iloc[0] == "d"
    assert filled["size"].iloc[0] == "vast"
    assert filled["weight"].iloc[0] > 0
    assert filled["weight"].iloc[1] == -1.0
    scores = imputer.score_samples(new)
    assert np.isneginf(scores[:2]).all()
    assert np.isfinite(scores[2:]).all()
    detector = fitted(VAEOutlierDetector)
    assert detector.predict(new)[:2].tolist() == [-1, -1]
    assert np.isfinite(detector.decision_function(new)).all()


@EACH
def test_what_is_said_of_a_row_does_not_depend_on_the_rows_beside_it(kind: Any) -> None:
    table, estimator = mixed(), fitted(kind)
    asked = [name for name in ("transform", "score_samples", "decision_function") if hasattr(estimator, name)]
    order = np.random.default_rng(1).permutation(len(table))[:7]
    for name in asked:
        every, some = getattr(estimator, name)(table), getattr(estimator, name)(table.iloc[order])
        np.testing.assert_array_equal(pd.DataFrame(every).iloc[order].isna(), pd.DataFrame(some).isna())
        if every.dtype != object:
            np.testing.assert_allclose(every[order], some, rtol=1e-9, atol=1e-9)
        else:
            assert pd.DataFrame(every).iloc[order].reset_index(drop=True).equals(pd.DataFrame(some))


def test_kinds_of_columns_are_those_asked_for() -> None:
    x = np.random.default_rng(0).integers(0, 5, (40, 2)).astype(float)
    assert [each.kind for each in VAEImputer(**TINY).fit(x).columns_] == ["ordinal", "ordinal"]
    asked = VAEImputer(**TINY, columns={"x0": "categorical", 1: "real"}).fit(x)
    assert [each.kind for each in asked.columns_] == ["categorical", "real"]
    assert VAEImputer(**TINY, columns={0: "none"}).fit(x).left_out_ == {"x0": "asked to be left out"}
    with pytest.raises(ValueError, match="x7"):
        VAEImputer(**TINY, columns={"x7": "real"}).fit(x)


# -- odd rows ----------------------------------------------------------------------------------------------------------


def test_it_finds_malignant_cells_from_benign_ones_alone() -> None:
    x, benign = load_breast_cancer(return_X_y=True)
    train, new = x[benign == 1][:250], np.concatenate([x[benign == 1][250:], x[benign == 0]])
    detector = VAEOutlierDetector(epochs=15, samples=10, contamination=0.05, **SMALL).fit(train)
    labels = np.repeat([1, 0], [len(new) - (benign == 0).sum(), (benign == 0).sum()])
    assert roc_auc_score(labels, detector.decision_function(new)) > 0.9
    assert (detector.predict(train) == -1).mean() == pytest.approx(0.05, abs=0.01)
    small = VAEOutlierDetector(**TINY, contamination=0.05)
    assert (small.fit_predict(train) == small.predict(train)).all()


@pytest.mark.parametrize("contamination", [0, 0.6, -1])
def test_a_contamination_is_a_part_of_the_rows(contamination: float) -> None:
    with pytest.raises(ValueError, match=r"contamination is .*\(0, 0.5\]"):
        VAEOutlierDetector(**TINY, contamination=contamination).fit(np.eye(4))


# -- rows made up ------------------------------------------------------------------------------------------------------


def test_rows_are_of_the_user_s_own_types_and_keep_what_is_asked_for() -> None:
    table = mixed()
    maker = fitted(VAESynthesizer)
    made = maker.sample(30)
    assert made.columns.tolist() == table.columns.tolist()
    learned = [each.name for each in maker.columns_]
    assert made[learned].dtypes.map(str).str.lower().equals(table[learned].dtypes.map(str).str.lower())
    assert not made[learned].isna().any().any()
    assert (made["fixed"] == "metre").all()
    assert made["name"].isna().all()
    where = {"size": "huge", "count": 25, "fixed": "metre"}
    given = maker.sample(20, where=where)
    assert len(given) == 20
    for name, value in where.items():
        assert (given[name] == value).all()
    assert made.equals(maker.sample(30))
    assert not made.equals(maker.sample(30, random_state=1))


def test_conditions_of_an_array_are_by_number_or_name_and_refused_where_they_can_t_be() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 2] = 4.0
    maker = VAESynthesizer(**TINY, random_state=0).fit(x)
    for where in ({0: 1.25}, {"x0": 1.25, "x2": 4.0}):
        made = maker.sample(6, where=where)
        assert made.shape == (6, 3)
        assert (made[:, 0] == 1.25).all()
        assert (made[:, 2] == 4.0).all()
    for wrong, message in (({"x9": 1.0}, "x9"), ({"x2": 5.0}, "always 4.0"), ({"x0": "red"}, "red")):
        with pytest.raises(ValueError, match=message):
            maker.sample(1, where=wrong)


def test_columns_are_meant_by_any_number_that_one_has_and_by_no_other() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    asked = VAESynthesizer(**{**TINY, "hidden": 8}, columns={np.int64(1): "none"}).fit(x)
    assert asked.left_out_ == {"x1": "asked to be left out"}
    assert asked.spec_.model.encoder.options["hidden"] == [8]
    assert asked.sample(2, where={np.int64(0): 0.5})[:, 0].tolist() == [0.5, 0.5]
    for number in (-1, 2):
        with pytest.raises(ValueError, match=rf"columns: there is no column number {number}; accepted: 0 to 1"):
            VAESynthesizer(**TINY, columns={number: "real"}).fit(x)
        with pytest.raises(ValueError, match=f"where: there is no column number {number}"):
            asked.sample(2, where={number: 0.5})


def test_frames_whose_names_are_numbers_come_back_with_them() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=[2019, 2020])
    assert VAESynthesizer(**TINY).fit(frame).sample(2).columns.tolist() == [2019, 2020]
    coder = VAETransformer(**TINY).fit(frame)
    assert coder.inverse_transform(coder.transform(frame)).columns.tolist() == [2019, 2020]


def test_rows_are_like_those_in_training() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1)) * [2.0, -2.0] + [10.0, 0.0] + 0.3 * rng.normal(size=(300, 2))
    made = VAESynthesizer(epochs=25, **SMALL).fit(x).sample(2000)
    assert made.mean(0) == pytest.approx(x.mean(0), abs=0.3)
    assert made.std(0) == pytest.approx(x.std(0), rel=0.2)
    assert np.corrcoef(made.T)[0, 1] < -0.5


# -- codes -------------------------------------------------------------------------------------------------------------


def test_codes_have_names_and_a_way_back() -> None:
    table = mixed()
    coder = VAETransformer(**TINY, random_state=0).set_output(transform="pandas").fit(table)
    codes = coder.transform(table)
    assert codes.columns.tolist() == ["vaetransformer0", "vaetransformer1"]
    assert codes.index.equals(table.index)
    back = coder.inverse_transform(codes)
    assert back.columns.tolist() == table.columns.tolist()
    assert set(back["size"]) <= {"small", "large", "huge"}
    assert (back["weight"] > 0).all()
    with pytest.raises(ValueError, match="codes have 2"):
        coder.inverse_transform(np.zeros((3, 5)))


def test_codes_serve_a_classifier() -> None:
    x, y = load_wine(return_X_y=True)
    model = make_pipeline(VAETransformer(epochs=30, **SMALL), LogisticRegression(max_iter=1000))
    assert model.fit(x[::2], y[::2]).score(x[1::2], y[1::2]) > 0.85


# -- as scikit-learn has it --------------------------------------------------------------------------------------------


def joblib_copy(estimator: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(estimator, f"{folder}/estimator.joblib")
        return joblib.load(f"{folder}/estimator.joblib")


@EACH
def test_a_pickled_estimator_gives_equal_numbers(kind: Any) -> None:
    table, estimator = mixed(), fitted(kind)
    again = joblib_copy(estimator)
    assert (estimator.score_samples(table) == again.score_samples(table)).all()
    if hasattr(estimator, "transform"):
        assert pd.DataFrame(estimator.transform(table)).equals(pd.DataFrame(again.transform(table)))
    if hasattr(estimator, "sample"):
        assert estimator.sample(5, where={"size": "large"}).equals(again.sample(5, where={"size": "large"}))
    state = again.__getstate__()
    assert "model_" not in state
    assert all(isinstance(each, np.ndarray) for each in state["_weights"].values())
    assert isinstance(state["_saved"], str)


def test_a_pickled_estimator_is_of_float32_whatever_torch_makes_by_default() -> None:
    table, estimator = mixed(), fitted(VAETransformer)
    torch.set_default_dtype(torch.float64)
    try:
        again = joblib_copy(estimator)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (estimator.score_samples(table) == again.score_samples(table)).all()


@EACH
def test_a_seed_gives_the_same_and_another_other_numbers(kind: Any) -> None:
    table = mixed()
    again = clone(fitted(kind)).fit(table)
    scores = [each.score_samples(table) for each in (fitted(kind), again, fitted(kind, 1))]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] != scores[2]).any()


def test_a_search_over_a_parameter_in_a_pipeline() -> None:
    x, y = load_wine(return_X_y=True)
    x = np.where(np.random.default_rng(0).random(x.shape) < 0.1, np.nan, x)
    model = make_pipeline(
        VAEImputer(**{**TINY, "random_state": 0}), LogisticRegression(max_iter=50, solver="liblinear")
    )
    model = make_pipeline(VAEImputer(**TINY, random_state=0), VAETransformer(**TINY, random_state=0))
    search = GridSearchCV(model, {"vaetransformer__latent_size": [1, 3]}, cv=2).fit(x, y)
    assert search.best_estimator_[-1].transform(SimpleImputer().fit_transform(x)).shape[1] in (1, 3)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_row_numbers_that_pandas_wrote_are_passed_by() -> None:
    table = pd.DataFrame({"Unnamed: 0": range(30), "b": np.random.default_rng(0).normal(size=30)})
    imputer = VAEImputer(**TINY).set_output(transform="pandas")
    assert imputer.fit_transform(table).equals(table)
    assert imputer.left_out_ == {"Unnamed: 0": "identifier"}


@EACH
def test_it_is_set_by_parameters_of_a_recipe(kind: Any) -> None:
    estimator = kind(**TINY, sets=["model.latents.z.prior=mixture"], random_state=0)
    assert clone(estimator).get_params()["sets"] == ["model.latents.z.prior=mixture"]
    fitted = estimator.fit(np.random.default_rng(0).normal(size=(30, 2)))
    assert fitted.spec_.model.latents["z"].prior.name == "mixture"
    assert fitted.spec_.model.encoder.options["hidden"] == [8]
    assert fitted.n_iter_ == 1
    with pytest.raises(ValueError, match="unknown"):
        kind(recipe="tabel").fit(np.random.default_rng(0).normal(size=(30, 2)))
    with pytest.raises(NotFittedError):
        kind().score_samples([[1.0]])


def test_losses_are_printed_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    VAEImputer(**TINY).fit(x)
    assert capsys.readouterr() == ("", "")
    VAEImputer(**TINY, verbose=1).fit(x)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == "[VAEImputer] x0 real numbers"
    assert lines[3].startswith("[VAEImputer] epoch 1: train ")


@pytest.mark.parametrize("rows", [0, 1])
def test_frames_are_refused_in_scikit_learn_s_words(rows: int) -> None:
    with pytest.raises(ValueError, match=rf"Found array with {rows} sample\(s\)"):
        VAEImputer(**TINY).fit(mixed().iloc[:rows])
    infinite = mixed().assign(weight=np.inf)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        VAEImputer(**TINY).fit(infinite)
    with pytest.raises(ValueError, match="Complex data not supported"):
        VAEImputer(**TINY).fit(mixed().assign(weight=1j))
    with pytest.raises(ValueError, match="feature names"):
        VAEImputer(**TINY).fit(mixed()).transform(mixed().iloc[:, ::-1])


def test_polars_frames_go_in_and_out() -> None:
    polars = pytest.importorskip("polars")
    table = mixed().drop(columns="empty")
    frame = polars.from_pandas(table)
    imputer = VAEImputer(**TINY, random_state=0).set_output(transform="polars").fit(frame)
    filled = imputer.transform(frame)
    assert isinstance(filled, polars.DataFrame)
    assert filled.columns == table.columns.tolist()
    assert filled["weight"].null_count() == 0
    codes = VAETransformer(**TINY).set_output(transform="polars").fit_transform(frame)
    assert isinstance(codes, polars.DataFrame)
    inverse = VAETransformer(**TINY).fit(frame)
    assert isinstance(inverse.inverse_transform(inverse.transform(frame)), polars.DataFrame)
    made = VAESynthesizer(**TINY).fit(frame).sample(3)
    assert isinstance(made, polars.DataFrame)
    assert made.columns == frame.columns
