"""Likelihoods of 0 and 1, of grey levels and of categories."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data.domains import Domain
from ..distributions.bernoulli import IndependentBernoulli
from ..distributions.bounds import bounded, checked_clamp
from ..distributions.counts import SINGLE, BinomialCounts
from ..distributions.discretized import DiscretizedLogisticMixture
from ..distributions.levels import Categories, DiscretizedLogistic, Levels
from ..errors import check_least
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
            table = torch.tensor([math.log(math.comb(self.trials, count)) for count in range(self.trials + 1)])
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


SPREAD = 0.2
"""The part of the range of levels that an output of 1 moves a component by, about the spread of pixels. By all of it
each step of the weights would shift images by dozens of levels.
"""
NEAR = 0.25
"""The part of the range that the components of a pixel of several channels begin in, around its middle. Over all of it
they would be as many kinds of brightness, of each pixel apart from those beside it, before z has said how bright it is.
"""


class LevelsLogisticMixture(Likelihood):
    """x_i ~ a mixture of discretised logistics, `components` of them for each pixel of an image (C, H, W), whose
    channels hang together (Salimans et al. 2017, eq. 1-3): they share the component, and the places of green and blue
    are moved by red, and that of blue by green, as it is. Components begin near the middle of the levels.

    Any number of channels will do; of one, and of data of other shapes, each element has a mixture of its own. The
    decoder gives for each pixel K logits, K C places, in fifths of the range from where they begin, K C log-scales
    and K C (C - 1) / 2 coefficients, of which tanh is taken: (P, H, W), else (3 K, *event_shape). Means are taken
    channel by channel, see `DiscretizedLogisticMixture`. Of a pixel with missing channels those must be the last.
    """

    domains = ("grey",)
    places: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        components: int = 10,
        log_scale_clamp: tuple[float, float] = (-7.0, 3.0),
    ) -> None:
        check_least("components", components)
        super().__init__(event_shape, domain, parameters=3 * components)
        self.clamp, self.levels = checked_clamp("log_scale_clamp", log_scale_clamp), domain.levels or 0
        self.components, channels = components, self.event_shape[0] if len(self.event_shape) == 3 else 1
        self.in_order = channels > 1
        if self.in_order:
            self.sizes = [components, *[components * channels] * 2, components * (channels * (channels - 1) // 2)]
            self.parameter_shape = (sum(self.sizes), *self.event_shape[1:])
        # Components that were all alike would stay so.
        places = (torch.arange(components) + 0.5) / components
        if self.in_order:
            places = 0.5 + NEAR * (places - 0.5)
        places = places * (self.levels - 1)
        self.register_buffer("places", places.view(-1, *[1] * len(self.event_shape)), persistent=False)

    def forward(self, parameters: Tensor) -> Distribution:
        dimensions, coefficients = len(self.event_shape), None
        top, place = self.levels - 1, -1 - dimensions
        if self.in_order:
            parts = parameters.split(self.sizes, -dimensions)
            logits, loc, log_scale, coefficients = (
                each.unflatten(-dimensions, (self.components, -1)) for each in parts
            )
            coefficients = coefficients.tanh()
        else:
            logits, loc, log_scale = parameters.unflatten(place, (3, -1)).unbind(place - 1)
        # As of one logistic, a zero output is a scale of a seventh of the range.
        least, greatest = (each + math.log(top) for each in self.clamp)
        scale = bounded(log_scale + (math.log(top) - 2), least, greatest).exp()
        loc = torch.add(self.places, loc, alpha=SPREAD * top)
        return DiscretizedLogisticMixture(logits, loc, scale, self.levels, dimensions, coefficients)
