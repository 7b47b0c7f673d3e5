"""Likelihoods of real numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution

from ..data.domains import Domain
from ..distributions.bounds import bounded, checked_clamp
from ..distributions.densities import HeavyTailed
from .base import Likelihood


class _AnyNormal(Likelihood):
    domains = ("real",)
    formerly = ("positive", "unit")

    def normal(self, loc: Tensor, scale: Tensor) -> Distribution:
        """A normal given in scaled units, as one in the data's units."""
        return self.scaled(distributions.Normal(loc, scale.expand_as(loc), validate_args=False))


class FixedNormal(_AnyNormal):
    """x_i ~ N(m_i, sigma²), sigma given, in units of the domain's scale; m the decoder's output, or with the `link`
    "sigmoid" its sigmoid, between 0 and 1 of these units, as of pixels.

    Of a table, whose columns have scales of their own, each column's standard deviation is sigma times its scale.
    """

    sigma: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        sigma: float = 1.0,
        link: Literal["identity", "sigmoid"] = "identity",
    ) -> None:
        super().__init__(event_shape, domain)
        if not sigma > 0:
            raise ValueError(f"sigma must be above 0, got {sigma}")
        if link not in ("identity", "sigmoid"):
            raise ValueError(f"link is {link!r}; accepted: identity, sigmoid")
        self.link = link
        self.register_buffer("sigma", torch.tensor(float(sigma)), persistent=False)

    def forward(self, parameters: Tensor) -> Distribution:
        (loc,) = self.split(parameters)
        return self.normal(loc.sigmoid() if self.link == "sigmoid" else loc, self.sigma)


class GlobalNormal(_AnyNormal):
    """x_i ~ N(m_i, sigma²) with one learned sigma, in units of the domain's scale (Rybkin et al. 2021), or one for each
    element with `each`; m the decoder's output.

    Of a table, whose columns have scales of their own, the one sigma is the same part of each column's scale; columns
    of different noise need `each`.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        log_variance_clamp: tuple[float, float] = (-14.0, 10.0),
        each: bool = False,
    ) -> None:
        super().__init__(event_shape, domain)
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        self.log_variance = nn.Parameter(torch.zeros(self.event_shape if each else ()))

    def forward(self, parameters: Tensor) -> Distribution:
        (loc,) = self.split(parameters)
        return self.normal(loc, (0.5 * bounded(self.log_variance, *self.clamp)).exp())


class Normal(_AnyNormal):
    """x_i ~ N(m_i, sigma_i²), mean and log-variance of every element from the decoder (Kingma & Welling 2014, appendix
    C.2).

    The clamp keeps a datum that is fitted exactly from an infinite density; it is in units of the domain's scale.
    """

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_variance_clamp: tuple[float, float] = (-10.0, 10.0)
    ) -> None:
        super().__init__(event_shape, domain, parameters=2)
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_variance = self.split(parameters)
        return self.normal(loc, (0.5 * bounded(log_variance, *self.clamp)).exp())


class Laplace(Likelihood):
    """x_i ~ Laplace(m_i, b_i), -log p = abs(x - m) / b + log(2 b): m is the decoder's output, and b by `scale` the
    decoder's too, one learned for all elements (`global`) or for `each`, or a number, in units of the domain's scale.
    """

    domains = ("real",)
    fixed: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        scale: Literal["decoder", "global", "each"] | float = "decoder",
        log_scale_clamp: tuple[float, float] = (-7.0, 5.0),
    ) -> None:
        super().__init__(event_shape, domain, parameters=2 if scale == "decoder" else 1)
        if not isinstance(scale, str) and not 0 < scale < math.inf:
            raise ValueError(f"scale must be a finite number above 0, decoder, global or each, got {scale}")
        self.clamp = checked_clamp("log_scale_clamp", log_scale_clamp)
        own = {"global": (), "each": self.event_shape}.get(scale) if isinstance(scale, str) else None
        self.log_scale = None if own is None else nn.Parameter(torch.zeros(own))
        self.register_buffer("fixed", torch.tensor(1.0 if isinstance(scale, str) else float(scale)), persistent=False)

    def forward(self, parameters: Tensor) -> Distribution:
        loc, *given = self.split(parameters)
        log_scale = given[0] if given else self.log_scale
        scale = self.fixed if log_scale is None else bounded(log_scale, *self.clamp).exp()
        return self.scaled(distributions.Laplace(loc, scale.expand_as(loc), validate_args=False))


class StudentT(Likelihood):
    """x_i ~ Student's t of nu_i degrees of freedom, for data with outliers: location and log-scale of every element
    from the decoder, nu_i = `least` + exp(a_i) with an a_i learned for each element, from 10 on.

    Above 2 degrees of freedom there is a variance, above 1 a mean.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        least: float = 2.0,
        log_scale_clamp: tuple[float, float] = (-5.0, 5.0),
    ) -> None:
        super().__init__(event_shape, domain, parameters=2)
        if not 1 <= least < 10:
            raise ValueError(f"least, of the degrees of freedom, must be at least 1 and below 10, got {least}")
        self.least_df, self.clamp = float(least), checked_clamp("log_scale_clamp", log_scale_clamp)
        self.log_df = nn.Parameter(torch.full(self.event_shape, math.log(10 - least)))

    domains = ("real",)

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_scale = self.split(parameters)
        df = self.least_df + bounded(self.log_df, -7.0, 7.0).exp()
        return self.scaled(HeavyTailed(df, loc, bounded(log_scale, *self.clamp).exp()))
