"""Draws made of given noise: the map that takes standard normal numbers to a draw of a distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from .discrete import RelaxedOneHot
from .mixtures import Mixture
from .quantised import IndependentTokens, Quantised
from .shapes import Scaled, broadcast_shapes
from .validation import elements


def noise_size(dist: Distribution) -> int:
    """How many standard normal numbers a draw of `dist` is made of, see `from_noise`; `ValueError` where none is known.

    It is as many as a draw has numbers, of a mixture one more, of tokens one each.
    """
    if (own := getattr(dist, "noise_size", None)) is not None:
        return own
    if isinstance(dist, Mixture):
        return 1 + noise_size(dist.component_distribution)
    if isinstance(dist, IndependentTokens):
        return dist.book.tokens[0]
    if _of_normals(dist) or isinstance(dist, (MultivariateNormal, RelaxedOneHot, Quantised, Scaled)) or _flow(dist):
        return math.prod(dist.event_shape)
    raise ValueError(
        f"a draw of {type(elements(dist)).__name__} can't be made of given noise; accepted: normals, mixtures, flows, "
        "categories, codes, or a distribution with its own noise_size and from_noise(noise)"
    )


def from_noise(dist: Distribution, noise: Tensor) -> Tensor:
    """The draw (…, D) that `dist` makes of standard normal `noise` (…, N), N = `noise_size`: distributed as its samples
    are, and the same for the same noise.

    A normal moves and scales it, a flow maps it, a mixture chooses its component by the first number, one-hots are the
    largest of logits and Gumbel noise, a code is what it is whatever the noise. A distribution of one's own states
    `noise_size` and `from_noise(noise)`. Raises `ValueError` for any other.

    >>> p = Mixture(torch.zeros(2), Independent(Normal(torch.tensor([[-9.0], [9.0]]), torch.ones(2, 1)), 1))
    >>> from_noise(p, torch.tensor([[-1.0, 0.5], [1.0, 0.5]]))
    tensor([[-8.5000],
            [ 9.5000]])
    """
    noise_size(dist)
    if (own := getattr(dist, "from_noise", None)) is not None:
        return own(noise)
    if isinstance(dist, Independent):
        return dist.base_dist.loc + dist.base_dist.scale * _like(noise, dist.base_dist.loc)
    if isinstance(dist, MultivariateNormal):
        return dist.loc + (dist.scale_tril @ _like(noise, dist.loc).unsqueeze(-1)).squeeze(-1)
    if isinstance(dist, Scaled):
        return dist.outwards(from_noise(dist.base, noise))
    if isinstance(dist, Mixture):
        components = from_noise(dist.component_distribution, noise[..., 1:].unsqueeze(-2))
        which = _chosen(dist.mixture_distribution.logits, noise[..., :1])
        return components.gather(-2, which.unsqueeze(-1).expand(*which.shape, components.shape[-1])).squeeze(-2)
    if isinstance(dist, RelaxedOneHot):
        noise = _like(noise, dist.logits)
        gumbel = -(-uniform(noise).log()).log()
        scores = (dist.logits + gumbel).unflatten(-1, (dist.groups, -1))
        chosen = scores.argmax(-1, keepdim=True) == torch.arange(scores.shape[-1], device=noise.device)
        return chosen.to(noise.dtype).flatten(-2)
    if isinstance(dist, IndependentTokens):
        return dist.book.vectors(_chosen(dist.logits, noise.unsqueeze(-1)).squeeze(-1))
    if isinstance(dist, Quantised):
        return dist.value.expand(*broadcast_shapes(noise.shape[:-1], dist.batch_shape), -1)
    return dist.transform.inv(from_noise(dist.base, noise))  # type: ignore[attr-defined]


def uniform(noise: Tensor) -> Tensor:
    """Standard normal numbers as ones between 0 and 1, and neither: their distribution function.

    >>> uniform(torch.tensor([-50.0, 0.0])) > 0
    tensor([True, True])
    """
    info = torch.finfo(noise.dtype)
    return (0.5 * (1 + torch.erf(noise * math.sqrt(0.5)))).clamp(info.tiny, 1 - info.eps)


def _chosen(logits: Tensor, noise: Tensor) -> Tensor:
    """Of K classes by logits (…, K) the one that noise (…, 1) chooses, (…, 1)."""
    below = logits.softmax(-1).cumsum(-1)[..., :-1]
    return (uniform(_like(noise, logits)) > below).sum(-1, keepdim=True)


def _like(noise: Tensor, other: Tensor) -> Tensor:
    """Noise in the type and on the device of `other`."""
    return noise if (noise.dtype, noise.device) == (other.dtype, other.device) else noise.to(other)


def _of_normals(dist: Distribution) -> bool:
    return isinstance(dist, Independent) and dist.reinterpreted_batch_ndims == 1 and isinstance(dist.base_dist, Normal)


def _flow(dist: Distribution) -> bool:
    """Whether it is a flow of `zuko`, which is only imported where there is one."""
    return all(hasattr(dist, name) for name in ("transform", "base", "rsample_and_log_prob"))
