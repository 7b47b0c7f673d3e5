"""The variational autoencoder whose named latents are independent given x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.batch import Batch
from ..data.domains import Domain
from ..data.inputs import Inputs
from ..distributions.moments import center, typical
from ..modules import evaluating
from ..priors.mixtures import Mixture as MixturePrior
from ..seeding import seeded
from ..system.progress import working
from .cases import Cases
from .compatibility import check_pair, check_parts, prior_sizes
from .given import checked, checked_condition, condition_units, refuse_too_many
from .scoring import MEMORY, Scorer, Scores
from .trace import Latent, Trace, beside, cluster_probabilities

ROWS = 1000
"""Data drawn at a time."""
CLASSES = 64
"""A discrete latent of more classes is drawn where it might be summed over: the decoder runs for each of them."""


class VAE(nn.Module):
    """p(x given z) p(z) with the amortised posterior q(z given x), all parts the caller's (Kingma & Welling 2014).

    encoder      (x, y) to features; x arrives as the domain's `Inputs`, scaled to order one
    posteriors   for each named latent, features to q(z given x)
    priors       for each of the same names, condition or None to p(z)
    decoder      (z, y) to the likelihood's parameters, z (…, D) all latents side by side in their order
    likelihood   parameters to p(x given z)
    condition    C, the size of the condition y; 0 for an unconditional model
    condition_location, condition_scale   C numbers each: networks and priors get (y - location) / scale, None for y
                 itself, which class labels are for

    Letters: S samples, B batch, D all latents' sizes together, C condition. y is (B, C), or (B,) whole numbers below C,
    which stand for their one-hot vectors. Where the likelihood has an `exposure`, it is the last of the C, and the
    likelihood alone sees it. Densities are nats in the data's own units.

    >>> from vaekit.data import Batch, domains
    >>> from vaekit import likelihoods, networks, posteriors, priors
    >>> p = likelihoods.Bernoulli((1, 8, 8), domains.Domain("binary"))
    >>> encoder = networks.MLP(p.event_shape, hidden=(32,))
    >>> vae = VAE(
    ...     encoder=encoder,
    ...     posteriors={"z": posteriors.DiagonalNormal(32, latent=2)},
    ...     priors={"z": priors.StandardNormal(latent=2)},
    ...     decoder=networks.MLP((2,), p.parameter_shape, hidden=(32,)),
    ...     likelihood=p,
    ... )
    >>> vae.trace(Batch(torch.zeros(5, 1, 8, 8)), samples=3).log_weight.shape
    torch.Size([3, 5])
    >>> vae.sample(4, seed=0).shape
    torch.Size([4, 1, 8, 8])
    """

    condition_location: Tensor
    condition_scale: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        posteriors: Mapping[str, nn.Module],
        priors: Mapping[str, nn.Module],
        decoder: nn.Module,
        likelihood: nn.Module,
        condition: int = 0,
        condition_location: Sequence[float] | None = None,
        condition_scale: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not posteriors or list(posteriors) != list(priors):
            raise ValueError(
                f"posteriors {list(posteriors)} and priors {list(priors)} must name the same latents in the same order"
            )
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        try:
            self.posteriors, self.priors = nn.ModuleDict(posteriors), nn.ModuleDict(priors)
        except KeyError as error:  # a dot in it, or an attribute of modules, such as "type"
            raise ValueError(f"no name for a latent: {error.args[0]}") from None
        self.condition, self.exposed = condition, bool(getattr(likelihood, "exposure", False))
        if self.exposed and not condition:
            raise ValueError("the likelihood has an exposure, but the condition is 0; accepted: 1 or more, it is one")
        self.event_shape: tuple[int, ...] = tuple(likelihood.event_shape)  # type: ignore[arg-type]
        self.domain: Domain = likelihood.domain  # type: ignore[assignment]
        domains = getattr(likelihood, "domains", ())
        if self.domain.kind not in domains and getattr(likelihood, "is_density", True):
            what = f"a density of {' or '.join(domains)} data" if domains else "declared to be a density of no data"
            raise ValueError(f"{type(likelihood).__name__} is {what}, but was given {self.domain}")
        kind = torch.get_default_dtype()
        self.inputs = Inputs(self.event_shape, self.domain)
        units = condition_units(condition, condition_location, condition_scale)
        for name, own in zip(("condition_location", "condition_scale"), units, strict=True):
            self.register_buffer(name, torch.as_tensor(own, dtype=kind), persistent=False)
        self.scaled_condition = condition_location is not None or condition_scale is not None
        self.precision: torch.dtype | None = None
        """The type that encoder and decoder compute in, None for the weights'; distributions always have that."""
        self.sizes = prior_sizes(self)
        for name in self.priors:
            check_pair(name, self.posteriors[name], self.priors[name])
        if type(self).__init__ is VAE.__init__:  # others have more parts, without which these need not work yet
            check_parts(self)

    # -- the graph: tensors in, distributions out, no checks -----------------------------------------------------------

    def trace(self, batch: Batch, samples: int = 1, sum_classes: bool = False) -> Trace:
        """S = `samples` draws of the latents of a batch, and the likelihood at each.

        With `sum_classes`, the first latent that can be enumerated (a discrete one, which a relaxed one is in
        evaluation mode alone) and has no more than `CLASSES` classes is summed out, as `Trace` says.
        """
        batch, cases = self.typed(batch), None
        y, features = self._given(batch.y), self._features(batch)
        posteriors = self._posteriors(features)
        few = [name for name, q in posteriors.items() if q.has_enumerate_support and q.event_shape[-1] <= CLASSES]
        summed = few[0] if few and sum_classes else None
        z = {name: q.rsample(torch.Size((samples,))) for name, q in posteriors.items() if name != summed}
        if summed:
            classes = posteriors[summed].enumerate_support()  # (K, B, K)
            cases = Cases(posteriors[summed].log_prob(classes).flatten(), 0, len(classes))
            posteriors = self._posteriors(cases.repeat(features))
            y = None if y is None else cases.repeat(y)
            z = {name: cases.repeat(drawn, 1) for name, drawn in z.items()}
            z[summed] = classes.flatten(0, 1).unsqueeze(0)
        latents = tuple(
            Latent(name, z[name], q, self._prior(name, y), cases, enumerated=name == summed)
            for name, q in posteriors.items()
        )
        return Trace(batch, self._likelihood(beside(*(latent.z for latent in latents)), y), latents, cases)

    def _features(self, batch: Batch) -> Tensor:
        return self._network(self.encoder, self.inputs(batch.x, batch.observed), self._given(batch.y))

    def _posteriors(self, features: Tensor) -> dict[str, Distribution]:
        return {name: posterior(features) for name, posterior in self.posteriors.items()}

    def _posterior(self, batch: Batch) -> dict[str, Distribution]:
        """q of each latent given a batch."""
        return self._posteriors(self._features(batch))

    def latents(self, batch: Batch) -> tuple[Latent, ...]:
        """One draw of each latent of a batch, without what the decoder makes of it."""
        y = self._given(batch.y)
        posteriors = self._posterior(self.typed(batch))
        return tuple(Latent(name, q.rsample((1,)), q, self._prior(name, y)) for name, q in posteriors.items())

    def _drawn(self, batch: Batch, samples: int) -> list[Tensor]:
        return [q.sample(torch.Size((samples,))) for q in self._posterior(batch).values()]

    def typed(self, batch: Batch) -> Batch:
        """x in the type of the weights, but real numbers and counts of more digits as they are: no one else needs
        them.
        """
        if batch.x.dtype == self.scale.dtype or (
            batch.x.dtype == torch.float64 and self.domain.kind in ("real", "count")
        ):
            return batch
        return replace(batch, x=batch.x.to(self.scale.dtype))

    def _likelihood(self, z: Tensor, y: Tensor | None) -> Distribution:
        parameters = self._network(self.decoder, z, y)
        wanted = getattr(self.likelihood, "parameter_shape", None)
        if wanted is not None and parameters.shape[parameters.dim() - len(wanted) :] != wanted:
            raise ValueError(f"the decoder gives {tuple(parameters.shape)}, but the likelihood wants (…, {wanted})")
        if not self.exposed or y is None:
            return self.likelihood(parameters)
        exposure = y[..., -1]
        return self.likelihood(parameters, exposure.reshape(*exposure.shape, *[1] * len(self.event_shape)))

    def _generated(self, z: Tensor, y: Tensor | None, draw: bool) -> Distribution:
        return self._likelihood(z, y)

    def _network(self, network: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
        y = self._seen(y)
        given = (x,) if y is None else (x, y)  # so that any module of one argument will do where there is no condition
        if self.precision is None:
            return network(*given)
        with torch.autocast(x.device.type, self.precision):
            return network(*given).to(x.dtype)

    def _seen(self, y: Tensor | None) -> Tensor | None:
        """What networks and priors see of what is given: all but the exposure."""
        if not self.exposed or y is None:
            return y
        return y[..., :-1] if self.condition > 1 else None

    def _prior(self, name: str, y: Tensor | None) -> Distribution:
        prior: Distribution = self.priors[name](self._seen(y))
        return prior

    def one_hot(self, y: Tensor | None) -> Tensor | None:
        if not self.condition:
            return None
        if y is not None and y.dim() == 1:
            # Not `one_hot` of torch: that reads the largest label back to the host to check it.
            y = y[:, None] == torch.arange(self.condition, device=y.device)
        return None if y is None else y.to(self.scale.dtype)

    def _given(self, y: Tensor | None) -> Tensor | None:
        """What networks and priors get of y: labels as one-hots, covariates scaled to order one."""
        y = self.one_hot(y)
        return (y - self.condition_location) / self.condition_scale if self.scaled_condition and y is not None else y

    # -- what users ask of a model: arrays in, checked, tensors out, no gradients --------------------------------------

    @torch.no_grad()
    def encode(
        self,
        x: ArrayLike | Tensor | Batch,
        y: ArrayLike | Tensor | None = None,
        samples: int | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """Posterior means of x (B, *event), (B, D); with `samples` = S, that many draws of z, (S, B, D).

        A posterior without a mean in closed form (a flow) gives the average of 256 draws of a fixed seed.
        """
        batch = checked(self, x, y)
        with seeded(seed), evaluating(self):
            if samples is None:
                return torch.cat([center(q) for q in self._posterior(batch).values()], -1)
            return torch.cat(self._drawn(batch, samples), -1)

    @torch.no_grad()
    def decode(
        self, z: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None, draw: bool = False, seed: int | None = None
    ) -> Tensor:
        """The mean of p(x given z) for z (…, D), (…, *event), in the data's own units; with `draw`, a draw from it.

        Of categories, which have no mean, it is the likeliest.
        """
        z = torch.as_tensor(z, dtype=self.scale.dtype, device=self.scale.device)
        if z.dim() == 0 or z.shape[-1] != self.latent_size:
            raise ValueError(
                f"z has shape {tuple(z.shape)}; accepted: (…, {self.latent_size}), the latents {self.sizes}"
            )
        with seeded(seed), evaluating(self):
            given = self._given(checked_condition(self, y, z.shape[-2] if z.dim() > 1 else 1))
            px = self._generated(z, given, draw)
            x = px.sample() if draw else typical(px)
        return x.reshape(*z.shape[:-1], *self.event_shape)

    @torch.no_grad()
    def reconstruct(
        self,
        x: ArrayLike | Tensor | Batch,
        y: ArrayLike | Tensor | None = None,
        samples: int | None = None,
        draw: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """x (B, *event) encoded and decoded: from the posterior mean, (B, *event), or from S = `samples` draws, (S, B,
        *event).

        Each is the likelihood's mean, or with `draw` a draw from it. Random only where asked for.
        """
        with seeded(seed):
            batch = checked(self, x, y)
            return self.decode(self.encode(batch, None, samples), batch.y, draw)

    @torch.no_grad()
    def sample(
        self, n: int | None = None, y: ArrayLike | Tensor | None = None, draw: bool = True, seed: int | None = None
    ) -> Tensor:
        """n draws from the model, (n, *event): z from the prior, then x from p(x given z), or its mean without `draw`.

        A conditional model draws one for each row of y (n, C) or (n,), and `n` may be left out; one row serves all n.
        """
        if n is None:
            n = 1 if y is None else len(torch.as_tensor(y))
        if n < 1:
            raise ValueError(f"n, the number of samples, must be at least 1, got {n}")
        condition = checked_condition(self, y, n)
        refuse_too_many(n, self.event_shape, self.scale)
        # All of it at once, so that too many are refused before the first is drawn.
        kind = torch.float64 if self.domain.in_float64 and self.scale.device.type != "mps" else self.scale.dtype
        drawn = torch.empty(n, *self.event_shape, dtype=kind, device=self.scale.device)
        with seeded(seed), evaluating(self), working("sampling", n) as step:
            for start in range(0, n, ROWS):
                rows = min(ROWS, n - start)
                given = None if condition is None else condition[start : start + rows]
                seen = self._seen(self._given(given))
                shape = torch.Size((rows,) if seen is None else ())
                z = torch.cat([prior(seen).sample(shape) for prior in self.priors.values()], -1)
                drawn[start : start + rows] = self.decode(z, given, draw)
                step(start + rows)
        return drawn

    def score(
        self,
        x: ArrayLike | Tensor | Batch,
        y: ArrayLike | Tensor | None = None,
        samples: int = 100,
        seed: int | None = None,
        memory: int = MEMORY,
    ) -> Scores:
        """ELBO, its parts and log p(x) for each of x (B, *event), from K = `samples` draws, within `memory` bytes.

        A discrete latent of few classes is summed out, not drawn: where it is the only one, log p(x) is exact.
        """
        self._refuse_no_density()
        batch = checked(self, x, y)
        with seeded(seed), evaluating(self):
            return self.scorer(samples, memory)(batch)

    def scorer(self, samples: int, memory: int = MEMORY, rows: int = 0) -> Scorer:
        """What scores one batch after another, as `score` does one, of this model in evaluation mode.

        `rows` says how many there will be in all, if that is known.
        """
        return Scorer(partial(self.trace, sum_classes=True), self, samples, memory, rows)

    def log_prob(
        self,
        x: ArrayLike | Tensor | Batch,
        y: ArrayLike | Tensor | None = None,
        samples: int = 100,
        seed: int | None = None,
        memory: int = MEMORY,
    ) -> Tensor:
        """log p(x given y) of x (B, *event) from K = `samples` importance weights, (B,) nats (Burda et al. 2016, eq.
        8).

        In expectation a lower bound, tight as K grows.
        """
        return self.score(x, y, samples, seed, memory).log_prob

    @torch.no_grad()
    def clusters(self, x: ArrayLike | Tensor | Batch, y: ArrayLike | Tensor | None = None) -> Tensor:
        """The cluster that each of x (B, *event) falls into, (B,) whole numbers from 0.

        It is the likeliest class under q(c given x) of the first discrete latent of one group (one whose posterior can
        be enumerated); without one, the likeliest component of the first prior that is a mixture, given that z is the
        posterior mean. Raises `ValueError` for a model that has neither.
        """
        batch = checked(self, x, y)
        y = self._given(batch.y)
        with evaluating(self):
            posteriors = self._posterior(batch)
            latents = [Latent(name, center(q)[None], q, self._prior(name, y)) for name, q in posteriors.items()]
            found = cluster_probabilities(latents)
        if found is not None:
            return found.argmax(-1)
        names = ", ".join(map(repr, self.sizes))
        raise ValueError(f"no latent of {names} has clusters: that takes a discrete latent or a mixture as its prior")

    @property
    def scale(self) -> Tensor:
        """The domain's scale on the model's device, in the type of its weights."""
        return self.inputs.scale

    @property
    def location(self) -> Tensor:
        """The domain's location, likewise."""
        return self.inputs.location

    @property
    def has_clusters(self) -> bool:
        """Whether it is made to cluster: by a discrete latent of one group, or a prior that learns a mixture.

        A VampPrior is not: of its hundreds of pseudo-inputs `clusters` only says which is nearest.
        """
        discrete = (getattr(posterior, "groups", 0) == 1 for posterior in self.posteriors.values())
        return any(discrete) or any(isinstance(prior, MixturePrior) for prior in self.priors.values())

    def asked(self, batch: Batch) -> Batch:
        """What of `batch` is given where something is asked about it: of a model that is not `conditional` no y."""
        return batch if self.conditional else batch.without_y()

    @property
    def conditional(self) -> bool:
        """Whether what is asked about data needs their y."""
        return self.condition > 0

    @property
    def latent_size(self) -> int:
        """D, all latents together."""
        return sum(self.sizes.values())

    def split(self, z: Tensor) -> dict[str, Tensor]:
        """z (…, D) as one tensor for each named latent."""
        return dict(zip(self.sizes, z.split(list(self.sizes.values()), -1), strict=True))

    def refuse_other_data(self, event_shape: tuple[int, ...], domain: Domain) -> None:
        """Raise `ValueError` unless the model's likelihood is a density of data of this shape and domain."""
        if tuple(event_shape) != self.event_shape or not self.domain.same_values(domain):
            own, given = f"{self.domain} of shape {self.event_shape}", f"{domain} of shape {tuple(event_shape)}"
            treat = {"binary": "binarize='static'", "unit": "dequantize=True"}.get(self.domain.kind)
            hint = f"; preprocess them, such as by Preprocessing({treat})" if domain.kind == "grey" and treat else ""
            raise ValueError(f"the model is one of {own}, but the data are {given}{hint}")
        self._refuse_no_density()

    def _refuse_no_density(self) -> None:
        if not getattr(self.likelihood, "is_density", True):
            name = type(self.likelihood).__name__
            raise ValueError(
                f"{name} is no density of {self.domain}, since some of its mass is on other numbers: a run of an older "
                "version, which can be looked at but not scored; train it again with another likelihood"
            )
