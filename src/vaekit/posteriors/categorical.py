"""A posterior over classes that is drawn as it is."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions.discrete import RelaxedOneHot, ScoredOneHot, checked_groups
from .continuous import head


class Categorical(nn.Module):
    """q(z given x) = a one-hot of K classes, drawn as one-hots in training, too: the model that is trained is the one
    that is scored, which it is not where draws are relaxed.

    The D dimensions are `groups` one-hots side by side, each of K = D / groups classes (bits are groups of two); the
    logits are linear in the features, or with `hidden` layers an MLP on them. The gradient is that of the score,
    unbiased (REINFORCE, Williams 1992). What a draw gives is compared with what the others of the same datum give
    (leave-one-out: Kool et al. 2019; of an IWAE bound VIMCO, Mnih & Rezende 2016), so that the objective should have
    two `samples` or more: of one alone the gradient is mostly noise.

    >>> import torch
    >>> posterior = Categorical(features=5, latent=6, groups=2)
    >>> posterior(torch.zeros(4, 5)).rsample((3,)).sum(-1).unique()
    tensor([2.])
    """

    def __init__(
        self, features: int, latent: int, groups: int = 1, hidden: tuple[int, ...] = (), activation: str = "relu"
    ) -> None:
        super().__init__()
        self.groups = checked_groups(groups, latent)
        self.head = head(features, (latent,), hidden, activation)

    def forward(self, features: Tensor) -> Distribution:
        logits = self.head(features)
        if self.training:
            return ScoredOneHot(logits, self.groups)
        return RelaxedOneHot(logits, groups=self.groups)
