"""Normals whose numbers hang together, for less than a full-rank one costs, and mixtures of normals, also of as many as
there is noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import mixtures, normals
from ..distributions.bounds import checked_clamp, scale_of
from ..errors import check_least
from ..networks.mlp import MLP
from .continuous import head

NEAR = 0.1
"""How far a low-rank posterior's correlations start from none, beside its other parameters."""
MOST_REFLECTIONS = 1000


class LowRankNormal(nn.Module):
    """q(z given x) = N(z; mu, S (I + V Vᵀ) S), S = diag(sigma), V of `rank` columns: mu, log sigma² and V linear in the
    features (Rezende et al. 2014, section 4.3, of rank 1; Ong et al. 2018, section 3).

    Between `diagonal-normal` and `full-rank-normal`: with R columns it takes D R numbers for what D numbers of z have
    to do with each other, not D²/2. It starts near the diagonal. With `hidden` layers each of the three has an MLP of
    those sizes. Raises `ValueError` unless the rank is from 1 to D.

    >>> LowRankNormal(features=5, latent=3, rank=1)(torch.zeros(4, 5)).covariance_matrix.shape
    torch.Size([4, 3, 3])
    """

    def __init__(
        self,
        features: int,
        latent: int,
        rank: int = 1,
        log_variance_clamp: tuple[float, float] = (-10.0, 10.0),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        if not 1 <= rank <= latent:
            raise ValueError(f"rank must be from 1 to the size of the latent, {latent}, got {rank}")
        self.latent, self.rank = latent, rank
        self.head = head(features, (latent, latent, latent * self.rank), hidden, activation)

    def forward(self, features: Tensor) -> Distribution:
        sizes = [self.latent, self.latent, self.latent * self.rank]
        loc, log_variance, factor = self.head(features).split(sizes, -1)
        factor = NEAR * factor.unflatten(-1, (self.latent, self.rank))
        return normals.LowRankNormal(loc, scale_of(log_variance, self.clamp), factor)


class HouseholderNormal(nn.Module):
    """q(z given x): draws of a diagonal normal, reflected `reflections` times, one after another, at planes that are
    told by the features (Tomczak & Welling 2016).

    v_1 is linear in the features, each v_t in the one before (eq. 8). Reflections turn the normal, so that its numbers
    hang together, and change no volume; with D of them any direction is reached. With a standard normal prior the KL
    is that of the diagonal normal. Raises `ValueError` for a latent of one number, which has no direction.

    >>> HouseholderNormal(features=5, latent=3)(torch.zeros(4, 5)).rsample((2,)).shape
    torch.Size([2, 4, 3])
    """

    def __init__(
        self,
        features: int,
        latent: int,
        reflections: int = 2,
        log_variance_clamp: tuple[float, float] = (-10.0, 10.0),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        if latent < 2:
            raise ValueError(f"reflections turn latents of size 2 or more, got {latent}; choose diagonal-normal")
        if not 1 <= reflections <= MOST_REFLECTIONS:
            raise ValueError(f"reflections must be from 1 to {MOST_REFLECTIONS}, got {reflections}")
        self.head = head(features, (latent, latent, latent), hidden, activation)
        self.next = nn.ModuleList(nn.Linear(latent, latent) for _ in range(reflections - 1))

    def forward(self, features: Tensor) -> Distribution:
        loc, log_variance, mirror = self.head(features).chunk(3, -1)
        mirrors = [mirror]
        for layer in self.next:
            mirrors.append(layer(mirrors[-1]))
        return normals.ReflectedNormal(loc, scale_of(log_variance, self.clamp), torch.stack(mirrors, -2))


class NormalMixture(nn.Module):
    """q(z given x) = sum_k pi_k N(z; mu_k, diag(sigma_k²)), of K = `components`: log pi, mu and log sigma² linear in
    the features.

    Draws are of the mixture, and carry its gradient implicitly (Figurnov et al. 2018), that of the weights too, without
    a bias: no component is summed out, and every objective has it as any other posterior. The KL is estimated from
    draws. With `hidden` layers each of the three has an MLP of those sizes.

    >>> NormalMixture(features=5, latent=3)(torch.zeros(4, 5)).rsample((2,)).shape
    torch.Size([2, 4, 3])
    """

    def __init__(
        self,
        features: int,
        latent: int,
        components: int = 5,
        log_variance_clamp: tuple[float, float] = (-10.0, 10.0),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        check_least("components", components)
        self.components, self.latent = components, latent
        self.head = head(features, (latent * components, latent * components, components), hidden, activation)

    def forward(self, features: Tensor) -> Distribution:
        size = self.components * self.latent
        loc, log_variance, logits = self.head(features).split([size, size, self.components], -1)
        loc, log_variance = (each.unflatten(-1, (self.components, self.latent)) for each in (loc, log_variance))
        return mixtures.NormalMixture(logits, loc, scale_of(log_variance, self.clamp))


class SemiImplicit(nn.Module):
    """q(z given x) = the mean over noise e of N(z; mu(x, e), diag(sigma(x, e)²)): any shape that a network can bend
    noise to, which has no density in closed form (SIVI, Yin & Zhou 2018).

    In training K = `components` vectors of `noise` numbers are drawn for each datum, and q is the even mixture of their
    K normals. What is learned is a bound below the ELBO, the nearer the larger K; weights over these
    draws have the mean p(x), so that objectives by importance weights are bounds as well. In evaluation mode the K
    vectors are the same for all data, kept with the weights: an even mixture of normals, whose scores are exact as
    those of any other posterior. mu and log sigma² are an MLP of features and noise, with the `hidden` layers.

    >>> posterior = SemiImplicit(features=5, latent=3).eval()
    >>> posterior(torch.zeros(4, 5)).rsample((2,)).shape
    torch.Size([2, 4, 3])
    """

    fixed: Tensor

    def __init__(
        self,
        features: int,
        latent: int,
        components: int = 10,
        noise: int = 10,
        hidden: tuple[int, ...] = (64,),
        log_variance_clamp: tuple[float, float] = (-10.0, 10.0),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        for name, value in (("components", components), ("noise", noise), ("hidden layers", len(hidden))):
            check_least(name, value)
        self.network = MLP((features,), (2 * latent,), noise, hidden, activation)
        self.register_buffer("fixed", torch.randn(components, noise))

    def forward(self, features: Tensor) -> Distribution:
        noise = self.fixed.expand(*features.shape[:-1], *self.fixed.shape)
        if self.training:
            noise = torch.randn_like(noise)
        loc, log_variance = self.network(features.unsqueeze(-2), noise).chunk(2, -1)
        even = loc.new_zeros(loc.shape[:-1])
        return mixtures.NormalMixture(even, loc, scale_of(log_variance, self.clamp))
