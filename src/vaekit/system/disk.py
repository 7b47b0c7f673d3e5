"""Files that are whole or not there, and files that are what they seem.

Every write goes to a temporary name beside its target, is flushed, then renamed. What is read is a regular file, of a
size that fits what it is; nothing is written or deleted through a link that lies in a run's folder.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import RunError

log = logging.getLogger(__name__)

TEMPORARY = re.compile(
    r"\..+\.[0-9]+-[0-9a-f]{8}\.vaekit\.tmp"
    # What the first version called them, of the files of a run.
    r"|\.(spec\.json|metrics\.jsonl|report\.html|(weights|best|epoch-[0-9]+)\.safetensors)\.[0-9]+\.tmp"
)
"""The names of the temporary files, which a kill leaves behind, and no others."""
TEXT_BYTES = 64 * 2**20
"""A spec or recipe is no longer than this."""
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}
"""What a file system says that cannot flush."""
_said: set[tuple[str, int]] = set()


def finite(values: Any) -> Any:
    """Tables and lists as JSON has them, which knows no number that is not finite: null in its place.

    >>> finite({"a": (1.5, float("nan"))})
    {'a': [1.5, None]}
    """
    if isinstance(values, Mapping):
        return {key: finite(each) for key, each in values.items()}
    if isinstance(values, (list, tuple)):
        return [finite(each) for each in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def write_atomic(path: Path, write: Callable[[Path], object] | str) -> None:
    """Make `path` the text given, or what `write` puts at the temporary path that it gets; all of it or nothing."""
    # A cut name, so that it is no longer than a file system takes; one of a kind, since two threads may write at once.
    temporary = path.with_name(f".{path.name[:50]}.{os.getpid()}-{secrets.token_hex(4)}.vaekit.tmp")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        if isinstance(write, str):
            temporary.write_text(write, encoding="utf-8")
        else:
            write(temporary)
        with open(temporary, "r+b") as file:  # Windows flushes only what may be written
            _flush(file.fileno(), path)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        # The name that the user knows, not that of the temporary file.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def append(path: Path, text: str) -> None:
    """Add `text` at the end of a file, in one write that is flushed; a link in its place is not followed."""
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666), "ab") as file:
            file.write(text.encode())
            file.flush()
            _flush(file.fileno(), path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def drop_temporaries(*folders: Path) -> None:
    """Delete what kills in the middle of `write_atomic` have left in `folders`: only files of such names."""
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            with os.scandir(folder) as entries:
                left = [e.path for e in entries if is_temporary(e.name) and e.is_file(follow_symlinks=False)]
            for path in left:
                Path(path).unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether only `write_atomic` gives a file that name."""
    return TEMPORARY.fullmatch(name) is not None


def refuse_links(paths: Iterable[Path]) -> None:
    """`RunError` for the first of `paths` that is a link: what is written or deleted there would be somebody else's."""
    for path in paths:
        if path.is_symlink():
            raise RunError(f"{path} is a link, which is not followed; put a file or folder of the run there")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_no_folder(path: Path, of: str = "") -> None:
    """`RunError` where no folder `of` something can be made at `path`, for a file or a link to nothing is there."""
    if path.is_dir() or not os.path.lexists(path):
        return
    there = "a file" if path.exists() else f"a link to {os.readlink(path)}, which is not there"
    raise RunError(f"{path} is {there}; name a folder{of and f' {of}'}")


def check_regular(path: Path) -> int:
    """The bytes of a regular file; `ValueError` for a pipe, device, socket or folder, `OSError` where nothing is."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kinds = {
            stat.S_IFDIR: "a folder",
            stat.S_IFIFO: "a pipe",
            stat.S_IFSOCK: "a socket",
            stat.S_IFCHR: "a device",
            stat.S_IFBLK: "a device",
        }
        raise ValueError(f"{path} is {kinds.get(stat.S_IFMT(found.st_mode), 'something else')}, not a file")
    return found.st_size


def read_text(path: Path, most: int = TEXT_BYTES) -> str:
    """The text of a regular file of at most `most` bytes; `ValueError`, one line, for any other, or `OSError`."""
    size = check_regular(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path} has {max(size, len(content)):,} bytes; accepted: at most {most:,}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8 (byte {error.start})") from None


@contextmanager
def lock(path: Path, timeout: float = -1) -> Iterator[None]:
    """Inside, no other process has the lock of the file `path`; the system lets go of that of a killed one.

    Raises `TimeoutError` where another has it for so many seconds. A file system that has no locks is told once.
    """
    from filelock import FileLock, Timeout

    refuse_links([path])
    if not _has_locks(path):
        yield
        return
    held = FileLock(path, timeout=timeout)
    try:
        held.acquire()
    except Timeout:
        raise TimeoutError(errno.ETIMEDOUT, "another process has its lock", str(path)) from None
    try:
        yield
    finally:
        held.release()


def _has_locks(path: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, whose file systems all have them
        return True
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    opened = os.open(path, flags, 0o666)
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):
            return True
        why = f"the file system has no locks ({os.strerror(error.errno or 0)})"
        _say_once(path, f"{why}: let no other process write there")
        return False
    finally:
        os.close(opened)
    return True


def _flush(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        _say_once(path, f"the file system cannot flush ({os.strerror(error.errno)}): a crash may lose what was written")


def _flush_folder(folder: Path) -> None:
    # A rename is on disk only once its folder is. Windows neither needs nor allows it.
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written but not read
        return
    try:
        _flush(descriptor, folder)
    finally:
        os.close(descriptor)


def _say_once(path: Path, what: str) -> None:
    """A warning, once for each file system."""
    place = path if path.is_dir() else path.parent
    key = (what, place.stat().st_dev)
    if key not in _said:
        _said.add(key)
        log.warning("%s: %s", place, what)
