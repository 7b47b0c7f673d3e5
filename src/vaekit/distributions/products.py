"""A distribution of columns of several kinds, each independent of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from .moments import typical
from .shapes import _Shape, broadcast_shapes


class Columns(Distribution):
    """The product of `parts`, each of some of D columns: the `index` (D_i,) of part i says which.

    parts (…, D_i) are `Independent` over their last dimension; an event is (D,). `log_probs` are those of each column,
    whose sum is `log_prob`: masses of what is discrete, densities of what is continuous, in its own units.

    >>> from torch.distributions import Bernoulli, Normal
    >>> heads = Independent(Bernoulli(torch.tensor([0.25])), 1)
    >>> heights = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    >>> p = Columns([heads, heights], [torch.tensor([1]), torch.tensor([0, 2])])
    >>> p.log_probs(torch.tensor([0.0, 1.0, 0.0])).exp()
    tensor([0.3989, 0.2500, 0.3989])
    """

    arg_constraints = {}

    def __init__(self, parts: Sequence[Independent], index: Sequence[Tensor], order: Tensor | None = None) -> None:
        self.parts, self.index = tuple(parts), tuple(index)
        self.order = torch.cat(self.index).argsort() if order is None else order
        batch = broadcast_shapes(*(part.batch_shape for part in self.parts))
        super().__init__(batch, self.order.shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Columns:
        return Columns([part.expand(torch.Size(batch_shape)) for part in self.parts], self.index, self.order)

    def _joined(self, of: Callable[[Independent], Tensor]) -> Tensor:
        """What `of` gives of each part (…, D_i), as (…, D) in the order of the columns."""
        return torch.cat([of(part) for part in self.parts], -1).index_select(-1, self.order)

    def log_probs(self, value: Tensor) -> Tensor:
        """log p of each column of value (…, D), (…, D) nats."""
        found = [
            part.base_dist.log_prob(value.index_select(-1, index))
            for part, index in zip(self.parts, self.index, strict=True)
        ]
        return torch.cat(found, -1).index_select(-1, self.order)

    def log_prob(self, value: Tensor) -> Tensor:
        return sum(
            part.log_prob(value.index_select(-1, index)) for part, index in zip(self.parts, self.index, strict=True)
        )

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        """log p of the columns of value that are `observed`, of bool (…, D): (…) nats."""
        return torch.where(observed, self.log_probs(value), 0.0).sum(-1)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        return self._joined(lambda part: part.sample(shape))

    @property
    def mean(self) -> Tensor:
        return self._joined(lambda part: part.mean)

    @property
    def typical(self) -> Tensor:
        """The mean of columns that have one, of others the likeliest value."""
        return self._joined(typical)
