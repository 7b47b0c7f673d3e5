"""Image files as rows of bytes: decoded by threads when they are asked for, ahead of the steps of a first epoch."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from ..errors import UnequalImagesError
from ..settings import setting
from ..system.memory import check_memory
from ..system.progress import working
from ..system.workers import processors
from .image_files import Resize, Source, read_image, suspect
from .members import Member

_T = TypeVar("_T")

PART = 16
"""Files that a thread decodes at a time."""
SUMS = 256
"""Files whose bytes it sums at a time."""
LOOKED_INTO = 2**30
"""Bytes of shards, about, by which they are known again: all of them would take as long to read as an epoch does."""
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

    file: Source
    shape: tuple[int, ...]
    mode: str
    resize: Resize = None

    @classmethod
    def of(cls, file: Source, resize: Resize = None) -> Form:
        """That of a file; raises as `read_image` does."""
        pixels, mode = read_image(file, resize)
        return cls(file, pixels.shape, mode, resize)

    def read(self, file: Source) -> np.ndarray:
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
            raise ValueError(f"{odd}; convert the one or the other, so that all are grey or all are colours")
        side = min(USUAL_SIDE, *self.shape[1:])
        one_size = f"bring all to one size: {setting('data.resize', side)}, or another number of pixels"
        raise UnequalImagesError(odd, one_size)


class ImageRows:
    """Rows (N, C, H, W) of bytes that are the images of `files`, all of one `form`, each decoded when it is first asked
    for and then kept.

    It has an array's `shape`, `dtype`, `ndim` and `size`; slices of it, and `numpy.asarray` of it all, are arrays.
    Those that are not to be `kept` are decoded each time.

    Whatever decodes raises `ValueError` for a file that is damaged or of another form, and says which others of all in
    its `folder` won't do. No thread is left when a call or an iteration ends, however it does.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        files: Sequence[Source],
        form: Form,
        folder: Sequence[Source] = (),
        disk: Path | None = None,
        *,
        kept: bool = True,
    ) -> None:
        self.files, self.form, self.disk, self.kept = np.array(files, dtype=object), form, disk, kept
        self.folder = folder if len(folder) else files
        self.shape = (len(files), *form.shape)
        self.size = int(np.prod(self.shape))
        self.looked = 0
        """How many of the folder's files have been looked at for damage."""
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
        index = np.arange(len(self))[rows]
        if not self.kept:
            return self.decoded(index)
        self.need(index)
        return self.pixels[rows]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if not self.kept:
            check_memory(self.size, f"{len(self):,} images", "give fewer, or smaller ones")
            return np.asarray(self[:], dtype)
        self.need(np.arange(len(self)))
        return np.array(self.pixels, dtype, copy=copy)

    def where(self, mask: np.ndarray) -> ImageRows:
        """Those of its rows for which `mask` (N,) is true."""
        found = ImageRows(self.files[mask], self.form, self.folder, self.disk, kept=self.kept)
        if self.there.any():
            found.there[:] = self.there[mask]
            found.pixels[found.there] = self.pixels[mask & self.there]
        return found

    def digest(self) -> str:
        """A SHA-256 of the bytes of all files in order, and of what they are resized to. Of members of shards it is of
        their names and sizes, and of the bytes of so many at equal distances that some `LOOKED_INTO` bytes are read.
        """
        total = hashlib.sha256(f"{self.form.resize} {self.shape}".encode())
        for each in self.files if isinstance(self.files[0], Member) else ():
            total.update(f"{each.name} {each.size}\n".encode())
        files = _looked_into(self.files)
        parts = [files[start : start + SUMS] for start in range(0, len(files), SUMS)]
        with ThreadPoolExecutor(processors()) as pool:
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
        _ = self.pixels  # which are made once, by this thread
        missing = (rows[~self.there[rows]] for rows in batches)
        yield from self._decoded(((rows, rows) for rows in missing), self.pixels, AHEAD)

    def decoded(self, index: np.ndarray) -> np.ndarray:
        """The images (B, C, H, W) of the rows at `index` (B,)."""
        pixels = np.empty((len(index), *self.shape[1:]), np.uint8)
        parts = ((index[start : start + PART], start) for start in range(0, len(index), PART))
        for _ in self._decoded(((rows, start + np.arange(len(rows))) for rows, start in parts), pixels, len(index)):
            pass
        return pixels

    def decoded_in_turn(self, batches: Sequence[np.ndarray], pixels: np.ndarray) -> Iterator[slice]:
        """Where in `pixels` (K, C, H, W) the rows of each of `batches` (B,) are, in order, until the next one is asked
        for; those that come after it are decoded meanwhile, in the places of those before.
        """
        size = max(map(len, batches))
        turns = len(pixels) // size
        places = [slice(start, start + len(rows)) for i, rows in enumerate(batches) if (start := i % turns * size) >= 0]
        pairs = ((rows, np.arange(len(pixels))[at]) for rows, at in zip(batches, places, strict=True))
        for i in self._decoded(pairs, pixels, min(AHEAD, turns - 1)):
            yield places[i]

    def _decoded(
        self, batches: Iterable[tuple[np.ndarray, np.ndarray]], pixels: np.ndarray, ahead: int
    ) -> Iterator[int]:
        """The number of each batch of rows and their places in `pixels`, in order, once they are there."""
        stop = Event()
        # Of large images Pillow frees the lock of Python; small ones take turns at it.
        with ThreadPoolExecutor(processors() + 1, "vaekit-decoding") as pool:
            try:
                looked = _submit(pool, self._look, stop.is_set)
                following = (self._submitted(pool, *each, pixels, stop) for each in batches)
                waiting = deque(islice(following, ahead))
                for i in count():
                    waiting.extend(islice(following, 1))
                    if not waiting:
                        break
                    for part in [*waiting.popleft(), *([looked] if looked.done() else [])]:
                        part.result()
                    yield i
            except ValueError as failed:
                stop.set()
                raise self._refusal(failed, pool) from failed
            finally:  # an interrupted training comes by here too, as its iterator goes
                stop.set()
                pool.shutdown(cancel_futures=True)

    def _submitted(
        self, pool: ThreadPoolExecutor, rows: np.ndarray, places: np.ndarray, pixels: np.ndarray, stop: Event
    ) -> list[Future[None]]:
        parts = (slice(start, start + PART) for start in range(0, len(rows), PART))
        return [_submit(pool, self._decode, rows[part], places[part], pixels, stop.is_set) for part in parts]

    def _decode(self, rows: np.ndarray, places: np.ndarray, pixels: np.ndarray, stopped: Callable[[], bool]) -> None:
        for i, place in zip(rows.tolist(), places.tolist(), strict=True):
            if stopped():
                return
            if not self.there[i]:
                pixels[place] = self.form.read(self.files[i])
                self.there[i] = self.kept

    def _refusal(self, failed: ValueError, pool: ThreadPoolExecutor) -> ValueError:
        """What is raised of all files that won't do, so that they can be mended at once."""
        with working("looking through all images", len(self.folder)) as step:
            reasons: dict[str, ValueError] = {}
            told = [_submit(pool, self._reason, file) for file in self.folder]
            for i, (file, reason) in enumerate(zip(self.folder, told, strict=True)):
                if (error := reason.result()) is not None:
                    reasons[str(file)] = error
                step(i + 1)
        first, *others = reasons or {"": failed}  # mended meanwhile
        why = reasons.get(first, failed)
        more = f"; {len(others):,} more that won't do: {some(others)}" if others else ""
        if isinstance(why, UnequalImagesError):
            return UnequalImagesError(why.odd, f"{why.advice}{more}")
        return ValueError(f"{why}{more}")

    def _reason(self, file: Source) -> ValueError | None:
        """Why a file won't do, or nothing."""
        try:
            self.form.read(file)
        except ValueError as error:
            return error
        return None

    def _look(self, stopped: Callable[[], bool]) -> None:
        """Decode those of the folder's files of which header or end are odd, from where that was left: damage is not
        to be met at the end of a first epoch of hours. Raises as `Form.read` does.
        """
        _, height, width = self.form.shape
        size = (width, height) if self.form.resize is None else None
        while self.looked < len(self.folder) and not stopped():
            file = self.folder[self.looked]
            # Shards are gone through before, and their members would all be read twice.
            if not isinstance(file, Member) and suspect(file, size):
                self.form.read(file)
            self.looked += 1


def _submit(pool: ThreadPoolExecutor, function: Callable[..., _T], *given: Any) -> Future[_T]:
    """Have a thread do it that knows where the user stands, as messages name settings there."""
    return pool.submit(copy_context().run, function, *given)


def some(files: Sequence[Source]) -> str:
    """The names of the first files, and how many more there are."""
    names = sorted({os.path.basename(str(file)) for file in files})
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more names" if len(names) > SHOWN else "")


def _looked_into(files: np.ndarray) -> np.ndarray:
    """The files whose bytes are summed: all of a folder, of shards those at equal distances."""
    if not isinstance(files[0], Member):
        return files
    return files[:: max(1, sum(each.size for each in files) // LOOKED_INTO)]


def _sums(files: Sequence[Source]) -> bytes:
    sums = []
    for name in files:
        if isinstance(name, Member):
            sums.append(hashlib.sha256(name.read()).digest())
            continue
        with open(name, "rb", buffering=0) as file:  # a third of the time of Path.read_bytes
            sums.append(hashlib.sha256(file.readall()).digest())
    return b"".join(sums)


def _size(shape: tuple[int, ...], mode: str) -> str:
    return f"{shape[2]}×{shape[1]} {mode}"
