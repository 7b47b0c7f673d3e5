"""Likelihoods of numbers in an interval, whose mass is all within it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution

from ..data.domains import Domain
from ..distributions.bounds import bounded, checked_clamp, scale_of
from ..distributions.densities import NormalWithin, OpenBeta
from ..distributions.tilted import TiltedUniform
from .base import Likelihood

FAR_TAIL = 12.0
"""Bound of the logit of a mean in the unit interval."""


class ContinuousBernoulli(Likelihood):
    """x_i in the unit interval ~ CB(sigmoid(l_i)), density c(p) p^x (1-p)^(1-x) (Loaiza-Ganem & Cunningham 2019)."""

    domains = ("unit",)

    def forward(self, parameters: Tensor) -> Distribution:
        (logits,) = self.split(parameters)
        return self.scaled(TiltedUniform(logits))


class Beta(Likelihood):
    """x_i in the unit interval and at neither end ~ Beta(m_i c_i, (1 - m_i) c_i), the mean m_i = sigmoid(l_i) and the
    concentration c_i = 2 exp(k_i), l and k from the decoder: uniform where both are 0.

    Data that are exactly at an end, where its density is 0 or infinite, are refused; the continuous Bernoulli takes
    them.
    """

    domains = ("unit",)
    open = True

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_concentration_clamp: tuple[float, float] = (-5.0, 7.0)
    ) -> None:
        super().__init__(event_shape, domain, parameters=2)
        self.clamp = checked_clamp("log_concentration_clamp", log_concentration_clamp)

    def forward(self, parameters: Tensor) -> Distribution:
        logits, log_concentration = self.split(parameters)
        logits = bounded(logits, -FAR_TAIL, FAR_TAIL)
        concentration = 2 * bounded(log_concentration, *self.clamp).exp()
        return self.scaled(OpenBeta(concentration * logits.sigmoid(), concentration * (-logits).sigmoid()))


class TruncatedNormal(Likelihood):
    """x_i ~ N(m_i, sigma_i²) given that it lies in the domain, mean and log-variance of every element from the decoder.

    m_i and sigma_i, in units of the domain's scale, are those of the normal that is truncated; of the unit interval an
    output of 0 is its middle.
    """

    domains = ("positive", "unit")

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_variance_clamp: tuple[float, float] = (-10.0, 10.0)
    ) -> None:
        super().__init__(event_shape, domain, parameters=2)
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_variance = self.split(parameters)
        scale = scale_of(log_variance, self.clamp)
        if self.domain.kind == "unit":
            return self.scaled(NormalWithin(0.5 + loc, scale, 1.0))
        return self.scaled(NormalWithin(loc, scale))
