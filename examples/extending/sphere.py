"""A posterior and a prior of your own: codes on a sphere by the power spherical distribution (De Cao & Aziz 2020).

vaekit train digits --parts sphere.py:PARTS --set model.latents.z.size=3 \
    --set model.latents.z.posterior=power-spherical --set model.latents.z.prior=sphere
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Beta, Distribution, register_kl
from torch.nn.functional import normalize, softplus

ONE = torch.Size()


class PowerSpherical(Distribution):
    """Density proportional to (1 + m · z)^kappa on the unit sphere, m (…, D) of length 1, kappa (…) above 0."""

    arg_constraints = {}
    has_rsample = True

    def __init__(self, center: Tensor, kappa: Tensor) -> None:
        self.center, self.kappa = center, kappa  # `center` is what stands for it: its mean is inside of the sphere
        self.b = torch.full_like(kappa, (center.shape[-1] - 1) / 2)
        self.a = self.b + kappa  # (1 + m · z) / 2 has a beta distribution of a and b
        super().__init__(kappa.shape, center.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: torch.Size = ONE) -> Tensor:
        shape, center = self._extended_shape(sample_shape), self.center.detach()
        along = 2 * Beta(self.a, self.b, validate_args=False).rsample(sample_shape) - 1
        g = torch.randn(shape, dtype=along.dtype, device=along.device)
        across = normalize(g - (g * center).sum(-1, keepdim=True) * center, dim=-1)
        across = across - (across * self.center).sum(-1, keepdim=True) * center  # 0, whose gradient turns it with m
        return along[..., None] * self.center + (1 - along.square()).clamp(min=1e-12).sqrt()[..., None] * across

    @property
    def log_normalizer(self) -> Tensor:
        both = self.a + self.b
        return both * math.log(2) + self.b * math.log(math.pi) + torch.lgamma(self.a) - torch.lgamma(both)

    def log_prob(self, value: Tensor) -> Tensor:
        along = (value * self.center).sum(-1).clamp(min=-1 + 1e-6)
        return self.kappa * torch.log1p(along) - self.log_normalizer

    def entropy(self) -> Tensor:
        log_mean = math.log(2) + torch.digamma(self.a) - torch.digamma(self.a + self.b)
        return self.log_normalizer - self.kappa * log_mean


class UniformOnSphere(Distribution):
    """Every point of the unit sphere alike."""

    arg_constraints = {}

    def __init__(self, like: Tensor) -> None:
        self.like, size = like, len(like)
        self.log_area = math.log(2) + size / 2 * math.log(math.pi) - math.lgamma(size / 2)
        super().__init__(torch.Size(), like.shape, validate_args=False)

    def sample(self, sample_shape: torch.Size = ONE) -> Tensor:
        return normalize(torch.randn(self._extended_shape(sample_shape)).to(self.like), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.full_like(value[..., 0], -self.log_area)


@register_kl(PowerSpherical, UniformOnSphere)
def _kl(q: PowerSpherical, p: UniformOnSphere) -> Tensor:
    """Torch's own registry, where vaekit looks too: this is the closed form, and no KL is estimated."""
    return p.log_area - q.entropy()


class Posterior(nn.Module):
    """Center and concentration from the features."""

    space = "the unit sphere"  # a prior of another space is refused

    def __init__(self, features: int, latent: int = 3) -> None:
        super().__init__()
        self.head, self.latent = nn.Linear(features, latent + 1), latent

    def forward(self, features: Tensor) -> Distribution:
        center, kappa = self.head(features).split([self.latent, 1], -1)
        return PowerSpherical(normalize(center, dim=-1), 1 + softplus(kappa.squeeze(-1)))


class Prior(nn.Module):
    """No direction before another."""

    space = "the unit sphere"

    def __init__(self, latent: int = 3) -> None:
        super().__init__()
        self.register_buffer("like", torch.zeros(latent), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        return UniformOnSphere(self.like)


PARTS = {"posteriors": {"power-spherical": Posterior}, "priors": {"sphere": Prior}}
