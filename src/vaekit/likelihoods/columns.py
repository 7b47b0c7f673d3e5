"""Likelihoods of tables: mixtures for numbers of any kind, and columns of several kinds side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.domains import WHOLE, Domain
from ..distributions.bounds import bounded, checked_clamp
from ..distributions.levels import Categories, Levels
from ..distributions.products import Columns
from ..distributions.warped import ColumnOf, WarpedMixture, WholeMixture, ZeroOr
from ..errors import check_least
from .base import Likelihood
from .levels import Bernoulli
from .unit import TruncatedNormal

NEVER = -1e4
"""The logit of a level that a column does not have."""


class LogisticMixture(Likelihood):
    """x_i ~ a mixture of logistic densities of t(x_i), t the domain's warp: weights, places and scales of all from the
    decoder. Whole numbers have the mass between x - 1/2 and x + 1/2, those from 0 on all below 1/2 at 0; what may be 0,
    or else is a real number above it, has a probability of 0 beside.

    Skewed, heavy-tailed and many-peaked columns are what it is for (mixtures of logistics as in Salimans et al. 2017,
    of any column instead of a pixel). With `global_scale` a column's scales are the same for all rows, and learned:
    of few rows a decoder learns by heart which of them are narrow.
    """

    domains = ("real", "positive", "nonnegative", "count", "integer")

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        components: int = 3,
        log_scale_clamp: tuple[float, float] = (-6.0, 3.0),
        global_scale: bool = False,
    ) -> None:
        check_least("components", components)
        self.zero = domain.kind == "nonnegative"
        super().__init__(event_shape, domain, parameters=(2 if global_scale else 3) * components + self.zero)
        if len(self.event_shape) != 1:
            raise ValueError(f"a mixture is one of a table's columns, but a datum has shape {self.event_shape}")
        self.components, self.clamp = components, checked_clamp("log_scale_clamp", log_scale_clamp)
        self.log_scale = nn.Parameter(torch.zeros(components, *self.event_shape)) if global_scale else None
        if domain.kind in ("positive", "nonnegative") and domain.warp == "affine":  # its scale is that of a mean
            domain = replace(domain, location=_logs(domain.scale), scale=1.0, warp="log")
        self.warp = domain.warp
        # Large whole numbers, and real ones far from 0, are drawn in float64.
        kind = torch.float64 if domain.in_float64 else torch.get_default_dtype()
        for name, value in (("column_location", domain.location), ("column_scale", domain.scale)):
            values = torch.as_tensor(value, dtype=torch.float64).expand(self.event_shape)
            self.register_buffer(name, values.to(kind).clone(), persistent=False)
        ends = torch.tensor(domain.ends, dtype=kind).T if domain.ends else torch.tensor([[-torch.inf], [torch.inf]])
        self.register_buffer("ends", ends.clone(), persistent=False)
        # Components that were all alike would stay so.
        spread = torch.linspace(-1.0, 1.0, components) if components > 1 else torch.zeros(1)
        self.register_buffer("spread", spread.unsqueeze(-1), persistent=False)

    ends: Tensor
    column_location: Tensor
    column_scale: Tensor
    spread: Tensor

    @property
    def column(self) -> ColumnOf:
        """What x becomes to be of order one."""
        whole = self.domain.kind in WHOLE
        return ColumnOf(self.warp, self.column_location, self.column_scale, self.ends, whole)

    def forward(self, parameters: Tensor) -> Distribution:
        k = self.components
        own = [] if self.log_scale is not None else [k]
        logits, loc, *rest = parameters.split([k, k, *own, *[1] * self.zero], -2)
        log_scale = self.log_scale.expand_as(loc) if self.log_scale is not None else rest.pop(0)
        scale = bounded(log_scale - 1.0, *self.clamp).exp()
        made = (logits, loc + self.spread, scale, self.column)
        if self.domain.kind in WHOLE:
            return self.event(WholeMixture(*made, least=0 if self.domain.kind == "count" else None))
        mixture = WarpedMixture(*made)
        return self.event(ZeroOr(rest[0].squeeze(-2), mixture) if rest else mixture)


class _Ragged(Likelihood):
    """Columns (n,) of categories or ordered levels, each of its own of `columns`: some have fewer levels than others.

    A level that no training row has begins with the probability 1 / (2 N + L), of N rows and L levels: that of
    half a row of it among N (Krichevsky & Trofimov 1981). Training only lowers it, but takes long from 1 / L.
    """

    domains = ("grey", "categorical")
    lowered: Tensor

    def __init__(self, event_shape: Sequence[int], domain: Domain, columns: Sequence[Domain]) -> None:
        super().__init__(event_shape, domain, parameters=domain.levels or 0)
        lowered = torch.zeros(domain.levels or 0, len(columns))
        for i, each in enumerate(columns):
            levels, unseen = each.levels or 0, len(each.unseen)
            lowered[levels:, i] = NEVER
            # Beside levels of the logit 0.
            lowered[list(each.unseen), i] = math.log((levels - unseen) / (2 * each.rows + levels - unseen))
        self.register_buffer("lowered", lowered, persistent=False)

    def forward(self, parameters: Tensor) -> Distribution:
        kind = Categories if self.domain.kind == "categorical" else Levels
        return self.event(kind(logits=(parameters + self.lowered).movedim(-2, -1)))


class ColumnsLikelihood(Likelihood):
    """A row of columns, each of its own kind, independent given z: numbers by a `LogisticMixture`, 0 and 1 by a
    Bernoulli, categories and ordered levels by a probability each, numbers between two ends by a truncated normal.

    Each column's log-probability is nats in its own units; `log_probs` of the distribution has them, and they sum to
    the row's.
    """

    domains: ClassVar[tuple[str, ...]] = (
        "columns",
        "real",
        "positive",
        "nonnegative",
        "count",
        "integer",
        "binary",
        "categorical",
        "unit",
    )
    order: Tensor

    def __init__(
        self, event_shape: Sequence[int], domain: Domain, components: int = 3, global_scale: bool = False
    ) -> None:
        super().__init__(event_shape, domain)
        if len(self.event_shape) != 1:
            raise ValueError(f"columns are those of a table, but a datum has shape {self.event_shape}")
        (d,) = self.event_shape
        groups = domain.groups if domain.kind == "columns" else ((domain, tuple(range(d))),)
        numbers = {"components": components, "global_scale": global_scale}
        self.members = nn.ModuleList(self._member(own, index, numbers) for own, index in groups)
        self.sizes = [math.prod(member.parameter_shape) for member in self.members]  # type: ignore[arg-type]
        self.parameter_shape = (sum(self.sizes),)
        index = [torch.tensor(index) for _, index in groups]
        for i, each in enumerate(index):
            self.register_buffer(f"index_{i}", each, persistent=False)
        self.register_buffer("order", torch.cat(index).argsort(), persistent=False)

    def _member(self, domain: Domain, index: tuple[int, ...], numbers: Mapping[str, Any]) -> Likelihood:
        given: Mapping[str, Any] = {"event_shape": (len(index),), "domain": domain}
        if domain.kind == "binary":
            return Bernoulli(**given)
        if domain.kind == "unit":
            return TruncatedNormal(**given)
        if domain.levels is not None:
            of_each = [self.domain.columns[i] if self.domain.columns else domain for i in index]
            return _Ragged(**given, columns=of_each)
        return LogisticMixture(**given, **numbers)

    def forward(self, parameters: Tensor) -> Distribution:
        return self.columns(parameters)

    def columns(self, parameters: Tensor) -> Columns:
        """The distribution of a row."""
        parts, index = [], []
        for i, (member, own) in enumerate(zip(self.members, parameters.split(self.sizes, -1), strict=True)):
            parts.append(member(own.unflatten(-1, member.parameter_shape)))
            index.append(getattr(self, f"index_{i}"))
        return Columns(parts, index, self.order)


def _logs(scale: float | tuple[float, ...]) -> float | tuple[float, ...]:
    logs = torch.as_tensor(scale, dtype=torch.float64).log()
    return tuple(logs.tolist()) if logs.dim() else float(logs)
