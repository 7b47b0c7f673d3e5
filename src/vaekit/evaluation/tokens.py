"""How well the codes of quantised latents are used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.tensors import TensorSplit
from ..models import VAE
from ..models.tokens import quantised, tokens_of
from ..modules import evaluating


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


@torch.no_grad()
def code_use(model: VAE, data: TensorSplit) -> dict[str, CodeUse]:
    """How the codes of each quantised latent of `model` are used for `data`; nothing for a model that has none."""
    sizes, counts = quantised(model), dict[str, Tensor]()
    if not sizes:
        return {}
    with evaluating(model):
        for batch in data.blocks():
            for name, found in tokens_of(model, model.asked(batch)).items():
                depth, codes = model.posteriors[name].depth, sizes[name][1]
                counts[name] = counts.get(name, 0) + counted(found.flatten(0, -2), int(depth), codes)  # type: ignore[arg-type, operator]
    return {name: _use(*sizes[name], each) for name, each in counts.items()}


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
