"""Distributions over the levels 0..L-1 of grey values, and over categories."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints

from .shapes import _Shape, broadcast_shapes


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


FEW = 64
"""Levels up to which a mean is a sum over all of them."""


def log_mass(loc: Tensor, scale: Tensor, value: Tensor, levels: int) -> Tensor:
    """log of what a logistic density puts on the level `value` of 0..levels-1: log(F(value + 1/2) - F(value - 1/2)),
    the first and the last level taking the tails, F(t) = sigmoid((t - loc) / scale).

    loc, scale and value broadcast. Right in the tails, where both of F are 0 or 1 to the last digit.

    >>> log_mass(torch.tensor(0.0), torch.tensor(0.5), torch.tensor([1.0, 200.0, 255.0]), 256)
    tensor([  -1.5073, -399.1454, -509.0000])
    """
    return _LogMass.apply(loc, scale, value, levels)


class _LogMass(torch.autograd.Function):
    """log(F(u) - F(l)) = log F(u) + log F(-l) + log(1 - exp(-w)) with u and l the scaled ends of a level, w = u - l: no
    difference of nearly equal numbers anywhere. a and b are 0 where u or l is endless, else 1.

    log F(u) = min(u, 0) - log(1 + exp(-|u|)), so that one logarithm serves all three. 1 - exp(-w) by tanh, which keeps
    its digits where w is small. Selections are products with a and b: cheaper than `where` many times over.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(loc: Tensor, scale: Tensor, value: Tensor, levels: int) -> Tensor:
        a, b = (value < levels - 1).to(loc.dtype), (value > 0).to(loc.dtype)
        inverse = scale.reciprocal()
        half = inverse / 2
        t = (value - loc) * inverse
        upper, lower = t + half, t.sub_(half)
        tanh = half.tanh()
        rest = (2 * tanh).div_(1 + tanh)
        # min(u, 0) = (u - |u|) / 2, max(l, 0) = (l + |l|) / 2
        far_up, far_low = upper.abs(), lower.abs()
        linear = (upper.sub_(far_up) * (a / 2)).sub_(lower.add_(far_low) * (b / 2))
        factors = (a * far_up.neg_().exp_()).add_(1).mul_((b * far_low.neg_().exp_()).add_(1))
        both = a * b
        return torch.addcmul(1 - both, both, rest).div(factors).log_().add_(linear)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
        *tensors, ctx.levels = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        loc, scale, value = ctx.saved_tensors
        a, b = (value < ctx.levels - 1).to(loc.dtype), (value > 0).to(loc.dtype)
        inverse = scale.reciprocal()
        t, half = (value - loc) * inverse, inverse / 2
        left, right = a * torch.sigmoid(-half - t), b * torch.sigmoid(t - half)
        by_place = right - left
        by_width = torch.addcmul(left + right, a * b, half.tanh().reciprocal() - 1)
        common = gradient * inverse
        of_loc = common * by_place
        of_scale = common * torch.addcmul(t * by_place, half, by_width, value=-1)
        return (
            of_loc.sum_to_size(loc.shape) if ctx.needs_input_grad[0] else None,
            of_scale.sum_to_size(scale.shape) if ctx.needs_input_grad[1] else None,
            -of_loc.sum_to_size(value.shape) if ctx.needs_input_grad[2] else None,
            None,
        )


def mean_level(loc: Tensor, scale: Tensor, levels: int) -> Tensor:
    """The mean of a logistic density's masses on 0..levels-1, as of `log_mass`; of more than `FEW` levels that of its
    numbers before they are rounded, each of those beyond an end at it: less than 0.06 levels off where the scale is a
    quarter of a level or more.

    >>> mean_level(torch.tensor([-1e30, 100.0, 255.0]), torch.tensor(2.0), 256)
    tensor([  0.0000, 100.0000, 253.6137])
    """
    top = levels - 1
    if levels <= FEW:
        # E[X] = sum over k >= 1 of P(X >= k), one level at a time so that memory does not grow with the levels.
        total = torch.zeros(broadcast_shapes(loc.shape, scale.shape), dtype=loc.dtype, device=loc.device)
        for level in range(1, levels):
            total += torch.sigmoid((loc - (level - 0.5)) / scale)
        return total
    # The integral of P(X >= t) from 0 to the top, the difference of two softplus.
    tails = torch.log1p((-(loc / scale).abs()).exp()) - torch.log1p((-((loc - top) / scale).abs()).exp())
    return (loc.clamp(0, top) + scale * tails).clamp(0, top)


def drawn_level(loc: Tensor, scale: Tensor, levels: int) -> Tensor:
    """A level for each of loc and scale of one shape, drawn by the masses of `log_mass`."""
    u = torch.rand(loc.shape, dtype=loc.dtype, device=loc.device)
    u = u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
    return (loc + scale * torch.logit(u)).round().clamp(0, levels - 1)


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
        super().__init__(broadcast_shapes(loc.shape, scale.shape), validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> DiscretizedLogistic:
        return DiscretizedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.levels)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        return mean_level(self.loc, self.scale, self.levels)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            return drawn_level(self.loc.expand(shape), self.scale.expand(shape), self.levels)

    def log_prob(self, value: Tensor) -> Tensor:
        return log_mass(self.loc, self.scale, value, self.levels)
