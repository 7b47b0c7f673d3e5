"""Draws: of latents given data, and of data from a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.distributions import Distribution

from ..data.batch import Batch
from ..distributions.moments import center
from ..distributions.validation import lacking
from ..errors import UndefinedError
from ..system.progress import working
from .given import check_samples, checked_condition, checked_count, refuse_too_many
from .trace import Latent

if TYPE_CHECKING:
    from .vae import VAE

ROWS = 1000
"""Data drawn at a time."""

Draw = Callable[[str, Distribution], Tensor]
"""What is taken for z of the latent of that name and distribution: a draw, its mean, or a z that is known."""
Drawn = dict[str, tuple[Distribution, Tensor]]
"""The distribution of each latent by name, and what was taken for z."""


def draws(*lead: int, gradients: bool = False) -> Draw:
    """Draws (*lead, D), of distributions whose batch is as many of the last of `lead` as they depend on."""
    if len(lead) > 1:
        check_samples(lead[0])

    def draw(name: str, distribution: Distribution) -> Tensor:
        shape = torch.Size(lead[: len(lead) - len(distribution.batch_shape)])
        try:
            return distribution.rsample(shape) if gradients else distribution.sample(shape)
        except NotImplementedError as error:
            raise UndefinedError(f"latent {name!r}: {lacking(error)}") from error

    return draw


def latents_drawn(model: VAE, batch: Batch, samples: int, draw: Draw | None = None) -> tuple[Latent, ...]:
    """S = `samples` draws of each latent, as `infer` and `generate` of the model say, or what `draw` takes for them."""
    found = model.infer(batch, draw or draws(samples, len(batch), gradients=True))
    priors = model.generate(model.network_condition(batch.y), lambda name, _: found[name][1])
    return tuple(
        Latent(name, found[name][1], found[name][0], priors[name][0], exact=model.exact(name)) for name in model.priors
    )


def descended(model: VAE, z: Tensor, y: Tensor | None, draw: bool) -> Tensor:
    """All latents (…, D), given z of those that are drawn first: the others are their means, or with `draw` draws."""
    first = model.prefixes[z.shape[-1]]
    known = dict(zip(first, z.split([model.sizes[name] for name in first], -1), strict=True))

    def taken(name: str, p: Distribution) -> Tensor:
        return known[name] if name in known else p.sample() if draw else center(p)

    return model.side_by_side(model.generate(y, taken))


def data_drawn(model: VAE, n: int | None, y: ArrayLike | Tensor | None, draw: bool) -> Tensor:
    """n data (n, *event) of `model` in evaluation mode, as `VAE.sample` says, some of them at a time."""
    n = checked_count(n, y)
    condition = checked_condition(model, y, n)
    refuse_too_many(n, model.event_shape, model.scale)
    # All of it at once, so that too many are refused before the first is drawn.
    kind = torch.float64 if model.domain.in_float64 and model.scale.device.type != "mps" else model.scale.dtype
    data = torch.empty(n, *model.event_shape, dtype=kind, device=model.scale.device)
    with working("sampling", n) as step:
        for start in range(0, n, ROWS):
            rows = min(ROWS, n - start)
            given = None if condition is None else condition[start : start + rows]
            z = model.generate(model.network_condition(given), draws(rows))
            data[start : start + rows] = model.decode(model.side_by_side(z), given, draw)
            step(start + rows)
    return data
