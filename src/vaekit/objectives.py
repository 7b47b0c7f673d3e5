"""Objectives: frozen data, called on a trace and the progress of the run; they return a loss and its named terms.

Every number is nats per datum, averaged over the batch. A loss is minimised, the bounds among the terms are maximised.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .distributions import RelaxedOneHot
from .schedules import Constant, Schedule
from .settings import setting
from .trace import Trace, cluster_probabilities
from .views import moved, swapped


@dataclass(frozen=True)
class Loss:
    """The `loss` to minimise, a scalar with gradients, and the `terms` worth recording, detached scalars or numbers."""

    loss: Tensor
    terms: dict[str, Tensor | float]


Objective = Callable[[Trace, float], Loss]


def samples_of(objective: Objective) -> int:
    """S, the samples that an objective wants of a trace: its attribute `samples`, or 1 for one that has none.

    >>> samples_of(IWAE(samples=7)), samples_of(lambda trace, progress: Loss(-trace.log_weight.mean(), {}))
    (7, 1)
    """
    return getattr(objective, "samples", 1)


@dataclass(frozen=True)
class ELBO:
    """-E_q log p(x given z) + beta KL(q || p): the negative evidence lower bound at beta = 1 (Kingma & Welling 2014,
    eq. 7).

    `beta` other than 1 is the beta-VAE (Higgins et al. 2017), a schedule of it is KL warm-up (Bowman et al. 2016).
    `free_bits` (nats per latent dimension): a term of the KL that is on the batch's average below it is not pressed
    further down (Kingma et al. 2016, eq. 15). Where the KL has no terms per dimension, the whole of it is held above D
    times that. A one-hot counts as one dimension. A label is not held, nor is an auxiliary latent: what is estimated
    of it is no KL by itself, and may be negative.
    """

    beta: float | Schedule = 1.0
    free_bits: float = 0.0
    samples: int = 1

    def __post_init__(self) -> None:
        _check_samples(self.samples)
        _take_schedule(self, "beta")
        if not self.free_bits >= 0:
            raise ValueError(f"free_bits must be at least 0, got {self.free_bits}")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        beta = self.beta(progress)  # type: ignore[operator]
        reconstruction = trace.average(trace.log_px)
        kls = {name: trace.average(kl) for name, kl in trace.kl.items()}
        penalty: Tensor | float = 0.0
        for latent in trace.latents:
            if self.free_bits and latent.exact and not latent.label:
                per_term = trace.average_terms(latent.kl_terms)
                dimensions = latent.dimensions / per_term.shape[-1]
                penalty = penalty + per_term.clamp(min=self.free_bits * dimensions).sum()
            else:
                penalty = penalty + kls[latent.name]
        # Without a KL nothing is learned of the prior, and no gradient says so.
        loss = -reconstruction if _constant(self.beta) == 0 else beta * penalty - reconstruction
        return Loss(loss, _terms(reconstruction, kls) | {"beta": beta})


@dataclass(frozen=True)
class InvariantClusters(ELBO):
    """The ELBO, and `invariance` times I(c; c'), c a datum's cluster and c' that of a view of it (Ji et al. 2019).

    The information is estimated on the batch, from q(c given x) of a discrete latent or of a label that is not seen, or
    from p(c given z) of a mixture prior. In nats it is at most log K: that if the clusters are equally large and
    certain, and every datum stays in its own when it is changed. Images are shifted by up to `shift` of their sides,
    rotated by up to `rotate` degrees and stretched by up to `stretch`; of other data a fraction `swap` is replaced by
    numbers of other rows. The bound is of the data as they are, and remains one. Raises `ValueError` for a model
    without clusters.
    """

    invariance: float | Schedule = 100.0
    shift: float = 0.1
    rotate: float = 15.0
    stretch: float = 0.15
    swap: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _take_schedule(self, "invariance")
        for name in ("shift", "rotate", "stretch", "swap"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not max(self.stretch, self.swap) < 1:
            raise ValueError(f"stretch and swap must be below 1, got {self.stretch} and {self.swap}")

    @property
    def view(self) -> Callable[[Tensor], Tensor] | None:
        """What changes x (B, *event) at random, images if it has the dimensions (B, C, H, W); None where not wanted."""
        return None if self._plain else self._view

    @property
    def _plain(self) -> bool:
        return _constant(self.invariance) == 0

    def _view(self, x: Tensor) -> Tensor:
        return moved(x, self.shift, self.rotate, self.stretch) if x.dim() == 4 else swapped(x, self.swap)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        bound = super().__call__(trace, progress)
        if self._plain:
            return bound
        if trace.log_q_label is not None and not hasattr(trace, "parts"):  # where some are not seen, it has parts
            off = f"{setting('objective.invariance', 0)}, or show fewer by {setting('data.labels', '…')}"
            raise ValueError(f"invariance is of labels that are not seen, but all of the data's are; {off}")
        own, changed = cluster_probabilities(trace.latents), cluster_probabilities(trace.of_view)
        if own is None or changed is None:
            need = "a discrete latent, a label that is not seen, or a mixture as its prior"
            raise ValueError(f"invariance is set, but the model has no clusters; it needs {need}")
        joint = own.T @ changed / len(own)
        joint = (0.5 * (joint + joint.T)).clamp_min(torch.finfo(joint.dtype).tiny)
        single = joint.sum(0).log()
        information = (joint * (joint.log() - single - single[:, None])).sum()
        invariance = self.invariance(progress)  # type: ignore[operator]
        loss = bound.loss - invariance * information
        return Loss(loss, bound.terms | {"information": information.detach(), "invariance": invariance})


@dataclass(frozen=True)
class SemiSupervised(InvariantClusters):
    """The ELBO, with the cross-entropy of q(y given x) where labels are seen (Kingma et al. 2014, eq. 9).

    `classification` weighs the cross-entropy's mean over labelled rows against the bound's mean over the data, however
    many rows of a batch are labelled. Of N data the labels of L are seen, and the bound is L / N times that of log p(x,
    y) and 1 - L / N times that of log p(x). Theirs is 0.1 N / L: with 100 labels of 60,000 it is 60. With `invariance`
    above 0 (theirs has none) a label that is not seen is also to stay what it is when the datum is changed, as in
    `InvariantClusters`.
    """

    invariance: float | Schedule = 0.0
    classification: float = 1.0

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        bound = super().__call__(trace, progress)
        if trace.log_q_label is None:
            return bound
        entropy = -trace.log_q_label.mean()
        loss = bound.loss + self.classification * entropy
        return Loss(loss, bound.terms | {"classification": entropy.detach()})


@dataclass(frozen=True)
class IWAE:
    """-log 1/k sum_k w_k with `samples` = k weights w = p(x, z) / q(z given x) (Burda et al. 2016, eq. 8).

    Raises `ValueError` for a model that classifies: no weight has q(y given x) in it, whether y is seen or summed out.
    """

    samples: int = 5

    def __post_init__(self) -> None:
        _check_samples(self.samples)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        if any(latent.label for latent in trace.latents):
            what = "IWAE gives the classifier no gradient, since its weights have no q of a label in them"
            raise ValueError(f"{what}; accepted: elbo, semi-supervised")
        bound = trace.average(log_mean_exp(trace.log_weight))
        return Loss(-bound, bound_terms(trace) | {"iwae": bound.detach()})


@dataclass(frozen=True)
class DReG:
    """The IWAE bound with the doubly reparameterised gradient of the encoder (Tucker et al. 2019).

    The gradient that reaches the encoder through z is weighted by the squared normalised weights, with q's own
    parameters stopped; likelihood and prior get IWAE's gradient. Same expectation as IWAE, less variance, none of its
    decay as k grows. A trace serves one such loss: the weighting is put on the gradient of its z. Raises `ValueError`
    where a latent is drawn from another (an auxiliary one), since its gradient would be weighted twice.
    """

    samples: int = 5

    def __post_init__(self) -> None:
        _check_samples(self.samples)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        _check_drawn(self, trace)
        if chained := [latent.name for latent in trace.latents if not latent.exact]:
            what = f"DReG is for models whose latents are drawn apart, this one draws others from {chained[0]!r}"
            raise ValueError(f"{what}; accepted: semi-supervised")
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
        _check_samples(self.samples)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        _check_drawn(self, trace)
        return Loss(-trace.average(trace.log_weight_stopped), bound_terms(trace))


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
    if trace.log_class is not None:
        what = "is for models whose latents are all drawn, this one sums out a label"
        raise ValueError(f"{name} {what}; accepted: elbo, semi-supervised")
    if relaxed := [latent.name for latent in trace.latents if isinstance(latent.q, RelaxedOneHot)]:
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


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "elbo": ELBO,
    "iwae": IWAE,
    "dreg": DReG,
    "stl": STL,
    "semi-supervised": SemiSupervised,
    "invariant-clusters": InvariantClusters,
}
