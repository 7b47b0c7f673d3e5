"""Rows of a matrix most of whose numbers are zeros, kept as those that are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


class SparseRows:
    """Rows (N, D) of a SciPy matrix in CSR format, whose zeros take no memory.

    It has an array's `shape`, `dtype`, `ndim` and `size`; slices of it, and `numpy.asarray` of it all, are arrays in
    memory with their zeros.

    >>> from scipy.sparse import csr_array
    >>> rows = SparseRows(csr_array(np.array([[0, 3], [1, 0], [0, 0]]))).where(np.array([True, False, True]))
    >>> rows.shape, rows[:1].tolist()
    ((2, 2), [[0, 3]])
    """

    ndim = 2

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return tuple(self.matrix.shape)

    @property
    def dtype(self) -> np.dtype:
        """The type of its numbers."""
        return self.matrix.dtype

    @property
    def size(self) -> int:
        """How many numbers it has, zeros and all."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.matrix[rows].toarray()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("sparse rows are copied into memory where they are needed as an array")
        return np.asarray(self[:], dtype)

    def where(self, mask: np.ndarray) -> SparseRows:
        """Those of its rows for which `mask` (N,) is true."""
        return SparseRows(self.matrix[np.flatnonzero(mask)])

    def columns(self, index: Sequence[int]) -> SparseRows:
        """All rows of the columns at `index` (C,)."""
        return SparseRows(self.matrix[:, np.asarray(index)])

    @property
    def longest(self) -> int:
        """The most numbers that are no zeros of any row, 1 at least."""
        return max(1, int(np.diff(self.matrix.indptr).max(initial=0)))

    @property
    def pays(self) -> bool:
        """Whether `padded` takes less memory than an array of all numbers."""
        return self.longest * (4 + self.dtype.itemsize) < self.shape[1] * self.dtype.itemsize

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each row the columns (N, K) of what is no zero, and the values there (N, K), K those of the `longest`;
        shorter rows end with zeros in a column D that there is not.
        """
        each = np.diff(self.matrix.indptr)
        place = np.arange(self.longest) < each[:, None]
        columns = np.full(place.shape, self.shape[1], np.int32)
        values = np.zeros(place.shape, self.dtype)
        columns[place], values[place] = self.matrix.indices, self.matrix.data
        return columns, values
