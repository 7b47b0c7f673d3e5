"""The multinomial distribution, of rows that have totals of their own, and of what is seen of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .counts import log_orders, wide
from .shapes import _Shape, broadcast_shapes

NEVER = -1e30
"""In place of the logarithm of nothing, whose products with zero are zero."""
NEAR = 1e-6
"""The part of a total that is lost in float32, and half a count."""


class MultinomialCounts(Distribution):
    """Multinomial of a total n (…) and the logarithms of shares (…, *event), which add up to 1 over an event of `size`
    dimensions.

    Torch's, whose totals may differ from row to row; counts of another sum have no mass. It has the marginal of any of
    its counts, draws in as many steps as V counts can be halved, whatever n, and computes in float64.

    >>> p = MultinomialCounts(torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor(2.0))
    >>> p.log_prob(torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])).exp()
    tensor([0.2500, 0.0000])
    """

    arg_constraints = {}

    def __init__(
        self,
        log_shares: Tensor,
        total: Tensor,
        size: int = 1,
        kind: torch.dtype | None = None,
        drawn: torch.dtype | None = None,
    ) -> None:
        self.size, self.kind = size, kind or log_shares.dtype
        self.drawn = drawn or self.kind
        self.log_shares, self.total = wide(log_shares), wide(total)
        batch = broadcast_shapes(log_shares.shape[:-size], total.shape)
        super().__init__(batch, log_shares.shape[-size:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.nonnegative_integer, self.size)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> MultinomialCounts:
        shape = torch.Size(batch_shape)
        log_shares = self.log_shares.expand(shape + self.event_shape)
        return MultinomialCounts(log_shares, self.total.expand(shape), self.size, self.kind, self.drawn)

    def _within(self, total: Tensor) -> Tensor:
        """A total (…) beside the elements of an event."""
        return total[(..., *[None] * self.size)]

    @property
    def mean(self) -> Tensor:
        return (self._within(self.total) * self.log_shares.exp()).to(self.drawn)

    @property
    def variance(self) -> Tensor:
        shares = self.log_shares.exp()
        return (self._within(self.total) * shares * (1 - shares)).to(self.drawn)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            lead = torch.Size(sample_shape) + self.batch_shape
            shares = self.log_shares.exp().flatten(-self.size)
            many = shares.shape[-1]
            levels = [torch.nn.functional.pad(shares, (0, (1 << (many - 1).bit_length()) - many))]
            while levels[-1].shape[-1] > 1:
                levels.append(levels[-1].unflatten(-1, (-1, 2)).sum(-1))
            found = self.total.unsqueeze(-1).expand(*lead, 1)
            # Of those of both halves how many are of the first, from the whole down to single counts.
            for below in reversed(levels[:-1]):
                first, second = below.unflatten(-1, (-1, 2)).unbind(-1)
                part = (first / (first + second).clamp(min=torch.finfo(first.dtype).tiny)).clamp(0, 1)
                left = torch.binomial(found.contiguous(), part.expand(found.shape).contiguous())
                found = torch.stack([left, found - left], -1).flatten(-2)
            return found[..., :many].reshape(*lead, *self.event_shape).to(self.drawn)

    def log_prob(self, value: Tensor) -> Tensor:
        value = wide(value)
        counted = value.flatten(-self.size)
        given = (counted * self.log_shares.flatten(-self.size)).sum(-1) + log_orders(counted)
        off = (counted.sum(-1) - self.total).abs() > 0.5 + NEAR * self.total
        return torch.where(off, -torch.inf, given).to(self.kind)

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        """log p of those counts of value (…, *event) that are `observed`, (…) nats: all others together are one count
        more.
        """
        seen = observed.expand(broadcast_shapes(observed.shape, value.shape)).flatten(-self.size)
        counted, log_shares = wide(value).flatten(-self.size), self.log_shares.flatten(-self.size)
        counted = torch.where(seen, counted, 0.0)
        rest = self.total - counted.sum(-1)
        whole = seen.all(-1)
        off = torch.where(whole, rest.abs(), -rest) > 0.5 + NEAR * self.total
        rest = rest.clamp(min=0).masked_fill(whole, 0.0)  # what of a total its rounding has left is in no count
        hidden = log_shares.masked_fill(seen, NEVER).logsumexp(-1)
        given = (counted * log_shares).sum(-1) + rest * hidden
        given = given + log_orders(torch.cat([counted, rest.unsqueeze(-1)], -1))
        return torch.where(off, -torch.inf, given).to(self.kind)

    def given_missing(self, value: Tensor, observed: Tensor | None) -> MultinomialCounts:
        """The counts that are missing given those of value (…, *event) that are `observed`: what these leave of the
        total, by the shares of the others.
        """
        if observed is None:
            return self
        seen = observed.expand(broadcast_shapes(observed.shape, value.shape))
        counted = torch.where(seen, wide(value), 0.0).flatten(-self.size).sum(-1)
        log_shares = self.log_shares.masked_fill(seen, NEVER)
        within = tuple(range(-self.size, 0))
        log_shares = log_shares - log_shares.logsumexp(within, keepdim=True)
        return MultinomialCounts(log_shares, (self.total - counted).clamp(min=0), self.size, self.kind, self.drawn)
