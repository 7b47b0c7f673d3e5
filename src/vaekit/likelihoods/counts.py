"""Likelihoods of counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.domains import Domain
from ..distributions.bounds import bounded, checked_clamp
from ..distributions.counts import NegativeBinomialCounts, PoissonCounts, ZeroInflated, log_orders, wide
from ..distributions.multinomial import MultinomialCounts
from .base import Likelihood

LOG_THETA = (-20.0, 30.0)
"""Bounds of the logarithm of a dispersion: nearly all mass at 0, and a Poisson."""
LOG_TOTAL = (-12.0, 30.0)
"""Bounds of the logarithm of the mean of a total."""
RARE = 2.0
"""Minus the logit of the share of zeros that is added where the decoder gives 0: an eighth."""


class _AnyCount(Likelihood):
    domains = ("count",)
    outputs: ClassVar[int] = 1
    """Parameters of each element that the decoder gives."""

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        log_mean_clamp: tuple[float, float] = (-12.0, 12.0),
        exposure: float = 0.0,
        shares: bool = False,
    ) -> None:
        super().__init__(event_shape, domain, self.outputs)
        if shares and not exposure:
            raise ValueError(
                "shares are those of an exposure, but there is none; data.exposure=total is each row's own"
            )
        self.clamp, self.exposure, self.shares = checked_clamp("log_mean_clamp", log_mean_clamp), exposure, shares
        unit = torch.as_tensor(domain.typical_counts, dtype=torch.get_default_dtype())
        self.register_buffer("unit", unit, persistent=False)

    unit: Tensor
    """What means are multiples of: typical counts of each element."""

    def drawn(self, relative: Tensor) -> torch.dtype:
        """The type of draws and means."""
        return wide(relative).dtype if self.domain.in_float64 else relative.dtype

    def log_mean(self, relative: Tensor, exposure: Tensor | None) -> Tensor:
        """The log of the mean of each element, in the data's units, from that in units of typical counts and of the
        exposure.
        """
        log_mean = wide(bounded(relative, *self.clamp)) + wide(self.unit).log()
        if self.shares:
            within = tuple(range(-len(self.event_shape), 0))
            log_mean = log_mean - log_mean.logsumexp(within, keepdim=True) + math.log(self.exposure)
        if exposure is None:
            return log_mean
        known = wide(exposure)
        return log_mean + known.clamp(min=torch.finfo(known.dtype).tiny).log()  # of 0, a mean that is next to 0


class Poisson(_AnyCount):
    """x_i ~ Poisson(m_i), the mean m_i = exp(l_i) times a typical count, l the decoder's output.

    The typical count is the domain's scale, or exp(location) - 1 where the domain is of logarithms.
    With an `exposure`, the unit that they are in, each row has one of its own (B, 1, …), to which means are
    proportional, as of all counts here. With `shares` they are shares of it, which add up to 1: a softmax of l (Lopez
    et al. 2018).

    >>> Poisson((2,), Domain("count", scale=3.0))(torch.zeros(1, 1, 2)).mean
    tensor([[3., 3.]])
    """

    def forward(self, parameters: Tensor, exposure: Tensor | None = None) -> Distribution:
        (relative,) = self.split(parameters)
        return self.event(PoissonCounts(self.log_mean(relative, exposure), relative.dtype, self.drawn(relative)))


class NegativeBinomial(_AnyCount):
    """x_i ~ NB(m_i, theta_i) of variance m_i + m_i² / theta_i, a theta_i learned for each element (Lopez et al. 2018).

    The mean m_i is that of `Poisson`, which this becomes where theta is large.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        log_mean_clamp: tuple[float, float] = (-12.0, 12.0),
        exposure: float = 0.0,
        shares: bool = False,
    ) -> None:
        super().__init__(event_shape, domain, log_mean_clamp, exposure, shares)
        self.log_theta = nn.Parameter(torch.zeros(self.event_shape))

    def counts(self, relative: Tensor, exposure: Tensor | None) -> NegativeBinomialCounts:
        """Those of log-means in units of typical counts and of the exposure."""
        log_mean = self.log_mean(relative, exposure)
        return NegativeBinomialCounts(
            log_mean, bounded(self.log_theta, *LOG_THETA), relative.dtype, self.drawn(relative)
        )

    def forward(self, parameters: Tensor, exposure: Tensor | None = None) -> Distribution:
        (relative,) = self.split(parameters)
        return self.event(self.counts(relative, exposure))


class ZeroInflatedPoisson(_AnyCount):
    """x_i is 0 with probability sigmoid(k_i - 2), else ~ `Poisson`, k_i and l_i from the decoder (Lambert 1992)."""

    outputs = 2

    def forward(self, parameters: Tensor, exposure: Tensor | None = None) -> Distribution:
        relative, zero = self.split(parameters)
        counts = PoissonCounts(self.log_mean(relative, exposure), relative.dtype, self.drawn(relative))
        return self.event(ZeroInflated(counts, zero - RARE))


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """x_i is 0 with probability sigmoid(k_i - 2), else ~ `NegativeBinomial`, k_i and l_i from the decoder (Lopez et al.
    2018).
    """

    outputs = 2

    def forward(self, parameters: Tensor, exposure: Tensor | None = None) -> Distribution:
        relative, zero = self.split(parameters)
        return self.event(ZeroInflated(self.counts(relative, exposure), zero - RARE))


class Multinomial(Likelihood):
    """x ~ Multinomial(n, p), p the softmax of the decoder's output over all elements: n words of a document, each drawn
    by itself (Srivastava & Sutton 2017, eq. 2).

    n is the row's `exposure`, which is its own total (`data.exposure=total`); log p is then that of the words given how
    many they are, with the number of their orders, n! / prod x_i!. Without an exposure n is itself drawn, from a
    Poisson whose mean is learned, so that each count is a Poisson by itself.

    >>> Multinomial((2,), Domain("count"), exposure=1.0)(torch.zeros(1, 1, 2), torch.tensor([[3.0]])).mean
    tensor([[1.5000, 1.5000]])
    """

    domains = ("count",)

    def __init__(self, event_shape: Sequence[int], domain: Domain, exposure: float = 0.0) -> None:
        super().__init__(event_shape, domain)
        self.exposure = exposure
        if not exposure:
            total = np.broadcast_to(domain.typical_counts, self.event_shape).sum()
            self.log_total = nn.Parameter(torch.tensor(float(total)).log().to(torch.get_default_dtype()))

    def forward(self, parameters: Tensor, exposure: Tensor | None = None) -> Distribution:
        (logits,) = self.split(parameters)
        kind, drawn = logits.dtype, wide(logits).dtype if self.domain.in_float64 else logits.dtype
        size = len(self.event_shape)
        logits = wide(logits)
        log_shares = logits - logits.logsumexp(tuple(range(-size, 0)), keepdim=True)
        if exposure is None:
            own = (
                bounded(self.log_total, *LOG_TOTAL) if not self.exposure else log_shares.new_tensor(self.exposure).log()
            )
            return self.event(PoissonCounts(log_shares + wide(own), kind, drawn))
        # As many as were counted: covariates have the digits of float32.
        total = (wide(exposure).flatten(-size).squeeze(-1) * self.exposure).round()
        return MultinomialCounts(log_shares, total, size, kind, drawn)

    def log_orders(self, x: Tensor) -> Tensor:
        """log of the number of orders that the words of x (B, *event) may stand in, (B,) nats: log p of the words in
        their order is log p(x) less that.
        """
        return log_orders(wide(x).flatten(x.dim() - len(self.event_shape)))
