"""Autoencoders that draw nothing while they train, and what keeps their decoders smooth in place of the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ..data.domains import Domain
from ..distributions.moments import typical
from ..models.trace import Trace, drawn_apart
from ..schedules import Schedule
from ..settings import unset
from .base import Composed, Loss, Objective, at, take_schedule
from .images import of_order_one
from .terms import Reconstruction


@dataclass(frozen=True)
class CodeNorm:
    """`weight` times half the squared norm of codes, |z|² / 2: of the posteriors' means, where these are what is taken
    for z (Ghosh et al. 2020, eq. 11).
    """

    weight: float | Schedule = 1.0

    def __post_init__(self) -> None:
        take_schedule(self, "weight")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        halves = [0.5 * each.z.square().sum(-1) for each in drawn_apart(trace.latents, "autoencoder")]
        norm = trace.average(sum(halves, torch.zeros_like(halves[0])))
        weight = at(self.weight, progress)
        return Loss(weight * norm, {"code_norm": norm.detach()})


@dataclass(frozen=True)
class Autoencoder(Composed):
    """-log p(x given z) + `weight` |z|² / 2 at z = E_q[z]: a regularised autoencoder, whose codes are the posteriors'
    means and have no noise (RAE, Ghosh et al. 2020, eq. 11).

    What noise does for a decoder, a penalty on it does instead: the term `decoder-gradient`, or weights that decay
    (`training.optimizer={name='adamw', weight_decay=1e-4}`). With the term `discrepancy` in place of the weight it is a
    Wasserstein autoencoder (Tolstikhin et al. 2018). It is no bound: nothing of it learns a scale of q, nor a prior.
    Beside the posterior `fixed-normal`, scores are of that scale, and `vaekit refit-prior` fits a prior to the codes.

    >>> from vaekit.objectives import samples_of
    >>> samples_of(Autoencoder(weight=0.1)), Autoencoder().at_means
    (1, True)
    """

    weight: float | Schedule = 1.0
    at_means: ClassVar[bool] = True
    of_no_likelihood: ClassVar[bool] = True

    def __post_init__(self) -> None:
        take_schedule(self, "weight")

    @property
    def parts(self) -> Sequence[Objective]:
        return Reconstruction(), CodeNorm(self.weight)


@dataclass(frozen=True)
class DecoderGradient:
    """`weight` times half the squared Frobenius norm of the Jacobian of what codes are decoded to, |d E[x given z] / d
    z|² / 2, x as numbers of order one (RAE with a gradient penalty, Ghosh et al. 2020, section 3.1).

    Of one random projection v ~ N(0, I) for each datum it is |d (v · x) / d z|² / 2, whose mean over v it is
    (Hutchinson 1990). Where no gradient is taken, such as on held-out data, it adds nothing.
    """

    domain: Domain = field(default_factory=lambda: Domain("real"))
    weight: float | Schedule = 1.0

    def __post_init__(self) -> None:
        take_schedule(self, "weight")
        if self.domain.kind in ("categorical", "columns"):
            what = f"is of data whose mean has a gradient, the data are {self.domain}"
            raise ValueError(f"the term 'decoder-gradient' {what}; {unset('objective.terms.decoder-gradient')}")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        z = [each.z for each in drawn_apart(trace.latents, "decoder-gradient")]
        if not (torch.is_grad_enabled() and all(each.requires_grad for each in z)):
            return Loss(trace.x.new_zeros(()), {})
        made = of_order_one(self.domain, typical(trace.px))
        projected = (made * torch.randn_like(made)).sum()
        slopes: Sequence[Tensor] = torch.autograd.grad(projected, z, create_graph=True)
        halves = [0.5 * each.square().sum(-1) for each in slopes]
        norm = trace.average(sum(halves, torch.zeros_like(halves[0])))
        weight = at(self.weight, progress)
        return Loss(weight * norm, {"decoder_gradient": norm.detach()})
