"""Priors of quantised latents: distributions of the tokens of a posterior, which says what they stand for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from ..distributions.quantised import IndependentTokens, JointTokens
from ..errors import MisfitError
from .attention import Attending
from .base import shifted


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
        logits = shifted(self.logits, self.shift, y)
        return IndependentTokens(self.posterior, logits.expand(*logits.shape[:-2], *self.tokens))


class _Transformer(Attending):
    """What transformers of tokens share: embeddings of tokens, and logits of all K codes at each place."""

    def __init__(self, posterior: nn.Module, condition: int, width: int, layers: int, heads: int, causal: bool) -> None:
        quantiser = with_tokens(posterior)
        places, codes = quantiser.tokens
        super().__init__(places, codes, condition, width, layers, heads, causal)
        self.posterior: Any = quantiser
        self.tokens: tuple[int, int] = places, codes
        # Of one token after another the last is given to none. Masked ones have a mask more.
        self.embedding = nn.Embedding(codes if causal else codes + 1, width) if places > 1 or not causal else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, y: Tensor | None = None) -> Distribution:
        p = JointTokens(self.posterior, self._score, self._draw, context := self.context(y))
        return p if context is not None or y is None else p.expand(y.shape[:-1])

    def _score(self, indices: Tensor, context: Tensor | None) -> Tensor:
        """As `JointTokens` says."""
        raise NotImplementedError

    def _draw(self, n: int, context: Tensor | None, likeliest: bool) -> Tensor:
        """Tokens (n, T), as `JointTokens` says."""
        raise NotImplementedError


class TransformerTokens(_Transformer):
    """The tokens of a quantised latent one after another, each given those before it, by a causal transformer (Radford
    et al. 2019), its places learned; given y, linear in y what it begins with.

    Tokens are in raster order, those of a place after one another. They carry no gradient, so that learned with the
    model it is the second stage of the VQ-VAE (van den Oord et al. 2017, section 3.3), but for codes that still move.
    log p is exact; draws are made token by token, of which keys and values are kept.
    """

    def __init__(
        self, posterior: nn.Module, condition: int = 0, width: int = 128, layers: int = 4, heads: int = 4
    ) -> None:
        super().__init__(posterior, condition, width, layers, heads, causal=True)

    def _score(self, indices: Tensor, context: Tensor | None) -> Tensor:
        return log_prob_of(self._logits(indices, context), indices)

    def _logits(self, indices: Tensor, context: Tensor | None) -> Tensor:
        """Logits (N, T, K) of each token given those before it."""
        before = None if self.embedding is None else self.embedding(indices[:, :-1])
        return self.through(self.after(before, indices.shape[0], context))

    def _draw(self, n: int, context: Tensor | None, likeliest: bool) -> Tensor:
        return self.in_turn(n, context, self.embedding, lambda logits: _chosen(logits, likeliest))


class MaskedTokens(_Transformer):
    """The tokens of a quantised latent in any order, each given those that are shown, by a transformer that sees the
    others masked (Chang et al. 2022); given y, what is linear in y is added at each place.

    p is the mean over all orders of tokens. Of its logarithm a bound is known, E_k E_order T / (T - k) sum log p(token
    given the k that are shown), summed over the tokens that are not, k uniform below T (Uria et al. 2014, eq. 9;
    Hoogeboom et al. 2022, eq. 4). In training it is estimated by one k and one order of each datum, in evaluation by
    the mean of `orders`, k spread over all of its range: scores are of a bound, and random.

    Draws are made in `steps`, all tokens of a step at once, in a random order: with as many steps as tokens, which is
    what 0 stands for, they are those of p.
    """

    bound = True
    """Whether log p is not known, but a bound of it."""

    def __init__(
        self,
        posterior: nn.Module,
        condition: int = 0,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        steps: int = 0,
        orders: int = 8,
    ) -> None:
        super().__init__(posterior, condition, width, layers, heads, causal=False)
        if steps < 0 or orders < 1:
            raise ValueError(f"steps are {steps}, orders {orders}; accepted: 0 or more steps, 1 or more orders")
        self.steps, self.orders = min(steps or self.tokens[0], self.tokens[0]), orders

    def _score(self, indices: Tensor, context: Tensor | None) -> Tensor:
        rows, places = indices.shape
        orders = 1 if self.training else self.orders
        part = (torch.arange(orders, device=indices.device)[:, None] + torch.rand(rows, device=indices.device)) / orders
        shown = (part * places).long().clamp(max=places - 1).unsqueeze(-1)
        hidden = torch.rand(orders, rows, places, device=indices.device).argsort(-1) >= shown
        context = None if context is None else context.expand(orders, *context.shape).flatten(0, 1)
        logits = self._logits(indices.expand(orders, -1, -1).flatten(0, 1), hidden.flatten(0, 1), context)
        found = log_prob_of(logits.view(*hidden.shape, -1), indices.expand_as(hidden))
        return (found * hidden * (places / (places - shown).to(found.dtype))).mean(0)

    def _logits(self, indices: Tensor, hidden: Tensor, context: Tensor | None) -> Tensor:
        """Logits (N, T, K) given those of the tokens (N, T) that are not `hidden`, of bool (N, T)."""
        x = self.embedding(indices.masked_fill(hidden, self.tokens[1])) + self.places  # type: ignore[misc]
        return self.through(x if context is None else x + context.unsqueeze(1))

    def _draw(self, n: int, context: Tensor | None, likeliest: bool) -> Tensor:
        places, device = self.tokens[0], self.places.device
        in_turn = torch.arange(places, device=device).expand(n, -1)
        rank = in_turn if likeliest else torch.rand(n, places, device=device).argsort(-1)
        tokens = torch.zeros(n, places, dtype=torch.long, device=device)
        for step in range(self.steps):
            start, end = (places * at // self.steps for at in (step, step + 1))
            found = _chosen(self._logits(tokens, rank >= start, context), likeliest)
            tokens = torch.where((rank >= start) & (rank < end), found, tokens)
        return tokens


def log_prob_of(logits: Tensor, indices: Tensor) -> Tensor:
    """log p (…,) of whole numbers (…,) by logits (…, K)."""
    return logits.log_softmax(-1).gather(-1, indices.unsqueeze(-1)).squeeze(-1)


def _chosen(logits: Tensor, likeliest: bool) -> Tensor:
    """Whole numbers (…,) by logits (…, K): drawn, or the likeliest."""
    return logits.argmax(-1) if likeliest else Categorical(logits=logits, validate_args=False).sample()


def with_tokens(posterior: nn.Module) -> Any:
    """`posterior`, of whose tokens a prior is to be; `ValueError` for one that has none."""
    if getattr(posterior, "tokens", None) is None:
        what = f"a prior of tokens is for a quantised posterior, not {type(posterior).__name__}"
        raise MisfitError(f"{what}, which has no codes; accepted: two of a kind")
    return posterior
