"""Operators that few runtimes know, as sums, products, logarithms and exponentials."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

SHIFT = 8
"""From here on Stirling's series has all digits of float64."""
TERMS = 28
"""Coefficients of the series of `erfcx`: all digits of float64."""


def lgamma(x: Tensor) -> Tensor:
    """log Gamma(x) of x above 0, by Stirling's series, below 8 by that at x + 8.

    >>> lgamma(torch.tensor([0.5, 3.0, 10.0], dtype=torch.float64))
    tensor([ 0.5724,  0.6931, 12.8018], dtype=torch.float64)
    """
    small = x.clamp(max=SHIFT)
    product = small
    for i in range(1, SHIFT):
        product = product * (small + i)
    shifted = torch.where(x < SHIFT, x + SHIFT, x)
    inverse = 1 / shifted
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
    found = (shifted - 0.5) * shifted.log() - shifted + 0.5 * math.log(2 * math.pi) + series
    return torch.where(x < SHIFT, found - product.log(), found)


def erfcx(x: Tensor) -> Tensor:
    """exp(x²) erfc(x) of x from 0 on: t exp(P(t)), t = 2 / (2 + x), P a Chebyshev series.

    >>> erfcx(torch.tensor([0.0, 1.0, 1000.0], dtype=torch.float64))
    tensor([1.0000e+00, 4.2758e-01, 5.6419e-04], dtype=torch.float64)
    """
    t = 2 / (2 + x)
    twice = 4 * t - 2
    here, before = torch.zeros_like(t), torch.zeros_like(t)
    for c in COEFFICIENTS[:0:-1]:
        here, before = twice * here - before + c, here
    return t * (0.5 * twice * here - before + COEFFICIENTS[0]).exp()


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(x)), of beta 1, which onnxruntime has in float32 alone.

    >>> softplus(torch.tensor([-1.0, 0.0, 100.0]))
    tensor([  0.3133,   0.6931, 100.0000])
    """
    return (x * beta).clamp(min=0) / beta + torch.log1p((-(x * beta).abs()).exp()) / beta


def log_sigmoid(x: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))), likewise."""
    return -softplus(-x)


def _coefficients() -> list[float]:
    """Those of log(erfcx(x) / t) in Chebyshev's polynomials of 2 t - 1, t from 0 to 1."""
    nodes = np.cos(np.pi * (np.arange(2 * TERMS) + 0.5) / (2 * TERMS))
    t = 0.5 * (nodes + 1)
    values = np.log(special.erfcx(2 / t - 2) / t)
    found = np.polynomial.chebyshev.chebfit(nodes, values, TERMS - 1)
    return [float(each) for each in found]


COEFFICIENTS = _coefficients()

PLAIN: Mapping[Any, Callable[..., Tensor]] = {
    torch.ops.aten.lgamma.default: lgamma,
    torch.ops.aten.special_erfcx.default: erfcx,
    torch.ops.aten.softplus.default: softplus,
    torch.ops.aten.log_sigmoid.default: log_sigmoid,
}
"""Each by operators of PyTorch's core."""
