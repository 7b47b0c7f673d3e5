"""The wrapped normal of hyperbolic space, in normal coordinates: z is a direction, and how far to go in it from 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from .counts import wide
from .shapes import OfNoise, _Shape, broadcast_shapes

NEAR = 1e-4
"""Squares below which a function of them is two terms of its series."""


def moved(a: Tensor, b: Tensor) -> Tensor:
    """The point of the hyperbolic space of curvature -1 whose coordinates around a (…, D) are b (…, D), around 0.

    Möbius addition (Ungar 2008; Mathieu et al. 2019, appendix A) of the points tanh(|a| / 2) a / |a| and likewise b of
    the Poincaré ball, in the coordinates of `WrappedNormal`. `moved(-a, moved(a, b))` is b.

    >>> moved(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]))  # along one line lengths add up
    tensor([3., 0.])
    """
    p, q = _in_ball(a), _in_ball(b)
    of_p, of_q = _to_edge(a), _to_edge(b)
    both = p + q
    square = both.square().sum(-1, keepdim=True)
    # As sums of what is not negative: near the edge of the ball the usual ones cancel.
    found = (square * p + of_p * both) / (square + of_p * of_q)
    return found * _stretch(square / (of_p * of_q))


def log_volume(z: Tensor) -> Tensor:
    """log(sinh(r) / r) of r = |z|, z (…, D): how much wider than in flat space a ring is at that distance, (…)."""
    square = z.square().sum(-1)
    r = square.clamp(min=NEAR).sqrt()
    far = r + torch.log1p(-(-2 * r).exp()) - math.log(2) - r.log()
    return torch.where(square < NEAR, square / 6 - square.square() / 180, far)


def _in_ball(z: Tensor) -> Tensor:
    """tanh(r / 2) z / r of r = |z|."""
    square = z.square().sum(-1, keepdim=True)
    r = square.clamp(min=NEAR).sqrt()
    return z * torch.where(square < NEAR, 0.5 - square / 24 + square.square() / 240, (0.5 * r).tanh() / r)


def _to_edge(z: Tensor) -> Tensor:
    """1 - tanh(r / 2)² of r = |z|, which is 1 / cosh(r / 2)²; (…, 1)."""
    square = z.square().sum(-1, keepdim=True)
    r = square.clamp(min=NEAR).sqrt()
    return torch.where(square < NEAR, 1 - square / 4 + square.square() / 24, 4 * r.sigmoid() * (-r).sigmoid())


def _stretch(t: Tensor) -> Tensor:
    """r / tanh(r / 2) of t = sinh(r / 2)²."""
    root = t.clamp(min=NEAR).sqrt()
    half = (root + (1 + root.square()).sqrt()).log()
    return torch.where(t < NEAR, 2 + 2 * t / 3 - 4 * t.square() / 15, 2 * half * (1 + root.square()).sqrt() / root)


class WrappedNormal(OfNoise):
    """N(0, diag(scale²)) at the tangent of a point of hyperbolic space, laid on the space along its straight lines
    (Nagano et al. 2019; Mathieu et al. 2019, section 3.1).

    The space has curvature -c; its points are in normal coordinates: z (…, D) is |z| away from 0, in the direction of
    z, which in the Poincaré ball is the point tanh(sqrt(c) |z| / 2) z / (sqrt(c) |z|). The distribution is around the
    point `loc` (…, D). Its density is of these coordinates, numbers of all sizes, so that any prior of numbers goes
    with it; N(0, I) is the wrapped normal around 0. A number at distance r from 0 stands for sinh(r) / r times as much
    space across: far out draws spread along the direction, not across it.

    `center`, `loc`, stands for it; of its mean and variance no closed form is known.

    >>> q = WrappedNormal(torch.zeros(2), torch.ones(2))  # around 0 a normal
    >>> q.log_prob(torch.ones(2)) + 1 + math.log(2 * math.pi)
    tensor(0.)
    """

    support = constraints.real_vector

    def __init__(self, loc: Tensor, scale: Tensor, curvature: float = 1.0) -> None:
        self.loc, self.scale, self.curvature, self.like = loc, scale, curvature, loc
        self.root = math.sqrt(curvature)
        batch = broadcast_shapes(loc.shape, scale.shape)[:-1]
        super().__init__(batch, loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> WrappedNormal:
        loc, scale = (each.expand(*batch_shape, -1) for each in (self.loc, self.scale))
        return WrappedNormal(loc, scale, self.curvature)

    @property
    def center(self) -> Tensor:
        return self.loc.expand(*self.batch_shape, -1)

    def from_noise(self, noise: Tensor) -> Tensor:
        """The draw (…, D) that standard normal noise (…, D) makes."""
        around = wide(self.scale) * wide(noise)
        return (moved(self.root * wide(self.loc), self.root * around) / self.root).to(self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        z = self.root * wide(value)
        around = moved(-self.root * wide(self.loc), z)
        scale = wide(self.scale)
        standard = around / (self.root * scale)
        log_normal = -0.5 * standard.square() - scale.log() - 0.5 * math.log(2 * math.pi)
        across = (self.event_shape[0] - 1) * (log_volume(z) - log_volume(around))
        return (log_normal.sum(-1) + across).to(self.loc.dtype)
