"""The very deep variational autoencoder: groups of latents drawn one after another, from the coarsest to the finest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data.batch import Batch
from ..networks.base import last_weight
from .sampling import Draw, Drawn, draws
from .trace import Latent, Trace
from .vae import VAE

Take = Callable[[str, Distribution | None, Distribution], Tensor]
"""z (…, D) of the latent of that name, whose q, if there are data, and p are these."""


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

    def trace(self, batch: Batch, samples: int = 1, sum_classes: bool = False, draw: Draw | None = None) -> Trace:
        """One walk down, on which q, p and z of each group are had."""
        batch, found = self.typed(batch), []
        draw = draw or draws(samples, len(batch), gradients=True)

        def take(name: str, q: Distribution | None, p: Distribution) -> Tensor:
            z = draw(name, q)  # type: ignore[arg-type]
            found.append(Latent(name, z, q, p))  # type: ignore[arg-type]
            return z

        y = self.network_condition(batch.y)
        parameters = self._walk(take, y, self._pyramid(batch))
        px = self._of_parameters(parameters, y)
        return Trace(batch, px, tuple(found), last=last_weight(self.decoder))

    def infer(self, batch: Batch, draw: Draw) -> Drawn:
        found: dict[str, Any] = {}

        def take(name: str, q: Distribution | None, p: Distribution) -> Tensor:
            found[name] = q, draw(name, q)  # type: ignore[arg-type]
            return found[name][1]

        self._walk(take, self.network_condition(batch.y), self._pyramid(batch))
        return found

    def generate(self, y: Tensor | None, draw: Draw) -> Drawn:
        found: Drawn = {}

        def take(name: str, q: Distribution | None, p: Distribution) -> Tensor:
            found[name] = p, draw(name, p)
            return found[name][1]

        self._walk(take, y)
        return found

    def given(self, name: str) -> tuple[str, str]:
        names = list(self.priors)
        before = names[: names.index(name)]
        shown = ", ".join(before if len(before) < 3 else [before[0], "…", before[-1]])
        return f"x, {shown}" if shown else "x", shown

    @property
    def inferring(self) -> tuple[str, ...]:  # type: ignore[override]
        rungs = range(len(self.decoder.rungs))  # type: ignore[arg-type]
        return ("encoder", "posteriors", *(f"decoder.rungs.{i}.posterior" for i in rungs))

    @property
    def prefixes(self) -> Mapping[int, tuple[str, ...]]:
        names = tuple(self.priors)
        return {size: names[: i + 1] for i, size in enumerate(accumulate(self.sizes[name] for name in names))}

    def _pyramid(self, batch: Batch) -> list[Tensor]:
        x, y = self.inputs(batch.x, batch.observed), self._seen(self.network_condition(batch.y))
        with self._precisely():
            return self.encoder.pyramid(x) if y is None else self.encoder.pyramid(x, y)  # type: ignore[operator]

    def _walk(self, take: Take, y: Tensor | None, features: list[Tensor] | None = None) -> Tensor:
        """The decoder's way down, z of each group as taken: the parameters that it ends in."""
        names = list(self.priors)

        def taken(i: int, inferred: Tensor | None, expected: Tensor) -> Tensor:
            name, kind = names[i], self.scale.dtype
            with self._precisely(enabled=False):  # distributions have the type of the weights
                q = None if inferred is None else self.posteriors[name](inferred.to(kind).flatten(-3))
                z = take(name, q, self.priors[name](expected.to(kind).flatten(-3)))
            return z.unflatten(-1, self.decoder.latent_shapes[i])  # type: ignore[index]

        with self._precisely():
            parameters = self.decoder.walk(taken, self._seen(y), features)  # type: ignore[operator]
        return parameters.to(self.scale.dtype)

    def _precisely(self, enabled: bool = True) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        return torch.autocast(self.scale.device.type, self.precision, enabled)
