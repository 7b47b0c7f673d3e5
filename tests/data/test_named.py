from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vaekit.data import DATASETS, load, named
from vaekit.data.download import find


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, an empty cache, and no network."""

    def no_network(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", no_network)
    monkeypatch.setattr("vaekit.data.download.PAUSE", 0.0)
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def shrink(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a named dataset as small as a test can write."""
    return lambda name, **sizes: monkeypatch.setitem(named.DATASETS, name, replace(DATASETS[name], sizes=sizes))


def write_idx(path: Path, x: np.ndarray, pack: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = bytes([0, 0, 8, x.ndim]) + np.array(x.shape, ">u4").tobytes() + x.tobytes()
    path.write_bytes(gzip.compress(content) if pack else content)


def write_mnist(folder: Path, train: int, test: int, pack: bool = True, **wrong: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    content = {
        "train-images-idx3": rng.integers(0, 256, (train, 28, 28), np.uint8),
        "train-labels-idx1": np.arange(train, dtype=np.uint8) % 10,
        "t10k-images-idx3": rng.integers(0, 256, (test, 28, 28), np.uint8),
        "t10k-labels-idx1": np.arange(test, dtype=np.uint8) % 10,
    } | wrong
    for name, x in content.items():
        write_idx(folder / (f"{name}-ubyte.gz" if pack else f"{name}-ubyte"), x, pack)
    return content


def test_digits_are_the_digits_of_scikit_learn_in_a_fixed_split() -> None:
    from sklearn.datasets import load_digits

    digits = load("digits", seed=5)
    splits = digits.splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 1297, "valid": 200, "test": 300}
    assert splits["train"].x.dtype == np.uint8
    raw = load_digits()
    rows = np.concatenate([np.c_[split.x.reshape(len(split), 64), split.y] for split in splits.values()])
    expected = np.c_[raw.data, raw.target]
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    shares = np.bincount(raw.target) / 1797
    for split in splits.values():
        assert (np.abs(np.bincount(split.y) - len(split) * shares) < 1.5).all()
    # A change of these numbers is a change of every published result on digits.
    assert splits["test"].y[:12].tolist() == [0, 5, 0, 1, 4, 5, 7, 9, 8, 1, 7, 2]
    assert digits.classes == tuple("0123456789")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("pack", [True, False])
def test_mnist_files(data: Path, shrink: Callable[..., None], name: str, pack: bool) -> None:
    shrink(name, train=40, test=20)
    written = write_mnist(data / name, 40, 20, pack)
    found = load(name, validation=10)
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 30, "valid": 10, "test": 20}
    np.testing.assert_array_equal(found.splits["test"].x, written["t10k-images-idx3"][:, None])
    np.testing.assert_array_equal(found.splits["test"].y, written["t10k-labels-idx1"])
    assert np.bincount(found.splits["valid"].y).tolist() == [1] * 10
    assert (str(found.domain), len(found.classes), found.source) == ("grey levels 0..255", 10, DATASETS[name].source)


def test_binary_mnist_files(data: Path, shrink: Callable[..., None]) -> None:
    sizes = {"train": 5, "valid": 3, "test": 2}
    shrink("binary-mnist", **sizes)
    (data / "binary-mnist").mkdir(parents=True)
    rng = np.random.default_rng(0)
    written = {split: rng.integers(0, 2, (n, 784), np.uint8) for split, n in sizes.items()}
    for split, x in written.items():
        np.savetxt(data / "binary-mnist" / f"binarized_mnist_{split}.amat", x, "%d")
    found = load("binary-mnist")
    assert found.domain.kind == "binary"
    for split, x in written.items():
        np.testing.assert_array_equal(found.splits[split].x, x.reshape(-1, 1, 28, 28))


def test_omniglot_from_its_zip_files_and_from_an_archive_is_the_same(data: Path, shrink: Callable[..., None]) -> None:
    folder = data / "omniglot"
    folder.mkdir(parents=True)
    shrink("omniglot", train=4, test=4)
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, alphabets in (("background", ("Zulu", "Abc")), ("evaluation", ("Mno", "Klm"))):
        images, names, files = [], [f"{alphabet}/character01" for alphabet in alphabets], {}
        for name in names:
            for drawer in (1, 2):
                ink = rng.random((105, 105)) < 0.2
                stream = io.BytesIO()
                Image.fromarray(~ink).save(stream, "png")
                files[f"images_{part}/{name}/{name[0]}_{drawer:02}.png"] = stream.getvalue()
                images.append(np.asarray(Image.fromarray(np.uint8(255) * ink).resize((28, 28), Image.Resampling.BOX)))
        with zipfile.ZipFile(folder / f"images_{part}.zip", "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        arrays |= {part: np.stack(images), f"{part}_char": np.array([0, 0, 1, 1]), f"{part}_names": np.array(names)}
    zipped = load("omniglot", validation=0)
    np.savez(folder / "omniglot28_boxresize_derived.npz", **arrays)
    derived = load("omniglot", validation=0)
    assert zipped.classes == ("Abc/character01", "Klm/character01", "Mno/character01", "Zulu/character01")
    assert zipped.splits["train"].y.tolist() == [0, 0, 3, 3]
    np.testing.assert_array_equal(zipped.splits["train"].x[:2, 0], arrays["background"][2:])
    for split in ("train", "test"):
        np.testing.assert_array_equal(zipped.splits[split].x, derived.splits[split].x)
        np.testing.assert_array_equal(zipped.splits[split].y, derived.splits[split].y)
    assert zipped.classes == derived.classes


def test_frey_is_looked_for_only(data: Path, shrink: Callable[..., None]) -> None:
    with pytest.raises(FileNotFoundError, match=r"frey needs freyfaces\.npz, .* put it into .*VAEKIT_DATA/frey"):
        load("frey")
    shrink("frey", train=20)
    (data / "frey").mkdir(parents=True)
    np.savez(data / "frey" / "freyfaces.npz", images=np.full((20, 28, 20), 7, np.uint8))
    assert {name: split.x.shape for name, split in load("frey").splits.items()} == {
        "train": (16, 1, 28, 20),
        "valid": (2, 1, 28, 20),
        "test": (2, 1, 28, 20),
    }


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"train-labels-idx1": np.zeros(9, np.uint8)}, "x has 10 rows but y has 9"),
        (
            {"train-labels-idx1": np.full(10, 10, np.uint8)},
            "labels of train are 10..10; accepted: 0..9, there being 10 classes",
        ),
        ({"train-images-idx3": np.zeros((9, 28, 28), np.uint8)}, "x has 9 rows but y has 10"),
        ({"train-images-idx3": np.zeros((10, 28, 27), np.uint8)}, "has the shapes"),
        ({"train-images-idx3": np.zeros(10, np.uint8)}, "has the shapes"),
        ({"train-labels-idx1": np.zeros((10, 28, 28), np.uint8)}, "accepted: int64 labels"),
    ],
)
def test_wrong_mnist_files(data: Path, shrink: Callable[..., None], wrong: dict[str, np.ndarray], words: str) -> None:
    shrink("mnist", train=10, test=10)
    write_mnist(data / "mnist", 10, 10, **wrong)
    with pytest.raises(ValueError, match=words) as caught:
        load("mnist")
    assert str(caught.value).startswith("mnist")
    assert "\n" not in str(caught.value)


def test_wrong_counts(data: Path) -> None:
    write_mnist(data / "mnist", 10, 10)
    with pytest.raises(ValueError, match=r"mnist has the shapes .*\(10, 1, 28, 28\).* not .*\(60000, 1, 28, 28\)"):
        load("mnist")


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("frey", "freyfaces.npz", b"PK\x03\x04 cut off", "no whole NumPy file"),
        ("omniglot", "images_background.zip", b"PK\x03\x04 cut off", "damaged zip file"),
        ("mnist", "train-images-idx3-ubyte.gz", b"\x1f\x8b cut off", "gzip"),
        ("binary-mnist", "binarized_mnist_train.amat", b"0 1 0\n0 1\n", "line 2"),
        ("binary-mnist", "binarized_mnist_train.amat", b"0 1 0\n0 1 1\n", "reshape"),
    ],
)
def test_damaged_files(data: Path, name: str, file: str, content: bytes, words: str) -> None:
    (data / name).mkdir(parents=True)
    for needed in [file, *(each.name for each in DATASETS[name].files)]:
        (data / name / needed).write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        load(name)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


def test_an_archive_with_other_arrays(data: Path) -> None:
    (data / "frey").mkdir(parents=True)
    np.savez(data / "frey" / "freyfaces.npz", faces=np.zeros(3))
    with pytest.raises(ValueError, match=r"frey: .*freyfaces\.npz holds no array 'images'"):
        load("frey")


@pytest.mark.parametrize("name", [name for name, row in DATASETS.items() if row.files])
def test_without_network_the_error_says_what_to_do(data: Path, name: str) -> None:
    file = DATASETS[name].files[0]
    with pytest.raises(FileNotFoundError) as caught:
        load(name)
    assert all(word in str(caught.value) for word in (name, file.name, file.sha256, "$VAEKIT_DATA", "no network"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "row"), DATASETS.items())
def test_rows_of_the_table(name: str, row: named.Named) -> None:
    assert row.title
    assert row.source
    assert row.license
    for file in row.files:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.mirrors
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in file.mirrors)


@pytest.mark.public_data
@pytest.mark.parametrize(
    ("name", "mean"),
    # The means of the training pixels that everybody uses for MNIST and Fashion-MNIST; of the others, as found here.
    [("mnist", 0.1307), ("fashion-mnist", 0.2860), ("binary-mnist", 0.1306), ("omniglot", 0.0780), ("frey", 0.6057)],
)
def test_public_files(name: str, mean: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "fetch", lambda name, file: find(name, file.name) or pytest.skip(f"no {file.name}"))
    lacking = {"valid", "test"} - set(DATASETS[name].sizes)
    found = load(name, validation=0 if "valid" in lacking else None, test=0 if "test" in lacking else None)
    assert {split: len(rows) for split, rows in found.splits.items()} == DATASETS[name].sizes
    assert found.splits["train"].x.mean() / np.asarray(found.domain.scale) == pytest.approx(mean, abs=5e-4)
