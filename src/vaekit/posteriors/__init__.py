"""Posteriors q(z given x): modules whose forward maps an encoder's features (…, F) to a distribution over z (…, D).

The condition y reaches a posterior through the encoder, whose features it gets. A conditional flow from `zuko` keeps
the same contract and is a posterior as it is. `POSTERIORS` is the table of their names.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .categorical import Categorical
from .continuous import DiagonalNormal, Flow, FullRankNormal, RelaxedCategorical
from .quantised import FSQ, LFQ, VQ, ResidualVQ

__all__ = [
    "FSQ",
    "LFQ",
    "POSTERIORS",
    "VQ",
    "Categorical",
    "DiagonalNormal",
    "Flow",
    "FullRankNormal",
    "RelaxedCategorical",
    "ResidualVQ",
]

POSTERIORS: dict[str, Callable[..., nn.Module]] = {
    "diagonal-normal": DiagonalNormal,
    "full-rank-normal": FullRankNormal,
    "flow": Flow,
    "relaxed-categorical": RelaxedCategorical,
    "categorical": Categorical,
    "vq": VQ,
    "rvq": ResidualVQ,
    "fsq": FSQ,
    "lfq": LFQ,
}
