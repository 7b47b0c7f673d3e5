"""How well the codes of quantised latents are used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..models import VAE
from ..models.tokens import quantised


@dataclass(frozen=True)
class CodeUse:
    """How many `tokens` a datum has, each one of how many `codes`; of the codes the part that is `used` for any datum;
    and the `perplexity`, how many codes used equally often would be as hard to tell: the exponential of the entropy, at
    most `codes`. Of residual quantisation both are means over the quantizers, each of which has its codes.
    """

    tokens: int
    codes: int
    used: float
    perplexity: float


class CodeCounts:
    """How often the codes of each quantised latent of `model` are used, of data whose posterior means are given."""

    def __init__(self, model: VAE) -> None:
        self.model, self.sizes, self.counts = model, quantised(model), dict[str, Tensor]()

    def add(self, means: Tensor) -> None:
        """Count the codes of data by their means (B, D) of all latents, which of quantised ones are what codes stand
        for.
        """
        latents = self.model.split(means.to(self.model.scale.dtype)) if self.sizes else {}
        for name, (_, codes) in self.sizes.items():
            posterior: Any = self.model.posteriors[name]
            found = posterior.indices(latents[name])
            self.counts[name] = self.counts.get(name, 0) + counted(found, posterior.depth, codes)

    @property
    def use(self) -> dict[str, CodeUse]:
        """How they are used; nothing of a model that has no such latent."""
        return {name: _use(*self.sizes[name], each) for name, each in self.counts.items()}


def counted(tokens: Tensor, depth: int, codes: int) -> Tensor:
    """How often each of the `codes` is among tokens (N, T) of each of `depth` quantizers, which follow one another:
    (depth, codes).
    """
    each: Iterable[Tensor] = tokens.unflatten(-1, (-1, depth)).unbind(-1)
    return torch.stack([one.flatten().bincount(minlength=codes) for one in each])


def _use(tokens: int, codes: int, counts: Tensor) -> CodeUse:
    share = (counts / counts.sum(-1, keepdim=True)).double()
    perplexity = torch.special.entr(share).sum(-1).exp().mean()
    return CodeUse(tokens, codes, float((counts > 0).double().mean()), float(perplexity))
