"""log p(x) of a split by chains beside that by importance weights, and which of the two to believe."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..data.tensors import TensorSplit
from ..models import VAE
from .annealing import Chains, anneal, bracket, settled
from .estimates import Estimate

OWN = 32
"""Data of a model's own on which bounds are compared, at most."""


@dataclass(frozen=True)
class Chained:
    """-log p(x) of `n` data of a split by chains, beside that by importance weights of the same; nats per datum."""

    split: str
    n: int
    how: Chains
    nll: float
    nll_stderr: float
    """How far other n data would move it."""
    nll_mc_stderr: float
    """How far another seed would."""
    by_weights: float
    """-log p(x) by `samples` importance weights each."""
    samples: int
    acceptance: float
    gap: float | None
    """Of `bracket` on as many data of the model's own; None of a conditional model."""
    gap_stderr: float | None = None

    @property
    def reading(self) -> str:
        """Which of the two numbers to believe, in a sentence: both are too high in expectation, if by anything."""
        apart = self.by_weights - self.nll
        best = f"the lower NLL is the nearer one, {min(self.nll, self.by_weights):.2f}"
        if abs(apart) <= 2 * self.nll_mc_stderr + 0.01:
            best = "the two agree"
        elif apart < 0:
            best += ": more temperatures would bring chains there"
        return best


def chained(
    model: VAE, data: TensorSplit, split: str, n: int = 100, how: Chains | None = None, *, samples: int, seed: int = 0
) -> Chained:
    """`anneal` of n data of a split, drawn by the seed, with what says how far it can be trusted.

    A row with a cell that its column can't have is left out.
    """
    index = np.sort(np.random.default_rng(seed).permutation(data.possible(split))[:n])
    batch = model.asked(data.rows(index))
    how = settled(how, model, batch)
    found = anneal(model, batch, how=how, seed=seed)
    own = None if model.condition else bracket(model, min(len(index), OWN), how=how, seed=seed)
    log_prob, errors = found.log_prob, found.stderr.square()
    return Chained(
        split,
        len(index),
        how,
        nll=-float(log_prob.mean()),
        nll_stderr=float(log_prob.std() / len(index) ** 0.5) if len(index) > 1 else math.nan,
        nll_mc_stderr=float(errors.sum().sqrt() / len(index)),
        by_weights=-float(model.score(batch, samples=samples, seed=seed).log_prob.mean()),
        samples=samples,
        acceptance=float(found.acceptance.mean()),
        gap=None if own is None else own.gap,
        gap_stderr=None if own is None else own.gap_stderr,
    )


def rows_of(found: Chained) -> list[tuple[str, str]]:
    """What a terminal says of it."""
    how = found.how
    error = "" if found.nll_stderr != found.nll_stderr else f" ± {found.nll_stderr:.2f}"
    chains = f"{how.chains} chains from the {how.start} over {how.temperatures} temperatures"
    rows = [
        (
            f"NLL of {found.n:,} data of {found.split}, {chains}",
            f"{found.nll:.3f}{error} over data; another seed moves it by {found.nll_mc_stderr:.2g}",
        ),
        (f"by {found.samples:,} importance weights each", f"{found.by_weights:.3f}"),
        ("steps accepted", f"{100 * found.acceptance:.0f} %"),
    ]
    if found.gap is not None:
        gap = Estimate(found.gap, math.nan if found.gap_stderr is None else found.gap_stderr)
        rows.append(("gap of the two bounds on data of the model's own", f"{gap} nats"))
    return rows
