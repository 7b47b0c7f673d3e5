from __future__ import annotations

import gzip
import io
import os
import re
import socket
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vaekit.data import formats
from vaekit.data.files import read_path
from vaekit.data.formats import array_names, read_amat, read_arrays, read_bytes, read_idx
from vaekit.system import memory

BYTES = arrays.arrays(np.uint8, arrays.array_shapes(max_dims=3, min_side=0, max_side=5))
BITS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 1))


def idx(x: np.ndarray) -> bytes:
    return bytes([0, 0, 8, x.ndim]) + np.array(x.shape, ">u4").tobytes() + x.tobytes()


def amat(x: np.ndarray, separator: str = " ", end: str = "\n") -> bytes:
    return end.join(separator.join(map(str, row)) for row in x.tolist()).encode()


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats") / "file"


@given(x=BYTES, packed=st.booleans())
def test_idx_round_trip(file: Path, x: np.ndarray, packed: bool) -> None:
    file.write_bytes(gzip.compress(idx(x)) if packed else idx(x))
    found = read_idx(file)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    np.testing.assert_array_equal(found, x)


@given(x=BITS, packed=st.booleans(), end=st.sampled_from(["\n", "\r\n", " \n"]), last=st.booleans())
def test_amat_round_trip(file: Path, x: np.ndarray, packed: bool, end: str, last: bool) -> None:
    data = amat(x, end=end) + (end.encode() if last else b"")
    file.write_bytes(gzip.compress(data) if packed else data)
    found = read_amat(file)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, x)


@given(x=BITS, data=st.data())
def test_amat_refuses_any_single_wrong_byte(file: Path, x: np.ndarray, data: st.DataObject) -> None:
    text = bytearray(amat(x) + b"\n")
    place = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(
        st.sampled_from([byte for byte in b"012 .x\t\x00" if byte not in b"01" or text[place] not in b"01"])
    )
    assume(text[place] != wrong)
    text[place] = wrong
    file.write_bytes(text)
    with pytest.raises(ValueError, match="line"):
        read_amat(file)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 1),
        (b"0 1\n0 2\n", 2),
        (b"0 1\n0 1\n0\n", 3),
        (b"0 1\n0 1\n0 1 1\n", 3),
        (b"0 1\n0 1\n\n", 3),
        (b"01\n", 1),
        (b"0,1\n", 1),
        (b"\n0 1\n", 1),
    ],
)
def test_amat_names_the_first_bad_line(file: Path, data: bytes, line: int) -> None:
    file.write_bytes(data)
    with pytest.raises(ValueError, match=f"line {line}:"):
        read_amat(file)


GOOD = idx(np.zeros((2, 3), np.uint8))
PACKED = gzip.compress(GOOD, mtime=0)  # the time would be part of a test's name, which all workers have to agree on


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no IDX file"),
        (b"\x89PNG\r\n", "no IDX file"),
        (b"\x00\x00\x0d" + GOOD[3:], "no IDX file"),  # floats
        (GOOD[:7], "too few for the header"),
        (GOOD[:-1], "5 values"),
        (GOOD + b"\x00", "7 values"),
        (PACKED[:-9], "gzip"),
        (PACKED[:12] + b"\xff" * 20, "gzip"),
        (b"\x1f\x8b", "gzip"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "0 values"),  # sizes whose product overflows 64 bits
    ],
)
def test_idx_refuses(file: Path, data: bytes, words: str) -> None:
    file.write_bytes(data)
    with pytest.raises(ValueError, match=words) as caught:
        read_idx(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_are_read_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(3))
    np.savez(tmp_path / "two.npz", a=np.arange(2), b=np.array(["x"]))
    assert list(read_arrays(tmp_path / "one.npy")) == ["x"]
    assert {name: x.tolist() for name, x in read_arrays(tmp_path / "two.npz").items()} == {"a": [0, 1], "b": ["x"]}


# -- files that are not what they seem ---------------------------------------------------------------------------------


def member(name: str, content: bytes, **options: Any) -> bytes:
    """An archive with one member."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def npy(x: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, x)
    return stream.getvalue()


def header(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def encrypted(content: bytes) -> bytes:
    """An archive whose member says that it is encrypted."""
    changed = bytearray(content)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[changed.index(mark) + place] |= 1
    return bytes(changed)


ARRAY = npy(np.arange(100.0))
BAD: dict[str, bytes] = {
    "empty": b"",
    "neither": b"what it is",
    "cut": ARRAY[:-8],
    "cut header": ARRAY[:20],
    "no numbers": header("(10**18,)"),
    "more than there are": header("(1000000000, 1000000)") + bytes(80),
    "fewer than none": header("(-1, 5)") + bytes(80),
    "fields": header("(1,)", "|O"),
    "another version": b"\x93NUMPY\x03\x00" + ARRAY[8:],
    "cut archive": member("x.npy", ARRAY)[:-30],
    "cut member": member("x.npy", ARRAY[:-8]),
    "no array in it": member("x.npy", b"what it is"),
    "more than it has": member("x.npy", header("(1000000000, 1000000)") + bytes(80)),
    "encrypted": encrypted(member("x.npy", ARRAY)),
    "packed otherwise": member("x.npy", ARRAY, compression=zipfile.ZIP_LZMA),
    "flipped": member("x.npy", ARRAY).replace(ARRAY[-16:], b"?" * 16, 1),
}


@pytest.mark.parametrize("name", BAD)
def test_arrays_are_refused_in_a_line_before_memory_is_taken(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(BAD[name])
    tracemalloc.start()
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_arrays_that_nobody_asks_for_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "UNPACKED", 2**20)
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros(10_000_000), y=np.arange(100))
    assert array_names(path) == ("x", "y")
    tracemalloc.start()
    assert read_arrays(path, ["y"])["y"].tolist() == list(range(100))
    for names in (None, ["x"]):
        with pytest.raises(
            ValueError, match=r"which unpack to 80,00\d,\d+ or more: none of it is read; if that is meant"
        ):
            read_arrays(path, names)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_arrays_that_memory_does_not_hold_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "UNPACKED", 2**10)
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device="cpu": 2**20)
    np.savez(tmp_path / "x.npz", x=np.zeros(2**18))
    with pytest.raises(ValueError, match=r"not enough memory: what is read of .*x\.npz"):
        read_arrays(tmp_path / "x.npz")


@given(data=st.data())
def test_a_damaged_archive_is_one_line_or_what_it_was(file: Path, data: st.DataObject) -> None:
    content = bytearray(member("x.npy", ARRAY, compression=zipfile.ZIP_DEFLATED))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = file.with_suffix(".npz")
    path.write_bytes(content)
    try:
        found = read_arrays(path)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert all(x.tolist() == list(range(100)) for x in found.values())
    assert "\n" not in said


def test_a_gzip_without_end_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "UNPACKED", 2**20)
    file.write_bytes(gzip.compress(idx(np.zeros((4000, 1000), np.uint8))))
    with pytest.raises(ValueError, match=r"bytes, which unpack to 4,000,012 or more: none of it is read"):
        read_idx(file)


def test_a_large_gzip_is_read_whole_or_refused_for_its_size(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).integers(0, 256, (50, 100)).astype(np.uint8)
    monkeypatch.setattr(formats, "UNPACKED", 2**10)
    monkeypatch.setattr(formats, "CHUNK", 1000)
    file.write_bytes(gzip.compress(idx(x)))
    assert np.array_equal(read_idx(file), x)
    monkeypatch.setattr("vaekit.system.memory.SMALL", 0)
    monkeypatch.setattr("vaekit.system.memory.available", lambda device="cpu": 3500)
    with pytest.raises(ValueError, match=r"not enough memory: what is read of .* take about 0 MB.*; give less of it"):
        read_idx(file)


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
@pytest.mark.parametrize("ending", [".npy", ".npz", ".csv", ".parquet", ".gz"])
def test_pipes_devices_and_sockets_are_no_files(ending: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"pipe{ending}")
    (tmp_path / f"device{ending}").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / f"socket{ending}"))
        for kind in ("pipe", "device", "socket"):
            path = tmp_path / f"{kind}{ending}"
            with pytest.raises(ValueError, match=f"{re.escape(str(path))} is a {kind}, not a file"):
                read_bytes(path) if ending == ".gz" else read_path(path)
