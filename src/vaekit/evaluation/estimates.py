"""Numbers that are estimated, with their standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    >>> str(Estimate(1.23456, 0.1))
    '1.235 ± 0.100'
    """

    value: float
    stderr: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.stderr:.3f}"


def mean_of(values: Tensor) -> Estimate:
    """The mean of independent values (N,), whose error is not known of one alone."""
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else math.nan
    return Estimate(float(values.mean()), error)
