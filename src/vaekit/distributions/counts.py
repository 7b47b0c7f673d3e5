"""Distributions of counts, whose log-masses keep their digits for counts of billions and any dispersion.

What of a log-mass depends on the data alone is large and nearly cancels what depends on the parameters: at a count of
1e6 float32 is off by a nat. So they compute in float64 (where the device has it) and give their results in the type of
the parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid, softplus

from .shapes import _Shape, broadcast_shapes

SERIES = 16.0
"""Above this Stirling's series has all digits of float64."""
SINGLE = 1024
"""Trials of a binomial up to which float32 keeps its log-masses to 1e-4 nats."""


def wide(values: Tensor) -> Tensor:
    """`values` in float64, or as they are on a device without it."""
    return values if values.device.type == "mps" else values.double()


def log_factorial_rest(t: Tensor) -> Tensor:
    """log Gamma(t + 1) - t log t + t, of t at least 0: what grows like log t alone, and is 0 at 0.

    >>> log_factorial_rest(torch.tensor([0.0, 1.0, 1e12])).tolist()
    [0.0, 1.0, 14.734449386596680]
    """
    small, large = t.clamp(max=SERIES), t.clamp(min=SERIES)
    inverse = 1 / large
    square = inverse.square()
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    direct = torch.lgamma(small + 1) - torch.xlogy(small, small) + small
    return torch.where(t < SERIES, direct, 0.5 * (2 * math.pi * large).log() + series)


class _Counts(Distribution):
    """What distributions of counts share: `kind`, the type of their log-probabilities, and `drawn`, that of their draws
    and moments, which may need more digits.
    """

    arg_constraints = {}
    support = constraints.nonnegative_integer

    def __init__(self, batch_shape: torch.Size, kind: torch.dtype, drawn: torch.dtype | None = None) -> None:
        self.kind, self.drawn = kind, drawn or kind
        super().__init__(batch_shape, validate_args=False)

    def wide_log_prob(self, value: Tensor) -> Tensor:
        """log p(value), not yet in the type of the values."""
        raise NotImplementedError

    def log_prob(self, value: Tensor) -> Tensor:
        return self.wide_log_prob(wide(value)).to(self.kind)


class PoissonCounts(_Counts):
    """Poisson of a mean m given by its logarithm (…): log p(x) = x log m - m - log x!

    Torch's, right at large counts, and from log m.

    >>> PoissonCounts(torch.tensor(1e7).log()).log_prob(torch.tensor(1e7))
    tensor(-8.9780)
    """

    def __init__(self, log_mean: Tensor, kind: torch.dtype | None = None, drawn: torch.dtype | None = None) -> None:
        self.log_mean = wide(log_mean)
        super().__init__(log_mean.shape, kind or log_mean.dtype, drawn)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> PoissonCounts:
        return PoissonCounts(self.log_mean.expand(batch_shape), self.kind, self.drawn)

    @property
    def mean(self) -> Tensor:
        return self.log_mean.exp().to(self.drawn)

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            return torch.poisson(self.log_mean.exp().expand(shape)).to(self.drawn)

    def wide_log_prob(self, value: Tensor) -> Tensor:
        return value * self.log_mean - self.log_mean.exp() - torch.lgamma(value + 1)


class NegativeBinomialCounts(_Counts):
    """Negative binomial of mean m and variance m + m² / theta, both given by their logarithms (…).

    log p(x) = (x + theta) log((x + theta) / (m + theta)) - x log(x / m) - log(1 + x / theta) + r(x + theta) - r(theta)
    - r(x), with r of `log_factorial_rest`: no term of it grows with theta, as the log-gammas of the usual form do.

    >>> p = NegativeBinomialCounts(torch.tensor(1e8).log(), torch.tensor(5.0))
    >>> p.log_prob(torch.tensor(1e8))
    tensor(-16.8402)
    """

    def __init__(
        self,
        log_mean: Tensor,
        log_theta: Tensor,
        kind: torch.dtype | None = None,
        drawn: torch.dtype | None = None,
    ) -> None:
        self.log_mean, self.log_theta = wide(log_mean), wide(log_theta)
        super().__init__(broadcast_shapes(log_mean.shape, log_theta.shape), kind or log_mean.dtype, drawn)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> NegativeBinomialCounts:
        log_mean, log_theta = self.log_mean.expand(batch_shape), self.log_theta.expand(batch_shape)
        return NegativeBinomialCounts(log_mean, log_theta, self.kind, self.drawn)

    @property
    def mean(self) -> Tensor:
        return self.log_mean.exp().expand(self.batch_shape).to(self.drawn)

    @property
    def variance(self) -> Tensor:
        return (self.log_mean.exp() + (2 * self.log_mean - self.log_theta).exp()).to(self.drawn)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            theta = self.log_theta.exp().expand(shape)
            # A Poisson whose mean is a gamma of mean m.
            rate = torch._standard_gamma(theta) * (self.log_mean - self.log_theta).exp()
            return torch.poisson(rate).to(self.drawn)

    def wide_log_prob(self, value: Tensor) -> Tensor:
        theta = self.log_theta.exp()
        both = value + theta
        # Of the data and theta alone: small, and the same for all samples of z.
        ratio = torch.log1p(value / theta)
        given = both * ratio - ratio - torch.xlogy(value, value)
        given = given + log_factorial_rest(both) - log_factorial_rest(theta) - log_factorial_rest(value)
        return value * self.log_mean - both * softplus(self.log_mean - self.log_theta, threshold=40) + given


class BinomialCounts(_Counts):
    """Binomial of so many `trials`, each with the probability sigmoid(l), l the logits (…).

    Torch's, right at many trials and at any l. It computes in the type of the logits up to 1,024 trials, where the
    logarithms of the binomial coefficients (trials + 1) may be given, as `log_choices` has them.

    >>> BinomialCounts(torch.tensor(0.0), 2).log_prob(torch.arange(3.0)).exp()
    tensor([0.2500, 0.5000, 0.2500])
    """

    def __init__(self, logits: Tensor, trials: int, log_choices: Tensor | None = None) -> None:
        self.logits, self.trials, self.log_choices = logits, trials, log_choices
        super().__init__(logits.shape, logits.dtype)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> BinomialCounts:
        return BinomialCounts(self.logits.expand(batch_shape), self.trials, self.log_choices)

    @property
    def support(self) -> constraints.Constraint:  # type: ignore[override]
        return constraints.integer_interval(0, self.trials)

    @property
    def mean(self) -> Tensor:
        return self.trials * self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        return self.trials * self.logits.sigmoid() * (-self.logits).sigmoid()

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            logits = wide(self.logits).expand(self._extended_shape(torch.Size(sample_shape)))
            # Of the rarer of the two, whose probability has all its digits.
            rarer = torch.binomial(torch.full_like(logits, self.trials), (-logits.abs()).sigmoid())
            return torch.where(logits > 0, self.trials - rarer, rarer).to(self.kind)

    def log_prob(self, value: Tensor) -> Tensor:
        if self.log_choices is None or self.trials > SINGLE:
            return super().log_prob(value)
        return self._log_prob(self.logits, value, self.log_choices[value.long()])

    def wide_log_prob(self, value: Tensor) -> Tensor:
        return self._log_prob(wide(self.logits), value, log_choices(value, self.trials))

    def _log_prob(self, logits: Tensor, value: Tensor, log_choices: Tensor) -> Tensor:
        # x l - n softplus(l), as a sum of terms none of which cancels another at large l.
        misses = value - self.trials * (logits > 0)
        return misses * logits - self.trials * torch.log1p((-logits.abs()).exp()) + log_choices


def log_choices(value: Tensor, trials: int) -> Tensor:
    """The logarithm of the number of ways to choose so many (…) of `trials`."""
    whole = value.new_full((), trials + 1)
    return torch.lgamma(whole) - torch.lgamma(value + 1) - torch.lgamma(whole - value)


def log_orders(value: Tensor) -> Tensor:
    """The logarithm of the number of orders that so many things of each kind (…, V) may stand in: n! / prod x_i!, (…).

    >>> log_orders(torch.tensor([2.0, 1.0])).exp()
    tensor(3.)
    """
    return torch.lgamma(value.sum(-1) + 1) - torch.lgamma(value + 1).sum(-1)


class ZeroInflated(_Counts):
    """Zero with the probability sigmoid(l) of logits l (…), and else as `base`, distributions of counts (…).

    >>> ZeroInflated(PoissonCounts(torch.tensor(0.0)), torch.tensor(0.0)).log_prob(torch.tensor(0.0)).exp()
    tensor(0.6839)
    """

    def __init__(self, base: _Counts, logits: Tensor) -> None:
        shape = broadcast_shapes(base.batch_shape, logits.shape)
        self.base = base if base.batch_shape == shape else base.expand(shape)
        self.logits = wide(logits)
        super().__init__(shape, base.kind, base.drawn)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> ZeroInflated:
        return ZeroInflated(self.base.expand(batch_shape), self.logits.expand(batch_shape))

    @property
    def mean(self) -> Tensor:
        return (-self.logits).sigmoid().to(self.drawn) * self.base.mean

    @property
    def variance(self) -> Tensor:
        zero, other = (sign * self.logits.to(self.drawn) for sign in (1, -1))
        return other.sigmoid() * (self.base.variance + zero.sigmoid() * self.base.mean.square())

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        drawn = self.base.sample(torch.Size(sample_shape))
        with torch.no_grad():
            return drawn.masked_fill(torch.rand_like(drawn, dtype=self.logits.dtype) < self.logits.sigmoid(), 0.0)

    def wide_log_prob(self, value: Tensor) -> Tensor:
        log_prob = self.base.wide_log_prob(value)
        # log(sigmoid(l) + sigmoid(-l) p(0)) at zero, each with log sigmoid(-l) taken out.
        at_zero = log_prob + softplus(self.logits - log_prob, threshold=40)
        return torch.where(value == 0, at_zero, log_prob) + logsigmoid(-self.logits)
