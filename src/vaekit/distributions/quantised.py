"""Quantised latents: the one code that a posterior gives, and distributions of codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .shapes import _Shape, broadcast_shapes, rows_of

_NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class Book(Protocol):
    """What codes stand for: T tokens, each one of K, are a vector z of D numbers."""

    @property
    def tokens(self) -> tuple[int, int]:
        """T and K."""

    @property
    def size(self) -> int:
        """D."""

    def vectors(self, indices: Tensor) -> Tensor:
        """z (…, D) of whole numbers (…, T) below K."""

    def indices(self, z: Tensor) -> Tensor:
        """The tokens (…, T) of z (…, D), which are the inverse of `vectors` where z is one of its values."""


class Quantised(Distribution):
    """All mass on the one `value` (…, D) that the tokens `indices` (…, T), each one of K, stand for.

    Draws and mean are `value`, with its gradient: that of the encoder straight through the quantisation. log p of it is
    0, and of any other point -inf. `penalties`, (…) or a scalar each, are what its training adds to a loss, by name,
    and `figures` scalars that are worth recording.

    >>> q = Quantised(torch.tensor([[1.0, -1.0]]), torch.tensor([[2]]))
    >>> q.rsample((3,)).shape, q.log_prob(torch.tensor([[[1.0, -1.0]], [[1.0, 1.0]]])).flatten().tolist()
    (torch.Size([3, 1, 2]), [0.0, -inf])
    """

    arg_constraints = {}
    has_rsample = True
    deterministic = True
    """Whether all draws are the same."""

    def __init__(
        self,
        value: Tensor,
        indices: Tensor,
        penalties: Mapping[str, Tensor] = _NOTHING,
        figures: Mapping[str, Tensor] = _NOTHING,
    ) -> None:
        self.value, self.indices, self.penalties, self.figures = value, indices, penalties, figures
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    @property
    def tokens(self) -> int:
        """T."""
        return self.indices.shape[-1]

    def expand(self, batch_shape: _Shape, _instance: None = None) -> Quantised:
        value, indices = (each.expand(*batch_shape, -1) for each in (self.value, self.indices))
        wide = {name: each.expand(batch_shape) if each.dim() else each for name, each in self.penalties.items()}
        return Quantised(value, indices, wide, self.figures)

    @property
    def mean(self) -> Tensor:
        return self.value

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        return self.value.expand(self._extended_shape(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros_like(value[..., 0]).masked_fill((value != self.value).any(-1), -math.inf)


class _Tokens(Distribution):
    """A distribution of z (…, D) on what the tokens of a `book` stand for, by that of the tokens, in their order."""

    arg_constraints = {}

    def __init__(self, book: Book, batch_shape: _Shape) -> None:
        self.book = book
        super().__init__(torch.Size(batch_shape), torch.Size((book.size,)), validate_args=False)

    def log_probs(self, indices: Tensor) -> Tensor:
        """log p of each of tokens (…, T), given those before it: (…, T) nats."""
        raise NotImplementedError

    def drawn(self, shape: _Shape, likeliest: bool = False) -> Tensor:
        """Tokens (*shape, *batch, T): drawn one after another, or the likeliest each."""
        raise NotImplementedError

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            return self.book.vectors(self.drawn(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_probs(self.book.indices(value)).sum(-1)

    @property
    def center(self) -> Tensor:
        """What stands for it where one point is to: of each token the likeliest, given those before it."""
        return self.book.vectors(self.drawn(torch.Size(()), likeliest=True))


class IndependentTokens(_Tokens):
    """Tokens that are independent, of probabilities proportional to the exponentials of logits (…, T, K).

    `log_prob` looks up the tokens of z, and is meant for points that are in the book alone.
    """

    def __init__(self, book: Book, logits: Tensor) -> None:
        self.logits = logits.log_softmax(-1)
        super().__init__(book, logits.shape[:-2])

    def expand(self, batch_shape: _Shape, _instance: None = None) -> IndependentTokens:
        return IndependentTokens(self.book, self.logits.expand(*batch_shape, *self.book.tokens))

    def log_probs(self, indices: Tensor) -> Tensor:
        # By numbers of a flat table: a `gather` with gradient would make one of all K for every token of a batch.
        *places, classes = self.logits.shape
        starts = torch.arange(math.prod(places), device=indices.device).view(places) * classes
        at = starts + indices
        return self.logits.flatten().index_select(0, at.flatten()).view(at.shape)

    def drawn(self, shape: _Shape, likeliest: bool = False) -> Tensor:
        if likeliest:
            return self.logits.argmax(-1).expand(*shape, *self.logits.shape[:-1])
        return Categorical(logits=self.logits, validate_args=False).sample(torch.Size(shape))


class JointTokens(_Tokens):
    """Tokens that depend on each other, as functions say: of a network.

    score    tokens (N, T) and the context (N, C), or None, to terms (N, T) whose sum is log p, or a bound of it, nats
    draw     how many (N,), the context of each (N, C) or None, and whether of each the likeliest: to tokens (N, T)
    context  what all of it is given, (*batch, C); None where nothing is
    """

    def __init__(
        self,
        book: Book,
        score: Callable[[Tensor, Tensor | None], Tensor],
        draw: Callable[[int, Tensor | None, bool], Tensor],
        context: Tensor | None = None,
    ) -> None:
        self.score, self.draw, self.context = score, draw, context
        super().__init__(book, () if context is None else context.shape[:-1])

    def expand(self, batch_shape: _Shape, _instance: None = None) -> JointTokens:
        context = None if self.context is None else self.context.expand(*batch_shape, -1)
        wide = JointTokens(self.book, self.score, self.draw, context)
        Distribution.__init__(wide, torch.Size(batch_shape), self.event_shape, validate_args=False)
        return wide

    def log_probs(self, indices: Tensor) -> Tensor:
        lead = broadcast_shapes(indices.shape[:-1], self.batch_shape)
        indices = indices.expand(*lead, -1)
        return self.score(indices.reshape(-1, indices.shape[-1]), rows_of(self.context, lead)).view(indices.shape)

    def drawn(self, shape: _Shape, likeliest: bool = False) -> Tensor:
        lead = (*shape, *self.batch_shape)
        return self.draw(math.prod(lead), rows_of(self.context, lead), likeliest).view(*lead, -1)


def straight_through(value: Tensor, source: Tensor) -> Tensor:
    """`value` to the last bit, with the gradient of `source`."""
    # The usual source + (value - source), of which the second has no gradient, is rounded to other numbers.
    return value.detach() + (source - source.detach())
