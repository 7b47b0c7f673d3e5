"""Independent Bernoullis, whose log-probabilities are what most models of images spend their small operations on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from .shapes import broadcast_shapes

FACTORS = 112
"""Factors of a product: seven of the widest vectors of a processor, and 1/2 to this power is no denormal number."""

HALVES = {torch.float16, torch.bfloat16}


class IndependentBernoulli(Independent):
    """Independent Bernoullis of logits l, the last `dimensions` of them one event; values in [0, 1], as l x -
    softplus(l).

    Torch's, in less than half the time, most of which is logarithms: one of a product serves many elements.

    >>> IndependentBernoulli(torch.zeros(5, 2)).log_prob(torch.tensor([0.0, 1.0])).exp()
    tensor([0.2500, 0.2500, 0.2500, 0.2500, 0.2500])
    """

    def __init__(self, logits: Tensor, dimensions: int = 1) -> None:
        super().__init__(Bernoulli(logits=logits, validate_args=False), dimensions, validate_args=False)

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: object = None
    ) -> IndependentBernoulli:
        logits = self.base_dist.logits.expand(torch.Size(batch_shape) + self.event_shape)
        return IndependentBernoulli(logits, self.reinterpreted_batch_ndims)

    def log_prob(self, value: Tensor) -> Tensor:
        first = -self.reinterpreted_batch_ndims
        return _BernoulliLogProb.apply(self.base_dist.logits.flatten(first), value.flatten(first))


class _BernoulliLogProb(torch.autograd.Function):
    """sum of l x - softplus(l) over the last dimension of l and x.

    softplus(l) = max(l, 0) - log sigmoid(abs(l)). These sigmoids are at least 1/2, so that the product of `FACTORS` of
    them is a normal number in float32 and float64, and a logarithm serves them all. Types of half the size, which have
    neither such numbers nor the digits of a sum of so many, compute in float32.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, x: Tensor) -> Tensor:
        if logits.dtype in HALVES:
            return _BernoulliLogProb.forward(logits.float(), x.float()).to(logits.dtype)
        sigmoids = logits.abs().sigmoid_()
        whole = sigmoids.shape[-1] // FACTORS * FACTORS
        total: Tensor | float = 0.0
        if whole:
            total = sigmoids[..., :whole].unflatten(-1, (-1, FACTORS)).prod(-1).log().sum(-1)
        if whole < sigmoids.shape[-1]:
            total = total + sigmoids[..., whole:].prod(-1).log()
        # Both in one sum, since as sums of their own they would be large and nearly equal.
        linear = logits.relu()
        if linear.shape == broadcast_shapes(logits.shape, x.shape):
            # In place: large ones have to be in the cache.
            return total - linear.addcmul_(logits, x, value=-1).sum(-1)
        return total - torch.addcmul(linear, logits, x, value=-1).sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x = ctx.saved_tensors
        of_logits, of_x = ctx.needs_input_grad
        gradient = gradient.unsqueeze(-1)
        return (
            (gradient * (x - logits.sigmoid())).sum_to_size(logits.shape) if of_logits else None,
            (gradient * logits).sum_to_size(x.shape) if of_x else None,
        )
