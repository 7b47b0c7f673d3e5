"""The text of a table's file: unpacked within bounds, in UTF-8, its lines ended by a newline alone."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ..settings import named, setting
from ..system.disk import check_regular
from ..system.memory import check_memory
from .formats import read_whole

PACKED = (".gz", ".bz2", ".xz", ".zip")
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
SUCH = "cp1251, shift_jis, gb18030"
CONTROL = bytes(set(range(1, 32)) - set(b"\t\n\v\f\r\x1a\x1b"))


def text_of(path: Path, encoding: str | None = None) -> tuple[bytes, tuple[str, ...]]:
    """The text of a file as UTF-8, and notes of what it was taken for where it does not say so itself: what is no UTF-8
    is of the `encoding` given.

    Raises `ValueError`, one line, where it is empty, no text, damaged, or unpacks to out of all proportion.
    """
    data = _unpacked(path)
    notes: tuple[str, ...] = ()
    for mark, marked in BOMS:
        if data.startswith(mark):
            data = _decoded(path, data[len(mark) :], marked).encode()
            break
    else:
        if encoding is not None and (0 in data or not _is_utf8(data)):
            data = _told(path, data, encoding).encode()
        elif not _is_utf8(data):
            _refuse_junk(path, data)
            found = _single_byte(data)
            data = data.decode(found).encode()
            other = f"others are {setting('data.encoding', '…')}, such as {SUCH}"
            notes = (f"{path.name} is no UTF-8 text: its letters are read as {found}; {other}",)
    _refuse_junk(path, data)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not data.strip():
        raise ValueError(f"{path} is empty")
    return data, notes


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} begins as {encoding.upper()} does but is none (byte {error.start})") from None


def _told(path: Path, data: bytes, encoding: str) -> str:
    given = named("data.encoding", encoding)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        what = f"byte {error.start} of {path} is none of its letters"
        raise ValueError(f"{given}, but {what}; accepted: the encoding of its text, such as {SUCH}") from None
    except (LookupError, ValueError):
        raise ValueError(f"{given} is no encoding of text; accepted: those of Python, such as {SUCH}") from None


def _single_byte(data: bytes) -> str:
    """Windows' letters, unless there are bytes that it has no letter for."""
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _refuse_junk(path: Path, data: bytes) -> None:
    if (nul := data.find(0)) >= 0:
        line = data.count(b"\n", 0, nul) + 1
        raise ValueError(f"{path}, line {line}: a NUL byte, which no text has; save the table as UTF-8 text")
    head = data[: 2**16]
    if len(head.translate(None, CONTROL)) < len(head):
        raise ValueError(f"{path} has control characters, which no text has; save the table as UTF-8 text")


def _unpacked(path: Path) -> bytes:
    """The bytes of a file, unpacked if it is packed, whatever it is called."""
    size = check_regular(path)
    try:
        with path.open("rb") as raw, _opened(path, raw) as file:
            if file is raw:
                check_memory(3 * size, f"the lines of {path}", "give less of it")
                return raw.read()
            return read_whole(path, file)
    except (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is a damaged or cut-off packed file: {_first_line(error)}") from error
    except (RuntimeError, NotImplementedError) as error:  # a password, an unknown way of packing
        raise ValueError(f"{path} cannot be unpacked: {_first_line(error)}") from error
    except OSError as error:
        if error.errno is None:  # of bz2
            raise ValueError(f"{path} is a damaged or cut-off packed file: {_first_line(error)}") from error
        raise


@contextmanager
def _opened(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    begins = raw.read(10)
    raw.seek(0)
    if begins.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=raw) as file:
            yield cast(IO[bytes], file)
    elif begins.startswith(b"BZh") and begins[4:] == b"1AY&SY":
        with bz2.BZ2File(raw) as file:
            yield file
    elif begins.startswith(b"\xfd7zXZ\0"):
        with lzma.LZMAFile(raw) as file:
            yield file
    elif begins.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(raw) as archive:
            names = [each for each in archive.namelist() if not each.startswith("__MACOSX/") and each[-1:] != "/"]
            if len(names) != 1:
                raise ValueError(f"{path} is an archive of {len(names)} files; accepted: one table in it")
            with archive.open(names[0]) as file:
                yield file
    else:
        yield raw


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
