"""Which genes two groups of cells express differently, by rates drawn for cells of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

BLOCK = 2000
"""Genes that are compared at once."""


ACCEPTED = {
    "mode": "'change', 'vanilla'",
    "delta": "0 or more",
    "pseudocounts": "0 or more, or None",
    "fdr_target": "between 0 and 1",
}


@dataclass(frozen=True)
class Comparison:
    """How two groups are compared: see `interop.anndata.differential_expression`. `ValueError` for what can't be."""

    mode: str = "change"
    delta: float = 0.25
    pseudocounts: float | None = None
    fdr_target: float = 0.05

    def __post_init__(self) -> None:
        fits = {
            "mode": self.mode in ("change", "vanilla"),
            "delta": self.delta >= 0,
            "pseudocounts": self.pseudocounts is None or self.pseudocounts >= 0,
            "fdr_target": 0 < self.fdr_target < 1,
        }
        for name, fit in fits.items():
            if not fit:
                raise ValueError(f"{name} is {getattr(self, name)!r}; accepted: {ACCEPTED[name]}")

    def table(self, rates: Sequence[np.ndarray], means: Sequence[np.ndarray]) -> pd.DataFrame:
        """A line for each gene, of the `rates` (S, G) of pairs of cells of two groups, and the `means` (G,) of the
        counts of these.
        """
        offset = _offset(rates, means) if self.pseudocounts is None else self.pseudocounts
        blocks = np.array_split(np.arange(rates[0].shape[1]), max(1, rates[0].shape[1] // BLOCK))
        parts = [self._of(rates[0][:, block], rates[1][:, block], offset) for block in blocks]
        table = pd.concat([pd.DataFrame(each) for each in parts], ignore_index=True)
        if self.mode == "change":
            table = table.assign(pseudocounts=offset, delta=self.delta)
            table[f"is_de_fdr_{self.fdr_target:g}"] = called(table["proba_de"].to_numpy(), self.fdr_target)
        return table

    def _of(self, first: np.ndarray, second: np.ndarray, offset: float) -> dict[str, np.ndarray]:
        scales = {"scale1": first.mean(0), "scale2": second.mean(0)}
        if self.mode == "vanilla":
            higher = (first > second).mean(0)
            odds = _log_odds(higher, len(first))
            return {"proba_m1": higher, "proba_m2": 1 - higher, "bayes_factor": odds, **scales}
        change = np.log2(first + offset) - np.log2(second + offset)
        beyond = (np.abs(change) >= self.delta).mean(0)
        found = {
            "proba_de": beyond,
            "proba_not_de": 1 - beyond,
            "bayes_factor": _log_odds(beyond, len(first)),
            **scales,
        }
        for name in ("mean", "median", "std", "min", "max"):
            found[f"lfc_{name}"] = getattr(np, name)(change, 0)
        return found


def _offset(rates: Sequence[np.ndarray], means: Sequence[np.ndarray]) -> float:
    """What rates are where a group has no count: nine tenths of such genes have none above it; the larger of both."""
    none = [rate[:, mean == 0].max(0) for rate, mean in zip(rates, means, strict=True)]
    return float(max([*(np.quantile(each, 0.9) for each in none if len(each)), 1e-10]))


def _log_odds(probability: np.ndarray, samples: int) -> np.ndarray:
    """log(p / (1 - p)) of what was counted in so many samples, of all or none of them as of half a sample less."""
    inside = np.clip(probability, 0.5 / samples, 1 - 0.5 / samples)
    return np.log(inside) - np.log1p(-inside)


def called(probability: np.ndarray, target: float) -> np.ndarray:
    """The most probable ones, as many as there may be with a mean of 1 - p of at most `target` (Boyeau et al. 2019).

    >>> called(np.array([0.2, 0.99, 0.95, 0.9]), 0.06).tolist()
    [False, True, True, True]
    """
    order = np.argsort(-probability, kind="stable")
    wrong = np.cumsum(1 - probability[order]) / np.arange(1, len(order) + 1)
    found = np.zeros(len(order), bool)
    found[order[: int((wrong <= target).sum())]] = True
    return found
