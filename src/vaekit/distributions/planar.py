"""Planar flows: layers that move a vector along one direction, by how far it is along another."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from torch.nn.functional import softplus

NEWTON = 14
"""Steps from a bound of a root to its last digits, also where a layer's slope is a millionth."""
WHOLE = math.log(math.e - 1)
"""Of which softplus is 1."""


class PlanarTransform(Transform):
    """K layers z + u tanh(w · z + b), one after another (Rezende & Mohamed 2015, eq. 10): of `w` and `v` (…, K, D) and
    `b` (…, K).

    A layer can be inverted if w · u is above -1. So u is v, moved along w until w · u = softplus(w · v + c) - 1 (their
    appendix A.1); by c = log(e - 1), which is not theirs, no v is no u: the identity, at which a flow may start. The
    logarithm of a layer's slope is that of a sum of two numbers above 0, and has no rounding to fear.

    The inverse is Newton's method for one number of each layer, which comes to it from one side: t + (w · u) tanh t is
    what is known of t = w · z + b.

    >>> layers = PlanarTransform(torch.ones(2, 3), torch.tensor([[1.0, 2.0, 0.0], [-9.0, 0.0, 1.0]]), torch.zeros(2))
    >>> z = torch.tensor([0.3, -1.0, 0.5])
    >>> torch.allclose(layers.inv(layers(z)), z, atol=1e-5)
    True
    """

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, w: Tensor, v: Tensor, b: Tensor) -> None:
        super().__init__()
        along = (w * v).sum(-1)
        slope = softplus(along + WHOLE)  # 1 + w · u
        square = w.square().sum(-1).clamp(min=torch.finfo(w.dtype).tiny)
        u = v + ((slope - 1 - along) / square).unsqueeze(-1) * w
        self.layers = [*zip(w.unbind(-2), u.unbind(-2), b.unbind(-1), slope.unbind(-1), strict=True)]

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What x (…, D) is moved to, and the log-determinant of the Jacobian, (…)."""
        z, log_slope = x, torch.zeros((), dtype=x.dtype, device=x.device)
        for w, u, b, slope in self.layers:
            height = torch.tanh((w * z).sum(-1) + b)
            square = height.square()
            log_slope = log_slope + (square + (1 - square) * slope).log()
            z = z + u * height.unsqueeze(-1)
        return z, log_slope

    def _inverse(self, y: Tensor) -> Tensor:
        for w, u, b, slope in reversed(self.layers):
            y = y - u * torch.tanh(_root((w * y).sum(-1) + b, slope)).unsqueeze(-1)
        return y


def _root(value: Tensor, slope: Tensor) -> Tensor:
    """t of t + m tanh t = `value`, m = `slope` - 1 above -1, with its gradient.

    For t above 0 the left side is convex where m is below 0, and else concave: from a bound above, or below, Newton's
    steps don't pass the root.
    """
    value, slope = torch.broadcast_tensors(value, slope)
    tiny = torch.finfo(value.dtype).tiny

    def step(t: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        height = torch.tanh(t)
        square = height.square()
        own = (square + (1 - square) * slope.detach()).clamp(min=tiny)
        return t - (t + (slope - 1) * height - value) / own

    # The way there has no gradient, by no `no_grad`, which an export would make a graph of its own of.
    size, known = value.detach().abs(), slope.detach()
    flat, steep = size + 1 - known, size / known
    t = torch.where(known > 1, torch.maximum(flat, steep), torch.minimum(flat, steep))
    for _ in range(NEWTON):
        t = step(t, size, known)
    return step(t * value.detach().sign(), value, slope)


class PlanarLayers(nn.Module):
    """Parameters of K layers given a context (…, C) by the network `hyper`, or of their own: a flow's transform, from
    its values to noise.

    It starts near the identity, and at it where what `hyper` gives is 0.
    """

    def __init__(self, features: int, layers: int, hyper: nn.Module | None) -> None:
        super().__init__()
        w = torch.randn(layers, features) / features**0.5
        self.start = nn.Parameter(torch.cat([w, torch.zeros(layers, features + 1)], -1))
        self.hyper = hyper

    def forward(self, context: Tensor | None = None) -> Transform:
        own: Tensor = self.start
        if self.hyper is not None:
            own = own + self.hyper(context).unflatten(-1, own.shape)
        features = (own.shape[-1] - 1) // 2
        w, v, b = own.split([features, features, 1], -1)
        return PlanarTransform(w, v, b.squeeze(-1)).inv


def numbers_of(features: int, layers: int) -> int:
    """How many numbers make `layers` layers of `features` dimensions."""
    return layers * (2 * features + 1)
