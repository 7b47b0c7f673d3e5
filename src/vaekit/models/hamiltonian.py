"""The variational autoencoder whose draws are led along the gradient of log p(x, z)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.batch import Batch
from ..distributions.leapfrog import Leapfrog
from ..distributions.observed import observed_log_prob
from ..errors import check_least
from . import compatibility
from .sampling import Draw, Drawn
from .vae import VAE


class Dynamics(nn.Module):
    """So many leapfrog steps: their sizes, one for each of `latent` dimensions, and the tempering, as `Leapfrog` has
    them.

    1 / sqrt(b_k) goes from the square root of the `temperature` to 1, by k² (Caterini et al. 2018, section 3.2, the
    quadratic scheme). With `learned`, sizes and a temperature above 1, which is none, begin as they are given.

    >>> sizes, tempers = Dynamics(latent=3, steps=2, temperature=4.0)()
    >>> sizes.shape, [round(each.item(), 3) for each in tempers]
    (torch.Size([3]), [0.5, 0.571, 1.0])
    """

    log_step: Tensor
    log_heat: Tensor | None

    def __init__(
        self, latent: int, steps: int = 4, step_size: float = 0.05, temperature: float = 2.0, learned: bool = True
    ) -> None:
        super().__init__()
        check_least("steps", steps)
        if not 0 < step_size < math.inf:
            raise ValueError(f"step_size must be above 0 and finite, got {step_size}")
        if not 1 <= temperature < math.inf:
            raise ValueError(f"temperature must be at least 1, which is none, and finite, got {temperature}")
        self.latent, self.steps = latent, steps
        self.log_step = nn.Parameter(torch.full((latent,), math.log(step_size)), learned)
        above = torch.tensor(math.log(temperature - 1)) if temperature > 1 else None
        self.log_heat = None if above is None else nn.Parameter(above, learned)

    def forward(self) -> tuple[Tensor, Tensor]:
        along = torch.linspace(0, 1, self.steps + 1, dtype=self.log_step.dtype, device=self.log_step.device).square()
        first = 1.0 if self.log_heat is None else (1 + self.log_heat.exp()).sqrt()
        return self.log_step.exp(), (first + (1 - first) * along).reciprocal()


class HamiltonianVAE(VAE):
    """A `VAE` of one latent whose draws of q(z given x), by the encoder, are led by leapfrog steps along the gradient
    of log p(x, z) of what is observed of x, as `dynamics` says (Caterini et al. 2018, algorithm 1).

    A step costs a gradient of the decoder, in training a second derivative too, so that activations should be smooth
    (tanh, softplus). Without tempering, weights are those of the encoder's draws, but for the error of steps. Codes and
    momenta are drawn together: what is said to be the KL is that of both, an estimate by the draws, and there is no
    density of z alone, so that what asks for one (`stl`, `dreg`, the terms `total-correlation` and, for its variances,
    `covariance` of kind II; the gap of a bound) is refused. What asks for draws alone (`discrepancy`, the adversarial
    terms) has them; of the objective `autoencoder` a code is where the encoder's mean is led without momentum. All else
    is as of `VAE`.

    Raises `ValueError` for several latents, for one that is no vector of free numbers, and for dynamics of another
    size.

    >>> from vaekit import Domain, likelihoods, networks, posteriors, priors
    >>> p = likelihoods.Bernoulli((6,), Domain("binary"))
    >>> vae = HamiltonianVAE(
    ...     encoder=networks.MLP((6,), hidden=(8,)),
    ...     posteriors={"z": posteriors.DiagonalNormal(8, latent=2)},
    ...     priors={"z": priors.StandardNormal(latent=2)},
    ...     decoder=networks.MLP((2,), p.parameter_shape, hidden=(8,), activation="tanh"),
    ...     likelihood=p,
    ...     dynamics=Dynamics(latent=2, steps=3),
    ... )
    >>> vae.trace(Batch(torch.zeros(5, 6)), samples=4).log_weight.shape
    torch.Size([4, 5])
    """

    by_slopes = True
    inferring = ("encoder", "posteriors", "dynamics")

    def __init__(
        self,
        encoder: nn.Module,
        posteriors: Mapping[str, nn.Module],
        priors: Mapping[str, nn.Module],
        decoder: nn.Module,
        likelihood: nn.Module,
        dynamics: Dynamics,
        condition: int = 0,
        **units: Any,
    ) -> None:
        super().__init__(encoder, posteriors, priors, decoder, likelihood, condition, **units)
        _check_latent(self.posteriors)
        if self.sizes and dynamics.latent != self.latent_size:
            raise ValueError(f"dynamics are of {dynamics.latent} dimensions, the latent of {self.latent_size}")
        self.dynamics = dynamics
        compatibility.check_parts(self)

    def infer(self, batch: Batch, draw: Draw) -> Drawn:
        ((name, posterior),) = self.posteriors.items()
        start = posterior(self.features(batch))
        q = Leapfrog(start, self._slope(batch, name), *self.dynamics())
        return {name: (q, draw(name, q))}

    def _slope(self, batch: Batch, name: str) -> Callable[[Tensor], Tensor]:
        """The gradient of log p(x, z) in z (…, B, D), itself with gradients where these are taken."""
        y = self.network_condition(batch.y)
        p: Distribution = self.prior(name, y)

        def slope(z: Tensor) -> Tensor:
            graph = torch.is_grad_enabled()
            with torch.enable_grad():
                at = z if graph and z.requires_grad else z.detach().requires_grad_()
                joint = observed_log_prob(self.likelihood_of(at, y), batch.x, batch.observed) + p.log_prob(at)
                (found,) = torch.autograd.grad(joint.sum(), at, create_graph=graph)
            return found

        return slope


def _check_latent(posteriors: nn.ModuleDict) -> None:
    if len(posteriors) != 1:
        raise ValueError(f"a Hamiltonian VAE has one latent, got {', '.join(posteriors)}")
    ((name, posterior),) = posteriors.items()
    for what, has in (("classes", "groups"), ("codes", "tokens"), ("points of a space of its own", "space")):
        if getattr(posterior, has, None) is not None:
            given = f"{name!r}, by {type(posterior).__name__}, is of {what}"
            raise ValueError(f"a Hamiltonian VAE is of a latent of free numbers, {given}; choose a normal or a flow")
