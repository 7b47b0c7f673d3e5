"""Likelihoods p(x given z): modules whose forward maps a decoder's output to a distribution over x (…, *event_shape).

Each states in `parameter_shape` what it wants of the decoder, and in `domains` the kinds of data it is a density (or a
mass function) of. Log-probabilities are nats in the data's own units: a density that is parameterised on scaled data
pays its Jacobian. A decoder's output of 0 is a start that suits data of order one, and logarithms are kept within
bounds that still pull back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from ..data.domains import KINDS, Domain
from ..errors import shown, unknown
from ..settings import setting
from .base import Likelihood
from .columns import ColumnsLikelihood, LogisticMixture
from .counts import Multinomial, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial, ZeroInflatedPoisson
from .levels import Bernoulli, Binomial, LevelsCategorical, LevelsLogistic, LevelsLogisticMixture
from .positive import Gamma, LogNormal, Weibull
from .real import FixedNormal, GlobalNormal, Laplace, Normal, StudentT
from .selfmasking import SelfMaskedColumns
from .unit import Beta, ContinuousBernoulli, TruncatedNormal

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Beta",
    "Binomial",
    "ColumnsLikelihood",
    "ContinuousBernoulli",
    "FixedNormal",
    "Gamma",
    "GlobalNormal",
    "Laplace",
    "LevelsCategorical",
    "LevelsLogistic",
    "LevelsLogisticMixture",
    "Likelihood",
    "LogNormal",
    "LogisticMixture",
    "Multinomial",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "SelfMaskedColumns",
    "StudentT",
    "TruncatedNormal",
    "Weibull",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
    "check_domain",
]

LIKELIHOODS: dict[str, Callable[..., nn.Module]] = {
    "bernoulli": Bernoulli,
    "discretized-logistic": LevelsLogistic,
    "discretized-logistic-mixture": LevelsLogisticMixture,
    "binomial": Binomial,
    "continuous-bernoulli": ContinuousBernoulli,
    "beta": Beta,
    "normal": Normal,
    "normal-global": GlobalNormal,
    "normal-fixed": FixedNormal,
    "laplace": Laplace,
    "student-t": StudentT,
    "log-normal": LogNormal,
    "gamma": Gamma,
    "weibull": Weibull,
    "truncated-normal": TruncatedNormal,
    "categorical": LevelsCategorical,
    "poisson": Poisson,
    "negative-binomial": NegativeBinomial,
    "zero-inflated-poisson": ZeroInflatedPoisson,
    "zero-inflated-negative-binomial": ZeroInflatedNegativeBinomial,
    "multinomial": Multinomial,
    "columns": ColumnsLikelihood,
    "logistic-mixture": LogisticMixture,
    "self-masked-columns": SelfMaskedColumns,
}


def check_domain(table: Mapping[str, Callable[..., nn.Module]], name: str, domain: Domain) -> None:
    """Raise `ValueError` when the likelihood called `name` in `table` is no density of `domain`, or does not say."""
    if name not in table:
        raise ValueError(unknown("likelihood", name, table))
    domains = getattr(table[name], "domains", ())
    if isinstance(domains, str) or not domains or (others := [each for each in domains if each not in KINDS]):
        has = "declares no `domains`, the kinds of data that it is a density of"
        if domains:
            has = f"has the domains {shown(domains if isinstance(domains, str) else others[0])}"
        wanted = f"a tuple of some of {', '.join(KINDS)}, such as ('real',)"
        raise ValueError(f"likelihood {name!r} {has}; accepted: {wanted}")
    if domain.kind not in domains:
        fits = [other for other, part in table.items() if domain.kind in getattr(part, "domains", ())]
        binarize = f"; or binarise them: {setting('data.binarize', 'stochastic')}"
        treat = {"grey": f"{binarize}, or {setting('data.dequantize', True)}", "unit": binarize}.get(domain.kind, "")
        if domain.kind in ("real", "columns"):  # what is asked for no other kind is taken for real
            treat = f"; if the data are that, say so: {setting('data.domain', domains[0])}"
        raise ValueError(
            f"likelihood {name!r} is a density of {' or '.join(domains)} data, but the data are {domain}; "
            f"what fits: {', '.join(fits) or 'none of those named'}{treat}"
        )
