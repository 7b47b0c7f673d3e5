"""Terms of what the codes of all data are like together, q(z) = 1/N sum_n q(z given x_n), beside a bound.

The KL of a VAE is I(x; z) + KL(q(z) || p(z)), and where the prior has independent dimensions, I(x; z) + TC + the KL of
each dimension (Hoffman & Johnson 2016; Chen et al. 2018, eq. 2). A term here presses one of these alone; the bound that
it is added to keeps its own KL, so that `weight` is what comes on top. What is added to is no bound then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch.func import functional_call
from torch.nn.functional import leaky_relu, softplus

from ..distributions.moments import center
from ..distributions.moments import covariance as covariance_of
from ..errors import check_least
from ..models.sampling import draws
from ..models.trace import Latent, Trace, beside, drawn_apart
from ..schedules import Schedule
from ..settings import setting
from .base import Loss, at, take_schedule

WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of the kernel of `Discrepancy`, about that of the prior (Tolstikhin et al. 2018, section 4)."""


@dataclass(frozen=True)
class TotalCorrelation:
    """`weight` times TC = KL(q(z) || prod_d q(z_d)), how much the dimensions of codes tell of each other (beta-TC-VAE,
    Chen et al. 2018).

    Beside the ELBO, `weight` is their beta - 1. q(z) is estimated from the B rows of a batch, of the N of the data:
    "stratified" counts the datum that a code is of 1/N and shares 1 - 1/N among the others, whose mean is q(z) (their
    appendix C.2, where one of the others counts for more: that has the same mean, and more variance); "weighted" is
    their eq. 5, whose mean is too low, by a factor of B to about N. Of several latents it is of all numbers together.
    Raises `ValueError` where q has no density of each number alone, as flows, or is drawn from another latent.

    >>> from vaekit.objectives import ELBO, Sum
    >>> Sum((ELBO(), TotalCorrelation(5.0))).samples
    1
    """

    weight: float | Schedule = 5.0
    estimator: Literal["stratified", "weighted"] = "stratified"
    coupled: ClassVar[str] = "a total correlation compares the codes of a batch"

    def __post_init__(self) -> None:
        take_schedule(self, "weight")
        if self.estimator not in ("stratified", "weighted"):
            raise ValueError(f"estimator is {self.estimator!r}; accepted: 'stratified', 'weighted'")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        latents = drawn_apart(trace.latents, "total-correlation")
        pairs: Tensor | float = 0.0
        terms = []
        for latent in latents:
            own = latent.log_q_pair_terms
            if own is None:
                what = f"needs the density of each number of a code, which q of {latent.name!r} does not have"
                raise ValueError(f"total-correlation {what}; accepted: diagonal-normal, full-rank-normal and the like")
            pairs = pairs + latent.log_q_pairs
            terms.append(own)
        both = torch.cat([pairs.unsqueeze(-1), *terms], -1)  # type: ignore[union-attr]
        log_q = (both + self._log_shares(trace).unsqueeze(-1)).logsumexp(-2)  # (S, B, 1 + D)
        correlation = trace.average(log_q[..., 0] - log_q[..., 1:].sum(-1))
        weight = at(self.weight, progress)
        return Loss(weight * correlation, {"total_correlation": correlation.detach()})

    def _log_shares(self, trace: Trace) -> Tensor:
        """log of what row j counts for in q at a code of row i, (B, B)."""
        size = len(trace.batch)
        rows = max(trace.batch.rows or size, size)
        share = trace.log_share.exp()
        if self.estimator == "weighted":
            return (share / rows).log().expand(size, size)
        own = torch.eye(size, dtype=torch.bool, device=share.device)
        mine = share * size / rows
        others = (1 - mine).unsqueeze(1) * share / (1 - share).clamp_min(torch.finfo(share.dtype).tiny).unsqueeze(1)
        return torch.where(own, mine.unsqueeze(1), others).log()


class _AgainstCodes(nn.Module):
    """A term of that `weight` that plays against a discriminator of codes, which learns at `rate`."""

    def __init__(self, latent: int, weight: float, width: int, layers: int, rate: float) -> None:
        super().__init__()
        check_least("weight", weight, 0)
        if not rate > 0:
            raise ValueError(f"rate must be above 0, got {rate}")
        self.weight, self.opponent, self.opponent_rate = float(weight), _Discriminator(latent, width, layers), rate


class AdversarialCorrelation(_AgainstCodes):
    """`weight` times TC as a discriminator tells it, of codes and of codes whose dimensions are shuffled over the batch
    (FactorVAE, Kim & Mnih 2018).

    The discriminator is an mlp of `layers` layers of `width`, and learns at `rate`; theirs are six of 1,000 at 1e-4. It
    learns from one half of a batch as it is and the other half shuffled. It sees codes of any posterior that has one
    draw of all latents for a datum.
    """

    def __init__(
        self, latent: int = 2, weight: float = 10.0, width: int = 1000, layers: int = 5, rate: float = 1e-4
    ) -> None:
        super().__init__(latent, weight, width, layers, rate)

    def forward(self, trace: Trace, progress: float = 1.0) -> Loss:
        """TC as log D / (1 - D) of the codes, at constant weights of the discriminator."""
        correlation = trace.average(self.opponent.held(_codes(trace, "adversarial-correlation")))
        return Loss(self.weight * correlation, {"total_correlation": correlation.detach()})

    def opponent_loss(self, trace: Trace, progress: float = 1.0) -> Loss:
        """The cross-entropy of telling codes from shuffled ones, nats, and how many are told apart."""
        z = _codes(trace, "adversarial-correlation")[0].detach()
        half = len(z) // 2
        if not half:
            raise ValueError("adversarial-correlation shuffles the codes of a batch; accepted: batches of 2 and more")
        return self.opponent.told_apart(z[:half], shuffled(z[half:]))


class AdversarialDiscrepancy(_AgainstCodes):
    """`weight` times how well a discriminator tells codes from draws of the prior, E[-log D(z)], D(z) what it gives a
    code z of being such a draw (WAE-GAN, Tolstikhin et al. 2018, algorithm 1).

    Of a discriminator that has learned all there is, D = p(z) / (p(z) + q(z)), q that of all codes together: then it is
    E_q[log(1 + q / p)] nats, never below KL(q || p); log 2, its least, at q = p. The discriminator is an mlp of
    `layers` layers of `width`, learns at `rate`, and from as many draws as codes; theirs are four of 512 at 5e-4, at a
    weight of 10 beside squared errors. It sees codes of any posterior that has one draw of all latents for a datum, or
    means. A prior learns nothing of it.
    """

    def __init__(
        self, latent: int = 2, weight: float = 3.0, width: int = 512, layers: int = 4, rate: float = 1e-4
    ) -> None:
        super().__init__(latent, weight, width, layers, rate)

    def forward(self, trace: Trace, progress: float = 1.0) -> Loss:
        """-log D of the codes, at constant weights of the discriminator."""
        told = trace.average(softplus(self.opponent.held(_codes(trace, "adversarial-discrepancy"))))
        return Loss(self.weight * told, {"adversarial_discrepancy": told.detach()})

    def opponent_loss(self, trace: Trace, progress: float = 1.0) -> Loss:
        """The cross-entropy of telling codes from draws of the prior, nats, and how many are told apart."""
        z = _codes(trace, "adversarial-discrepancy")[0].detach()
        return self.opponent.told_apart(z, beside(*(_of_prior(latent).detach() for latent in trace.latents)))


class _Discriminator(nn.Module):
    """z (…, D) to the log of how many times likelier it is a code than something else, (…)."""

    def __init__(self, size: int, width: int, layers: int) -> None:
        super().__init__()
        for name, value in (("width", width), ("layers", layers)):
            check_least(name, value)
        self.layers = nn.ModuleList(nn.Linear(fan_in, width) for fan_in in [size, *[width] * (layers - 1)])
        self.out = nn.Linear(width, 1)

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.layers:
            z = leaky_relu(layer(z), 0.2)
        return self.out(z).squeeze(-1)

    def held(self, z: Tensor) -> Tensor:
        """The same at constant weights: who plays against them leaves no gradient there."""
        return functional_call(self, {name: each.detach() for name, each in self.named_parameters()}, (z,))

    def told_apart(self, codes: Tensor, others: Tensor) -> Loss:
        """The cross-entropy of telling codes (B, D) from others, nats, and how many are told apart."""
        real, false = self(codes), self(others)
        loss = 0.5 * (softplus(-real).mean() + softplus(false).mean())
        told = 0.5 * ((real > 0).to(real.dtype).mean() + (false <= 0).to(real.dtype).mean())
        return Loss(loss, {"told_apart": told.detach()})


def shuffled(z: Tensor) -> Tensor:
    """z (B, D) with each column in an order of its own.

    >>> sorted(shuffled(torch.arange(6.0).view(3, 2))[:, 0].tolist())
    [0.0, 2.0, 4.0]
    """
    return z.gather(0, torch.rand_like(z).argsort(0))


@dataclass(frozen=True)
class Covariance:
    """`off_diagonal` times the squares of the covariances between dimensions of codes, and `diagonal` times those of
    their variances less 1 (DIP-VAE, Kumar et al. 2018, eq. 6 and 7).

    Of the posterior's means with kind "I"; with "II" of codes, whose covariance is that of the means and the mean of
    the posteriors' covariances, which are diagonal in the paper. Estimated on a batch. Theirs are 10 and 100 for "I",
    10 and 10 for "II", or more.
    """

    off_diagonal: float | Schedule = 10.0
    diagonal: float | Schedule = 10.0
    kind: Literal["I", "II"] = "II"
    coupled: ClassVar[str] = "a covariance is of the codes of a batch"

    def __post_init__(self) -> None:
        take_schedule(self, "off_diagonal")
        take_schedule(self, "diagonal")
        if self.kind not in ("I", "II"):
            raise ValueError(f"kind is {self.kind!r}; accepted: 'I', 'II'")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        latents = drawn_apart(trace.latents, "covariance", by_draws=False)
        share = trace.log_share.exp().unsqueeze(1)
        of_codes = self.kind == "II"
        within = [_within(latent, share) for latent in latents] if of_codes else []
        # On a sphere what stands for q is not its mean, which is inside.
        means = beside(*(latent.q.mean if of_codes else center(latent.q) for latent in latents))
        centered = means - (share * means).sum(0)
        covariance = (share * centered).T @ centered
        if of_codes:
            covariance = covariance + torch.block_diag(*within)
        variances = covariance.diagonal()
        between = covariance.square().sum() - variances.square().sum()
        along = (variances - 1).square().sum()
        first, second = at(self.off_diagonal, progress), at(self.diagonal, progress)
        said: dict[str, Tensor | float] = {"covariances": between.detach(), "variances": along.detach()}
        return Loss(first * between + second * along, said)


def _within(latent: Latent, share: Tensor) -> Tensor:
    """The mean covariance of q over rows, (D, D), of which each has its `share` (R, 1); `ValueError` where it is not
    known, as of flows.
    """
    try:
        if isinstance(latent.q, Independent):  # without a matrix for each row
            return (share * latent.q.variance).sum(0).diag()
        return (share.unsqueeze(-1) * covariance_of(latent.q)).sum(0)
    except NotImplementedError:
        what = f"needs the covariances of codes, which q of {latent.name!r} does not have"
        accepted = f"accepted: {setting('objective.terms.covariance.kind', 'I')}, or diagonal-normal and the like"
        raise ValueError(f"covariance of kind 'II' {what}; {accepted}") from None


@dataclass(frozen=True)
class Discrepancy:
    """`weight` times the squared maximum mean discrepancy between codes and draws of the prior (InfoVAE, Zhao et al.
    2019; WAE-MMD, Tolstikhin et al. 2018).

    The unbiased estimate on a batch, so that it may be below 0, with the mean of `kernel`s of several widths: "imq", C
    / (C + d²), or "rbf", exp(-d² / C), C from a tenth to ten times the 2 D of two draws of N(0, I). It is between 0 and
    2, whatever the size of data: weights are of the order of a datum's nats. Beside an ELBO with beta b, InfoVAE's
    alpha is 1 - b. Of several latents it is the sum.
    """

    weight: float | Schedule = 100.0
    kernel: Literal["imq", "rbf"] = "imq"
    coupled: ClassVar[str] = "a discrepancy compares the codes of a batch"

    def __post_init__(self) -> None:
        take_schedule(self, "weight")
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel is {self.kernel!r}; accepted: {', '.join(map(repr, KERNELS))}")

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        found = [
            _discrepancy(latent.z[0], _of_prior(latent), KERNELS[self.kernel])
            for latent in drawn_apart(trace.latents, "discrepancy")
        ]
        total, weight = torch.stack(found).sum(), at(self.weight, progress)
        return Loss(weight * total, {"discrepancy": total.detach()})


KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "imq": lambda ratio: 1 / (1 + ratio),
    "rbf": lambda ratio: (-ratio).exp(),
}
"""Of the squared distance over the square of a width."""


def _discrepancy(x: Tensor, y: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """The unbiased estimate of MMD² from as many draws x as y, (B, D) each (Gretton et al. 2012, eq. 3)."""
    size, usual = len(x), 2.0 * x.shape[-1]

    def alike(a: Tensor, b: Tensor) -> Tensor:
        squared = (a.unsqueeze(1) - b).square().sum(-1) / usual
        return sum((kernel(squared / width) for width in WIDTHS), torch.zeros_like(squared)) / len(WIDTHS)

    pairs = size * max(size - 1, 1)
    within = ((alike(a, a).sum() - size) / pairs for a in (x, y))
    return sum(within, x.new_zeros(())) - 2 * alike(x, y).mean()


def _of_prior(latent: Latent) -> Tensor:
    """A draw of the prior for each row, (B, D), each by itself, with a gradient if it has one."""
    drawn: Tensor = draws(len(latent.z[0]), gradients=latent.p.has_rsample)(latent.name, latent.p)
    return drawn


def _codes(trace: Trace, term: str) -> Tensor:
    return beside(*(latent.z for latent in drawn_apart(trace.latents, term)))
