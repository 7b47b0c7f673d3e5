"""The file formats: IDX and `.amat` of the classic image sets, gzipped or not, and NumPy's."""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from ..system.disk import check_regular
from ..system.memory import check_memory
from .memmap import MAPPED_BYTES

GZIP_MAGIC, NPY_MAGIC = b"\x1f\x8b", b"\x93NUMPY"
PACKING = (zipfile.BadZipFile, zlib.error, struct.error, SyntaxError)
"""What is raised for a damaged archive, and for the header of an array."""
IDX_BYTES = 0x08
CHUNK = 2**24
"""Bytes that are unpacked at a time."""
UNPACKED, RATIO = 2**30, 200
"""A file that unpacks to more bytes than that, and to more than so many times its own, is one to fill a machine."""


def check_unpacked(path: Path, size: int) -> None:
    """`ValueError` where `size` bytes are out of all proportion to those of the file, or more than there is memory."""
    check_ratio(path, size)
    if size > UNPACKED:
        check_memory(size, f"what is read of {path}", "give less of it")


def check_ratio(path: Path, size: int) -> None:
    """`ValueError` where `size` bytes are out of all proportion to those of the file."""
    packed = path.stat().st_size
    if size > max(UNPACKED, RATIO * packed):
        what = f"{path} has {packed:,} bytes, which unpack to {size:,} or more"
        raise ValueError(f"{what}: none of it is read; if that is meant, save it unpacked")


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped, whatever it is called.

    Raises `ValueError` where it is no file, where the gzip stream is damaged or cut off, and where it has no end.
    """
    size = check_regular(path)
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            check_unpacked(path, size)
            return file.read()
        try:
            with gzip.GzipFile(fileobj=file) as content:
                return read_whole(path, cast(IO[bytes], content))
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged or cut-off gzip file; delete it and load again") from error


def read_whole(path: Path, content: IO[bytes]) -> bytes:
    """All that `content`, what a file unpacks to, has; `ValueError` as soon as that is more than `check_unpacked` lets
    be, so that no more is unpacked.
    """
    chunks, total = [], 0
    while chunk := content.read(CHUNK):
        chunks.append(chunk)
        total += len(chunk)
        check_unpacked(path, total)
    return b"".join(chunks)


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
    with _damage(path):
        return ("x",) if _is_one_array(path) else tuple(_members(path))


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by name, or those of `names`; the one of a `.npy` file is x, and if large, is mapped.

    No other array is unpacked. Raises `ValueError` where the file is damaged, encrypted or no such file, where an array
    that is read holds Python objects, and where they are out of all proportion to the file.
    """
    with _damage(path):
        if _is_one_array(path):
            with path.open("rb") as file:
                _check_header(file, size := path.stat().st_size)
            mapped = path.suffix.lower() == ".npy" and size > MAPPED_BYTES
            # A copy on write: torch wants writable memory.
            return {"x": np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)}
        members = _members(path)
        wanted = {name: members[name] for name in (members if names is None else names)}
        check_unpacked(path, sum(member.file_size for member in wanted.values()))
        with zipfile.ZipFile(path) as archive:
            return {name: _read_member(archive, member) for name, member in wanted.items()}


def _is_one_array(path: Path) -> bool:
    check_regular(path)
    with path.open("rb") as file:
        return file.read(len(NPY_MAGIC)) == NPY_MAGIC


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an archive by name."""
    with zipfile.ZipFile(path) as archive:
        return {m.filename.removesuffix(".npy"): m for m in archive.infolist() if m.filename.endswith(".npy")}


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is packed as NumPy never does")
    with archive.open(member) as file:
        _check_header(file, member.file_size)
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # at its end, so that its sum is checked
    return np.asarray(array)


def _check_header(file: IO[bytes], size: int) -> None:
    """`ValueError` unless a file of `size` bytes has the numbers that its header promises, before memory is taken."""
    version = np.lib.format.read_magic(file)
    if version not in (readers := {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}):
        raise ValueError(f"the version {version} of its format is for tables of named fields")
    shape, _, dtype = getattr(np.lib.format, readers[version])(file)
    if dtype.hasobject:
        raise ValueError("Python objects are refused")
    promised = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + promised > size:
        raise ValueError(f"its header says {shape}, {promised:,} bytes, of which there are {size - file.tell():,}")


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, EOFError, LookupError, RuntimeError, ValueError, *PACKING) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is no whole NumPy file of numbers: {reason}") from error
