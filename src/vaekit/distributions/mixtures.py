"""Mixtures whose components can be looked at."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    MixtureSameFamily,
    Normal,
)

from .shapes import _Shape, broadcast_shapes, independent


class Mixture(MixtureSameFamily):
    """sum_k pi_k p_k: torch's mixture of one family, for any family.

    logits (…, K), components of batch shape (…, K). Values are expanded to the components' batch before they are
    scored, which torch leaves to broadcasting and flows of `zuko` don't do.
    """

    def __init__(self, logits: Tensor, components: Distribution) -> None:
        super().__init__(Categorical(logits=logits, validate_args=False), components, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Mixture:
        shape = (*batch_shape, self._num_component)
        return Mixture(self.mixture_distribution.logits.expand(shape), self.component_distribution.expand(shape))

    def _pad(self, x: Tensor) -> Tensor:
        padded = super()._pad(x)
        events = len(self.event_shape)
        lead = broadcast_shapes(padded.shape[: padded.dim() - events], self.component_distribution.batch_shape)
        return padded.expand(*lead, *self.event_shape)

    def responsibilities(self, value: Tensor) -> Tensor:
        """p(k given value), (…, K): how likely each component is to have made it."""
        log_prob = self.component_distribution.log_prob(self._pad(value))
        return (self.mixture_distribution.logits + log_prob).softmax(-1)


class NormalMixture(Mixture):
    """sum_k pi_k N(loc_k, diag(scale_k²)), whose draws carry the gradient of all that it is made of, its weights too.

    logits (…, K), loc and scale (…, K, D). A draw z has a component chosen and drawn from. F_d(z) is the distribution
    function of z_d given those before it, itself one of a mixture. All F_d(z) are uniform whatever the parameters, so
    that z moves with them as dz = -(dF/dz)⁻¹ dF, dF/dz a triangular matrix (Figurnov et al. 2018, section 4; Graves
    2016). The gradient of a mean over draws has no bias. It is the noisier the further apart the components: what
    weights move then crosses places where there are hardly any draws. Where the weights have no gradient, a draw moves
    with the component that it is of.

    >>> logits = torch.zeros(2, requires_grad=True)
    >>> q = NormalMixture(logits, torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1))
    >>> (slope,) = torch.autograd.grad(q.rsample((5000,)).mean(), logits)
    >>> bool((slope - torch.tensor([-0.5, 0.5])).abs().max() < 0.1)
    True
    """

    has_rsample = True

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor) -> None:
        self.logits, self.loc, self.scale = logits, loc, scale
        super().__init__(logits, independent(Normal(loc, scale, validate_args=False)))

    def expand(self, batch_shape: _Shape, _instance: None = None) -> NormalMixture:
        lead, rest = torch.Size(batch_shape), self.loc.shape[-2:]
        return NormalMixture(
            self.logits.expand(*lead, rest[0]), self.loc.expand(*lead, *rest), self.scale.expand(*lead, *rest)
        )

    @property
    def covariance_matrix(self) -> Tensor:
        """(…, D, D): that of the components' means, and the mean of their variances along the diagonal."""
        share, off = self.logits.softmax(-1).unsqueeze(-1), self.loc - self.mean.unsqueeze(-2)
        return (share * off).mT @ off + torch.diag_embed((share * self.scale.square()).sum(-2))

    @property
    def noise_size(self) -> int:
        return self.event_shape[0]

    def from_noise(self, noise: Tensor) -> Tensor:
        """The draw (…, D) that standard normal noise (…, D) makes: its first number chooses the component, and where it
        lies in the part that is that one's is the first number of the component's noise.
        """
        noise = noise.to(self.loc)
        share = self.logits.softmax(-1)
        u, up_to = torch.special.ndtr(noise[..., :1]), share.cumsum(-1)
        which = (u > up_to[..., :-1]).sum(-1, keepdim=True)
        lead = which.shape[:-1]
        own, high = (each.expand(*lead, -1).gather(-1, which) for each in (share, up_to))
        info = torch.finfo(u.dtype)
        first = torch.special.ndtri((1 - (high - u) / own.clamp(min=info.tiny)).clamp(info.eps, 1 - info.eps))
        loc, scale = self._of(which)
        return loc + scale * torch.cat([first, noise[..., 1:].expand(*lead, -1)], -1)

    def _of(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale (…, D) of one component for each of which (…, 1)."""
        lead = which.shape[:-1]
        index = which.unsqueeze(-1).expand(*lead, 1, self.loc.shape[-1])
        loc, scale = (
            each.expand(*lead, *each.shape[-2:]).gather(-2, index).squeeze(-2) for each in (self.loc, self.scale)
        )
        return loc, scale

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        loc, scale = self._of(self.mixture_distribution.sample(torch.Size(sample_shape)).unsqueeze(-1))
        z = loc + scale * torch.randn_like(loc)
        if not (torch.is_grad_enabled() and self.logits.requires_grad):
            return z
        z = z.detach()
        off = (z.unsqueeze(-2) - self.loc) / self.scale
        log_prob = -0.5 * off.square() - self.scale.log()
        # Of each component given the numbers before: (…, K, D).
        weight = (self.logits.unsqueeze(-1) + log_prob.cumsum(-1) - log_prob).softmax(-2)
        with torch.no_grad():
            above = torch.where((weight * off).sum(-2, keepdim=True) > 0, -1.0, 1.0).to(off.dtype)
        # F or F - 1, whichever is small, so that its digits are not lost in a tail.
        part = above * torch.special.ndtr(above * off)
        function = (weight * part).sum(-2)
        with torch.no_grad():
            slope = -off / self.scale
            jacobian = ((weight * (part - function.unsqueeze(-2))).mT @ slope).tril(-1)
            density = (weight * (log_prob - 0.5 * math.log(2 * math.pi)).exp()).sum(-2)
            density = density.clamp(min=torch.finfo(density.dtype).tiny)
            jacobian = jacobian / density.unsqueeze(-1)
        moved = ((function - function.detach()) / density).unsqueeze(-1)
        return z - torch.linalg.solve_triangular(jacobian, moved, upper=False, unitriangular=True).squeeze(-1)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def marginal_log_probs(self, value: Tensor) -> Tensor:
        """The log-density of each number of value (…, D) alone, (…, D)."""
        each = Normal(self.loc, self.scale, validate_args=False).log_prob(value.unsqueeze(-2))
        return (self.logits.log_softmax(-1).unsqueeze(-1) + each).logsumexp(-2)
