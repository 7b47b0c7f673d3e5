"""Densities of positive numbers, of the unit interval and of heavy tails, that hold in float32 and in their tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Beta, Distribution, Gamma, StudentT, constraints

from .counts import log_factorial_rest, wide
from .shapes import _Shape, broadcast_shapes

STEEP = 30.0
"""Beyond exp(this) the survival of a Weibull is 0 in any float type."""
FAR = 1e3
"""Standard deviations beyond which a normal's tail is an exponential to six digits of its mean."""
NEWTON = 8
"""Steps that invert a normal's tail to the last digit of float64."""


class GammaOfMean(Gamma):
    """Gamma of shape k and the given mean m (…): torch's, right where k is large.

    log p(x) = log k - r(k) - k (x / m - 1 - log(x / m)) - log x, with r of `log_factorial_rest`.

    >>> GammaOfMean(torch.tensor(1.0), torch.tensor(2.0)).log_prob(torch.tensor(2.0)).exp()  # exp(-x / 2) / 2
    tensor(0.1839)
    """

    def __init__(self, shape: Tensor, mean: Tensor) -> None:
        super().__init__(shape, shape / mean, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: object = None) -> GammaOfMean:
        shape = self.concentration.expand(torch.Size(batch_shape))
        return GammaOfMean(shape, shape / self.rate)

    def log_prob(self, value: Tensor) -> Tensor:
        shape = self.concentration
        ratio = (value * self.rate / shape).clamp(min=torch.finfo(value.dtype).tiny)
        return shape.log() - log_factorial_rest(shape) - shape * (ratio - 1 - ratio.log()) - value.log()


class SteepWeibull(Distribution):
    """Weibull of the logarithms of its scale and of its shape k (…): log p(x) = log k + k t - exp(k t) - log x, with
    t = log(x / scale).

    Torch's, finite wherever a decoder's output may lead: beyond k t = 30, where nothing is left of the mass, exp(k t)
    goes on as its tangent.

    >>> SteepWeibull(torch.tensor(0.0), torch.tensor(0.0)).log_prob(torch.tensor(2.0))  # exp(-x)
    tensor(-2.)
    """

    arg_constraints = {}
    support = constraints.positive

    def __init__(self, log_scale: Tensor, log_shape: Tensor) -> None:
        self.log_scale, self.log_shape = log_scale, log_shape
        super().__init__(broadcast_shapes(log_scale.shape, log_shape.shape), validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> SteepWeibull:
        return SteepWeibull(self.log_scale.expand(batch_shape), self.log_shape.expand(batch_shape))

    def _moment(self, power: int) -> Tensor:
        return (power * self.log_scale + torch.lgamma(1 + power * (-self.log_shape).exp())).exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self._moment(1).square()

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            exponential = torch.empty(shape, dtype=self.log_scale.dtype, device=self.log_scale.device).exponential_()
            return (self.log_scale + exponential.log() * (-self.log_shape).exp()).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        log_value = value.log()
        power = self.log_shape.exp() * (log_value - self.log_scale)
        steep = power.clamp(max=STEEP).exp() * (1 + (power - STEEP).clamp(min=0))
        return self.log_shape + power - steep - log_value


class OpenBeta(Beta):
    """Beta of concentrations a and b (…), for values between 0 and 1 and neither, also where rounding reaches them.

    >>> OpenBeta(torch.tensor(2.0), torch.tensor(1.0)).log_prob(torch.tensor(0.25)).exp()  # 2 x
    tensor(0.5000)
    """

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b = a, b
        super().__init__(a, b, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: object = None) -> OpenBeta:
        return OpenBeta(self.a.expand(torch.Size(batch_shape)), self.b.expand(torch.Size(batch_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        info = torch.finfo(value.dtype)
        value = value.clamp(info.tiny, 1 - info.eps / 2)
        log_beta = torch.lgamma(self.a) + torch.lgamma(self.b) - torch.lgamma(self.a + self.b)
        return (self.a - 1) * value.log() + (self.b - 1) * torch.log1p(-value) - log_beta


class HeavyTailed(StudentT):
    """Student's t of `df` degrees of freedom, location and scale: torch's, whose normaliser is computed for each of
    `df` once, not for each value.

    >>> HeavyTailed(torch.tensor(3.0), torch.zeros(2), torch.ones(2)).log_prob(torch.zeros(2)).exp()
    tensor([0.3676, 0.3676])
    """

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor) -> None:
        self.own_df = df
        super().__init__(df, loc, scale, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: object = None) -> HeavyTailed:
        shape = torch.Size(batch_shape)
        return HeavyTailed(self.own_df, self.loc.expand(shape), self.scale.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        df = wide(self.own_df)
        log_norm = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * (math.pi * df).log()
        far = torch.log1p(((value - self.loc) / self.scale).square() / self.own_df)
        return log_norm.to(self.own_df.dtype) - self.scale.log() - (self.own_df + 1) / 2 * far


class NormalWithin(Distribution):
    """N(loc, scale²) within 0..`width` (…), an endless one for the half-line; values are from 0.

    Turned so that loc is in the lower half, with a = -loc / scale and b = (width - loc) / scale,
    log p(x) = -(x / scale) (a + x / (2 scale)) - log scale - log(mass / density(a)): no difference of squares, however
    far loc lies outside.

    >>> p = NormalWithin(torch.tensor(-50.0), torch.tensor(1.0))  # nearly exponential
    >>> p.log_prob(torch.tensor([0.0, 0.02])).exp()
    tensor([50.0200, 18.3976])
    """

    arg_constraints = {}
    support = constraints.nonnegative

    def __init__(self, loc: Tensor, scale: Tensor, width: float = math.inf) -> None:
        self.loc, self.scale, self.width = loc, scale, width
        super().__init__(broadcast_shapes(loc.shape, scale.shape), validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> NormalWithin:
        return NormalWithin(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.width)

    def _turned(self) -> tuple[Tensor, Tensor, Tensor]:
        """Whether it is turned round, and then its a, and what b is more than that."""
        turned = self.loc > self.width / 2
        a = torch.where(turned, self.loc - self.width, -self.loc) / self.scale if self.ends else -self.loc / self.scale
        return turned, a, self.width / self.scale

    @property
    def ends(self) -> bool:
        """Whether it has an upper end."""
        return math.isfinite(self.width)

    def _log_mass(self, a: Tensor, length: Tensor) -> Tensor:
        """log of the mass over the density at a of the standard normal between a and a + length; a above -length / 2.

        Where a is below 0 the mass is a sum of two error functions of positive numbers, else a difference of scaled
        complementary ones.
        """
        root, inside = math.sqrt(0.5), a < 0
        left, right = a.clamp(max=0), a.clamp(min=0)
        upper = torch.erf((left + length) * root) if self.ends else torch.ones_like(a)
        near = (0.5 * (upper - torch.erf(left * root))).log() + 0.5 * left.square() + 0.5 * math.log(2 * math.pi)
        rest = torch.special.erfcx(right * root)
        if self.ends:
            fall = length * (right + 0.5 * length)
            rest = rest - torch.special.erfcx((right + length) * root) * (-fall).exp()
        return torch.where(inside, near, (math.sqrt(math.pi / 2) * rest).log())

    @property
    def mean(self) -> Tensor:
        turned, a, length = self._turned()
        a, length = wide(a), wide(length)
        # The mean of t - a is (density(a) - density(b)) / mass - a, whose terms cancel far out, where it is that of an
        # exponential.
        inverse, out = (-self._log_mass(a, length)).exp(), a.clamp(min=FAR)
        over, exponential = inverse, (1 - 2 / out.square()) / out
        if self.ends:
            over = inverse * -torch.expm1(-length * (a + 0.5 * length))
            exponential = exponential - length / torch.expm1(length * out)
        mean = torch.where(a > FAR, exponential, over - a) * wide(self.scale)
        mean = (torch.where(turned, self.width - mean, mean) if self.ends else mean).clamp(0, self.width)
        return mean.to(self.loc.dtype)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            turned, a, length = self._turned()
            a = wide(a).expand(shape)
            length = wide(length).expand(shape)
            u = torch.rand(shape, dtype=a.dtype, device=a.device)
            root, inside = math.sqrt(0.5), a < 0
            left, right = a.clamp(max=0), a.clamp(min=0)
            below, above = torch.special.ndtr(left), torch.special.ndtr(left + length)
            near = torch.special.ndtri(below + u * (above - below)) - left
            # Out in the tail: Newton's steps to the w whose log-survival, less that of a, is that of u.
            left_of_it = torch.special.erfcx((right + length) * root) * (-length * (right + 0.5 * length)).exp()
            at = torch.special.erfcx(right * root)
            share = torch.log1p(-u * (1 - left_of_it / at)) if self.ends else torch.log1p(-u)
            w = torch.zeros_like(a)
            for _ in range(NEWTON):
                tail = torch.special.erfcx((right + w) * root)
                excess = (tail / at).log() - w * (right + 0.5 * w) - share
                w = w + excess * tail * math.sqrt(math.pi / 2)
            x = (torch.where(inside, near, w) * wide(self.scale)).clamp(0, self.width)
            return (torch.where(turned, self.width - x, x) if self.ends else x).to(self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        turned, a, length = self._turned()
        if self.ends:
            value = torch.where(turned, self.width - value, value)
        far = value / self.scale
        return -far * (a + 0.5 * far) - self.scale.log() - self._log_mass(a, length)
