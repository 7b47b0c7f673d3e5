"""Bounds whose weight is found while a model trains, so that what is asked of reconstructions holds."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..models.trace import Trace
from ..system.processes import average_of_all
from .base import Loss, bound_terms, with_penalties

MOST = math.log(1e4)
"""The logarithm of what the multiplier is at most, and one over which it is at least."""


class GECO(nn.Module):
    """KL(q || p) + lambda (-E_q log p(x given z) - `target`): the least KL of which reconstructions have a distortion
    of `target` nats per datum, lambda the Lagrange multiplier (Rezende & Viola 2018, algorithm 1). The target is added,
    so that where it holds, or lambda is 1, the loss is -ELBO.

    After each batch log lambda goes up where the distortion's moving average C (of `decay`) is above the target, and
    down where it is below: by `rate` times C, of which no more than one nat counts, so that a step changes it by `rate`
    at most. It starts at 0 and stays within +-log 10,000; multiplier and average are part of the training state. One
    over lambda is a beta: what is said for a target there, beta can be set to afterwards. Where no gradient is taken,
    such as on held-out data, the loss is -ELBO, which can be compared over epochs: a target that is out of reach shows
    as a multiplier that only grows.

    >>> GECO(target=90.0).multiplier
    tensor(1.)
    """

    coupled = "the multiplier follows the average of a batch"
    log_multiplier: Tensor
    average: Tensor
    begun: Tensor

    def __init__(self, target: float, rate: float = 0.01, decay: float = 0.99) -> None:
        super().__init__()
        if not math.isfinite(target):
            raise ValueError(f"target must be a finite number of nats, got {target}")
        if not rate > 0:
            raise ValueError(f"rate must be above 0, got {rate}")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}")
        self.target, self.rate, self.decay = float(target), rate, decay
        self.register_buffer("log_multiplier", torch.zeros(()))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("begun", torch.zeros(()))

    @property
    def multiplier(self) -> Tensor:
        """lambda, a scalar."""
        return self.log_multiplier.exp()

    def forward(self, trace: Trace, progress: float = 1.0) -> Loss:
        """The loss at the multiplier that the batches before have made."""
        beyond = -trace.average(trace.log_px) - self.target
        kl = torch.stack([trace.average(each) for each in trace.kl.values()]).sum()
        terms = bound_terms(trace) | {"multiplier": self.multiplier.clone(), "beyond_target": beyond.detach()}
        if not (torch.is_grad_enabled() and beyond.requires_grad):
            return with_penalties(Loss(kl + beyond + self.target, terms), trace)
        loss = kl + self.multiplier.clone() * beyond + self.target
        self._follow(beyond.detach())
        return with_penalties(Loss(loss, terms), trace)

    @torch.no_grad()
    def _follow(self, beyond: Tensor) -> None:
        beyond = average_of_all(beyond)
        smoothed = self.decay * self.average + (1 - self.decay) * beyond
        self.average.copy_(torch.where(self.begun > 0, smoothed, beyond))
        self.begun.fill_(1.0)
        self.log_multiplier.add_(self.rate * self.average.clamp(-1.0, 1.0)).clamp_(-MOST, MOST)
