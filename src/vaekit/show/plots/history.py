"""The course of a training, of one run or of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .style import LIGHT, WIDTH, Theme, add_legend, new_axes, new_figure

if TYPE_CHECKING:
    from ...training.records import Epoch

TITLES = {"elbo": "ELBO", "loss": "Loss", "reconstruction": "Reconstruction", "kl": "KL", "iwae": "IWAE bound"}
TITLES |= {"mean_elbo": "ELBO at mean of q", "mean_reconstruction": "Rec. at mean of q"}
TITLES |= {
    "information": "Cluster information",
    "nmi": "Mutual information",
    "ari": "Rand index",
    "accuracy": "Accuracy",
    "error": "Classification error",
}
UNITLESS = ("beta", "invariance", "nmi", "ari", "accuracy", "error")
START = 0.1
"""The part of a training, from its start, whose values may leave the range shown."""
DASHES = ("-", "--", ":")
"""Line styles, one for each round of the colours."""
FEW = 6
"""Points below which a line is short or, of one point, invisible, and so gets markers."""


@dataclass(frozen=True)
class _Line:
    """The values of one term over the epochs, and how they are drawn."""

    epochs: np.ndarray
    values: np.ndarray
    colour: str
    style: str = "-"
    width: float = 1.6

    def sample(self) -> Line2D:
        return Line2D([], [], color=self.colour, ls=self.style, lw=self.width)


def curves(records: Sequence[Epoch], *, theme: Theme = LIGHT) -> Figure:
    """Every term of the objective against epochs: a panel for each term, a line for each split; nats per datum.

    Left out are a loss that is only the negative of another term, and coefficients that never change. Where the first
    tenth of the epochs would more than double the range, it is cut off. Raises `ValueError` where nothing is left.

    >>> from vaekit.training.records import Epoch
    >>> epoch = Epoch(1, step=10, split="train", terms={"loss": 5.0, "elbo": -5.0, "kl": 2.0}, seconds=0.1, rows=640)
    >>> len(curves([epoch]).axes)
    2
    """
    colours = dict(zip(dict.fromkeys(record.split for record in records), theme.colours, strict=False))
    terms: dict[str, dict[str, _Line]] = {}
    for (name, split), (epochs, values) in _terms(records).items():
        terms.setdefault(name, {})[split] = _Line(epochs, values, colours[split])
    return _panels(terms, theme)


def compared_curves(histories: Mapping[str, Sequence[Epoch]], *, theme: Theme = LIGHT) -> Figure:
    """The terms of several runs against epochs: a panel for each term, a colour for each run, called as in `histories`.

    A run is shown by the data that it held out, or where there are none, that it was trained on. Else as `curves`.

    >>> from vaekit.training.records import Epoch
    >>> epochs = [Epoch(i, step=i, split="train", terms={"loss": 1 / i}, seconds=0.1, rows=9) for i in (1, 2)]
    >>> len(compared_curves({"one": epochs, "two": epochs[:1]}).axes[0].lines)
    2
    """
    terms: dict[str, dict[str, _Line]] = {}
    for i, (run, records) in enumerate(histories.items()):
        shown = records[-1].split if records else ""
        colour, style = theme.colours[i % len(theme.colours)], DASHES[i // len(theme.colours) % len(DASHES)]
        for (name, split), (epochs, values) in _terms(records).items():
            if split == shown:
                terms.setdefault(name, {})[run] = _Line(epochs, values, colour, style)
    return _panels(terms, theme)


def _panels(terms: Mapping[str, Mapping[str, _Line]], theme: Theme) -> Figure:
    """A panel for each term, with its lines by name."""
    if not terms:
        raise ValueError("there is no epoch with a finite term to draw")
    wide = min(3, len(terms))
    high = math.ceil(len(terms) / wide)
    figure = new_figure(WIDTH, 0.4 + 2.2 * high, theme)
    for i, (name, lines) in enumerate(terms.items()):
        axes = new_axes(figure, (high, wide, i + 1), theme, _title(name))
        for line in lines.values():
            marker = "o" if len(line.epochs) < FEW else None
            axes.plot(line.epochs, line.values, color=line.colour, ls=line.style, lw=line.width, marker=marker, ms=4)
        late = np.concatenate([line.values[line.epochs > START * line.epochs.max()] for line in lines.values()])
        if 0 < 2 * np.ptp(late) < np.ptp(np.concatenate([line.values for line in lines.values()])):
            margin = 0.06 * np.ptp(late)
            axes.set_ylim(late.min() - margin, late.max() + margin)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if i % wide == 0 and name not in UNITLESS:
            axes.set_ylabel("nats per datum")
        if i + wide >= len(terms):
            axes.set_xlabel("epoch")
    entries = {name: line.sample() for lines in terms.values() for name, line in lines.items()}
    add_legend(figure, list(entries.items()), theme, loc="outside upper right", ncols=min(len(entries), 4))
    return figure


def _terms(records: Sequence[Epoch]) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """The epochs and finite values of each term that is worth drawing, by term and split."""
    redundant = any(all(_opposite(record.terms, bound) for record in records) for bound in ("elbo", "iwae"))
    found: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    for name in dict.fromkeys(name for record in records for name in record.terms):
        for split in dict.fromkeys(record.split for record in records):
            own = [(r.epoch, r.terms[name]) for r in records if r.split == split and name in r.terms]
            own = [(epoch, value) for epoch, value in own if math.isfinite(value)]
            constant = name not in TITLES and len({value for _, value in own}) == 1 < len(own)
            if own and not constant and not (name == "loss" and redundant):
                epochs, values = np.array(own).T
                found[name, split] = epochs, values
    return found


def _title(name: str) -> str:
    return TITLES.get(name) or (f"KL of {name.removeprefix('kl/')}" if name.startswith("kl/") else name)


def _opposite(terms: Mapping[str, float], bound: str) -> bool:
    return math.isclose(terms.get(bound, math.nan), -terms.get("loss", math.nan), rel_tol=1e-5)  # sums in another order
