from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.data import Preprocessing, decoding, images, load, pixels
from vaekit.data.arriving import Arriving, Passing
from vaekit.data.base import Dataset, Split
from vaekit.data.decoding import Form, ImageRows
from vaekit.data.domains import Domain
from vaekit.data.tensors import TensorSplit, to_device
from vaekit.settings import standing

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (60, 3, 6, 5), np.uint8)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> object:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "images").mkdir()
    for i, each in enumerate(PIXELS):
        Image.fromarray(each.transpose(1, 2, 0)).save(tmp_path / f"images/{i:02}.png")
    return [str(file) for file in sorted((tmp_path / "images").iterdir())]


@pytest.fixture
def rows(files: list[str]) -> ImageRows:
    return ImageRows(files, Form.of(files[0]))


def test_rows_are_decoded_when_they_are_asked_for_and_no_others(rows: ImageRows) -> None:
    assert (rows.shape, rows.ndim, rows.size, len(rows)) == (PIXELS.shape, 4, PIXELS.size, 60)
    np.testing.assert_array_equal(rows[3:9], PIXELS[3:9])
    assert np.flatnonzero(rows.there).tolist() == [*range(3, 9)]
    some = rows.where(np.arange(60) % 4 == 0)
    assert np.flatnonzero(some.there).tolist() == [1, 2]
    np.testing.assert_array_equal(np.asarray(some), PIXELS[::4])
    assert rows.there.sum() == 6
    np.testing.assert_array_equal(np.asarray(rows, np.float32), PIXELS)


def test_batches_come_in_order_each_whole_whatever_the_threads_do(
    rows: ImageRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "AHEAD", 2)
    monkeypatch.setattr(decoding, "PART", 3)
    batches = np.split(RNG.permutation(60), range(7, 60, 7))
    seen = []
    for i in rows.in_time(batches):
        assert rows.there[batches[i]].all()
        np.testing.assert_array_equal(rows.pixels[batches[i]], PIXELS[batches[i]])
        if i == 1:
            assert not rows.there[np.concatenate(batches[4:])].any(), "no more than so many ahead"
        seen.append(i)
    assert seen == [*range(9)]
    assert [*rows.in_time(batches)] == seen, "from memory"


@pytest.mark.parametrize("end", ["close", "error", "interrupt"])
def test_whoever_stops_in_between_leaves_no_thread(end: str, rows: ImageRows) -> None:
    batches = np.split(np.arange(60), 20)
    with closing(rows.in_time(batches)) as found:
        next(found)

    def training() -> None:
        for i in Arriving(rows, "cpu").in_time([*torch.arange(60).split(3)], [*torch.arange(60).split(3)]):
            if i[0] == 6:
                raise {"error": RuntimeError, "interrupt": KeyboardInterrupt}[end]

    if end != "close":
        with pytest.raises((RuntimeError, KeyboardInterrupt)):
            training()


Change = Callable[[str], object]
BAD: dict[str, tuple[Change, str]] = {
    "cut off": (lambda file: Path(file).write_bytes(Path(file).read_bytes()[:60]), "cannot be read as an image"),
    "other": (lambda file: Path(file).write_text("words"), "cannot be read as an image"),
    "size": (
        lambda file: Image.new("RGB", (9, 6)).save(file),
        r"is 9×6 RGB, but .*00.png is 5×6 RGB; bring all to one",
    ),
    "alpha": (lambda file: Image.new("RGBA", (5, 6)).save(file), "has transparent pixels"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_wont_do_is_named_with_all_others(case: str, rows: ImageRows, files: list[str]) -> None:
    change, words = BAD[case]
    change(files[41])
    change(files[50])
    with pytest.raises(ValueError, match=words) as raised:
        list(rows.where(np.arange(60) < 50).in_time(np.split(np.arange(50)[::-1].copy(), 10)))
    assert str(raised.value).startswith(files[41])
    assert str(raised.value).endswith("; 1 more that won't do: 50.png")
    assert "\n" not in str(raised.value)


def test_sizes_that_differ_are_told_what_brings_them_to_one(files: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(files[7])
    with pytest.raises(ValueError, match=r"07.png is 50×40 RGB, but .*bring all to one size: resize=5, or another"):
        load(tmp_path / "images")
    found = load(tmp_path / "images", resize=4, validation=0, test=0).splits["train"].x
    assert found.shape == (60, 3, 4, 4)
    assert not np.asarray(found)[7].any()
    with pytest.raises(ValueError, match="resize=4 is for a folder of images; digits is none"):
        load("digits", resize=4)


def test_a_grey_image_among_colours_is_of_colours(rows: ImageRows, files: list[str]) -> None:
    Image.fromarray(PIXELS[9, 0]).save(files[9])
    np.testing.assert_array_equal(rows[9:10], np.broadcast_to(PIXELS[9, :1], (1, 3, 6, 5)))


def test_the_sum_of_files_is_of_their_bytes_their_order_and_what_they_are_made(files: list[str]) -> None:
    form, all_rows = Form.of(files[0]), np.ones(60, bool)
    own = ImageRows(files, form).digest()
    assert ImageRows(files, form).where(all_rows).digest() == own
    assert ImageRows(files[::-1], form).digest() != own
    assert ImageRows(files, Form.of(files[0], 4)).digest() != own
    Path(files[5]).write_bytes(Path(files[5]).read_bytes() + b"\0")
    assert ImageRows(files, form).digest() != own


@pytest.mark.parametrize("resize", [None, 3])
def test_damage_anywhere_in_a_large_folder_is_met_beside_the_first_batches(
    resize: int | None, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 0)
    cut, odd, sound = (Path(files[i]) for i in (55, 57, 58))
    cut.write_bytes(cut.read_bytes()[:-50])
    Image.new("RGB", (50, 40)).save(odd)
    sound.write_bytes(sound.read_bytes() + b"what a camera adds")

    def first_batches() -> None:
        rows = load(tmp_path / "images", resize=resize).splits["train"].x
        first = [np.array([i]) for i in range(5)]
        for _ in range(1000):  # no row but these, until the rest has been looked at
            rows.there[:5] = False
            for _ in rows.in_time(first):
                pass

    with standing("command"), pytest.raises(ValueError, match=r"55\.png cannot be read as an image") as raised:
        first_batches()
    assert ("; 1 more that won't do: 57.png" in str(raised.value)) == (resize is None)
    cut.unlink()
    if resize is None:
        with standing("command"), pytest.raises(ValueError, match=r"bring all to one size: --set data\.resize=5"):
            first_batches()
    else:
        monkeypatch.setattr(decoding, "suspect", lambda *_: False)
        assert load(tmp_path / "images", resize=resize).splits["train"].x.shape[1:] == (3, 3, 3)


def test_a_large_folder_is_the_same_data_as_a_small_one(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = load(tmp_path / "images", validation=6, test=5)
    monkeypatch.setattr(images, "AT_ONCE", 0)
    monkeypatch.setattr(pixels, "LOOK", 300)
    later = load(tmp_path / "images", validation=6, test=5)
    assert later.domain == at_once.domain
    train = later.splits["train"].x
    assert isinstance(train, ImageRows)
    assert 0 < train.there.sum() < len(train)
    for name, split in later.splits.items():
        np.testing.assert_array_equal(np.asarray(split.x), at_once.splits[name].x)
        assert split.origin.tolist() == at_once.splits[name].origin.tolist()  # type: ignore[union-attr]


def test_what_is_larger_than_memory_is_kept_on_disk(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SMALL", 0)
    monkeypatch.setattr(images, "AT_ONCE", 0)
    monkeypatch.setattr(images, "available", lambda: PIXELS.size)
    monkeypatch.setattr(images, "cache_folder", lambda: tmp_path / "cache/vaekit")
    found = load(tmp_path / "images", validation=10, test=0)
    assert f"of 0 MB of memory: they are kept in a temporary file in {tmp_path}" in found.notes[-1]
    data = to_device(found, "train", Preprocessing())
    for index in data.order(7):
        expected = [PIXELS[int(str(name)[:2])] for name in data.origin[index.numpy()]]  # type: ignore[index]
        np.testing.assert_array_equal(data.training_batch(index).x, expected)
    assert isinstance(found.splits["train"].x.pixels, np.memmap)  # type: ignore[union-attr]
    assert not any((tmp_path / "cache/vaekit").iterdir()), "it has no name"
    monkeypatch.setattr(images.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    anew = load(tmp_path / "images", validation=10, test=0)
    assert "on disk: they are decoded anew in each epoch; smaller ones are kept: resize=64" in anew.notes[-1]


@pytest.mark.parametrize("how", [Preprocessing(), Preprocessing(crop=4)])
def test_what_no_disk_holds_is_decoded_each_time(how: Preprocessing, rows: ImageRows, files: list[str]) -> None:
    """To the same batches, of two places for as many rows as a batch has."""
    kept = Dataset("images", Domain("grey", levels=256), {"train": Split(rows)})
    anew = ImageRows(files, rows.form, kept=False).where(np.ones(60, bool))
    passing = to_device(replace(kept, splits={"train": Split(anew)}), "train", how)
    data = to_device(kept, "train", how)
    assert isinstance(passing.arriving, Passing)
    for places in (16, 40):
        passing.arriving.x = passing.arriving.x[:places]
        passing.arriving.pixels = passing.arriving.x.numpy()
        for _ in range(2):
            batches = [
                [split.training_batch(index).x for index in split.order(8, done=1)]
                for split in both_seeded(data, passing)
            ]
            for mine, other in zip(*batches, strict=True):
                torch.testing.assert_close(mine, other, rtol=0, atol=0)
        passing = to_device(replace(kept, splits={"train": Split(anew)}), "train", how)
    assert not anew.there.any()
    torch.testing.assert_close(passing.x[3:40:7], data.x[3:40:7])
    assert passing.x.shape == data.x.shape
    for index in (np.array([50, 3, 3]), np.arange(20)):
        torch.testing.assert_close(passing.rows(index).x, data.rows(index).x)
    torch.testing.assert_close(*(torch.cat([each.x for each in split.blocks()]) for split in (passing, data)))
    with pytest.raises(ValueError, match="61 of these images at a time are too many"):
        next(iter(passing.arriving.in_time([torch.zeros(61, dtype=torch.int64)], [])))


def both_seeded(*splits: TensorSplit) -> Iterator[TensorSplit]:
    for each in splits:
        torch.manual_seed(3)
        yield each


@pytest.mark.parametrize("top", [1, 255])
def test_masks_are_found_in_a_large_folder_too(top: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 0)
    bits = RNG.random((20, 4, 4)) < 0.5
    for i, each in enumerate(bits):
        Image.fromarray(each * np.uint8(top)).save(tmp_path / f"{i:02}.png")
    found = load(tmp_path, validation=0, test=0)
    assert found.domain.kind == "binary"
    np.testing.assert_array_equal(np.asarray(found.splits["train"].x)[:, 0], bits)


@pytest.mark.parametrize("copies", [False, True])
def test_a_tensor_that_arrives(copies: bool, rows: ImageRows) -> None:
    """On the CPU it is the rows' own memory; on a device, as if this were one, it is filled by what is asked for."""
    found, expected = Arriving(rows, "cpu", copies=copies), torch.from_numpy(PIXELS)
    found.need(slice(2, 5))
    torch.testing.assert_close(found.x[2:5], expected[2:5])
    found.need(torch.tensor([9, 3]))
    torch.testing.assert_close(found.x[[9, 3]], expected[[9, 3]])
    order = torch.randperm(60)
    for index in found.in_time(order.split(8), order.split(8)):
        torch.testing.assert_close(found.x[index], expected[index])
    torch.testing.assert_close(found.x, expected)
    assert (found.x.data_ptr() == rows.pixels.ctypes.data) == (not copies)


def test_a_split_waits_for_its_rows(files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 0)
    dataset = load(tmp_path / "images", validation=0, test=0)
    data = to_device(dataset, "train", Preprocessing(crop=4))
    expected = torch.from_numpy(PIXELS[:, :, 1:5, :4]).float()
    torch.testing.assert_close(data.rows(np.array([50, 49])).x, expected[[50, 49]])
    torch.testing.assert_close(data.part(np.array([30])).x.float(), expected[[30]])
    torch.testing.assert_close(torch.cat([batch.x for batch in data.blocks()]), expected)
    for index in data.order(8):
        assert data.training_batch(index).x.shape[1:] == (3, 4, 4)
