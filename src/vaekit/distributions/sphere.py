"""Distributions on the unit sphere: von Mises and Fisher's, and the uniform one."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property
from torch.nn.functional import logsigmoid, normalize

from .counts import wide
from .noise import uniform
from .quadrature import nodes_like
from .shapes import OfNoise, _Shape, broadcast_shapes

UNIT_SPHERE = "the unit sphere"
"""What the posterior and the prior of points on it state as their `space`."""
CELLS, NODES = 24, 8
"""Cells of the curve along the axis, and nodes of a Gauss-Legendre rule in each."""
REACH, BEND = 9.0, 0.5
"""The curve goes from -REACH to REACH, in units of its width near the peak; further out a unit grows by exp(BEND)."""
NEWTON = 4
"""Steps from an exponential through a cell to the last digits of float64."""
STEEP, FLAT = 30.0, 1e-4
"""Of such an exponential, by how much its logarithm changes at most, and at least."""


class OnSphere(constraints.Constraint):
    """Vectors of length 1."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value.norm(dim=-1) - 1).abs() < 1e-4


SPHERE = OnSphere()


def log_area(size: int) -> float:
    """log of the area of the unit sphere of vectors of `size` numbers, log(2 pi^(D/2) / Gamma(D/2)).

    >>> math.exp(log_area(2)), math.exp(log_area(3))  # 2 pi, 4 pi
    (6.283185, 12.566371)
    """
    return math.log(2) + 0.5 * size * math.log(math.pi) - math.lgamma(0.5 * size)


def check_size(latent: int) -> None:
    """`ValueError` unless vectors of that size are on a sphere with more than two points."""
    if latent < 2:
        raise ValueError(f"a sphere is of latents of size 2 or more, got {latent}")


class Along:
    """The law of w = m · z of von Mises and Fisher's distribution, by quadrature: of concentration k (…), n = D - 1.

    p(w) is proportional to (1 - w²)^((n - 2)/2) exp(k w). In t, w = tanh t, it is exp(k tanh t - n log cosh t), which
    is smooth, has one peak and falls at least as fast as exp(-n |t|); t is a hyperbolic sine of x, in which it falls
    faster than any exponential, so that a few cells hold all of it to ten digits. Normaliser, mean, the
    distribution function's inverse and how a draw moves with k come from the same cells; in float64 where the device
    has it.
    """

    cell = 2 * REACH / CELLS

    def __init__(self, concentration: Tensor, size: int) -> None:
        self.k, self.n = wide(concentration), size - 1
        # Where the peak is and how wide: of no gradient, since no integral depends on where it is looked at.
        k, n = self.k.detach(), self.n
        peak = 2 * k / (n + (n * n + 4 * k * k).sqrt())
        odds = k * peak / n
        self.place = odds.sqrt().asinh()
        self.width = ((1 + odds) / (2 * k * peak + n)).sqrt()
        nodes, weights = nodes_like(NODES, k)
        edges = torch.arange(CELLS, dtype=k.dtype, device=k.device) * self.cell - REACH
        x = edges.unsqueeze(-1) + self.cell * nodes
        self.t, log_slope = self._at(x, 2)
        terms = self._log_density(self.t, self.k[..., None, None]) + log_slope + (self.cell * weights).log()
        flat = terms.flatten(-2)
        self.log_total = flat.logsumexp(-1)
        """log of the integral of exp(k (w - 1)) (1 - w²)^((n - 2)/2), (…)."""
        self.share = (flat - self.log_total.unsqueeze(-1)).exp()
        short = self._short(self.t).flatten(-2)
        self.mean_short = (self.share * short).sum(-1)
        """E[w] - 1, (…)."""
        self.spread = (self.share * (short - self.mean_short.unsqueeze(-1)).square()).sum(-1)
        """The variance of w, (…)."""

    def _at(self, x: Tensor, beside: int) -> tuple[Tensor, Tensor]:
        """t at x, and the logarithm of its slope; `beside` dimensions of x come after those of the batch."""
        place, width = (each[(..., *[None] * beside)] for each in (self.place, self.width))
        return place + width * ((BEND * x).sinh() / BEND), width.log() + (BEND * x).cosh().log()

    @staticmethod
    def _short(t: Tensor) -> Tensor:
        """w - 1, to all digits where w is nearly 1."""
        return -2 * (-2 * t).sigmoid()

    def _log_density(self, t: Tensor, k: Tensor) -> Tensor:
        """Not normalised, of t."""
        log_cosh = t.abs() - logsigmoid(2 * t.abs()) - math.log(2)
        return k * self._short(t) - self.n * log_cosh

    @torch.no_grad()
    def quantile(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """t below which there is the part u (S, …) of the mass, and dt/dk of that t: draws and their gradient.

        With F the distribution function, dt/dk = -(dF/dk) / p(t), and dF/dk is the integral of (w - E[w]) p up to t
        (Figurnov et al. 2018, eq. 5).
        """
        share = self.share.unflatten(-1, (CELLS, NODES))
        off = self._short(self.t) - self.mean_short[..., None, None]
        zero = torch.zeros_like(share[..., :1, 0])
        mass, moment = (torch.cat([zero, each.sum(-1).cumsum(-1)], -1) for each in (share, share * off))
        u = wide(u)
        cell = (u.unsqueeze(-1) > mass[..., 1:-1]).sum(-1, keepdim=True)
        lead = cell.shape[:-1]
        below, above, before = (
            each.expand(*lead, CELLS + 1).gather(-1, index).squeeze(-1)
            for each, index in ((mass, cell), (mass, cell + 1), (moment, cell))
        )
        start = cell.squeeze(-1) * self.cell - REACH
        nodes, weights = nodes_like(NODES, u)
        log_total, k = self.log_total.unsqueeze(-1), self.k.unsqueeze(-1)
        tiny = torch.finfo(u.dtype).tiny

        def density(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            t, log_slope = self._at(x, 1)
            return t, (self._log_density(t, k) + log_slope - log_total).exp(), log_slope

        # As if the density went along an exponential through the cell, which far out it nearly does.
        ends = torch.tensor([0.0, self.cell], dtype=u.dtype, device=u.device)
        first, last = density(start.unsqueeze(-1) + ends)[1].clamp(min=tiny).log().unbind(-1)
        growth = (last - first).clamp(-STEEP, STEEP)
        growth = torch.where(growth.abs() < FLAT, FLAT, growth)
        part = ((u - below) / (above - below).clamp(min=tiny)).clamp(0, 1)
        length = self.cell * torch.log1p(part * torch.expm1(growth)) / growth
        for _ in range(NEWTON):
            _, p, _ = density(start.unsqueeze(-1) + length.unsqueeze(-1) * nodes)
            _, at, _ = density((start + length).unsqueeze(-1))
            missing = u - below - length * (p * weights).sum(-1)
            step = missing / at.squeeze(-1).clamp(min=tiny)
            length = (length + step).clamp(0, self.cell)
        t, p, _ = density(start.unsqueeze(-1) + length.unsqueeze(-1) * nodes)
        off = self._short(t) - self.mean_short.unsqueeze(-1)
        moved = before + length * (p * off * weights).sum(-1)
        t, p, log_slope = (each.squeeze(-1) for each in density((start + length).unsqueeze(-1)))
        return t, -moved * log_slope.exp() / p.clamp(min=tiny)


class VonMisesFisher(OfNoise):
    """Density C_D(k) exp(k m · z) on the unit sphere, of direction m (…, D) of length 1 and concentration k (…) above
    0.

    C_D(k) = k^(D/2 - 1) / ((2 pi)^(D/2) I_(D/2 - 1)(k)) (Davidson et al. 2018, eq. 3). z = w m + sqrt(1 - w²) v, v
    uniform among directions across m. No draw is rejected: w is the inverse of its distribution function at a uniform
    number (`Along`), so that a draw is a function of D standard normal numbers, as many as it has itself. Its gradient
    is exact: in k by that function's derivative, in m by the rotation that takes m to where it moves.

    `center`, m, is the point that stands for it: its mean is inside of the sphere.

    >>> q = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(2.0))
    >>> q.log_prob(torch.tensor([0.0, 0.0, 1.0])).exp() * 2 * math.pi * (1 - math.exp(-4.0)) / 2
    tensor(1.)
    >>> bool((q.rsample((4,)).norm(dim=-1) - 1).abs().max() < 1e-6)
    True
    """

    support = SPHERE

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration, self.like = loc, concentration, loc
        batch = broadcast_shapes(loc.shape[:-1], concentration.shape)
        super().__init__(batch, loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> VonMisesFisher:
        shape = torch.Size(batch_shape)
        return VonMisesFisher(self.loc.expand(*shape, -1), self.concentration.expand(shape))

    @lazy_property
    def along(self) -> Along:
        """The law of m · z."""
        return Along(self.concentration, self.event_shape[0])

    @property
    def log_peak(self) -> Tensor:
        """log C_D(k) + k, the density at m, (…) nats."""
        found = -log_area(self.event_shape[0] - 1) - self.along.log_total
        return found.to(self.loc.dtype)

    @property
    def center(self) -> Tensor:
        return self.loc.expand(*self.batch_shape, -1)

    @property
    def mean(self) -> Tensor:
        return (1 + self.along.mean_short).to(self.loc.dtype).unsqueeze(-1) * self.loc

    def _spread(self) -> tuple[Tensor, Tensor]:
        """The variance of z along m, and across it in each of the D - 1 directions, (…)."""
        square = (1 + self.along.mean_short).square() + self.along.spread
        return self.along.spread, (1 - square) / (self.event_shape[0] - 1)

    @property
    def variance(self) -> Tensor:
        """Of each number of z, (…, D): Var[w] m² + (1 - E[w²]) (1 - m²) / (D - 1)."""
        (along, across), m2 = self._spread(), self.loc.square()
        return (along.unsqueeze(-1) * m2 + across.unsqueeze(-1) * (1 - m2)).to(self.loc.dtype)

    @property
    def covariance_matrix(self) -> Tensor:
        """(…, D, D), the same along any direction across m."""
        along, across = (each[..., None, None] for each in self._spread())
        one = torch.eye(self.event_shape[0], dtype=self.loc.dtype, device=self.loc.device)
        return (across * one + (along - across) * self.loc.unsqueeze(-1) * self.loc.unsqueeze(-2)).to(self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        # k (m · z - 1) as a square, which cancels nothing.
        return self.log_peak - 0.5 * self.concentration * (value - self.loc).square().sum(-1)

    def entropy(self) -> Tensor:
        along = self.along
        found = log_area(self.event_shape[0] - 1) + along.log_total - along.k * along.mean_short
        return found.to(self.loc.dtype).expand(self.batch_shape)

    def from_noise(self, noise: Tensor) -> Tensor:
        """The draw (…, D) that standard normal noise (…, D) makes."""
        noise = noise.to(self.loc)
        at, slope = self.along.quantile(uniform(noise[..., 0]))
        t = (at + slope * (self.along.k - self.along.k.detach())).to(self.loc.dtype)
        v = self._across(noise[..., 1:])
        # Where m moves, v turns with it: its value is what it is, across m.
        v = v - (v * self.loc).sum(-1, keepdim=True) * self.loc.detach()
        return t.tanh().unsqueeze(-1) * self.loc + v / t.cosh().unsqueeze(-1)

    @torch.no_grad()
    def _across(self, noise: Tensor) -> Tensor:
        """A direction across m of noise (…, D - 1): the reflection that takes the first axis to m takes it there."""
        first = torch.cat([torch.ones_like(self.loc[..., :1]), torch.zeros_like(self.loc[..., 1:])], -1)
        mirror = first - self.loc
        other = torch.cat([torch.zeros_like(noise[..., :1]), normalize(noise, dim=-1)], -1)
        length = mirror.square().sum(-1, keepdim=True).clamp(min=torch.finfo(noise.dtype).tiny)
        v = other - 2 * mirror * ((mirror * other).sum(-1, keepdim=True) / length)
        return normalize(v - (v * self.loc).sum(-1, keepdim=True) * self.loc, dim=-1)


class UniformOnSphere(OfNoise):
    """Every point of the unit sphere alike: `like` is a tensor (…, D), whose shape, type and device it has.

    >>> UniformOnSphere(torch.zeros(3)).log_prob(torch.tensor([0.0, 1.0, 0.0])).exp() * 4 * math.pi
    tensor(1.)
    """

    support = SPHERE

    def __init__(self, like: Tensor) -> None:
        self.like = like
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> UniformOnSphere:
        return UniformOnSphere(self.like.expand(*batch_shape, -1))

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self.like)

    @property
    def variance(self) -> Tensor:
        return torch.full_like(self.like, 1 / self.event_shape[0])

    def from_noise(self, noise: Tensor) -> Tensor:
        """The draw (…, D) that standard normal noise (…, D) makes: its direction."""
        return normalize(noise.to(self.like), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.full_like(value[..., 0], -log_area(self.event_shape[0]))
