"""The terms that objectives are sums of, each with its weight, a number or a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..data.batch import Batch
from ..errors import check_least
from ..models.trace import Trace, cluster_probabilities
from ..schedules import Schedule
from ..settings import setting
from .augmentations import moved, swapped
from .base import Loss, at, constant, kl_record, take_schedule


@dataclass(frozen=True)
class Reconstruction:
    """-E_q log p(x given z), what of the negative ELBO is of the data."""

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        reconstruction = trace.average(trace.log_px)
        return Loss(-reconstruction, {"reconstruction": reconstruction.detach()})


@dataclass(frozen=True)
class KL:
    """`weight` times KL(q || p), of all latents.

    `free_bits` (nats per latent dimension): a term of the KL that is on the batch's average below it is not pressed
    further down (Kingma et al. 2016, eq. 15). Where the KL has no terms per dimension, the whole of it is held above D
    times that. A one-hot counts as one dimension. A label is not held, nor is an auxiliary latent: what is estimated
    of it is no KL by itself, and may be negative.
    """

    weight: float | Schedule = 1.0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        take_schedule(self, "weight")
        check_least("free_bits", self.free_bits, 0)

    @property
    def coupled(self) -> str:
        """Why it is no mean over rows."""
        return "free_bits hold the batch's average of a KL" if self.free_bits else ""

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        weight = at(self.weight, progress)
        kls, penalty = {name: trace.average(kl) for name, kl in trace.kl.items()}, []
        for latent in trace.latents:
            if self.free_bits and latent.exact and not latent.label:
                per_term = trace.average_terms(latent.kl_terms)
                dimensions = latent.dimensions / per_term.shape[-1]
                penalty.append(per_term.clamp(min=self.free_bits * dimensions).sum())
            else:
                penalty.append(kls[latent.name])
        terms = kl_record(kls) | {"beta": weight}
        if constant(self.weight) == 0:  # nothing is learned of the prior then, and no gradient says so
            return Loss(0.0 * torch.stack(list(kls.values())).sum().detach(), terms)
        return Loss(weight * (penalty[0] if len(penalty) == 1 else torch.stack(penalty).sum()), terms)


@dataclass(frozen=True)
class Held:
    """`weight` times |KL(q || p) - C|, the KL of all latents on the batch's average, C the `capacity` in nats (Burgess
    et al. 2018, eq. 8).
    """

    weight: float | Schedule
    capacity: float | Schedule
    coupled: ClassVar[str] = "a capacity is of the batch's average of a KL"

    def __post_init__(self) -> None:
        take_schedule(self, "weight")
        take_schedule(self, "capacity")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        weight, capacity = at(self.weight, progress), at(self.capacity, progress)
        kls = {name: trace.average(kl) for name, kl in trace.kl.items()}
        beyond = torch.stack(list(kls.values())).sum() - capacity
        return Loss(weight * beyond.abs(), kl_record(kls) | {"capacity": capacity})


@dataclass(frozen=True)
class Classification:
    """`weight` times the cross-entropy of q(y given x), the mean over the rows whose label is seen (Kingma et al. 2014,
    eq. 9).

    However many rows of a batch show their label. Of N data the labels of L are seen: theirs is 0.1 N / L. Raises
    `ValueError` for a model without a classifier.
    """

    weight: float | Schedule = 1.0

    def __post_init__(self) -> None:
        take_schedule(self, "weight")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        if not any(latent.label for latent in trace.latents):
            what = "the objective semi-supervised, or the term classification, is of labels, but the model has no"
            how = f"{setting('model.classifier', 'mlp')}, or choose another objective"
            raise ValueError(f"{what} classifier; give it one, {how}")
        if trace.log_q_label is None:
            return _nothing(trace)
        entropy = -trace.log_q_label.mean()
        return Loss(at(self.weight, progress) * entropy, {"classification": entropy.detach()})


@dataclass(frozen=True)
class Changes:
    """How much data are changed at random: images are shifted by up to `shift` of their sides, rotated by up to
    `rotate` degrees and stretched by up to `stretch`; of other data a fraction `swap` is replaced by numbers of other
    rows.
    """

    shift: float = 0.1
    rotate: float = 15.0
    stretch: float = 0.15
    swap: float = 0.2

    def __post_init__(self) -> None:
        for name in ("shift", "rotate", "stretch", "swap"):
            check_least(name, getattr(self, name), 0)
        if not max(self.stretch, self.swap) < 1:
            raise ValueError(f"stretch and swap must be below 1, got {self.stretch} and {self.swap}")


@dataclass(frozen=True)
class Invariance(Changes):
    """-`weight` times I(c; c'), c a datum's cluster, c' that of it augmented (Ji et al. 2019).

    The information is estimated on the batch, from q(c given x) of a discrete latent or of a label, or from p(c given
    z) of a mixture prior. A label that is seen is c itself, so that the classifier also learns it from changed data. In
    nats it is at most log K: that if the clusters are equally large and certain, and every datum stays in its own when
    it is changed, by as much as `Changes` says. Raises `ValueError` for a model without clusters.
    """

    weight: float | Schedule = 100.0
    coupled: ClassVar[str] = "invariance is an information that is estimated on a batch"

    def __post_init__(self) -> None:
        take_schedule(self, "weight")
        super().__post_init__()

    def augment(self, batch: Batch) -> Batch:
        """A batch changed at random: as images if its x has the dimensions (B, C, H, W)."""
        if batch.x.dim() == 4:
            return moved(batch, self.shift, self.rotate, self.stretch)
        return swapped(batch, self.swap)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        own, changed = cluster_probabilities(trace.latents), cluster_probabilities(trace.of_augmented)
        if own is None or changed is None:
            need = "a discrete latent, a classifier, or a mixture as its prior"
            raise ValueError(f"invariance is set, but the model has no clusters; it needs {need}")
        information, weight = _information(own, changed), at(self.weight, progress)
        return Loss(-weight * information, {"information": information.detach(), "invariance": weight})


def _information(own: Tensor, changed: Tensor) -> Tensor:
    """I(c; c') of pairs whose clusters have these probabilities, (B, K) each, nats."""
    joint = own.T @ changed / len(own)
    joint = (0.5 * (joint + joint.T)).clamp_min(torch.finfo(joint.dtype).tiny)
    single = joint.sum(0).log()
    return (joint * (joint.log() - single - single[:, None])).sum()


def _nothing(trace: Trace) -> Loss:
    return Loss(trace.x.new_zeros(()), {})
