"""A VAE as a probabilistic program: a `model` and a `guide` for Pyro (`pip install 'vaekit[pyro]'`)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from ..data.batch import Batch
from ..distributions.divergences import kl
from ..distributions.shapes import _Shape
from ..models import VAE, HamiltonianVAE, SemiSupervisedVAE
from ..models.given import checked, checked_condition
from ..models.tokens import quantised
from ..system.extras import needing

_validate = Distribution._validate_args
with needing("vaekit.interop.pyro", "Pyro", "pyro"):
    import pyro
    from pyro.distributions import TorchDistribution
# Importing Pyro sets the argument validation of every distribution of the process to `__debug__`, whatever it was.
Distribution.set_default_validate_args(_validate)


class Wrapped(TorchDistribution):
    """Any torch `Distribution`, `base`, as one that `pyro.sample` takes, of the same shapes and values.

    >>> pyro.sample("z", Wrapped(torch.distributions.Normal(torch.zeros(3), 1.0))).shape
    torch.Size([3])
    """

    arg_constraints = {}

    def __init__(self, base: Distribution) -> None:
        self.base, self.has_rsample = base, base.has_rsample
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: object = None) -> TorchDistribution:
        try:
            return Wrapped(self.base.expand(torch.Size(batch_shape)))  # Pyro gives a list
        except NotImplementedError:  # somebody else's distribution, without this optional method
            return super().expand(torch.Size(batch_shape))

    @property
    def support(self) -> constraints.Constraint | None:
        return self.base.support

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        return self.base.sample(torch.Size(sample_shape))

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        return self.base.rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value)


def _kl(q: Wrapped, p: Wrapped) -> Tensor:
    if (exact := kl(q.base, p.base)) is None:
        raise NotImplementedError  # Pyro then estimates it from its own samples
    return exact


register_kl(Wrapped, Wrapped)(_kl)


def _sampled(name: str, distribution: Distribution) -> Tensor:
    z: Tensor = pyro.sample(name, Wrapped(distribution))
    return z


@dataclass(frozen=True)
class Program:
    """`vae` as a Pyro `model` p(x, z) and `guide` q(z given x), sites the latents by name and "x", in a plate "data".

    Losses are nats of a batch of B, or with `size` = N, the number of all data, N / B times that. The parameters are in
    Pyro's store under `name`, another for each model of a process. `ValueError` for data that are none of the model's,
    for latents that are quantised, for a `HamiltonianVAE`, whose draws have no density of z alone, and for a
    `SemiSupervisedVAE`, whose label and auxiliary latent have no sites here.
    `TraceMeanField_ELBO`, which takes each KL in closed form, is for latents that are drawn apart: of a
    `HierarchicalVAE` Pyro warns of it.

    >>> from vaekit import Domain, likelihoods, networks, posteriors, priors
    >>> p = likelihoods.Bernoulli((3,), Domain("binary"))
    >>> encoder, decoder = networks.MLP((3,), hidden=(8,)), networks.MLP((2,), p.parameter_shape, hidden=(8,))
    >>> posterior, prior = posteriors.DiagonalNormal(8, 2), priors.StandardNormal(2)
    >>> program = Program(VAE(encoder, {"z": posterior}, {"z": prior}, decoder, p), size=60)
    >>> svi = pyro.infer.SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.05}), pyro.infer.Trace_ELBO())
    >>> losses = [svi.step(torch.ones(20, 3)) for _ in range(100)]  # trains the VAE in place
    >>> losses[-1] < losses[0] / 2
    True
    >>> pyro.clear_param_store()
    """

    vae: VAE
    size: int | None = None
    name: str = "vae"

    def __post_init__(self) -> None:
        if isinstance(self.vae, SemiSupervisedVAE):
            raise ValueError("a SemiSupervisedVAE, whose label is summed out, is no such program; accepted: a VAE")
        if isinstance(self.vae, HamiltonianVAE):
            raise ValueError("a HamiltonianVAE's draws have no density a guide can be asked for; accepted: a VAE")
        if codes := quantised(self.vae):
            what = f"latent {next(iter(codes))!r} is quantised, and what trains its codes has no place in a program"
            raise ValueError(f"{what}; accepted: latents that are drawn")
        if taken := {"x", "data"} & set(self.vae.sizes):
            raise ValueError(f"a latent is named {min(taken)!r}, which here is the data's name; name it otherwise")

    def model(self, x: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """p(x, z) at x (B, *event); without x, x is drawn: one for each row of y, or one. Returns x."""
        if x is None:
            condition = checked_condition(self.vae, y, rows := 1 if y is None else len(y))
        else:
            x, condition = self._complete(x, y)
            rows = len(x)
        condition = self.vae.network_condition(condition)
        with self._plate(rows):
            z = self.vae.side_by_side(self.vae.generate(condition, _sampled))
            return pyro.sample("x", Wrapped(self.vae.likelihood_of(z, condition)), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """q(z given x) at x (B, *event): a draw of each latent, (B, D) by name."""
        x, y = self._complete(x, y)
        with self._plate(len(x)):
            found = self.vae.infer(Batch(x, y), _sampled)
            return {name: z for name, (_, z) in found.items()}

    def _complete(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        batch = checked(self.vae, x, y)
        if batch.observed is not None:
            raise ValueError("x has cells that are not observed (NaN), which a program of Pyro would score")
        return batch.x, batch.y

    def _plate(self, rows: int) -> AbstractContextManager[object]:
        if self.size is not None and rows > self.size:
            raise ValueError(f"size, the number of all data, must be at least that of a batch, {rows}, got {self.size}")
        pyro.module(self.name, self.vae)  # all of it, for model and guide may share parameters (VampPrior)
        stored = pyro.get_param_store().param_name
        if any(stored(each) is None for each in self.vae.parameters() if each.requires_grad):
            # Pyro keeps the tensors that it knows by a name, and would silently train those.
            raise ValueError(f"Pyro holds another model as {self.name!r}: give a `name`, or pyro.clear_param_store()")
        return pyro.plate("data", self.size or rows, subsample=torch.arange(rows))  # which Pyro else draws
