"""What the KL of a model is made of: I(x; z), the total correlation of codes, and the KL of each dimension.

With q(z) = 1/n sum_i q(z given x_i) over n data, the mean of KL(q(z given x) || p(z)) is I(x; z) + KL(q(z) || p(z))
(Hoffman & Johnson 2016), and where the prior's dimensions are independent, the second is the total correlation
KL(q(z) || prod_d q(z_d)) + sum_d KL(q(z_d) || p(z_d)) (Chen et al. 2018, eq. 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data.tensors import TensorSplit
from ..distributions.moments import marginal_log_probs
from ..errors import number_of
from ..models import VAE
from ..models.scoring import sum_type
from ..models.trace import Latent, drawn_apart
from ..modules import evaluating
from ..seeding import seeded, stream
from ..system.progress import working
from .estimates import Estimate, mean_of

DATA, DRAWS = 10_000, 1000
"""The data that q(z) is the mean of, at most, and those of which a code is drawn."""
ELEMENTS = 1 << 22
"""Numbers at once, at most: draws times data times dimensions."""


@dataclass(frozen=True)
class Decomposed:
    """The KL of a model on `n` data of a split and its parts, estimated from `draws` codes; nats per datum.

    total_correlation and dimension_wise_kl are None where a posterior has no density of each dimension alone (a flow);
    the latter alone where the prior's dimensions are not independent. Where the prior is another for each condition,
    p(z given y), the KL is of that, and there is no one p(z): marginal_kl and dimension_wise_kl are None.
    """

    split: str
    n: int
    draws: int
    kl: Estimate
    mutual_information: Estimate
    marginal_kl: Estimate | None
    total_correlation: Estimate | None
    dimension_wise_kl: Estimate | None

    @property
    def reading(self) -> str:
        """What is to be kept in mind, in a sentence."""
        most = math.log(self.n)
        if self.marginal_kl is None:
            return (
                "the prior is another for each condition, so that codes of all data have no one prior to be far from; "
                f"I(x; z) is of the {number_of(self.n, 'datum', 'data')} alone, at most {most:.2f} nats"
            )
        if self.mutual_information.value > most - 1:
            return (
                f"I(x; z) of {number_of(self.n, 'datum', 'data')} is at most log {self.n:,} = {most:.2f} nats, which "
                "it nearly is: of more data it would be more, and KL(q(z) || p(z)) less"
            )
        return f"I(x; z) is of the {number_of(self.n, 'datum', 'data')} alone, at most {most:.2f} nats"


def decomposed(model: VAE, data: TensorSplit, split: str, n: int = DATA, *, seed: int = 0) -> Decomposed:
    """The parts of the KL, of n data drawn by the seed.

    q(z) is that of these data, all of them, so that no estimate has a bias but that of a finite n: what
    `objective.terms.total-correlation` estimates from a batch has more. Raises `ValueError` for latents that are
    classes, codes, or drawn one from another.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", tempfile.mkdtemp() + "/run", epochs=1)
    >>> found = decomposed(run.model, run.data("test"), "test")
    >>> abs(found.kl.value - found.mutual_information.value - found.marginal_kl.value) < 1e-3
    True
    """
    chosen = np.random.default_rng(stream(seed, "codes")).permutation(data.possible(split))[:n]
    asked = np.sort(chosen[:DRAWS])
    with seeded(stream(seed, "evaluation")), evaluating(model), torch.no_grad():
        latents = _latents(model, data, asked)
        z = torch.cat([latent.z[0] for latent in latents], -1)
        own = sum((latent.q.log_prob(latent.z[0]) for latent in latents), z.new_zeros(()))
        log_p = sum((latent.p.log_prob(latent.z[0]) for latent in latents), z.new_zeros(()))
        prior = [_independent(latent.p, latent.z[0]) for latent in latents]
        one = all(_is_one(latent.p, latent.z[0]) for latent in latents)
        both = _of_all(model, data, chosen, latents)
    log_q, marginals = both[:, 0], both[:, 1:].sum(1) if both.shape[1] > 1 else None
    whole = None
    if one and marginals is not None and all(each is not None for each in prior):
        whole = marginals - torch.cat(prior, -1).sum(-1)  # type: ignore[arg-type]
    return Decomposed(
        split,
        len(chosen),
        len(asked),
        kl=mean_of(own - log_p),
        mutual_information=mean_of(own - log_q),
        marginal_kl=mean_of(log_q - log_p) if one else None,
        total_correlation=None if marginals is None else mean_of(log_q - marginals),
        dimension_wise_kl=None if whole is None else mean_of(whole),
    )


def rows_of(found: Decomposed) -> list[tuple[str, str, str]]:
    """Each part, its number, and what it is."""
    first = ("KL(q(z|x) || p(z))", found.kl, "from as many draws: the sum of the next two")
    if found.marginal_kl is None:
        first = ("KL(q(z|x) || p(z|y))", found.kl, "from as many draws")
    parts = [
        first,
        ("I(x; z)", found.mutual_information, "what codes tell of data"),
        ("KL(q(z) || p(z))", found.marginal_kl, "how far codes of all data are from the prior"),
        ("total correlation", found.total_correlation, "of it: what dimensions tell of each other"),
        ("KL of each dimension", found.dimension_wise_kl, "of it: how far each alone is from the prior, their sum"),
    ]
    return [(name, str(each), what) for name, each, what in parts if each is not None]


def _latents(model: VAE, data: TensorSplit, index: np.ndarray) -> Sequence[Latent]:
    return drawn_apart(model.latents(model.asked(data.rows(index))), "the mutual information of data and codes")


def _of_all(model: VAE, data: TensorSplit, chosen: np.ndarray, latents: Sequence[Latent]) -> Tensor:
    """log of the mean over all data of q(z given x) (M, 1 + D) at M draws, and of each dimension alone; without those
    (M, 1) where a posterior has none.
    """
    draws = [latent.z[0] for latent in latents]
    size = sum(each.shape[-1] for each in draws)
    at_once = max(1, ELEMENTS // (len(draws[0]) * size))
    exact = sum_type(model.scale.device)
    total = torch.tensor(-torch.inf, dtype=exact, device=model.scale.device)
    with working("the codes of all data", len(chosen)) as step:
        for start in range(0, len(chosen), at_once):
            block = np.sort(chosen[start : start + at_once])
            pairs: list[Tensor] = []
            joint: Tensor | float = 0.0
            for z, latent in zip(draws, _latents(model, data, block), strict=True):
                each = z.unsqueeze(1).expand(-1, len(block), -1)
                joint = joint + latent.q.log_prob(each).to(exact)
                own = marginal_log_probs(latent.q, each)
                pairs += [] if own is None else [own.to(exact)]
            known = [joint.unsqueeze(-1), *(pairs if len(pairs) == len(draws) else [])]  # type: ignore[union-attr]
            total = torch.logaddexp(total, torch.cat(known, -1).logsumexp(1))
            step(start + len(block))
    return total - math.log(len(chosen))


def _is_one(p: Distribution, z: Tensor) -> bool:
    """Whether the prior of M data is one, whatever their conditions, as far as the density of the first of z (M, D)
    says.
    """
    found = p.log_prob(z[:1].expand_as(z))
    return torch.allclose(found, found[:1].expand_as(found), atol=1e-3)


def _independent(p: Distribution, z: Tensor) -> Tensor | None:
    """The log-density of each dimension (M, D) under a prior whose dimensions are independent; None of any other."""
    terms = marginal_log_probs(p, z)
    return terms if terms is not None and torch.allclose(terms.sum(-1), p.log_prob(z), atol=1e-3) else None
