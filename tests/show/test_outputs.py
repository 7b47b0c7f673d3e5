from __future__ import annotations

import csv
import os
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vaekit.show.endings import ENDINGS, FRAMES, check_ending
from vaekit.show.outputs import write_array, write_frame

RNG = np.random.default_rng(0)
ARRAY = RNG.normal(size=(3, 2)).astype(np.float32)
IMAGES = np.linspace(0, 16, 3 * 1 * 4 * 5, dtype=np.float32).reshape(3, 1, 4, 5)


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("L"))


@pytest.mark.parametrize("array", [ARRAY, IMAGES, np.zeros((0, 3)), np.arange(6).reshape(2, 3)])
def test_npy_has_the_array_in_its_shape_and_type(array: np.ndarray, tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", array, ["left", "out"])
    read = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_csv_reads_back_as_the_same_numbers(tmp_path: Path) -> None:
    write_array(tmp_path / "a.csv", ARRAY, ["a", 'b, "c"'], {"label": np.array([2, 0, 1])})
    header, *rows = read_csv(tmp_path / "a.csv")
    assert header == ["a", 'b, "c"', "label"]
    np.testing.assert_array_equal(np.array([row[:2] for row in rows], np.float32), ARRAY)
    assert [row[2] for row in rows] == ["2", "0", "1"]


def test_parquet_reads_back_as_the_same_numbers_and_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_array(tmp_path / "a.parquet", ARRAY, ["a", "b"], {"label": np.array([2, 0, 1])})
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column_names == ["a", "b", "label"]
    assert [str(kind) for kind in table.schema.types] == ["float", "float", "int64"]
    np.testing.assert_array_equal(np.stack([table["a"].to_numpy(), table["b"].to_numpy()], 1), ARRAY)


def test_npz_has_the_array_and_what_is_beside_it(tmp_path: Path) -> None:
    files = np.array(["a/1.png", "b.png", "c"], dtype=object)
    write_array(tmp_path / "a.npz", IMAGES, (), {"y": np.array([2, 0, 1])}, before={"file": files})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["x"], IMAGES)
        assert found["y"].tolist() == [2, 0, 1]
        assert found["file"].tolist() == files.tolist()


def test_numbers_of_a_csv_are_the_shortest_that_read_back(tmp_path: Path) -> None:
    values = np.array([[7.4, 3.0], [1e-8, -2.0], [0.1, 1e20]], np.float32)
    write_array(tmp_path / "a.csv", values, ["a", "b"], before={"row": np.array([4, 5, 6])})
    assert read_csv(tmp_path / "a.csv")[1:] == [["4", "7.4", "3"], ["5", "1e-08", "-2"], ["6", "0.1", "1e+20"]]


@pytest.mark.parametrize("columns", [(), ("one",), ("a", "b", "c")])
def test_columns_whose_number_does_not_fit_are_numbered(columns: tuple[str, ...], tmp_path: Path) -> None:
    write_array(tmp_path / "a.csv", ARRAY, columns)
    assert read_csv(tmp_path / "a.csv")[0] == ["x0", "x1"]


@pytest.mark.parametrize("ending", FRAMES)
def test_a_text_that_looks_like_a_formula_is_a_text_in_every_file(ending: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"=kind": ["=1+1", "+1", "@x", "-a"], "size": [1.5, 2.0, 2.5, 3.0]})
    write_frame(tmp_path / f"a{ending}", frame)
    read_again = {".csv": pd.read_csv, ".xlsx": pd.read_excel, ".parquet": pd.read_parquet}[ending]
    pd.testing.assert_frame_equal(read_again(tmp_path / f"a{ending}"), frame, check_dtype=False)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize(("columns", "extra"), [(["a", "a"], {}), (["a", "b"], {"b": np.arange(3)})])
def test_columns_of_one_name_are_refused(ending: str, columns: list[str], extra: dict, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"more than one column of the name '{columns[1]}'"):
        write_array(tmp_path / f"t{ending}", ARRAY, columns, extra)
    assert not os.listdir(tmp_path)


def test_images_are_a_row_of_elements_each_in_a_table(tmp_path: Path) -> None:
    write_array(tmp_path / "a.csv", IMAGES)
    header, *rows = read_csv(tmp_path / "a.csv")
    assert (header[0], header[-1], len(header)) == ("x0", "x19", 20)
    np.testing.assert_array_equal(np.array(rows, np.float32), IMAGES.reshape(3, 20))


def test_png_shows_values_between_the_limits_whatever_the_sample_holds(tmp_path: Path) -> None:
    grey = np.full((4, 1, 8, 8), 8.0)
    for name, limits in (("half", (0.0, 16.0)), ("black", (8.0, 16.0)), ("white", (0.0, 8.0))):
        write_array(tmp_path / f"{name}.png", grey, limits=limits, per_row=2)
    pixels = {name: read_png(tmp_path / f"{name}.png") for name in ("half", "black", "white")}
    middle = {name: int(image[image.shape[0] // 4, image.shape[1] // 4]) for name, image in pixels.items()}
    assert middle == pytest.approx({"half": 128, "black": 0, "white": 255}, abs=2)
    assert pixels["half"].shape[0] == pytest.approx(pixels["half"].shape[1], rel=0.1), "2 by 2 images"


def test_png_has_as_many_images_side_by_side_as_asked(tmp_path: Path) -> None:
    sizes = {}
    for per_row in (1, 3):
        write_array(tmp_path / "a.png", IMAGES, per_row=per_row)
        sizes[per_row] = read_png(tmp_path / "a.png").shape
    assert sizes[3][1] > 2 * sizes[1][1]
    assert sizes[1][0] > 2 * sizes[3][0]


def test_png_of_a_table_is_refused_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a \.png is of .*\(3, 2\); accepted for it: \.npy, \.npz, \.csv"):
        write_array(tmp_path / "a.png", ARRAY)
    assert not os.listdir(tmp_path)


def test_png_of_other_channels_than_colours_is_refused_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a \.png is of .*\(2, 4, 3, 5\); accepted for it: \.npy, \.npz, \.csv"):
        write_array(tmp_path / "a.png", np.zeros((2, 4, 3, 5)))


def test_endings_in_capitals_are_understood(tmp_path: Path) -> None:
    write_array(tmp_path / "a.NPY", ARRAY)
    write_array(tmp_path / "a.PNG", IMAGES)
    assert read_png(tmp_path / "a.PNG").size
    assert sorted(os.listdir(tmp_path)) == ["a.NPY", "a.PNG"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.pgn", "unknown ending '.pgn' (did you mean '.png'?); accepted: .npy, .npz, .csv, .parquet, .png"),
        ("a", "unknown ending ''"),
        ("none/a.csv", "none; make it, or name another"),
    ],
)
def test_paths_that_cannot_be_written_are_refused_before_the_work(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        check_ending(tmp_path / name)


@pytest.mark.parametrize(
    ("ending", "library", "extra"),
    [(".parquet", "pyarrow", "tables"), (".xlsx", "openpyxl", "tables"), (".h5ad", "anndata", "anndata")],
)
def test_without_what_writes_a_file_it_is_said_before_the_work(
    ending: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    for others, instead in ((ENDINGS, "; or write .csv or .npy"), (FRAMES, "; or write .csv"), ((), "")):
        said = f"a {ending} file needs {library}: pip install 'vaekit[{extra}]'{instead}"
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            check_ending(tmp_path / f"a{ending}", (*others, ending))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failed_write_leaves_what_was_there(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{ending}"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=re.escape(str(path))):
        write_array(path, IMAGES)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]
