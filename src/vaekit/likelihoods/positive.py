"""Likelihoods of positive numbers, on scales of their own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, distributions
from torch.distributions import Distribution

from ..data.domains import Domain
from ..distributions.bounds import bounded, checked_clamp, scale_of
from ..distributions.densities import GammaOfMean, SteepWeibull
from .base import Likelihood

LOG_MEAN = (-40.0, 40.0)
"""Bounds of logarithms of positive data in units of their scale: no number of theirs is beyond the largest float32."""


class _AnyPositive(Likelihood):
    domains = ("positive",)

    def __init__(self, event_shape: Sequence[int], domain: Domain) -> None:
        super().__init__(event_shape, domain, parameters=2)


class LogNormal(_AnyPositive):
    """log x_i ~ N(m_i, sigma_i²), for positive data of any order of magnitude: m_i and log sigma_i² from the decoder,
    m_i relative to the logarithm of the domain's scale.

    The upper bound of log sigma_i² keeps the mean, exp(m + sigma² / 2), a number.
    """

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_variance_clamp: tuple[float, float] = (-10.0, 4.0)
    ) -> None:
        super().__init__(event_shape, domain)
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_variance = self.split(parameters)
        scale = scale_of(log_variance, self.clamp)
        return self.scaled(distributions.LogNormal(bounded(loc, *LOG_MEAN), scale, validate_args=False))


class Gamma(_AnyPositive):
    """x_i ~ Gamma of mean exp(l_i) times the domain's scale and of shape exp(k_i), l and k from the decoder:
    exponential where k is 0.
    """

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_shape_clamp: tuple[float, float] = (-5.0, 9.0)
    ) -> None:
        super().__init__(event_shape, domain)
        self.clamp = checked_clamp("log_shape_clamp", log_shape_clamp)

    def forward(self, parameters: Tensor) -> Distribution:
        log_mean, log_shape = self.split(parameters)
        shape = bounded(log_shape, *self.clamp).exp()
        return self.scaled(GammaOfMean(shape, bounded(log_mean, *LOG_MEAN).exp()))


class Weibull(_AnyPositive):
    """x_i ~ Weibull of scale exp(l_i) times the domain's scale and of shape exp(k_i), l and k from the decoder:
    exponential where k is 0. A time to failure, where the rate of failures rises or falls.
    """

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_shape_clamp: tuple[float, float] = (-3.0, 5.0)
    ) -> None:
        super().__init__(event_shape, domain)
        self.clamp = checked_clamp("log_shape_clamp", log_shape_clamp)

    def forward(self, parameters: Tensor) -> Distribution:
        log_scale, log_shape = self.split(parameters)
        return self.scaled(SteepWeibull(bounded(log_scale, *LOG_MEAN), bounded(log_shape, *self.clamp)))
