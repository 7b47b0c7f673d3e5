"""The words of topics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .style import LIGHT, WIDTH, Theme, new_axes, new_figure, short

ACROSS = 4
"""Topics side by side."""


def topic_words(topics: Sequence[tuple[str, Sequence[str], Sequence[float]]], *, theme: Theme = LIGHT) -> Figure:
    """Topics, each its title, words and probabilities, the likeliest word at the top; bars are as long as each topic's
    likeliest word's allows. Raises `ValueError` where there is none.

    >>> len(topic_words([("topic 0", ["cat", "dog"], [0.2, 0.1])]).axes)
    1
    """
    if not topics:
        raise ValueError("there is no topic to draw")
    across = min(ACROSS, len(topics))
    down = math.ceil(len(topics) / across)
    most = max(len(words) for _, words, _ in topics)
    figure = new_figure(WIDTH, down * (0.5 + 0.17 * most), theme)
    for i, (title, words, probabilities) in enumerate(topics, start=1):
        axes = new_axes(figure, (down, across, i), theme, title)
        axes.grid(visible=False)
        place = np.arange(len(words))
        axes.barh(place, probabilities, color=theme.colours[0], alpha=0.35, height=0.86)
        axes.invert_yaxis()
        axes.set_yticks([])
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        for at, word in enumerate(words):
            axes.text(
                0.02, at, short(word), transform=axes.get_yaxis_transform(), va="center", size=8, color=theme.text,
                parse_math=False,
            )  # fmt: skip
    return figure
