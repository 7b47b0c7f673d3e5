"""Importance weights: how large the error of a mean of them is, and how far that can be trusted.

All of it comes from the largest weights of each datum and two sums, so that memory does not grow with their number.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

UNTRUSTED = 0.7
"""A Pareto k above which a mean of weights is not to be trusted, nor its error (Vehtari et al. 2024, section 3.2.4)."""
LEAST_TAIL = 5
"""Weights in a tail from which its shape can be told."""
SAME = 1e-3
"""Nats by which a whole tail of weights may differ and count as all the same: what is fitted would be rounding."""
LEAST_KEPT = 64
ELEMENTS = 1 << 18
"""Numbers of a tail fit at a time: they stay in the cache."""


def tail_size(samples: int) -> int:
    """The weights of K = `samples` that count as their tail: min(K / 5, 3 sqrt(K)) (Vehtari et al. 2024, eq. 15)."""
    return int(min(samples / 5, 3 * math.sqrt(samples)))


def kept_size(samples: int) -> int:
    """How many of K = `samples` weights, the largest, are needed by what is said here of all of them."""
    return min(samples, max(LEAST_KEPT, tail_size(samples) + 1))


def log_mean_variance(largest: Tensor, log_sum: Tensor, squares: Tensor, samples: int) -> Tensor:
    """The variance of the log of the mean of K = `samples` weights, by the jackknife: (B,); NaN for K = 1.

    sum_i (t_i - mean of t)², where t_i is the logarithm without the i-th weight. In expectation it is no less than the
    variance with K - 1 weights, however heavy their tail (Efron & Stein 1981). The usual var(w) / (K mean(w)²) is at
    most 1, also where one weight is all that counts, and another seed would move the logarithm by tens.

    largest    the `kept_size` largest log-weights of each datum, or more, from the largest on, (M, B)
    log_sum    the log of the sum of all, (B,)
    squares    the sum of squares of all weights divided by their sum, (B,)
    """
    if len(largest) < kept_size(samples):  # all that is random is summed out: one weight stands for all
        return torch.zeros_like(log_sum)
    share = (largest - log_sum).exp().clamp(max=1.0)
    left = torch.log1p(-share)
    # What is left without the largest weight, also where that is so little that 1 - share is 0.
    if len(largest) > 1:
        left[0] = torch.maximum(left[0], largest[1:].logsumexp(0) - log_sum)
    # Of the others, each a small part of the sum, log(1 - share) is -share.
    total = left.sum(0) - (1 - share.sum(0)).clamp(min=0)
    square = left.square().sum(0) + (squares - share.square().sum(0)).clamp(min=0)
    spread = (square - total.square() / samples).clamp(min=0)
    return spread if samples > 1 else torch.full_like(spread, torch.nan)


def pareto_shape(largest: Tensor, samples: int) -> Tensor:
    """Pareto k of each datum's weights, (B,): the shape of a generalised Pareto distribution fitted to their tail.

    A distribution of weights with k has finite moments below 1 / k: above 1/2 no variance, above 1 no mean. Up to
    `UNTRUSTED` a mean of weights converges as its error says. -inf where the tail's weights are all the same,
    inf where the largest leave the others nothing, NaN where there are too few to tell (K below 25).

    largest    as of `log_mean_variance`

    Source: Vehtari et al. 2024, with the estimator of Zhang & Stephens 2009 and its prior.
    """
    size, unknown = tail_size(samples), largest.new_full(largest.shape[1:], torch.nan)
    if len(largest) < kept_size(samples):
        return torch.full_like(unknown, -torch.inf)
    if size < LEAST_TAIL:
        return unknown
    depth = largest[0] - largest[size]
    above = (largest[:size] - largest[0]).exp() - (-depth).exp()
    rows = max(1, ELEMENTS // (size * _grid(size)))
    shapes = torch.cat([_generalised_pareto_shape(each.flip(0)) for each in above.split(rows, 1)])
    # No fit where most of the tail is ties with its threshold, or is zero beside the largest weight.
    none = torch.where(depth > -math.log(torch.finfo(largest.dtype).tiny), torch.inf, torch.nan)
    return torch.where(depth < SAME, -torch.inf, torch.where(shapes.isnan(), none, shapes))


def untrusted(effective: Tensor, shapes: Tensor, samples: int) -> Tensor:
    """Of which data the log of the mean of K weights is not to be trusted, (B,) of bool: where more than half of them
    count for nothing, and Pareto k is above `UNTRUSTED`, or there are too few of them to tell k: the few that count
    are then all that is known.

    effective, shapes   1 / sum of squares of the shares, and Pareto k, of each datum, (B,)

    >>> untrusted(torch.tensor([1.2, 9.5]), torch.tensor([torch.nan, torch.nan]), samples=10).tolist()
    [True, False]
    """
    if tail_size(samples) < LEAST_TAIL:
        return shapes.isnan() & (effective <= (samples + 1) / 2)
    return (shapes > UNTRUSTED) & (effective < samples / 2)


def _grid(size: int) -> int:
    return 30 + math.isqrt(size)


def _generalised_pareto_shape(excess: Tensor) -> Tensor:
    """The shape of what exceeds a threshold, (M, B) sorted from the least to the largest: (B,), NaN for no fit."""
    n, points = len(excess), torch.arange(1, _grid(len(excess)) + 1, dtype=excess.dtype, device=excess.device)
    quartile, most = excess[int(n / 4 + 0.5) - 1], excess[-1]
    theta = 1 / most + ((1 - (len(points) / (points - 0.5)).sqrt()) / 3)[:, None] / quartile
    shape = torch.log1p(-theta[:, None] * excess).mean(1)
    likelihood = n * ((-theta / shape).log() - shape - 1)
    best = (likelihood.softmax(0) * theta).sum(0)
    # The prior: as if ten more weights had been of shape 1/2.
    return (n * torch.log1p(-best * excess).mean(0) + 10 * 0.5) / (n + 10)
