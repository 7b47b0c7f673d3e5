from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaekit.datasets import load, tables
from vaekit.datasets.base import Content, stored
from vaekit.datasets.files import read_path

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)


def only(content: Content) -> np.ndarray:
    assert list(content.splits) == ["train"]
    return content.splits["train"].x


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((7, 5), (7, 5)),
        ((7, 5, 6), (7, 1, 5, 6)),
        ((7, 3, 5, 6), (7, 3, 5, 6)),
        ((7, 5, 6, 3), (7, 3, 5, 6)),
        ((7, 3, 5, 3), (7, 3, 5, 3)),  # channels first where both are possible
    ],
)
def test_the_shape_of_an_array_says_what_it_is(
    shape: tuple[int, ...], expected: tuple[int, ...], tmp_path: Path
) -> None:
    x = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    found = only(read_path(tmp_path / "x.npy", None))
    np.testing.assert_array_equal(found, np.moveaxis(x, -1, 1) if shape == (7, 5, 6, 3) else x.reshape(expected))
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("?", "u1"), ("u1", "u1"), ("i1", "f4"), (">i8", "f4"), ("f2", "f4"), (">f4", "f4"), ("f8", "f4")],
)
def test_bytes_stay_bytes_and_other_numbers_are_float32(dtype: str, kept: str) -> None:
    found = stored(np.array([[0, 1]], dtype), "x")
    assert found.dtype == np.dtype(kept)
    assert found.dtype.isnative
    assert found.tolist() == [[0, 1]]


def test_an_array_in_column_order_is_stored_in_row_order() -> None:
    for dtype in (np.uint8, np.float32):
        found = stored(np.asfortranarray(np.arange(6, dtype=dtype).reshape(2, 3)), "x")
        assert found.flags.c_contiguous
        assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_archives(tmp_path: Path) -> None:
    x = RNG.normal(size=(6, 2)).astype(np.float32)
    path = tmp_path / "x.npz"
    np.savez(path, pictures=x)
    np.testing.assert_array_equal(only(read_path(path, None)), x)
    np.savez(path, x=x, y=np.array(["b", "a", "c", "a", "b", "c"]), other=np.zeros(2))
    content = read_path(path, None)
    assert content.classes == ("a", "b", "c")
    assert content.splits["train"].y.tolist() == [1, 0, 2, 0, 1, 2]
    np.savez(path, x_train=x, y_train=np.array([[3]] * 6), x_test=x[:2], y_test=np.array([[10], [3]]))
    content = read_path(path, None)
    assert content.classes == ("3", "10")
    assert content.splits["test"].y.tolist() == [1, 0]
    assert list(load(path, validation=0).splits) == ["train", "test"]
    np.savez(path, x=x, y=x[:, 0].astype(np.float64))
    content = read_path(path, None)
    np.testing.assert_array_equal(content.splits["train"].y, x[:, :1])
    assert content.splits["train"].y.dtype == np.float32
    np.savez(path, x=x, y=np.eye(6, dtype=np.uint8))
    np.testing.assert_array_equal(read_path(path, None).splits["train"].y, np.eye(6))


def test_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK", 2)
    path = tmp_path / "table.CSV"
    path.write_text(
        '\ufeffage, "height, m",kind\r\n1, 1.5 ,dog\r\n\r\n2,-2e-1, "a ""big"" cat"\n3,0,dog', encoding="utf-8"
    )
    content = read_path(path, "kind")
    assert content.columns == ("age", "height, m")
    np.testing.assert_array_equal(only(content), np.array([[1, 1.5], [2, -0.2], [3, 0]], np.float32))
    assert content.classes == ('a "big" cat', "dog")
    assert content.splits["train"].y.tolist() == [1, 0, 1]


def test_labels_of_a_table_that_are_integers_sort_as_such(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,y\n1,10\n2,9\n3,10\n")
    assert read_path(path, "y").classes == ("9", "10")


def test_csv_round_trip_of_many_rows(tmp_path: Path) -> None:
    x = RNG.normal(size=(50_001, 3)).astype(np.float32)
    np.savetxt(tmp_path / "x.csv", x, "%.9g", ",", header="a,b,c", comments="")
    np.testing.assert_array_equal(only(read_path(tmp_path / "x.csv", None)), x)


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "x.parquet"
    table = {"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "c": [True, False, True], "kind": ["dog", "cat", "dog"]}
    parquet.write_table(pyarrow.table(table), path)
    content = read_path(path, "kind")
    assert content.columns == ("a", "b", "c")
    assert only(content).tolist() == [[1, 0.5, 1], [2, 1.5, 0], [3, 2.5, 1]]
    assert content.classes == ("cat", "dog")
    assert content.splits["train"].y.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="not numbers: 'kind'"):
        read_path(path, None)
    parquet.write_table(pyarrow.table({"a": [1, None], "b": ["x", None]}), path)
    with pytest.raises(ValueError, match="missing values in 'a', 'b'"):
        read_path(path, "b")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").touch()
    with pytest.raises(ValueError, match=r"pip install 'vaekit\[tables\]'"):
        read_path(tmp_path / "x.parquet", None)


@pytest.mark.parametrize(
    ("pixels", "expected", "domain"),
    [
        (PIXELS, PIXELS[:, None], "grey"),
        (COLOURS, COLOURS.transpose(0, 3, 1, 2), "grey"),
        (PIXELS > 127, PIXELS[:, None] > 127, "binary"),
    ],
)
def test_folders_of_images(pixels: np.ndarray, expected: np.ndarray, domain: str, tmp_path: Path) -> None:
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "notes.txt").touch()
    np.testing.assert_array_equal(only(read_path(tmp_path, None)), expected)
    assert load(tmp_path).domain.kind == domain


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for name, value in (("dog/2", 3), ("cat/1", 1), ("dog/1", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), value).save(tmp_path / f"{name}.bmp")
    (tmp_path / ".cache").mkdir()
    content = read_path(tmp_path, None)
    assert content.classes == ("cat", "dog")
    assert content.splits["train"].y.tolist() == [0, 1, 1]
    assert only(content)[:, 0, 0, 0].tolist() == [1, 2, 3]
