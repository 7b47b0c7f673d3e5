from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vaekit.datasets.formats import read_amat, read_arrays, read_idx

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
