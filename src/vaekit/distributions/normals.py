"""Normals that know more of themselves than torch's do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    MultivariateNormal,
    Normal,
)
from torch.distributions.utils import lazy_property

from .shapes import _Shape


class UnitNormal(Normal):
    """A normal whose loc is known to be 0 and its scale 1, so that a KL from it need not multiply by them."""


class TriangularNormal(MultivariateNormal):
    """N(loc, L Lᵀ) of a lower triangular L: its positive `diagonal` (…, D), and what is `below` it, (…, D (D - 1) / 2).

    `rows_columns` (2, D (D - 1) / 2) says which entry of L each of `below` is. L, of twice the size, is only made where
    it is needed; a draw and the KL do without.

    >>> rows_columns = torch.tril_indices(2, 2, -1)
    >>> TriangularNormal(torch.zeros(2), torch.ones(2), torch.tensor([3.0]), rows_columns).covariance_matrix
    tensor([[ 1.,  3.],
            [ 3., 10.]])
    """

    def __init__(self, loc: Tensor, diagonal: Tensor, below: Tensor, rows_columns: Tensor) -> None:
        self.loc, self.diagonal, self.below, self.rows_columns = loc, diagonal, below, rows_columns
        Distribution.__init__(self, loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @classmethod
    def of(cls, normal: MultivariateNormal) -> TriangularNormal:
        """The same distribution."""
        if isinstance(normal, cls):
            return normal
        factor, size = normal._unbroadcasted_scale_tril, normal.event_shape[0]
        rows_columns = torch.tril_indices(size, size, -1, device=factor.device)
        below = factor[..., rows_columns[0], rows_columns[1]]
        return cls(normal.loc, factor.diagonal(dim1=-2, dim2=-1), below, rows_columns)

    @lazy_property
    def _unbroadcasted_scale_tril(self) -> Tensor:
        size, (rows, columns) = self.loc.shape[-1], self.rows_columns
        flat = torch.diag_embed(self.diagonal).flatten(-2)
        return flat.index_copy(-1, rows * size + columns, self.below).unflatten(-1, (size, size))

    def expand(self, batch_shape: _Shape, _instance: object = None) -> TriangularNormal:
        loc = self.loc.expand(*batch_shape, *self.event_shape)
        return TriangularNormal(loc, self.diagonal, self.below, self.rows_columns)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        draws = torch.Size(sample_shape).numel()
        if draws > 1:  # all of them in one product
            noise = noise.reshape(draws, *self.loc.shape)
            moved = (self.scale_tril @ noise.movedim(0, -1)).movedim(-1, 0)
            return self.loc + moved.reshape(self._extended_shape(sample_shape))
        rows, columns = self.rows_columns
        return (self.loc + self.diagonal * noise).index_add(-1, rows, self.below * noise.index_select(-1, columns))
