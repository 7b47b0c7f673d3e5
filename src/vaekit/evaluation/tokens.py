"""How well the codes of quantised latents are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.batch import Batch
from ..models import VAE
from ..models.tokens import quantised, tokens_of


@dataclass(frozen=True)
class CodeUse:
    """How many `tokens` a datum has, each one of how many `codes`; of the codes the part that is `used` for any datum;
    and the `perplexity`, how many codes used equally often would be as hard to tell: the exponential of the entropy, at
    most `codes`. Of residual quantisation both are means over the quantizers, each of which has its codes. `alike` is
    the part of the data all of whose tokens are the ones that are the most usual at their places.
    """

    tokens: int
    codes: int
    used: float
    perplexity: float
    alike: float = 0.0


class CodeCounts:
    """How often each code of each quantised latent of a model is used, counted batch by batch."""

    def __init__(self, model: VAE) -> None:
        self.model, self.sizes, self.n = model, quantised(model), 0
        self.counts: dict[str, Tensor] = {}
        self.usual: dict[str, Tensor] = {}
        self.alike: dict[str, Tensor] = {}

    def add(self, batch: Batch, known: Mapping[str, Tensor]) -> None:
        """Count the tokens of a batch, those that are `known` by the names of their latents, the others found anew; of
        a model in evaluation mode.
        """
        if self.sizes.keys() - known.keys():
            known = {**tokens_of(self.model, self.model.asked(batch)), **known}
        self.n += len(batch)
        for name, (_, codes) in self.sizes.items():
            depth = int(self.model.posteriors[name].depth)  # type: ignore[arg-type]
            usual = self.usual.setdefault(name, known[name].mode(0).values)  # of the first batch
            self.counts[name] = self.counts.get(name, 0) + counted(known[name], depth, codes)
            self.alike[name] = self.alike.get(name, 0) + (known[name] == usual).all(-1).sum()

    def use(self) -> dict[str, CodeUse]:
        """How they are used by all data so far; nothing for a model that has none."""
        return {
            name: _use(*self.sizes[name], counts, float(self.alike[name]) / self.n)
            for name, counts in self.counts.items()
        }


def counted(tokens: Tensor, depth: int, codes: int) -> Tensor:
    """How often each of the `codes` is among tokens (N, T) of each of `depth` quantizers, which follow one another:
    (depth, codes).
    """
    each: Iterable[Tensor] = tokens.unflatten(-1, (-1, depth)).unbind(-1)
    return torch.stack([one.flatten().bincount(minlength=codes) for one in each])


def _use(tokens: int, codes: int, counts: Tensor, alike: float) -> CodeUse:
    share = (counts / counts.sum(-1, keepdim=True)).double()
    perplexity = torch.special.entr(share).sum(-1).exp().mean()
    return CodeUse(tokens, codes, float((counts > 0).double().mean()), float(perplexity), alike)
