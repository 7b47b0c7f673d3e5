from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.distributions import Normal

from vaekit import train
from vaekit.data import Split, load
from vaekit.data.domains import Domain
from vaekit.data.inputs import Inputs
from vaekit.data.preprocessing import Preprocessing
from vaekit.data.remarks import few_rows
from vaekit.data.tensors import TensorSplit
from vaekit.data.values import infer_domain
from vaekit.errors import LeftOutWarning, UnequalImagesError
from vaekit.seeding import seeded

RNG = np.random.default_rng(0)
TABLE = RNG.normal([5.0, -3.0], [2.0, 0.1], (100, 2))


def csv(text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "table.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
        return folder / "table.csv"

    return write


def npy(x: Any, cut: int = 0) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "array.npy"
        np.save(path, np.asarray(x), allow_pickle=True)
        path.write_bytes(path.read_bytes()[: -cut or None])
        return path

    return write


def npz(**arrays: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.savez(folder / "arrays.npz", allow_pickle=True, **arrays)
        return folder / "arrays.npz"

    return write


def raw(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def images(**files: Image.Image | bytes) -> Callable[[Path], Path]:
    """A folder of PNG files; "__" in a name is the "/" of a subfolder."""

    def write(folder: Path) -> Path:
        root = folder / "images"
        root.mkdir()
        for name, image in files.items():
            path = root / (name.replace("__", "/") + ".png")
            path.parent.mkdir(exist_ok=True)
            if isinstance(image, bytes):
                path.write_bytes(image)
            else:
                image.save(path)
        return root

    return write


def picture(mode: str = "L", size: tuple[int, int] = (4, 3), value: int = 7) -> Image.Image:
    return Image.new(mode, size, value)


def cut_off_picture() -> bytes:
    from io import BytesIO

    stream = BytesIO()
    Image.fromarray(RNG.integers(0, 256, (30, 30), np.uint8)).save(stream, "png")
    return stream.getvalue()[:-200]


X3 = np.zeros((3, 2))
HEAD = "a,b,kind\n"

BAD: dict[str, tuple[Callable[[Path], Path | str], dict[str, Any], type[Exception], str]] = {
    "unknown name": (lambda folder: "mnits", {}, ValueError, "unknown dataset 'mnits' .did you mean 'mnist'.*frey"),
    "empty name": (lambda folder: "", {}, ValueError, "unknown dataset ''"),
    "no file": (lambda folder: str(folder / "no.npy"), {}, FileNotFoundError, r"no\.npy"),
    "no folder": (lambda folder: folder / "no", {}, FileNotFoundError, "no file or folder"),
    "ending": (
        raw("a.doc", b"1,2\n"),
        {},
        ValueError,
        r"'\.doc'; accepted: \.npy, \.npz, \.csv, .*\.parquet, \.xlsx, \.h5ad, or",
    ),
    "label of a named set": (lambda folder: "digits", {"label": "y"}, ValueError, "label='y' names a column"),
    "label of an array": (npy(TABLE), {"label": "y"}, ValueError, "label='y' names a column"),
    "domain": (npy(TABLE), {"domain": "rael"}, ValueError, "unknown domain 'rael' .did you mean 'real'.*count"),
    "outside a domain": (
        npy(TABLE),
        {"domain": "positive"},
        ValueError,
        "array, split train.*positive numbers; the first",
    ),
    "columns of an array": (
        npy(TABLE),
        {"domain": "columns"},
        ValueError,
        "domain='columns' is of a table whose columns",
    ),
    "levels of reals": (npy(TABLE), {"levels": 3}, ValueError, "levels=3 .* the domain is 'real'; accepted: 'grey'"),
    "one level": (npy(X3), {"domain": "grey", "levels": 1}, ValueError, "at least 2 levels"),
    "too few levels": (lambda folder: "digits", {"levels": 5}, ValueError, "digits.* other than grey levels 0..4"),
    "named outside a domain": (lambda folder: "digits", {"domain": "binary"}, ValueError, "digits.* than binary 0/1"),
    "too few rows": (npy(TABLE), {"validation": 60, "test": 40}, ValueError, "none of the 100 training rows"),
    "object array": (npy([{}, None]), {}, ValueError, "Python objects are refused"),
    "object in archive": (npz(x=np.array([{}, None])), {}, ValueError, "Python objects are refused"),
    "pickle": (raw("x.npy", b"\x80\x04K\x01."), {}, ValueError, "no whole NumPy file"),
    "empty npy": (raw("x.npy", b""), {}, ValueError, "no whole NumPy file"),
    "empty npz": (raw("x.npz", b""), {}, ValueError, "no whole NumPy file"),
    "cut-off npy": (npy(TABLE, cut=5), {}, ValueError, "no whole NumPy file"),
    "npz without arrays": (npz(), {}, ValueError, "holds no arrays; needed"),
    "scalar": (npy(3.0), {}, ValueError, r"shape \(\); accepted"),
    "vector": (npy(np.zeros(4)), {}, ValueError, r"shape \(4,\); accepted"),
    "five axes": (npy(np.zeros((2, 1, 2, 2, 2))), {}, ValueError, "accepted: a table"),
    "channels": (npy(np.zeros((2, 8, 8, 5))), {}, ValueError, r"shape \(2, 8, 8, 5\); .* 1 to 4 channels"),
    "no rows": (npy(np.zeros((0, 4))), {}, ValueError, r"empty: its shape is \(0, 4\)"),
    "text": (npy(np.array([["a", "b"]])), {}, ValueError, "numbers are needed"),
    "complex": (npy(TABLE * 1j), {}, ValueError, "complex128; numbers are needed"),
    "inf": (npy([[1.0, 2.0], [3.0, np.inf]]), {}, ValueError, r"inf at index \(1, 1\)"),
    "infinite": (npy([[1.0, -np.inf], [3.0, 4.0]]), {}, ValueError, r"-inf at index \(0, 1\)"),
    "beyond float32": (npy([[1.0, 2.0], [1e300, 4.0]]), {}, ValueError, r"1e\+300 at index \(1, 0\)"),
    "constant column": (npy(TABLE * [1, 0]), {}, ValueError, "constant to six digits .*: 1; drop it"),
    "constant images": (npy(np.full((9, 4, 4), 0.5)), {}, ValueError, "constant .*: all values"),
    "lost in float32": (
        npy((TABLE * [50, 1] + [1e9, 0]).astype("f4")),
        {},
        ValueError,
        "constant to six digits .*: 0;",
    ),
    "other names": (npz(a=X3, b=X3), {}, ValueError, "holds a, b; needed: x"),
    "no train": (npz(x_test=X3, y_test=X3), {}, ValueError, "holds x_test, y_test; needed: x"),
    "y of some": (
        npz(x_train=X3, x_test=X3, y_train=np.arange(3)),
        {},
        ValueError,
        "y is needed for every x or for none",
    ),
    "y too short": (npz(x=X3, y=np.arange(2)), {}, ValueError, r"x has 3 rows, but its y has the shape \(2,\)"),
    "y a scalar": (npz(x=X3, y=1), {}, ValueError, r"x has 3 rows, but its y has the shape \(\)"),
    "y of three axes": (npz(x=X3, y=np.zeros((3, 2, 2))), {}, ValueError, r"labels \(N,\) or covariates \(N, C\)"),
    "y text table": (
        npz(x=X3, y=np.array([["a", "b"]] * 3)),
        {},
        ValueError,
        "y of train has type .*numbers are needed",
    ),
    "y nan": (npz(x=X3, y=np.array([0.5, np.nan, 1])), {}, ValueError, "y of train has a value"),
    "y of two types": (
        npz(x_train=X3, x_test=X3, y_train=np.arange(3), y_test=np.arange(3.0)),
        {},
        ValueError,
        "of one type in all splits",
    ),
    "splits of two shapes": (npz(x_train=TABLE, x_test=np.ones((3, 3))), {}, ValueError, "a datum of test has shape"),
    "empty csv": (csv(""), {}, ValueError, "is empty"),
    "blank csv": (csv("\n\n"), {}, ValueError, "is empty"),
    "header only": (csv(HEAD), {}, ValueError, "a line of names but no rows"),
    "ragged": (csv("a,b\n1,2\n\n3\n"), {}, ValueError, "line 4: 1 cell, but there are 2 columns"),
    "text among numbers": (
        csv(HEAD + "1,2,x\n2,3,y\n"),
        {"domain": "real"},
        ValueError,
        r"asked for as real: column 'kind' has 'x' in row 0 \(from 0\); accepted: numbers",
    ),
    "text asked for as numbers": (
        csv(HEAD + "1,2,4\n2,3,y\n"),
        {"columns": {"kind": "count"}},
        ValueError,
        r"asked for as count: column 'kind' has 'y' in row 1 \(from 0\); accepted: numbers",
    ),
    "no such column": (csv("a,b\n1,2\n3,4\n"), {"columns": {"aa": "real"}}, ValueError, "unknown column 'aa' .*'a'"),
    "no such kind": (csv("a,b\n1,2\n3,4\n"), {"columns": {"a": "rael"}}, ValueError, "column 'a': 'rael' .*'real'"),
    "kinds of no table": (npy(TABLE), {"columns": {"a": "real"}}, ValueError, "columns={'a': 'real'} names kinds of a"),
    "constant columns": (
        csv(HEAD + "1,2,\n1,2,\n"),
        {},
        ValueError,
        "no column to learn from .'a': constant; 'b': constant; 'kind': no value.; .*: columns={'a': 'real'}$",
    ),
    "missing label": (
        csv(HEAD + "1,2,x\n3,4,\n"),
        {"label": "kind"},
        ValueError,
        r"row 1 \(from 0\): missing value in column 'kind'; fill it or drop the row",
    ),
    "value only outside the training rows": (
        csv("a,b\n" + "".join(f"{i / 8},{'' if i != 9 else 1.5}\n" for i in range(20))),
        {"columns": {"b": "real"}},
        ValueError,
        "column 'b' has no value in the training rows; leave it out: columns={'b': 'none'}",
    ),
    "infinite cell": (
        csv("a,b\n1,2\n3,inf\n"),
        {},
        ValueError,
        r"column 'b' has inf in row 1 \(from 0\); accepted: fin",
    ),
    "infinite cell of a kind": (
        csv("a,b\n1,2\n3,-inf\n"),
        {"domain": "real"},
        ValueError,
        r"column 'b', has -inf in row 1 \(from 0\); accepted: finite numbers",
    ),
    "duplicate names": (csv("a,b,a\n1,2,3\n"), {}, ValueError, "more than one column of the name 'a'"),
    "no such label": (csv(HEAD + "1,2,3\n"), {"label": "kin"}, ValueError, "no column 'kin'; did you mean 'kind'"),
    "no near label": (
        csv(HEAD + "1,2,3\n"),
        {"label": "zzz"},
        ValueError,
        "no column 'zzz'; columns: 'a', 'b', 'kind'",
    ),
    "label only": (csv("kind\nx\ny\n"), {"label": "kind"}, ValueError, "no columns besides the label"),
    "constant named column": (
        csv("a,b\n1,5\n2,5\n4,5\n"),
        {"domain": "real"},
        ValueError,
        "constant .*: b; drop it",
    ),
    "open quote": (csv('a,b\n1,"2\n'), {}, ValueError, "cannot be read as a table: .*is a quote not closed"),
    "no parquet": (raw("x.parquet", b"PAR1 but not really"), {}, ValueError, "cannot be read as Parquet"),
    "no images": (images(), {}, ValueError, "holds no images; accepted: .*png"),
    "empty class": (images(cat__1=picture(), dog__1=b""), {}, ValueError, "1.png cannot be read as an image"),
    "stray image": (
        images(cat__1=picture(), stray=picture()),
        {},
        ValueError,
        r"stray\.png lies beside the subfolders",
    ),
    "image size": (
        images(a=picture(), b=picture(), c=picture(size=(5, 3))),
        {},
        UnequalImagesError,
        r"c\.png is 5×3 L, but .*a\.png is 4×3 L",
    ),
    "alpha": (images(a=picture("RGBA")), {}, ValueError, r"a\.png has transparent pixels; convert"),
    "cut-off image": (images(a=cut_off_picture()), {}, ValueError, r"a\.png cannot be read as an image"),
    "images that won't do": (
        images(a=picture(), b=cut_off_picture(), c=b"nor this", d=picture(), e=b"no image"),
        {},
        ValueError,
        r"b\.png cannot be read as an image \(.*\); mend it, or move it elsewhere; 2 more that won't do: c.png, e.png$",
    ),
}


@pytest.mark.parametrize(("make", "options", "kind", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_line(
    make: Callable[[Path], Path | str], options: dict[str, Any], kind: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=words) as caught:
        load(make(tmp_path), **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


KINDS_OF_CELLS = [
    # What the first versions refused.
    ("1,2\n3,5\n4,7\n", {"x1": "count", "x2": "count"}, "no line of names was found: columns are x1..x2"),
    ("a,kind\n1,x\n2,y\n4,x\n", {"a": "count", "kind": "binary"}, ""),
    ("a,kind\n1,x\n2,y\n4,z\n4,z\n", {"a": "count", "kind": "categorical"}, ""),
    ('a,b\n1,2\n"4", ?\n6,9\n8,4\n', {"a": "count", "b": "count"}, "1 of 8 cells are missing: taken as not observed"),
    ("a,b\n1,5\n2,5\n4,5\n", {"a": "count"}, "column 'b' is left out: constant"),
    ("a,b\n1,\n2,\n4,\n", {"a": "count"}, "column 'b' is left out: no value"),
    ("name,a\n\udcff,1\ny,2\ny,4\n", {"name": "binary", "a": "count"}, "its letters are read as cp1252"),
]


@pytest.mark.parametrize(("text", "kinds", "note"), KINDS_OF_CELLS)
@pytest.mark.filterwarnings("ignore::vaekit.errors.LeftOutWarning")
def test_cells_that_are_no_numbers_are_taken_for_what_they_are(
    text: str, kinds: dict[str, str], note: str, tmp_path: Path
) -> None:
    data = load(csv(text)(tmp_path), validation=0, test=0)
    assert {each.name: each.kind for each in data.table} == kinds
    assert data.columns == tuple(kinds)
    others = [each for each in data.notes if each != few_rows(len(data.splits["train"]))]
    assert (note in "; ".join(others)) if note else not others
    assert data.domain.missing == ("not observed" in note)
    if data.domain.missing:
        train = data.splits["train"]
        assert np.argwhere(~train.observed).tolist() == [[1, 1]]  # type: ignore[operator]
        assert train.x[:, 0].tolist() == [1, 4, 6, 8]
        data.domain.check(train.x)


def test_what_is_left_out_of_a_table_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(LeftOutWarning, match=r"^table: column 'b' is left out: constant$"):
        load(csv("a,b\n1,5\n2,5\n4,5\n")(tmp_path))


@pytest.mark.parametrize("make", [npy(TABLE), csv("a,b\n1,2\n"), raw("x.parquet", b"")])
def test_a_file_that_may_not_be_read(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)

    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)  # the mode of the file would not stop a superuser
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", denied)
    with pytest.raises(ValueError, match=f"cannot read {path}: Permission denied"):
        load(path)


def test_a_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(a=picture(value=2), b=picture())(tmp_path).rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert load("digits").event_shape == (1, 8, 8)
    assert load("./digits").event_shape == (1, 3, 4)
    assert load(Path("digits")).name == "digits"


ZEROS = np.zeros((4, 2), np.uint8)


@pytest.mark.parametrize(
    ("x", "kind", "expected"),
    [
        (ZEROS, None, Domain("binary")),
        (np.eye(3, dtype=np.float32), None, Domain("binary")),
        (ZEROS + 2, None, Domain("grey", levels=256)),
        (ZEROS, "grey", Domain("grey", levels=256)),
        (np.array([[0.5]], np.float32), "unit", Domain("unit")),
        (np.array([[1, 10], [3, 20]], np.float32), None, Domain("real", location=(2.0, 15.0), scale=(1.0, 5.0))),
        (np.array([[[[1, 3]]]], np.float32), None, Domain("real", location=2.0, scale=1.0)),
        (np.array([[[[1, 7]]]], np.float32), "positive", Domain("positive", scale=5.0)),
        (np.array([[1, 7]], np.float32), "categorical", Domain("categorical", levels=8, scale=7.0)),
        (ZEROS, "categorical", Domain("categorical", levels=2)),
    ],
)
def test_infer_domain(x: np.ndarray, kind: str | None, expected: Domain) -> None:
    assert infer_domain({"train": Split(x)}, kind) == expected


def test_counts_are_seen_as_logarithms() -> None:
    """log(1 + x) of 1 and 7, its mean and standard deviation; of a column of zeros alone, as if one were a half."""
    found = infer_domain({"train": Split(np.array([[1, 0], [7, 0]], np.float32))}, "count")
    assert found.warp == "log"
    assert found.location == pytest.approx((math.log(4), math.log(1.25)))
    assert found.scale == pytest.approx((math.log(2), 1.0))


def test_levels_are_those_given_or_what_the_greatest_value_of_any_split_tells(tmp_path: Path) -> None:
    sixteen = npy(np.arange(32).reshape(16, 2) % 16.0)(tmp_path)
    assert load(sixteen, domain="grey", levels=17).domain == Domain("grey", levels=17)
    assert load(sixteen, domain="categorical", levels=20).domain.levels == 20
    splits = {"train": Split(ZEROS), "test": Split(ZEROS + 5)}
    assert infer_domain(splits, "categorical").levels == 6
    assert load("digits", domain="categorical").domain.levels == 17
    assert load("digits", levels=20).domain == Domain("grey", levels=20)


def test_one_value_above_1_anywhere_is_not_binary() -> None:
    splits = {"train": Split(ZEROS), "test": Split(ZEROS + 2)}
    assert infer_domain(splits).kind == "grey"


def test_location_and_scale_are_those_of_the_training_rows(tmp_path: Path) -> None:
    data = load(npy(TABLE)(tmp_path), seed=3)
    train = data.splits["train"].x
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 80, "valid": 10, "test": 10}
    np.testing.assert_allclose(data.domain.location, train.mean(0), rtol=1e-6)
    np.testing.assert_allclose(data.domain.scale, train.std(0), rtol=1e-5)


def test_the_domain_of_a_named_set_can_be_another() -> None:
    digits = load("digits", domain="real")
    # Bytes of images are mapped to -1..1, as networks of images commonly have them.
    assert digits.domain == Domain("real", location=8.0, scale=8.0)
    assert load("digits", domain="grey").domain == Domain("grey", levels=17)


def test_bytes_of_images_as_real_numbers_are_mapped_from_minus_one_to_one(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "bytes.npy", x)
    np.save(tmp_path / "floats.npy", x.astype(np.float32) / 255)
    data = load(tmp_path / "bytes.npy", domain="real")
    assert data.domain == Domain("real", location=127.5, scale=127.5)
    other = load(tmp_path / "floats.npy", domain="real")
    assert other.domain.scale == pytest.approx(other.splits["train"].x.std(), rel=1e-5)


@pytest.mark.parametrize(("offset", "spread", "kept"), [(0.0, 1.0, "f4"), (1e3, 1.0, "f4"), (1.7e9, 5.0, "f8")])
def test_what_float32_would_lose_is_kept_in_float64(tmp_path: Path, offset: float, spread: float, kept: str) -> None:
    x = np.round(offset + spread * np.random.default_rng(0).normal(size=(200, 2)), 6) * [1.0, 1e-30]
    np.save(tmp_path / "far.npy", x)
    (tmp_path / "far.csv").write_text("a,b\n" + "\n".join(f"{a!r},{b!r}" for a, b in x.tolist()) + "\n")
    for name in ("far.npy", "far.csv"):
        dataset = load(tmp_path / name, validation=0, test=0)
        found = dataset.splits["train"].x
        assert found.dtype == np.dtype(kept)
        assert np.allclose((found - x.mean(0)) / x.std(0), (x - x.mean(0)) / x.std(0), atol=1e-3)
        if dataset.domain.kind == "real":
            assert np.allclose(dataset.domain.scale, x.std(0), rtol=1e-3)
        seen = Inputs((2,), dataset.domain)(torch.from_numpy(found)).numpy()
        kinds = [each.kind for each in dataset.domain.columns] or ["real", "real"]
        for kind, column, values in zip(kinds, seen.T, x.T, strict=True):  # what is above 0 is seen by its logarithm
            moved = np.log(values) if kind == "positive" else values
            assert column == pytest.approx((moved - moved.mean()) / moved.std(), abs=2e-3)


def test_a_run_far_from_zero_is_that_of_the_same_data_moved(tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(300, 2))
    x = np.round(z @ np.random.default_rng(1).normal(size=(2, 4)) * 1024) / 1024  # exact wherever it is moved
    scores, draws = [], []
    for offset in (0.0, 1.7e9 + 3):
        np.save(tmp_path / "x.npy", x + offset)
        run = train(tmp_path / "x.npy", tmp_path / "run", epochs=8, overwrite=True)
        scores.append(run.evaluate("test", samples=20).nll)
        draws.append(run.sample(50, seed=0).double() - offset)
        assert np.allclose(
            run.reconstructions("test", 5, first=True)[:, 0].double() - offset,
            run.dataset.splits["test"].x[:5] - offset,
        )
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)
    assert torch.allclose(*draws, atol=1e-3)


def test_a_table_far_from_zero_is_learned_and_drawn_to_its_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = 1.7e9 + 0.5 * rng.normal(size=(600, 1)) @ np.ones((1, 2)) + 0.1 * rng.normal(size=(600, 2))
    (tmp_path / "far.csv").write_text("a,b\n" + "\n".join(f"{a!r},{b!r}" for a, b in x.tolist()) + "\n")
    sets = ["model.encoder.hidden=[32]", "model.decoder.hidden=[32]", "model.latents.z.size=2"]
    run = train(tmp_path / "far.csv", tmp_path / "run", sets=[*sets, "training.batch_size=32"], epochs=15)
    drawn = run.sample(2000, seed=0).double().numpy()
    assert np.allclose(drawn.mean(0), x.mean(0), rtol=0, atol=0.15)
    assert np.allclose(drawn.std(0), x.std(0), rtol=0.3)
    apart = Normal(0, 1).entropy() * 2 + np.log(x.std(0)).sum()  # nats of a row, were the columns independent
    assert run.evaluate("test", 50).nll < float(apart)


# -- what is said of data ----------------------------------------------------------------------------------------------


def test_what_is_refused_is_named_by_row_and_column_of_the_file(tmp_path: Path) -> None:
    lines = ["a,b", *(f"{i + 1}.5,2.25" for i in range(40))]
    lines[1 + 17] = "18.5,0"
    (tmp_path / "positive.csv").write_text("\n".join(lines))
    for seed in range(3):  # whichever split it falls into
        with pytest.raises(ValueError, match=r"the first is 0\.0 at row 17 \(from 0\), column 'b'$"):
            load(tmp_path / "positive.csv", domain="positive", seed=seed)


@pytest.mark.parametrize(
    ("x", "said"), [(np.arange(80.0).reshape(40, 2), True), (np.arange(80.0).reshape(40, 2) - 3, False)]
)
def test_whole_numbers_that_might_be_counts_are_said_to_be_taken_as_real(
    x: np.ndarray, said: bool, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", x)
    found = load(tmp_path / "x.npy")
    assert found.domain.kind == "real"
    assert any("taken as real ones; counts are" in note for note in found.notes) == said
    assert not any("taken as real" in note for note in load(tmp_path / "x.npy", domain="real").notes)


def test_labels_that_are_numbers_of_a_float_type_are_said_to_be_covariates(tmp_path: Path) -> None:
    y = np.arange(40) % 4
    for kind, said in ((np.float32, True), (np.int16, False)):
        np.savez(tmp_path / "xy.npz", x=np.linspace(0, 1, 120).reshape(40, 3), y=y.astype(kind))
        found = load(tmp_path / "xy.npz")
        assert any("y is taken as 1 covariate of each row" in note for note in found.notes) == said
        assert bool(found.classes) != said


def test_a_mask_hides_a_part_of_the_cells_that_are_observed_in_training_alone() -> None:
    observed = torch.ones(4000, 5, dtype=torch.bool)
    observed[:, 0] = False
    x = torch.zeros(4000, 5)
    split = TensorSplit(x, None, Domain("real", missing=True), Preprocessing(), observed=observed, mask=0.6)
    with seeded(0):
        shown = split.training_batch(torch.arange(4000)).observed
    assert shown is not None
    assert not shown[:, 0].any()
    assert float(shown[:, 1:].float().mean()) == pytest.approx(0.7, abs=0.02)  # a part drawn between 0 and 0.6
    assert torch.equal(split.batch(slice(None)).observed, observed)


@pytest.mark.parametrize("holes", [0.0, 0.1])
def test_a_large_table_is_read_within_a_few_times_its_numbers(holes: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200_000, 20))
    x[rng.random(x.shape) < holes] = np.nan
    frame = pd.DataFrame(x, columns=[f"c{i}" for i in range(20)])
    kept = x.size * 4
    load(frame.head(1000))  # what is imported on the way
    tracemalloc.start()
    try:
        found = load(frame)
        after, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.splits["train"].x.dtype == np.float32
    assert after < 1.7 * kept
    assert most < 6 * kept
