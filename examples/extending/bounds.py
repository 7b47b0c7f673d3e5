"""Objectives of your own: a bound, a term that is added to any bound, and one that plays against a discriminator.

vaekit train digits --parts bounds.py:PARTS --set objective.name=my-renyi --set objective.alpha=0.3
vaekit train digits --parts bounds.py:PARTS --set objective.terms.my-correlation.weight=5
vaekit train digits --parts bounds.py:PARTS --set objective.terms.factor.weight=6.4
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vaekit.models.trace import Trace, beside
from vaekit.networks import MLP
from vaekit.objectives import Loss
from vaekit.objectives.base import bound_terms


@dataclass(frozen=True)
class Renyi:
    """The variational Rényi bound of order `alpha` < 1: IWAE's at 0, the ELBO near 1 (Li & Turner 2016, eq. 9)."""

    alpha: float = 0.5
    samples: int = 5

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        powers = (1 - self.alpha) * trace.log_weight
        bound = trace.average((powers.logsumexp(0) - math.log(len(powers))) / (1 - self.alpha))
        return Loss(-bound, bound_terms(trace) | {"renyi": bound.detach()})


@dataclass(frozen=True)
class TotalCorrelation:
    """`weight` times the total correlation of the batch's codes, KL(q(z) || prod_d q(z_d)) (Chen et al. 2018)."""

    weight: float = 5.0

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        total, share = trace.x.new_zeros(()), trace.log_share
        for latent in trace.latents:
            if latent.label or latent.dimensions == 1:
                continue
            if latent.log_q_pair_terms is None:
                raise ValueError(f"the posterior of {latent.name!r} has no densities of single dimensions")
            joint = (latent.log_q_pairs + share).logsumexp(-1)
            apart = (latent.log_q_pair_terms + share.unsqueeze(-1)).logsumexp(-2).sum(-1)
            total = total + (share.exp() * (joint - apart)).sum(-1).mean()
        return Loss(self.weight * total, {"total_correlation": total.detach()})


class Factor(nn.Module):
    """`weight` times the total correlation as a discriminator sees it, of codes and of codes whose dimensions were
    shuffled apart (FactorVAE, Kim & Mnih 2018).
    """

    def __init__(self, latent: int, weight: float = 6.4, hidden: tuple[int, ...] = (200, 200)) -> None:
        super().__init__()
        self.weight, self.opponent = weight, MLP((latent,), (2,), hidden=hidden)

    def forward(self, trace: Trace, progress: float = 1.0) -> Loss:
        logits = self.opponent(beside(*(latent.z for latent in trace.latents)))
        total = (logits[..., 0] - logits[..., 1]).mean()
        return Loss(self.weight * total, {"total_correlation": total.detach()})

    def opponent_loss(self, trace: Trace, progress: float = 1.0) -> Loss:
        z = beside(*(latent.z for latent in trace.latents)).flatten(0, -2)
        shuffled = z.gather(0, torch.rand_like(z).argsort(0))
        which = torch.arange(2, device=z.device).repeat_interleave(len(z))
        return Loss(cross_entropy(self.opponent(torch.cat([z, shuffled])), which), {})


PARTS = {
    "objectives": {"my-renyi": Renyi},
    "terms": {"my-correlation": TotalCorrelation, "factor": Factor},
}
