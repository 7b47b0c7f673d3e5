"""Decoders of topic models: from the shares of topics in a document to how likely each word is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, log_softmax

from ..data.domains import Domain
from ..distributions.simplex import SIMPLEX
from .base import BatchNorm, Shape, check_dropout, required, sizes_of


class Topics(nn.Module):
    """The logits of words, of the shares theta of K topics in a document (Srivastava & Sutton 2017).

    theta is the softmax of z (…, K), or z itself where the latent is on the simplex. With `mixture` words are drawn
    from a mixture of topics, p(word) = sum_k theta_k beta_k, each beta_k a distribution over words (latent Dirichlet
    allocation; Blei et al. 2003). Without it topics are experts that are multiplied: p(word) is proportional to
    exp(theta W + b), so that a word that one topic is sure of is ruled out by no other (ProdLDA, eq. 6).

    b starts as the logarithm of how often each word is in the training rows. With `normalized` each word's theta W is
    standardised over the batch, and in a mixture the logits of beta over topics: without it topics may all become the
    same one (component collapse, section 3.2). `dropout` is the part of theta that is set to 0 in training. Of a
    condition y it adds C y to the logits.

    >>> topics = Topics((2,), (1, 3), mixture=True)
    >>> topics(torch.zeros(5, 2)).shape, topics.words().exp().sum(-1)
    (torch.Size([5, 1, 3]), tensor([1., 1.], grad_fn=<SumBackward1>))
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        condition: int = 0,
        domain: Domain | None = None,
        space: str | None = None,
        mixture: bool = False,
        normalized: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_dropout(dropout)
        self.in_shape, self.out_shape = sizes_of("in_shape", in_shape), sizes_of("out_shape", out_shape)
        self.condition, self.mixture, self.dropout = condition, mixture, dropout
        self.on_simplex, self.normalized = space == SIMPLEX, normalized
        topics, words = math.prod(self.in_shape), math.prod(self.out_shape)
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(topics, words)))
        self.bias = nn.Parameter(_frequencies(domain, self.out_shape))
        self.shift = nn.Linear(condition, words, bias=False) if condition else None
        self.normalize = BatchNorm(words, affine=False) if normalized and not mixture else None

    @property
    def log_beta(self) -> Tensor:
        """The logarithms of what words a mixture's topics are made of, (K, V)."""
        weight: Tensor = self.weight
        if self.normalized and len(weight) > 1:
            weight = (weight - weight.mean(0)) / (weight.var(0, correction=0) + 1e-5).sqrt()
        return log_softmax(weight + self.bias, -1)

    def of_shares(self, shares: Tensor, y: Tensor | None = None) -> Tensor:
        """The logits of words (…, *out_shape) of the shares of topics (…, K)."""
        if self.mixture:
            likely = shares @ self.log_beta.exp()
            logits = likely.clamp(min=torch.finfo(likely.dtype).tiny).log()
        else:
            logits = shares @ self.weight
            logits = (logits if self.normalize is None else self.normalize(logits)) + self.bias
        if self.shift is not None:
            logits = logits + self.shift(required(y, self.condition).to(logits.dtype))
        return logits.unflatten(-1, self.out_shape)

    def shares(self, z: Tensor) -> Tensor:
        """The shares of topics (…, K) that z (…, *in_shape) stands for."""
        z = z.flatten(z.dim() - len(self.in_shape))
        return z if self.on_simplex else z.softmax(-1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        shares = self.shares(z)
        return self.of_shares(dropout(shares, self.dropout, self.training) if self.dropout else shares, y)

    def words(self, y: Tensor | None = None) -> Tensor:
        """log p of each word in a document of one topic alone, (K, V) nats; y (K, C) or (C,) where there is one."""
        logits = self.of_shares(torch.eye(len(self.weight), dtype=self.weight.dtype, device=self.weight.device), y)
        return log_softmax(logits.flatten(1), -1)


def _frequencies(domain: Domain | None, out_shape: Shape) -> Tensor:
    """The logarithm of the share that each element has of all counts, (V,); 0 where none are known."""
    if domain is None or domain.kind != "count":
        return torch.zeros(math.prod(out_shape))
    return torch.from_numpy(domain.log_frequencies(tuple(out_shape))).flatten().to(torch.get_default_dtype())
