"""Categories: relaxed, and those that are known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    constraints,
)

from .shapes import _Shape


class RelaxedOneHot(Distribution):
    """A one-hot vector over classes, drawn as a point of the simplex near one (Jang et al. 2017; Maddison et al. 2017).

    logits (…, D), normalised here; values (…, D) are `groups` independent one-hots of K = D / groups classes, side by
    side. With a `temperature` t (a scalar), a draw is softmax((log pi + g) / t) of Gumbel noise g, with the gradient of
    that; with `straight_through` it is rounded to a one-hot and keeps the gradient. Without a temperature, draws are
    one-hots and have none.

    `log_prob` is that of the discrete distribution, sum_k z_k log pi_k: its exact mass at one-hots, and between them
    that sum alone, not the density of the relaxed draws. What is estimated from relaxed draws is a surrogate.

    >>> q = RelaxedOneHot(torch.tensor([0.5, 0.2, 0.3]).log(), temperature=torch.tensor(0.5))
    >>> q.mean, q.rsample((4,)).sum(-1), q.log_prob(torch.tensor([0.0, 1.0, 0.0])).exp()
    (tensor([0.5000, 0.2000, 0.3000]), tensor([1., 1., 1., 1.]), tensor(0.2000))
    """

    arg_constraints = {"logits": constraints.real_vector}
    support = constraints.independent(constraints.unit_interval, 1)

    def __init__(
        self, logits: Tensor, temperature: Tensor | None = None, straight_through: bool = False, groups: int = 1
    ) -> None:
        self.groups = checked_groups(groups, logits.shape[-1])
        self.temperature, self.straight_through = temperature, straight_through
        self.logits = self._by_group(logits).log_softmax(-1).flatten(-2)
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def _by_group(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.groups, -1))

    def expand(self, batch_shape: _Shape, _instance: None = None) -> RelaxedOneHot:
        logits = self.logits.expand(*batch_shape, -1)
        return RelaxedOneHot(logits, self.temperature, self.straight_through, self.groups)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.temperature is not None

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        return self.temperature is None and self.groups == 1

    @property
    def mean(self) -> Tensor:
        return self.logits.exp()

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        logits = self._by_group(self.logits.expand(self._extended_shape(torch.Size(sample_shape))))
        # An exponential draw may be 0, whose logarithm would make the softmax NaN.
        exponential = torch.empty_like(logits, memory_format=torch.contiguous_format).exponential_()
        noisy = logits - exponential.clamp(min=torch.finfo(logits.dtype).tiny).log()
        if self.temperature is None:
            return _one_hot(noisy).flatten(-2)
        soft = (noisy / self.temperature).softmax(-1)
        return (_one_hot(soft) + (soft - soft.detach()) if self.straight_through else soft).flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """The K one-hots, (K, *batch, K), or without `expand` (K, 1, …, K); of one group that is not relaxed."""
        if not self.has_enumerate_support:
            raise NotImplementedError("relaxed one-hots, and several side by side, are not enumerated")
        (classes,) = self.event_shape
        one_hots = torch.eye(classes, dtype=self.logits.dtype, device=self.logits.device)
        one_hots = one_hots.view(classes, *[1] * len(self.batch_shape), classes)
        return one_hots.expand(-1, *self.batch_shape, -1) if expand else one_hots


class ScoredOneHot(RelaxedOneHot):
    """One-hots of `RelaxedOneHot` whose draws are one-hots in training, too, and carry no gradient.

    What they lack is that of log q, the score (Williams 1992), which a trace adds to what is averaged over draws:
    without bias, whatever the decoder makes of a one-hot.

    >>> q = ScoredOneHot(torch.zeros(6, requires_grad=True), groups=2)
    >>> z = q.rsample()
    >>> z.requires_grad, z.sum(), q.score_correction(z).exp()
    (False, tensor(2.), tensor(0.1111, grad_fn=<ExpBackward0>))
    """

    def __init__(self, logits: Tensor, groups: int = 1) -> None:
        super().__init__(logits, groups=groups)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> ScoredOneHot:
        return ScoredOneHot(self.logits.expand(*batch_shape, -1), self.groups)

    def score_correction(self, value: Tensor) -> Tensor:
        """log q of draws (…, D), whose gradient these do not carry."""
        return self.log_prob(value)


def _one_hot(values: Tensor) -> Tensor:
    return torch.zeros_like(values).scatter(-1, values.argmax(-1, keepdim=True), 1.0)


def checked_groups(groups: int, size: int) -> int:
    """`groups`, one-hots side by side in a vector of `size`; `ValueError` unless each has two classes or more."""
    if groups < 1 or size % groups or size < 2 * groups:
        raise ValueError(f"{size} numbers are no {groups} one-hots side by side, each of the same 2 classes or more")
    return groups
