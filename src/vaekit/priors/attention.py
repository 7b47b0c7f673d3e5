"""Transformers over the places of a latent, of which priors are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .base import of_condition


class Attending(nn.Module):
    """A transformer over T places (Radford et al. 2019), each with a learned vector that is added to what enters there:
    (N, T, width) to `out` numbers at each, (N, T, out).

    Where it is `causal`, a place sees what enters there and before it; what enters is then made of the parts before.
    Given y (…, condition) there is a context, (…, width), linear in it.

    >>> network = Attending(places=3, out=5, condition=0, width=8, layers=1, heads=2, causal=True)
    >>> network.through(torch.ones(2, 3, 8)).shape
    torch.Size([2, 3, 5])
    """

    def __init__(
        self, places: int, out: int, condition: int, width: int, layers: int, heads: int, causal: bool
    ) -> None:
        super().__init__()
        if min(width, layers, heads) < 1 or width % heads:
            given = f"width {width}, layers {layers}, heads {heads}"
            raise ValueError(f"a transformer has {given}; accepted: 1 or more each, width a multiple of heads")
        self.places = nn.Parameter(0.02 * torch.randn(places, width))
        self.blocks = nn.ModuleList(Block(width, heads, causal) for _ in range(layers))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, out)
        self.shift = nn.Linear(condition, width, bias=False) if condition else None

    def context(self, y: Tensor | None) -> Tensor | None:
        """What y is to it, (…, width); None without a condition."""
        return None if self.shift is None else of_condition(self.shift, y, self.places)

    def through(self, x: Tensor) -> Tensor:
        """(N, T, out) of what enters, (N, T, width)."""
        for block in self.blocks:
            x, _ = block(x)
        return self.out(self.norm(x))

    def after(self, before: Tensor | None, n: int, context: Tensor | None) -> Tensor:
        """What enters a causal one, (n, T, width): at first the context (n, width), then what is `before` each place,
        (n, T - 1, width), None where there is one place.
        """
        first = self._first(n, context)
        return (first if before is None else torch.cat([first, before], 1)) + self.places

    def in_turn(
        self,
        n: int,
        context: Tensor | None,
        embed: Callable[[Tensor], Tensor] | None,
        choose: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Parts (n, T, …) of a causal one, one after another: `choose` makes a part (n, 1, …) of `out` numbers, `embed`
        what enters after it, None where there is one place. Keys and values are kept.
        """
        known: list[Any] = [None] * len(self.blocks)
        drawn: list[Tensor] = []
        for place in self.places:
            x = (embed(drawn[-1]) if embed and drawn else self._first(n, context)) + place
            for i, block in enumerate(self.blocks):
                x, known[i] = block(x, known[i])
            drawn.append(choose(self.out(self.norm(x))))
        return torch.cat(drawn, 1)

    def _first(self, n: int, context: Tensor | None) -> Tensor:
        return self.places.new_zeros(n, 1, self.places.shape[1]) if context is None else context.unsqueeze(1)


class Block(nn.Module):
    """Self-attention and a layer of four times the width, each on its normalised input and added to it.

    x (N, T, width) to the same, and the keys and values of all tokens so far. Where it is `causal`, each place sees
    those before it alone, and with the keys and values `known` of these, x is of the one token after them.
    """

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attended, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, known: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        query, key, value = self.attended(self.before_attention(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        query, key, value = (each.transpose(-2, -3) for each in (query, key, value))
        if known is not None:
            key, value = torch.cat([known[0], key], -2), torch.cat([known[1], value], -2)
        found = scaled_dot_product_attention(query, key, value, is_causal=self.causal and known is None)
        x = x + self.joined(found.transpose(-2, -3).flatten(-2))
        return x + self.layer(self.before_layer(x)), (key, value)
