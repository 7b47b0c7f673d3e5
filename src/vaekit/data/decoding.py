"""Image files as rows of bytes: decoded by threads when they are asked for, ahead of the steps of a first epoch."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event

import numpy as np
from numpy.typing import DTypeLike

from ..settings import setting
from ..system.progress import working
from .image_files import Resize, first_size, read_image, suspect

PART = 16
"""Files that a thread decodes at a time."""
SUMS = 256
"""Files whose bytes it sums at a time."""
AHEAD = 16
"""Batches that are decoded before they are asked for, at most."""
SHOWN = 5
"""Names of files in a message."""
USUAL_SIDE = 64


@dataclass(frozen=True)
class Form:
    """What the images of a folder are all like: the shape (C, H, W) and the mode of one `file` of them, once resized as
    is asked for.
    """

    file: str
    shape: tuple[int, ...]
    mode: str
    resize: Resize = None

    @classmethod
    def of(cls, file: str, resize: Resize = None) -> Form:
        """That of a file; raises as `read_image` does."""
        pixels, mode = read_image(file, resize)
        return cls(file, pixels.shape, mode, resize)

    def read(self, file: str) -> np.ndarray:
        """The pixels (C, H, W) of `file`; grey ones are colours where the others have some.

        Raises `ValueError`, a line that names it, where it is damaged, or of another size or mode.
        """
        pixels, mode = read_image(file, self.resize)
        if mode == "L" and self.mode == "RGB":
            pixels, mode = np.broadcast_to(pixels, (3, *pixels.shape[1:])), "RGB"
        if (pixels.shape, mode) == (self.shape, self.mode):
            return pixels
        odd = f"{file} is {_size(pixels.shape, mode)}, but {self.file} is {_size(self.shape, self.mode)}"
        if pixels.shape[1:] == self.shape[1:]:
            raise ValueError(f"{odd}; all images must have one size and mode")
        side = min(USUAL_SIDE, *self.shape[1:])
        raise ValueError(f"{odd}; bring all to one size: {setting('data.resize', side)}, or another number of pixels")


class ImageRows:
    """Rows (N, C, H, W) of bytes that are the images of `files`, all of one `form`, each decoded when it is first asked
    for and then kept.

    It has an array's `shape`, `dtype`, `ndim` and `size`; slices of it, and `numpy.asarray` of it all, are arrays.
    Whatever decodes raises `ValueError` for a file that is damaged or of another form, and says which others of all in
    its `folder` won't do. No thread is left when a call or an iteration ends, however it does.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, files: Sequence[str], form: Form, folder: Sequence[str] = (), disk: Path | None = None) -> None:
        self.files, self.form, self.folder, self.disk = np.array(files, dtype=object), form, folder or files, disk
        self.shape = (len(files), *form.shape)
        self.size = int(np.prod(self.shape))
        self.there = np.zeros(len(files), bool)
        """Which rows are decoded."""

    @cached_property
    def pixels(self) -> np.ndarray:
        """All rows; those that are not `there` have not been written to. In a file without a name in the folder `disk`,
        if that is given, which goes when the process ends, however it does.
        """
        if self.disk is None:
            return np.empty(self.shape, np.uint8)
        with TemporaryFile(dir=self.disk) as file:
            return np.memmap(file, np.uint8, "w+", shape=self.shape)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.need(np.arange(len(self))[rows])
        return self.pixels[rows]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        self.need(np.arange(len(self)))
        return np.array(self.pixels, dtype, copy=copy)

    def where(self, mask: np.ndarray) -> ImageRows:
        """Those of its rows for which `mask` (N,) is true."""
        found = ImageRows(self.files[mask], self.form, self.folder, self.disk)
        if self.there.any():
            found.there[:] = self.there[mask]
            found.pixels[found.there] = self.pixels[mask & self.there]
        return found

    def digest(self) -> str:
        """A SHA-256 of the bytes of all files in order, and of what they are resized to."""
        total = hashlib.sha256(f"{self.form.resize} {self.shape}".encode())
        parts = [self.files[start : start + SUMS] for start in range(0, len(self), SUMS)]
        with ThreadPoolExecutor(_workers()) as pool:
            for sums in pool.map(_sums, parts):
                total.update(sums)
        return total.hexdigest()

    def need(self, index: np.ndarray) -> None:
        """Decode those of the rows at `index` (B,) that are not there."""
        missing = index[~self.there[index]]
        if len(missing):
            for _ in self.in_time([missing]):
                pass

    def in_time(self, batches: Sequence[np.ndarray]) -> Iterator[int]:
        """The number of each of `batches` of rows (B,), in order, as soon as its rows are there; those of the next
        `AHEAD` are decoded meanwhile.
        """
        if self.there.all():
            yield from range(len(batches))
            return
        stop, _ = Event(), self.pixels  # which are made once, by this thread
        with ThreadPoolExecutor(_workers(), "vaekit-decoding") as pool:
            try:
                following = (self._submitted(pool, rows, stop) for rows in batches)
                waiting = deque(islice(following, AHEAD))
                for i in range(len(batches)):
                    waiting.extend(islice(following, 1))
                    for part in waiting.popleft():
                        part.result()
                    yield i
            except ValueError as failed:
                stop.set()
                raise self._refusal(failed, pool) from failed
            finally:  # an interrupted training comes by here too, as its iterator goes
                stop.set()
                pool.shutdown(cancel_futures=True)

    def _submitted(self, pool: ThreadPoolExecutor, rows: np.ndarray, stop: Event) -> list[Future[None]]:
        missing = rows[~self.there[rows]]
        parts = (missing[start : start + PART] for start in range(0, len(missing), PART))
        # Each knows where the user stands, as messages name settings there.
        return [pool.submit(copy_context().run, self._decode, part, stop.is_set) for part in parts]

    def _decode(self, rows: np.ndarray, stopped: Callable[[], bool]) -> None:
        for i in rows.tolist():
            if stopped():
                return
            if not self.there[i]:
                self.pixels[i] = self.form.read(self.files[i])
                self.there[i] = True

    def _refusal(self, failed: ValueError, pool: ThreadPoolExecutor) -> ValueError:
        """What is raised of all files that won't do, so that they can be mended at once."""
        with working("looking through all images", len(self.folder)) as step:
            reasons: dict[str, str] = {}
            for i, reason in enumerate(pool.map(_here(partial(_reason, form=self.form)), self.folder)):
                reasons |= {self.folder[i]: reason} if reason else {}
                step(i + 1)
        return refusal(reasons or {"": str(failed)})  # mended meanwhile


def refuse_damaged(files: Sequence[str], form: Form) -> None:
    """`ValueError`, a line that names them, where `files` won't do as one of that form, as far as can be told without
    decoding all: those whose header or end is odd are decoded.
    """
    size = first_size(form.file) if form.resize is None else None
    with ThreadPoolExecutor(_workers()) as pool, working("looking at the images", len(files)) as step:
        reasons: dict[str, str] = {}
        for i, reason in enumerate(pool.map(_here(partial(_odd, form=form, of_one_size=size)), files)):
            reasons |= {files[i]: reason} if reason else {}
            step(i + 1)
    if reasons:
        raise refusal(reasons)


def _odd(file: str, form: Form, of_one_size: tuple[int, int] | None) -> str:
    return _reason(file, form) if suspect(file, of_one_size) else ""


def _reason(file: str, form: Form) -> str:
    """Why a file won't do, or nothing."""
    try:
        form.read(file)
    except ValueError as error:
        return str(error)
    return ""


def refusal(reasons: Mapping[str, str]) -> ValueError:
    """What is raised of files by the reason why each won't do."""
    first, *others = reasons
    more = f"; {len(others):,} more that won't do: {some(others)}" if others else ""
    return ValueError(f"{reasons[first]}{more}")


def _here(function: Callable[[str], str]) -> Callable[[str], str]:
    """`function` for other threads, which know where the user stands, as messages name settings there."""
    here = copy_context()
    return lambda file: here.copy().run(function, file)


def some(files: Sequence[str]) -> str:
    """The names of the first files, and how many more there are."""
    names = sorted({os.path.basename(file) for file in files})
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more names" if len(names) > SHOWN else "")


def _sums(files: Sequence[str]) -> bytes:
    sums = []
    for name in files:
        with open(name, "rb", buffering=0) as file:  # a third of the time of Path.read_bytes
            sums.append(hashlib.sha256(file.readall()).digest())
    return b"".join(sums)


def _workers() -> int:
    """A thread for each core, of which the Pillow of large images makes use; small ones take turns at Python's lock."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size(shape: tuple[int, ...], mode: str) -> str:
    return f"{shape[2]}×{shape[1]} {mode}"
