"""Images larger than those that a model was trained on, encoded and decoded in tiles that overlap.

Every tile is of the size that the model was trained on: normalisation and attention see of a tile what they saw in
training, and memory is that of one tile beside the image. Where tiles overlap, their results are blended: the outer
quarter of an overlap, where a tile lacks what is beyond its edge, counts for nothing, and between the quarters weights
go linearly from one tile to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..distributions.moments import center, typical
from ..modules import evaluating
from .given import checked

if TYPE_CHECKING:
    from .vae import VAE

OVERLAP = 0.25
"""The part of a tile that the next one has too, at least."""


@torch.no_grad()
def encode_tiled(model: VAE, x: ArrayLike | Tensor, overlap: float = OVERLAP, batch_size: int = 1) -> Tensor:
    """Posterior means of images x (B, C, H, W), of any height and width from the model's own on that its levels divide,
    as maps (B, C', H', W').

    Raises `ValueError`, one line, for a model without a latent of maps, and for images of other sizes.

    >>> from vaekit import Domain, Schema, build_model
    >>> from vaekit.spec.keys import ModelSpec
    >>> network = {"name": "resnet", "channels": [8, 8], "blocks": 1}
    >>> parts = {"encoder": network, "decoder": network, "likelihood": "normal-fixed"}
    >>> spec = ModelSpec(**parts, latents={"z": {"size": 2, "maps": True}})
    >>> model = build_model(spec, Schema(event_shape=(1, 16, 16), domain=Domain("real")))
    >>> z = encode_tiled(model, torch.zeros(1, 1, 40, 24))
    >>> z.shape, decode_tiled(model, z).shape
    (torch.Size([1, 2, 20, 12]), torch.Size([1, 1, 40, 24]))
    """
    shape, factors = _maps(model)
    images = torch.as_tensor(x)
    channels, *tile = model.event_shape
    if images.dim() != 4 or images.shape[1] != channels:
        raise ValueError(f"x has shape {tuple(images.shape)}; accepted: (B, {channels}, H, W)")
    _check_sides("x", images.shape[2:], tile, factors)

    def encoded(part: Tensor) -> Tensor:
        found = model.infer(checked(model, part, None), lambda _, q: center(q))
        return model.side_by_side(found).unflatten(-1, shape).to(images.device)

    with evaluating(model):
        return _blended(encoded, images, tile, shape, overlap, batch_size)


@torch.no_grad()
def decode_tiled(model: VAE, z: ArrayLike | Tensor, overlap: float = OVERLAP, batch_size: int = 1) -> Tensor:
    """The mean of p(x given z) for maps z (B, C', H', W') of any height and width from the model's own on, as images
    (B, C, H, W); raises as `encode_tiled` does.
    """
    shape, _ = _maps(model)
    maps = torch.as_tensor(z)
    if maps.dim() != 4 or maps.shape[1] != shape[0]:
        raise ValueError(f"z has shape {tuple(maps.shape)}; accepted: (B, {shape[0]}, H', W')")
    _check_sides("z", maps.shape[2:], shape[1:], (1, 1))

    def decoded(part: Tensor) -> Tensor:
        codes = part.flatten(1).to(model.scale)
        made = typical(model.likelihood_of(codes, None))
        return made.reshape(len(part), *model.event_shape).to(maps.device)

    with evaluating(model):
        return _blended(decoded, maps, shape[1:], model.event_shape, overlap, batch_size)


def _maps(model: VAE) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The shape of the one latent, which is maps, and what height and width are divided by."""
    shape = next(iter(model.shapes.values()))
    if len(model.shapes) > 1 or len(shape) != 3 or len(model.event_shape) != 3 or model.condition:
        own = ", ".join(f"{name} {'x'.join(map(str, each))}" for name, each in model.shapes.items())
        raise ValueError(f"tiles are for models of images with one latent of maps and no condition; this one has {own}")
    high, wide = (whole // own for whole, own in zip(model.event_shape[1:], shape[1:], strict=True))
    if (shape[1] * high, shape[2] * wide) != tuple(model.event_shape[1:]):
        sides = f"{model.event_shape[1]}x{model.event_shape[2]} are no multiples of those of its maps"
        raise ValueError(f"tiles are for models whose images are halved without a rest; {sides}")
    return shape, (high, wide)


def _check_sides(what: str, given: Sequence[int], own: Sequence[int], factors: Sequence[int]) -> None:
    for side, least, factor in zip(given, own, factors, strict=True):
        if side < least or side % factor:
            accepted = f"sides from {own[0]}x{own[1]} on, multiples of {factors[0]} and {factors[1]}"
            raise ValueError(f"{what} is of {given[0]}x{given[1]}; accepted: {accepted}: pad or crop it")


def _blended(
    function: Callable[[Tensor], Tensor],
    whole: Tensor,
    tile: Sequence[int],
    made: Sequence[int],
    overlap: float,
    batch_size: int,
) -> Tensor:
    """`function` of tiles of `whole` (B, C, H, W), each (C, *tile) to `made` (C', h', w'), put together."""
    if not 0 <= overlap < 1 or batch_size < 1:
        given = f"overlap {overlap} and batch_size {batch_size}"
        raise ValueError(f"{given}; accepted: an overlap from 0 on and below 1, a batch_size from 1 on")
    sides = [_Side(*each, overlap) for each in zip(whole.shape[2:], tile, made[1:], strict=True)]
    sums = whole.new_zeros(len(whole), made[0], *(side.size for side in sides), dtype=torch.get_default_dtype())
    for (top, row), (left, column) in product(*(enumerate(side.starts) for side in sides)):
        high, wide = (sides[0].weights[top], sides[1].weights[left])
        weight = (high[:, None] * wide).to(sums)
        down, right = (side.out(start) for side, start in zip(sides, (row, column), strict=True))
        for first in range(0, len(whole), batch_size):
            part = whole[first : first + batch_size, :, row : row + tile[0], column : column + tile[1]]
            place = (slice(first, first + len(part)), slice(None), down, right)
            sums[place] += function(part) * weight
    return sums


class _Side:
    """Where tiles of one side of an image start, and the weights of what each makes, which add up to 1 everywhere."""

    def __init__(self, whole: int, tile: int, made: int, overlap: float) -> None:
        # Steps and starts are those of the coarser of both, so that a tile is a whole number of rows in either.
        unit = max(1, tile // made)
        self.scale = made / tile
        step = max(1, round(tile // unit * (1 - overlap))) * unit
        self.starts = [*range(0, whole - tile, step), whole - tile]
        self.size, self.made = round(whole * self.scale), made
        raw = torch.zeros(len(self.starts), self.size)
        for i, start in enumerate(self.starts):
            raw[i, self.out(start)] = self._ramp(i)
        raw = raw / raw.sum(0)
        self.weights = [raw[i, self.out(start)] for i, start in enumerate(self.starts)]

    def out(self, start: int) -> slice:
        """The rows that the tile from `start` on is made to."""
        first = round(start * self.scale)
        return slice(first, first + self.made)

    def _ramp(self, i: int) -> Tensor:
        """1 within, and in an overlap with a neighbour from 0 at its outer quarter to 1 at its inner one."""
        ramp = torch.ones(self.made)
        place = torch.arange(self.made) + 0.5
        if i > 0:
            shared = self.made - (self.out(self.starts[i]).start - self.out(self.starts[i - 1]).start)
            ramp = ramp * _rise(place, shared)
        if i < len(self.starts) - 1:
            shared = self.made - (self.out(self.starts[i + 1]).start - self.out(self.starts[i]).start)
            ramp = ramp * _rise(place, shared).flip(0)
        return ramp


def _rise(place: Tensor, shared: int) -> Tensor:
    return ((place - shared / 4) / (shared / 2)).clamp(0, 1) if shared > 0 else torch.ones_like(place)
