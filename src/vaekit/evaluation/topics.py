"""The topics that a model found in documents: their words, and how well these hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import number_of
from ..models import VAE
from ..modules import evaluating

TOP = 10
"""Words of a topic that are looked at."""
DISTINCT = 25
"""Words of each topic whose diversity is told."""
FEW = 100
"""Documents below which coherence is next to nothing: two words that one in ten has are together in one of them."""


@dataclass(frozen=True)
class Topic:
    """A topic: its `words`, the likeliest first, with their `probabilities` in a document of it alone; its NPMI
    `coherence` in the data that it is compared with, NaN without any; its mean `share` of them, likewise.
    """

    words: tuple[str, ...]
    probabilities: tuple[float, ...]
    coherence: float = float("nan")
    share: float = float("nan")


@dataclass(frozen=True)
class Topics:
    """The topics of a model, and how they are found in n data of a split: mean NPMI coherence of their `TOP` words, and
    `diversity`, the part of all topics' `DISTINCT` words that is of one alone.
    """

    split: str
    n: int
    topics: tuple[Topic, ...]
    coherence: float
    diversity: float

    @property
    def reading(self) -> str:
        """What it means, in a sentence; of few documents, how little that is."""
        if self.n < FEW:
            few = f"coherence of {number_of(self.n, 'document')} tells next to nothing"
            return f"{few}: words count as never together (-1) that so few lack by chance; give {FEW} at least"
        if self.diversity < 0.5:
            return "topics share most of their words: they have collapsed into a few, or are too many"
        return (
            "coherence is from -1 to 1, 0 for words that meet by chance; diversity is 1 where no word is in two topics"
        )


@torch.no_grad()
def word_probabilities(model: VAE) -> np.ndarray:
    """The probability of each word in a document of one topic alone, (K, V) float64.

    Of a condition it is at its mean. Raises `ValueError` for a model whose decoder is none of topics.
    """
    words = getattr(model.decoder, "words", None)
    if words is None:
        raise ValueError(f"the decoder is a {type(model.decoder).__name__}, which has no topics; accepted: topics")
    with evaluating(model):
        seen = int(getattr(model.decoder, "condition", 0))
        y = torch.zeros(seen, dtype=model.scale.dtype, device=model.scale.device) if seen else None
        return words(y).double().exp().cpu().numpy()


@torch.no_grad()
def topic_shares(model: VAE, codes: ArrayLike) -> np.ndarray:
    """The shares of topics (N, K) that codes (N, D) of documents stand for."""
    shares = getattr(model.decoder, "shares", None)
    if shares is None:
        raise ValueError(f"the decoder is a {type(model.decoder).__name__}, which has no topics; accepted: topics")
    z = torch.as_tensor(np.asarray(codes), dtype=model.scale.dtype, device=model.scale.device)
    return shares(z).double().cpu().numpy()


def top_words(probabilities: ArrayLike, n: int = TOP) -> np.ndarray:
    """The numbers of the n likeliest words of each topic, (K, n), of probabilities (K, V), the likeliest first.

    >>> top_words([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]], 2)
    array([[1, 2],
           [0, 2]])
    """
    return np.argsort(-np.asarray(probabilities), axis=1, kind="stable")[:, :n]


def coherence(top: ArrayLike, counts: Any) -> np.ndarray:
    """The NPMI coherence (K,) of topics whose top words are numbered `top` (K, T), in documents of counts (N, V), an
    array or a SciPy sparse matrix.

    It is the mean over pairs of words of log(p(a, b) / (p(a) p(b))) / -log p(a, b), p the part of all documents that
    have them: -1 where two words never meet, 0 by chance, 1 where neither is without the other (Bouma 2009; Lau et al.
    2014). A word that no document has meets none.

    >>> coherence([[0, 1], [0, 2]], np.array([[1, 1, 0], [2, 1, 0], [0, 0, 3], [0, 0, 1]])).tolist()
    [1.0, -1.0]
    """
    words = np.asarray(top)
    if words.ndim != 2 or words.shape[1] < 2:
        raise ValueError(f"top has shape {words.shape}; accepted: (K, T), two words or more of each topic")
    used, place = np.unique(words, return_inverse=True)
    place = place.reshape(words.shape)
    if hasattr(counts, "tocsc"):
        seen = (counts.tocsc()[:, used] > 0).astype(np.float64)
        both = np.asarray((seen.T @ seen).todense())
    else:
        dense = (np.asarray(counts)[:, used] > 0).astype(np.float64)
        both = dense.T @ dense
    both = both / counts.shape[0]
    alone = both.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(both / np.outer(alone, alone)) / -np.log(both)
    found[both == 0] = -1.0
    found[both >= 1] = 1.0
    one, other = np.triu_indices(words.shape[1], 1)
    return found[place[:, one], place[:, other]].mean(1)


def diversity(probabilities: ArrayLike, n: int = DISTINCT) -> float:
    """The part of the n likeliest words of each topic that are different words (Dieng et al. 2020), of (K, V): of V / K
    words at most, so that it can be 1.

    >>> diversity([[0.9, 0.1, 0.0], [0.0, 0.1, 0.9]], 1), diversity([[0.9, 0.1], [0.9, 0.1]], 1)
    (1.0, 0.5)
    """
    p = np.asarray(probabilities)
    top = top_words(p, max(1, min(n, p.shape[1] // len(p))))
    return len(np.unique(top)) / top.size


def topics_in(
    model: VAE, vocabulary: Sequence[str], counts: Any, codes: ArrayLike | None = None, split: str = "", n: int = TOP
) -> Topics:
    """`Topics` of a model, their n top words by name, beside documents of counts (N, V) with codes (N, D), if known."""
    probabilities = word_probabilities(model)
    top = top_words(probabilities, n)
    npmi = coherence(top, counts)
    shares = np.full(len(top), np.nan) if codes is None else topic_shares(model, codes).mean(0)
    topics = tuple(
        Topic(tuple(vocabulary[i] for i in own), tuple(p[own].tolist()), float(each), float(share))
        for own, p, each, share in zip(top, probabilities, npmi, shares, strict=True)
    )
    return Topics(split, counts.shape[0], topics, float(npmi.mean()), diversity(probabilities))


def rows_of(found: Topics) -> list[tuple[str, str, str]]:
    """The means, and each topic with its words, the one with the largest share first."""
    rows = [
        ("coherence (NPMI)", f"{found.coherence:.3f}", f"of {len(found.topics)} topics; higher is better"),
        ("diversity", f"{found.diversity:.3f}", f"of the {DISTINCT} likeliest words of each, or V / K"),
    ]
    for i in sorted(range(len(found.topics)), key=lambda i: -np.nan_to_num(found.topics[i].share)):
        each = found.topics[i]
        rows.append((f"topic {i}, {each.share:.1%}", f"{each.coherence:.3f}", " ".join(each.words)))
    return rows
