"""A posterior and a prior of your own: codes on a sphere (Davidson et al. 2018), the sphere of three dimensions.

vaekit train digits --parts sphere.py:PARTS --set model.latents.z.size=3 \
    --set model.latents.z.posterior=von-mises-fisher --set model.latents.z.prior=uniform-sphere
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, register_kl
from torch.nn.functional import normalize, softplus

ONE = torch.Size()


class VonMisesFisher(Distribution):
    """Density proportional to exp(kappa m · z) on the unit sphere, m (…, 3) of length 1, kappa (…) above 0."""

    arg_constraints = {}
    has_rsample = True

    def __init__(self, center: Tensor, kappa: Tensor) -> None:
        self.center, self.kappa = center, kappa  # `center` is what stands for it: its mean is inside of the sphere
        super().__init__(kappa.shape, center.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: torch.Size = ONE) -> Tensor:
        shape = self._extended_shape(sample_shape)
        u = torch.rand(shape[:-1], dtype=self.kappa.dtype, device=self.kappa.device)
        along = 1 + (u + (1 - u) * (-2 * self.kappa).exp()).log() / self.kappa  # its distribution function, inverted
        g = torch.randn(shape, dtype=u.dtype, device=u.device)
        across = normalize(g - (g * self.center).sum(-1, keepdim=True) * self.center, dim=-1)
        return along[..., None] * self.center + (1 - along.square()).clamp(min=1e-12).sqrt()[..., None] * across

    def log_prob(self, value: Tensor) -> Tensor:
        normalizer = self.kappa.log() - math.log(2 * math.pi) - torch.log(-torch.expm1(-2 * self.kappa))
        return self.kappa * ((value * self.center).sum(-1) - 1) + normalizer


class UniformOnSphere(Distribution):
    """Every point of the unit sphere of three dimensions alike."""

    arg_constraints = {}

    def __init__(self, like: Tensor) -> None:
        self.like = like
        super().__init__(torch.Size(), torch.Size([3]), validate_args=False)

    def sample(self, sample_shape: torch.Size = ONE) -> Tensor:
        return normalize(torch.randn(self._extended_shape(sample_shape)).to(self.like), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.full_like(value[..., 0], -math.log(4 * math.pi))


@register_kl(VonMisesFisher, UniformOnSphere)
def _kl(q: VonMisesFisher, p: UniformOnSphere) -> Tensor:
    """Torch's own registry, where vaekit looks too: this is the closed form, and no KL is estimated."""
    mean = 1 / torch.tanh(q.kappa) - 1 / q.kappa
    return q.kappa * (mean - 1) + (2 * q.kappa).log() - torch.log(-torch.expm1(-2 * q.kappa))


class Posterior(nn.Module):
    """Center and concentration from the features."""

    def __init__(self, features: int, latent: int = 3) -> None:
        super().__init__()
        if latent != 3:
            raise ValueError(f"this sphere is that of three dimensions, model.latents.NAME.size is {latent}")
        self.head = nn.Linear(features, 4)

    def forward(self, features: Tensor) -> Distribution:
        center, kappa = self.head(features).split([3, 1], -1)
        return VonMisesFisher(normalize(center, dim=-1), 1 + softplus(kappa.squeeze(-1)))


class Prior(nn.Module):
    """No direction before another."""

    def __init__(self, latent: int = 3) -> None:
        super().__init__()
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        return UniformOnSphere(self.like)


PARTS = {"posteriors": {"von-mises-fisher": Posterior}, "priors": {"uniform-sphere": Prior}}
