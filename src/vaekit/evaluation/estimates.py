"""Numbers that are estimated, with their standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, NaN where that is not known.

    >>> str(Estimate(1.23456, 0.1)), str(Estimate(1.23456, math.nan))
    ('1.235 ± 0.100', '1.235')
    """

    value: float
    stderr: float

    def __str__(self) -> str:
        error = "" if math.isnan(self.stderr) else f" ± {self.stderr:.3f}"
        return "unknown" if math.isnan(self.value) else f"{self.value:.3f}{error}"


def mean_of(values: Tensor) -> Estimate:
    """The mean of independent values (N,), whose error is not known of one alone."""
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else math.nan
    return Estimate(float(values.mean()), error)
