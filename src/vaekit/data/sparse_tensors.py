"""Sparse rows on a device, whose zeros are filled in a batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from .sparse import SparseRows


class SparseTensor:
    """Rows (N, D) on a device, kept as their numbers that are no zeros and the columns of these, K of each row.

    What is picked is a tensor with its zeros, made by operations of one shape for all batches, so that a step can be
    recorded.
    """

    def __init__(self, rows: SparseRows, device: torch.device | str) -> None:
        columns, values = rows.padded()
        self.columns, self.values = torch.from_numpy(columns).to(device), torch.from_numpy(values).to(device)
        self.shape, self.device, self.dtype = torch.Size(rows.shape), torch.device(device), self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Tensor:
        return self._dense(self.columns[rows], self.values[rows])

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The rows at `index` (B,), dimension 0."""
        index = index.to(self.device)
        return self._dense(self.columns.index_select(dim, index), self.values.index_select(dim, index))

    def _dense(self, columns: Tensor, values: Tensor) -> Tensor:
        width = self.shape[1]
        # One column more takes what pads short rows.
        whole = values.new_zeros(len(values), width + 1).scatter(1, columns.long(), values)
        return whole[:, :width].contiguous()
