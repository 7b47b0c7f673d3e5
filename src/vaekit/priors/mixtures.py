"""Mixtures: of normals, and of posteriors of pseudo-inputs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from ..data.domains import Domain
from ..distributions import mixtures
from ..distributions.bounds import bounded
from ..distributions.normals import TriangularNormal
from ..distributions.shapes import independent
from ..errors import check_least
from ..modules import apart, evaluating
from ..networks.base import flat
from .base import shifted

NO_WEIGHT = -1e4
"""The logarithm of a weight that is none, and has no gradient."""


SHORT_RUNS, SHORT_CODES, SHORT_STEPS, LONG_RUNS = 200, 5000, 20, 10
"""How a mixture is fitted to codes: short runs, for more than ten components fewer, codes and steps of each, and the
likeliest of them that are gone on with."""


class Mixture(nn.Module):
    """p(z) = sum_k pi_k N(z; mu_k, diag(sigma_k²)), all learned; given y, all linear in y.

    The components start spread out as draws from N(0, I), so that they do not all learn the same. With `fit_after`, one
    or more fractions of the run, they start as one N(0, I), and at these times are fitted to codes drawn for the
    training data by expectation maximisation, as in Jiang et al. 2017 (VaDE): the clusters that the codes have by then.
    `fit_components` says how many of them at each time; the others get no weight. Many at first, few at last find
    clusters that chance would else join or split. At 0 it is fitted before the first step, for a training that begins
    with another run's codes. With `full`, each component has a covariance matrix, L Lᵀ in place of diag(sigma_k²), as
    the density that Ghosh et al. 2020 fit to codes afterwards.

    >>> Mixture(latent=2, components=3)().sample((5,)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        latent: int,
        condition: int = 0,
        components: int = 10,
        fit_after: float | tuple[float, ...] = (),
        fit_components: tuple[int, ...] = (),
        full: bool = False,
    ) -> None:
        super().__init__()
        check_least("components", components)
        self.fit_after = (fit_after,) if isinstance(fit_after, (int, float)) else tuple(fit_after)
        if self.fit_after and (condition or not all(0 <= each < 1 for each in self.fit_after)):
            given = f"{fit_after}{', of a conditional prior' if condition else ''}"
            raise ValueError(f"fit_after is fractions of the run of an unconditional prior, in [0, 1); got {given}")
        self.fit_components = tuple(fit_components)
        if self.fit_components and len(self.fit_components) != len(self.fit_after):
            raise ValueError(
                f"fit_components has {len(fit_components)} numbers for {len(self.fit_after)} times of fit_after"
            )
        if not all(1 <= each <= components for each in self.fit_components):
            raise ValueError(f"fit_components must be from 1 to components={components}, got {list(fit_components)}")
        below = latent * (latent - 1) // 2 if full else 0
        self.latent, self.components, self.shape = latent, components, (components, 2 * latent + 1 + below)
        self.rows_columns: Tensor | None
        rows_columns = torch.tril_indices(latent, latent, -1) if full else None
        self.register_buffer("rows_columns", rows_columns, persistent=False)
        start = torch.zeros(self.shape)
        if not self.fit_after:
            start[:, :latent] = torch.randn(components, latent)
        self.start = nn.Parameter(start)
        self.shift = nn.Linear(condition, start.numel(), bias=False) if condition else None

    @torch.no_grad()
    def fit(self, codes: Tensor, seed: int, time: int = 0) -> None:
        """Set the components to those of a mixture fitted to `codes` (N, D), the likeliest of many starts, for the fit
        number `time`.

        It has a covariance matrix for each component, since the clusters of codes that no prior has pressed into shape
        are long in some directions; without `full`, the diagonals are what is taken. Of many short runs of expectation
        maximisation on some of the codes the likeliest are gone on with on all (Biernacki et al. 2003): of ten
        components one start in forty can be the one that leads to the clusters. Starts are at codes drawn at random;
        k-means, whose clusters are round, starts most often where two clusters are one and another is two.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        count = self.fit_components[time] if self.fit_components else self.components
        rows = codes.cpu().double().numpy()
        streams = np.random.SeedSequence(seed).spawn(max(LONG_RUNS, SHORT_RUNS * 10 // max(10, count)))
        # No component is to shrink to one code.
        same = {"n_components": count, "reg_covar": max(1e-6, 1e-3 * float(rows.var(0).mean()))}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            runs = [
                GaussianMixture(
                    **same,
                    init_params="random_from_data",
                    max_iter=SHORT_STEPS,
                    random_state=int(stream.generate_state(1)[0]),
                ).fit(rows[:SHORT_CODES])
                for stream in streams
            ]
            runs.sort(key=lambda run: -run.lower_bound_)
            runs = [
                GaussianMixture(
                    **same,
                    weights_init=run.weights_ / run.weights_.sum(),
                    means_init=run.means_,
                    precisions_init=run.precisions_,
                ).fit(rows)
                for run in runs[:LONG_RUNS]
            ]
        found = max(runs, key=lambda run: run.lower_bound_)
        spread, below = np.diagonal(found.covariances_, axis1=1, axis2=2), np.zeros((count, 0))
        if self.rows_columns is not None:
            factors, (rows_, columns) = np.linalg.cholesky(found.covariances_), self.rows_columns.cpu().numpy()
            spread = np.square(np.diagonal(factors, axis1=1, axis2=2))
            below = factors[:, rows_, columns] / np.sqrt(spread)[:, rows_]
        start = np.zeros(self.shape, np.float32)
        start[:, 2 * self.latent] = NO_WEIGHT
        start[:count] = np.concatenate([found.means_, np.log(spread), np.log(found.weights_)[:, None], below], -1)
        self.start.copy_(torch.from_numpy(start))

    def forward(self, y: Tensor | None = None) -> Distribution:
        parameters = shifted(self.start, self.shift, y)
        sizes = [self.latent, self.latent, 1, self.shape[1] - 2 * self.latent - 1]
        loc, log_variance, logits, relative = parameters.split(sizes, -1)
        scale = (0.5 * bounded(log_variance, -10.0, 10.0)).exp()
        each: Distribution = independent(Normal(loc, scale, validate_args=False))
        if self.rows_columns is not None:
            below = relative * scale.index_select(-1, self.rows_columns[0])
            each = TriangularNormal(loc, scale, below, self.rows_columns)
        return mixtures.Mixture(logits.squeeze(-1), each)


class VampPrior(nn.Module):
    """p(z) = 1/K sum_k q(z given u_k), a mixture of posteriors at K learned pseudo-inputs u (Tomczak & Welling 2018,
    eq. 9).

    Takes the model's own encoder and posterior, always as they are in evaluation mode: a batch normalisation goes by
    its running averages, which are those of data. Pseudo-inputs live in the encoder's input space (order one), in
    [0, 1] where the data are bounded, all of their cells observed. Given y, the prior is 1/K sum_k q(z given u_k, y).

    Of latents one above another it is the prior of the last. In a ladder, where q of that one is given x alone, u are
    as above (their section 4.2); where it is given the latent before it, u are codes of that one.
    """

    logits: Tensor
    bits: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        posterior: nn.Module,
        event_shape: Sequence[int],
        domain: Domain,
        condition: int = 0,
        components: int = 500,
    ) -> None:
        super().__init__()
        check_least("components", components)
        self.encoder, self.posterior, self.condition = encoder, posterior, condition
        self.groups: int | None = getattr(posterior, "groups", None)
        self.space: str | None = getattr(posterior, "space", None)
        self.bounded, self.missing = domain.kind in ("binary", "grey", "unit"), domain.missing
        noise = torch.rand if self.bounded else torch.randn
        inputs = replace(domain, missing=False).inputs_shape(tuple(event_shape))
        self.pseudo_inputs = nn.Parameter(noise(components, *inputs))
        bits = (len(domain.columns), *inputs[1:]) if domain.columns else inputs
        self.register_buffer("bits", torch.ones(components, *bits) if self.missing else None, persistent=False)
        self.register_buffer("logits", torch.zeros(components), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        inputs = bounded(self.pseudo_inputs, 0.0, 1.0) if self.bounded else self.pseudo_inputs
        if self.bits is not None:
            inputs = torch.cat([inputs, self.bits], 1)
        if self.condition and y is not None:
            y = y[..., None, :].expand(*y.shape[:-1], len(inputs), y.shape[-1])
            inputs = inputs.expand(*y.shape[:-1], *inputs.shape[1:])
        with ExitStack() as stack:
            if self.training:  # the same function of pseudo-inputs as in evaluation: of running averages, those of data
                for part in (self.encoder, self.posterior):
                    stack.enter_context(evaluating(part))
                    stack.enter_context(apart(part))
            q = self.posterior(flat(self.encoder, self.encoder(inputs, y if self.condition else None)))
        return mixtures.Mixture(self.logits.expand(q.batch_shape), q)
