"""A trace: one pass of data through a model, as distributions and samples, from which every objective and estimate
comes.

A model makes traces, objectives and evaluators read them, and neither knows the other: any new model works with every
objective, any new objective with every model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data.batch import Batch
from ..distributions.divergences import kl_terms
from ..distributions.mixtures import Mixture
from ..distributions.moments import center, log_prob_stopped, marginal_log_probs
from ..distributions.observed import observed_log_prob
from ..distributions.quantised import Quantised
from ..distributions.shapes import broadcast_shapes
from .cases import Cases


@dataclass(frozen=True)
class Latent:
    """One named latent of a trace: samples z (S, R, D), the posterior q they were drawn from, and their prior p.

    R is B, a row for each datum; where a class is summed out, a row for each of the `cases`. q and p are of batch shape
    (R,), or (S, R) where they depend on draws of another latent; a p that is one for all data is of ().
    """

    name: str
    z: Tensor
    q: Distribution
    p: Distribution
    cases: Cases | None = None
    exact: bool = True
    """Whether a closed form of KL(q || p) holds: not where q or p depends on a draw that z was not drawn apart from."""
    label: bool = False
    """Whether it is the label of a model that classifies, which is data where it is seen."""
    enumerated: bool = False
    """Whether it is the latent that is summed out: z is its classes, and `cases` weighs them by q."""
    drawn: bool = True
    """Whether z is drawn, and no mean of q: of what is not drawn no gradient is missing."""
    drawn_with: tuple[Latent, ...] = ()
    """The latents of whose draws a KL may be that is another for each draw; none but itself where nothing is said."""

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
        if terms is None:
            terms = (self.log_q - self.log_p).unsqueeze(-1)
        if terms.dim() == 3 and (score := score_of(self.drawn_with or [self])) is not None:
            terms = with_scores(terms, score.unsqueeze(-1))
        return terms if self.cases is None else self.cases.expected_rows(terms)

    @property
    def kl(self) -> Tensor:
        """KL(q || p), (B,) where closed form, else (S, B) unbiased single-sample estimates; nats."""
        return self.kl_terms.sum(-1)

    @property
    def dimensions(self) -> int:
        """The numbers in z that are free of each other: D, of one-hots as many as are side by side, of codes T."""
        if self.deterministic:
            return self.q.tokens  # type: ignore[attr-defined]
        one_hots = 1 if self.q.has_enumerate_support else self.z.shape[-1]
        return getattr(self.q, "groups", one_hots)

    @property
    def deterministic(self) -> bool:
        """Whether q is all on one point, a code (`distributions.quantised`), so that draws are all the same."""
        return getattr(self.q, "deterministic", False)

    @property
    def one_hot(self) -> bool:
        """Whether it is one discrete variable, relaxed or not."""
        return self.q.has_enumerate_support or getattr(self.q, "groups", 0) == 1

    @property
    def per_draw(self) -> bool:
        """Whether q depends on draws of another latent, and its mean with it."""
        return len(self.q.batch_shape) > 1

    @property
    def constant_kl(self) -> bool:
        """Whether `kl` is the same for all draws: in closed form, of a q and a p that no draw changes."""
        return self.closed_form and not self.per_draw and len(self.p.batch_shape) < 2

    @property
    def mean(self) -> Tensor:
        """The mean of the posterior, (B, D); the average of those of S draws where it is one of each."""
        means = center(self.q)
        means = means if self.cases is None else self.cases.expected_rows(means)
        return means.mean(0) if means.dim() == 3 else means

    def of_data(self, values: Tensor) -> Tensor:
        """Values (…, R) of its rows as those of data (…, B), expected over cases; a scalar as it is."""
        return values if self.cases is None or not values.dim() else self.cases.expected(values)

    @cached_property
    def log_q(self) -> Tensor:
        """log q(z given x), (S, R) nats."""
        return self.q.log_prob(self._beside(self.q))

    @cached_property
    def log_q_stopped(self) -> Tensor:
        """log q(z given x) with the gradient through z alone, (S, R) nats."""
        return log_prob_stopped(self.q, self._beside(self.q))

    @cached_property
    def log_p(self) -> Tensor:
        """log p(z), (S, R) nats."""
        if isinstance(self.q, Quantised) and hasattr(self.p, "log_probs"):
            # Of the tokens that are known, in place of those that are found for z; what the KL is made of.
            terms = self._closed_terms
            log_p = (self.p.log_probs(self.q.indices) if terms is None else -terms).sum(-1)
            return log_p.expand(broadcast_shapes(self.z.shape[:-1], log_p.shape))
        return self.p.log_prob(self._beside(self.p))

    @cached_property
    def log_q_pairs(self) -> Tensor:
        """log q(z_i given x_j) of each draw i under the posterior of each row j, (S, R, R) nats."""
        return self.q.log_prob(self.z.unsqueeze(-2))

    @cached_property
    def log_q_pair_terms(self) -> Tensor | None:
        """`log_q_pairs` of each dimension alone, the log-densities of q's marginals, (S, R, R, D); None where a
        posterior does not have them (a flow).
        """
        return marginal_log_probs(self.q, self.z.unsqueeze(-2))

    def _beside(self, distribution: Distribution) -> Tensor:
        """z, one for each of a batch that has more of them: flows of `zuko` don't broadcast what they score."""
        lead = broadcast_shapes(self.z.shape[:-1], distribution.batch_shape)
        return self.z if lead == self.z.shape[:-1] else self.z.expand(*lead, -1)


def corrected(values: Tensor, latents: Sequence[Latent]) -> Tensor:
    """`values` (S, R), whose mean is one over draws of `latents`, with the gradient that these draws do not carry.

    A sampler by rejection, or of a discrete choice, is differentiable in a part of its noise alone. What is missing is
    values times the gradient of a log-density, which its distribution states as `score_correction(z)` (Naesseth et al.
    2017, eq. 6). The values stay what they are.
    """
    return with_scores(values, score_of(latents))


def with_scores(values: Tensor, score: Tensor | None) -> Tensor:
    """`values` (S, …) with their gradient by the `score` (S, …) of the draws, if there is one.

    Its mean is 0: from each value the mean of those of the other draws is subtracted, which leaves the gradient its
    mean and takes most of its noise (leave-one-out, Kool et al. 2019).
    """
    if score is None:
        return values
    others = (values.sum(0) - values) / (len(values) - 1) if len(values) > 1 else 0.0
    return values + (values - others).detach() * (score - score.detach())


def score_of(latents: Sequence[Latent]) -> Tensor | None:
    """The sum of what `latents` state as `score_correction(z)` of their draws, (S, R); None where none lacks any."""
    found = [
        latent.q.score_correction(latent.z.detach())
        for latent in latents
        if torch.is_grad_enabled() and hasattr(latent.q, "score_correction") and latent.drawn and not latent.enumerated
    ]
    return sum(found[1:], found[0]) if found else None


def drawn_apart(latents: Sequence[Latent], what: str, by_draws: bool = True) -> Sequence[Latent]:
    """The latents as they are; `ValueError`, of `what` is for such alone, unless each is drawn for a datum by itself
    and is no class or code; and of what learns `by_draws`, where these carry a part of their gradient alone.
    """
    for latent in latents:
        why = None
        if latent.cases is not None or latent.one_hot or latent.label:
            why = "is of classes"
        elif latent.deterministic:
            why = "is a code"
        elif latent.per_draw or not latent.exact:
            why = "is drawn from another, or one from it"
        elif by_draws and (score := score_of([latent])) is not None and score.requires_grad:
            why = "is drawn without all of its gradient"
        if why:
            raise ValueError(f"{what} is for numbers that are drawn for each datum, {latent.name!r} {why}")
    return latents


def clustered(latents: Sequence[Latent]) -> Latent | None:
    """The latent that says of which cluster a datum is: by its classes, or by the components of its prior; or None.

    It is the label where that is not seen, else the first discrete latent of one group; without one, the first whose
    prior is a mixture.
    """
    latents = sorted(latents, key=lambda latent: not latent.label)
    mixed = (latent for latent in latents if isinstance(latent.p, Mixture))
    return next((latent for latent in latents if latent.one_hot), next(mixed, None))


def cluster_probabilities(latents: Sequence[Latent]) -> Tensor | None:
    """How likely each datum is to be of each cluster, (B, K), by the first sample of its latents; or None.

    Of classes it is q(c given x), of components of a prior their responsibilities for z.
    """
    found = clustered(latents)
    if found is None:
        return None
    classes = center(found.q) if found.one_hot else found.p.responsibilities(found.z[0])  # type: ignore[attr-defined]
    first = classes if classes.dim() == 2 else classes[0]
    if found.cases is None:
        return first
    return found.cases.first().expected_rows(first)


@dataclass(frozen=True)
class Trace:
    """S samples of the latents of each of B data: the batch, the likelihood px over (S, R), the latents in order.

    R is B. Where a latent c of K classes is summed out in place of being drawn, a datum has a row for each class that
    it may be of (`Cases`), and what a trace gives is exact in c: means are over q(c given x), and the weight is that of
    the other latents alone, sum_c q(c given x) p(x, z, c) / q(z, c given x), an unbiased estimate of p(x) of less
    variance. S is 1 where nothing else is drawn. A label that is seen is a class of which there is but one case.
    """

    batch: Batch
    px: Distribution
    latents: tuple[Latent, ...]
    cases: Cases | None = None
    log_q_label: Tensor | None = None
    """log q(y given x), (L,) or (S, L) nats, of the labels y of the first L data, in a model that classifies."""
    of_augmented: tuple[Latent, ...] = ()
    """The latents of augmented data, one sample of each and no label seen, for objectives that have an `augment`."""

    last: Tensor | None = None
    """The weights of the decoder's last layer, by whose gradients an objective may balance its terms."""

    def __post_init__(self) -> None:
        if any(latent.per_draw or not latent.exact for latent in self.latents):
            together = tuple(replace(latent, drawn_with=self.latents) for latent in self.latents)
            object.__setattr__(self, "latents", together)

    @property
    def x(self) -> Tensor:
        """The data, (B, *event)."""
        return self.batch.x

    @property
    def seen(self) -> int:
        """L, of how many of the data, the first, the label is seen."""
        return 0 if self.log_q_label is None else self.log_q_label.shape[-1]

    @cached_property
    def _log_px(self) -> Tensor:
        x, observed = self.batch.x, self.batch.observed
        if self.cases is not None:
            x, observed = self.cases.repeat(x), None if observed is None else self.cases.repeat(observed)
        return observed_log_prob(self.px, x, observed)

    @cached_property
    def log_px(self) -> Tensor:
        """log p(x given z) of what is observed of x, (S, B) nats in the data's own units."""
        log_px = corrected(self._log_px, self.latents)
        return log_px if self.cases is None else self.cases.expected(log_px)

    @property
    def kl(self) -> dict[str, Tensor]:
        """The KL of each latent by name, (B,) or (S, B) nats."""
        return {latent.name: latent.kl for latent in self.latents}

    @property
    def penalties(self) -> dict[str, Tensor]:
        """What posteriors add to a loss that trains them, (B,) each or a scalar, by name; of several latents that do,
        by name and latent.
        """
        return self._of_posteriors("penalties")

    @property
    def figures(self) -> dict[str, Tensor]:
        """What posteriors say of themselves, scalars, named likewise."""
        return self._of_posteriors("figures")

    def _of_posteriors(self, what: str) -> dict[str, Tensor]:
        found = {latent.name: (latent, getattr(latent.q, what, {})) for latent in self.latents}
        having = {name: each for name, each in found.items() if each[1]}
        return {
            key if len(having) == 1 else f"{key}/{name}": latent.of_data(value)
            for name, (latent, values) in having.items()
            for key, value in values.items()
        }

    @cached_property
    def log_weight(self) -> Tensor:
        """log p(x, z) - log q(z given x), (S, B) nats: the log importance weight, whose mean under q is the ELBO.

        With a latent summed out, its mean is between the ELBO and log p(x), and q(c given x) is no part of it.
        """
        return self.log_weight_at(1.0)

    @cached_property
    def log_weight_stopped(self) -> Tensor:
        """`log_weight` with the parameters of q stopped, so that gradients reach the encoder through z alone."""
        return self.log_weight_at(1.0, stopped=True)

    @property
    def log_score(self) -> Tensor | None:
        """Of draws that carry a part of their gradient alone, what has the rest: (S, B) nats, see `corrected`; None
        where all is carried. What averages over draws adds its values times the gradient of this.
        """
        score = score_of(self.latents)
        if score is not None and self.cases is not None:
            what = "a class is summed out beside draws that carry a part of their gradient alone"
            raise ValueError(f"{what}, and a weight has no place for the rest; accepted: elbo")
        return score

    def log_weight_at(self, beta: Tensor | float, stopped: bool = False, scored: bool = False) -> Tensor:
        """`log_weight` with the ratio of prior and posterior to the power `beta`, (S, B): log p(x given z) + beta (log
        p(z) - log q(z given x)); if `stopped`, that of `log_weight_stopped`.

        Raises `ValueError` where draws carry a part of their gradient alone, unless the objective adds what
        `log_score` has (`scored`).
        """
        for latent in [] if scored else self.latents:
            score = score_of([latent])
            if score is not None and score.requires_grad:
                what = f"draws of {latent.name!r} carry a part of their gradient alone, and a weight has no place for"
                raise ValueError(f"{what} the rest; accepted: objectives of log_px and kl, such as elbo, and iwae")
        log_weight = self._log_px
        for latent in self.latents:
            # sum_c q(c) p(x, c) / q(c) is sum_c p(x, c), also where q(c) is so small that its logarithm is -inf.
            log_q = 0.0 if latent.enumerated else latent.log_q_stopped if stopped else latent.log_q
            ratio = latent.log_p - log_q
            log_weight = log_weight + (ratio if isinstance(beta, float) and beta == 1 else beta * ratio)
        return log_weight if self.cases is None else self.cases.logsumexp(log_weight)

    @property
    def log_share(self) -> Tensor:
        """log of the part of all data that a row stands for, (R,) or (S, R), whose exponentials add up to 1: 1 / B, or
        as the batch weighs its rows, times q(c given x) of a case.
        """
        weight = self.batch.weight
        share = torch.ones(len(self.batch), dtype=self.x.dtype, device=self.x.device) if weight is None else weight
        share = (share / share.sum()).log()
        return share if self.cases is None else self.cases.repeat(share) + self.cases.log_prob

    def average(self, values: Tensor) -> Tensor:
        """The mean of values (…, B) over all of their dimensions, a datum weighing what it stands for.

        Terms of an objective are such means.
        """
        weight = self.batch.weight
        return values.mean() if weight is None else (values * weight).mean()

    def average_terms(self, values: Tensor) -> Tensor:
        """The mean of values (…, B, T) over all but the last of their dimensions, (T,), weighed as in `average`."""
        weight = self.batch.weight
        return (values if weight is None else values * weight[:, None]).flatten(0, -2).mean(0)


def beside(*values: Tensor) -> Tensor:
    """Values (…, D) side by side in their last dimension, those before it broadcast."""
    if len(values) == 1:
        return values[0]
    lead = broadcast_shapes(*(each.shape[:-1] for each in values))
    return torch.cat([each.expand(*lead, -1) for each in values], -1)
