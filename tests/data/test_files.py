from __future__ import annotations

import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaekit.data import formats, load
from vaekit.data.base import Content, stored
from vaekit.data.domains import Domain
from vaekit.data.files import read_path
from vaekit.data.naming import arrange
from vaekit.errors import LeftOutWarning

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
    found = only(read_path(tmp_path / "x.npy"))
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
    np.testing.assert_array_equal(only(read_path(path)), x)
    np.savez(path, x=x, y=np.array(["b", "a", "c", "a", "b", "c"]), other=np.array([{}]))
    content = read_path(path)
    assert content.left_out == ("arrays of x.npz that are not used: other",)
    assert content.classes == ("a", "b", "c")
    assert content.splits["train"].y.tolist() == [1, 0, 2, 0, 1, 2]
    np.savez(path, x_train=x, y_train=np.array([[3]] * 6), x_test=x[:2], y_test=np.array([[10], [3]]))
    content = read_path(path)
    assert content.classes == ("3", "10")
    assert content.splits["test"].y.tolist() == [1, 0]
    assert list(load(path, validation=0).splits) == ["train", "test"]
    np.savez(path, x_train=x, y_train=np.array([b"b", b"\xc3\xa4"] * 3), x_test=x[:2], y_test=np.array(["b", "\xe4"]))
    assert read_path(path).classes == ("b", "\xe4")
    np.savez(path, x_train=x, y_train=np.arange(6), x_test=x[:2], y_test=np.array([5, 0], np.uint8))
    assert read_path(path).splits["test"].y.tolist() == [5, 0]
    np.savez(path, x=x, y=x[:, 0].astype(np.float64))
    content = read_path(path)
    np.testing.assert_array_equal(content.splits["train"].y, x[:, :1])
    assert content.splits["train"].y.dtype == np.float32
    np.savez(path, x=x, y=np.eye(6, dtype=np.uint8))
    np.testing.assert_array_equal(read_path(path).splits["train"].y, np.eye(6))


@pytest.mark.parametrize(
    ("pixels", "expected", "domain"),
    [
        (PIXELS, PIXELS[:, None], "grey"),
        (COLOURS, COLOURS.transpose(0, 3, 1, 2), "grey"),
        (PIXELS > 127, 255 * (PIXELS[:, None] > 127), "binary"),
    ],
)
def test_folders_of_images(pixels: np.ndarray, expected: np.ndarray, domain: str, tmp_path: Path) -> None:
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "notes.txt").touch()
    np.testing.assert_array_equal(only(read_path(tmp_path)), expected)
    with pytest.warns(LeftOutWarning, match="skipped 2 files that are no images: .hidden.png, notes.txt"):
        assert load(tmp_path).domain.kind == domain


NAMES = [
    ("x_train x_val x_test", {"train": "x_train", "valid": "x_val", "test": "x_test"}, {}),
    ("X Y", {"train": "X"}, {"train": "Y"}),
    ("x labels", {"train": "x"}, {"train": "labels"}),
    ("x x_dev", {"train": "x", "valid": "x_dev"}, {}),
    ("train test", {"train": "train", "test": "test"}, {}),
    ("trainX trainY testX testY", {"train": "trainX", "test": "testX"}, {"train": "trainY", "test": "testY"}),
    ("Xtr ytr Xte yte", {"train": "Xtr", "test": "Xte"}, {"train": "ytr", "test": "yte"}),
    ("train_images TRAIN_LABELS", {"train": "train_images"}, {"train": "TRAIN_LABELS"}),
    ("training-data validation-data", {"train": "training-data", "valid": "validation-data"}, {}),
    ("imgs target latents_values", {"train": "imgs"}, {"train": "target"}),
    ("faces target", {"train": "faces"}, {"train": "target"}),
]


@pytest.mark.parametrize(("names", "x", "y"), NAMES)
def test_names_of_arrays_say_what_they_are(names: str, x: dict[str, str], y: dict[str, str]) -> None:
    found = arrange(names.split())
    assert (found.x, found.y) == (x, y)
    assert set(found.unused) == set(names.split()) - set(x.values()) - set(y.values())


@pytest.mark.parametrize("names", ["x data", "x X", "x_train x", "x y labels", "valid_x val_x x"])
def test_names_of_arrays_that_could_be_the_same(names: str) -> None:
    first, second, *_ = (names if names != "x y labels" else "y labels").split()
    with pytest.raises(ValueError, match=f"'{first}' and '{second}' could both be"):
        arrange(names.split())


def test_what_an_archive_holds_is_said(tmp_path: Path) -> None:
    x = RNG.normal(size=(9, 2))
    np.savez(tmp_path / "d.npz", X=x, labels=np.arange(9) % 3, mean=x[0], y_test=np.arange(3))
    with pytest.warns(LeftOutWarning, match="not used: mean, y_test"):
        data = load(tmp_path / "d.npz", validation=2, test=2)
    assert data.notes == (
        "arrays of d.npz: X is train, labels its labels",
        "arrays of d.npz that are not used: mean, y_test",
    )
    for split in data.splits.values():
        np.testing.assert_array_equal(split.x, x[split.origin].astype(np.float32))
        np.testing.assert_array_equal(split.y, split.origin % 3)


def test_usual_names_need_no_words(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=RNG.normal(size=(9, 2)), x_valid=RNG.normal(size=(3, 2)))
    assert load(tmp_path / "d.npz", test=0).notes == ()


PIXEL_VALUES = {
    "integers": (np.int64([0, 7, 255]), Domain("grey", levels=256), [0, 7, 255], "whole numbers 0..255"),
    "floats that are whole": (np.float64([3, 200]), Domain("grey", levels=256), [3, 200], "whole numbers 3..200"),
    "few levels": (np.uint8([0, 3, 16]), Domain("grey", levels=256), [0, 3, 16], "levels=17 if"),
    "bytes": (np.uint8([0, 3, 250]), Domain("grey", levels=256), [0, 3, 250], ""),
    "masks": (np.uint8([0, 255, 255]), Domain("binary"), [0, 1, 1], "taken as 0 and 1"),
    "masks of floats": (np.float32([0, 255]), Domain("binary"), [0, 1], "taken as 0 and 1"),
    "zeros and ones": (np.float32([0, 1, 0]), Domain("binary"), [0, 1, 0], ""),
    "booleans": (np.array([False, True]), Domain("binary"), [0, 1], ""),
    "fractions": (np.float32([0.1, 0.97]), Domain("unit"), [0.1, 0.97], "between 0 and 1"),
    "divided bytes": (np.float32([0, 7 / 255, 1]), Domain("unit"), [0, 7 / 255, 1], "bytes divided by 255"),
    "both signs": (np.float32([-1, 0.3, 0.9]), Domain("unit", location=-1, scale=2), [-1, 0.3, 0.9], "-1 and 1"),
    "any": (np.float32([-1, 2]), Domain("real", location=0.5, scale=1.5), [-1, 2], ""),
    "small": (np.float32([0.25, 0.5]), Domain("real", location=0.375, scale=0.125), [0.25, 0.5], ""),
}


@pytest.mark.parametrize(("values", "domain", "kept", "note"), PIXEL_VALUES.values(), ids=PIXEL_VALUES)
def test_pixels_by_their_values(
    values: np.ndarray, domain: Domain, kept: list[float], note: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.tile(values, (8, 2, 1)))
    data = load(tmp_path / "x.npy", validation=0, test=0)
    assert data.domain == domain
    np.testing.assert_allclose(data.splits["train"].x[0, 0, 0], kept, rtol=1e-6)
    assert (note in "".join(data.notes)) if note else not data.notes


def test_pixels_beyond_bytes_are_asked_about(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.tile(np.uint16([0, 700, 4095]), (8, 2, 1)))
    with pytest.raises(ValueError, match=r"whole numbers 0\.\.4095: give levels=4096, or more"):
        load(tmp_path / "x.npy")
    assert load(tmp_path / "x.npy", levels=4096).domain == Domain("grey", levels=4096)
    assert load(tmp_path / "x.npy", domain="real").domain.kind == "real"


def test_the_domain_that_is_given_holds_whatever_pixels_say(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.tile(np.uint8([0, 255]), (8, 2, 1)))
    assert load(tmp_path / "x.npy", domain="grey").splits["train"].x.max() == 255
    assert load(tmp_path / "x.npy", domain="real").domain.kind == "real"
    assert load(tmp_path / "x.npy", domain="binary").splits["train"].x.max() == 1


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for name, value in (("dog/2", 3), ("cat/1", 1), ("dog/1", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), value).save(tmp_path / f"{name}.bmp")
    (tmp_path / ".cache").mkdir()
    content = read_path(tmp_path)
    assert content.classes == ("cat", "dog")
    assert content.splits["train"].y.tolist() == [0, 1, 1]
    assert only(content)[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert content.splits["train"].origin.tolist() == ["cat/1.bmp", "dog/1.bmp", "dog/2.bmp"]


def folder_of(path: Path, **images: int) -> Path:
    """Grey images of one value each by their names, "__" for a folder."""
    for name, value in images.items():
        file = path / f"{name.replace('__', '/')}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2), value).save(file)
    return path


@pytest.mark.parametrize("valid", ["valid", "val", "Validation", "dev"])
def test_folders_of_splits(valid: str, tmp_path: Path) -> None:
    path = folder_of(tmp_path / "images", train__a=1, train__b=2, test__a=3, **{f"{valid}__a": 4})
    data = load(path)
    assert {name: split.x[:, 0, 0, 0].tolist() for name, split in data.splits.items()} == {
        "train": [1, 2],
        "valid": [4],
        "test": [3],
    }
    assert data.classes == ()
    assert data.splits["train"].y is None
    assert data.notes[0] == f"the folders {', '.join(sorted(('train', 'test', valid)))} are the splits"


def test_folders_of_splits_with_classes_below(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "i", train__dog__1=1, train__cat__1=2, test__dog__5=3, test__ant__1=4)
    data = load(path, validation=0)
    assert data.classes == ("ant", "cat", "dog")
    assert data.splits["train"].y.tolist() == [1, 2]
    assert data.splits["test"].y.tolist() == [0, 2]
    assert data.splits["test"].origin.tolist() == ["test/ant/1.png", "test/dog/5.png"]


def test_a_train_among_vehicles_is_a_class(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "i", train__1=1, car__1=2, bus__1=3)
    assert load(path, validation=0, test=0).classes == ("bus", "car", "train")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({"train__1": 1, "test__1": 2, "cat__1": 3}, "test/, train/ beside cat/: splits, or classes"),
        ({"test__1": 1, "valid__1": 2}, "needed: one folder train"),
        ({"train__1": 1, "val__1": 2, "valid__1": 3}, "needed: one folder train"),
        ({"train__cat__1": 1, "test__1": 2}, "class folders in train, but none in test"),
        ({"train__cat__1": 1, "train__1": 2, "test__cat__1": 3}, "lies beside the subfolders"),
    ],
)
def test_folders_that_could_be_either(images: dict[str, int], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        load(folder_of(tmp_path / "i", **images))


def test_what_is_around_images_and_below_their_classes(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "i", top__cat__1=1, top__cat__deep__er__2=2, top__dog__1=3, top__dog___4=9)
    (path / "top/ant").mkdir()
    (path / "top/__MACOSX/cat").mkdir(parents=True)
    (path / "top/dog/.1.png").touch()
    for junk in ("cat/Thumbs.db", "dog/.DS_Store", "dog/notes.txt", "readme.md"):
        (path / "top" / junk).touch()
    with pytest.warns(LeftOutWarning, match="folder without images: ant") as caught:
        data = load(path, validation=0, test=0)
    assert data.classes == ("cat", "dog")
    assert data.splits["train"].x[:, 0, 0, 0].tolist() == [1, 2, 3, 9]
    said = " ".join(str(each.message) for each in caught) + " ".join(data.notes)
    assert "skipped 5 files that are no images: .1.png, .DS_Store, Thumbs.db, notes.txt, readme.md" in said
    assert "read from top/, which is all that i holds" in said
    assert "images in folders below those of top are of the class above them" in said


def test_an_image_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    image, exif = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)), Image.Exif()
    exif[0x0112] = 6  # the right side is the top of what is stored
    image.save(tmp_path / "a.png", exif=exif)
    assert only(read_path(tmp_path))[0, 0].tolist() == [[3, 0], [4, 1], [5, 2]]


def test_colours_by_a_palette_and_opaque_ones_are_rgb(tmp_path: Path) -> None:
    colours = Image.fromarray(COLOURS[0])
    colours.convert("P").save(tmp_path / "1.png")
    opaque = colours.copy()
    opaque.putalpha(255)
    opaque.save(tmp_path / "2.png")
    found = only(read_path(tmp_path))
    np.testing.assert_array_equal(found[1], COLOURS[0].transpose(2, 0, 1))
    opaque.putalpha(7)
    opaque.save(tmp_path / "3.png")
    with pytest.raises(ValueError, match=r"3\.png has transparent pixels"):
        read_path(tmp_path)


def test_parquet_that_stands_for_more_rows_than_there_is_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "x.parquet"
    monkeypatch.setattr(formats, "UNPACKED", 2**20)
    parquet.write_table(pyarrow.table({"a": np.zeros(700_000, np.int8), "b": np.zeros(700_000, np.int8)}), path)
    with pytest.raises(ValueError, match=r"bytes, which unpack to 11,200,000 or more: none of it is read"):
        read_path(path)


def test_parquet_with_one_long_label_of_many_rows(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    names = pyarrow.array(["x" * 100_000, "y" * 100_000])
    kinds = pyarrow.DictionaryArray.from_arrays(pyarrow.array(np.arange(5_000) % 2), names)
    parquet.write_table(pyarrow.table({"a": np.arange(5_000.0) / 8, "kind": kinds}), tmp_path / "x.parquet")
    tracemalloc.start()
    content = load(tmp_path / "x.parquet", label="kind", validation=0, test=0)
    assert tracemalloc.get_traced_memory()[1] < 125_000_000  # and not 500 MB
    tracemalloc.stop()
    assert content.classes == tuple(names.to_pylist())


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp"])
def test_damaged_images_are_one_line(ending: str, tmp_path: Path) -> None:
    path, chance = tmp_path / f"a.{ending}", np.random.default_rng(0)
    Image.fromarray(COLOURS[0]).save(path)
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        for place in chance.integers(0, len(content), 3):
            content[place] = chance.integers(256)
        path.write_bytes(content[: chance.integers(len(content) // 2, len(content) + 1)])
        try:
            said = str(read_path(tmp_path).splits["train"].x.shape)
        except ValueError as error:
            said = str(error)
        assert "\n" not in said


@pytest.mark.parametrize("side", [120, 200])
def test_images_of_more_pixels_than_any_camera_has_are_refused(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    Image.new("L", (side, side)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png cannot be read as an image \(.*{side**2} pixels"):
        read_path(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is a pipe, not a file"):
        read_path(tmp_path)


def test_a_name_that_is_no_utf8_is_refused_before_training(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "images", train__a=2)
    odd = os.fsencode(path) + b"/bad\xff.png"
    shutil.copy(next(path.rglob("*.png")), odd)
    with pytest.raises(ValueError, match=r"'bad\\udcff\.png' in .* is a name that is no UTF-8"):
        load(path)


def test_grey_images_are_colours_where_others_have_some_whichever_is_first(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "images", a=2, b=3)
    Image.new("RGB", (3, 2), (1, 2, 3)).save(path / "c.png")
    data = load(path, validation=0, test=0).splits["train"].x
    assert data[:, :, 0, 0].tolist() == [[2, 2, 2], [3, 3, 3], [1, 2, 3]]
