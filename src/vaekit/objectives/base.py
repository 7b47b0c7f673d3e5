"""What an objective is, and what they share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..distributions.discrete import RelaxedOneHot
from ..models.trace import Trace
from ..schedules import Constant, Schedule


@dataclass(frozen=True)
class Loss:
    """The `loss` to minimise, a scalar with gradients, and the `terms` worth recording, detached scalars or numbers."""

    loss: Tensor
    terms: dict[str, Tensor | float]


Objective = Callable[[Trace, float], Loss]


def samples_of(objective: Objective) -> int:
    """S, the samples that an objective wants of a trace: its attribute `samples`, or 1 for one that has none.

    >>> from vaekit.objectives import IWAE
    >>> samples_of(IWAE(samples=7)), samples_of(lambda trace, progress: Loss(-trace.log_weight.mean(), {}))
    (7, 1)
    """
    return getattr(objective, "samples", 1)


def bound_terms(trace: Trace) -> dict[str, Tensor | float]:
    """What every objective records, detached scalars: elbo = reconstruction - kl, and each latent's KL if several."""
    return _terms(trace.average(trace.log_px), {name: trace.average(kl) for name, kl in trace.kl.items()})


def _terms(reconstruction: Tensor, kls: dict[str, Tensor]) -> dict[str, Tensor | float]:
    reconstruction, kls = reconstruction.detach(), {name: kl.detach() for name, kl in kls.items()}
    total = torch.stack(list(kls.values())).sum() if len(kls) > 1 else next(iter(kls.values()))
    terms: dict[str, Tensor | float] = {"elbo": reconstruction - total, "reconstruction": reconstruction, "kl": total}
    return terms | ({f"kl/{name}": value for name, value in kls.items()} if len(kls) > 1 else {})


def log_mean_exp(log_weight: Tensor) -> Tensor:
    """log of the mean of exp over the first dimension: (S, …) to (…)."""
    return log_weight.logsumexp(0) - math.log(log_weight.shape[0])


def _check_drawn(objective: Objective, trace: Trace) -> None:
    """`ValueError` unless all latents are drawn from densities: the score that is left out has a mean of 0 there alone.

    A relaxed class is drawn from one density and weighed by the mass of another variable, the class, so that without
    its score the gradient is biased.
    """
    name = type(objective).__name__
    if trace.cases is not None:
        what = "is for models whose latents are all drawn, this one sums out a label"
        raise ValueError(f"{name} {what}; accepted: elbo, semi-supervised")
    if relaxed := [
        latent.name for latent in trace.latents if isinstance(latent.q, RelaxedOneHot) and not latent.enumerated
    ]:
        what = f"is for latents that are drawn from a density, {relaxed[0]!r} is of classes"
        raise ValueError(f"{name} {what}; accepted: elbo, iwae")


def _constant(coefficient: float | Schedule) -> float | None:
    """The value of a coefficient that is the same throughout, None of one that a schedule or a recording gives."""
    value = getattr(coefficient, "value", None)
    return value if isinstance(value, float) else None


def _take_schedule(objective: Objective, name: str) -> None:
    """Make a coefficient that is a number a constant schedule; `ValueError` for a negative one."""
    value = getattr(objective, name)
    if isinstance(value, (int, float)):
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
        object.__setattr__(objective, name, Constant(float(value)))


def _check_samples(samples: int) -> None:
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
