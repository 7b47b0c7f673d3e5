"""Draws that are moved along the gradient of a density, by leapfrog steps of Hamiltonian dynamics."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .moments import center
from .shapes import _Shape


class Leapfrog(Distribution):
    """z after K leapfrog steps from a draw z0 of `start` and a momentum r0 of N(0, I), with tempering (Caterini et al.
    2018, algorithm 1).

    slope     the gradient of log p(x, z) in z (…, D), (…, D); of any other function weights would have the same mean
    sizes     of steps, (D,)
    tempers   sqrt(b_k) of k = 0 … K, from at most 1 up to 1, (K + 1,): momenta are divided by sqrt(b_0) at first, and
              multiplied by sqrt(b_(k - 1) / b_k) after step k

    Steps keep the volume of (z, r), and all that tempering does to it cancels. So log q of a draw of its own is log
    q(z0) + log N(r0) - log N(r_K): log p(x, z) less it is the logarithm of a weight whose mean is p(x). Any other z has
    none: `log_prob` raises `ValueError`.

    >>> from torch.distributions import Independent, Normal
    >>> start = Independent(Normal(torch.zeros(4, 2), torch.ones(4, 2)), 1)
    >>> q = Leapfrog(start, lambda z: -z, sizes=torch.full((2,), 0.1), tempers=torch.ones(4))
    >>> z = q.rsample((3,))
    >>> q.log_prob(z).shape
    torch.Size([3, 4])
    """

    arg_constraints = {}
    own_alone = True
    """There is a density of draws of its own, and of no other value."""
    has_rsample = True
    support = constraints.real_vector

    def __init__(self, start: Distribution, slope: Callable[[Tensor], Tensor], sizes: Tensor, tempers: Tensor) -> None:
        self.start, self.slope, self.sizes, self.tempers = start, slope, sizes, tempers
        self._last: tuple[Tensor, Tensor] | None = None
        super().__init__(start.batch_shape, start.event_shape, validate_args=False)

    def moved(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """z and r (…, D) after all steps, from z and a momentum that is not yet tempered."""
        momentum, slope = momentum / self.tempers[0], self.slope(z)
        for before, after in zip(self.tempers[:-1], self.tempers[1:], strict=True):
            momentum = momentum + 0.5 * self.sizes * slope
            z = z + self.sizes * momentum
            slope = self.slope(z)
            momentum = (momentum + 0.5 * self.sizes * slope) * (before / after)
        return z, momentum

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        first = self.start.rsample(torch.Size(sample_shape))
        momentum = torch.randn_like(first)
        z, last = self.moved(first, momentum)
        self._last = z, self.start.log_prob(first) + 0.5 * (last.square() - momentum.square()).sum(-1)
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        if self._last is None or self._last[0] is not value:
            raise ValueError(
                "draws by leapfrog steps (structure hamiltonian) have a density of their own alone, none of other "
                "values; accepted: objectives and scores that weigh draws, such as elbo and iwae"
            )
        return self._last[1]

    @property
    def center(self) -> Tensor:
        """Where the center of `start` is led without momentum, (B, D)."""
        first = center(self.start)
        return self.moved(first, torch.zeros_like(first))[0]
