"""Sets of features beside each other, by their nearest neighbours: whether samples look like data, whether data are all
among what is sampled, whether samples are training data over again.

Pure functions of features, (N, F) and (M, F), which are compared by Euclidean distances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .estimates import Estimate

NEAREST = 3
"""The neighbour that a ball of precision and recall reaches to (Kynkäänniemi et al. 2019, section 3)."""
COVERING = 5
"""That of density and coverage (Naeem et al. 2020, section 3)."""
GROUPS = 10
"""Parts of the data, each left out in turn, for standard errors by the jackknife."""
FEWEST = 50
"""Features of a set, at least."""
ELEMENTS = 1 << 22
"""Distances at once."""
SPARE = 35
"""Neighbours beside those that are asked for: of 40, 36 are in one of ten groups by a chance of 1e-31."""
TIES = 1e-9
"""By what part of itself a squared distance may be more than another and yet be the same, up to rounding."""
ROUNDED = 4.0
"""Units in the last place of squares, for each root of F, that rounding may take a squared distance for another by."""


@dataclass(frozen=True)
class Fidelity:
    """How a set of samples lies beside a set of data.

    precision: the part of samples that lie in a ball about a datum, which reaches to its third neighbour among data.
    recall: the part of data that lie in such a ball about a sample (Kynkäänniemi et al. 2019, eq. 2).
    density: in how many balls about data, to the fifth neighbour, a sample lies, over 5: about 1 for samples that are
    like data, more where they lie in the midst of these (Naeem et al. 2020, section 3).
    coverage: the part of data in whose ball, to the fifth neighbour, a sample lies (likewise).
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def fidelity(data: Tensor, samples: Tensor, seed: int = 0) -> Fidelity:
    """`Fidelity` of features of samples (M, F) beside those of data (N, F), in float64.

    Standard errors are those of a jackknife that leaves out a tenth of both, drawn by the seed, at a time. Raises
    `ValueError` for fewer than 50 of either, and for numbers that are not finite.

    >>> x = torch.randn(100, 2, dtype=torch.float64)
    >>> found = fidelity(x, x + 100)
    >>> found.precision.value, found.recall.value, found.density.value, found.coverage.value
    (0.0, 0.0, 0.0, 0.0)
    >>> fidelity(x, x).recall.value
    1.0
    """
    data, samples = _checked(data, samples)
    parts = _parts(seed, data, samples)
    far, near = _reach(data, parts[0], (COVERING, NEAREST))
    (around,) = _reach(samples, parts[1], (NEAREST,))
    # Of variant 0 all count, of variant 1 + g all but those of group g.
    of_data, of_samples = (torch.stack([part >= 0, *(part != g for g in range(GROUPS))]) for part in parts)
    precise, recalled, covered = (torch.zeros_like(each) for each in (of_samples, of_data, of_data))
    within = torch.zeros(1 + GROUPS, dtype=torch.float64)
    for rows, squares in _squares(data, samples):
        for g in range(1 + GROUPS):
            both = of_data[g, rows, None] & of_samples[g]
            precise[g] |= (both & (squares <= near[g, rows, None])).any(0)
            recalled[g, rows] = (both & (squares <= around[g])).any(1)
            ball = both & (squares <= far[g, rows, None])
            within[g] += ball.sum()
            covered[g, rows] = ball.any(1)
    n, m = (each.sum(1, dtype=torch.float64) for each in (of_data, of_samples))
    return Fidelity(
        precision=_number(precise.sum(1) / m),
        recall=_number(recalled.sum(1) / n),
        density=_number(within / (COVERING * m)),
        coverage=_number(covered.sum(1) / n),
    )


def perfect_coverage(data: int, samples: int) -> float:
    """The coverage that so many samples of the data's own distribution have on average: one less the chance that the 5
    which are nearest to a datum, of both kinds, are all data (Naeem et al. 2020, lemma 2); of large sets of one
    size 1 - 2^-5.

    >>> round(perfect_coverage(10_000, 10_000), 4)
    0.9688
    """
    return 1 - math.prod((data - i) / (samples + data - i) for i in range(1, COVERING + 1))


@dataclass(frozen=True)
class Memorised:
    """Whether samples lie nearer to training data than new data do.

    distance, distance_held_out: medians of the distance to the nearest training datum, of samples and of held-out data.
    ratio: the one over the other.
    nearer: how often a sample lies nearer to a training datum than a held-out datum does, ties counted half (Meehan et
    al. 2020): one half for samples that are like new data. What is smooth lies near everything, too.
    seen: how often the nearest of all training data and held-out data is of training, ties counted half; `by_chance`
    where training data are to the samples what others of the kind are.
    """

    distance: Estimate
    distance_held_out: Estimate
    ratio: Estimate
    nearer: Estimate
    seen: Estimate
    by_chance: float


def memorised(train: Tensor, held_out: Tensor, samples: Tensor, seed: int = 0) -> Memorised:
    """`Memorised` of features of samples (M, F), beside those of training data (T, F) and of others of the kind (N, F).

    Standard errors are those of a jackknife that leaves out a tenth of the samples and of the held-out data, drawn by
    the seed, at a time, and of `seen` a tenth of the training data, too; distances are to all of them. Raises as
    `fidelity` does.

    >>> x = torch.randn(300, 2, dtype=torch.float64)
    >>> copied = memorised(x[:150], x[150:], x[:150] + 1e-6)
    >>> copied.nearer.value > 0.95, copied.seen.value > 0.95, copied.by_chance
    (True, True, 0.5)
    """
    train, held_out, samples = _checked(train, held_out, samples)
    own, others = _nearest(samples, train), _nearest(held_out, train)
    rng = np.random.default_rng(seed)
    # To each of the groups apart, since what lies in the midst of all has the same few neighbours everywhere.
    of_train, of_held_out = (
        np.stack([_nearest(samples, of[rows[g::GROUPS]]) for g in range(GROUPS)], 1)
        for of, rows in ((of, rng.permutation(len(of))) for of in (train, held_out))
    )
    parts = [part.numpy() for part in _parts(seed, own, others)]
    found = []
    for g in range(-1, GROUPS):
        kept, left = parts[0] != g, parts[1] != g
        middle, middle_held_out = np.median(own[kept]), np.median(others[left])
        ratio = middle / middle_held_out if middle_held_out > 0 else math.nan
        groups = [group for group in range(GROUPS) if group != g]
        seen, unseen = (to[np.ix_(kept, groups)].min(1) for to in (of_train, of_held_out))
        known = np.where(_same(seen, unseen), 0.5, seen < unseen).mean()
        found.append((middle, middle_held_out, ratio, _nearer(own[kept], others[left]), known))
    each = [_number(torch.tensor(column)) for column in zip(*found, strict=True)]
    by_chance = len(train) / (len(train) + len(held_out))
    return Memorised(each[0], each[1], each[2], each[3], each[4], by_chance)


def _checked(*features: Tensor) -> list[Tensor]:
    """Features in float64, about the mean of the first, so that squares keep their digits."""
    found = [each.detach().cpu().double() for each in features]
    for each in found:
        if each.dim() != 2 or len(each) < FEWEST or each.shape[1] != found[0].shape[1]:
            shapes = " and ".join(str(tuple(own.shape)) for own in found)
            raise ValueError(f"features have shapes {shapes}; accepted: (N, F) of one F, N at least {FEWEST}")
        if not bool(each.isfinite().all()):
            raise ValueError("features have numbers that are not finite")
    center = found[0].mean(0)
    return [each - center for each in found]


def _parts(seed: int, *sets: Tensor | np.ndarray) -> list[Tensor]:
    """The group 0..9 of each of some sets, drawn by the seed."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.permutation(len(each)) % GROUPS) for each in sets]


def _number(found: Tensor) -> Estimate:
    """The first of numbers, of which the others are those with a group left out."""
    spread = found[1:].double().var(correction=0) * (GROUPS - 1)
    return Estimate(float(found[0]), math.sqrt(float(spread)))


def _squares(one: Tensor, other: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances (B, M) of some of N rows at a time from all of M, and which rows. What rounding alone may have
    made is 0: so are the distances of what is the same.
    """
    kept = 1 - _rounding(one)
    norms = kept * other.square().sum(1)
    at_once = max(1, ELEMENTS // len(other))
    for start in range(0, len(one), at_once):
        rows = slice(start, min(start + at_once, len(one)))
        own = one[rows]
        least = kept * own.square().sum(1, keepdim=True)
        yield rows, torch.addmm(norms, own, other.T, alpha=-2).add_(least).clamp_(min=0)


def _rounding(features: Tensor) -> float:
    """The part of the squares of two features (N, F) that the square of their distance may be off by."""
    return ROUNDED * features.shape[1] ** 0.5 * torch.finfo(features.dtype).eps


def _reach(features: Tensor, part: Tensor, neighbours: tuple[int, ...]) -> list[Tensor]:
    """For each k the squared distance of each of N from the k-th nearest other, up to rounding more: (1 + G, N), in the
    first row of all, then of those outside each of G groups.
    """
    most = min(max(neighbours) + SPARE, len(features) - 1)
    found = [torch.empty(1 + GROUPS, len(features), dtype=torch.float64) for _ in neighbours]
    for rows, squares in _squares(features, features):
        squares[torch.arange(len(squares)), torch.arange(rows.start, rows.stop)] = math.inf
        nearest, index = squares.topk(most, largest=False)
        for g in range(1 + GROUPS):
            place = (part[index] != g - 1).cumsum(1)
            for each, k in zip(found, neighbours, strict=True):
                kth = (place < k).sum(1, keepdim=True)
                each[g, rows] = nearest.gather(1, kth)[:, 0] * (1 + TIES)
    return found


def _nearest(one: Tensor, other: Tensor) -> np.ndarray:
    """The distance of each of N from the nearest of M, (N,). Which one that is, is looked for in float32, and again in
    float64 where more than one may be.
    """
    found = torch.empty(len(one), dtype=torch.float64)
    rounding = 2 * _rounding(one.float())
    for rows, squares in _squares(one.float(), other.float()):
        own = one[rows]
        least, which = squares.min(1, keepdim=True)
        close = squares <= least + rounding * (own.square().sum(1, keepdim=True).float() + least)
        unsure = (close.sum(1) != 1).nonzero().flatten()
        if len(unsure):
            which[unsure, 0] = next(_squares(own[unsure], other))[1].argmin(1)
        found[rows] = (own - other[which[:, 0]]).square().sum(1).sqrt()
    return found.numpy()


def _nearer(own: np.ndarray, others: np.ndarray) -> float:
    """How often one of `own` is less than one of `others`, ties counted half."""
    ordered = np.sort(others)
    low = np.searchsorted(ordered, own * (1 - TIES), "left")
    high = np.searchsorted(ordered, own * (1 + TIES), "right")
    return float(1 - (low + high).mean() / (2 * len(others)))


def _same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return abs(one - other) <= TIES * np.maximum(one, other)
