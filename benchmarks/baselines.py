"""Densities of mixed tables that a VAE is held against: columns by themselves, and a mixture of normals over all.

Both give masses of categories and whole numbers, densities of what is real, so that their nats are those of the same
thing. Rows have no missing cells; categories are codes 0..L-1.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

WHOLE, CATEGORY, REAL = "whole", "category", "real"
DRAWS = 50
"""Points of a unit cell that a mass is estimated by."""


class Histogram:
    """P(k) of whole numbers: half a row for each between the least and the greatest (Krichevsky & Trofimov 1981)."""

    def __init__(self, x: np.ndarray, levels: int | None = None) -> None:
        self.low, high = (0, levels - 1) if levels else (int(x.min()), int(x.max()))
        counts = np.bincount(x.astype(int) - self.low, minlength=high - self.low + 1) + 0.5
        self.log_p, self.outside = np.log(counts / counts.sum()), -np.log(counts.sum()) - 20.0

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        at = x.astype(int) - self.low
        there = (at >= 0) & (at < len(self.log_p))
        return np.where(there, self.log_p[at.clip(0, len(self.log_p) - 1)], self.outside)


class Normals:
    """A mixture of normals of t(x) = asinh of the scaled numbers x (N, D) or (N,); what is whole is spread over
    its unit cell.
    """

    def __init__(self, x: np.ndarray, kinds: list[str], components: int, seed: int) -> None:
        self.whole, self.rng = np.array([kind != REAL for kind in kinds]), np.random.default_rng(seed)
        x = x.reshape(len(x), -1)
        self.middle = np.median(x, 0)
        spread = np.quantile(x, 0.75, axis=0) - np.quantile(x, 0.25, axis=0)
        self.scale = np.where(spread > 0, spread, np.maximum(x.std(0), 1e-6))
        t = self._inwards(self._spread(x))
        self.mixture = GaussianMixture(components, reg_covar=1e-4, random_state=seed, max_iter=200).fit(t)

    def _spread(self, x: np.ndarray) -> np.ndarray:
        return x + self.whole * (self.rng.random(x.shape) - 0.5)

    def _inwards(self, x: np.ndarray) -> np.ndarray:
        return np.arcsinh((x - self.middle) / self.scale)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        x, found = x.reshape(len(x), -1), []
        for _ in range(DRAWS if self.whole.any() else 1):
            spread = self._spread(x)
            slope = -np.log(self.scale) - 0.5 * np.log1p(((spread - self.middle) / self.scale) ** 2)
            found.append(self.mixture.score_samples(self._inwards(spread)) + slope.sum(1))
        return logsumexp(found, axis=0) - np.log(len(found))


def columns_apart(train: np.ndarray, test: np.ndarray, kinds: list[str], levels: list[int], seed: int) -> np.ndarray:
    """log p of test rows, each column by itself: categories and whole numbers by a histogram, numbers by ten normals,
    whole numbers by whichever is better on a fifth of the training rows.
    """
    cut, total = len(train) // 5, np.zeros(len(test))
    for i, kind in enumerate(kinds):
        x, new = train[:, i], test[:, i]
        ways = [] if kind == REAL else [lambda of, i=i: Histogram(of, levels[i])]
        if kind != CATEGORY:
            ways.append(lambda of, kind=kind: Normals(of, [kind], 10, seed))
        held = [way(x[cut:]).log_prob(x[:cut]).mean() for way in ways]
        total += ways[int(np.argmax(held))](x).log_prob(new)
    return total
