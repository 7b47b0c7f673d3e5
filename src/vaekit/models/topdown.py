"""The very deep variational autoencoder: groups of latents drawn one after another, from the coarsest to the finest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..data.batch import Batch
from ..errors import number_of
from ..networks.base import last_weight
from .sampling import Draw, Drawn, draws
from .trace import Latent, Trace
from .vae import VAE

if TYPE_CHECKING:
    from ..networks.pyramid import PyramidEncoder, TopDown


def latents_called(model: VAE, name: str) -> list[str]:
    """The latents that a spec calls by that name: the one, or the groups name1, name2, … of a very deep model."""
    groups = [each for each in model.priors if each.startswith(name) and each[len(name) :].isdigit()]
    return [name] if name in model.priors else groups


class TopDownVAE(VAE):
    """p(z1) p(z2 given z1) … p(x given z1, …, zL) with q(z1 given x) q(z2 given z1, x) …, each group of latents given
    all those before it (Sønderby et al. 2016; Child 2021).

    encoder      x to features at several resolutions: its `pyramid`, as of `networks.PyramidEncoder`
    decoder      a `networks.TopDown`, the way down on which the latents are met
    posteriors   in the order of being drawn, of what the way down makes of data and of the latents before
    priors       likewise, of what it makes of the latents before alone

    The KL of each group is in closed form, given draws of those before it. A code is of all latents side by side, in
    the order of being drawn. `decode` also takes the first of them alone: the others are then the means of their p, or
    with `draw` draws; so the first groups may be held, and the rest drawn. Classes are not summed out.
    """

    encoder: PyramidEncoder
    decoder: TopDown

    def trace(self, batch: Batch, samples: int = 1, sum_classes: bool = False, draw: Draw | None = None) -> Trace:
        """One walk down, on which q, p and z of each group are had."""
        batch = self.typed(batch)
        draw, y = draw or draws(samples, len(batch), gradients=True), self.network_condition(batch.y)
        parameters, inferred, expected = self._walk(draw, y, self._pyramid(batch))
        px = self._of_parameters(parameters, y)
        latents = tuple(Latent(name, z, q, expected[name][0]) for name, (q, z) in inferred.items())
        return Trace(batch, px, latents, last=last_weight(self.decoder))

    def infer(self, batch: Batch, draw: Draw) -> Drawn:
        return self._walk(draw, self.network_condition(batch.y), self._pyramid(batch))[1]

    def generate(self, y: Tensor | None, draw: Draw) -> Drawn:
        return self._walk(draw, y)[2]

    def given(self, name: str) -> tuple[str, str]:
        names = list(self.priors)
        before = names[: names.index(name)]
        shown = ", ".join(before if len(before) < 3 else [before[0], "…", before[-1]])
        return f"x, {shown}" if shown else "x", shown

    @property
    def inferring(self) -> tuple[str, ...]:  # type: ignore[override]
        rungs = range(len(self.decoder.rungs))
        return ("encoder", "posteriors", *(f"decoder.rungs.{i}.posterior" for i in rungs))

    @property
    def prefixes(self) -> Mapping[int, tuple[str, ...]]:
        names = tuple(self.priors)
        return {size: names[: i + 1] for i, size in enumerate(accumulate(self.sizes[name] for name in names))}

    def _pyramid(self, batch: Batch) -> list[Tensor]:
        x, y = self.inputs(batch.x, batch.observed), self._seen(self.network_condition(batch.y))
        with self._precisely():
            return self.encoder.pyramid(x) if y is None else self.encoder.pyramid(x, y)

    def _walk(self, draw: Draw, y: Tensor | None, features: list[Tensor] | None = None) -> tuple[Tensor, Drawn, Drawn]:
        """The decoder's way down, z of each group as `draw` takes it of q, where there are `features` of data, else of
        p: the parameters that it ends in, q of each group and p of each, with z.
        """
        names, shapes, kind = list(self.priors), self.decoder.latent_shapes, self.scale.dtype
        if len(names) != len(shapes):
            raise ValueError(f"the decoder has {number_of(len(shapes), 'group')} of latents; accepted: as many priors")
        inferred: Drawn = {}
        expected: Drawn = {}

        def taken(i: int, of_q: Tensor | None, of_p: Tensor) -> Tensor:
            name = names[i]
            with self._precisely(enabled=False):  # distributions have the type of the weights
                q = None if of_q is None else self.posteriors[name](of_q.to(kind).flatten(-3))
                p = self.priors[name](of_p.to(kind).flatten(-3))
                z = draw(name, p if q is None else q)
            expected[name] = p, z
            if q is not None:
                inferred[name] = q, z
            if z.shape[-1] != (wanted := math.prod(shapes[i])):
                raise ValueError(
                    f"latent {name!r} is of {z.shape[-1]} dimensions; accepted: {wanted}, maps {shapes[i]}"
                )
            return z.unflatten(-1, shapes[i])

        with self._precisely():
            parameters = self.decoder.walk(taken, self._seen(y), features)
        return parameters.to(kind), inferred, expected

    def _precisely(self, enabled: bool = True) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        return torch.autocast(self.scale.device.type, self.precision, enabled)
