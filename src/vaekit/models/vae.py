"""The variational autoencoder whose named latents are independent given x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.batch import Batch, checked_batch
from ..data.domains import Domain
from ..data.inputs import Inputs
from ..distributions.moments import center, typical
from ..errors import UndefinedError
from ..modules import evaluating
from ..networks.base import flat, last_weight, one_hots, shaped
from ..seeding import seeded
from . import compatibility
from .clustering import clusters_of, makes_clusters
from .given import checked, checked_codes, checked_condition, condition_units, refuse_no_density, unchecked
from .sampling import Draw, Drawn, data_drawn, descended, draws, latents_drawn
from .scoring import MEMORY, Scorer, Scores
from .summing import trace_apart
from .tokens import tokens_of
from .trace import Latent, Trace, beside


class VAE(nn.Module):
    """p(x given z) p(z) with the amortised posterior q(z given x), all parts the caller's (Kingma & Welling 2014).

    encoder      (x, y) to features; x arrives as the domain's `Inputs`, scaled to order one
    posteriors   for each named latent, features to q(z given x)
    priors       for each of the same names, condition or None to p(z)
    decoder      (z, y) to the likelihood's parameters, z (…, D) all latents side by side in their order
    likelihood   parameters to p(x given z)
    condition    C, the size of the condition y; 0 for an unconditional model
    condition_location, condition_scale   C numbers each: networks and priors get (y - location) / scale; None for y

    Letters: S samples, B batch, D all latents' sizes together, C condition. y is (B, C), or (B,) whole numbers below C,
    which stand for their one-hot vectors. Where the likelihood has an `exposure`, it is the last of the C, and the
    likelihood alone sees it. Densities are nats in the data's own units.

    >>> from vaekit.data import Batch, domains
    >>> from vaekit import likelihoods, networks, posteriors, priors
    >>> p = likelihoods.Bernoulli((1, 8, 8), domains.Domain("binary"))
    >>> encoder, q = networks.MLP(p.event_shape, hidden=(32,)), posteriors.DiagonalNormal(32, latent=2)
    >>> decoder, prior = networks.MLP((2,), p.parameter_shape, hidden=(32,)), priors.StandardNormal(latent=2)
    >>> vae = VAE(encoder, {"z": q}, {"z": prior}, decoder, likelihood=p)
    >>> vae.trace(Batch(torch.zeros(5, 1, 8, 8)), samples=3).log_weight.shape
    torch.Size([3, 5])
    >>> vae.sample(4, seed=0).shape
    torch.Size([4, 1, 8, 8])
    """

    condition_location: Tensor
    condition_scale: Tensor
    held: frozenset[str] = frozenset()  # parts that a training leaves as they are, while it goes on
    classifies: bool = False  # whether it has q(y given x) of labels, which `classify` gives
    by_slopes: bool = False  # whether `infer` takes gradients, as no graph of operators does
    inferring: tuple[str, ...] = ("encoder", "posteriors")  # modules whose weights q(z given x) is of, and not p(x, z)

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
        compatibility.check_modules({"encoder": encoder, "decoder": decoder, "likelihood": likelihood})
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.posteriors, self.priors = compatibility.named_latents(posteriors, priors)
        self.condition, self.exposed = condition, bool(getattr(likelihood, "exposure", False))
        if self.exposed and not condition:
            raise ValueError("the likelihood has an exposure, but the condition is 0; accepted: 1 or more, it is one")
        self.event_shape: tuple[int, ...] = tuple(likelihood.event_shape)  # type: ignore[arg-type]
        self.domain: Domain = likelihood.domain  # type: ignore[assignment]
        compatibility.check_density(likelihood)
        self.inputs = Inputs(self.event_shape, self.domain)
        units = condition_units(condition, condition_location, condition_scale)
        for name, own in zip(("condition_location", "condition_scale"), units, strict=True):
            self.register_buffer(name, torch.as_tensor(own, dtype=torch.get_default_dtype()), persistent=False)
        self.scaled_condition = condition_location is not None or condition_scale is not None
        self.precision: torch.dtype | None = None
        """The type that encoder and decoder compute in, None for the weights'; distributions always have that."""
        self.sizes = compatibility.prior_sizes(self)
        compatibility.check_pairs(self)
        compatibility.check_weighed(self)
        if type(self).__init__ is VAE.__init__:  # others have more parts, without which these need not work yet
            compatibility.check_parts(self)

    # -- the graph: tensors in, distributions out, no checks -----------------------------------------------------------

    def trace(self, batch: Batch, samples: int = 1, sum_classes: bool = False, draw: Draw | None = None) -> Trace:
        """S = `samples` draws of the latents of a batch, and the likelihood at each; or what `draw` takes for them.

        With `sum_classes`, the first latent that can be enumerated (a discrete one, which a relaxed one is in
        evaluation mode alone) and has no more than `CLASSES` classes is summed out, as `Trace` says, and one that is
        quantised drawn once: all of its draws are the same.
        """
        batch = self.typed(checked_batch(batch))
        if self.apart:
            return trace_apart(self, batch, samples, sum_classes, draw)
        latents = latents_drawn(self, batch, samples, draw)
        px = self.likelihood_at({each.name: each.z for each in latents}, self.network_condition(batch.y))
        return Trace(batch, px, latents, last=last_weight(self.decoder))

    def features(self, batch: Batch) -> Tensor:
        """What the encoder makes of a batch, (B, F)."""
        return self._of_network(self.encoder, self.inputs(batch.x, batch.observed), self.network_condition(batch.y))

    def posteriors_of(self, features: Tensor) -> dict[str, Distribution]:
        return {name: posterior(features) for name, posterior in self.posteriors.items()}

    def posterior(self, batch: Batch) -> dict[str, Distribution]:
        """q(z given x) of each latent by its name."""
        return self.posteriors_of(self.features(batch))

    def latents(self, batch: Batch) -> tuple[Latent, ...]:
        """One draw of each latent of a batch, without what the decoder makes of it."""
        return latents_drawn(self, self.typed(batch), 1)

    def infer(self, batch: Batch, draw: Draw) -> Drawn:
        """q(z given x) of each latent, and the z that `draw` takes of it.

        With `generate` and `exact` it is what a subclass says anew whose latents are drawn one from another: traces,
        codes, samples and programs come of these.
        """
        return {name: (q, draw(name, q)) for name, q in self.posterior(batch).items()}

    def generate(self, y: Tensor | None, draw: Draw) -> Drawn:
        """p(z) of each latent, y as networks get it, and the z that `draw` takes of it."""
        priors = {name: self.prior(name, y) for name in self.priors}
        return {name: (p, draw(name, p)) for name, p in priors.items()}

    def exact(self, name: str) -> bool:
        """Whether a closed form of the KL of that latent holds: not where its p is given what is drawn from its z."""
        return True

    def _drawn(self, batch: Batch, samples: int) -> Tensor:
        return self.side_by_side(self.infer(batch, draws(samples, len(batch))))

    def side_by_side(self, found: Drawn) -> Tensor:
        """The z of all latents found as one, (…, D), in the model's order."""
        return beside(*(found[name][1] for name in self.priors))

    def typed(self, batch: Batch) -> Batch:
        """x in the type of the weights, but real numbers and counts of more digits as they are."""
        wide = batch.x.dtype == torch.float64 and self.domain.kind in ("real", "count", "columns")
        return batch if wide or batch.x.dtype == self.scale.dtype else replace(batch, x=batch.x.to(self.scale.dtype))

    def likelihood_at(self, z: Mapping[str, Tensor], y: Tensor | None) -> Distribution:
        """p(x given z) at draws z (…, D) of each latent of a trace by its name, y as networks get it."""
        return self.likelihood_of(beside(*(z[name] for name in self.priors)), y)

    def likelihood_of(self, z: Tensor, y: Tensor | None) -> Distribution:
        """p(x given z) at z (…, D) of all latents side by side, y as networks get it."""
        return self._of_parameters(self._network(self.decoder, shaped(self.decoder, z), y), y)

    def _of_parameters(self, parameters: Tensor, y: Tensor | None) -> Distribution:
        wanted = getattr(self.likelihood, "parameter_shape", None)
        if wanted is not None and parameters.shape[parameters.dim() - len(wanted) :] != wanted:
            raise ValueError(f"the decoder gives {tuple(parameters.shape)}, but the likelihood wants (…, {wanted})")
        if not self.exposed or y is None:
            return self.likelihood(parameters)
        return self.likelihood(parameters, y[..., -1].reshape(*y.shape[:-1], *[1] * len(self.event_shape)))

    def generated(self, z: Tensor, y: Tensor | None, draw: bool) -> Distribution:
        """As `likelihood_of`, also of the first latents alone: the others are means of their p, or draws (`draw`)."""
        return self.likelihood_of(z if z.shape[-1] == self.latent_size else descended(self, z, y, draw), y)

    def _network(self, network: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
        y = self._seen(y)
        given = (x,) if y is None else (x, y)  # so that any module of one argument will do where there is no condition
        if self.precision is None:
            return network(*given)
        with torch.autocast(x.device.type, self.precision):
            return network(*given).to(x.dtype)

    def _of_network(self, network: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
        return flat(network, self._network(network, x, y))

    def _seen(self, y: Tensor | None) -> Tensor | None:
        """What networks and priors see of what is given: all but the exposure."""
        return y if not self.exposed or y is None else y[..., :-1] if self.condition > 1 else None

    def prior(self, name: str, y: Tensor | None) -> Distribution:
        """p(z) of a latent, y as networks get it."""
        return self.priors[name](self._seen(y))

    def one_hot(self, y: Tensor | None) -> Tensor | None:
        return one_hots(y, self.condition, self.scale) if self.condition and y is not None else None

    def network_condition(self, y: Tensor | None) -> Tensor | None:
        """What networks and priors get of y: labels as one-hots, covariates scaled to order one."""
        y = self.one_hot(y)
        return (y - self.condition_location) / self.condition_scale if self.scaled_condition and y is not None else y

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """x (B, *event) encoded and decoded: the mean of p(x given z) at the posterior means, (B, *event).

        `reconstruct` by operations on tensors alone, with gradients and without checks: for `torch.export` and hooks.
        """
        batch = unchecked(self, x, y)
        z = self.side_by_side(self.infer(batch, lambda _, q: center(q)))
        return typical(self.likelihood_of(z, self.network_condition(batch.y)))

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

        A posterior without a mean in closed form (a flow) gives the average of 256 draws of fixed noise.
        """
        batch = checked(self, x, y)
        with seeded(seed), evaluating(self):
            if samples is None:
                return self.side_by_side(self.infer(batch, lambda _, q: center(q)))
            return self._drawn(batch, samples)

    @torch.no_grad()
    def decode(
        self, z: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None, draw: bool = False, seed: int | None = None
    ) -> Tensor:
        """The mean of p(x given z) for z (…, D), (…, *event), in the data's own units; with `draw`, a draw from it.

        Of categories, which have no mean, it is the likeliest.
        """
        z = checked_codes(self, z)
        with seeded(seed), evaluating(self):
            given = self.network_condition(checked_condition(self, y, z.shape[-2] if z.dim() > 1 else 1))
            px = self.generated(z, given, draw)
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
        with seeded(seed), evaluating(self):
            return data_drawn(self, n, y, draw)

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
        refuse_no_density(self)
        with seeded(seed), evaluating(self):
            return self.scorer(samples, memory)(checked(self, x, y))

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
        8): in expectation a lower bound, tight as K grows.
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
        with evaluating(self):
            return clusters_of(self, batch)

    def classify(self, x: ArrayLike | Tensor | Batch, samples: int | None = None, seed: int | None = None) -> Tensor:
        """q(y given x) of a model that `classifies`, such as a `SemiSupervisedVAE`; `UndefinedError` of others."""
        raise UndefinedError(f"a {type(self).__name__} says nothing of labels; accepted: a model with a classifier")

    @torch.no_grad()
    def indices(self, x: ArrayLike | Tensor | Batch, y: ArrayLike | Tensor | None = None) -> Tensor:
        """The tokens of x (B, *event), (B, T) whole numbers from 0: which codes its quantised latents are, side by side
        in their order. Raises `ValueError` for a model that has none.
        """
        batch = checked(self, x, y)
        with evaluating(self):
            return torch.cat(list(tokens_of(self, batch).values()), -1)

    @property
    def scale(self) -> Tensor:
        """The domain's scale on the model's device, in the type of its weights."""
        return self.inputs.scale

    @property
    def has_clusters(self) -> bool:
        """Whether it is made to cluster: by a discrete latent of one group, or a prior that learns a mixture.

        A VampPrior is not: of its hundreds of pseudo-inputs `clusters` only says which is nearest.
        """
        return makes_clusters(self)

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

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each latent: (D,), or (C, H, W) of one that its posterior has as maps."""
        own = {name: getattr(posterior, "latent_shape", None) for name, posterior in self.posteriors.items()}
        return {name: tuple(own[name] or (size,)) for name, size in self.sizes.items()}

    @property
    def apart(self) -> bool:
        """Whether the latents are drawn apart, none from another."""
        return type(self).infer is VAE.infer

    def given(self, name: str) -> tuple[str, str]:
        """What is written behind q and p of that latent, beside y: "x" and nothing where latents are drawn apart."""
        return "x", ""

    @property
    def decoded(self) -> tuple[str, ...]:
        """The latents that the decoder sees."""
        return tuple(self.priors)

    @property
    def roots(self) -> tuple[str, ...]:
        """The latents that the model draws from no other: all of them where they are drawn apart."""
        return tuple(name for name in self.priors if not self.given(name)[1])

    @property
    def prefixes(self) -> Mapping[int, tuple[str, ...]]:
        """The latents that may be decoded alone, those below them drawn from the model, by their sizes together."""
        return {sum(self.sizes[name] for name in self.roots): self.roots}

    def split(self, z: Tensor) -> dict[str, Tensor]:
        """z (…, D) as one tensor for each named latent."""
        return dict(zip(self.sizes, z.split(list(self.sizes.values()), -1), strict=True))
