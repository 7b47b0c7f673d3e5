"""Operators that few runtimes know, as sums, products, roots, logarithms and exponentials."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

SHIFT = 8
"""From here on Stirling's series has all digits of float64."""
FAR = 1e8
"""From here on 1 beside a square is nothing, in float64."""
SINH = 9
"""Terms of the series of sinh after the first: all digits of float64 below 1."""
ERF = 20
"""Terms of the series of erf after the first: all digits of float64 below 1."""
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


def erf(x: Tensor) -> Tensor:
    """1 - exp(-x²) erfcx(x), which onnxruntime has in float32 alone; near 0 by its series.

    >>> erf(torch.tensor([-1.0, 1e-9, 10.0], dtype=torch.float64))
    tensor([-8.4270e-01,  1.1284e-09,  1.0000e+00], dtype=torch.float64)
    """
    size = x.abs()
    square = size.clamp(max=1).square()
    series = torch.ones_like(x)
    for k in range(ERF, 0, -1):
        series = 1 + series * 2 * square / (2 * k + 1)
    near = 2 / math.sqrt(math.pi) * x * (-square).exp() * series
    return torch.where(size < 1, near, x.sign() * (1 - (-x * x).exp() * erfcx(size)))


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(x)), of beta 1, which onnxruntime has in float32 alone.

    >>> softplus(torch.tensor([-1.0, 0.0, 100.0]))
    tensor([  0.3133,   0.6931, 100.0000])
    """
    return (x * beta).clamp(min=0) / beta + torch.log1p((-(x * beta).abs()).exp()) / beta


def log_sigmoid(x: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))), likewise."""
    return -softplus(-x)


def asinh(x: Tensor) -> Tensor:
    """log(x + sqrt(x² + 1)), which onnxruntime has in float32 alone.

    >>> asinh(torch.tensor([-1.0, 0.0, 1e30]))
    tensor([-0.8814,  0.0000, 69.7707])
    """
    size = x.abs()
    near = size.clamp(max=FAR)
    found = torch.log1p(near + near * near / (1 + (1 + near * near).sqrt()))
    return x.sign() * torch.where(size > FAR, size.clamp(min=1).log() + math.log(2), found)


def sinh(x: Tensor) -> Tensor:
    """(exp(x) - exp(-x)) / 2, likewise: near 0 by its series.

    >>> sinh(torch.tensor([-1.0, 1e-6, 3.0]))
    tensor([-1.1752e+00,  1.0000e-06,  1.0018e+01])
    """
    square = x.clamp(-1, 1).square()
    series = torch.ones_like(x)
    for k in range(2 * SINH, 0, -2):
        series = 1 + series * square / (k * (k + 1))
    return torch.where(x.abs() < 1, x * series, 0.5 * (x.exp() - (-x).exp()))


def cosh(x: Tensor) -> Tensor:
    """(exp(x) + exp(-x)) / 2, likewise."""
    return 0.5 * (x.exp() + (-x).exp())


def cholesky(matrix: Tensor, upper: bool = False, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """L of L Lᵀ = `matrix` (…, R, R), positive definite, column after column, and 0 for no error.

    >>> cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))[0]
    tensor([[2., 0.],
            [1., 2.]])
    """
    factor = torch.zeros_like(matrix[..., :0])
    for j in range(matrix.shape[-1]):
        rest = matrix[..., j] - (factor * factor[..., j : j + 1, :]).sum(-1)
        below = rest[..., j:] / rest[..., j : j + 1].sqrt()
        factor = torch.cat([factor, torch.cat([torch.zeros_like(rest[..., :j]), below], -1).unsqueeze(-1)], -1)
    return factor.mT if upper else factor, torch.zeros_like(matrix[..., 0, 0], dtype=torch.int32)


def solve_triangular(
    matrix: Tensor, value: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X of A X = B, or with `left` false of X A = B, of a triangular A (…, R, R), row after row.

    >>> solve_triangular(torch.tensor([[2.0, 0.0], [1.0, 4.0]]), torch.tensor([[2.0], [9.0]]), upper=False)
    tensor([[1.],
            [2.]])
    """
    if not left:
        return solve_triangular(matrix.mT, value.mT, upper=not upper, unitriangular=unitriangular).mT
    rows = range(matrix.shape[-1])
    found: dict[int, Tensor] = {}
    for i in reversed(rows) if upper else rows:
        rest = value[..., i, :]
        for j, known in found.items():
            rest = rest - matrix[..., i, j : j + 1] * known
        found[i] = rest if unitriangular else rest / matrix[..., i, i : i + 1]
    return torch.stack([found[i] for i in rows], -2)


def ndtri(p: Tensor) -> Tensor:
    """The quantile of N(0, 1) at p, by the rational functions of Wichura 1988 (AS 241, PPND16): 16 digits.

    >>> ndtri(torch.tensor([0.0, 0.5, 0.975], dtype=torch.float64))
    tensor([  -inf, 0.0000, 1.9600], dtype=torch.float64)
    """
    q, least = p - 0.5, torch.minimum(p, 1 - p)
    r = (-least.clamp(min=torch.finfo(p.dtype).tiny).log()).sqrt()
    square = 0.180625 - q * q
    near = q * _ratio(square, *CENTER)
    far = torch.where(r <= 5, _ratio(r - 1.6, *MIDDLE), _ratio(r - 5, *TAIL))
    found = torch.where(q.abs() <= 0.425, near, q.sign() * far)
    return torch.where(least <= 0, q.sign() * math.inf, found)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query keyᵀ scale + mask) value of query (…, M, D), key and value (…, N, D): (…, M, D); a `mask` (…, M, N)
    of bool says which are seen, any other is added (Vaswani et al. 2017). Exporters know it of four dimensions alone.

    >>> x = torch.randn(2, 3, 4)
    >>> torch.allclose(attention(x, x, x), torch.nn.functional.scaled_dot_product_attention(x, x, x), atol=1e-6)
    True
    """
    if dropout or enable_gqa:
        raise ValueError("attention with dropout, or with fewer heads of keys than of queries, has no plain form")
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = torch.where(seen, scores, torch.finfo(scores.dtype).min)
    if mask is not None:
        low = torch.finfo(scores.dtype).min
        scores = torch.where(mask, scores, low) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1) @ value


def _ratio(x: Tensor, above: Sequence[float], below: Sequence[float]) -> Tensor:
    """A polynomial over another, coefficients from the highest power on."""
    one, other = torch.zeros_like(x), torch.zeros_like(x)
    for a, b in zip(above, below, strict=True):
        one, other = one * x + a, other * x + b
    return one / other


def _coefficients() -> list[float]:
    """Those of log(erfcx(x) / t) in Chebyshev's polynomials of 2 t - 1, t from 0 to 1."""
    nodes = np.cos(np.pi * (np.arange(2 * TERMS) + 0.5) / (2 * TERMS))
    t = 0.5 * (nodes + 1)
    values = np.log(special.erfcx(2 / t - 2) / t)
    found = np.polynomial.chebyshev.chebfit(nodes, values, TERMS - 1)
    return [float(each) for each in found]


COEFFICIENTS = _coefficients()

# fmt: off
CENTER = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)
MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)
TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)
# fmt: on
"""The coefficients of AS 241, of q within 0.425 of the median, of the tails, and of what is far out in them."""

PLAIN: Mapping[Any, Callable[..., Any]] = {
    torch.ops.aten.lgamma.default: lgamma,
    torch.ops.aten.erf.default: erf,
    torch.ops.aten.special_erfcx.default: erfcx,
    torch.ops.aten.softplus.default: softplus,
    torch.ops.aten.log_sigmoid.default: log_sigmoid,
    torch.ops.aten.asinh.default: asinh,
    torch.ops.aten.sinh.default: sinh,
    torch.ops.aten.cosh.default: cosh,
    torch.ops.aten.linalg_cholesky_ex.default: cholesky,
    torch.ops.aten.linalg_solve_triangular.default: solve_triangular,
    torch.ops.aten.special_ndtri.default: ndtri,
    torch.ops.aten.scaled_dot_product_attention.default: attention,
}
"""Each by operators of PyTorch's core."""
