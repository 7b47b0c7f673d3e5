"""A distribution that is resampled: draws of a simple one, of which some are accepted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .shapes import _Shape


class Resampled(Distribution):
    """p(z) of a draw of `base` that is accepted with probability a(z), at most T = `tries` times, the last as it is.

    p(z) = base(z) (a(z) (1 - (1 - Z)^(T - 1)) / Z + (1 - Z)^(T - 1)), Z = E[a(z)] under base (Bauer & Mnih 2019, eq.
    6). `log_acceptance` gives log a, (S, …), of z (S, …, D); `log_mass` is log Z, (…), below 0.

    >>> from torch.distributions import Independent, Normal
    >>> base = Independent(Normal(torch.zeros(1), torch.ones(1)), 1)
    >>> half = Resampled(base, lambda z: torch.where(z[..., 0] > 0, 0.0, -torch.inf), torch.tensor(0.5).log(), 100)
    >>> half.log_prob(torch.tensor([[1.0]])).exp() / base.log_prob(torch.tensor([[1.0]])).exp()  # a half normal
    tensor([2.])
    """

    arg_constraints = {}
    support = constraints.real_vector

    def __init__(
        self, base: Distribution, log_acceptance: Callable[[Tensor], Tensor], log_mass: Tensor, tries: int
    ) -> None:
        self.base, self.log_acceptance, self.log_mass, self.tries = base, log_acceptance, log_mass, tries
        super().__init__(log_mass.shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Resampled:
        lead = torch.Size(batch_shape)
        return Resampled(self.base.expand(lead), self.log_acceptance, self.log_mass.expand(lead), self.tries)

    def log_prob(self, value: Tensor) -> Tensor:
        # log (1 - Z)^(T - 1), of all but the last try; where Z is rounded to 1, none gets there.
        least = torch.finfo(value.dtype).tiny
        late = (self.tries - 1) * (-torch.expm1(self.log_mass)).clamp(min=least).log()
        early = (-torch.expm1(late)).clamp(min=least).log()
        accepted = self.log_acceptance(value) - self.log_mass + early
        return self.base.log_prob(value) + torch.logaddexp(accepted, late.expand_as(accepted))

    @torch.no_grad()
    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        z = self.base.sample(shape)
        done = torch.zeros(z.shape[:-1], dtype=torch.bool, device=z.device)
        for _ in range(self.tries - 1):
            done = done | (torch.rand_like(z[..., 0]).log() < self.log_acceptance(z))
            z = torch.where(done.unsqueeze(-1), z, self.base.sample(shape))
        return z

    @property
    def acceptance(self) -> Tensor:
        """Z, (…): the part of the draws of the base that are accepted."""
        return self.log_mass.exp()
