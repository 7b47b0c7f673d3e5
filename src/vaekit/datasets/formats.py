"""The file formats: IDX and `.amat` of the classic image sets, gzipped or not, and NumPy's."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..mapped import MAPPED_BYTES

GZIP_MAGIC = b"\x1f\x8b"
IDX_BYTES = 0x08


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped, whatever it is called.

    Raises `ValueError` where the gzip stream is damaged or cut off.
    """
    data = path.read_bytes()
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged or cut-off gzip file; delete it and load again") from error


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file. Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".

    Raises `ValueError` for anything that is not bytes in this format, cut-off and overlong files included.
    """
    data = read_bytes(path)
    if len(data) < 4 or data[:3] != bytes([0, 0, IDX_BYTES]):
        raise ValueError(f"{path} is no IDX file of bytes: it begins with '{data[:4].hex(' ')}', not '00 00 08'")
    dimensions = data[3]
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise ValueError(f"{path} is cut off: {len(data)} bytes are too few for the header of {dimensions} dimensions")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", count=dimensions, offset=4))
    expected = int(np.prod(shape, dtype=object))
    if len(data) - start != expected:
        raise ValueError(f"{path} holds {len(data) - start} values, but its header says {shape}, which is {expected}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()  # torch wants writable memory


def read_amat(path: Path) -> np.ndarray:
    """The 0/1 matrix (N, D) uint8 of a text file: a row a line, digits separated by one space.

    Raises `ValueError` naming the first line that is not D digits 0 or 1.
    """
    data = read_bytes(path).replace(b"\r\n", b"\n").replace(b" \n", b"\n")
    if not data.endswith(b"\n"):
        data += b"\n"
    width = data.index(b"\n") + 1
    rows = len(data) // width
    # A regular layout of two bytes a value turns parsing into slicing: 50,000 lines in a fraction of a second.
    text = np.frombuffer(data, np.uint8, count=rows * width).reshape(rows, width)
    values = text[:, ::2] - np.uint8(ord("0"))
    good = (values <= 1).all(axis=1) & (text[:, 1:-1:2] == ord(" ")).all(axis=1) & (text[:, -1] == ord("\n"))
    if width % 2 or not good.all() or len(data) != rows * width:
        line = 1 if width % 2 else rows + 1 if good.all() else int(np.argmin(good)) + 1
        raise ValueError(f"{path}, line {line}: {width // 2} digits 0 or 1 with single spaces between are needed")
    return values


def array_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays of a `.npz` file; the one of a `.npy` file is called x. Raises as `read_arrays` does."""
    if path.suffix.lower() == ".npy":
        return ("x",)
    with _damage(path), path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        return ("x",) if isinstance(found, np.ndarray) else tuple(found)


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by name, or those of `names`; the one of a `.npy` file is x, and if large, is mapped.

    Raises `ValueError` where the file is damaged, no such file, or an array that is read holds Python objects.
    """
    with _damage(path):
        if path.suffix.lower() == ".npy" and path.stat().st_size > MAPPED_BYTES:
            return {"x": np.load(path, mmap_mode="c", allow_pickle=False)}  # torch wants writable memory
        with path.open("rb") as file:  # opened here, since NumPy leaves a damaged archive open
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"x": found}
            return {name: np.asarray(found[name]) for name in (found if names is None else names)}


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is no whole NumPy file of numbers (Python objects are refused): {reason}") from error
