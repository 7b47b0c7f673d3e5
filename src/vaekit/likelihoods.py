"""Likelihoods p(x given z): modules whose forward maps a decoder's output to a distribution over x (…, *event_shape).

Each states in `parameter_shape` what it wants of the decoder, and in `domains` the kinds of data it is a density (or a
mass function) of. Log-probabilities are nats in the data's own units: a density that is parameterised on scaled data
pays its Jacobian.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution

from .bernoulli import IndependentBernoulli
from .distributions import (
    DiscretizedLogistic,
    Levels,
    Scaled,
    TiltedUniform,
    checked_clamp,
    independent,
)
from .domains import Domain
from .errors import unknown
from .settings import setting


class Likelihood(nn.Module):
    """What every likelihood states: the shape of a datum, its domain, and the shape of the parameters it wants.

    The decoder's output (…, *parameter_shape) is here (…, P, *event_shape), P parameters for each element of a datum. A
    likelihood of one's own derives from this class, or has the attributes `domains`, `event_shape`, `domain`,
    `parameter_shape` itself.
    """

    domains: ClassVar[tuple[str, ...]] = ()
    location: Tensor
    scale: Tensor

    def __init__(self, event_shape: Sequence[int], domain: Domain, parameters: int = 1) -> None:
        super().__init__()
        self.event_shape, self.domain = tuple(event_shape), domain
        self.parameter_shape = (parameters, *self.event_shape)
        self.register_buffer(
            "location", torch.as_tensor(domain.location, dtype=torch.get_default_dtype()), persistent=False
        )
        self.register_buffer("scale", torch.as_tensor(domain.scale, dtype=torch.get_default_dtype()), persistent=False)

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """The P parameters of each element, (…, *event_shape) each."""
        place = -1 - len(self.event_shape)
        # The gradient of one that is unbound is copied.
        return (parameters.squeeze(place),) if parameters.shape[place] == 1 else parameters.unbind(place)

    def event(self, elements: Distribution) -> Distribution:
        """Independent `elements` (…, *event_shape) as one distribution over a datum."""
        return independent(elements, len(self.event_shape))


class Bernoulli(Likelihood):
    """x_i ~ Bernoulli(sigmoid(l_i)), l the decoder's output (Kingma & Welling 2014, appendix C.1).

    >>> p = Bernoulli((2,), Domain("binary"))(torch.zeros(1, 1, 2))
    >>> p.log_prob(torch.tensor([[0.0, 1.0]])).exp()
    tensor([0.2500])
    """

    domains = ("binary",)

    def forward(self, parameters: Tensor) -> Distribution:
        (logits,) = self.split(parameters)
        return IndependentBernoulli(logits, len(self.event_shape))


class Binomial(Likelihood):
    """x_i ~ Binomial(levels - 1, sigmoid(l_i)): a pixel counts its dots, as in scikit-learn's digits."""

    domains = ("grey",)

    def forward(self, parameters: Tensor) -> Distribution:
        (logits,) = self.split(parameters)
        # For grey levels the domain's scale is levels - 1, already a tensor on the right device.
        return self.event(distributions.Binomial(self.scale, logits=logits, validate_args=False))


class ContinuousBernoulli(Likelihood):
    """x_i in the unit interval ~ CB(sigmoid(l_i)), density c(p) p^x (1-p)^(1-x) (Loaiza-Ganem & Cunningham 2019)."""

    domains = ("unit",)

    def forward(self, parameters: Tensor) -> Distribution:
        (logits,) = self.split(parameters)
        return self.event(Scaled(TiltedUniform(logits), self.location, self.scale))


class _AnyNormal(Likelihood):
    domains = ("real", "positive", "unit")

    def normal(self, loc: Tensor, scale: Tensor) -> Distribution:
        """A normal given in scaled units, as one in the data's units."""
        loc, scale = self.location + self.scale * loc, (self.scale * scale).expand_as(loc)
        return self.event(distributions.Normal(loc, scale, validate_args=False))


class FixedNormal(_AnyNormal):
    """x_i ~ N(m_i, sigma²), sigma given, in units of the domain's scale; m the decoder's output."""

    sigma: Tensor

    def __init__(self, event_shape: Sequence[int], domain: Domain, sigma: float = 1.0) -> None:
        super().__init__(event_shape, domain)
        if not sigma > 0:
            raise ValueError(f"sigma must be above 0, got {sigma}")
        self.register_buffer("sigma", torch.tensor(float(sigma)), persistent=False)

    def forward(self, parameters: Tensor) -> Distribution:
        (loc,) = self.split(parameters)
        return self.normal(loc, self.sigma)


class GlobalNormal(_AnyNormal):
    """x_i ~ N(m_i, sigma²) with one learned sigma for all (Rybkin et al. 2021), m the decoder's output."""

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_variance_clamp: tuple[float, float] = (-14.0, 10.0)
    ) -> None:
        super().__init__(event_shape, domain)
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, parameters: Tensor) -> Distribution:
        (loc,) = self.split(parameters)
        return self.normal(loc, (0.5 * self.log_variance.clamp(*self.clamp)).exp())


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
        return self.normal(loc, (0.5 * log_variance.clamp(*self.clamp)).exp())


class LevelsCategorical(Likelihood):
    """x_i ~ Categorical over the levels, a free probability each (van den Oord et al. 2016), logits by the decoder."""

    domains = ("grey", "categorical")

    def __init__(self, event_shape: Sequence[int], domain: Domain) -> None:
        super().__init__(event_shape, domain, parameters=domain.levels or 0)

    def forward(self, parameters: Tensor) -> Distribution:
        return self.event(Levels(logits=parameters.movedim(-1 - len(self.event_shape), -1)))


class LevelsLogistic(Likelihood):
    """x_i ~ the discretised logistic of Kingma et al. 2016, appendix C.1: location and log-scale of each element."""

    domains = ("grey",)

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_scale_clamp: tuple[float, float] = (-7.0, 3.0)
    ) -> None:
        super().__init__(event_shape, domain, parameters=2)
        self.clamp, self.levels = checked_clamp("log_scale_clamp", log_scale_clamp), domain.levels or 0

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_scale = self.split(parameters)
        # A zero output is the middle level with a scale of a seventh of the range: a start that gives every level some
        # mass.
        loc = (0.5 + loc) * self.scale
        return self.event(DiscretizedLogistic(loc, (log_scale - 2).clamp(*self.clamp).exp() * self.scale, self.levels))


class _AnyCount(Likelihood):
    domains = ("count",)

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_mean_clamp: tuple[float, float] = (-12.0, 12.0)
    ) -> None:
        super().__init__(event_shape, domain)
        self.clamp = checked_clamp("log_mean_clamp", log_mean_clamp)

    def log_mean(self, parameters: Tensor) -> Tensor:
        """The log of the mean of each element, in the data's units."""
        (log_mean,) = self.split(parameters)
        return log_mean.clamp(*self.clamp) + self.scale.log()


class Poisson(_AnyCount):
    """x_i ~ Poisson(m_i), the mean m_i = exp(l_i) times the domain's scale, l the decoder's output.

    >>> Poisson((2,), Domain("count", scale=3.0))(torch.zeros(1, 1, 2)).mean
    tensor([[3., 3.]])
    """

    def forward(self, parameters: Tensor) -> Distribution:
        return self.event(distributions.Poisson(self.log_mean(parameters).exp(), validate_args=False))


class NegativeBinomial(_AnyCount):
    """x_i ~ NB(m_i, theta_i) of variance m_i + m_i² / theta_i, a theta_i learned for each element (Lopez et al. 2018).

    The mean m_i is that of `Poisson`, which this becomes where theta is large.
    """

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, log_mean_clamp: tuple[float, float] = (-12.0, 12.0)
    ) -> None:
        super().__init__(event_shape, domain, log_mean_clamp)
        self.log_theta = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, parameters: Tensor) -> Distribution:
        # With a larger theta float32 loses the log-mass among log-gammas; with a smaller one nearly all mass is at 0.
        log_theta = self.log_theta.clamp(-7, 7)
        logits = self.log_mean(parameters) - log_theta
        return self.event(distributions.NegativeBinomial(log_theta.exp(), logits=logits, validate_args=False))


LIKELIHOODS: dict[str, Callable[..., nn.Module]] = {
    "bernoulli": Bernoulli,
    "discretized-logistic": LevelsLogistic,
    "binomial": Binomial,
    "continuous-bernoulli": ContinuousBernoulli,
    "normal": Normal,
    "normal-global": GlobalNormal,
    "normal-fixed": FixedNormal,
    "categorical": LevelsCategorical,
    "poisson": Poisson,
    "negative-binomial": NegativeBinomial,
}


def check_domain(table: Mapping[str, Callable[..., nn.Module]], name: str, domain: Domain) -> None:
    """Raise `ValueError` when the likelihood called `name` in `table` is no density of `domain`."""
    if name not in table:
        raise ValueError(unknown("likelihood", name, table))
    domains = getattr(table[name], "domains", None)
    if domains is None:
        raise TypeError(f"likelihood {name!r} declares no `domains`, the kinds of data that it is a density of")
    if domain.kind not in domains:
        fits = [other for other, part in table.items() if domain.kind in getattr(part, "domains", ())]
        binarize = f"; or binarise them: {setting('data.binarize', 'stochastic')}"
        treat = {"grey": f"{binarize}, or {setting('data.dequantize', True)}", "unit": binarize}.get(domain.kind, "")
        raise ValueError(
            f"likelihood {name!r} is a density of {' or '.join(domains)} data, but the data are {domain}; "
            f"what fits: {', '.join(fits) or 'none of those named'}{treat}"
        )
