"""Numbers as people write them: read, refused where two readings are left, written as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.data.columns import Column
from vaekit.data.kinds import infer
from vaekit.data.numerals import Numeral, numeral_of
from vaekit.data.sniffing import has_names

RNG = np.random.default_rng(0)
SIZES = RNG.lognormal(7, 1, 60)
SIGNED = RNG.normal(0, 2000, 60)


def german(x: float, digits: int = 2) -> str:
    return f"{x:,.{digits}f}".translate(str.maketrans(",.", ".,"))


def column_of(cells: list[Any], asked: dict[str, str] | None = None) -> Column:
    columns, left_out = infer(pd.DataFrame({"a": cells}), asked)
    assert not left_out
    return columns[0]


@pytest.mark.parametrize(
    ("write", "numbers", "kind"),
    [
        (lambda x: f"${x:,.2f}", SIZES, "positive"),
        (lambda x: f"${x:,.0f}", SIZES, "count"),
        (lambda x: f"€ {x:.0f}", SIZES, "count"),
        (lambda x: f"{german(x)} €", SIZES, "positive"),
        (lambda x: german(1000 * x, 0), SIZES, "count"),
        (lambda x: f"{x:,.1f}".replace(",", " ").replace(".", ","), SIZES, "positive"),
        (lambda x: f"{x:,.1f}".replace(",", "\u202f").replace(".", ","), SIZES, "positive"),
        (lambda x: f"CHF {x:,.2f}".replace(",", "'"), SIZES, "positive"),
        (lambda x: f"USD {x:,.2f}", SIZES, "positive"),
        (lambda x: f"{x:,.0f}", SIZES, "count"),
        (lambda x: f"{1000 * x:,.0f}", SIZES, "count"),
        (lambda x: f"{int(x):,}+", SIZES, "count"),
        (lambda x: f"{x / 100:.1f} kg", SIZES, "positive"),
        (lambda x: f"{x:.0f}m2", SIZES, "count"),
        (lambda x: f"{x / 100:.2f} km/h", SIZES, "positive"),
        (lambda x: f"{x / 10:.1f}°C".replace("-", "−"), SIGNED, "real"),
        (lambda x: f"(${-x:,.2f})" if x < 0 else f"${x:,.2f}", SIGNED, "real"),
        (lambda x: f"-${-x:,.2f}" if x < 0 else f"${x:,.2f}", SIGNED, "real"),
        (lambda x: f"$-{-x:,.2f}" if x < 0 else f"${x:,.2f}", SIGNED, "real"),
        (lambda x: f"{x:.1f}%", np.linspace(0.3, 99.8, 60), "unit"),
        (lambda x: f"{x:.0f} stars", np.arange(60) % 5 + 1, "ordinal"),
        (lambda x: f"{x:.0f} months", np.arange(60) % 2 * 24 + 36, "binary"),
        (lambda x: f"{x:.0f} day" + "s" * bool(x != 1), np.arange(60) % 30, "count"),
    ],
)
def test_numbers_with_marks_are_read_and_written_as_they_were(
    write: Callable[[float], str], numbers: np.ndarray, kind: str
) -> None:
    cells = pd.Series([*map(write, numbers), None], dtype="str")
    column = column_of(cells)
    assert column.kind == kind
    x = column.numbers(cells)
    if not column.categories:
        scale = 1000 if kind == "count" and "," not in write(5.0) and numbers is SIZES and x.max() > 1e5 else 1
        assert np.abs(x[:-1] / scale).max() > 20  # no mark of thousands was taken for one of decimals
    pd.testing.assert_series_equal(column.values(x), cells, check_names=False)
    assert not column.refused(cells).any()


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        Numeral,
        before=st.sampled_from(["", "$", "€ ", "USD "]),
        after=st.sampled_from(["", "%", " kg", " m2"]),
        group=st.sampled_from(["", " ", "'"]),
        decimal=st.sampled_from([".", ","]),
        places=st.sampled_from([None, 0, 2]),
        minus=st.sampled_from(["-", "−", "()"]),
        inside=st.booleans(),
    ),
    st.lists(st.integers(-(10**8), 10**8), min_size=1, max_size=20),
)
def test_what_a_numeral_writes_it_reads(numeral: Numeral, numbers: list[int]) -> None:
    for number in numbers:
        value = number if numeral.places == 0 else number / 100
        assert numeral.number(numeral.written(value)) == value


@pytest.mark.parametrize(
    ("cells", "whole", "numbers"),
    [
        (["1,234", "950"], False, [1234, 950]),
        (["1,234", "1500"], False, [1.234, 1500]),
        (["0,500", "1,250"], False, [0.5, 1.25]),
        (["1.234 kg", "0.5 kg"], False, [1.234, 0.5]),
        (["1.234 kg", "2.500 kg"], False, [1.234, 2.5]),
        (["€ 1.234", "€ 950"], False, [1234, 950]),
        (["1,234", "2,500"], True, [1234, 2500]),
        (["0", "3 kg"], False, [0, 3]),
    ],
)
def test_what_a_mark_is_is_told_by_the_others(cells: list[str], whole: bool, numbers: list[float]) -> None:
    numeral = numeral_of(cells, whole)
    assert isinstance(numeral, Numeral)
    assert [numeral.number(each) for each in cells] == numbers


@pytest.mark.parametrize(
    "cells",
    [
        ["A001", "A002"],
        ["word 1", "word 2"],
        ["1st", "2nd", "3rd", "4th"],
        ["192.168.0.1", "192.168.0.2"],
        ["555-1234", "555-1235"],
        ["10-20", "20-30"],
        ["1/2", "3/4"],
        [f"{i} word{i}" for i in range(9)],
        ["5'10\"", "6'1\""],
        ["12 kg", "heavy"],
        ["007 kg", "12 kg"],
        ["(12 kg", "3 kg"],
        ["1,23,456", "2"],
        [],
    ],
)
def test_what_is_nothing_like_numbers_is_left_to_others(cells: list[str]) -> None:
    assert numeral_of(cells) == ""


def test_units_of_one_and_of_several() -> None:
    assert numeral_of(["1 day", "2 days", "0"]) == Numeral(after=" days", places=0, one=" day")
    assert numeral_of(["1 day", "2 day", "3 days"]) == "numbers in 'day' and 'days'; give all in one unit"
    assert numeral_of(["1 kg", "2 g"]) == "numbers in 'g' and 'kg'; give all in one unit"


def test_whole_numbers_that_are_asked_for_have_marks_of_thousands() -> None:
    cells = [f"{i},500" for i in range(1, 60)]
    assert column_of(cells, {"a": "count"}).numbers(pd.Series(cells)).max() == 59_500
    assert column_of(cells, {"a": "positive"}).numbers(pd.Series(cells)).max() == 59.5


@pytest.mark.parametrize("mark", ["-", "--", "—", ".", "?", "n/a", "unknown", "Missing", "#DIV/0!", "not available"])
@pytest.mark.parametrize("write", ["{:.0f}", "{:.2f}", "${:,.2f}", "2024-01-{:02.0f}"])
def test_words_among_numbers_and_dates_are_missing_cells(mark: str, write: str) -> None:
    numbers = SIZES if "-" not in write else np.arange(60) % 28 + 1
    cells = pd.Series([*map(write.format, numbers), mark, mark])
    column = column_of(cells)
    assert f"{mark!r} for missing" in column.why
    assert np.isnan(column.numbers(cells)).sum() == 2
    assert np.isnan(column.numbers(pd.Series([mark]))).all()


@pytest.mark.parametrize("levels", [2, 5])
def test_words_among_levels_are_missing_cells(levels: int) -> None:
    cells = pd.Series([*(str(i % levels) for i in range(40)), "unknown"])
    column = column_of(cells)
    assert len(column.categories) == levels
    assert np.isnan(column.numbers(cells)).tolist() == [False] * 40 + [True]
    with pytest.raises(ValueError, match="'high'"):
        column.numbers(pd.Series(["high"]))


def test_words_among_words_are_categories() -> None:
    assert column_of(["yes", "no", "-", "unknown"] * 10).categories == ("-", "no", "unknown", "yes")
    assert column_of(["5", "-"] * 10).categories == ("-", "5")  # one number tells nothing but that it is there


def test_cells_of_another_unit_are_none_of_the_column() -> None:
    column = column_of([f"{x:.1f} kg" for x in SIZES])
    assert column.numbers(pd.Series(["7.5", "1 kg", "2kg"])).tolist() == [7.5, 1, 2]
    assert column.numbers(pd.Series([7.5])).tolist() == [7.5]
    assert column.refused(pd.Series(["7 g", "$7", "1,234 kg", "kg"])).all()
    accepted = r"accepted: numbers above 0, written as 1234\.5 kg"
    with pytest.raises(ValueError, match=rf"has '7 g' in row 0 \(from 0\); {accepted}"):
        column.numbers(pd.Series(["7 g"]))


def test_a_column_says_how_its_numbers_are_written() -> None:
    german = column_of([f"{x:.1f}%".replace(".", ",") for x in SIZES])
    assert german.refused(pd.Series(["45.6%", "45,6%", "45.6"])).tolist() == [True, False, False]
    assert german.accepted.endswith(", written as 1234,5%")
    assert column_of([f"${x:,.0f}" for x in SIZES], {"a": "count"}).accepted.endswith(", written as $1,234")


def test_names_stand_above_numbers_with_marks() -> None:
    assert has_names([["price", "size"], ["$3.00", "-"], ["$4.50", "2 kg"]])
    assert not has_names([["$2.00", "1 kg"], ["$3.00", "-"], ["$4.50", "2 kg"]])
