"""How well each dimension of codes stands for one factor that data are made of, and each factor for one dimension.

Pure functions of codes (N, D), posterior means, and factors (N, F), the number of the value that each has of a factor.
Where nothing else is said the definitions are those that Locatello et al. 2019 compare, appendix B and C. All are at
most 1, and best there. Codes that know nothing get about 0 from MIG, SAP and disentanglement, and 1 / F or the share of
the commonest value from those that tell something.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..data.tensors import TensorSplit
from ..errors import unknown
from ..models import VAE
from ..seeding import stream

BINS = 20
"""Intervals of equal width that the codes of a dimension fall into."""
INACTIVE = 0.05
"""The standard deviation of a dimension's codes up to which it says nothing (Kim & Mnih 2018, where it is pruned)."""
FEWEST = 50
"""Data of which something can be said."""
GROUPS = 5
"""Parts of the data, each left out in turn, for standard errors by the jackknife."""
VOTES, SHARED = 1000, 64
"""Votes of the scores of Higgins et al. and of Kim & Mnih, half to learn from, and the data that each is of."""
TREES = 20
RARE = 10
"""Data at least whose value of a factor is not its commonest: of fewer, parts of the data may have none."""


@dataclass(frozen=True)
class Measure:
    """A number with its standard error over data, of `name`."""

    name: str
    value: float
    stderr: float


@dataclass(frozen=True)
class Disentangled:
    """What `measured` finds of `n` data of a split that are made of so many factors."""

    split: str
    n: int
    factors: int
    numbers: tuple[Measure, ...]
    varying: int
    """Dimensions of the codes that vary over the data: of none all numbers are chance."""

    @property
    def reading(self) -> str:
        """What is to be kept in mind, in a sentence; nothing where there is nothing."""
        return "" if self.varying else "no dimension of the codes varies over the data: these numbers say nothing"


def disentangled(
    model: VAE, data: TensorSplit, split: str, names: Sequence[str] | None = None, n: int = 10_000, *, seed: int = 0
) -> Disentangled:
    """The metrics that are named of the codes, posterior means, of n data drawn by the seed, and of their factors: the
    labels y (N,), or each column of the covariates y (N, F). Raises `ValueError` as `measured` does.
    """
    if data.y is None:
        raise ValueError(f"{split} has no factors: labels y (N,), or covariates y (N, F)")
    index = np.sort(np.random.default_rng(stream(seed, "codes")).permutation(data.possible(split))[:n])
    rows = data.block_rows
    parts = [data.rows(index[start : start + rows]) for start in range(0, len(index), rows)]
    codes = np.concatenate([model.encode(model.asked(each)).double().cpu().numpy() for each in parts])
    factors = data.y.cpu().numpy()[index].reshape(len(index), -1)
    try:
        found = tuple(measured(codes, factors, names, seed=seed))
    except ValueError as error:
        raise ValueError(f"{error} (asked of {len(index):,} data of {split})") from None
    return Disentangled(split, len(index), factors.shape[1], found, int((codes.std(0) > INACTIVE).sum()))


def rows_of(found: Disentangled) -> list[tuple[str, str, str]]:
    """Each number, and what it says."""
    return [(each.name, f"{each.value:.3f} ± {each.stderr:.3f}", SAYS[each.name]) for each in found.numbers]


def measured(
    codes: ArrayLike, factors: ArrayLike, names: Sequence[str] | None = None, *, seed: int = 0
) -> list[Measure]:
    """Those of `METRICS` that are named, all where none is, of codes (N, D) and factors (N, F).

    Raises `ValueError` for other shapes, for codes that are not finite, for a factor that is missing of some data or
    the same in all but a few, and for an unknown name.

    >>> factors = np.indices((4, 5)).reshape(2, -1).T.repeat(10, 0)
    >>> [(each.name, round(each.value, 2)) for each in measured(factors, factors, ["mig", "modularity"])]
    [('mig', 1.0), ('modularity', 1.0)]
    """
    z, v = _checked(codes, factors)
    found = []
    for name in METRICS if names is None else names:
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
        metric = METRICS[name]
        value = metric(z, v, np.random.default_rng(seed))
        # The jackknife by groups, of which each row belongs to one, drawn by the seed.
        part = np.random.default_rng(seed).permutation(len(z)) % GROUPS
        without = np.array([metric(z[part != i], v[part != i], np.random.default_rng(seed)) for i in range(GROUPS)])
        spread = np.var(without, 0) * (GROUPS - 1)
        values = zip(PARTS.get(name, (name,)), np.atleast_1d(value), np.atleast_1d(spread), strict=True)
        found += [Measure(part_name, float(own), math.sqrt(square)) for part_name, own, square in values]
    return found


def mutual_informations(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """I(z_d; v_f) in nats, (D, F), of codes in 20 intervals each and factors 0..K-1, by how often they occur together.

    >>> mutual_informations(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([[0], [0], [1], [1]])).round(4)
    array([[0.6931]])
    """
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for d, column in enumerate(codes.T):
        cells = _binned(column)
        for f, values in enumerate(factors.T):
            counts = np.zeros((BINS, values.max() + 1))
            np.add.at(counts, (cells, values), 1)
            found[d, f] = _entropy(counts.sum(0)) + _entropy(counts.sum(1)) - _entropy(counts)
    return found.clip(0)


def mig(codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator) -> float:
    """The mutual information gap: by how much the dimension that knows most of a factor knows more of it than the next,
    over the factor's entropy; the mean over factors (Chen et al. 2018, eq. 6).
    """
    known = np.sort(mutual_informations(codes, factors), 0)
    second = known[-2] if len(known) > 1 else 0.0
    # Of some of the data a factor may have one value, of which nothing is to be known.
    return float(((known[-1] - second) / np.maximum(_entropies(factors), np.finfo(float).tiny)).mean())


def modularity(codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator) -> float:
    """How far each dimension knows of one factor alone: one less the squares of what it knows of all others over F - 1
    times that of what it knows of its own, the mean over dimensions that vary (Ridgeway & Mozer 2018, eq. 2 and 3).
    """
    if factors.shape[1] < 2:
        raise ValueError("modularity compares factors; accepted: data of two and more; leave it out")
    known = mutual_informations(_varying(codes), factors)
    if not len(known):
        return 0.0
    own = known.max(1)
    apart = (np.square(known).sum(1) - own**2) / np.maximum(own**2, np.finfo(float).tiny) / (factors.shape[1] - 1)
    return float(np.where(own > 0, 1 - apart, 0.0).mean())


def sap(codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator) -> float:
    """The separated attribute predictability: by how much the dimension that tells a factor best, by a linear support
    vector machine on it alone, tells it better than the next; of held-out data, the mean over factors (Kumar et al.
    2018, section 3). A dimension that is constant tells the commonest value, and so does the next where there is none.
    """
    from sklearn.svm import LinearSVC

    learned, asked = _halves(len(codes), rng)
    commonest = np.array([np.bincount(values).argmax() for values in factors[learned].T])
    told = np.tile((factors[asked] == commonest).mean(0), (max(2, codes.shape[1]), 1))
    scale = codes.std(0)
    z = (codes - codes.mean(0)) / np.where(scale > 0, scale, 1)
    for f in np.flatnonzero(np.ptp(factors[learned], 0)):
        for d in np.flatnonzero(scale > 0):
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
            machine.fit(z[learned, d : d + 1], factors[learned, f])
            told[d, f] = machine.score(z[asked, d : d + 1], factors[asked, f])
    ordered = np.sort(told, 0)
    return float((ordered[-1] - ordered[-2]).mean())


def dci(codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Disentanglement, completeness and informativeness, (3,) (Eastwood & Williams 2018, section 2), of the importances
    that a forest of 20 trees, which learns a factor of one half of the data by the best dimension at each step, gives
    each dimension.

    One less the entropy of a dimension's importances over factors, each weighed by its share of all; one less that of
    a factor's over dimensions; and the part of the other half whose value the forests tell, the mean over factors.
    """
    from sklearn.ensemble import RandomForestClassifier

    learned, asked = _halves(len(codes), rng)
    importance, told = np.zeros((codes.shape[1], factors.shape[1])), []
    for f, values in enumerate(factors.T):
        forest = RandomForestClassifier(TREES, min_samples_leaf=5, max_features=None, random_state=0)
        forest.fit(codes[learned], values[learned])
        importance[:, f] = forest.feature_importances_
        told.append(forest.score(codes[asked], values[asked]))
    shares = importance.sum(1) / max(importance.sum(), np.finfo(float).tiny)
    disentangled = float((shares * _purity(importance)).sum())
    return np.array([disentangled, float(_purity(importance.T).mean()), float(np.mean(told))])


def factor_vae_score(codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator) -> float:
    """How often the factor that 64 data have in common is told by the dimension that varies least among them, over how
    it varies among all, by majority (Kim & Mnih 2018, section 3). Dimensions that hardly vary have no vote.
    """
    z = _varying(codes)
    if not z.shape[1]:
        return 1 / factors.shape[1]  # whatever is said without codes
    variances = z.var(0)
    shared, rows = _votes(factors, rng)
    least = (z[rows].var(1) / variances).argmin(1)
    counts = np.zeros((z.shape[1], factors.shape[1]))
    np.add.at(counts, (least[::2], shared[::2]), 1)
    return float((counts.argmax(1)[least[1::2]] == shared[1::2]).mean())


def beta_vae_score(codes: np.ndarray, factors: np.ndarray, rng: np.random.Generator) -> float:
    """How often a linear classifier tells the factor that 64 pairs of data have in common from the mean of the absolute
    differences of their codes (Higgins et al. 2017, section 3).
    """
    from sklearn.linear_model import LogisticRegression

    if factors.shape[1] < 2:
        raise ValueError("beta-vae tells factors apart; accepted: data of two and more; leave it out")
    shared = rng.integers(factors.shape[1], size=VOTES)
    first = rng.integers(len(factors), size=(VOTES, SHARED))  # a value of each pair's own
    second = _alike(factors, first, shared, rng)
    scale = codes.std(0)
    apart = abs(codes[first] - codes[second]).mean(1) / np.where(scale > 0, scale, 1)
    machine = LogisticRegression(C=100.0, max_iter=1000).fit(apart[::2], shared[::2])
    return float(machine.score(apart[1::2], shared[1::2]))


Metric = Callable[[np.ndarray, np.ndarray, np.random.Generator], "float | np.ndarray"]
METRICS: dict[str, Metric] = {
    "mig": mig,
    "dci": dci,
    "sap": sap,
    "modularity": modularity,
    "factor-vae": factor_vae_score,
    "beta-vae": beta_vae_score,
}
SAYS = {
    "mig": "how much more the best dimension for a factor knows of it than the next",
    "dci disentanglement": "how far each dimension serves one factor",
    "dci completeness": "how far each factor is in one dimension",
    "dci informativeness": "the part of values that forests tell",
    "sap": "how much better the best dimension tells a factor than the next",
    "modularity": "how far each dimension knows of one factor alone",
    "factor-vae": "how often the dimension that varies least tells the factor that data share",
    "beta-vae": "how often a linear classifier tells the factor that pairs share",
}
PARTS = {"dci": ("dci disentanglement", "dci completeness", "dci informativeness")}
"""Of metrics that are several numbers, their names."""


def _checked(codes: ArrayLike, factors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Codes in float64, factors as the numbers 0..K-1 of their values."""
    z, v = np.asarray(codes, np.float64), np.asarray(factors)
    if z.ndim != 2 or v.ndim != 2 or len(z) != len(v) or not z.shape[1] or not v.shape[1]:
        raise ValueError(f"codes have shape {z.shape}, factors {v.shape}; accepted: (N, D) and (N, F)")
    if not np.isfinite(z).all():
        raise ValueError("codes have numbers that are not finite")
    for f, gone in enumerate((v != v).sum(0)):  # NaN alone differs from itself
        if gone:
            raise ValueError(f"factor {f} (from 0) is missing of {gone:,} of {len(z):,} data; leave these out")
    numbers = np.stack([np.unique(column, return_inverse=True)[1] for column in v.T], 1)
    values = numbers.max(0) + 1
    if bad := [f for f in range(v.shape[1]) if numbers[:, f].max() == 0]:
        raise ValueError(f"factor {bad[0]} (from 0) has one value in all {len(z):,} data; leave it out")
    if len(z) < FEWEST:
        raise ValueError(f"there are {len(z)} data; accepted: {FEWEST} and more, ten for each value of a factor")
    if values.max() > len(z) / 10:
        found = f"factor {int(values.argmax())} (from 0) has {values.max():,} values in {len(z):,} data"
        raise ValueError(f"{found}; accepted: at least ten data for each value")
    for f, rare in enumerate(len(z) - np.bincount(column).max() for column in numbers.T):
        if rare < RARE:
            found = f"factor {f} (from 0) has one value in all but {rare} of {len(z):,} data"
            raise ValueError(f"{found}; accepted: at least ten data with others, or leave it out")
    return z, numbers


def _binned(column: np.ndarray) -> np.ndarray:
    """The interval 0..19 of each value (N,), of as many equal ones from the least to the greatest."""
    low, high = column.min(), column.max()
    if not high > low:
        return np.zeros(len(column), np.int64)
    return np.minimum((BINS * ((column - low) / (high - low))).astype(np.int64), BINS - 1)


def _entropy(counts: np.ndarray) -> float:
    """Of a distribution that is given by how often each occurs, nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _entropies(factors: np.ndarray) -> np.ndarray:
    return np.array([_entropy(np.bincount(values)) for values in factors.T])


def _purity(importance: np.ndarray) -> np.ndarray:
    """One less the entropy of each row's shares, in units of the greatest there is; 0 of a row of zeros."""
    if importance.shape[1] < 2:
        return np.ones(len(importance))
    found = [1 - _entropy(row) / math.log(len(row)) if row.any() else 0.0 for row in importance]
    return np.array(found)


def _varying(codes: np.ndarray) -> np.ndarray:
    return codes[:, codes.std(0) > INACTIVE]


def _halves(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(rows)
    return order[: rows // 2], order[rows // 2 :]


def _votes(factors: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of each vote the factor that its data share, (V,), and their rows, (V, 64), the value by that of a random row."""
    shared = rng.integers(factors.shape[1], size=VOTES)
    one = np.broadcast_to(rng.integers(len(factors), size=(VOTES, 1)), (VOTES, SHARED))
    return shared, _alike(factors, one, shared, rng)


def _alike(factors: np.ndarray, rows: np.ndarray, shared: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn at random that have the same value of the shared factor (V,) as `rows` (V, L)."""
    found = np.empty_like(rows)
    for f in np.unique(shared):
        own = shared == f
        order = np.argsort(factors[:, f], kind="stable")
        ends = np.cumsum(np.bincount(factors[:, f]))
        values = factors[rows[own], f]
        start, end = ends[values] - np.bincount(factors[:, f])[values], ends[values]
        found[own] = order[start + (rng.random(values.shape) * (end - start)).astype(np.int64)]
    return found
