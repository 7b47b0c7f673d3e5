"""Shards of images: what they hold is what a folder of the same files holds, and what won't do is one line."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaekit.data import images, load, members, shards
from vaekit.data.base import Dataset
from vaekit.data.decoding import ImageRows
from vaekit.data.members import Member, members_of
from vaekit.data.shards import are_shards, expanded
from vaekit.runs.given import fingerprint

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 3, 6, 5), np.uint8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png(i: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS[i].transpose(1, 2, 0)).save(file, "png")
    return file.getvalue()


def write(path: Path, files: Mapping[str, bytes], **options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = 1.5  # type: ignore[assignment]  # what makes writers add a second header
            archive.addfile(info, io.BytesIO(content))
    return path


def row(i: int) -> dict[str, bytes]:
    return {
        f"{i:04}.png": png(i),
        f"{i:04}.cls": f"{i % 11}\n".encode(),
        f"{i:04}.json": json.dumps({"kind": "cat" if i % 2 else "ant", "size": 1.5}).encode(),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of ten rows each."""
    for number in range(3):
        rows = [row(i) for i in range(10 * number, 10 * number + 10)]
        write(tmp_path / f"set/photos-{number:03}.tar", {name: data for each in rows for name, data in each.items()})
    return tmp_path / "set"


def assert_same(found: Dataset, other: Dataset) -> None:
    assert found.domain == other.domain
    for name, split in found.splits.items():
        np.testing.assert_array_equal(np.asarray(split.x), np.asarray(other.splits[name].x))


@pytest.mark.parametrize("at_once", [500, 0])
def test_shards_are_the_data_of_the_folder_of_the_same_images(
    at_once: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", at_once)
    (tmp_path / "plain").mkdir()
    for i in range(30):
        (tmp_path / f"plain/{i:04}.png").write_bytes(png(i))
    for options in ({}, {"resize": 4}):
        plain = load(tmp_path / "plain", validation=6, test=5, **options)  # type: ignore[arg-type]
        (tmp_path / "bare").mkdir(exist_ok=True)
        bare = write(tmp_path / "bare/all.tar", {f"{i:04}.png": png(i) for i in range(30)})
        assert_same(load(bare, validation=6, test=5, **options), plain)  # type: ignore[arg-type]
    found = load(folder, validation=0, test=0)
    np.testing.assert_array_equal(np.asarray(found.splits["train"].x), PIXELS)
    assert isinstance(found.splits["train"].x, ImageRows) == (not at_once)
    assert found.classes == tuple(map(str, range(11))), "whole numbers in their order"
    np.testing.assert_array_equal(found.splits["train"].y, np.arange(30) % 11)  # type: ignore[arg-type]
    assert found.splits["train"].origin[12] == "photos-001.tar/0012.png"  # type: ignore[index]
    assert found.notes[0] == "3 shards of 30 images"


def test_labels_may_be_a_field_of_json(folder: Path) -> None:
    found = load(folder, label="kind", validation=0, test=0)
    assert found.classes == ("ant", "cat")
    np.testing.assert_array_equal(found.splits["train"].y, np.arange(30) % 2)  # type: ignore[arg-type]
    for label, words in {
        "kin": "unknown field 'kin' .did you mean 'kind'",
        "size": "size is 1.5; accepted for a label",
    }.items():
        with pytest.raises(ValueError, match=words):
            load(folder, label=label)


def test_shards_are_named_by_a_pattern_one_by_one_or_by_splits(folder: Path, tmp_path: Path) -> None:
    every = load(folder, validation=0, test=0)
    assert_same(load(str(folder / "photos-{000..002}.tar"), validation=0, test=0), every)
    assert load(str(folder / "photos-{000..002}.tar"), validation=0, test=0).name == "photos"
    first = load(folder / "photos-000.tar", validation=0, test=0).splits["train"].x
    np.testing.assert_array_equal(first, PIXELS[:10])
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*photos-003\.tar"):
        load(str(folder / "photos-{000..003}.tar"))
    with pytest.raises(ValueError, match="counts from 2 down to 0"):
        load(str(folder / "photos-{2..0}.tar"))
    for names in (("cars-train-0.tar", "cars-val-0.tar", "cars-test.tar"), ("train/a.tar", "val/a.tar", "test/a.tar")):
        place = tmp_path / names[0].split("-")[0].replace("/", "")
        for i, name in enumerate(names):
            write(place / name, row(i))
        split = load(place)
        assert {name: np.asarray(each.x).tolist() for name, each in split.splits.items()} == {
            name: PIXELS[i : i + 1].tolist() for i, name in enumerate(("train", "valid", "test"))
        }
    write(place / "train/more-val.tar", row(3))
    (place / "test/a.tar").rename(place / "b.tar")
    with pytest.raises(ValueError, match=r"b\.tar is of no split by its name, but other shards are of"):
        load(place)


def test_patterns() -> None:
    found = expanded(Path("a/{08..10}/{1..2}.tar"), there=False)
    assert [str(each) for each in found] == [f"a/{i:02}/{j}.tar" for i in (8, 9, 10) for j in (1, 2)]
    assert not are_shards(Path("a.tar.gz"))


def test_where_members_lie_is_kept_until_a_shard_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "KEPT", 1)
    shard = folder / "photos-000.tar"
    found = members_of(shard)
    assert [each.read() for each in found] == [data for i in range(10) for data in row(i).values()]
    (kept,) = (tmp_path / "cache/vaekit/shards").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(members, "_listed", lambda *given: pytest.fail("it is known"))
        assert members_of(shard) == found
    for text in ("{", '{"state": 3}', kept.read_text().replace('"members": [[', '"members": [[[')):
        kept.write_text(text)
        assert members_of(shard) == found
    write(shard, row(3))
    assert [each.name for each in members_of(shard)] == [*row(3)]


def test_shards_are_known_again_by_names_sizes_and_some_of_their_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 0)
    own = fingerprint(load(folder))
    assert own.startswith("files:")
    assert fingerprint(load(folder)) == own
    content = bytearray((folder / "photos-002.tar").read_bytes())
    changed = members_of(folder / "photos-002.tar")[6]
    content[changed.offset + changed.size - 1] ^= 1  # of a sum that Pillow does not look at
    (folder / "photos-002.tar").write_bytes(content)
    assert fingerprint(load(folder)) != own


def link(name: str, kind: bytes) -> Callable[[Path], None]:
    def made(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)

    return made


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "gzip": (lambda path: path.write_bytes(gzip.compress(path.read_bytes())), r"is compressed \(gzip\): .* unpack it"),
    "cut at a member": (lambda path: path.write_bytes(path.read_bytes()[: 512 * 12]), "does not end as a tar does"),
    "cut within": (lambda path: path.write_bytes(path.read_bytes()[:2000]), "does not end as a tar does"),
    "empty": (lambda path: path.write_bytes(b""), "does not end as a tar does"),
    "other": (lambda path: path.write_bytes(b"words" * 1000 + bytes(1024)), "is no whole tar file"),
    "link": (link("0000.png", tarfile.SYMTYPE), r"has '0000\.png', which is a link"),
    "hard link": (link("0000.png", tarfile.LNKTYPE), "is a link"),
    "device": (link("0000.png", tarfile.CHRTYPE), "is a device"),
    "upwards": (lambda path: write(path, {"../0.png": png(0)}), "is a name that leads elsewhere"),
    "absolute": (lambda path: write(path, {"/etc/0.png": png(0)}), "is a name that leads elsewhere"),
    "control": (lambda path: write(path, {"a\n.png": png(0)}), "is a name that leads elsewhere"),
    "two images": (lambda path: write(path, {"0.png": png(0), "0.jpg": png(0)}), "'0' has 2 images, png, jpg"),
    "no image": (lambda path: write(path, {"0.cls": b"1"}), "'0' has no image beside cls"),
    "nothing": (lambda path: write(path, {}), "has no images"),
    "twice": (lambda path: write(path, {"0.png": png(0), "1.png": png(0), "0.cls": b"1"}), "do not follow each other"),
    "some labels": (lambda path: write(path, {"0.png": png(0), "1.png": png(0), "1.cls": b"1"}), "has no label beside"),
    "empty label": (lambda path: write(path, {"0.png": png(0), "0.cls": b" "}), "0.cls has no label: it is empty"),
    "long label": (lambda path: write(path, {"0.png": png(0), "0.cls": b"1" * 2**21}), "too many for a label"),
    "damaged": (lambda path: write(path, {"0.png": png(0)[:60]}), r"a\.tar/0\.png cannot be read as an image"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_shard_that_wont_do_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    change, words = BAD[case]
    change(write(tmp_path / "a.tar", row(0)))
    with pytest.raises(ValueError, match=words) as raised:
        load(tmp_path / "a.tar")
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "a.tar") in str(raised.value)


def test_a_shard_that_shrinks_later_is_named(folder: Path) -> None:
    shard = folder / "photos-000.tar"
    member = members_of(shard)[-1]
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"0009.json is cut off: .* shorter than it was"):
        member.read()


def test_labels_with_a_mark_of_their_encoding_and_folders_that_are_no_classes(tmp_path: Path) -> None:
    files = {f"{i}.{end}": each for i in range(4) for end, each in (("png", png(i)), ("cls", b"\xef\xbb\xbfcat"))}
    assert load(write(tmp_path / "a.tar", files), validation=0, test=0).classes == ("cat",)
    found = load(write(tmp_path / "b.tar", {f"{'ab'[i % 2]}/{i}.png": png(i) for i in range(4)}), validation=0, test=0)
    assert found.notes[1].startswith("the folders in them (a, b) are parts of names; classes are members that end in")
    with pytest.raises(ValueError, match=r"'img' has 100 images, 0\.png.* and 76 more; accepted: one"):
        load(write(tmp_path / "c.tar", {f"img.{i}.png": png(0) for i in range(100)}))


def test_other_members_are_said(tmp_path: Path) -> None:
    more = {"0000.txt": b"a cat", "._0000.png": b"a system's", "folder/0001.png": png(1), "./0002.png": png(2)}
    shard = write(tmp_path / "a.tar", {"0000.png": png(0)} | more)
    with pytest.warns(UserWarning, match="members that are neither images nor labels: txt"):
        found = load(shard, validation=0, test=0)
    np.testing.assert_array_equal(found.splits["train"].x, PIXELS[:3])
    assert str(Member("a.tar", "b", 0, 1)) == "a.tar/b"
    assert shards.plain_name(shard) == "a"
