"""A likelihood of tables whose cells are missing because of what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from ..data.domains import Domain
from ..distributions.selfmasked import SelfMasked
from ..distributions.warped import ColumnOf
from .base import Likelihood
from .columns import ColumnsLikelihood, LogisticMixture

Missing = Literal["either", "high", "low"]


class SelfMaskedColumns(ColumnsLikelihood):
    """A row of columns as of `columns`, and which of its cells are observed, each by a logistic function of what is in
    it: missing not at random (self-masking of not-MIWAE, Ipsen, Mattei & Frellsen 2021, section 4).

    `missing` says what goes missing more often, where that is known: `high` or `low` numbers; `either` learns it for
    each column. Categories and 0 and 1 have a probability each. The probability of a row with holes is that of what is
    observed and of which cells these are; that of a whole row, or of a table without holes, leaves the latter out.

    A mechanism of one's own is a subclass with another `mechanism`.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        components: int = 3,
        global_scale: bool = False,
        missing: Missing = "either",
    ) -> None:
        super().__init__(event_shape, domain, components, global_scale)
        self.mechanisms = nn.ModuleList(self.mechanism(member, missing) for member in self.members)  # type: ignore[arg-type]

    def mechanism(self, member: Likelihood, missing: Missing) -> nn.Module:
        """The module that maps values (…, n) of the n columns of a `member` to the logits (…, n) of their being there.

        Values are in the user's units, categories and levels numbered from 0.
        """
        if isinstance(member, LogisticMixture):
            return NumbersSeen(member.column, missing, member.zero)
        if member.domain.kind == "unit":
            size = member.event_shape
            location, scale = (each.expand(size).clone() for each in (member.location, member.scale))
            return NumbersSeen(ColumnOf("affine", location, scale, torch.stack([location, location + scale])), missing)
        return LevelsSeen(member.event_shape, member.domain.levels or 2)

    def forward(self, parameters: Tensor) -> Distribution:
        return SelfMasked(self.columns(parameters), list(self.mechanisms))


class NumbersSeen(nn.Module):
    """Logits a_j + b_j t(x_j) of numbers x (…, n), t what makes the `column` one of order one; with `zero` those of
    columns that may be 0, and then have a logit of their own.
    """

    location: Tensor
    scale: Tensor

    def __init__(self, column: ColumnOf, missing: Missing, zero: bool = False) -> None:
        super().__init__()
        self.column, self.missing, size = column, missing, column.location.shape
        for name in ("location", "scale"):
            self.register_buffer(name, getattr(column, name).to(torch.get_default_dtype()), persistent=False)
        self.offset, self.slope = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))
        self.of_zero = nn.Parameter(torch.zeros(size)) if zero else None

    def forward(self, x: Tensor) -> Tensor:
        slope = self.slope if self.missing == "either" else softplus(self.slope)
        slope = -slope if self.missing == "high" else slope
        zero = x == 0
        if self.of_zero is not None:  # of which there is no logarithm
            x = torch.where(zero, torch.ones_like(x), x)
        column = replace(self.column, location=self.location, scale=self.scale)
        logits = self.offset + slope * column.inwards(x).to(slope.dtype)
        return logits if self.of_zero is None else torch.where(zero, self.of_zero, logits)


class LevelsSeen(nn.Module):
    """A logit for each of the `levels` of columns x (…, n), of 0 and 1, of categories or of ordered ones."""

    def __init__(self, size: Sequence[int], levels: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(levels, *size))

    def forward(self, x: Tensor) -> Tensor:
        own = self.logits.expand(*x.shape[:-1], *self.logits.shape)
        return own.gather(-2, x.long().clamp(0, len(self.logits) - 1).unsqueeze(-2)).squeeze(-2)
