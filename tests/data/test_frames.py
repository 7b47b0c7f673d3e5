from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import sys
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaekit.data import load
from vaekit.data.columns import frame_of, numbers_of
from vaekit.data.frames import Frame, as_frame, ending, read_frame
from vaekit.data.headers import Reading
from vaekit.data.kinds import infer
from vaekit.data.large import typed_large
from vaekit.data.workbooks import parquet_pieces

RNG = np.random.default_rng(0)
HEADERLESS = "no line of names was found: columns are x1..x{}; if the first line is one, say header=True"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Frame]:
    def of(
        content: str | bytes, label: str | None = None, header: bool | int | None = None, name: str = "t.csv"
    ) -> Frame:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_frame(path, Reading(label, header))

    return of


Read = Callable[..., Frame]


def cells(frame: Frame) -> dict[str, list[Any]]:
    return {name: [None if pd.isna(each) else each for each in column] for name, column in frame.table.items()}


DIALECTS = {
    "semicolons": "u;v\n1.5;2\n2;3\n4;1\n",
    "decimal commas": "u;v\n1,5;2\n2,0;3\n4,0;1\n",
    "tabs": "u\tv\n1.5\t2\n2\t3\n4\t1\n",
    "tabs and decimal commas": "u\tv\n1,5\t2\n2\t3\n4\t1\n",
    "bars": "u|v\n1.5|2\n2|3\n4|1\n",
    "blanks": "u   v\n1.5 2  \n  2   3\n4\t1",
    "blanks after commas": "u, v\n1.5, 2\n2, 3\n4 ,1\n",
    "quotes": '"u","v"\n"1.5","2"\n"2","3"\n"4","1"\n',
    "empty lines": "u,v\n\n1.5,2\n\n2,3\n4,1\n\n\n",
    "Windows' lines": "u,v\r\n1.5,2\r\n2,3\r\n4,1\r\n",
    "old Macs' lines": "u,v\r1.5,2\r2,3\r4,1\r",
    "a mark": "\ufeffu,v\n1.5,2\n2,3\n4,1\n",
    "more tabs than one": "u\tv\n1.5\t2\n2\t3\n4\t1\n",
}


@pytest.mark.parametrize("text", DIALECTS.values(), ids=DIALECTS)
def test_dialects(text: str, read: Read) -> None:
    frame = read(text)
    assert cells(frame) == {"u": [1.5, 2.0, 4.0], "v": [2, 3, 1]}
    assert frame.table["v"].dtype == "int64"
    assert frame.notes == ()


def test_cells_with_delimiters_and_lines_in_quotes(read: Read) -> None:
    frame = read('a, "height, m",kind\n1, 1.5 ,dog\n2,-2e-1, "a ""big""\ncat, or; so"\n3,0, dog \n')
    assert cells(frame) == {
        "a": [1, 2, 3],
        "height, m": [1.5, -0.2, 0],
        "kind": ["dog", 'a "big"\ncat, or; so', "dog"],
    }
    assert cells(read('size,n\n5" pipe,1\n6" pipe,2\n')) == {"size": ['5" pipe', '6" pipe'], "n": [1, 2]}


def test_columns_set_with_blanks_and_a_tab_before_the_last(read: Read) -> None:
    frame = read('18.0   8   307.0\t"chevrolet malibu"\n15.0   8   350.0\t"buick skylark"\n', name="cars.data")
    assert cells(frame)["x4"] == ["chevrolet malibu", "buick skylark"]


def test_tabs_that_set_columns(read: Read) -> None:
    frame = read("a\tb\n1.5\t\t2\n3\t4\n", name="seeds.txt")
    assert cells(frame) == {"a": [1.5, 3], "b": [2, 4]}
    assert frame.notes == ("cells are taken to stand between runs of blanks and tabs: two tabs are no empty cell",)
    assert cells(read("a\tb\tc\n1\t\t2\n3\t\t4\n"))["b"] == [None, None]


def test_dates_and_times_are_no_reason_to_split_at_blanks(read: Read) -> None:
    assert read("when\n2024-01-01 12:00\n2024-01-02 13:00\n").table.shape == (2, 1)
    assert read("2024-01-01 12:00\t1.5\t2\n2024-01-02 13:00\t2.5\t3\n").table.shape == (2, 3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_say_so(encoding: str, read: Read) -> None:
    frame = read("größe,wert\n1,☃\n2,é\n".encode(encoding))
    assert cells(frame) == {"größe": [1, 2], "wert": ["☃", "é"]}
    assert frame.notes == ()


def test_encodings_that_do_not(read: Read) -> None:
    frame = read("größe,wert\n1,€\n2,é\n".encode("cp1252"))
    assert cells(frame) == {"größe": [1, 2], "wert": ["€", "é"]}
    others = "; others are encoding=…, such as cp1251, shift_jis, gb18030"
    assert frame.notes == (f"t.csv is no UTF-8 text: its letters are read as cp1252{others}",)
    assert read(b"a,b\n1,\x81\xe9\n2,x\n").notes == (
        f"t.csv is no UTF-8 text: its letters are read as latin-1{others}",
    )


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "utf-16-le"])
def test_encodings_that_are_told(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").touch()
    path, text = tmp_path / "t.csv", "город,n\nМосква,1\nПермь,2\n"
    path.write_bytes(text.encode(encoding))
    told = Reading(encoding=encoding)
    assert cells(read_frame(path, told)) == {"город": ["Москва", "Пермь"], "n": [1, 2]}
    assert read_frame(path, told).notes == ()
    with pytest.raises(ValueError, match=r"encoding='.*' is of a table's text; .*t\.parquet is none"):
        load(tmp_path / "t.parquet", encoding=encoding)
    path.write_text(text, encoding="utf-8")  # which it says itself
    assert cells(read_frame(path, told))["город"] == ["Москва", "Пермь"]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("klingon", "is no encoding of text; accepted: those of Python, such as cp1251"),
        ("zlib", "is no encoding of text"),
        ("a\0b", "is no encoding of text"),
        ("shift_jis", "byte 8 of .* is none of its letters; accepted: the encoding of its text"),
    ],
)
def test_encodings_that_are_none_of_the_text_are_refused(encoding: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,xy\xff\n")
    with pytest.raises(ValueError, match=said):
        read_frame(path, Reading(encoding=encoding))


def zipped(content: bytes, **names: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", content)
        for name, each in names.items():
            archive.writestr(name, each)
    return stream.getvalue()


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zip": zipped}


@pytest.mark.parametrize("end", PACKERS)
def test_packed_files(end: str, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cells(read(PACKERS[end](b"a,b\n1,2\n3,5\n"), name=f"t.csv{end}")) == {"a": [1, 3], "b": [2, 5]}
    refuses(read, PACKERS[end](b"a,b\n1,2\n3,5\n" * 99)[:-20], "damaged or cut-off packed file", name=f"t.csv{end}")
    monkeypatch.setattr("vaekit.data.formats.UNPACKED", 2**20)
    bomb = PACKERS[end](b"a,b\n" + b"1,2\n" * 2**20)
    refuses(read, bomb, "none of it is read; if that is meant, save it unpacked", name=f"t.csv{end}")


def test_lists_in_parquet_are_left_out(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    path, x = tmp_path / "t.parquet", np.arange(40)
    table = pd.DataFrame({"tags": [["a"]] * 40, "n": x % 7, "x": x / 7, "place": [{"lat": 1.5}] * 40}, index=x + 5)
    parquet.write_table(pyarrow.Table.from_pandas(table), path)
    frame = read_frame(path)
    assert cells(frame) == {"n": (x % 7).tolist(), "x": (x / 7).tolist()}
    assert frame.notes == tuple(f"column {name!r} is left out: no plain values" for name in ("tags", "place"))
    pieces = list(parquet_pieces(path, 30))
    assert [list(each) for each in pieces] == [["n", "x"]] * 2
    assert pieces[1].index[0] == 35
    assert typed_large(path, "t", None, {}, "").notes[0] == frame.notes[0]


def test_archives_of_several_files(read: Read) -> None:
    assert len(read(zipped(b"a,b\n1,2\n", **{"__MACOSX/t.csv": b"x"}), name="t.csv.zip").table) == 1
    refuses(read, zipped(b"a\n", other=b"b"), "is an archive of 2 files; accepted: one table in it", name="t.csv.zip")


@pytest.mark.parametrize(
    "word", ["", "?", "NA", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "nUlL", " NA "]
)
def test_missing_cells(word: str, read: Read) -> None:
    frame = read(f"a,b,c,kind\n1,0.5,x,{word}\n{word},{word},{word},y\n3,2.5,z,NA\n", "kind")
    found = cells(frame)
    assert found["a"] == [1, None, 3]
    assert found["b"] == [0.5, None, 2.5]
    assert found["c"] == ["x", None, "z"]
    assert found["kind"] == [word.strip() if word not in ("", "?") else None, "y", "NA"]
    assert frame.table["a"].dtype == "Int64"


def test_truth(read: Read) -> None:
    table = read("a,b,c,d\nTrue,true,yes,1\nFalse,,no,0\nTRUE,FALSE,yes,1\n").table
    assert [str(dtype) for dtype in table.dtypes] == ["bool", "boolean", "str", "int64"]
    assert table["b"].isna().tolist() == [False, True, False]


def test_labels_and_codes_stay_as_they_are_written(read: Read) -> None:
    text = "zip,n,kind\n01234,0,01\n1234,10,1\n,0.5,1.0\n"
    assert cells(read(text)) == {"zip": ["01234", "1234", None], "n": [0, 10, 0.5], "kind": ["01", "1", "1.0"]}
    assert cells(read(text, "kind"))["kind"] == ["01", "1", "1.0"]
    assert cells(read("a,b\n0,01\n0.5,2\n"))["b"] == ["01", "2"]
    assert cells(read("01,5\n2,6\n3,7\n", header=False))["x1"] == ["01", "2", "3"]
    assert cells(read("a\tb\n1\t0.5\n0\t00.5\n"))["b"] == [0.5, 0.5]
    assert cells(read("kind,a\nTrue,1\nnan,2\n", "kind"))["kind"] == ["True", "nan"]


HEADERS = [
    ("a,b\n1,2\n3,4\n", True),
    ("1,2\n3,4\n5,6\n", False),
    ("0.5,M\n1.5,B\n2.5,M\n", False),
    ("?,red\n1.5,blue\n2.5,red\n", False),
    ("?,colour\n1.5,blue\n2.5,red\n", True),
    ("id,2019,2020\n5,0.5,1\n7,0.25,2\n", True),
    ("2019,2020\n0.5,1\n0.25,2\n", False),
    ("name,town\nann,rome\nbob,oslo\n", True),
    ("p,x,s\ne,x,s\np,b,s\n", False),
    ("2024-01-01,red\n2024-01-02,blue\n", False),
    ("39, State-gov, 77516\n50, Private, 83311\n", False),
]


@pytest.mark.parametrize(("text", "named"), HEADERS)
def test_a_line_of_names_is_found(text: str, named: bool, read: Read) -> None:
    frame = read(text)
    lines, width = text.count("\n"), text.split("\n")[0].count(",") + 1
    assert frame.table.shape == (lines - named, width)
    assert frame.notes == (() if named else (HEADERLESS.format(width),))
    assert len(read(text, header=True).table) == lines - 1
    other = read(text, header=False)
    assert (list(other.table), other.notes) == ([f"x{i + 1}" for i in range(width)], ())


def test_a_name_stands_on_one_line(read: Read) -> None:
    assert list(read('"height\nin m",b\n1,2\n').table) == ["height in m", "b"]


@pytest.mark.parametrize("gap", ["", "-"])
@pytest.mark.parametrize("start", [4_929_123_412_341_234_567, 2**64 + 1])
def test_whole_numbers_of_more_digits_than_floats_have_keep_them_beside_a_gap(start: int, gap: str, read: Read) -> None:
    numbers = [str(start + i) for i in range(30)]
    lines = "\n".join(f"{i},{gap if i == 3 else each}" for i, each in enumerate(numbers))
    kept = cells(read(f"a,card\n{lines}\n"))["card"]
    assert [each for i, each in enumerate(kept) if i != 3] == numbers[:3] + numbers[4:]


def test_comments_are_no_line_of_names(read: Read) -> None:
    text = "# from the sensor\n# units: m, s\na,b\n" + "1,2.5\n" * 5 + "# end\n"
    with pytest.raises(ValueError, match=r"if the names of the columns stand in line 3, say header=3$"):
        read(text)
    with pytest.raises(ValueError, match=r"line 9: 1 cell, but there are 2 columns$"):  # not: say header
        read(text, header=3)
    assert cells(read(text.removesuffix("# end\n"), header=3)) == {"a": [1] * 5, "b": [2.5] * 5}


def test_years_are_names_if_the_user_says_so(read: Read) -> None:
    assert cells(read("2019,2020\n0.5,1\n0.25,2\n", header=True)) == {"2019": [0.5, 0.25], "2020": [1, 2]}


def test_the_column_that_numbers_the_rows_is_left_out(read: Read) -> None:
    for first in ("", "Unnamed: 0"):
        for start in (0, 1):
            frame = read(f"{first},u,v\n" + "".join(f"{i + start},{i / 2},x\n" for i in range(9)))
            assert list(frame.table) == ["u", "v"]
            called = f"called {first!r}" if first else "without a name"
            assert frame.notes == (f"the first column, {called}, only numbers the rows: left out",)
    assert list(read("Unnamed: 0,u\n3,1\n9,2\n").table) == ["Unnamed: 0", "u"]


def refuses(read: Read, content: str | bytes, message: str, label: str | None = None, name: str = "t.csv") -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        read(content, label, name=name)
    assert name in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


LONG = "a,b,c\n" + "1,2,3\n" * 500
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "is empty"),
    "blank": ("\n \n", "is empty"),
    "names only": ("a,b\n", "has a line of names but no rows"),
    "names only, no end": ("a,b", "has a line of names but no rows"),
    "names and blank lines": ("a,b\n\n\n", "has a line of names but no rows"),
    "short": (LONG + "1,2\n" + LONG[6:], "line 502: 2 cells, but there are 3 columns"),
    "short at the end": (LONG + "1,2", "line 502: 2 cells, but there are 3 columns"),
    "long": (LONG + "1,2,3,4\n", "line 502: 4 cells, but there are 3 columns"),
    "short after a line in quotes": ('a,b\n"x\ny",1\n2\n', "line 4: 1 cell, but there are 2 columns"),
    "short of blanks": ("a b c\n" + "1 2 3\n" * 9 + "1  2 \n", "line 11: 2 cells, but there are 3 columns"),
    "a quote not closed": ('a,b\n1,2\n3,"4\n5,6\n7,8\n', "t.csv"),
    "one column": ("a\n1\n2,3\n4\n", "line 3: 2 cells, but there is 1 column"),
    "same names": ("a,b,a\n1,2,3\n", "has more than one column of the name 'a'; rename them"),
    "no name": ("a,,b\n1,2,3\n", "column 2 has no name in the first line; give every column a name, or take it out"),
    "no names": ("a,,\n1,2,3\n", "columns 2, 3 have no name in the first line"),
    "NUL": (b"a,b\n1,2\n3,\0\n", "line 3: a NUL byte, which no text has"),
    "UTF-16 without a mark": ("a,b\n1,2\n".encode("utf-16-le"), "line 1: a NUL byte, which no text has"),
    "UTF-16 cut off": ("a,b\n1,2\n".encode("utf-16")[:-1], "begins as UTF-16-LE does but is none"),
    "junk": (bytes(range(1, 256)) * 9, "has control characters, which no text has"),
    "a long cell": ('a,b\n1,"' + "x" * 200_000 + '"\n2,\n3\n', "field larger than field limit"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str, read: Read) -> None:
    refuses(read, *REFUSED[what])


def test_labels_that_are_not_there(read: Read) -> None:
    refuses(read, "a,kind\n1,x\n", "has no column 'kid'; did you mean 'kind'?", "kid")
    refuses(read, "a,kind\n1,x\n", "has no column 'zzz'; columns: 'a', 'kind'", "zzz")
    refuses(read, "1,x\n2,y\n", "has no column 'kind'; columns: 'x1', 'x2' (no line of names was found; if", "kind")
    assert list(read("1,x\n2,y\n", "x2").table["x2"]) == ["x", "y"]


def test_endings(read: Read, tmp_path: Path) -> None:
    accepted = "accepted: .csv, .tsv, .tab, .data, .txt, .parquet, .xlsx; text also packed: .gz, .bz2, .xz, .zip"
    refuses(read, "a\n", f"has the ending '.zip'; {accepted}", name="t.zip")
    refuses(read, "a\n", "has the ending '.pkl'", name="t.pkl")
    assert [ending(Path(name)) for name in ("a.TSV", "a.b.csv", "a.txt.XZ", "a.xlsx.gz", "csv")] == [
        ".tsv", ".csv", ".txt", None, None,
    ]  # fmt: skip
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match=r"pipe\.csv is a pipe, not a file"):
        read_frame(tmp_path / "pipe.csv")
    with pytest.raises(FileNotFoundError):
        read_frame(tmp_path / "none.csv")


MIXED = pd.DataFrame(
    {
        "n": [1, 2, 3],
        "x": [0.5, None, 2.5],
        "flag": [True, False, True],
        "gaps": pd.array([1, None, 3], "Int64"),
        "word": pd.Series(["a", None, "01"], dtype="str"),
        "size": pd.Categorical(["s", "l", None]),
        "when": pd.to_datetime(["2024-01-31", None, "2024-02-01"]),
    }
)


def test_parquet_keeps_types(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "t.parquet"
    MIXED.to_parquet(path)
    frame = read_frame(path)
    pd.testing.assert_frame_equal(frame.table, MIXED)
    assert frame.notes == ()
    MIXED.set_index("word").to_parquet(path)
    frame = read_frame(path, Reading("n"))
    assert frame.table.index.tolist() == [0, 1, 2]
    assert frame.notes == ("the index of t.parquet, word, is no column: left out",)
    assert frame.table["n"].tolist() == ["1", "2", "3"]


def test_parquet_without_what_pandas_says(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"__index_level_0__": [0, 1, 2], "a": ["x", None, "y"], "n": [7, None, 8]}), path)
    frame = read_frame(path, Reading("a"))
    assert cells(frame) == {"a": ["x", None, "y"], "n": [7, None, 8]}
    assert frame.table["n"].dtype == "Int64"
    assert "only numbers the rows" in frame.notes[0]
    decimals = pyarrow.array([1, 2, None], pyarrow.decimal128(9, 2))
    parquet.write_table(pyarrow.table({"d": decimals, "day": pyarrow.array([0, 1, 2], pyarrow.date32())}), path)
    assert [dtype.kind for dtype in read_frame(path).table.dtypes] == ["f", "M"]


def test_parquet_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"

    def read(table: dict[str, Any] | bytes, label: str | None = None, name: str = "") -> Frame:
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            parquet.write_table(pyarrow.table(table), path)
        return read_frame(path, Reading(label))

    for table, message in [
        ({"a": [[1], [2]], "c": [{"x": 1}, None]}, "has no column of plain values: 'a', 'c'"),
        ({"a": [b"x", b"y"]}, "has columns of files: 'a'; take them out; images are read as files, from"),
        ({"a": [{"bytes": b"x", "path": "1.png"}]}, "has columns of files: 'a'; take them out; images are read"),
        ({"a": pyarrow.array([b"x"], pyarrow.large_binary())}, "has columns of files: 'a'; take them out; images"),
        ({"a": pyarrow.array([], "int64")}, "has no rows"),
        (b"PAR1 and then junk PAR1", "cannot be read as Parquet: "),
        (b"", "cannot be read as Parquet: "),
    ]:
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
            read(table)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="has no column 'b'; columns: 'a'"):
        read({"a": [1, 2]}, "b")
    monkeypatch.setattr("vaekit.data.formats.UNPACKED", 2**20)
    with pytest.raises(ValueError, match="none of it is read"):
        read({"a": np.zeros(2**20)})
    with pytest.raises(ValueError, match="none of it is read"):
        read({"a": ["x" * 2000] * 2000})


def test_libraries_that_are_not_there(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refuses(read, "", "a Parquet file needs pyarrow: pip install 'vaekit[tables]'", name="t.parquet")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    refuses(read, "", "an Excel file needs openpyxl: pip install 'vaekit[tables]'", name="t.xlsx")


def test_excel(tmp_path: Path, read: Read) -> None:
    pytest.importorskip("openpyxl")
    path = tmp_path / "t.xlsx"
    plain = MIXED.drop(columns="size").assign(gaps=pd.array([1, None, 3], "Int64"))
    with pd.ExcelWriter(path) as book:
        plain.to_excel(book, index=False, sheet_name="data")
        plain.to_excel(book, sheet_name="other")
    frame = read_frame(path)
    pd.testing.assert_frame_equal(frame.table, plain, check_dtype=False)
    kinds = [str(dtype) for dtype in frame.table.dtypes]
    assert kinds[:5] == ["int64", "float64", "bool", "Int64", "str"]
    assert frame.table["when"].dtype.kind == "M"
    assert frame.notes == ("t.xlsx: of 2 sheets the first is read, 'data'; another one is sheet=…, of other",)
    assert read_frame(path, Reading("n")).table["n"].tolist() == ["1", "2", "3"]
    plain.to_excel(path)
    assert list(read_frame(path).table) == list(plain)
    pd.DataFrame([[1, 2.5], [3, 4.5]]).to_excel(path, index=False, header=False)
    frame = read_frame(path)
    assert cells(frame) == {"x1": [1, 3], "x2": [2.5, 4.5]}
    assert frame.notes == (HEADERLESS.format(2),)
    pd.DataFrame({"a": []}).to_excel(path, index=False)
    with pytest.raises(ValueError, match="has a line of names but no rows"):
        read_frame(path)
    pd.DataFrame().to_excel(path, index=False)
    with pytest.raises(ValueError, match="is empty"):
        read_frame(path)
    refuses(read, b"junk", "cannot be read as an Excel workbook: File is not a zip file", name="junk.xlsx")
    refuses(read, zipped(b"a\n"), "cannot be read as an Excel workbook: ", name="zip.xlsx")


def test_sparse_columns_are_read_and_written_as_plain_ones() -> None:
    plain = pd.DataFrame({"few": [0, 0, 3, 0, 5, 9] * 10, "flag": [False, True] * 30, "x": [0.0, 1.5, 0.0] * 20})
    sparse = plain.astype({name: pd.SparseDtype(dtype) for name, dtype in plain.dtypes.items()})
    table = as_frame(sparse).table
    pd.testing.assert_frame_equal(table, plain)
    columns, _ = infer(table)
    assert frame_of(columns, numbers_of(columns, table)).dtypes.to_dict() == plain.dtypes.to_dict()


def test_data_frames_of_pandas_keep_types_and_index() -> None:
    table = MIXED.set_index(pd.Index(["r", "s", "t"], name="row"))
    pd.testing.assert_frame_equal(as_frame(table).table, table)
    assert list(as_frame(pd.DataFrame({1: [1, 2], "b": [3, 4]})).table) == ["1", "b"]
    assert list(table) == list(MIXED)


def test_a_column_of_names_of_rows_is_left_out(read: Read) -> None:
    for names in ("7,3,40", "r1,r2,s"):
        rows = "".join(f"{name},{i},{i / 2}\n" for i, name in enumerate(names.split(",")))
        frame = read(f",a,b\n{rows}")
        assert list(frame.table) == ["a", "b"]
        assert frame.notes == ("the first column, without a name, has a name of each row: no column of the table",)
        assert list(map(str, frame.table.index)) == names.split(",")
        refuses(read, f"a,b\n{rows}", "3 cells, but there are 2 columns; the first line has one name too few")
    refuses(
        read, ",a\n7,1\n7,2\n", "the first column has no name, and does not number or name the rows; give it a name"
    )


def test_tables_of_pyarrow() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"^the table has more than one column of the name 'a'; rename them$"):
        as_frame(pyarrow.table([[1], [2]], names=["a", "a"]))
    words = pyarrow.DictionaryArray.from_arrays([1, 0, None], ["x", "y"])
    kept = as_frame(pd.DataFrame({"a": pd.Series(words, dtype=pd.ArrowDtype(words.type))})).table["a"]
    assert kept.cat.categories.tolist() == ["x", "y"]
    assert kept.cat.codes.tolist() == [1, 0, -1]
    frame = as_frame(pyarrow.table({"a": [1, 2], "b": ["x", None], "c": [7, None]}))
    assert cells(frame) == {"a": [1, 2], "b": ["x", None], "c": [7, None]}
    assert frame.table["c"].dtype == "Int64"


def test_data_frames_of_polars() -> None:
    polars = pytest.importorskip("polars")
    assert cells(as_frame(polars.DataFrame({"a": [1, 2], "b": ["x", None]}))) == {"a": [1, 2], "b": ["x", None]}
    with pytest.raises(TypeError, match=r"got a LazyFrame; a data frame is needed.*collect\(\) it first"):
        as_frame(polars.LazyFrame({"a": [1]}))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.zeros((2, 2)), TypeError, "got a ndarray; a data frame is needed, of pandas, polars or pyarrow"),
        ("t.csv", TypeError, "got a str; a data frame is needed"),
        (pd.Series([1]), TypeError, "got a Series; a data frame is needed"),
        (pd.DataFrame(), ValueError, "the table has no columns"),
        (pd.DataFrame({"a": []}), ValueError, "the table has no rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "the table has more than one column of the name 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), ValueError, "the table has more than one column of the name '1'"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([(1, 2)])), ValueError, "has names of 2 levels"),
    ],
)
def test_what_is_no_table(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        as_frame(data)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.tuples(
            *[
                st.one_of(
                    st.none(),
                    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).map("w{}".format),
                )
            ]
            * width
        ),
        min_size=1,
        max_size=20,
    )
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=TABLES, mark=st.sampled_from([",", ";", "\t", "|"]), end=st.sampled_from(["\n", "\r\n"]))
def test_what_pandas_writes_is_read_back(rows: list[tuple[str | None, ...]], mark: str, end: str, read: Read) -> None:
    width = len(rows[0])
    table = pd.DataFrame(rows, columns=[f"c{i}" for i in range(width)], dtype="str").assign(n=range(5, 5 + len(rows)))
    frame = read(table.to_csv(index=False, sep=mark, lineterminator=end), header=True)
    pd.testing.assert_frame_equal(frame.table, table, check_dtype=False)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60)
    | st.text('ab0.1,;\t "\n\r?-|', max_size=60).map(str.encode)
    | st.sampled_from([b"\x1f\x8b", b"PK\x03\x04", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\xff\xfe"]).map(
        lambda b: b + b"junk" * 9
    )
)
def test_any_bytes_are_read_or_refused_in_a_line(content: bytes, read: Read) -> None:
    message, frame = "", None
    try:
        frame = read(content)
    except ValueError as error:
        message = str(error)
    assert "\n" not in message
    if frame:
        assert len(frame.table)
        assert len(set(frame.table.columns)) == frame.table.shape[1]


WORDS = [
    "a",
    "b c",
    "1",
    "2.5",
    "",
    '"q"',
    '"x,y"',
    '"l\nm"',
    '"d""e"',
    " s ",
    '5" p',
    "0.5 ",
    "007",
    'x"y"',
    '"z" ',
    'x"',
]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.lists(st.lists(st.sampled_from(WORDS), min_size=2, max_size=3), min_size=3, max_size=7), width=st.just(2)
)
def test_rows_are_those_of_the_csv_module(body: list[list[str]], width: int, read: Read) -> None:
    text = "h1,h2\n" + "\n".join(",".join(row) for row in body) + "\n"
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), skipinitialspace=True) if row]
    if any(len(row) != width for row in rows):
        with pytest.raises(ValueError, match=r"cells?, but there are 2 columns|a quote not closed|cannot be read"):
            read(text, header=True)
        return
    try:
        frame = read(text, header=True)
    except ValueError as error:
        if "quote not closed" in str(error):
            return
        raise
    kept = [[cell.strip() for cell in row] for row in rows[1:]]
    found = [["" if pd.isna(cell) else cell for cell in row] for row in frame.table.itertuples(index=False)]
    assert len(found) == len(kept)
    for given_row, found_row in zip(kept, found, strict=True):
        for written, read_as in zip(given_row, found_row, strict=True):
            assert written == read_as or float(written) == read_as


def test_many_rows(read: Read) -> None:
    x = RNG.normal(size=(50_001, 3))
    text = "a,b,c\n" + "".join(",".join(map(repr, row)) + "\n" for row in x.tolist())
    np.testing.assert_array_equal(read(text).table.to_numpy(), x)
    refuses(read, text + "1,2\n", "line 50003: 2 cells, but there are 3 columns")


def test_very_many_columns(read: Read) -> None:
    x = RNG.integers(0, 9, (3, 10_000))
    text = ",".join(f"g{i}" for i in range(x.shape[1])) + "\n" + "".join(",".join(map(str, row)) + "\n" for row in x)
    np.testing.assert_array_equal(read(text).table.to_numpy(), x)


def test_a_delimiter_at_the_end_of_each_line_is_no_column(read: Read) -> None:
    frame = read("a;b;\n1;x;\n2;y;\n")
    assert list(frame.table) == ["a", "b"]
    assert "1 of 3 columns have neither a name nor a value: left out" in frame.notes


def test_arrow_s_decimals_dates_and_texts_are_numbers_dates_and_texts(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    written = [Decimal(cents) / 100 for cents in range(101, 2000, 7)]
    days = [date(2020, 1, 1) + timedelta(i) for i in range(len(written))]
    table = pyarrow.table(
        {
            "price": pyarrow.array(written, pyarrow.decimal128(9, 2)),
            "day": pyarrow.array(days, pyarrow.date32()),
            "city": ["Bern", "Rome"] * (len(written) // 2),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    for frame in (read_frame(tmp_path / "t.parquet"), as_frame(table.to_pandas(types_mapper=pd.ArrowDtype))):
        columns, left_out = infer(frame.table)
        assert not left_out
        assert [(each.kind, each.decimals) for each in columns] == [("positive", 2), ("date", 0), ("binary", None)]
        assert frame.table["price"].tolist() == [float(each) for each in written]
        back = frame_of(columns, numbers_of(columns, frame.table))
        assert back["city"].tolist() == table["city"].to_pylist()
        assert back["day"].dt.date.tolist() == days


def test_the_first_sheet_that_is_not_empty_is_read(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame().to_excel(book, sheet_name="notes", index=False)
        pd.DataFrame({"a": [1, 2]}).to_excel(book, sheet_name="rows", index=False)
    frame = read_frame(tmp_path / "t.xlsx")
    assert frame.table["a"].tolist() == [1, 2]
    first = "t.xlsx: of 2 sheets the first that is not empty is read, 'rows'; another one is sheet=…, of notes"
    assert frame.notes == (first,)


def test_a_sheet_of_which_nothing_can_be_learned_says_which_others_there_are(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame({"about": ["hello"]}).to_excel(book, sheet_name="Read me", index=False)
        pd.DataFrame({"a": RNG.normal(size=60)}).to_excel(book, sheet_name="2024", index=False)
    with pytest.raises(ValueError, match=r"has one row.*first is read, 'Read me'; another one is sheet=…, of 2024$"):
        load(tmp_path / "t.xlsx")
    assert len(load(tmp_path / "t.xlsx", sheet="2024").splits["train"]) == 48


TITLED = "# Yields, by field\n# (source: own)\n\nfield,tons\nnorth,1.5\nsouth,2\n\neast,3.25\n"


def test_names_below_a_title_are_found_where_the_user_says(read: Read) -> None:
    with pytest.raises(ValueError, match=r"line 4: 2 cells, but there is 1 column; .* stand in line 4, say header=4$"):
        read(TITLED.replace("Yields, by", "Yields by"))
    frame = read(TITLED, header=4)
    assert cells(frame) == {"field": ["north", "south", "east"], "tons": [1.5, 2, 3.25]}
    assert frame.notes == ("the names of t.csv stand in line 4: what is above is left out",)
    with pytest.raises(ValueError, match=r"t\.csv, line 6: 3 cells, but there are 2 columns"):
        read(TITLED.replace("south,2", "south,2,2"), header=4)
    with pytest.raises(ValueError, match=r"^header=3 says in which line the names are, but .* no such line"):
        read(TITLED, header=3)


def test_a_title_with_commas_is_no_line_of_names(read: Read) -> None:
    frame = read("Sales report 2024,,\n,,\nname,count,price\n" + "".join(f"a{i},{i},{i}.5\n" for i in range(20)))
    (note,) = frame.notes
    assert note.endswith("columns are x1..x3; if the names of the columns stand in line 3, say header=3")


def test_a_model_s_columns_tell_where_their_names_stand(tmp_path: Path) -> None:
    path, known = tmp_path / "new.csv", Reading(header=2, known=("field", "tons"))
    for text in (TITLED, TITLED.partition("\n\n")[2]):
        path.write_text(text)
        assert list(read_frame(path, known).table) == ["field", "tons"]
    path.write_text("north,1.5\nsouth,2\n")
    assert list(read_frame(path, known).table) == ["x1", "x2"]


def test_a_sheet_and_a_line_of_a_workbook(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"a": [1]}).to_excel(book, sheet_name="notes", index=False)
        pd.DataFrame({"u": [1.5, 2.5], "v": [3, 4]}).to_excel(book, sheet_name="data", index=False, startrow=2)
        book.sheets["data"]["A1"] = "A title"
    with pytest.raises(ValueError, match=r"sheet of .* 'dta'.*did you mean 'data'"):
        read_frame(path, Reading(sheet="dta"))
    with pytest.raises(ValueError, match=r"column 2 has no name .* stand in line 3, say header=3"):
        read_frame(path, Reading(sheet="data"))
    frame = read_frame(path, Reading(sheet="data", header=3))
    assert cells(frame) == {"u": [1.5, 2.5], "v": [3, 4]}
    assert frame.notes == ("the names of t.xlsx stand in line 3: what is above is left out",)
