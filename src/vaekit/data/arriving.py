"""Images on a device that are decoded as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..settings import setting
from .decoding import ImageRows
from .windows import middle

HELD, LEAST = 2**28, 1024
"""Bytes, and images, of the batches that are decoded ahead of a training that keeps none."""


class Arriving:
    """The images (N, C, H, W) of `rows` on a device as one tensor `x`, of which whoever reads some says so before.

    On the CPU it is their own memory, elsewhere each is copied once. A recorded step reads it as any other tensor.
    """

    def __init__(self, rows: ImageRows, device: torch.device | str, *, copies: bool = False) -> None:
        own = torch.from_numpy(rows.pixels)
        self.rows, self.copies = rows, copies or torch.device(device).type != "cpu"
        self.x = torch.empty(own.shape, dtype=own.dtype, device=device) if self.copies else own
        self.there = np.zeros(len(rows), bool) if self.copies else rows.there

    def need(self, index: Tensor | slice) -> None:
        """Have the rows at `index` in x."""
        if not self.there.all():
            where = np.arange(len(self.rows))[index if isinstance(index, slice) else index.cpu().numpy()]
            self.rows.need(where)
            self._copy(where)

    def in_time(self, rows: Sequence[Tensor], batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Each of `batches`, in order, once its `rows` (B,), which are on the CPU, are in x."""
        every = [each.numpy() for each in rows]
        for i in self.rows.in_time(every):
            self._copy(every[i])
            yield batches[i]

    def rows_at(self, index: Tensor) -> Tensor:
        """The images at `index` (B,), which are in x."""
        return self.x.index_select(0, index)

    def _copy(self, index: np.ndarray) -> None:
        if self.copies and len(new := index[~self.there[index]]):
            fresh = torch.from_numpy(self.rows.pixels[new]).to(self.x.device)
            self.x.index_copy_(0, torch.from_numpy(new).to(self.x.device), fresh)
            self.there[new] = True


class Passing:
    """Of images (N, C, H, W) that neither memory nor disk holds, `rows`, those of the batches that a training is at, on
    a device: each is decoded when it comes, in every epoch anew.

    A recorded step reads them as any other tensors: the places, and where in these each row is.
    """

    def __init__(self, rows: ImageRows, device: torch.device | str) -> None:
        each = rows.size // max(1, len(rows))
        shape = (min(2 * len(rows), max(HELD // each, LEAST)), *rows.shape[1:])
        self.rows, self.pixels = rows, np.zeros(shape, np.uint8)
        own = torch.from_numpy(self.pixels)
        self.x = own if torch.device(device).type == "cpu" else torch.zeros_like(own, device=device)
        self.place = torch.zeros(len(rows), dtype=torch.int64, device=self.x.device)

    def need(self, index: Tensor | slice) -> None:
        """Have the rows at `index` there, until others are asked for."""
        where = torch.arange(len(self.rows))[index if isinstance(index, slice) else index.cpu()]
        for _ in self.in_time([where], [where]):
            pass

    def in_time(self, rows: Sequence[Tensor], batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Each of `batches`, in order, once its `rows` (B,), which are on the CPU, are there, until the next."""
        most = len(self.pixels) // 2
        if (size := max(map(len, rows))) > most:
            key = setting("training.batch_size", most)
            raise ValueError(f"{size} of these images at a time are too many to be decoded in each epoch; give {key}")
        every = [each.numpy() for each in rows]
        for i, at in enumerate(self.rows.decoded_in_turn(every, self.pixels)):
            if self.x.device.type != "cpu":
                self.x[at] = torch.from_numpy(self.pixels[at]).to(self.x.device)
            places = torch.arange(at.start, at.stop, device=self.x.device)
            self.place.index_copy_(0, rows[i].to(self.x.device), places)
            yield batches[i]

    def rows_at(self, index: Tensor) -> Tensor:
        """The images at `index` (B,), some that are there."""
        return self.x.index_select(0, self.place.index_select(0, index))


class DecodedTensor:
    """Images (N, C, H, W) that are decoded each time they are asked for, then on a device, as a tensor there."""

    def __init__(self, rows: ImageRows, device: torch.device | str, window: tuple[int, int] | None = None) -> None:
        self.rows, self.device, self.window, self.dtype = rows, torch.device(device), window, torch.uint8

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        return torch.Size((*self.rows.shape[:2], *(self.window or self.rows.shape[2:])))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> Tensor:
        return self._of(np.arange(len(self))[rows])

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The rows at `index` (B,), dimension 0."""
        return self._of(index.cpu().numpy())

    def _of(self, index: np.ndarray) -> Tensor:
        x = torch.from_numpy(self.rows.decoded(index)).to(self.device)
        return x if self.window is None else middle(x, self.window)
