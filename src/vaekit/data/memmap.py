"""Rows of an array in a file, read when they are asked for, and arrays of any size a block at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from .decoding import ImageRows
from .sparse import SparseRows

MAPPED_BYTES = 64 * 2**20
"""Files of arrays larger than this are read as their rows are needed."""
BLOCK = 1 << 22
"""Numbers looked at together."""


class MemmapRows:
    """Rows (N, …) of an array that is mapped into memory, all of them or those at `index` (N,).

    It has an array's `shape`, `dtype`, `ndim` and `size`; slices of it, and `numpy.asarray` of it all, are arrays in
    memory. What is read stays in the system's cache of files, which it takes back when it needs the memory.

    >>> rows = MemmapRows(np.arange(8).reshape(4, 2)).where(np.array([False, True, True, False]))
    >>> rows.shape, rows[1:].tolist()
    ((2, 2), [[4, 5]])
    """

    def __init__(self, array: np.ndarray, index: np.ndarray | None = None, columns: np.ndarray | None = None) -> None:
        self.array, self.index = array, np.arange(len(array)) if index is None else index
        self.columns = columns
        """Of a table on disk its columns (D, N), of all rows: each in one piece."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, …)."""
        return (len(self.index), *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The type of its numbers."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return len(self.index) * int(np.prod(self.array.shape[1:]))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.array[self.index[rows]]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of a file are copied into memory where they are needed as an array")
        return np.asarray(self[:], dtype)

    def where(self, mask: np.ndarray) -> MemmapRows:
        """Those of its rows for which `mask` (N,) is true."""
        return MemmapRows(self.array, self.index[mask], self.columns)

    def fill(self, observed: np.ndarray, filler: np.ndarray) -> None:
        """Put `filler` (D,) into the files where cells (N, D) are not `observed`."""
        many = max(1, BLOCK // max(1, self.array.shape[1]))
        for start in range(0, len(self), many):
            rows, seen = self.index[start : start + many], observed[start : start + many]
            self.array[rows] = np.where(seen, self.array[rows], filler)
        each = np.broadcast_to(filler, self.array.shape[1:])
        for i, column in enumerate(() if self.columns is None else self.columns):
            column[self.index[~observed[:, i]]] = each[i]


def columns_of(x: Array, index: Sequence[int]) -> np.ndarray:
    """The columns (N, C) of rows x (N, D) at `index`; of a table on disk, without reading the others.

    >>> columns_of(np.arange(6).reshape(2, 3), [2, 0]).tolist()
    [[2, 0], [5, 3]]
    """
    if isinstance(x, MemmapRows) and x.columns is not None:
        # Each in one piece, as NumPy has them of an array: sums are rounded alike then.
        return np.nan_to_num(np.stack([x.columns[i][x.index] for i in index]), copy=False).astype(x.dtype).T
    return np.asarray(x.columns(index)) if isinstance(x, SparseRows) else np.asarray(x)[:, index]


Array = np.ndarray | MemmapRows | ImageRows | SparseRows
"""What the rows of a split are in."""


def blocks(x: Array, numbers: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """All rows of x (N, …) in order, so many numbers of them at a time (0: `BLOCK`), each with the number of its first
    row.
    """
    rows = max(1, (numbers or BLOCK) // max(1, x.size // max(1, len(x))))
    for start in range(0, len(x), rows):
        yield start, x[start : start + rows]
