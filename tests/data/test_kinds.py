from __future__ import annotations

import datetime
import json
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from vaekit.data import load
from vaekit.data.columns import Column, frame_of, numbers_of
from vaekit.data.covariates import asked_covariates
from vaekit.data.dates import SECONDS
from vaekit.data.inferring import HANDFUL
from vaekit.data.kinds import in_words, infer
from vaekit.data.tabular import labels_of

RNG = np.random.default_rng(0)
N = 60
MANY = RNG.permutation(np.r_[np.arange(5, 40), np.arange(7, 32)])


def kind_of(values: Any, name: str = "a", **more: Any) -> Column:
    columns, left_out = infer(pd.DataFrame({name: values}), **more)
    assert not left_out
    return columns[0]


def reason(values: Any, name: str = "a") -> str:
    columns, left_out = infer(pd.DataFrame({name: values}))
    assert not columns
    return left_out[name]


def texts(n: int, distinct: int) -> list[str]:
    return [f"word {i % distinct}" for i in range(n)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1] * 30, "binary"),
        ([1.0, 2.0, np.nan] * 20, "binary"),
        ([True, False] * 30, "binary"),
        (pd.array([True, None, False] * 20, "boolean"), "binary"),
        (["yes", "no"] * 30, "binary"),
        ([1, 2, 3, 4, 5] * 12, "ordinal"),
        (list(range(12)) * 5, "ordinal"),
        (list(range(13)) * 5, "count"),
        ([0, 1, 3] * 20, "count"),
        ([-1, 0, 1] * 20, "integer"),
        (np.r_[MANY[:-1], np.nan], "count"),
        (-MANY, "integer"),
        (pd.array([*MANY[:-1], None], "Int64"), "count"),
        (pd.array([*MANY[:-1], None], "int64[pyarrow]"), "count"),
        (MANY.astype(np.uint8), "count"),
        (RNG.normal(size=N), "real"),
        (RNG.normal(size=N).astype(np.float32), "real"),
        (np.exp(RNG.normal(size=N)), "positive"),
        (np.maximum(RNG.normal(size=N), 0), "nonnegative"),
        (np.linspace(0.01, 0.99, N), "unit"),
        (np.linspace(0.1, 0.9, N), "positive"),
        (np.linspace(1, 2, N) * 1e37, "positive"),  # too large to be whole
        (pd.Categorical(["b", "a", "c"] * 20), "categorical"),
        (pd.Categorical(["b", "a", "c"] * 20, ["b", "a", "c"], ordered=True), "ordinal"),
        (pd.date_range("2020-01-01", periods=N), "date"),
        (texts(N, 5), "categorical"),
        (texts(3000, 150), "categorical"),
        (["1,5", "2,25", "-3"] * 20, "real"),
        (["1.5", "2.25", "NA"] * 20, "positive"),
        (["01234", "1234", "00001"] * 20, "categorical"),
        (["2024-01-31", "2024-02-01"] * 30, "date"),
        ([1, "a", None] * 20, "binary"),
        ([f"{i},500" for i in range(N - 1)] + ["1,5"], "positive"),
        ([f"1.{i},5" for i in range(100, 160)], "positive"),
        ([f"1.{i},5" for i in range(100, 159)] + ["1.234"], "positive"),
        (pd.cut(np.arange(N), 3), "ordinal"),
        ([10**30, 1, 2] * 20, "positive"),
        (pd.arrays.SparseArray([0.5, 0, 2] * 20), "nonnegative"),
        (pd.Series(["NA", "a", "b"] * 20, dtype=object), "categorical"),
    ],
)
def test_kinds(values: Any, kind: str) -> None:
    frame = pd.DataFrame({"a": values})
    column = kind_of(values)
    assert column.kind == kind
    x = column.numbers(frame["a"])
    np.testing.assert_array_equal(column.numbers(column.values(x)), x)


@pytest.mark.parametrize(
    ("values", "name", "why"),
    [
        ([7] * N, "a", "constant"),
        ([7.5, None] * 30, "a", "constant"),
        (["x", None] * 30, "a", "constant"),
        ([True] * N, "a", "constant"),
        (pd.Categorical(["a"] * N, ["a", "b"]), "a", "constant"),
        ([None] * N, "a", "no value"),
        ([np.nan] * N, "a", "no value"),
        ([" ", ""] * 30, "a", "no value"),
        (RNG.permutation(N), "a", "identifier"),
        (RNG.permutation(N) + 1.0, "a", "identifier"),
        (10_000 + 7 * np.arange(N), "customer_id", "identifier"),
        (10_000 + 7 * np.arange(N), "PassengerId", "identifier"),
        (2**60 + 7 * np.arange(N), "a", "identifier"),
        (2**60 + np.arange(N) // 2, "a", "whole numbers of more than 15 digits"),
        ([str(10**16 + 1 + 7 * i) for i in range(N)], "a", "identifier"),
        (pd.Series([2**64 + i for i in range(N)], dtype=object), "a", "identifier"),
        ([str(10**16 + 1 + i % 30) for i in range(N)], "a", "whole numbers of more than 15 digits"),
        ([f"name {i}" for i in range(N)], "a", "identifier"),
        (texts(N, 40), "a", "free text, 40 distinct values"),
        ([f"the {i}th cat sat down" for i in range(N)], "a", "free text, 60 distinct values; for topics"),
        ([f"{i} kg" if i % 2 else f"{i}.5 g" for i in range(N)], "a", "numbers in 'g' and 'kg'; give all in one unit"),
        ([*map(str, range(1, N)), "Total"], "a", "'Total' is no number, as the other 59 values are"),
        (
            [f"{1 + i % 12:02d}/{1 + i // 12:02d}/2024" for i in range(N)],
            "a",
            "dates of two readings, day or month first",
        ),
        ([f"{1 + i % 12}/{1 + i % 28}/24 {i}" for i in range(N)], "a", "dates in no one format that is read, such as"),
        ([*(f"{1950 + i}-02-28" for i in range(1, N)), "1999-02-30"], "a", "'1999-02-30' is no date, as the other 59"),
        ([f"1.{i}.0" for i in range(N)], "a", "identifier"),
        ([f"{i},500" for i in range(1, N)], "a", "numbers whose commas may mark thousands or decimals"),
        ([[1], [2]] * 30, "a", "no plain values"),
        ([*range(N), 7, 7, None], "a", "identifier, 60 of 62 values are distinct"),
        ([*(7 * np.arange(N)), 7, 14], "order_id", "identifier, 60 of 62 values are distinct"),
        ([*(f"name {i}" for i in range(N)), "name 1"], "a", "identifier, 60 of 61 values are distinct"),
        ([f"name {i}" for i in range(15)], "a", "identifier"),
        (pd.to_timedelta(np.arange(N), unit="D"), "a", "values of the type timedelta64"),
    ],
)
def test_what_is_left_out(values: Any, name: str, why: str) -> None:
    assert reason(values, name).startswith(why)


def test_years_in_their_order_are_no_numbers_of_rows() -> None:
    for years in (range(1960, 2020), RNG.permutation(np.arange(1960, 2020)), range(1900, 2020, 2)):
        assert kind_of(list(years), "year").kind == "count"
    assert kind_of(list(range(-30, 30))).kind == "integer"
    assert kind_of(texts(15, 5)).kind == "categorical"
    assert kind_of(texts(15, 12)).kind == "categorical"
    assert kind_of(["red", "green", "blue"]).kind == "categorical"  # three rows tell nothing


@settings(max_examples=40, deadline=None)
@given(st.integers(HANDFUL, 400), st.integers(-(10**6), 10**6), st.booleans(), st.integers(0, 9), st.integers(0, 9))
def test_what_numbers_the_rows_does_so_in_any_order_with_a_few_gaps_and_twins(
    rows: int, first: int, turned: bool, gaps: int, twins: int
) -> None:
    few = rows // 50
    numbers = [each for i, each in enumerate(range(rows)) if i >= min(gaps, few) or i == 0]
    numbers += numbers[: min(twins, few)]
    one, other = ([start + each for each in (reversed(numbers) if turned else numbers)] for start in (1, first))
    assert reason(one).startswith("identifier")
    if first not in (0, 1):
        assert kind_of(other).kind in ("count", "integer", "ordinal")


def test_names_that_only_look_like_identifiers() -> None:
    spread = 10_000 + 7 * np.arange(N)
    for name in ("paid", "grid", "width", "ideal"):
        assert kind_of(spread, name).kind == "count"


def test_categories_stand_in_the_order_of_their_numbers() -> None:
    assert kind_of([10, 9] * 30).categories == ("9", "10")
    assert kind_of(["b", "a", "c"] * 20).categories == ("a", "b", "c")
    assert kind_of([3, 5, 4] * 20).categories == ("3", "4", "5")
    ordered = kind_of(pd.Categorical(["low", "high", "mid"] * 20, ["low", "mid", "high"], ordered=True))
    assert ordered.categories == ("low", "mid", "high")


def test_decimals_are_those_seen() -> None:
    assert kind_of([0.5, -1.25, 3.0] * 20).decimals == 2
    assert kind_of(RNG.normal(size=2000)).decimals is None
    assert kind_of(np.r_[np.full(1500, 0.5), -0.125]).decimals == 3
    assert kind_of(np.array([0.1, -0.25] * 30, np.float32)).decimals == 2


DATES = [
    ("2024-01-31", "%Y-%m-%d", "D"),
    ("2024-01-31T12:30:05", "%Y-%m-%dT%H:%M:%S", "s"),
    ("2024-01-31T12:30:00", "%Y-%m-%dT%H:%M:%S", "min"),
    ("2024-01-31 12:30", "%Y-%m-%d %H:%M", "min"),
    ("2024-01-31T12:00:00Z", "%Y-%m-%dT%H:%M:%SZ", "h"),
    ("2024/01/31", "%Y/%m/%d", "D"),
    ("31.01.2024", "%d.%m.%Y", "D"),
    ("31.01.2024 07:05", "%d.%m.%Y %H:%M", "min"),
    ("31/01/2024", "%d/%m/%Y", "D"),
    ("01/31/2024", "%m/%d/%Y", "D"),
    ("01/31/2024 02:05 PM", "%m/%d/%Y %I:%M %p", "min"),
    ("31 Jan 2024", "%d %b %Y", "D"),
    ("January 31, 2024", "%B %d, %Y", "D"),
]


@pytest.mark.parametrize(("text", "form", "unit"), DATES)
def test_dates_that_are_text(text: str, form: str, unit: str) -> None:
    other = text.replace("2024", "1969")
    column = kind_of([text, other, None])
    assert (column.kind, column.format, column.unit) == ("date", form, unit)
    x = column.numbers(pd.Series([other, text, None]))
    assert x[0] < 0 < x[1]
    assert column.values(x).tolist()[:2] == [other, text]
    day = (pd.Timestamp("2024-01-31") - pd.Timestamp("1970-01-01")).days
    assert int(x[1] * SECONDS[unit] // 86_400) == day


@pytest.mark.parametrize("step", ["D", "6h", "15min", "s", "20ms", "us"])
def test_what_lies_between_dates_is_written_as_finely_as_they_are(step: str) -> None:
    dates = pd.Series(pd.date_range("2024-03-01", periods=50, freq=step)).astype("datetime64[us]")
    column = kind_of(dates)
    x = column.numbers(dates)
    between = column.values((x[:-1] + x[1:]) / 2 + (x[1] - x[0]) / 7)
    pd.testing.assert_series_equal(between, between.dt.round(step.lstrip("0123456789")), check_names=False)
    pd.testing.assert_series_equal(column.values(x), dates, check_names=False)


def test_dates_with_a_zone_and_beyond_what_there_is() -> None:
    dates = pd.Series(pd.date_range("2024-03-30 22:00", periods=5, freq="7h", tz="Europe/Berlin"))
    column = kind_of(dates)
    pd.testing.assert_series_equal(column.values(column.numbers(dates)), dates, check_names=False)
    last = kind_of(pd.date_range("2020", periods=9).astype("datetime64[ns]")).values(np.array([1e9, -1e9]))
    assert last.dt.year.tolist() == [2262, 1677]
    assert kind_of(["2020-01-01", "2020-01-02"]).values(np.array([1e9])).tolist() == ["9999-12-31"]


@pytest.mark.parametrize("offset", ["+02:00", "-0330", "+00:00"])
def test_texts_with_a_zone_come_back_in_it(offset: str) -> None:
    texts = [f"2024-01-{day}T12:30:00{offset}" for day in (11, 12, 28)]
    column = kind_of(texts)
    x = column.numbers(pd.Series(texts))
    assert column.values(x).tolist() == texts
    utc = pd.to_datetime(pd.Series(texts), utc=True).dt.tz_localize(None)
    assert (x * SECONDS[column.unit] == (utc - pd.Timestamp(0)).dt.total_seconds()).all()
    other = column.numbers(pd.Series(["2024-01-11T12:30:00+00:00"]))  # the same moment wherever it is written
    assert column.values(other).str.endswith(offset).all()
    mixed = kind_of(["2024-03-30T12:00:00+01:00", "2024-03-31T12:00:00+02:00"])
    assert mixed.zone == "+00:00"
    assert mixed.why.endswith("in the zone +00:00")


MONTHS = [("2024-02", "%Y-%m"), ("2024/02", "%Y/%m"), ("02/2024", "%m/%Y"), ("Feb 2024", "%b %Y")]


@pytest.mark.parametrize(("text", "form"), MONTHS)
def test_months_are_dates(text: str, form: str) -> None:
    other = text.replace("2024", "1999")
    column = kind_of([text, other, None])
    assert (column.kind, column.format) == ("date", form)
    assert column.values(column.numbers(pd.Series([other, text]))).tolist() == [other, text]


TIMES_OF_DAY = [
    (["08:30", "23:59", "00:00"], "%H:%M", "min"),
    (["08:30:01", "23:59:59", "00:00:00"], "%H:%M:%S", "s"),
    (["08:30 AM", "11:59 PM", "12:00 AM"], "%I:%M %p", "min"),
    ([datetime.time(8, 30, 1), datetime.time(23, 59, 59), datetime.time(0)], "%H:%M:%S", "s"),
]


@pytest.mark.parametrize(("cells", "form", "unit"), TIMES_OF_DAY)
def test_times_of_day(cells: list[Any], form: str, unit: str) -> None:
    column = kind_of([*cells, None])
    assert (column.kind, column.format, column.unit) == ("date", form, unit)
    assert column.why == f"times of day written as {form}"
    x = column.numbers(pd.Series([*cells, None], dtype=object))
    in_hours = (x * SECONDS[unit] / 3600)[:3]
    np.testing.assert_allclose(in_hours, [8.5, 24, 0], atol=0.02)
    assert column.values(x).tolist()[:3] == cells
    assert column.numbers(pd.Series(["9:00", "9:00:00"])).tolist() == [9 * 3600 / SECONDS[unit]] * 2
    after_midnight = column.values(np.array([86_400 / SECONDS[unit] + x[0]]))
    assert after_midnight.tolist() == cells[:1]
    with pytest.raises(ValueError, match=r"'2024-01-31'.* accepted: times of day written as"):
        column.numbers(pd.Series(["2024-01-31"]))


def test_dates_and_times_of_python_come_back_as_such() -> None:
    dates = [datetime.date(2024, 1, 31), None, datetime.date(1969, 12, 31)]
    times = [datetime.time(8, 30), None, datetime.time(23, 59, 59)]
    for cells in (dates, times):
        column = kind_of(cells)
        found = column.values(column.numbers(pd.Series(cells, dtype=object)))
        assert [None if pd.isna(each) else each for each in found] == cells


def test_dates_of_python_with_times_or_zones_lose_neither() -> None:
    noon, day = datetime.datetime(2024, 1, 31, 12), datetime.date(2024, 2, 1)
    column = kind_of([noon, day])
    assert column.values(column.numbers(pd.Series([noon, day], dtype=object))).tolist() == [noon, pd.Timestamp(day)]
    zones = [datetime.timezone(datetime.timedelta(hours=hours)) for hours in (1, 2)]
    cells = [noon.replace(tzinfo=zone) for zone in zones]
    column = kind_of(cells)
    assert column.values(column.numbers(pd.Series(cells, dtype=object))).tolist() == cells
    with pytest.raises(ValueError, match="column 'a' has dates with a zone and dates without; give a zone to all"):
        kind_of([noon, cells[0]])


def test_whole_numbers_that_are_dates() -> None:
    cells = pd.Series([20240131, 20231231, 20240229])
    column = kind_of(cells)
    assert (column.kind, column.unit, column.why) == ("date", "D", "dates written as %Y%m%d")
    x = column.numbers(cells)
    assert (x[2] - x[0], x[0] - x[1]) == (29, 31)
    pd.testing.assert_series_equal(column.values(x), cells, check_names=False)
    assert column.values(x[:1] + 1).tolist() == [20240201]
    assert column.values(np.array([x[0], np.nan])).tolist() == [20240131, pd.NA]
    with pytest.raises(ValueError, match=r"20240132.* accepted: dates written as %Y%m%d"):
        column.numbers(pd.Series([20240132]))
    assert kind_of([20240131, 20240132, 20240105]).kind == "count"
    assert infer(pd.DataFrame({"x": cells}), {"x": "date"})[0][0].format == "%Y%m%d"


@pytest.mark.parametrize("cells", [["yes", "no", 1], [True, "x", 0], ["true", "TRUE", "False", 1.0, None]])
def test_cells_that_are_true_or_false_in_another_way(cells: list[Any]) -> None:
    column = Column("x", "binary", ("False", "True"), dtype="bool")
    x, refused = column.possible(pd.Series(cells, dtype=object))
    known = {True: 1, 0: 0, "true": 1, "TRUE": 1, "False": 0}
    assert refused.tolist() == [each is not None and each not in known for each in cells]
    np.testing.assert_array_equal(x, [known.get(each, np.nan) for each in cells])


def test_a_date_of_a_standard_is_understood_however_the_others_are_written() -> None:
    column = kind_of(["31/01/2024", "01/02/2024"])
    assert column.numbers(pd.Series(["2024-01-31"])) == column.numbers(pd.Series(["31/01/2024"]))


def test_ratios_and_seasons_are_no_times() -> None:
    assert kind_of(["16:9", "4:3", "16:9", "21:9"] * 5).kind == "categorical"
    assert kind_of(["2012-13", "2013-14", "2014-15"] * 5).kind == "categorical"


def cell(kind: str) -> st.SearchStrategy[Any]:
    whole = st.integers(-(2**40), 2**40)
    return {
        "int64": whole,
        "Int64": st.none() | whole,
        "int8": st.integers(-128, 127),
        "UInt16": st.none() | st.integers(0, 2**16 - 1),
        "int64[pyarrow]": st.none() | whole,
        "float64": st.none() | st.floats(-1e6, 1e6) | whole.map(float),
        "decimals": st.none() | st.integers(-(10**7), 10**7).map(lambda n: n / 1000),
        "float32": st.none() | st.floats(-1e6, 1e6, width=32),
        "Float64": st.none() | st.floats(-1e6, 1e6),
        "bool": st.booleans(),
        "boolean": st.none() | st.booleans(),
        "bool[pyarrow]": st.none() | st.booleans(),
        "str": st.none() | st.sampled_from(["a", " b", "ä, ö", 'say "no"', "NA", "1"]),
        "string": st.none() | st.sampled_from(["x", "y", "z"]),
        "object": st.none() | st.sampled_from(["x", "y", "z"]),
        "category": st.none() | st.sampled_from(["u", "v", "w"]),
        "numbered": st.none() | st.sampled_from([3, 1, 2]),
        "ordered": st.none() | st.sampled_from(["low", "mid", "high"]),
        "datetime64[ns]": st.none() | st.datetimes(pd.Timestamp("1700"), pd.Timestamp("2200")),
        "datetime64[us]": st.none() | st.dates().map(pd.Timestamp),
        "datetime64[us, UTC]": st.none() | st.datetimes(pd.Timestamp("1700"), pd.Timestamp("2200")),
        "days": st.none() | st.dates(min_value=pd.Timestamp("1000-01-01").date()).map(lambda day: f"{day:%d.%m.%Y}"),
    }[kind]


TYPES = ["int64", "Int64", "int8", "UInt16", "int64[pyarrow]", "float64", "decimals", "float32", "Float64", "bool"]
TYPES += ["boolean", "bool[pyarrow]", "str", "string", "object", "category", "numbered", "ordered", "datetime64[ns]"]
TYPES += ["datetime64[us]", "datetime64[us, UTC]", "days"]


def series(kind: str, cells: list[Any]) -> pd.Series:
    dtype: Any = {
        "decimals": "float64",
        "days": "str",
        "category": pd.CategoricalDtype(["u", "v", "w"]),
        "numbered": pd.CategoricalDtype([3, 1, 2]),
        "ordered": pd.CategoricalDtype(["low", "mid", "high"], ordered=True),
    }.get(kind, kind)
    if kind == "datetime64[us, UTC]":
        return pd.to_datetime(pd.Series(cells, dtype="object"), utc=True).astype(dtype)
    return pd.Series(cells, dtype=dtype)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(1, 30))
    kinds = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=5))
    columns = {f"c{i}": draw(st.lists(cell(kind), min_size=rows, max_size=rows)) for i, kind in enumerate(kinds)}
    return pd.DataFrame({name: series(kind, columns[name]) for name, kind in zip(columns, kinds, strict=True)})


@settings(max_examples=40, deadline=None)
@given(frames(), st.randoms(use_true_random=False))
def test_round_trip(frame: pd.DataFrame, random: Any) -> None:
    columns, left_out = infer(frame)
    names = [column.name for column in columns]
    assert sorted([*names, *left_out]) == sorted(frame.columns)
    columns = TypeAdapter(tuple[Column, ...]).validate_json(TypeAdapter(tuple[Column, ...]).dump_json(columns))
    if not columns:
        return
    shuffled = frame[random.sample(list(frame.columns), frame.shape[1])]
    x = numbers_of(columns, shuffled)
    assert x.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(x), frame[names].isna())
    back = frame_of(columns, x)
    for column in columns:
        given = frame[column.name]
        if "ns" in column.dtype:  # nanoseconds are no part of numbers of seconds
            given = given.dt.floor("us")
        pd.testing.assert_series_equal(back[column.name], given)
    assert len(columns) + len(left_out) == frame.shape[1]


def test_spec_json_is_plain() -> None:
    column = kind_of(["b", "a", "c"] * 20)
    as_json = json.loads(TypeAdapter(Column).dump_json(column))
    assert as_json["categories"] == ["a", "b", "c"]
    assert TypeAdapter(Column).validate_python(as_json) == column


def test_columns_asked_for() -> None:
    frame = pd.DataFrame(
        {"n": [1, 2, 3, 4] * 5, "x": [0.5, 12.25] * 10, "who": texts(20, 20), "flag": 0, "id": np.arange(20)}
    )
    asked = {"n": "real", "x": "unit", "who": "categorical", "flag": "binary", "id": "count"}
    columns, left_out = infer(frame, asked)
    assert not left_out
    assert {column.name: column.kind for column in columns} == asked
    assert {column.why for column in columns} == {"asked for"}
    assert (columns[1].low, columns[1].high) == (0, 100)
    assert columns[3].categories == ("0", "1")
    pd.testing.assert_frame_equal(frame_of(columns, numbers_of(columns, frame)), frame)
    assert infer(frame, {"n": "none"})[1]["n"] == "asked to be left out"
    assert kind_of([1, 3, 9] * 9, asked={"a": "ordinal"}).categories == ("1", "3", "9")
    assert kind_of(["1,5", "2,5"] * 9, asked={"a": "positive"}).dtype == "float64"
    assert kind_of([1, 2, 3] * 9, asked={"a": "categorical"}).values(np.array([0, np.nan])).dtype == "Int64"


REFUSED = [
    ({"b": "real"}, "unknown column 'b'; accepted: a, c"),
    ({"a": "reel"}, "unknown kind of column 'a': 'reel' (did you mean 'real'?)"),
    ({"a": "count"}, "asked for as count, column 'a', has 0.5 in row 0 (from 0); accepted: whole numbers from 0 on"),
    ({"a": "positive"}, "asked for as positive, column 'a', has -1.5 in row 1"),
    ({"a": "binary"}, "asked for as binary: column 'a' has 3 distinct values; accepted: 2"),
    ({"c": "real"}, "asked for as real: column 'c' has 'x' in row 0 (from 0); accepted: numbers"),
    ({"c": "ordinal"}, "asked for as ordinal: column 'c' has texts, which have no order of their own"),
    ({"c": "date"}, "asked for as date: the cells of column 'c' are no dates of one format, such as 'x'"),
]


def test_a_table_asked_for_as_counts_is_told_so() -> None:
    told = r"asked for as count: column 'c' has 'x' in row 0 \(from 0\); accepted: numbers; or leave it out: columns={"
    with pytest.raises(ValueError, match=told):
        infer(pd.DataFrame({"a": [1, 2], "c": ["x", "y"]}), plain="count")


@pytest.mark.parametrize(("asked", "message"), REFUSED)
def test_what_cannot_be_asked_for(asked: dict[str, str], message: str) -> None:
    frame = pd.DataFrame({"a": [0.5, -1.5, 2.0], "c": ["x", "y", "z"]})
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared whole
        infer(frame, asked)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_numbers_with_decimals_are_no_categories_where_they_are_many() -> None:
    x = np.random.default_rng(0).normal(size=200).round(4)
    said = r"column 'a' has \d+ distinct numbers with decimals in 200 rows, no categories; accepted: 20 at most; "
    for values in (x, [str(each) for each in x]):
        with pytest.raises(ValueError, match=said + "leave the kind out, or ask for ordinal, or bin it first"):
            infer(pd.DataFrame({"a": values}), {"a": "categorical"})
    assert kind_of(np.floor(10 * x), asked={"a": "categorical"}).kind == "categorical"  # numbers of places, say
    assert len(kind_of(x.round(0) / 2, asked={"a": "categorical"}).categories) < 20
    assert kind_of(x, asked={"a": "ordinal"}).kind == "ordinal"
    with pytest.raises(ValueError, match=r"covariate 'a' has .* no categories; accepted: 20 at most; give it as real"):
        asked_covariates(pd.DataFrame({"a": x}), {"a": "categorical"}, "cells")
    with pytest.raises(ValueError, match=r"table, label 'a', has .* no categories; accepted: 20 at most; leave it out"):
        labels_of(pd.Series(x), "table", "a")


@pytest.mark.parametrize("kind", ["real", "date", "unit", "count"])
@pytest.mark.parametrize("empty", [None, np.nan, " "])
def test_a_column_without_values_is_of_no_kind(kind: str, empty: Any) -> None:
    with pytest.raises(ValueError, match=f"asked for as {kind}: column 'a' has no value; leave it out"):
        infer(pd.DataFrame({"a": [empty] * 3}), {"a": kind})


ODD: list[Any] = [1, 2, 3.5, -1, 0, "a", "b", " ", "", "1,5", "2.5", "NA", "2024-01-01", "03/04/2024", None, np.nan]
ODD += [True, False, pd.Timestamp("2020-02-02"), datetime.date(2021, 1, 1), Decimal("1.5"), np.inf, 10**25, b"x"]
ODD += [pd.NaT, pd.NA, datetime.timedelta(1), 1j, "01", "x\ny", pd.Timestamp("2020", tz="UTC"), datetime.time(1)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(ODD), min_size=1, max_size=3).flatmap(
        lambda few: st.lists(st.sampled_from(few), min_size=1, max_size=8)
    ),
    st.none() | st.sampled_from(["real", "count", "binary", "categorical", "ordinal", "date", "unit"]),
)
def test_any_objects_are_a_column_or_refused_in_a_line(cells: list[Any], kind: str | None) -> None:
    frame = pd.DataFrame({"a": pd.Series(cells, dtype="object")})
    message, columns = "", ()
    try:
        columns, left_out = infer(frame, {"a": kind} if kind else None)
        assert len(columns) + len(left_out) == 1
    except ValueError as error:
        message = str(error)
    assert "\n" not in message
    if columns:
        x = numbers_of(columns, frame)
        np.testing.assert_allclose(numbers_of(columns, frame_of(columns, x)), x)


def test_infinite_numbers_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"column 'a' has inf in row 1 \(from 0\); accepted: finite numbers, or an empty"
    ):
        infer(pd.DataFrame({"a": [0.5, np.inf, 1.5]}))


def test_kinds_in_words() -> None:
    columns, left_out = infer(pd.DataFrame({"n": [3, 9, 0, 3], "size": ["l", None, "s", "m"], "who": "me"}))
    assert [(each.name, in_words(each), each.why) for each in columns] == [
        ("n", "count", "whole numbers from 0 on"),
        ("size", "categorical, 3 categories", "3 values"),
    ]
    assert left_out == {"who": "constant"}


def test_very_many_columns() -> None:
    x = RNG.integers(0, 3, (10, 3_000))
    frame = pd.DataFrame(x, columns=[f"g{i}" for i in range(x.shape[1])])
    columns, left_out = infer(frame)
    assert len(columns) + len(left_out) == x.shape[1]
    kept = [column.name for column in columns]
    pd.testing.assert_frame_equal(frame_of(columns, numbers_of(columns, frame)), frame[kept])


def test_of_very_many_columns_what_is_the_same_is_said_in_a_line() -> None:
    genes = pd.DataFrame(np.random.default_rng(0).poisson(2.0, (60, 400)), columns=[f"g{i}" for i in range(400)])
    genes.iloc[:, 100:] = 0
    genes.iloc[7, :50] = 10**6
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        notes = load(genes).notes
    assert "300 columns are left out, constant: g100, g101, g102, g103, g104 and 295 more" in notes
    assert sum("far from all others" in each for each in notes) == 5
    assert any(each.startswith("so are values of 45 other columns: g5") for each in notes)
    assert all(len(str(each.message)) < 1000 for each in said)
