"""Images on a device that are decoded as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .decoding import ImageRows


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

    def _copy(self, index: np.ndarray) -> None:
        if self.copies and len(new := index[~self.there[index]]):
            fresh = torch.from_numpy(self.rows.pixels[new]).to(self.x.device)
            self.x.index_copy_(0, torch.from_numpy(new).to(self.x.device), fresh)
            self.there[new] = True
