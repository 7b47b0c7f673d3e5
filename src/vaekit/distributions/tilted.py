"""The continuous Bernoulli, right in its tails."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    constraints,
)

from .shapes import _Shape


class TiltedUniform(Distribution):
    """The continuous Bernoulli: the density on [0, 1] proportional to exp(l x) (Loaiza-Ganem & Cunningham 2019).

    log p(x) = l x - A(l), A(l) = log((exp(l) - 1) / l), for logits l and values x (…). Not torch's own: that clamps the
    probability sigmoid(l), and so integrates to less than 1 beyond |l| of about 15 (float32), where dark pixels go.

    >>> p = TiltedUniform(logits=torch.tensor([-100.0, 0.0, 100.0]))
    >>> p.mean
    tensor([0.0100, 0.5000, 0.9900])
    """

    arg_constraints = {"logits": constraints.real}
    support = constraints.unit_interval

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> TiltedUniform:
        return TiltedUniform(self.logits.expand(batch_shape))

    def _near_zero(self) -> tuple[Tensor, Tensor]:
        # Below 0.1 the closed forms lose digits and their series are exact; `away` keeps NaN out of the other branch.
        near = self.logits.abs() < 0.1
        return near, torch.where(near, 1.0, self.logits)

    @property
    def mean(self) -> Tensor:
        near, away = self._near_zero()
        s = self.logits.square()
        series = 0.5 + self.logits * (1 / 12 - s * (1 / 720 - s / 30240))
        return torch.where(near, series, -1 / torch.expm1(-away) - 1 / away)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
            steep = self.logits.abs().clamp(min=torch.finfo(u.dtype).eps)
            from_mode = -torch.log1p(u * torch.expm1(-steep)) / steep
            return torch.where(self.logits > 0, 1 - from_mode, from_mode)

    def log_prob(self, value: Tensor) -> Tensor:
        near, away = self._near_zero()
        s, steep = self.logits.square(), away.abs()
        # A(l) - l/2 is even in l; what is left of l x is l (x - 1/2).
        series = s * (1 / 24 - s * (1 / 2880 - s / 181440))
        even = torch.where(near, series, steep / 2 + torch.log(-torch.expm1(-steep) / steep))
        return self.logits * (value - 0.5) - even
