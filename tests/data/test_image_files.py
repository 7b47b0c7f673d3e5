from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vaekit.data.image_files import read_image
from vaekit.data.loading import load
from vaekit.errors import LeftOutWarning

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 9, 3), np.uint8)


def read(image: Image.Image, path: Path, resize: Any = None, name: str = "a.png", **options: Any) -> np.ndarray:
    image.save(path / name, **options)
    return read_image(str(path / name), resize)[0]


def test_colours_grey_and_palettes_are_read_as_they_are(tmp_path: Path) -> None:
    colours = Image.fromarray(COLOURS)
    np.testing.assert_array_equal(read(colours, tmp_path), COLOURS.transpose(2, 0, 1))
    np.testing.assert_array_equal(read(Image.fromarray(COLOURS[..., 0]), tmp_path), COLOURS[None, ..., 0])
    named = colours.quantize(8)
    np.testing.assert_array_equal(read(named, tmp_path), np.asarray(named.convert("RGB")).transpose(2, 0, 1))
    bits = Image.fromarray(COLOURS[..., 0] > 100)
    np.testing.assert_array_equal(read(bits, tmp_path), 255 * (COLOURS[None, ..., 0] > 100))
    opaque = colours.convert("RGBA")
    np.testing.assert_array_equal(read(opaque, tmp_path), COLOURS.transpose(2, 0, 1))
    for unused in (colours, named):  # a colour that stands for none, and is that of no pixel
        found = read(unused, tmp_path, transparency=(1, 2, 3) if unused is colours else 9)
        np.testing.assert_array_equal(found, np.asarray(unused.convert("RGB")).transpose(2, 0, 1))


def test_a_colour_that_stands_for_none_is_transparent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has transparent pixels; convert it to grey"):
        read(Image.new("L", (4, 4), 7), tmp_path, transparency=7)
    with pytest.raises(ValueError, match="has transparent pixels; convert it to grey"):
        read(Image.fromarray(COLOURS), tmp_path, transparency=tuple(COLOURS[0, 0].tolist()))


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    read(Image.fromarray(COLOURS), tmp_path)
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.png is a pipe, not a file"):
        load(tmp_path, validation=0, test=0)


def test_what_is_left_out_of_a_folder_is_said(tmp_path: Path) -> None:
    for name in ("a", "b", "elsewhere"):
        (tmp_path / "all" / name).mkdir(parents=True)
        read(Image.fromarray(COLOURS), tmp_path / "all" / name)
    (tmp_path / "all/elsewhere").rename(tmp_path / "elsewhere")
    (tmp_path / "all/b/more").symlink_to(tmp_path / "elsewhere")
    with pytest.warns(LeftOutWarning, match="links to folders, which are not followed: more"):
        load(tmp_path / "all", validation=0, test=0)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/part-0.parquet").touch()
    with pytest.raises(ValueError, match=r"holds no images \(but part-0\.parquet\); accepted"):
        load(tmp_path / "tables")


def test_what_lies_beside_the_folders_of_splits_is_not_passed_over(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        read(Image.fromarray(COLOURS), tmp_path / name)
    (tmp_path / "labels.csv").touch()
    with pytest.warns(LeftOutWarning, match=r"skipped 1 file that is no image: labels\.csv"):
        load(tmp_path)
    read(Image.fromarray(COLOURS), tmp_path, name="loose.png")
    with pytest.raises(ValueError, match=r"loose\.png lies beside the folders of splits, test/, train/; move it"):
        load(tmp_path)


def test_images_of_single_bits_are_grey_ones_of_two_levels(tmp_path: Path) -> None:
    """Beside others, where they were refused, and alone, where they are masks."""
    bits = RNG.random((4, 6, 9)) > 0.5
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
        for i, each in enumerate(bits):
            Image.fromarray(each).save(tmp_path / name / f"{i}.png")
    alone = load(tmp_path / "alone", validation=0, test=0)
    assert (alone.domain.kind, alone.splits["train"].x.max()) == ("binary", 1)
    read(Image.fromarray(COLOURS), tmp_path / "beside", name="9.png")
    beside = load(tmp_path / "beside", validation=0, test=0)
    assert beside.domain.kind == "grey"
    first = beside.splits["train"].x[0]
    np.testing.assert_array_equal(first, np.broadcast_to(255 * alone.splits["train"].x[0], (3, 6, 9)))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_all_eight_orientations(turn: int, ending: str, tmp_path: Path) -> None:
    """What a camera stores is turned back: the picture is what it was before."""
    picture = np.zeros((16, 24), np.uint8)
    picture[:8, :8] = 255
    back = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda x: np.rot90(x, 1),
        7: lambda x: np.rot90(x, 2).T,
        8: lambda x: np.rot90(x, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = Image.fromarray(np.ascontiguousarray(back[turn](picture))).convert("RGB")
    found = read(stored, tmp_path, name=f"a.{ending}", exif=exif, quality=100)
    assert found.shape == (3, 16, 24)
    assert np.abs(found[0].astype(int) - picture).max() < 20


REFUSED = {
    "alpha": (Image.fromarray(np.full((4, 4, 4), 9, np.uint8), "RGBA"), "a.png", "transparent pixels"),
    "transparent grey": (Image.new("LA", (4, 4), (3, 4)), "a.png", "transparent pixels"),
    "sixteen bits": (Image.fromarray(np.full((4, 4), 999, np.uint16)), "a.png", "more than eight bits (the mode I;16)"),
    "print colours": (Image.new("CMYK", (4, 4)), "a.jpg", "the mode CMYK"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_neither_grey_nor_colour_is_named(case: str, tmp_path: Path) -> None:
    image, name, words = REFUSED[case]
    with pytest.raises(ValueError, match="convert it to grey") as raised:
        read(image, tmp_path, name=name)
    assert str(tmp_path / name) in str(raised.value)
    assert words in str(raised.value)


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_an_animation_is_no_image(ending: str, tmp_path: Path) -> None:
    first, second = (Image.fromarray(RNG.integers(0, 255, (4, 5, 3), np.uint8)) for _ in range(2))
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=[second])
    with pytest.raises(ValueError, match=rf"a\.{ending} cannot be read as an image \(it is 2 pictures"):
        read_image(str(tmp_path / f"a.{ending}"))


def test_colours_of_sixteen_bits_are_named(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.tobytes() for row in RNG.integers(0, 2**16, (4, 5, 3)).astype(">u2"))
    header, data = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0), zlib.compress(rows)
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    with pytest.raises(ValueError, match=r"a\.png has pixels of more than eight bits \(the mode RGB\); convert it"):
        read_image(str(file))


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (7, 7), (5, 20)])
def test_a_square_is_the_middle_of_what_is_resized(size: tuple[int, int], tmp_path: Path) -> None:
    """As by torchvision's Resize and CenterCrop: a linear ramp stays one, and its middle stays in the middle."""
    ramp = np.linspace(0, 250, max(size))
    image = np.broadcast_to(ramp if size[0] == max(size) else ramp[:, None], size[::-1])
    found = read(Image.fromarray(image.astype(np.uint8)), tmp_path, 8)
    assert found.shape == (1, 8, 8)
    line = found[0].astype(float).mean(0 if size[0] == max(size) else 1)
    step = 250 / (max(size) - 1) * min(size) / 8
    np.testing.assert_allclose(line[1:-1], (125 + step * (np.arange(8) - 3.5))[1:-1], atol=3)


def test_two_sides_take_all_of_an_image_and_shrinking_averages(tmp_path: Path) -> None:
    halves = np.zeros((20, 60), np.uint8)
    halves[:, 30:] = 200
    found = read(Image.fromarray(halves), tmp_path, (4, 6))
    assert found.shape == (1, 4, 6)
    np.testing.assert_allclose(found[0, 0, [0, 1, 4, 5]], [0, 0, 200, 200], atol=16)
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.ptp(read(Image.fromarray(checks), tmp_path, 8).astype(int)) < 16, "no moiré"
    bits = read(Image.fromarray(checks > 0), tmp_path, 8)
    assert abs(int(bits.mean()) - 127) < 8


def test_a_large_jpeg_is_decoded_smaller_to_nearly_the_same_pixels(tmp_path: Path) -> None:
    smooth = Image.fromarray(RNG.integers(0, 256, (6, 8, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
    found = read(smooth, tmp_path, (24, 32), name="a.jpg", quality=95)
    exact = np.asarray(smooth.resize((32, 24), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(found.astype(int) - exact).mean() < 2
