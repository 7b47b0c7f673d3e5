"""Parameters within bounds that lead back what leaves them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import hardtanh


def checked_clamp(name: str, clamp: tuple[float, float]) -> tuple[float, float]:
    """`clamp`, the bounds of a logarithm called `name`; `ValueError` unless low < high."""
    low, high = clamp
    if not low < high:
        raise ValueError(f"{name} must be (low, high) with low < high, got {tuple(clamp)}")
    return float(low), float(high)


def bounded(value: Tensor, low: float, high: float) -> Tensor:
    """`value` clamped to [low, high], with the gradient of a loss wherever a step down it would not lead further out.

    A clamp has no gradient outside its bounds, so that what got there stays. Here a gradient passes as it is inside,
    and outside if descent brings the value back: the projected gradient of a loss that is minimised under a bound.

    >>> value = torch.tensor([-3.0, 0.5, 3.0], requires_grad=True)
    >>> torch.autograd.grad(bounded(value, -1.0, 1.0).square().sum(), value)
    (tensor([-2.,  1.,  2.]),)
    >>> torch.autograd.grad(-bounded(value, -1.0, 1.0).square().sum(), value)
    (tensor([ 0., -1.,  0.]),)
    """
    if torch.is_grad_enabled() and value.requires_grad:
        inside: Tensor = _Bounded.apply(value, low, high)
        return inside
    return hardtanh(value, low, high)


def scale_of(log_variance: Tensor, clamp: tuple[float, float]) -> Tensor:
    """The standard deviation of a log-variance that is kept within bounds, as `bounded` keeps it.

    >>> scale_of(torch.tensor([0.0, 99.0]), (-10.0, 2.0)).log()
    tensor([0., 1.])
    """
    return (0.5 * bounded(log_variance, *clamp)).exp()


class _Bounded(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, low: float, high: float) -> Tensor:
        return hardtanh(value, low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        value, inside = ctx.saved_tensors
        return gradient.masked_fill((value - inside) * gradient < 0, 0.0), None, None
