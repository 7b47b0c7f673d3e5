"""Mixtures of logistic densities of warped numbers, and what whole numbers and zeros make of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid, softplus

from .counts import wide
from .levels import log_of_rest
from .quadrature import nodes_like, unit_nodes
from .shapes import _Shape
from .warps import log_slope, unwarped, warped

QUANTILES = 16
"""Quantiles of each component, at the nodes of a quadrature, that averages are made of."""


@dataclass(frozen=True)
class ColumnOf:
    """How n columns of numbers are made ones of order one: a `warp`, its location and scale (n,), and the `ends` (2, n)
    between which means are taken. Of whole numbers a logarithm is one of x + 1.
    """

    warp: str
    location: Tensor
    scale: Tensor
    ends: Tensor
    whole: bool = False

    @property
    def _shift(self) -> float:
        return 1.0 if self.whole and self.warp == "log" else 0.0

    def inwards(self, x: Tensor) -> Tensor:
        """t(x), in float64."""
        return warped(self.warp, wide(x) + self._shift, wide(self.location), wide(self.scale))

    def outwards(self, t: Tensor) -> Tensor:
        """x of t."""
        x = unwarped(self.warp, t, self.location, self.scale)
        return x - self._shift if self._shift else x


class WarpedMixture(Distribution):
    """A mixture of K logistic densities of t(x), t the `column`'s warp (see `warps`): x are n real numbers.

    logits, loc, scale (…, K, n). p(x) = sum_k w_k f((t(x) - loc_k) / scale_k) / scale_k
    dt/dx with f the logistic density, whose tails are those of an exponential: what lies far out pulls no harder than
    what lies near.

    `mean` is that of 16 quantiles of each component, none of them beyond the column's ends: of what a logarithm or
    asinh was taken, the whole need not have one.

    >>> one, wide_ends = torch.ones(1, 1), torch.tensor([[-9.0], [9.0]])
    >>> p = WarpedMixture(0 * one, 0 * one, one, ColumnOf("affine", torch.zeros(1), torch.ones(1), wide_ends))
    >>> p.log_prob(torch.tensor([0.0])).exp()
    tensor([0.2500])
    """

    arg_constraints = {}
    least: int | None = None

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, column: ColumnOf) -> None:
        self.logits, self.loc, self.scale, self.column = logits, loc, scale, column
        super().__init__(loc.shape[:-2] + loc.shape[-1:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.positive if self.column.warp == "log" else constraints.real

    def expand(self, batch_shape: _Shape, _instance: None = None) -> WarpedMixture:
        return WarpedMixture(*self._expanded(batch_shape), self.column)

    def _expanded(self, batch_shape: _Shape) -> tuple[Tensor, Tensor, Tensor]:
        *lead, n = batch_shape
        logits, loc, scale = (each.expand(*lead, each.shape[-2], n) for each in (self.logits, self.loc, self.scale))
        return logits, loc, scale

    def _outwards(self, t: Tensor) -> Tensor:
        return self.column.outwards(t)

    @property
    def log_weights(self) -> Tensor:
        """log w_k, (…, K, n)."""
        return _over_components(self.logits, torch.log_softmax)

    def log_prob(self, value: Tensor) -> Tensor:
        inwards = self.column.inwards(value).to(self.loc.dtype)
        u = (inwards.unsqueeze(-2) - self.loc) / self.scale
        # log f(u) = u - 2 softplus(u)
        mixed = (self.log_weights + u - 2 * softplus(u) - self.scale.log()).logsumexp(-2)
        slope = log_slope(self.column.warp, value, self.column.location, self.column.scale)
        return mixed + slope.to(mixed.dtype)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            which = _chosen(self.log_weights, shape)
            loc, scale = (_taken(each, which) for each in (self.loc, self.scale))
            u = torch.rand(shape, dtype=loc.dtype, device=loc.device)
            info = torch.finfo(u.dtype)
            return self._outwards(loc + scale * torch.logit(u.clamp(info.tiny, 1 - info.eps)))

    def points(self) -> tuple[Tensor, Tensor]:
        """Quantiles of each component (Q, …, n), none beyond the column's ends, and log-weights (Q, …, n): an average
        over x is one of theirs.
        """
        beside = [1] * self.loc.dim()
        u, weights = (each.view(-1, *beside) for each in nodes_like(QUANTILES, self.loc))
        x = self._within(self._outwards(self.loc + self.scale * torch.logit(u)))
        log_weight = weights.log() + self.log_weights
        return x.movedim(-2, 1).flatten(0, 1), log_weight.movedim(-2, 1).flatten(0, 1)

    @property
    def mean(self) -> Tensor:
        if self.column.warp == "affine" and self.least is None:
            mean = self._within(self._outwards(self.loc))
        else:
            mean = torch.zeros_like(self.loc, dtype=self.column.location.dtype)
            # One quantile after another: all at once are 16 times the memory.
            for node, weight in zip(*unit_nodes(QUANTILES), strict=True):
                place = torch.add(self.loc, self.scale, alpha=math.log(node / (1 - node)))
                mean = torch.add(mean, self._within(self._outwards(place)), alpha=weight)
        # Weights that add up to 1 to the last digit that the numbers have.
        return (_over_components(self.logits.to(mean.dtype), torch.softmax) * mean).sum(-2)

    def _within(self, x: Tensor) -> Tensor:
        low, high = self.column.ends
        return torch.minimum(torch.maximum(x, low), high)


class WholeMixture(WarpedMixture):
    """The mass that a `WarpedMixture` puts on whole numbers: P(x) = F(t(x + 1/2)) - F(t(x - 1/2)).

    With `least`, all below it is of it: counts are from 0 on.

    >>> one, wide_ends = torch.ones(1, 1), torch.tensor([[0.0], [9.0]])
    >>> column = ColumnOf("log", torch.zeros(1), torch.ones(1), wide_ends, whole=True)
    >>> p = WholeMixture(0 * one, 0 * one, one, column, least=0)
    >>> total = p.log_prob(torch.arange(1e6)[:, None]).exp().sum()
    >>> bool(torch.isclose(total, torch.tensor(1.0), atol=1e-4))
    True
    """

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, column: ColumnOf, least: int | None = None) -> None:
        self.least = least
        super().__init__(logits, loc, scale, column)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real if self.least is None else constraints.greater_than_eq(self.least)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> WholeMixture:
        return WholeMixture(*self._expanded(batch_shape), self.column, self.least)

    def _outwards(self, t: Tensor) -> Tensor:
        x = super()._outwards(t)
        return x if self.least is None else x.clamp(min=self.least)

    def log_prob(self, value: Tensor) -> Tensor:
        # The width of a step has few digits beside its place: it is taken in float64, once for all components.
        low, high = (self.column.inwards(wide(value) + half) for half in (-0.5, 0.5))
        width = (high - low).to(self.loc.dtype).unsqueeze(-2) / self.scale
        lower = (low.to(self.loc.dtype).unsqueeze(-2) - self.loc) / self.scale
        upper = lower + width
        inside = logsigmoid(upper) - softplus(lower) + log_of_rest(width)
        if self.least is not None:
            inside = torch.where((value <= self.least).unsqueeze(-2), logsigmoid(upper), inside)
        return (self.log_weights + inside).logsumexp(-2)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        return super().sample(sample_shape).round()


class ZeroOr(Distribution):
    """0 with the probability sigmoid(l), l the logits (…, n), else as `base`, a density of numbers above 0.

    Its log_prob is the logarithm of a mass at 0, and of a density elsewhere: a density as regards the sum of a point at
    0 and length, as that of a Tobit model is.

    >>> from torch.distributions import Exponential
    >>> ZeroOr(torch.zeros(1), Exponential(torch.ones(1))).log_prob(torch.tensor([0.0])).exp()
    tensor([0.5000])
    """

    arg_constraints = {}
    support = constraints.nonnegative

    def __init__(self, logits: Tensor, base: Distribution) -> None:
        self.logits, self.base = logits, base
        super().__init__(base.batch_shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> ZeroOr:
        return ZeroOr(self.logits.expand(*batch_shape), self.base.expand(torch.Size(batch_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        zero = value == 0
        other = self.base.log_prob(torch.where(zero, torch.ones_like(value), value))
        return torch.where(zero, logsigmoid(self.logits), logsigmoid(-self.logits) + other)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            drawn = self.base.sample(torch.Size(sample_shape))
            return drawn.masked_fill(torch.rand_like(drawn) < self.logits.sigmoid(), 0.0)

    @property
    def mean(self) -> Tensor:
        return (-self.logits).sigmoid() * self.base.mean


def _over_components(logits: Tensor, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    """A softmax over the K of (…, K, n). PyTorch's is eight times as fast over the first dimension as over so short a
    one before the last.
    """
    return function(logits.movedim(-2, 0).contiguous(), 0).movedim(0, -2)


def _chosen(log_weights: Tensor, shape: torch.Size) -> Tensor:
    """A component for each of `shape` (…, n), drawn by log-weights (…, K, n) by the Gumbel trick."""
    noise = torch.rand(
        *shape[:-1], log_weights.shape[-2], shape[-1], dtype=log_weights.dtype, device=log_weights.device
    )
    tiny = torch.finfo(noise.dtype).tiny
    return (log_weights - (-(noise.clamp(min=tiny).log())).clamp(min=tiny).log()).argmax(-2)


def _taken(values: Tensor, which: Tensor) -> Tensor:
    """Of values (…, K, n) those of the components `which` (…, n)."""
    index = which.unsqueeze(-2)
    return values.expand(*index.shape[:-2], *values.shape[-2:]).gather(-2, index).squeeze(-2)
