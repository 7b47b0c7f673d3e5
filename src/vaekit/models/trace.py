"""A trace: one pass of data through a model, as distributions and samples, from which every objective and estimate
comes.

A model makes traces, objectives and evaluators read them, and neither knows the other: any new model works with every
objective, any new objective with every model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions.divergences import kl_terms
from ..distributions.mixtures import Mixture
from ..distributions.moments import log_prob_stopped, mean


@dataclass(frozen=True)
class Latent:
    """One named latent of a trace: samples z (S, B, D), the posterior q they were drawn from, and their prior p.

    Where a latent c of K classes is summed out, every latent of the trace has its log q(c given x) as `log_class`,
    (K, B). Then z is (S, K, B, D), of size 1 where nothing depends on S, K or B (the z of c are its K values); q and p
    are of batch shape (B,), or (K, B) if they depend on c; `log_q` and `log_p` are (S, K, B); `kl` is the mean over c.
    """

    name: str
    z: Tensor
    q: Distribution
    p: Distribution
    log_class: Tensor | None = None
    exact: bool = True
    """Whether a closed form of KL(q || p) holds: not where q or p depends on a draw that z was not drawn apart from."""
    label: bool = False
    """Whether it is the label of a model that classifies, which is data where it is seen."""
    enumerated: bool = False
    """Whether it is the latent that is summed out: z is its classes, `log_q` is `log_class`."""

    @cached_property
    def closed_form(self) -> bool:
        """Whether `kl` is exact; otherwise it is Monte Carlo on the trace's own samples."""
        return self._closed_terms is not None

    @cached_property
    def _closed_terms(self) -> Tensor | None:
        return kl_terms(self.q, self.p) if self.exact else None

    @cached_property
    def kl_terms(self) -> Tensor:
        """KL(q || p) as additive terms, nats: (B, T) where closed form (T = D or fewer), else (S, B, 1) Monte Carlo."""
        terms = self._closed_terms
        return _expected((self.log_q - self.log_p).unsqueeze(-1) if terms is None else terms, self.log_class)

    @property
    def kl(self) -> Tensor:
        """KL(q || p), (B,) where closed form, else (S, B) unbiased single-sample estimates; nats."""
        return self.kl_terms.sum(-1)

    @property
    def dimensions(self) -> int:
        """The numbers in z that are free of each other: D, or of one-hots as many as are side by side."""
        one_hots = 1 if self.q.has_enumerate_support else self.z.shape[-1]
        return getattr(self.q, "groups", one_hots)

    @property
    def one_hot(self) -> bool:
        """Whether it is one discrete variable, relaxed or not."""
        return self.q.has_enumerate_support or getattr(self.q, "groups", 0) == 1

    @property
    def per_draw(self) -> bool:
        """Whether q depends on draws of another latent, and its mean with it."""
        return self._of_draws(self.q)

    @property
    def constant_kl(self) -> bool:
        """Whether `kl` is the same for all draws: in closed form, of a q and a p that no draw changes."""
        return self.closed_form and not self.per_draw and not self._of_draws(self.p)

    def _of_draws(self, distribution: Distribution) -> bool:
        return len(distribution.batch_shape) > (1 if self.log_class is None else 2)

    @property
    def mean(self) -> Tensor:
        """The mean of the posterior, (B, D); the average of those of S draws where it is one of each."""
        means = _expected(mean(self.q), self.log_class)
        return means.mean(0) if means.dim() == 3 else means

    @cached_property
    def log_q(self) -> Tensor:
        """log q(z given x), (S, B) nats."""
        return self.q.log_prob(self._beside(self.q))

    @cached_property
    def log_q_stopped(self) -> Tensor:
        """log q(z given x) with the gradient through z alone, (S, B) nats."""
        return log_prob_stopped(self.q, self._beside(self.q))

    @cached_property
    def log_p(self) -> Tensor:
        """log p(z), (S, B) nats."""
        return self.p.log_prob(self._beside(self.p))

    def _beside(self, distribution: Distribution) -> Tensor:
        """z, one for each of a batch that has more of them: flows of `zuko` don't broadcast what they score."""
        lead = torch.broadcast_shapes(self.z.shape[:-1], distribution.batch_shape)
        return self.z if lead == self.z.shape[:-1] else self.z.expand(*lead, -1)


def clustered(latents: Sequence[Latent]) -> Latent | None:
    """The latent that says of which cluster a datum is: by its classes, or by the components of its prior; or None.

    It is the label where that is not seen, else the first discrete latent of one group; without one, the first whose
    prior is a mixture.
    """
    latents = sorted(latents, key=lambda latent: not latent.label)
    mixed = (latent for latent in latents if isinstance(latent.p, Mixture))
    return next((latent for latent in latents if latent.one_hot), next(mixed, None))


def cluster_probabilities(latents: Sequence[Latent | JoinedLatent]) -> Tensor | None:
    """How likely each datum is to be of each cluster, (B, K), by the first sample of its latents; or None.

    Of classes it is q(c given x), of components of a prior their responsibilities for z.
    """
    found = clustered([latent.parts[-1] if isinstance(latent, JoinedLatent) else latent for latent in latents])
    if found is None:
        return None
    if not found.one_hot:
        return found.p.responsibilities(found.z[0])  # type: ignore[attr-defined]
    classes = mean(found.q)
    return classes if classes.dim() == 2 else classes.flatten(0, -3)[0]


@dataclass(frozen=True)
class Trace:
    """S samples of the latents for each of B data: data x (B, *event), likelihood px over (S, B), latents in order.

    A latent c of K classes may be summed out in place of being drawn. Then px is over (S, K, B), and what a trace gives
    is exact in c: means are over q(c given x), and the weight is that of the other latents alone, sum_c q(c given x)
    p(x, z, c) / q(z, c given x), an unbiased estimate of p(x) of less variance. S is 1 where nothing else is drawn.
    """

    x: Tensor
    px: Distribution
    latents: tuple[Latent, ...]
    log_q_label: Tensor | None = None
    """log q(y given x), (L,) or (S, L) nats, of the labels y that were seen, in a model that classifies."""
    of_augmented: tuple[Latent, ...] = ()
    """The latents of augmented data, one sample of each, for objectives that have an `augment`."""

    @property
    def log_class(self) -> Tensor | None:
        """log q(c given x) of the latent that is summed out, (K, B), or None."""
        return self.latents[0].log_class

    @cached_property
    def _log_px(self) -> Tensor:
        return self.px.log_prob(self.x)

    @cached_property
    def log_px(self) -> Tensor:
        """log p(x given z), (S, B) nats in the data's own units."""
        return self._log_px if self.log_class is None else (self.log_class.exp() * self._log_px).sum(-2)

    @property
    def kl(self) -> dict[str, Tensor]:
        """The KL of each latent by name, (B,) or (S, B) nats."""
        return {latent.name: latent.kl for latent in self.latents}

    @cached_property
    def log_weight(self) -> Tensor:
        """log p(x, z) - log q(z given x), (S, B) nats: the log importance weight, whose mean under q is the ELBO.

        With a latent summed out, its mean is between the ELBO and log p(x), and q(c given x) is no part of it.
        """
        return self._summed(stopped=False)

    @cached_property
    def log_weight_stopped(self) -> Tensor:
        """`log_weight` with the parameters of q stopped, so that gradients reach the encoder through z alone."""
        return self._summed(stopped=True)

    def _summed(self, stopped: bool) -> Tensor:
        log_weight = self._log_px
        for latent in self.latents:
            # sum_c q(c) p(x, c) / q(c) is sum_c p(x, c), also where q(c) is so small that its logarithm is -inf.
            log_q = 0.0 if latent.enumerated else latent.log_q_stopped if stopped else latent.log_q
            log_weight = log_weight + (latent.log_p - log_q)
        return log_weight if self.log_class is None else log_weight.logsumexp(-2)

    def average(self, values: Tensor) -> Tensor:
        """The mean of values (…, B) over all of their dimensions, a datum weighing what it stands for: here all alike.

        Terms of an objective are such means.
        """
        return values.mean()

    def average_terms(self, values: Tensor) -> Tensor:
        """The mean of values (…, B, T) over all but the last of their dimensions, (T,), weighed as in `average`."""
        return values.flatten(0, -2).mean(0)


@dataclass(frozen=True)
class JoinedTrace:
    """Traces of two batches as that of one, for objectives: rows whose label is seen, and then those of others.

    A batch may show labels more often than the data do, so that a classifier learns from them. What is averaged over
    data weighs the two by what they stand for: the first by `share`, the fraction of the data whose label is seen, the
    others by the rest. Without it they weigh what they are in the batch.
    """

    parts: tuple[Trace, Trace]
    of_augmented: tuple[Latent, ...] = ()
    share: float | None = None

    @property
    def x(self) -> Tensor:
        """The data, (B, *event)."""
        return torch.cat([part.x for part in self.parts])

    @property
    def latents(self) -> tuple[JoinedLatent, ...]:
        """The latents, which all parts have."""
        return tuple(JoinedLatent(each) for each in zip(*(part.latents for part in self.parts), strict=True))

    @property
    def log_px(self) -> Tensor:
        """log p(x given z), (S, B) nats."""
        return _after([part.log_px for part in self.parts], -1)

    @property
    def kl(self) -> dict[str, Tensor]:
        """The KL of each latent by name, (B,) or (S, B) nats."""
        return {latent.name: latent.kl_terms.sum(-1) for latent in self.latents}

    @property
    def log_weight(self) -> Tensor:
        """The log importance weight, (S, B) nats."""
        return _after([part.log_weight for part in self.parts], -1)

    def average(self, values: Tensor) -> Tensor:
        """The mean of values (…, B), rows weighing what they stand for."""
        if self.share is None:
            return values.mean()
        seen, others = values.split([len(part.x) for part in self.parts], -1)
        return self.share * seen.mean() + (1 - self.share) * others.mean()

    def average_terms(self, values: Tensor) -> Tensor:
        """The mean of values (…, B, T) over all but the last dimension, (T,), rows weighing what they stand for."""
        if self.share is None:
            return values.flatten(0, -2).mean(0)
        seen, others = (each.flatten(0, -2).mean(0) for each in values.split([len(part.x) for part in self.parts], -2))
        return self.share * seen + (1 - self.share) * others

    @property
    def log_class(self) -> Tensor | None:
        """log q(c given x) of the last part, None where nothing is summed out."""
        return self.parts[-1].log_class

    @property
    def log_q_label(self) -> Tensor | None:
        """log q(y given x) of the labels that were seen."""
        seen = [part.log_q_label for part in self.parts if part.log_q_label is not None]
        return _after(seen, -1) if seen else None


@dataclass(frozen=True)
class JoinedLatent:
    """One latent of joined traces."""

    parts: tuple[Latent, ...]

    @property
    def name(self) -> str:
        """The latent's name."""
        return self.parts[0].name

    @property
    def exact(self) -> bool:
        """Whether a closed form of KL(q || p) holds in all parts."""
        return all(part.exact for part in self.parts)

    @property
    def label(self) -> bool:
        """Whether it is the label of a model that classifies."""
        return self.parts[0].label

    @property
    def dimensions(self) -> int:
        """The numbers in z that are free of each other."""
        return self.parts[0].dimensions

    @property
    def kl_terms(self) -> Tensor:
        """KL(q || p) as additive terms, (B, T) or (S, B, T), nats."""
        return _after([part.kl_terms for part in self.parts], -2)


def _after(values: Sequence[Tensor], dim: int) -> Tensor:
    """`values` one after another in `dim`, those before it broadcast, of terms behind it as many as in all (a sum)."""
    lead = torch.broadcast_shapes(*(value.shape[:dim] for value in values))
    return torch.cat([value.expand(*lead, *value.shape[dim:]) for value in values], dim)


def _expected(values: Tensor, log_class: Tensor | None) -> Tensor:
    """The mean over classes of values (…, K, B, T); of those (B, T) that are without classes themselves."""
    if log_class is None or values.dim() == 2:
        return values
    return (log_class.exp().unsqueeze(-1) * values).sum(-3)


def beside(*values: Tensor) -> Tensor:
    """Values (…, D) side by side in their last dimension, those before it broadcast."""
    if len(values) == 1:
        return values[0]
    lead = torch.broadcast_shapes(*(each.shape[:-1] for each in values))
    return torch.cat([each.expand(*lead, -1) for each in values], -1)
