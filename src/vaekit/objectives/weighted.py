"""Bounds and gradients from importance weights."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.trace import Trace
from ..schedules import Schedule
from .base import Loss, bound_terms, check_drawn, check_random, check_samples, log_mean_exp, take_schedule


@dataclass(frozen=True)
class IWAE:
    """-log 1/k sum_k w_k with `samples` = k weights w = p(x, z) / q(z given x) (Burda et al. 2016, eq. 8).

    `beta`, a number or a schedule, is the power of p(z) / q(z given x) in the weights: below 1 for a warm-up, when it
    is no bound of log p(x). No weight has q(y given x) in it, so that a model that classifies needs the term
    `Classification` beside it.
    """

    samples: int = 5
    beta: float | Schedule = 1.0

    def __post_init__(self) -> None:
        check_samples(self.samples)
        take_schedule(self, "beta")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        check_random(self, trace)
        beta = self.beta(progress)  # type: ignore[operator]
        bound = trace.average(log_mean_exp(trace.log_weight_at(beta)))
        return Loss(-bound, bound_terms(trace) | {"iwae": bound.detach(), "beta": beta})


@dataclass(frozen=True)
class DReG:
    """The IWAE bound with the doubly reparameterised gradient of the encoder (Tucker et al. 2019).

    The gradient that reaches the encoder through z is weighted by the squared normalised weights, with q's own
    parameters stopped; likelihood and prior get IWAE's gradient. Same expectation as IWAE, less variance, none of its
    decay as k grows. A trace serves one such loss: the weighting is put on the gradient of its z. Raises `ValueError`
    where a latent is drawn from another, since the gradient of that one would be weighted twice.
    """

    samples: int = 5

    def __post_init__(self) -> None:
        check_samples(self.samples)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        check_drawn(self, trace)
        above = [latent.name for latent in trace.latents if not latent.exact]
        if chained := above or [latent.name for latent in trace.latents if latent.per_draw]:
            what = f"DReG is for models whose latents are drawn apart, {chained[0]!r} and another are not"
            raise ValueError(f"{what}; accepted: elbo, iwae, stl")
        log_weight = trace.log_weight_stopped
        weight = log_weight.detach().softmax(0)
        for latent in trace.latents:
            if latent.z.requires_grad:
                latent.z.register_hook(lambda gradient: gradient * weight[..., None])
        # The loss has IWAE's value and the gradient of sum of weight * log_weight, weights held constant.
        surrogate = trace.average((weight * log_weight).sum(0))
        bound = trace.average(log_mean_exp(log_weight.detach()))
        return Loss(surrogate.detach() - surrogate - bound, bound_terms(trace) | {"iwae": bound})


@dataclass(frozen=True)
class STL:
    """The negative ELBO without the score of q in its gradient, zero where q is exact (Roeder et al. 2017)."""

    samples: int = 1

    def __post_init__(self) -> None:
        check_samples(self.samples)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        check_drawn(self, trace)
        return Loss(-trace.average(trace.log_weight_stopped), bound_terms(trace))
