"""Likelihoods of 0 and 1, of grey levels and of categories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data.domains import Domain
from ..distributions.bernoulli import IndependentBernoulli
from ..distributions.bounds import bounded, checked_clamp
from ..distributions.counts import SINGLE, BinomialCounts, log_choices
from ..distributions.levels import Categories, DiscretizedLogistic, Levels
from .base import Likelihood


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

    def __init__(self, event_shape: Sequence[int], domain: Domain) -> None:
        super().__init__(event_shape, domain)
        self.trials = (domain.levels or 1) - 1
        table = None
        if self.trials <= SINGLE:
            choices = log_choices(torch.arange(self.trials + 1, dtype=torch.float64), self.trials)
            table = choices.to(torch.get_default_dtype())
        self.register_buffer("log_choices", table, persistent=False)

    def forward(self, parameters: Tensor) -> Distribution:
        (logits,) = self.split(parameters)
        return self.event(BinomialCounts(logits, self.trials, self.log_choices))  # type: ignore[arg-type]


class LevelsCategorical(Likelihood):
    """x_i ~ Categorical over the levels, a free probability each (van den Oord et al. 2016), logits by the decoder."""

    domains = ("grey", "categorical")

    def __init__(self, event_shape: Sequence[int], domain: Domain) -> None:
        super().__init__(event_shape, domain, parameters=domain.levels or 0)

    def forward(self, parameters: Tensor) -> Distribution:
        kind = Categories if self.domain.kind == "categorical" else Levels
        return self.event(kind(logits=parameters.movedim(-1 - len(self.event_shape), -1)))


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
        loc, scale = (0.5 + loc) * self.scale, bounded(log_scale - 2, *self.clamp).exp() * self.scale
        return self.event(DiscretizedLogistic(loc, scale, self.levels))
