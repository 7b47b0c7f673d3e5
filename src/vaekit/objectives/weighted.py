"""Bounds and gradients from importance weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.given import check_samples
from ..models.trace import Trace, with_scores
from ..schedules import Schedule
from ..settings import setting
from .base import Loss, at, bound_terms, check_drawn, check_random, log_mean_exp, take_schedule


@dataclass(frozen=True)
class IWAE:
    """-log 1/k sum_k w_k with `samples` = k weights w = p(x, z) / q(z given x) (Burda et al. 2016, eq. 8).

    Of many weights the encoder's gradient is mostly noise. With `bounds` = m the weights are m times k / m, and the
    bound is the mean of those m bounds (Rainforth et al. 2018, MIWAE); with `elbo` above 0, that part of the bound is
    the ELBO of the same draws (CIWAE). With `partial` all that is for parts of inference alone, q(z given x), while the
    others, p(x, z), are trained on the one bound of all weights, which is the loss that is told (PIWAE). `beta`, a
    number or a schedule, is the power of p(z) / q(z given x) in the weights: below 1 for a warm-up, when it is no bound
    of log p(x). No weight has q(y given x) in it, so that a model that classifies needs the term `Classification`
    beside it.
    """

    samples: int = 5
    beta: float | Schedule = 1.0
    bounds: int = 1
    elbo: float = 0.0
    partial: bool = False

    def __post_init__(self) -> None:
        check_samples(self.samples)
        take_schedule(self, "beta")
        if self.bounds < 1 or self.samples % self.bounds:
            raise ValueError(f"bounds is {self.bounds}; accepted: what divides the {self.samples} samples")
        if not 0 <= self.elbo <= 1:
            raise ValueError(f"elbo must be from 0 to 1, got {self.elbo}")
        if self.partial and self.bounds == 1 and not self.elbo:
            other = f"{setting('objective.bounds', '…')} or {setting('objective.elbo', '…')}"
            raise ValueError(f"partial is set, but inference has no other bound; give it one, by {other}")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        check_random(self, trace)
        beta = at(self.beta, progress)
        log_weight = trace.log_weight_at(beta, scored=True)
        # Where all that is random is summed out, there is one weight, whose bounds are all the same.
        bounds = self.bounds if len(log_weight) == self.samples else 1
        score = trace.log_score
        bound = trace.average(_bound(log_weight, score, bounds))
        if self.elbo:
            bound = self.elbo * trace.average(with_scores(log_weight, score)) + (1 - self.elbo) * bound
        terms = bound_terms(trace) | {"iwae": bound.detach(), "beta": beta}
        if not self.partial:
            return Loss(-bound, terms)
        whole = trace.average(_bound(log_weight, score, 1))
        return Loss(-whole, terms | {"iwae": whole.detach(), "iwae_inference": bound.detach()}, inference=-bound)


def _bound(log_weight: Tensor, score: Tensor | None, bounds: int) -> Tensor:
    """The bounds (bounds, …) of as many parts of the weights (S, …), with the gradient that the draws do not carry.

    What a draw adds to its bound is what this is more than it would be if its weight were the geometric mean of the
    others (VIMCO, Mnih & Rezende 2016, eq. 9); of one draw alone, the bound.
    """
    parts = log_weight.unflatten(0, (-1, bounds))
    bound = log_mean_exp(parts)
    if score is None:
        return bound
    fixed, count = parts.detach(), len(parts)
    if count > 1:
        usual = (fixed.sum(0) - fixed) / (count - 1)
        # (k, k, …): in place of the i-th of the second dimension what is usual of the others.
        own = torch.eye(count, dtype=torch.bool, device=fixed.device).view(count, count, *[1] * (fixed.dim() - 1))
        gain = bound.detach() - log_mean_exp(torch.where(own, usual, fixed.unsqueeze(1)))
    else:
        gain = fixed
    score = score.unflatten(0, (-1, bounds))
    return bound + (gain * (score - score.detach())).sum(0)


@dataclass(frozen=True)
class Renyi:
    """The variational Rényi bound, 1 / (1 - alpha) log 1/k sum_k w_k^(1 - alpha), of `samples` = k weights (Li & Turner
    2016, eq. 4 and 8).

    It falls with `alpha`: at -inf it is the largest weight alone, their VR-max, at 0 the IWAE bound, at 1 the ELBO. In
    expectation it is a lower bound of log p(x) from 0 on; below it may be above.
    """

    alpha: float = 0.5
    samples: int = 5

    def __post_init__(self) -> None:
        check_samples(self.samples)
        if not self.alpha < math.inf:
            raise ValueError(f"alpha must be a number or -inf, got {self.alpha}")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        check_random(self, trace)
        log_weight = trace.log_weight
        if self.alpha == 1:
            bound = log_weight.mean(0)
        elif self.alpha == -math.inf:
            bound = log_weight.amax(0)
        else:
            bound = log_mean_exp((1 - self.alpha) * log_weight) / (1 - self.alpha)
        bound = trace.average(bound)
        return Loss(-bound, bound_terms(trace) | {"renyi": bound.detach()})


@dataclass(frozen=True)
class DReG:
    """The IWAE bound with the doubly reparameterised gradient of the encoder (Tucker et al. 2019).

    The gradient that reaches the encoder through z is weighted by the squared normalised weights, with q's own
    parameters stopped; likelihood and prior get IWAE's gradient. Same expectation as IWAE, less variance, none of its
    decay as k grows. A trace serves one such loss: the weighting is put on the gradient of its z. In a sum, whose other
    terms have gradients through z too, it takes its own by itself, another pass through the decoder. Raises
    `ValueError` where a latent is drawn from another, since the gradient of that one would be weighted twice.
    """

    samples: int = 5

    def __post_init__(self) -> None:
        check_samples(self.samples)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        surrogate, weight, bound = self._parts(trace)
        for latent in trace.latents:
            if latent.z.requires_grad:
                latent.z.register_hook(lambda gradient: gradient * weight)
        # The loss has IWAE's value and the gradient of sum of weight * log_weight, weights held constant.
        return Loss(surrogate.detach() - surrogate - bound, bound_terms(trace) | {"iwae": bound})

    def among_others(self, trace: Trace, progress: float = 1.0) -> Loss:
        """The same in a sum: the weighting is on what of the gradient of z is its own."""
        surrogate, weight, bound = self._parts(trace)
        z = [latent.z for latent in trace.latents if latent.z.requires_grad]
        if z:
            slopes = torch.autograd.grad(surrogate, z, retain_graph=True)
            moved = [((weight - 1) * slope * each).sum() for slope, each in zip(slopes, z, strict=True)]
            surrogate = surrogate + torch.stack(moved).sum()
        return Loss(surrogate.detach() - surrogate - bound, bound_terms(trace) | {"iwae": bound})

    def _parts(self, trace: Trace) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of log-weights weighed by the normalised weights, which are constants in it, these (S, B, 1), and
        the bound.
        """
        check_drawn(self, trace)
        above = [latent.name for latent in trace.latents if not latent.exact]
        if chained := above or [latent.name for latent in trace.latents if latent.per_draw]:
            what = f"DReG is for models whose latents are drawn apart, {chained[0]!r} and another are not"
            raise ValueError(f"{what}; accepted: elbo, iwae, stl")
        log_weight = trace.log_weight_stopped
        weight = log_weight.detach().softmax(0)
        surrogate = trace.average((weight * log_weight).sum(0))
        return surrogate, weight.unsqueeze(-1), trace.average(log_mean_exp(log_weight.detach()))


@dataclass(frozen=True)
class STL:
    """The negative ELBO without the score of q in its gradient, zero where q is exact (Roeder et al. 2017)."""

    samples: int = 1

    def __post_init__(self) -> None:
        check_samples(self.samples)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        check_drawn(self, trace)
        return Loss(-trace.average(trace.log_weight_stopped), bound_terms(trace))
