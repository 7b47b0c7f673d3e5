"""Cases: where a class is summed out, a datum is scored once for each class that it may be of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cases:
    """How R cases, in one dimension, are those of B data: of the first `seen` data one each, of all others one for each
    of the `classes`.

    The cases of the others follow class after class: all data of class 0, all of class 1, … `log_prob` (R,) or (S, R)
    is log q(c given x) of a case, 0 where a datum has but one.

    >>> cases = Cases(torch.tensor([0.0, -0.7, -0.7, -0.7, -0.7]), seen=1, classes=2)
    >>> cases.repeat(torch.tensor([10, 20, 30])).tolist()
    [10, 20, 30, 20, 30]
    """

    log_prob: Tensor
    seen: int
    classes: int

    def repeat(self, values: Tensor, dim: int = 0) -> Tensor:
        """Values of B data, in dimension `dim`, as those of their R cases."""
        return repeated(values, self.seen, self.classes, dim)

    def expected(self, values: Tensor) -> Tensor:
        """The mean over classes of values (…, R), weighed by q(c given x): (…, B)."""
        return self._of_data(self.log_prob.exp() * values, lambda each: each.sum(-2))

    def expected_rows(self, values: Tensor) -> Tensor:
        """The mean over classes of rows (…, R, T): (…, B, T)."""
        return self._of_data((self.log_prob.exp().unsqueeze(-1) * values).mT, lambda each: each.sum(-2)).mT

    def logsumexp(self, values: Tensor) -> Tensor:
        """log of the sum over classes of exp of values (…, R): (…, B)."""
        return self._of_data(values, lambda each: each.logsumexp(-2))

    def first(self) -> Cases:
        """As they are of the first of S draws."""
        return self if self.log_prob.dim() == 1 else Cases(self.log_prob[0], self.seen, self.classes)

    def _of_data(self, values: Tensor, reduced: Callable[[Tensor], Tensor]) -> Tensor:
        found = reduced(values[..., self.seen :].unflatten(-1, (self.classes, -1)))
        return torch.cat([values[..., : self.seen], found], -1) if self.seen else found


def repeated(values: Tensor, seen: int, classes: int, dim: int) -> Tensor:
    """Values of data, in dimension `dim`, the first `seen` as they are, the others once for each class."""
    first, others = values.split([seen, values.shape[dim] - seen], dim)
    return torch.cat([*([first] if seen else []), *[others] * classes], dim)
