"""Distributions over the levels 0..L-1 of grey values, and over categories."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints
from torch.nn.functional import logsigmoid, softplus

from .shapes import _Shape


class Levels(Categorical):
    """A categorical distribution over the numbers 0..L-1, which unlike `Categorical` has the mean of those numbers.

    logits (…, L); samples and values (…) in 0..L-1, of the logits' type.

    >>> Levels(logits=torch.zeros(3)).mean
    tensor(1.)
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits=logits, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Levels:
        return Levels(self.logits.expand(*batch_shape, self._num_events))

    @property
    def mean(self) -> Tensor:
        return self.probs @ torch.arange(self._num_events, dtype=self.probs.dtype, device=self.probs.device)

    @property
    def variance(self) -> Tensor:
        levels = torch.arange(self._num_events, dtype=self.probs.dtype, device=self.probs.device)
        return (self.probs * (levels - self.mean.unsqueeze(-1)).square()).sum(-1)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        return super().sample(torch.Size(sample_shape)).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value.long())


class Categories(Levels):
    """A categorical distribution over numbers 0..L-1 that stand for categories: they have no order, hence no mean.

    >>> Categories(logits=torch.tensor([2.0, -9.0, 2.1])).mean  # not 1, which is next to impossible
    tensor(nan)
    """

    unordered = True

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Categories:
        return Categories(self.logits.expand(*batch_shape, self._num_events))

    @property
    def mean(self) -> Tensor:
        return torch.full(self.batch_shape, torch.nan, dtype=self.logits.dtype, device=self.logits.device)

    @property
    def mode(self) -> Tensor:
        return self.logits.argmax(-1).to(self.logits.dtype)

    @property
    def variance(self) -> Tensor:
        return self.mean


NARROW = 0.2
"""A width below which log(1 - exp(-w)) is its series, right to twelve digits."""


def log_of_rest(width: Tensor) -> Tensor:
    """log(1 - exp(-w)) of w above 0. Not by expm1, of which compilers make exp(x) - 1, with none of its digits.

    >>> log_of_rest(torch.tensor([1e-6, 0.5])).exp()
    tensor([1.0000e-06, 3.9347e-01])
    """
    few, many = width.clamp(max=NARROW), width.clamp(min=NARROW)
    square = few.square()
    series = few.log() - few / 2 + square * (1 / 24 - square * (1 / 2880 - square / 181440))
    return torch.where(width < NARROW, series, torch.log1p(-(-many).exp()))


class DiscretizedLogistic(Distribution):
    """The mass that a logistic density puts on each of the integers 0..levels-1 (Kingma et al. 2016, appendix C.1).

    P(k) = F(k + 1/2) - F(k - 1/2), the first and the last level taking the tails, F(t) = sigmoid((t - loc) / scale).
    loc and scale (…) are in units of levels; values (…) are integers as floats.

    >>> p = DiscretizedLogistic(torch.tensor(3.2), torch.tensor(2.0), levels=8)
    >>> bool(torch.isclose(p.log_prob(torch.arange(8.0)).exp().sum(), torch.tensor(1.0)))
    True
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        self.loc, self.scale, self.levels = loc, scale, levels
        super().__init__(torch.broadcast_shapes(loc.shape, scale.shape), validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> DiscretizedLogistic:
        return DiscretizedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.levels)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        # E[X] = sum over k >= 1 of P(X >= k), one level at a time so that memory does not grow with the levels.
        total = torch.zeros(self.batch_shape, dtype=self.loc.dtype, device=self.loc.device)
        for level in range(1, self.levels):
            total += torch.sigmoid((self.loc - (level - 0.5)) / self.scale)
        return total

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            u = u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
            return (self.loc + self.scale * torch.logit(u)).round().clamp(0, self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        upper = (value + 0.5 - self.loc) / self.scale
        lower = (value - 0.5 - self.loc) / self.scale
        # log(F(b) - F(a)) = log F(b) + log F(-a) + log(1 - exp(a - b)): no difference of nearly equal numbers anywhere.
        inside = logsigmoid(upper) + logsigmoid(-lower) + log_of_rest(1 / self.scale)
        first, last = logsigmoid(upper), -softplus(lower)
        return torch.where(value <= 0, first, torch.where(value >= self.levels - 1, last, inside))
