"""The course of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .style import LIGHT, WIDTH, Theme, add_legend, new_axes, new_figure

if TYPE_CHECKING:
    from ..training import Epoch

TITLES = {"elbo": "ELBO", "loss": "Loss", "reconstruction": "Reconstruction", "kl": "KL", "iwae": "IWAE bound"}
COEFFICIENTS = ("beta",)
START = 0.1
"""The part of a training, from its start, whose values may leave the range shown."""
_Lines = dict[str, tuple[np.ndarray, np.ndarray]]  # split to epochs and values


def curves(records: Sequence[Epoch], *, theme: Theme = LIGHT) -> Figure:
    """Every term of the objective against epochs: a panel for each term, a line for each split; nats per datum.

    Left out are a loss that is only the negative of another term, and coefficients that never change. Where the first
    tenth of the epochs would more than double the range, it is cut off. Raises `ValueError` where nothing is left.

    >>> from vaekit.training import Epoch
    >>> epoch = Epoch(1, step=10, split="train", terms={"loss": 5.0, "elbo": -5.0, "kl": 2.0}, seconds=0.1, rows=640)
    >>> len(curves([epoch]).axes)
    2
    """
    terms = _terms(records)
    if not terms:
        raise ValueError("there is no epoch with a finite term to draw")
    wide = min(3, len(terms))
    high = math.ceil(len(terms) / wide)
    figure = new_figure(WIDTH, 0.4 + 2.2 * high, theme)
    colours = dict(zip(dict.fromkeys(record.split for record in records), theme.colours, strict=False))
    for i, (name, lines) in enumerate(terms.items()):
        axes = new_axes(figure, (high, wide, i + 1), theme, TITLES.get(name, name))
        for split, (epochs, values) in lines.items():
            # A line through a few points is short or, through one, invisible.
            axes.plot(epochs, values, color=colours[split], lw=1.6, marker="o" if len(epochs) < 6 else None, ms=4)
        late = np.concatenate([values[epochs > START * epochs.max()] for epochs, values in lines.values()])
        if 0 < 2 * np.ptp(late) < np.ptp(np.concatenate([values for _, values in lines.values()])):
            margin = 0.06 * np.ptp(late)
            axes.set_ylim(late.min() - margin, late.max() + margin)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if i % wide == 0 and name not in COEFFICIENTS:
            axes.set_ylabel("nats per datum")
        if i + wide >= len(terms):
            axes.set_xlabel("epoch")
    entries = [(split, Line2D([], [], color=colour, lw=1.6)) for split, colour in colours.items()]
    add_legend(figure, entries, theme, loc="outside upper left", ncols=len(entries))
    return figure


def _terms(records: Sequence[Epoch]) -> dict[str, _Lines]:
    """The finite values of each term that is worth drawing."""
    redundant = any(all(_opposite(record.terms, bound) for record in records) for bound in ("elbo", "iwae"))
    found: dict[str, _Lines] = {}
    for name in dict.fromkeys(name for record in records for name in record.terms):
        for split in dict.fromkeys(record.split for record in records):
            own = [(r.epoch, r.terms[name]) for r in records if r.split == split and name in r.terms]
            own = [(epoch, value) for epoch, value in own if math.isfinite(value)]
            constant = name not in TITLES and len({value for _, value in own}) == 1 < len(own)
            if own and not constant and not (name == "loss" and redundant):
                epochs, values = np.array(own).T
                found.setdefault(name, {})[split] = epochs, values
    return found


def _opposite(terms: Mapping[str, float], bound: str) -> bool:
    return math.isclose(terms.get(bound, math.nan), -terms.get("loss", math.nan), rel_tol=1e-5)  # sums in another order
