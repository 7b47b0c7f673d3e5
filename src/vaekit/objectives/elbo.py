"""The ELBO and its relatives: with a weight of the KL, for labels that are seen of some, for clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.batch import Batch
from ..models.trace import Trace, cluster_probabilities
from ..schedules import Schedule
from ..settings import setting
from .augmentations import moved, swapped
from .base import Loss, _check_samples, _constant, _take_schedule, _terms


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
    """The ELBO, and `invariance` times I(c; c'), c a datum's cluster, c' that of it augmented (Ji et al. 2019).

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
    def augment(self) -> Callable[[Batch], Batch] | None:
        """What changes a batch at random, images if its x has the dimensions (B, C, H, W); None where not wanted."""
        return None if self._plain else self._augmented

    @property
    def _plain(self) -> bool:
        return _constant(self.invariance) == 0

    def _augmented(self, batch: Batch) -> Batch:
        if batch.x.dim() == 4:
            return moved(batch, self.shift, self.rotate, self.stretch)
        return swapped(batch, self.swap)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        bound = super().__call__(trace, progress)
        if self._plain:
            return bound
        if trace.seen == len(trace.batch):
            off = f"{setting('objective.invariance', 0)}, or show fewer by {setting('data.labels', '…')}"
            raise ValueError(f"invariance is of labels that are not seen, but all of the data's are; {off}")
        own, changed = cluster_probabilities(trace.latents), cluster_probabilities(trace.of_augmented)
        if own is None or changed is None:
            need = "a discrete latent, a label that is not seen, or a mixture as its prior"
            raise ValueError(f"invariance is set, but the model has no clusters; it needs {need}")
        own = own[trace.seen :]
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
