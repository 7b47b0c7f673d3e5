"""Mixtures whose components can be looked at."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    MixtureSameFamily,
)

from .shapes import _Shape


class Mixture(MixtureSameFamily):
    """sum_k pi_k p_k: torch's mixture of one family, for any family.

    logits (…, K), components of batch shape (…, K). Values are expanded to the components' batch before they are
    scored, which torch leaves to broadcasting and flows of `zuko` don't do.
    """

    def __init__(self, logits: Tensor, components: Distribution) -> None:
        super().__init__(Categorical(logits=logits, validate_args=False), components, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Mixture:
        shape = (*batch_shape, self._num_component)
        return Mixture(self.mixture_distribution.logits.expand(shape), self.component_distribution.expand(shape))

    def _pad(self, x: Tensor) -> Tensor:
        padded = super()._pad(x)
        events = len(self.event_shape)
        lead = torch.broadcast_shapes(padded.shape[: padded.dim() - events], self.component_distribution.batch_shape)
        return padded.expand(*lead, *self.event_shape)

    def responsibilities(self, value: Tensor) -> Tensor:
        """p(k given value), (…, K): how likely each component is to have made it."""
        log_prob = self.component_distribution.log_prob(self._pad(value))
        return (self.mixture_distribution.logits + log_prob).softmax(-1)
