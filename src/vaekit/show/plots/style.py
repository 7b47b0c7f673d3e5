"""What all pictures share: colours, sizes, and the look of axes and legends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeVar
from warnings import catch_warnings, filterwarnings

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

DPI = 200
WIDTH = 8.4
"""The width of a page, in inches."""
AnyFigure = TypeVar("AnyFigure", bound=Figure)
NAME = 20
"""Letters, at most, that are shown of a name."""


@dataclass(frozen=True)
class Theme:
    """The colours of a picture, as #rrggbb; `colours` are those of lines and classes, in their order."""

    background: str
    text: str
    muted: str
    line: str
    colours: tuple[str, ...]


# The colours of Okabe & Ito 2008, which the colour-blind can tell apart; those too pale or too dark shifted.
LIGHT = Theme(
    background="#ffffff",
    text="#1c2127",
    muted="#5b6570",
    line="#e1e5ea",
    colours=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a1f", "#4d4d4d"),
)
DARK = Theme(
    background="#14171b",
    text="#e6e9ed",
    muted="#9ba5b0",
    line="#2c323a",
    colours=("#56b4e9", "#e69f00", "#1fb88c", "#cc79a7", "#e8703a", "#3a86c8", "#f0e442", "#b8b8b8"),
)


class Drawing(Figure):
    """A figure that a notebook shows."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        save(self, file)
        return file.getvalue()


def save(figure: AnyFigure, path: Path | IO[bytes], kind: str = "png") -> AnyFigure:
    """Write `figure` to a path or file as `kind`: png, svg or pdf, whatever its ending; the same bytes each time.

    Returns the figure: a notebook shows it where this is the last line of a cell.
    """
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with catch_warnings(), rc_context({"svg.hashsalt": "vaekit"}):
        # A class name in a script that the font lacks is shown as boxes; its owner sees that.
        filterwarnings("ignore", "Glyph .* missing", UserWarning)
        if kind == "png":
            _save_png(figure, path)
        else:
            figure.savefig(path, format=kind, dpi=DPI, facecolor=figure.get_facecolor(), metadata=undated)
    if isinstance(path, Path):
        figure.set_label(path.stem)
    return figure


def _save_png(figure: Figure, path: Path | IO[bytes]) -> None:
    """The bytes of `savefig`, which draws a figure that arranges its axes twice: once to arrange them alone."""
    before = figure.dpi
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure).print_png(path)
    figure.set_dpi(before)


def add_title(figure: Figure, title: str, theme: Theme) -> None:
    """Put a title above all axes of a figure that arranges them by itself; others, of images alone, have no room."""
    if figure.get_layout_engine() is not None:
        figure.suptitle(title, x=0.01, ha="left", size=12, color=theme.text, weight="bold", parse_math=False)


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure, inches, that keeps its axes and legends apart."""
    return Drawing(figsize=(width, height), layout="constrained", facecolor=theme.background)


def new_axes(figure: Figure, place: tuple[int, int, int] | SubplotSpec, theme: Theme, title: str = "") -> Axes:
    """Axes at `place` (rows, columns, number from 1), or at one of a grid."""
    where = place if isinstance(place, tuple) else (place,)
    axes = figure.add_subplot(*where, facecolor=theme.background)
    axes.set_title(short(title), loc="left", size=10, color=theme.text, weight="bold", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.line)
    axes.tick_params(labelsize=8, color=theme.line, labelcolor=theme.muted)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(size=9, color=theme.muted, parse_math=False)
    axes.grid(axis="y", color=theme.line, lw=0.7)
    axes.set_axisbelow(True)
    return axes


def add_legend(
    owner: Figure | Axes, entries: Sequence[tuple[str, Artist]], theme: Theme, letters: int = NAME, **options: Any
) -> None:
    """A legend of (name, sample) beside the axes."""
    # Names are put in afterwards: a legend leaves out those that begin with an underscore.
    handles = [handle for _, handle in entries]
    given: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": theme.text}
    legend = owner.legend(handles, ["-"] * len(handles), **given | options)
    for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=short(name, letters), parse_math=False)


def as_map(axes: Axes, names: tuple[str, str]) -> None:
    """Axes of points in a plane, as long one way as the other; an axis without a name has no ticks."""
    for axis, side, title in zip((axes.xaxis, axes.yaxis), ("bottom", "left"), names, strict=True):
        axis.set_label_text(title)
        if not title:
            axis.set_ticks([])
            axes.spines[side].set_visible(False)
    axes.grid(visible=False)
    axes.set_aspect("equal", adjustable="datalim")


def short(name: str, letters: int = NAME) -> str:
    """`name` on one line, cut where it is longer than so many letters."""
    name = " ".join(name.split())
    return name if len(name) <= letters else name[: letters - 1] + "…"
