"""Priors p(z), p(z given y): modules whose `forward(y=None)` returns a distribution over z.

Without a condition its batch shape is (), with y (…, C) it is that of y, (…). A `zuko` flow keeps the same contract.
`PRIORS` is the table of their names.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .categorical import Categorical, UniformCategorical
from .mixtures import Mixture, VampPrior
from .normal import DiagonalNormal, StandardNormal, flow
from .resampled import Resampling
from .sequential import Transformer
from .simplex import Dirichlet, LogisticNormal
from .sphere import UniformSphere
from .tokens import CategoricalTokens, MaskedTokens, TransformerTokens, UniformTokens

__all__ = [
    "PRIORS",
    "Categorical",
    "CategoricalTokens",
    "DiagonalNormal",
    "Dirichlet",
    "LogisticNormal",
    "MaskedTokens",
    "Mixture",
    "Resampling",
    "StandardNormal",
    "Transformer",
    "TransformerTokens",
    "UniformCategorical",
    "UniformSphere",
    "UniformTokens",
    "VampPrior",
    "flow",
]

PRIORS: dict[str, Callable[..., nn.Module]] = {
    "standard-normal": StandardNormal,
    "diagonal-normal": DiagonalNormal,
    "mixture": Mixture,
    "vamp": VampPrior,
    "flow": flow,
    "resampled": Resampling,
    "transformer": Transformer,
    "uniform-sphere": UniformSphere,
    "dirichlet": Dirichlet,
    "logistic-normal": LogisticNormal,
    "uniform-categorical": UniformCategorical,
    "categorical": Categorical,
    "uniform-tokens": UniformTokens,
    "categorical-tokens": CategoricalTokens,
    "transformer-tokens": TransformerTokens,
    "masked-tokens": MaskedTokens,
}
