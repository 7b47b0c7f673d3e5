"""Posteriors q(z given x): modules whose forward maps an encoder's features (…, F) to a distribution over z (…, D).

The condition y reaches a posterior through the encoder, whose features it gets. A conditional flow from `zuko` keeps
the same contract and is a posterior as it is. `POSTERIORS` is the table of their names.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .categorical import Categorical
from .continuous import DiagonalNormal, FixedNormal, Flow, FullRankNormal, RelaxedCategorical
from .hyperbolic import WrappedNormal
from .normals import HouseholderNormal, LowRankNormal, NormalMixture, SemiImplicit
from .quantised import FSQ, LFQ, VQ, ResidualVQ
from .simplex import Dirichlet
from .sphere import VonMisesFisher

__all__ = [
    "FSQ",
    "LFQ",
    "POSTERIORS",
    "VQ",
    "Categorical",
    "DiagonalNormal",
    "Dirichlet",
    "FixedNormal",
    "Flow",
    "FullRankNormal",
    "HouseholderNormal",
    "LowRankNormal",
    "NormalMixture",
    "RelaxedCategorical",
    "ResidualVQ",
    "SemiImplicit",
    "VonMisesFisher",
    "WrappedNormal",
]

POSTERIORS: dict[str, Callable[..., nn.Module]] = {
    "diagonal-normal": DiagonalNormal,
    "full-rank-normal": FullRankNormal,
    "fixed-normal": FixedNormal,
    "low-rank-normal": LowRankNormal,
    "householder": HouseholderNormal,
    "normal-mixture": NormalMixture,
    "semi-implicit": SemiImplicit,
    "flow": Flow,
    "von-mises-fisher": VonMisesFisher,
    "wrapped-normal": WrappedNormal,
    "dirichlet": Dirichlet,
    "relaxed-categorical": RelaxedCategorical,
    "categorical": Categorical,
    "vq": VQ,
    "rvq": ResidualVQ,
    "fsq": FSQ,
    "lfq": LFQ,
}
