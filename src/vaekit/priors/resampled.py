"""A prior that learns which draws of N(0, I) to accept."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid

from ..distributions.normals import UnitNormal
from ..distributions.resampled import Resampled
from ..distributions.shapes import independent
from ..errors import check_least
from ..networks.mlp import MLP

KNOWN = 1 << 13
"""Draws by which Z is known in evaluation."""
AT_ONCE = 1 << 10
MOST_TRIES = 10_000


class Resampling(nn.Module):
    """p(z): draws of N(0, I), each accepted with a learned probability a(z), at most `tries` times: a prior by learned
    accept/reject sampling (LARS; Bauer & Mnih 2019).

    a is the sigmoid of an MLP with `hidden` layers, given y where there is a condition. Z, the mean of a under N(0, I),
    is that over `samples` draws in a step of training, and over 8,192 points that are always the same in evaluation,
    spread evenly (Sobol's): log p(z) has the error of log Z, about sqrt((1/Z - 1) / 8192) at most. It starts
    near N(0, I). It takes the mass away from holes between codes, which no mixture of few components does; draws carry
    no gradient, and take up to `tries` passes.

    >>> prior = Resampling(latent=2, tries=10)
    >>> prior().sample((5,)).shape
    torch.Size([5, 2])
    """

    loc: Tensor
    scale: Tensor
    known: Tensor

    def __init__(
        self,
        latent: int,
        condition: int = 0,
        tries: int = 100,
        samples: int = 1024,
        hidden: tuple[int, ...] = (100, 100),
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        if not 1 < tries <= MOST_TRIES:
            raise ValueError(f"tries must be from 2 to {MOST_TRIES}, got {tries}")
        check_least("samples", samples)
        self.tries, self.samples, self.condition = tries, samples, condition
        self.network = MLP((latent,), (1,), condition, hidden, activation)
        self.register_buffer("loc", torch.zeros(latent), persistent=False)
        self.register_buffer("scale", torch.ones(latent), persistent=False)
        self.register_buffer("known", torch.as_tensor(_known(latent)).to(self.loc.dtype), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        lead = () if y is None else y.shape[:-1]
        given = y if self.condition else None

        def log_acceptance(z: Tensor) -> Tensor:
            return logsigmoid(self.network(z, given).squeeze(-1))

        noise = self.known
        if self.training:
            noise = torch.randn(self.samples, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)
        # In parts, each of them beside every y.
        parts = noise[(slice(None), *[None] * len(lead))].split(AT_ONCE)
        log_total = torch.stack([log_acceptance(part).logsumexp(0) for part in parts]).logsumexp(0)
        log_mass = log_total - math.log(noise.shape[0])
        base = independent(UnitNormal(self.loc.expand(*lead, -1), self.scale.expand(*lead, -1), validate_args=False))
        return Resampled(base, log_acceptance, log_mass.expand(lead), self.tries)


@cache
def _known(size: int) -> np.ndarray:
    """Points (8192, size) that are spread as draws of N(0, I) are, more evenly."""
    with torch.device("cpu"):
        u = torch.quasirandom.SobolEngine(size, scramble=True, seed=0).draw(KNOWN, dtype=torch.float64)
        return torch.special.ndtri(u.clamp(1e-12, 1 - 1e-12)).numpy()
