"""The columns of a table, a panel for each: categories by their names, numbers and dates on axes of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from .scales import LINEAR, Scale, label_both
from .style import LIGHT, WIDTH, Theme, add_legend, new_axes, new_figure, short

ACROSS = 3
LETTERS = 14
"""Of a category's name beside its bar."""
POINTS = 1000
ALPHA = 0.45


@dataclass(frozen=True)
class Marginal:
    """How often each category, or each bin of a column's numbers, is seen in data and, if given, in samples.

    Shares (K,) are of the cells that are observed. A category has its name; a bin lies between two of `ends` (K + 1,),
    places on `scale`. `zero` are the shares of 0 itself, data's and samples', where they would hide all else.
    """

    name: str
    data: np.ndarray
    samples: np.ndarray | None = None
    names: tuple[str, ...] = ()
    ends: np.ndarray = field(default_factory=lambda: np.zeros(0))
    scale: Scale = LINEAR
    missing: float = 0.0
    zero: tuple[float, float] | None = None
    counts: tuple[int, int] = (0, 0)
    """The cells that the shares are of, data's and samples'."""

    @property
    def distance(self) -> float:
        """The total variation distance of samples from data: the share of cells that lie elsewhere, 0 to 1; 0 without
        samples.
        """
        pairs = self._pairs
        return float(np.abs(pairs[0] - pairs[1]).sum()) / 2

    @property
    def chance(self) -> float:
        """The distance that chance alone is expected to give, of samples from what the data are of."""
        first, second = self._pairs
        n, m = (max(each, 1) for each in self.counts)
        both = (n * first + m * second) / (n + m)
        return float(np.sqrt(both * (1 - both) * (1 / n + 1 / m) * 2 / math.pi).sum()) / 2

    @property
    def _pairs(self) -> np.ndarray:
        """The shares (2, K + 2) of data and samples, with those of 0 and of what lies beyond the bins."""
        samples, zero = self.data if self.samples is None else self.samples, self.zero or (0.0, 0.0)
        every = zip((self.data, samples), zero, strict=True)
        return np.array([[*own, at, max(1.0 - own.sum() - at, 0.0)] for own, at in every])


@dataclass(frozen=True)
class Agreement:
    """The cells of a column (N,) and what became of them: numbers, or categories 0..K-1 of these `names`.

    `error` is what is said of it beside the name.
    """

    name: str
    originals: np.ndarray
    made: np.ndarray
    error: str = ""
    names: tuple[str, ...] = ()
    scale: Scale = LINEAR


def column_marginals(parts: Sequence[Marginal], *, theme: Theme = LIGHT) -> Figure:
    """A panel for each of `parts`: data as filled bars, samples as lines; above it how much is missing.

    >>> len(column_marginals([Marginal("size", np.array([0.25, 0.75]), names=("large", "small"))]).axes)
    1
    """
    figure = _figure(len(parts), 1.8, theme)
    said = [_said(part) for part in parts]
    for axes, part, text in zip(_panels(figure, len(parts), theme), parts, said, strict=True):
        _title(axes, part.name, text, any(said), theme)
        if part.missing:
            _strip(axes, part.missing, theme)
        (_bars if part.names else _steps)(axes, part, theme)
    kinds = [("data", Line2D([], [], color=theme.colours[0], lw=6, alpha=ALPHA))]
    if any(part.samples is not None for part in parts):
        kinds.append(("samples", Line2D([], [], color=theme.colours[1], lw=1.5)))
    add_legend(figure, kinds, theme, loc="outside upper right", ncols=2)
    return figure


def column_agreements(parts: Sequence[Agreement], *, theme: Theme = LIGHT) -> Figure:
    """A panel for each of `parts`: of numbers reconstruction against original, of categories how often each becomes
    which, a row for each.

    >>> x = np.array([0, 1, 1])
    >>> figure = column_agreements([Agreement("size", x, x, "0 % wrong", ("large", "small"))])
    >>> figure.axes[0].images[0].get_array().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    figure = _figure(len(parts), 2.1, theme)
    for axes, part in zip(_panels(figure, len(parts), theme), parts, strict=True):
        _title(axes, part.name, part.error, True, theme)
        axes.grid(visible=False)
        if part.names:
            _confusion(axes, part, theme)
        elif len(part.originals):
            _scatter(axes, part, theme)
    figure.supxlabel("reconstruction →", size=9, color=theme.muted, x=0.99, ha="right")
    figure.supylabel("original", size=9, color=theme.muted)
    return figure


def _figure(count: int, height: float, theme: Theme) -> Figure:
    if not count:
        raise ValueError("there is no column to draw")
    return new_figure(WIDTH, 0.45 + height * math.ceil(count / ACROSS), theme)


def _panels(figure: Figure, count: int, theme: Theme) -> list[Axes]:
    rows, across = math.ceil(count / ACROSS), min(ACROSS, count)
    return [new_axes(figure, (rows, across, i + 1), theme) for i in range(count)]


def _said(part: Marginal) -> str:
    said = [f"missing {percent(part.missing)}"] if part.missing else []
    if part.zero:
        said.append("0 in " + " / ".join(map(percent, part.zero[: 1 if part.samples is None else 2])))
    return " · ".join(said)


def _title(axes: Axes, name: str, said: str, room: bool, theme: Theme) -> None:
    """A column's name, and beneath it, where there is `room`, in small print what is `said` of it."""
    axes.set_title(
        short(name), loc="left", size=10, color=theme.text, weight="bold", parse_math=False, pad=16 if room else 6
    )
    axes.annotate(said, (0, 1), (0, 5), "axes fraction", "offset points", size=8, color=theme.muted, parse_math=False)


def _strip(axes: Axes, share: float, theme: Theme) -> None:
    """A bar along the top of a panel, as much of its width as is missing of the column."""
    for width, colour in ((1.0, theme.line), (share, theme.muted)):
        bar = Rectangle((0, 1), width, 0.03, transform=axes.transAxes, color=colour, lw=0, clip_on=False)
        axes.add_artist(bar)


def _bars(axes: Axes, part: Marginal, theme: Theme) -> None:
    at = np.arange(len(part.names))
    axes.barh(at, part.data, height=0.75, color=theme.colours[0], alpha=ALPHA, lw=0)
    if part.samples is not None:
        axes.vlines(part.samples, at - 0.42, at + 0.42, color=theme.colours[1], lw=1.8)
    _names(axes, part.names)
    axes.set_ylim(len(at) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: percent(x)))
    axes.locator_params(axis="x", nbins=3)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=theme.line, lw=0.7)


def _steps(axes: Axes, part: Marginal, theme: Theme) -> None:
    axes.set_yticks([])
    if not len(part.data):
        axes.set_xticks([])
        return
    axes.stairs(part.data, part.ends, color=theme.colours[0], fill=True, alpha=ALPHA)
    if part.samples is not None:
        axes.stairs(part.samples, part.ends, color=theme.colours[1], lw=1.5)
    axes.set_xlim(part.ends[0], part.ends[-1])
    axes.set_ylim(bottom=0)
    part.scale.label(axes.xaxis)


def _scatter(axes: Axes, part: Agreement, theme: Theme) -> None:
    x, made = (part.scale.place(each[:POINTS]) for each in (part.made, part.originals))
    both = np.concatenate([x, made])
    low, high = np.nanmin(both), np.nanmax(both)
    edge = 0.04 * (high - low) or 0.5
    axes.set(xlim=(low - edge, high + edge), ylim=(low - edge, high + edge))
    axes.plot([low, high], [low, high], color=theme.muted, lw=1)
    axes.scatter(x, made, s=6, color=theme.colours[0], alpha=0.4, lw=0)
    label_both(axes, part.scale)


def _confusion(axes: Axes, part: Agreement, theme: Theme) -> None:
    k = len(part.names)
    counts = np.bincount(part.originals.astype(int) * k + part.made.astype(int), minlength=k * k).reshape(k, k)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    colours = LinearSegmentedColormap.from_list("shares", [theme.background, theme.colours[0]])
    axes.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    _names(axes, part.names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    if k <= 10:
        for (i, j), share in np.ndenumerate(shares):
            if share >= 0.1:
                colour = theme.background if share > 0.6 else theme.text
                axes.text(j, i, f"{100 * share:.0f}", ha="center", va="center", size=6, color=colour, in_layout=False)


def _names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [short(name, LETTERS) for name in names], size=7, parse_math=False)


def percent(share: float) -> str:
    """A share in per cent, with as many digits as it takes to see that it is not 0."""
    return f"{100 * share:.2g} %" if 0 < share < 0.995 else f"{100 * share:.0f} %"
