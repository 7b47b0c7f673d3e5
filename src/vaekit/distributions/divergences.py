"""Divergences between distributions in closed form, as the terms that they add up from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.distributions.kl import kl_divergence

from .discrete import RelaxedOneHot, ScoredOneHot
from .normals import LowRankNormal, ReflectedNormal, TriangularNormal, UnitNormal
from .quantised import IndependentTokens, JointTokens, Quantised
from .shapes import broadcast_shapes
from .sphere import UniformOnSphere, VonMisesFisher, log_area


def _normal_terms(q: Normal, p: Normal) -> Tensor:
    ratio = (q.scale / p.scale).square()
    return 0.5 * (ratio + ((q.loc - p.loc) / p.scale).square() - 1 - ratio.log())


class _FromUnitNormal(torch.autograd.Function):
    """(scale² + loc² - 1) / 2 - log scale, elementwise, in half of the operations that autograd would make of it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(loc: Tensor, scale: Tensor) -> Tensor:
        return torch.addcmul(loc * loc, scale, scale).sub_(1).mul_(0.5).sub_(scale.log())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = ctx.saved_tensors
        return loc * gradient, (scale - scale.reciprocal()) * gradient


def _unit_normal_terms(q: Normal, p: UnitNormal) -> Tensor:
    return _FromUnitNormal.apply(q.loc, q.scale).expand(broadcast_shapes(q.batch_shape, p.batch_shape))


def _independent_terms(q: Independent, p: Independent) -> Tensor | None:
    if q.reinterpreted_batch_ndims != 1 or p.reinterpreted_batch_ndims != 1:
        return None
    return _ELEMENTWISE.get((type(q.base_dist), type(p.base_dist)), _torch_kl)(q.base_dist, p.base_dist)


def _torch_kl(q: Distribution, p: Distribution) -> Tensor | None:
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def _full_rank_terms(q: MultivariateNormal, p: Independent) -> Tensor | None:
    if not isinstance(p.base_dist, Normal) or p.reinterpreted_batch_ndims != 1:
        return None
    q, loc, scale = TriangularNormal.of(q), p.base_dist.loc, p.base_dist.scale
    of_diagonal = (q.diagonal / scale).square().sum(-1)
    of_below = (q.below / scale.index_select(-1, q.rows_columns[0])).square().sum(-1)
    shift = ((q.loc - loc) / scale).square().sum(-1)
    log_det = 2 * (scale.log().sum(-1) - q.diagonal.log().sum(-1))
    return (0.5 * (of_diagonal + of_below + shift - q.loc.shape[-1] + log_det)).unsqueeze(-1)


def _correlated_terms(q: LowRankNormal | ReflectedNormal, p: Independent) -> Tensor | None:
    """From a diagonal normal, of the variances and the entropy of q alone."""
    if not isinstance(p.base_dist, Normal) or p.reinterpreted_batch_ndims != 1:
        return None
    loc, scale = p.base_dist.loc, p.base_dist.scale
    square = (q.variance + (q.mean - loc).square()) / scale.square()
    cross = 0.5 * (square + math.log(2 * math.pi)) + scale.log()
    return (cross.sum(-1) - q.entropy()).unsqueeze(-1)


def _reflected_terms(q: ReflectedNormal, p: Independent) -> Tensor | None:
    # What is the same in all directions does not see how q is turned.
    base = p.base_dist
    turned = isinstance(base, UnitNormal) and p.reinterpreted_batch_ndims == 1
    return _unit_normal_terms(Normal(q.loc, q.scale, validate_args=False), base) if turned else _correlated_terms(q, p)


def _one_hot_terms(q: RelaxedOneHot, p: RelaxedOneHot) -> Tensor | None:
    if q.groups != p.groups:
        return None
    return (q.mean * (q.logits - p.logits)).unflatten(-1, (q.groups, -1)).sum(-1)


def _token_terms(q: Quantised, p: IndependentTokens | JointTokens) -> Tensor:
    """-log p of the one code that q has: what it takes to tell it. Of a p that gives a bound, one drawn for all."""
    return -p.log_probs(q.indices)


def _sphere_terms(q: VonMisesFisher, p: UniformOnSphere) -> Tensor:
    """k E[m · z] + log C_D(k) + log of the sphere's area (Davidson et al. 2018, eq. 5)."""
    return (log_area(q.event_shape[0]) - q.entropy()).unsqueeze(-1)


_ELEMENTWISE: dict[tuple[type, type], Callable[..., Tensor | None]] = {
    (Normal, Normal): _normal_terms,
    (Normal, UnitNormal): _unit_normal_terms,
}
_TERMS: dict[tuple[type, type], Callable[..., Tensor | None]] = {
    (Independent, Independent): _independent_terms,
    (MultivariateNormal, Independent): _full_rank_terms,
    (TriangularNormal, Independent): _full_rank_terms,
    (LowRankNormal, Independent): _correlated_terms,
    (ReflectedNormal, Independent): _reflected_terms,
    (RelaxedOneHot, RelaxedOneHot): _one_hot_terms,
    (ScoredOneHot, RelaxedOneHot): _one_hot_terms,
    (Quantised, IndependentTokens): _token_terms,
    (Quantised, JointTokens): _token_terms,
    (VonMisesFisher, UniformOnSphere): _sphere_terms,
}


def kl_terms(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) in closed form as the terms (B, T) that add up to it, or None where no closed form is known.

    T = D where both factorise over the D dimensions, a term a group for one-hots, a token for codes, else T = 1. Nats.
    The pair is looked up by exact types first, since the dispatch of `torch.distributions.kl_divergence`, the fallback,
    breaks a compiled graph.
    """
    formula = _TERMS.get((type(q), type(p)))
    terms = None if formula is None else formula(q, p)
    if terms is None:
        whole = _torch_kl(q, p)
        terms = None if whole is None else whole.unsqueeze(-1)
    return terms


def kl(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) in closed form, (B,) nats, or None where no closed form is known.

    >>> from vaekit.distributions.shapes import independent
    >>> q = independent(Normal(torch.ones(1, 2), torch.ones(1, 2)))
    >>> kl(q, independent(Normal(torch.zeros(2), torch.ones(2))))
    tensor([1.])
    """
    terms = kl_terms(q, p)
    return None if terms is None else terms.sum(-1)
