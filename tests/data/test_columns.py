from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vaekit.data.base import stored
from vaekit.data.columns import Column, frame_of, numbers_of
from vaekit.data.domains import Domain
from vaekit.data.loading import load
from vaekit.data.tabular import new_rows_of_frame

SIZE = Column("size", "categorical", ("large", "small"), dtype="str")
COUNT = Column("n", "count", dtype="int64", decimals=0)
DAY = Column("day", "date", dtype="str", unit="D", format="%d.%m.%Y")

REFUSED = [
    (SIZE, ["small", "huge"], "data, column 'size', has 'huge' in row 1 (from 0); accepted: large, small"),
    (Column("a", "binary", ("x\ny", "z"), dtype="str"), ["u\nv"], "data, column 'a', has 'u\\nv' in row 0 (from 0)"),
    (SIZE, [1, 2], "data, column 'size', has 1 in row 0 (from 0); accepted: large, small"),
    (COUNT, [1, 2.5], "data, column 'n', has 2.5 in row 1 (from 0); accepted: whole numbers from 0 on"),
    (COUNT, [-1, 2], "data, column 'n', has -1.0 in row 0 (from 0); accepted: whole numbers from 0 on"),
    (COUNT, ["3", "many"], "data, column 'n', has 'many' in row 1 (from 0); accepted: numbers"),
    (COUNT, [3, np.inf], "data, column 'n', has inf in row 1 (from 0); accepted: whole numbers from 0 on"),
    (Column("x", "integer"), [1.5], "data, column 'x', has 1.5 in row 0 (from 0); accepted: whole numbers"),
    (Column("x", "real"), [-np.inf], "data, column 'x', has -inf in row 0 (from 0); accepted: finite numbers"),
    (Column("x", "positive"), [1, 0], "data, column 'x', has 0.0 in row 1 (from 0); accepted: numbers above 0"),
    (Column("x", "nonnegative"), [0, -1], "data, column 'x', has -1.0 in row 1 (from 0); accepted: numbers from 0 on"),
    (
        Column("x", "unit", low=0.0, high=1.0),
        [0, 1.5],
        "data, column 'x', has 1.5 in row 1 (from 0); accepted: numbers from 0.0 to 1.0",
    ),
    (Column("x", "real"), [True, "a"], "data, column 'x', has 'a' in row 1 (from 0); accepted: numbers"),
    (Column("x", "real"), [[1], [2]], "column 'x' has cells that are no plain values, such as lists"),
    (
        Column("r", "ordinal", ("1", "2"), dtype="int64"),
        [1, 3],
        "data, column 'r', has 3 in row 1 (from 0); accepted: 1, 2",
    ),
    (
        DAY,
        ["31.01.2024", "32.01.2024"],
        "data, column 'day', has '32.01.2024' in row 1 (from 0); accepted: dates written",
    ),
    (DAY, [3, 4], "data, column 'day', has 3 in row 0 (from 0); accepted: dates written as %d.%m.%Y"),
]


@pytest.mark.parametrize(("column", "cells", "message"), REFUSED)
def test_cells_that_are_none_of_the_column(column: Column, cells: list[Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        column.numbers(pd.Series(cells, name=column.name))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_cells_of_another_type_than_those_trained_on() -> None:
    rating = Column("r", "ordinal", ("3", "4", "10"), dtype="int64")
    for cells in (
        [10, 3],
        [10.0, 3.0],
        ["10", "3"],
        ["10.0", " 3"],
        pd.array([10, 3], "Int64"),
        pd.Categorical([10, 3]),
    ):
        assert rating.numbers(pd.Series(cells)).tolist() == [2, 0]
    flag = Column("f", "binary", ("False", "True"), dtype="bool")
    for cells in ([True, False], [1, 0], ["True", "False"], pd.array([True, False], "boolean")):
        assert flag.numbers(pd.Series(cells)).tolist() == [1, 0]
    assert COUNT.numbers(pd.Series(["7", "", "NA", None, "1,0"])).tolist()[::4] == [7, 1]
    assert Column("d", "date", dtype="datetime64[us]", unit="D").numbers(pd.Series(["1970-01-03"])).tolist() == [2]


def test_values_have_the_types_of_the_user() -> None:
    holes = np.array([1.0, np.nan])
    whole = np.array([1.0, 0.0])
    for dtype, with_holes in (("int64", "Int64"), ("int8", "Int8"), ("uint16", "UInt16"), ("Int32", "Int32")):
        column = Column("n", "count", dtype=dtype)
        assert column.values(whole).dtype == dtype
        assert column.values(holes).dtype == with_holes
    assert Column("n", "count", dtype="int8").values(np.array([300.0])).tolist() == [300]  # more than the type holds
    assert Column("n", "count", dtype="Int8").values(np.array([300.0])).tolist() == [300]
    flag = Column("f", "binary", ("False", "True"), dtype="bool")
    assert flag.values(whole).tolist() == [True, False]
    assert flag.values(holes).dtype == "boolean"
    assert Column("x", "real", decimals=1).values(np.array([0.123])).tolist() == [0.1]
    assert Column("x", "real").values(np.array([0.123])).tolist() == [0.123]
    assert DAY.values(np.array([0.4, np.nan])).isna().tolist() == [False, True]
    assert SIZE.values(np.array([])).dtype == "str"


def test_numbers_that_are_no_categories() -> None:
    with pytest.raises(ValueError, match=r"column 'size' has 2.0 in row 1 .*; accepted: its categories' numbers 0..1"):
        SIZE.values(np.array([0.0, 2.0]))


def test_columns_are_found_by_name() -> None:
    frame = pd.DataFrame({"n": [3, 4], "more": "x", "size": ["small", None]})
    np.testing.assert_array_equal(numbers_of([SIZE, COUNT], frame), [[1, 3], [np.nan, 4]])
    with pytest.raises(ValueError, match=r"test rows has no column 'n' \(is it 'nn'\?\); its columns: nn, size"):
        numbers_of([SIZE, COUNT], frame[["n", "size"]].rename(columns={"n": "nn"}), "test rows")
    with pytest.raises(ValueError, match="data has no column 'size', 'n'; its columns: more"):
        numbers_of([SIZE, COUNT], frame[["more"]])
    with pytest.raises(ValueError, match=r"x has the shape \(2, 3\); there are 2 columns"):
        frame_of([SIZE, COUNT], np.zeros((2, 3)))


def test_a_column_has_a_kind_that_there_is() -> None:
    with pytest.raises(ValueError, match="unknown kind of column 'reel'"):
        Column("a", "reel")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="column 'a', binary, has 0 categories"):
        Column("a", "binary")


def test_new_rows_keep_their_digits_whatever_stands_beside_them() -> None:
    columns = [Column("t", "real"), Column("p", "positive")]
    wide = Domain("positive", location=np.log(1e9), scale=3e-7, warp="log")
    domain = Domain("columns", columns=(Domain("real", location=1e9, scale=5.0), wide))
    cells = [[1e9 + 0.125, 1e9 + 7.25], [1e9 - 3.5, 1e9], [9e15, 9e15]]
    frame = pd.DataFrame(cells, columns=["t", "p"])
    for rows in (frame[:1], frame[1:2], frame):
        assert new_rows_of_frame(columns, rows, "new", domain).x.tolist() == rows.to_numpy().tolist()
        array = rows[["t"]].to_numpy()
        assert stored(array, "new", Domain("real", location=(1e9,), scale=(5.0,))).tolist() == array.tolist()
    near = pd.DataFrame([[0.1, 0.1]], columns=["t", "p"])
    of_ones = Domain("columns", columns=(Domain("real"), Domain("positive", warp="log")))
    assert new_rows_of_frame(columns, near, "new", of_ones).x.dtype == np.float32
    tiny = near.assign(p=1e-60)
    assert new_rows_of_frame(columns, tiny, "new", of_ones).x[0, 1] == 1e-60


def test_numbers_above_zero_stay_so_however_small() -> None:
    numbers = np.r_[1e-60, np.random.default_rng(0).uniform(0.1, 9, 60)]
    split = load(pd.DataFrame({"p": numbers, "b": [0, 1] * 30 + [0]}), validation=0, test=0).splits["train"]
    assert split.x[:, 0].tolist() == numbers.tolist()


def test_cells_that_new_rows_can_not_have_are_said_one_by_one() -> None:
    columns = [Column("day", "date", unit="D", format="%Y-%m-%d", dtype="str"), Column("x", "real")]
    domain = Domain("columns", columns=(Domain("integer", location=19_700, scale=99), Domain("real")))
    frame = pd.DataFrame({"day": ["2024-01-31", "2024-01-31 12:00", "2024-02-01"], "x": [0.5, 1.0, 1e39]})
    found = new_rows_of_frame(columns, frame, "new", domain)
    assert found.refused is not None
    assert np.argwhere(found.refused).tolist() == [[1, 0], [2, 1]]
    assert "'2024-01-31 12:00' at row 1 (from 0), column 'day'; 1e+39 at row 2" in found.impossible.said("new")
    assert "dates written as %Y-%m-%d, in whole days" in columns[0].accepted
