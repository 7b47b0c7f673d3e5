"""Priors of quantised latents: distributions of the tokens of a posterior, which says what they stand for."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.nn.functional import scaled_dot_product_attention

from ..distributions.quantised import IndependentTokens, SequentialTokens
from .base import _required


class UniformTokens(nn.Module):
    """Each token of a quantised latent any of its K codes, with probability 1/K, whatever the condition.

    Its KL is the number of tokens times log K, the same for all data: the bound of the VQ-VAE as it is trained (van den
    Oord et al. 2017, section 3.2).

    >>> from vaekit.posteriors import FSQ
    >>> -UniformTokens(FSQ(features=5, latent=4, levels=(4, 4)))().log_probs(torch.zeros(2, dtype=torch.long)).sum()
    tensor(5.5452)
    """

    logits: Tensor

    def __init__(self, posterior: nn.Module) -> None:
        super().__init__()
        self.posterior = with_tokens(posterior)
        self.tokens: tuple[int, int] = self.posterior.tokens
        self.register_buffer("logits", torch.zeros(self.tokens), persistent=False)

    def forward(self, y: Tensor | None = None) -> Distribution:
        lead = () if y is None else y.shape[:-1]
        return IndependentTokens(self.posterior, self.logits.expand(*lead, *self.tokens))


class CategoricalTokens(nn.Module):
    """Each token of a quantised latent one of its K codes with learned probabilities, of its own place, or where
    `shared` the same in all places; given y, logits are linear in y.

    Tokens carry no gradient: the prior learns what codes are like, and does not change them. It starts uniform.
    """

    def __init__(self, posterior: nn.Module, condition: int = 0, shared: bool = False) -> None:
        super().__init__()
        self.posterior = with_tokens(posterior)
        self.tokens: tuple[int, int] = self.posterior.tokens
        places, codes = self.tokens
        self.logits = nn.Parameter(torch.zeros(1 if shared else places, codes))
        self.shift = nn.Linear(condition, self.logits.numel(), bias=False) if condition else None

    def forward(self, y: Tensor | None = None) -> Distribution:
        logits = self.logits
        if self.shift is not None:
            logits = logits + self.shift(_required(y, self.shift).to(logits.dtype)).unflatten(-1, logits.shape)
        return IndependentTokens(self.posterior, logits.expand(*logits.shape[:-2], *self.tokens))


class TransformerTokens(nn.Module):
    """The tokens of a quantised latent one after another, each given those before it, by a causal transformer (Radford
    et al. 2019), its places learned; given y, linear in y what it begins with.

    Tokens are in raster order, those of a place after one another. They carry no gradient, so that learned with the
    model it is the second stage of the VQ-VAE (van den Oord et al. 2017, section 3.3), but for codes that still move.
    log p is exact; draws are made token by token, of which keys and values are kept.
    """

    def __init__(
        self, posterior: nn.Module, condition: int = 0, width: int = 128, layers: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        if min(width, layers, heads) < 1 or width % heads:
            given = f"width {width}, layers {layers}, heads {heads}"
            raise ValueError(f"a transformer has {given}; accepted: 1 or more each, width a multiple of heads")
        self.posterior = with_tokens(posterior)
        self.tokens: tuple[int, int] = self.posterior.tokens
        places, codes = self.tokens
        # The last token is given to none.
        self.embedding = nn.Embedding(codes, width) if places > 1 else None
        self.places = nn.Parameter(0.02 * torch.randn(places, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, codes)
        self.shift = nn.Linear(condition, width, bias=False) if condition else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, y: Tensor | None = None) -> Distribution:
        context = None if self.shift is None else self.shift(_required(y, self.shift).to(self.places.dtype))
        p = SequentialTokens(self.posterior, self._logits, self._draw, context)
        return p if context is not None or y is None else p.expand(y.shape[:-1])

    def _logits(self, indices: Tensor, context: Tensor | None) -> Tensor:
        lead = indices.shape[:-1]
        before = indices[..., :-1].reshape(math.prod(lead), indices.shape[-1] - 1)
        x = self._entered(before, None if context is None else context.reshape(-1, context.shape[-1]))
        for block in self.blocks:
            x, _ = block(x)
        return self.out(self.norm(x)).view(*lead, *self.tokens)

    def _entered(self, before: Tensor, context: Tensor | None) -> Tensor:
        """What enters at each place, (N, T, width): the token before it; the context (N, width) at the first."""
        rows = len(before)
        first = self.places.new_zeros(rows, 1, self.places.shape[1]) if context is None else context.unsqueeze(1)
        x = first if self.embedding is None else torch.cat([first, self.embedding(before)], 1)
        return x + self.places

    def _draw(self, n: int, context: Tensor | None, likeliest: bool) -> Tensor:
        """Tokens (n, T), as `SequentialTokens` says."""
        known: list[Any] = [None] * len(self.blocks)
        x = self.places[:1].expand(n, 1, -1) + (0 if context is None else context.unsqueeze(1))
        drawn: list[Tensor] = []
        for place in range(self.tokens[0]):
            if self.embedding is not None and drawn:
                x = (self.embedding(drawn[-1]) + self.places[place]).unsqueeze(1)
            for i, block in enumerate(self.blocks):
                x, known[i] = block(x, known[i])
            logits = self.out(self.norm(x[:, -1]))
            drawn.append(logits.argmax(-1) if likeliest else Categorical(logits=logits, validate_args=False).sample())
        return torch.stack(drawn, -1)


class Block(nn.Module):
    """Causal self-attention and a layer of four times the width, each on its normalised input and added to it.

    x (N, T, width) to the same, and the keys and values of all tokens so far. With those `known` of tokens before, x is
    of the one token after them.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attended, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, known: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        query, key, value = self.attended(self.before_attention(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        query, key, value = (each.transpose(-2, -3) for each in (query, key, value))
        if known is not None:
            key, value = torch.cat([known[0], key], -2), torch.cat([known[1], value], -2)
        found = scaled_dot_product_attention(query, key, value, is_causal=known is None)
        x = x + self.joined(found.transpose(-2, -3).flatten(-2))
        return x + self.layer(self.before_layer(x)), (key, value)


def with_tokens(posterior: nn.Module) -> Any:
    """`posterior`, of whose tokens a prior is to be; `ValueError` for one that has none."""
    if getattr(posterior, "tokens", None) is None:
        what = f"a prior of tokens is for a quantised posterior, not {type(posterior).__name__}"
        raise ValueError(f"{what}, which has no codes; accepted: two of a kind")
    return posterior
