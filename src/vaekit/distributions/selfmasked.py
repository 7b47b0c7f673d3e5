"""Rows whose holes tell of what is in them: the joint probability of cells and of which of them are observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent
from torch.nn.functional import logsigmoid

from .products import Columns
from .quadrature import nodes_like
from .shapes import Scaled, _Shape
from .warped import WarpedMixture, ZeroOr

CANDIDATES = 32
"""Draws of a cell of which one is taken, by how likely it would be missing."""

GRID = 64
"""Nodes of a quadrature between two ends."""

Mechanism = Callable[[Tensor], Tensor]
"""Of values (…, n) of n columns the logits (…, n) of their being observed."""


def points(cells: Distribution) -> tuple[Tensor, Tensor]:
    """Values (Q, …, n) of each of n cells, and log-weights (Q, …, n) whose exponentials add up to 1, by which averages
    over the cells are made: all values of what is discrete, nodes of a quadrature of other numbers.

    Raises `ValueError` for other distributions.

    >>> x, log_weight = points(Bernoulli(torch.tensor([0.25])))
    >>> x.squeeze(-1), log_weight.squeeze(-1).exp()
    (tensor([0., 1.]), tensor([0.7500, 0.2500]))
    """
    if isinstance(cells, Categorical):
        log_weight = cells.logits.log_softmax(-1).movedim(-1, 0)
        levels = torch.arange(len(log_weight), dtype=log_weight.dtype, device=log_weight.device)
        return levels.view(-1, *[1] * (log_weight.dim() - 1)).expand_as(log_weight), log_weight
    if isinstance(cells, Bernoulli):
        log_weight = torch.stack([logsigmoid(-cells.logits), logsigmoid(cells.logits)])
        return torch.stack([torch.zeros_like(cells.logits), torch.ones_like(cells.logits)]), log_weight
    if isinstance(cells, ZeroOr):
        x, log_weight = points(cells.base)
        log_zero = logsigmoid(cells.logits).expand_as(x[0]).unsqueeze(0)
        other = log_weight + logsigmoid(-cells.logits)
        return torch.cat([torch.zeros_like(x[:1]), x]), torch.cat([log_zero, other])
    if isinstance(cells, WarpedMixture):
        return cells.points()
    if isinstance(cells, Scaled) and cells.limits is not None:
        return _within(cells, *cells.limits)
    raise ValueError(
        f"{type(cells).__name__} has no points to average over; accepted: what columns of a table are made of"
    )


def _within(cells: Scaled, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    beside = [1] * len(cells.batch_shape)
    u, weights = (each.view(-1, *beside) for each in nodes_like(GRID, cells.scale))
    x = low + (high - low) * u
    log_weight = cells.log_prob(x) + weights.log()
    return x.expand_as(log_weight), log_weight - log_weight.logsumexp(0)


class SelfMasked(Distribution):
    """`columns`, and whether each cell is observed: s_j ~ Bernoulli(sigmoid(m_j(x_j))), m the `mechanisms`, one for
    each of the columns' parts. What is missing depends on what it is (missing not at random).

    `log_prob` and `sample` are those of whole rows. `marginal_log_prob` is that of what is observed and of which cells
    these are:

        log p(x_o, s) = sum over observed j of log p(x_j) sigmoid(m_j(x_j))
                      + sum over the others of log E sigmoid(-m_j(x_j)), the mean over p(x_j)

    With a mechanism for each cell alone the integral over what is missing is one of each cell, and not estimated by
    draws, as it is in Ipsen, Mattei & Frellsen 2021 (eq. 8).
    """

    arg_constraints = {}

    def __init__(self, columns: Columns, mechanisms: Sequence[Mechanism]) -> None:
        self.whole, self.mechanisms = columns, tuple(mechanisms)
        super().__init__(columns.batch_shape, columns.event_shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> SelfMasked:
        return SelfMasked(self.whole.expand(batch_shape), self.mechanisms)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.whole.log_prob(value)

    def log_probs(self, value: Tensor) -> Tensor:
        return self.whole.log_probs(value)

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        columns, there, missing = self.whole, [], []
        for cells, mechanism, index in self._parts():
            there.append(logsigmoid(mechanism(value.index_select(-1, index))).to(value.dtype))
            x, log_weight = points(cells)
            missing.append((log_weight + logsigmoid(-mechanism(x))).logsumexp(0))
        seen = columns.log_probs(value) + torch.cat(there, -1).index_select(-1, columns.order)
        return torch.where(observed, seen, torch.cat(missing, -1).index_select(-1, columns.order)).sum(-1)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        return self.whole.sample(sample_shape)

    @property
    def mean(self) -> Tensor:
        return self.whole.mean

    @property
    def typical(self) -> Tensor:
        return self.whole.typical

    def given_missing(self, value: Tensor, observed: Tensor | None) -> Columns:
        """The columns given that they are missing, which does not depend on the others."""
        parts = [Independent(_missing(cells, mechanism), 1) for cells, mechanism, _ in self._parts()]
        return Columns(parts, self.whole.index, self.whole.order)

    def _parts(self) -> list[tuple[Distribution, Mechanism, Tensor]]:
        cells = [part.base_dist for part in self.whole.parts]
        return list(zip(cells, self.mechanisms, self.whole.index, strict=True))


def _missing(cells: Distribution, mechanism: Mechanism) -> Distribution:
    """`cells` given that they are missing."""
    x, log_weight = points(cells)
    log_weight = log_weight + logsigmoid(-mechanism(x))
    if isinstance(cells, Bernoulli):
        return Bernoulli(logits=log_weight[1] - log_weight[0], validate_args=False)
    if isinstance(cells, Categorical):
        return type(cells)(logits=log_weight.movedim(0, -1))
    return _NumbersMissing(cells, mechanism, (log_weight.softmax(0) * x).sum(0))


class _NumbersMissing(Distribution):
    """Numbers given that they are missing: their mean, and draws."""

    arg_constraints = {}

    def __init__(self, cells: Distribution, mechanism: Mechanism, mean: Tensor) -> None:
        self.cells, self.mechanism, self._mean = cells, mechanism, mean
        super().__init__(cells.batch_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._mean

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        x = self.cells.sample((CANDIDATES, *sample_shape))
        log_weight = logsigmoid(-self.mechanism(x))
        noise = -torch.empty_like(log_weight).exponential_().log()
        return x.gather(0, (log_weight + noise).argmax(0, keepdim=True)).squeeze(0)
