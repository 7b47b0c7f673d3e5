"""Normals that know more of themselves than torch's do."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    MultivariateNormal,
    Normal,
    constraints,
)
from torch.distributions.utils import lazy_property
from torch.nn.functional import normalize

from .shapes import OfNoise, _Shape, broadcast_shapes


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


class LowRankNormal(OfNoise):
    """N(loc, S (I + V Vᵀ) S), S the diagonal matrix of `scale` (…, D), V = `factor` (…, D, R), R no more than D.

    A draw is loc + S (I + V (I + L)⁻¹ Vᵀ) n, n standard normal of D numbers, with L Lᵀ = I + Vᵀ V: the matrix in
    brackets times its transpose is I + V Vᵀ (Ambikasaran et al. 2014). Draws, densities and the KL take D R numbers and
    matrices of R rows, none of D. Torch's `LowRankMultivariateNormal` draws from D + R numbers, more than z has, and
    waits for the device to tell whether a matrix is positive definite.

    >>> LowRankNormal(torch.zeros(2), torch.ones(2), torch.tensor([[1.0], [2.0]])).covariance_matrix
    tensor([[2., 2.],
            [2., 5.]])
    """

    support = constraints.real_vector

    def __init__(self, loc: Tensor, scale: Tensor, factor: Tensor) -> None:
        self.loc, self.scale, self.factor, self.like = loc, scale, factor, loc
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: object = None) -> LowRankNormal:
        lead, (size, rank) = torch.Size(batch_shape), self.factor.shape[-2:]
        return LowRankNormal(
            self.loc.expand(*lead, size), self.scale.expand(*lead, size), self.factor.expand(*lead, size, rank)
        )

    @lazy_property
    def lower(self) -> Tensor:
        """L (…, R, R)."""
        inner = self.factor.mT @ self.factor
        # Without a look at whether it is positive definite, which it is: what is no number becomes a loss that is none.
        return torch.linalg.cholesky_ex(inner + torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device))[0]

    @property
    def log_determinant(self) -> Tensor:
        """log of the determinant of the root of the covariance, (…)."""
        return self.scale.log().sum(-1) + self.lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (1 + self.factor.square().sum(-1))

    @property
    def covariance_matrix(self) -> Tensor:
        """(…, D, D)."""
        wide = self.scale.unsqueeze(-1) * self.factor
        return wide @ wide.mT + torch.diag_embed(self.scale.square())

    def from_noise(self, noise: Tensor) -> Tensor:
        """The draw (…, D) that standard normal noise (…, D) makes."""
        noise = noise.to(self.loc)
        size = self.lower.shape[-1]
        both = self.lower + torch.eye(size, dtype=noise.dtype, device=noise.device)
        inside = _solved(both, self._across(noise))
        return self.loc + self.scale * (noise + (self.factor @ inside.unsqueeze(-1)).squeeze(-1))

    def log_prob(self, value: Tensor) -> Tensor:
        off = (value - self.loc) / self.scale
        square = off.square().sum(-1) - _solved(self.lower, self._across(off)).square().sum(-1)
        return -0.5 * (square + off.shape[-1] * math.log(2 * math.pi)) - self.log_determinant

    def entropy(self) -> Tensor:
        return self.log_determinant + 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi))

    def _across(self, values: Tensor) -> Tensor:
        """Vᵀ times values (…, D), (…, R)."""
        return (self.factor.mT @ values.unsqueeze(-1)).squeeze(-1)


def _solved(lower: Tensor, right: Tensor) -> Tensor:
    """x (…, R) with lower x = right, of a lower triangular matrix."""
    lead = broadcast_shapes(lower.shape[:-2], right.shape[:-1])
    lower, right = lower.expand(*lead, *lower.shape[-2:]), right.expand(*lead, -1)
    return torch.linalg.solve_triangular(lower, right.unsqueeze(-1), upper=False).squeeze(-1)


class ReflectedNormal(OfNoise):
    """H z of a diagonal normal z of `loc` and `scale` (…, D), H the product of the reflections at `mirrors` (…, T, D),
    the first of which comes first: N(H loc, H S² Hᵀ).

    H_t = I - 2 v vᵀ / (vᵀ v) (Tomczak & Welling 2016, eq. 7). It keeps volumes, so that log q(H z) = log q(z).

    >>> ReflectedNormal(torch.tensor([1.0, 0.0]), torch.ones(2), torch.tensor([[1.0, -1.0]])).mean
    tensor([0., 1.])
    """

    support = constraints.real_vector

    def __init__(self, loc: Tensor, scale: Tensor, mirrors: Tensor) -> None:
        self.loc, self.scale, self.like = loc, scale, loc
        self.mirrors = normalize(mirrors, dim=-1)
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: object = None) -> ReflectedNormal:
        lead = torch.Size(batch_shape)
        loc, scale = self.loc.expand(*lead, -1), self.scale.expand(*lead, -1)
        return ReflectedNormal(loc, scale, self.mirrors.expand(*lead, *self.mirrors.shape[-2:]))

    def reflected(self, z: Tensor) -> Tensor:
        """H z of z (…, D)."""
        for mirror in self.mirrors.unbind(-2):
            z = z - 2 * mirror * (mirror * z).sum(-1, keepdim=True)
        return z

    @lazy_property
    def matrix(self) -> Tensor:
        """H (…, D, D)."""
        size = self.event_shape[0]
        rows = torch.eye(size, dtype=self.loc.dtype, device=self.loc.device)
        rows = rows.expand(*self.batch_shape, size, size)
        for mirror in self.mirrors.unbind(-2):
            mirror = mirror.unsqueeze(-2)
            rows = rows - 2 * mirror * (mirror * rows).sum(-1, keepdim=True)
        return rows.mT  # each row is H of one axis, a column of H

    @property
    def mean(self) -> Tensor:
        return self.reflected(self.loc)

    @property
    def variance(self) -> Tensor:
        return (self.matrix.square() @ self.scale.square().unsqueeze(-1)).squeeze(-1)

    @property
    def covariance_matrix(self) -> Tensor:
        """(…, D, D)."""
        wide = self.matrix * self.scale.unsqueeze(-2)
        return wide @ wide.mT

    def from_noise(self, noise: Tensor) -> Tensor:
        """The draw (…, D) that standard normal noise (…, D) makes."""
        return self.reflected(self.loc + self.scale * noise.to(self.loc))

    def log_prob(self, value: Tensor) -> Tensor:
        for mirror in reversed(self.mirrors.unbind(-2)):
            value = value - 2 * mirror * (mirror * value).sum(-1, keepdim=True)
        return Normal(self.loc, self.scale, validate_args=False).log_prob(value).sum(-1)

    def entropy(self) -> Tensor:
        return self.scale.log().sum(-1) + 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi))
