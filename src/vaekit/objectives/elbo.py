"""The ELBO and its relatives: with a weight of the KL, for labels that are seen of some, for clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..models.given import check_samples
from ..models.trace import Trace
from ..schedules import Linear, Schedule
from .base import Composed, Loss, Objective, constant, take_schedule, with_penalties
from .terms import KL, Changes, Classification, Held, Invariance, Reconstruction


@dataclass(frozen=True)
class ELBO(Composed):
    """-E_q log p(x given z) + beta KL(q || p): the negative evidence lower bound at beta = 1 (Kingma & Welling 2014,
    eq. 7).

    `beta` other than 1 is the beta-VAE (Higgins et al. 2017), a schedule of it is KL warm-up (Bowman et al. 2016).
    `free_bits` are those of `KL`. What a quantised posterior asks for (`commitment`) is added, and is no part of the
    bound.
    """

    beta: float | Schedule = 1.0
    free_bits: float = 0.0
    samples: int = 1

    def __post_init__(self) -> None:
        check_samples(self.samples)
        take_schedule(self, "beta")
        _ = self.parts  # which check their own options

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        return with_penalties(super().__call__(trace, progress), trace)

    @property
    def parts(self) -> Sequence[Objective]:
        return Reconstruction(), KL(self.beta, self.free_bits)


GROWING = Linear(0.0, 25.0, until=0.8)
"""A capacity, in nats, over a run."""


@dataclass(frozen=True)
class Capacity(Composed):
    """-E_q log p(x given z) + `weight` |KL(q || p) - C|: codes are to tell C nats of a datum, the `capacity`, which a
    schedule lets grow (Burgess et al. 2018, eq. 8; theirs goes from 0 to 25 at a weight of 1,000).

    The KL is the batch's average. The loss is no bound; the ELBO is among its terms.
    """

    weight: float | Schedule = 10.0
    capacity: float | Schedule = GROWING
    samples: int = 1

    def __post_init__(self) -> None:
        check_samples(self.samples)
        take_schedule(self, "weight")
        take_schedule(self, "capacity")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        return with_penalties(super().__call__(trace, progress), trace)

    @property
    def parts(self) -> Sequence[Objective]:
        return Reconstruction(), Held(self.weight, self.capacity)


@dataclass(frozen=True)
class InvariantClusters(Changes, ELBO):
    """The ELBO, and `invariance` times I(c; c'), c a datum's cluster, c' that of it augmented (Ji et al. 2019).

    The other options are those of `Invariance`. The bound is of the data as they are, and remains one. Raises
    `ValueError` for a model without clusters.
    """

    invariance: float | Schedule = 100.0

    def __post_init__(self) -> None:
        take_schedule(self, "invariance")
        Changes.__post_init__(self)
        ELBO.__post_init__(self)

    @property
    def parts(self) -> Sequence[Objective]:
        term = Invariance(self.shift, self.rotate, self.stretch, self.swap, weight=self.invariance)
        return *super().parts, *([] if constant(self.invariance) == 0 else [term])


@dataclass(frozen=True)
class SemiSupervised(InvariantClusters):
    """The ELBO, with the cross-entropy of q(y given x) where labels are seen (Kingma et al. 2014, eq. 9).

    `classification` weighs the cross-entropy's mean over labelled rows against the bound's mean over the data, however
    many rows of a batch are labelled. Of N data the labels of L are seen, and the bound is L / N times that of log p(x,
    y) and 1 - L / N times that of log p(x). Theirs is 0.1 N / L: with 100 labels of 60,000 it is 60. With `invariance`
    above 0 (theirs has none) a label is also to stay what it is when the datum is changed, as in `InvariantClusters`.
    Raises `ValueError` for a model without a classifier.
    """

    invariance: float | Schedule = 0.0
    classification: float | Schedule = 1.0

    def __post_init__(self) -> None:
        take_schedule(self, "classification")
        super().__post_init__()

    @property
    def parts(self) -> Sequence[Objective]:
        return *super().parts, Classification(self.classification)
