"""Distributions and stopped gradients that `torch.distributions` lacks.

Everything here is stateless: the modules that parameterise a distribution live in `posteriors`, `priors` and
`likelihoods`. Argument validation is off per object (each check would cost a host sync in the training step), never
globally: data are validated against their domain once, at the boundary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    constraints,
)
from torch.distributions.utils import lazy_property
from torch.nn.functional import hardtanh

_Shape = torch.Size | list[int] | tuple[int, ...]


class UnitNormal(Normal):
    """A normal whose loc is known to be 0 and its scale 1, so that a KL from it need not multiply by them."""


class TiltedUniform(Distribution):
    """The continuous Bernoulli: the density on [0, 1] proportional to exp(l x) (Loaiza-Ganem & Cunningham 2019).

    log p(x) = l x - A(l), A(l) = log((exp(l) - 1) / l), for logits l and values x (…). Not torch's own: that clamps the
    probability sigmoid(l), and so integrates to less than 1 beyond |l| of about 15 (float32), where dark pixels go.

    >>> p = TiltedUniform(logits=torch.tensor([-100.0, 0.0, 100.0]))
    >>> p.mean
    tensor([0.0100, 0.5000, 0.9900])
    """

    arg_constraints = {"logits": constraints.real}
    support = constraints.unit_interval

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> TiltedUniform:
        return TiltedUniform(self.logits.expand(batch_shape))

    def _near_zero(self) -> tuple[Tensor, Tensor]:
        # Below 0.1 the closed forms lose digits and their series are exact; `away` keeps NaN out of the other branch.
        near = self.logits.abs() < 0.1
        return near, torch.where(near, 1.0, self.logits)

    @property
    def mean(self) -> Tensor:
        near, away = self._near_zero()
        s = self.logits.square()
        series = 0.5 + self.logits * (1 / 12 - s * (1 / 720 - s / 30240))
        return torch.where(near, series, -1 / torch.expm1(-away) - 1 / away)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
            steep = self.logits.abs().clamp(min=torch.finfo(u.dtype).eps)
            from_mode = -torch.log1p(u * torch.expm1(-steep)) / steep
            return torch.where(self.logits > 0, 1 - from_mode, from_mode)

    def log_prob(self, value: Tensor) -> Tensor:
        near, away = self._near_zero()
        s, steep = self.logits.square(), away.abs()
        # A(l) - l/2 is even in l; what is left of l x is l (x - 1/2).
        series = s * (1 / 24 - s * (1 / 2880 - s / 181440))
        even = torch.where(near, series, steep / 2 + torch.log(-torch.expm1(-steep) / steep))
        return self.logits * (value - 0.5) - even


class Scaled(Distribution):
    """The distribution of location + scale * u for u of `base`: values in the data's own units, Jacobian paid.

    log p(x) = log base((x - location) / scale) - sum log scale, the sum over the elements of an event. location and
    scale are of any shape that broadcasts with the batch and event shape of `base`; they may widen its batch. Draws and
    means are kept within `limits`, which rounding might else pass.

    >>> from torch.distributions import Uniform
    >>> p = Scaled(Uniform(0.0, 1.0), torch.tensor(0.0), torch.tensor(256.0))
    >>> bool(torch.isclose(p.log_prob(torch.tensor(100.0)), -torch.tensor(256.0).log()))
    True
    """

    arg_constraints = {}

    def __init__(
        self, base: Distribution, location: Tensor, scale: Tensor, limits: tuple[Tensor, Tensor] | None = None
    ) -> None:
        whole = torch.broadcast_shapes(base.batch_shape + base.event_shape, location.shape, scale.shape)
        batch = whole[: len(whole) - len(base.event_shape)]
        self.base = base if base.batch_shape == batch else base.expand(batch)
        self.location, self.scale, self.limits = location, scale, limits
        super().__init__(batch, base.event_shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Scaled:
        return Scaled(self.base.expand(batch_shape), self.location, self.scale, self.limits)

    def _outwards(self, u: Tensor) -> Tensor:
        x = self.location + self.scale * u
        return x if self.limits is None else torch.minimum(torch.maximum(x, self.limits[0]), self.limits[1])

    @property
    def mean(self) -> Tensor:
        return self._outwards(self.base.mean)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * self.base.variance

    @property
    def stddev(self) -> Tensor:
        return self.scale * self.base.stddev

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        return self._outwards(self.base.sample(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        log_scale = self.scale.log()
        if self.event_shape:
            log_scale = log_scale.expand(self.batch_shape + self.event_shape).flatten(-len(self.event_shape)).sum(-1)
        # In the type of the values as far as their difference, which may have more digits than the base needs.
        u = ((value - self.location) / self.scale).to(self.scale.dtype)
        return self.base.log_prob(u) - log_scale


class TriangularNormal(MultivariateNormal):
    """N(loc, L Lᵀ) of a lower triangular L: its positive `diagonal` (…, D), and what is `below` it, (…, D (D - 1) / 2).

    `rows_columns` (2, D (D - 1) / 2) says which entry of L each of `below` is. L, of twice the size, is only made where
    it is needed; a draw and the KL do without.

    >>> rows_columns = torch.tril_indices(2, 2, -1)
    >>> TriangularNormal(torch.zeros(2), torch.ones(2), torch.tensor([3.0]), rows_columns).covariance_matrix
    tensor([[ 1.,  3.],
            [ 3., 10.]])
    """

    def __init__(self, loc: Tensor, diagonal: Tensor, below: Tensor, rows_columns: Tensor) -> None:
        self.loc, self.diagonal, self.below, self.rows_columns = loc, diagonal, below, rows_columns
        Distribution.__init__(self, loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @classmethod
    def of(cls, normal: MultivariateNormal) -> TriangularNormal:
        """The same distribution."""
        if isinstance(normal, cls):
            return normal
        factor, size = normal._unbroadcasted_scale_tril, normal.event_shape[0]
        rows_columns = torch.tril_indices(size, size, -1, device=factor.device)
        below = factor[..., rows_columns[0], rows_columns[1]]
        return cls(normal.loc, factor.diagonal(dim1=-2, dim2=-1), below, rows_columns)

    @lazy_property
    def _unbroadcasted_scale_tril(self) -> Tensor:
        size, (rows, columns) = self.loc.shape[-1], self.rows_columns
        flat = torch.diag_embed(self.diagonal).flatten(-2)
        return flat.index_copy(-1, rows * size + columns, self.below).unflatten(-1, (size, size))

    def expand(self, batch_shape: _Shape, _instance: object = None) -> TriangularNormal:
        loc = self.loc.expand(*batch_shape, *self.event_shape)
        return TriangularNormal(loc, self.diagonal, self.below, self.rows_columns)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        draws = torch.Size(sample_shape).numel()
        if draws > 1:  # all of them in one product
            noise = noise.reshape(draws, *self.loc.shape)
            moved = (self.scale_tril @ noise.movedim(0, -1)).movedim(-1, 0)
            return self.loc + moved.reshape(self._extended_shape(sample_shape))
        rows, columns = self.rows_columns
        return (self.loc + self.diagonal * noise).index_add(-1, rows, self.below * noise.index_select(-1, columns))


class RelaxedOneHot(Distribution):
    """A one-hot vector over classes, drawn as a point of the simplex near one (Jang et al. 2017; Maddison et al. 2017).

    logits (…, D), normalised here; values (…, D) are `groups` independent one-hots of K = D / groups classes, side by
    side. With a `temperature` t (a scalar), a draw is softmax((log pi + g) / t) of Gumbel noise g, with the gradient of
    that; with `straight_through` it is rounded to a one-hot and keeps the gradient. Without a temperature, draws are
    one-hots and have none.

    `log_prob` is that of the discrete distribution, sum_k z_k log pi_k: its exact mass at one-hots, and between them
    that sum alone, not the density of the relaxed draws. What is estimated from relaxed draws is a surrogate.

    >>> q = RelaxedOneHot(torch.tensor([0.5, 0.2, 0.3]).log(), temperature=torch.tensor(0.5))
    >>> q.mean, q.rsample((4,)).sum(-1), q.log_prob(torch.tensor([0.0, 1.0, 0.0])).exp()
    (tensor([0.5000, 0.2000, 0.3000]), tensor([1., 1., 1., 1.]), tensor(0.2000))
    """

    arg_constraints = {"logits": constraints.real_vector}
    support = constraints.independent(constraints.unit_interval, 1)

    def __init__(
        self, logits: Tensor, temperature: Tensor | None = None, straight_through: bool = False, groups: int = 1
    ) -> None:
        self.groups = checked_groups(groups, logits.shape[-1])
        self.temperature, self.straight_through = temperature, straight_through
        self.logits = self._by_group(logits).log_softmax(-1).flatten(-2)
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def _by_group(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.groups, -1))

    def expand(self, batch_shape: _Shape, _instance: None = None) -> RelaxedOneHot:
        logits = self.logits.expand(*batch_shape, -1)
        return RelaxedOneHot(logits, self.temperature, self.straight_through, self.groups)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.temperature is not None

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        return self.temperature is None and self.groups == 1

    @property
    def mean(self) -> Tensor:
        return self.logits.exp()

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        logits = self._by_group(self.logits.expand(self._extended_shape(torch.Size(sample_shape))))
        # An exponential draw may be 0, whose logarithm would make the softmax NaN.
        exponential = torch.empty_like(logits, memory_format=torch.contiguous_format).exponential_()
        noisy = logits - exponential.clamp(min=torch.finfo(logits.dtype).tiny).log()
        if self.temperature is None:
            return _one_hot(noisy).flatten(-2)
        soft = (noisy / self.temperature).softmax(-1)
        return (_one_hot(soft) + (soft - soft.detach()) if self.straight_through else soft).flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """The K one-hots, (K, *batch, K), or without `expand` (K, 1, …, K); of one group that is not relaxed."""
        if not self.has_enumerate_support:
            raise NotImplementedError("relaxed one-hots, and several side by side, are not enumerated")
        (classes,) = self.event_shape
        one_hots = torch.eye(classes, dtype=self.logits.dtype, device=self.logits.device)
        one_hots = one_hots.view(classes, *[1] * len(self.batch_shape), classes)
        return one_hots.expand(-1, *self.batch_shape, -1) if expand else one_hots


class Point(Distribution):
    """All mass on one value (…, D), such as a one-hot label that was seen; its log-probability there is 0.

    >>> from vaekit.divergences import kl
    >>> kl(Point(torch.tensor([[0.0, 1.0]])), RelaxedOneHot(torch.tensor([0.9, 0.1]).log()))
    tensor([2.3026])
    """

    arg_constraints = {}

    def __init__(self, value: Tensor) -> None:
        self.value = value
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.value

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        return self.value.expand(self._extended_shape(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        same = (value == self.value).all(-1)
        return torch.zeros_like(same, dtype=self.value.dtype).masked_fill(~same, -torch.inf)


def _one_hot(values: Tensor) -> Tensor:
    return torch.zeros_like(values).scatter(-1, values.argmax(-1, keepdim=True), 1.0)


def checked_groups(groups: int, size: int) -> int:
    """`groups`, one-hots side by side in a vector of `size`; `ValueError` unless each has two classes or more."""
    if groups < 1 or size % groups or size < 2 * groups:
        raise ValueError(f"{size} numbers are no {groups} one-hots side by side, each of the same 2 classes or more")
    return groups


class Mixture(MixtureSameFamily):
    """sum_k pi_k p_k: torch's mixture of one family, for any family.

    logits (…, K), components of batch shape (…, K). Values are expanded to the components' batch before they are
    scored, which torch leaves to broadcasting and flows of `zuko` don't do.
    """

    def __init__(self, logits: Tensor, components: Distribution) -> None:
        super().__init__(Categorical(logits=logits, validate_args=False), components, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Mixture:
        shape = (*batch_shape, self._num_component)
        return Mixture(self.mixture_distribution.logits.expand(shape), self.component_distribution.expand(shape))

    def _pad(self, x: Tensor) -> Tensor:
        padded = super()._pad(x)
        events = len(self.event_shape)
        lead = torch.broadcast_shapes(padded.shape[: padded.dim() - events], self.component_distribution.batch_shape)
        return padded.expand(*lead, *self.event_shape)

    def responsibilities(self, value: Tensor) -> Tensor:
        """p(k given value), (…, K): how likely each component is to have made it."""
        log_prob = self.component_distribution.log_prob(self._pad(value))
        return (self.mixture_distribution.logits + log_prob).softmax(-1)


def independent(base: Distribution, dimensions: int = 1) -> Independent:
    """`base` with its last `dimensions` batch dimensions made one event, unvalidated."""
    return Independent(base, dimensions, validate_args=False)


def checked_clamp(name: str, clamp: tuple[float, float]) -> tuple[float, float]:
    """`clamp`, the bounds of a logarithm called `name`; `ValueError` unless low < high."""
    low, high = clamp
    if not low < high:
        raise ValueError(f"{name} must be (low, high) with low < high, got {tuple(clamp)}")
    return float(low), float(high)


def bounded(value: Tensor, low: float, high: float) -> Tensor:
    """`value` clamped to [low, high], with the gradient of a loss wherever a step down it would not lead further out.

    A clamp has no gradient outside its bounds, so that what got there stays. Here a gradient passes as it is inside,
    and outside if descent brings the value back: the projected gradient of a loss that is minimised under a bound.

    >>> value = torch.tensor([-3.0, 0.5, 3.0], requires_grad=True)
    >>> torch.autograd.grad(bounded(value, -1.0, 1.0).square().sum(), value)
    (tensor([-2.,  1.,  2.]),)
    >>> torch.autograd.grad(-bounded(value, -1.0, 1.0).square().sum(), value)
    (tensor([ 0., -1.,  0.]),)
    """
    if torch.is_grad_enabled() and value.requires_grad:
        inside: Tensor = _Bounded.apply(value, low, high)
        return inside
    return hardtanh(value, low, high)


class _Bounded(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, low: float, high: float) -> Tensor:
        return hardtanh(value, low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        value, inside = ctx.saved_tensors
        return gradient.masked_fill((value - inside) * gradient < 0, 0.0), None, None


def log_prob_stopped(q: Distribution, z: Tensor) -> Tensor:
    """log q(z) through which gradients reach z but none of q's parameters: the stopped q of STL and DReG.

    Works on any distribution, foreign flows included, because it does not look inside q: at a detached copy of z it
    takes the score s = d log q / dz, and returns the detached log q(z) + s · (z - detached z), whose value and whose
    gradient in z are those of log q(z). z (…, B, D); returns (…, B) nats. Source: Roeder et al. 2017, section 3.
    """
    if not (torch.is_grad_enabled() and z.requires_grad):
        return q.log_prob(z).detach()
    at = z.detach().requires_grad_()
    value = q.log_prob(at)
    (score,) = torch.autograd.grad(value.sum(), at)
    return value.detach() + (score * (z - at.detach())).sum(-1)


DRAWS = 16
"""Samples that `mean` draws at once where it has to draw: no more memory than those take."""


def mean(dist: Distribution) -> Tensor:
    """The mean of `dist`: its closed form, or where it has none (a flow) the average of 256 samples of a fixed seed."""
    try:
        return dist.mean
    except NotImplementedError:
        with seeded(0), torch.no_grad():
            return torch.stack([dist.sample(torch.Size((DRAWS,))).mean(0) for _ in range(256 // DRAWS)]).mean(0)


def typical(dist: Distribution) -> Tensor:
    """One value that stands for `dist`: its mean, as of `mean`, or the likeliest where values are `unordered`."""
    elements = dist
    while isinstance(elements, Independent):
        elements = elements.base_dist
    return dist.mode if getattr(elements, "unordered", False) else mean(dist)


def stream(seed: int, of: int | str, number: int = 0) -> int:
    """The seed of one random stream: of an epoch (-1: that of the looks), or of what is called `of`, by its number.

    Unrelated between epochs, names, numbers and seeds: what has the same seed by default is not to draw the same.
    """
    key = [of + 1] if isinstance(of, int) else [*of.encode(), number + 1]
    return int(np.random.SeedSequence([seed, *key]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Inside, torch's random streams start at `seed` (None: go on); after it they are as if nothing was drawn."""
    if seed is None:
        yield
        return
    accelerator = torch.accelerator.current_accelerator()  # CUDA, MPS, …: each has its own streams
    kind = "cuda" if accelerator is None else accelerator.type
    with torch.random.fork_rng(devices=range(torch.accelerator.device_count()), device_type=kind):
        torch.manual_seed(seed)
        yield
