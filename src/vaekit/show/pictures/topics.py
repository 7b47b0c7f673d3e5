"""Pictures of topic models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.topics import top_words, topic_shares, word_probabilities
from .. import plots
from .base import Picture, Prepared, Subject

if TYPE_CHECKING:
    from ...runs.run import Run


@dataclass(frozen=True)
class Topics(Picture):
    """The likeliest words of the n topics that documents have most of, with their part of all words.

    `words` is how many of each.
    """

    n: int = 20
    words: int = 8

    def lacks(self, run: Run) -> str:
        return "" if hasattr(run.model.decoder, "words") else "topics (model.decoder=topics)"

    def __call__(self, subject: Subject) -> Prepared:
        run = subject.run
        if self.words < 1:
            raise ValueError(f"words of a picture is {self.words}; accepted: 1 or more")
        probabilities = word_probabilities(run.model)
        shares = topic_shares(run.model, subject.codes[0]).mean(0)
        names = run.schema.columns or tuple(map(str, range(probabilities.shape[1])))
        chosen = np.argsort(-shares, kind="stable")[: self.n]
        top = top_words(probabilities, self.words)
        topics = [
            (f"topic {k}, {shares[k]:.1%}", [names[i] for i in top[k]], probabilities[k][top[k]].tolist())
            for k in chosen
        ]
        text = (
            f"The {top.shape[1]} likeliest words of {len(topics)} of {len(shares)} topics, those with the largest mean "
            f"share in the {subject.split} split first. A bar is the word's probability in a document of that topic "
            "alone, on a scale of the topic's own."
        )
        return Prepared("Topics", text, partial(plots.topic_words, topics))
