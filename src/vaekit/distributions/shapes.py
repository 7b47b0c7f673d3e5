"""Distributions of vectors from those of numbers, and moved and scaled ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
)

_Shape = torch.Size | list[int] | tuple[int, ...]


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """The shape that all of `shapes` broadcast to.

    As `torch.broadcast_shapes`, which takes ten times as long, and first of all a second in which it loads SymPy. It
    is asked where a size is symbolic, which it knows how to compare, and says what does not fit.

    >>> broadcast_shapes((4, 1), (3,), ())
    torch.Size([4, 3])
    """
    whole: list[int] = []
    for shape in shapes:
        whole[:0] = [1] * (len(shape) - len(whole))
        for i, size in enumerate(shape, len(whole) - len(shape)):
            if type(size) is not int or (size != whole[i] and 1 not in (size, whole[i])):
                return torch.broadcast_shapes(*shapes)
            if whole[i] == 1:
                whole[i] = size
    return torch.Size(whole)


def rows_of(context: Tensor | None, lead: _Shape) -> Tensor | None:
    """A context (…, C) for each of a batch of that shape, (N, C); None where there is none."""
    return None if context is None else context.expand(*lead, -1).reshape(-1, context.shape[-1])


class OfNoise(Distribution):
    """A distribution of vectors (…, D) whose draws are made, by `from_noise`, of as many standard normal numbers as
    `like` (…, D) has, in its type and on its device.
    """

    arg_constraints = {}
    has_rsample = True
    like: Tensor

    @property
    def noise_size(self) -> int:
        """The numbers of noise that a draw takes."""
        return self.event_shape[0]

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.from_noise(torch.randn(shape, dtype=self.like.dtype, device=self.like.device))

    def from_noise(self, noise: Tensor) -> Tensor:
        """The draw (…, D) that standard normal noise (…, D) makes."""
        raise NotImplementedError


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
        whole = broadcast_shapes(base.batch_shape + base.event_shape, location.shape, scale.shape)
        batch = whole[: len(whole) - len(base.event_shape)]
        self.base = base if base.batch_shape == batch else base.expand(batch)
        self.location, self.scale, self.limits = location, scale, limits
        super().__init__(batch, base.event_shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Scaled:
        return Scaled(self.base.expand(batch_shape), self.location, self.scale, self.limits)

    def outwards(self, u: Tensor) -> Tensor:
        x = self.location + self.scale * u
        return x if self.limits is None else torch.minimum(torch.maximum(x, self.limits[0]), self.limits[1])

    @property
    def mean(self) -> Tensor:
        return self.outwards(self.base.mean)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * self.base.variance

    @property
    def stddev(self) -> Tensor:
        return self.scale * self.base.stddev

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return bool(self.base.has_rsample)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        return self.outwards(self.base.rsample(torch.Size(sample_shape)))

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        return self.outwards(self.base.sample(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        log_scale = self.scale.log()
        if self.event_shape:
            log_scale = log_scale.expand(self.batch_shape + self.event_shape).flatten(-len(self.event_shape)).sum(-1)
        # In the type of the values as far as their difference, which may have more digits than the base needs.
        u = ((value - self.location) / self.scale).to(self.scale.dtype)
        return self.base.log_prob(u) - log_scale


def independent(base: Distribution, dimensions: int = 1) -> Independent:
    """`base` with its last `dimensions` batch dimensions made one event, unvalidated."""
    return Independent(base, dimensions, validate_args=False)
