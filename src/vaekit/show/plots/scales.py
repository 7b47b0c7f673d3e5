"""How the numbers of a table's column lie along an axis, and what its ticks say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator

TICKS = 4
SUFFIXES = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
"""From which number on, of what, and what is written for it."""
ENDS = {"date": (-719_000.0, 2_932_000.0), "time": (0.0, 24.0)}
"""Days since 1970 within which a calendar has dates, and the hours of a day."""


@dataclass(frozen=True)
class Scale:
    """How numbers become places on an axis: as they are, as logarithms, as asinh of (x - location) / scale, as dates
    that are `scale` days a unit since 1970, or as times of day that are `scale` hours a unit since midnight.

    >>> Scale("asinh", 0.0, 0.5).place(np.array([0.0, 10.0])).round(2).tolist()
    [0.0, 3.69]
    """

    kind: Literal["linear", "log", "asinh", "date", "time"] = "linear"
    location: float = 0.0
    scale: float = 1.0

    def place(self, x: np.ndarray) -> np.ndarray:
        """The places of numbers, NaN where one has none."""
        if self.kind == "log":
            return np.log(np.where(x > 0, x, np.nan))
        if self.kind == "asinh":
            return np.arcsinh((x - self.location) / self.scale)
        if self.kind in ENDS:
            return np.clip(x * self.scale, *ENDS[self.kind])
        return np.asarray(x, np.float64)

    def number(self, place: np.ndarray) -> np.ndarray:
        """The numbers at places."""
        if self.kind == "log":
            return np.exp(place)
        if self.kind == "asinh":
            return np.sinh(place) * self.scale + self.location
        return np.asarray(place / self.scale if self.kind in ENDS else place)

    def label(self, axis: Axis) -> None:
        """Put ticks on `axis`, whose limits are set: round numbers, or dates."""
        if self.kind == "date":
            dates = AutoDateLocator(minticks=2, maxticks=TICKS + 1)
            axis.set_major_locator(dates)
            axis.set_major_formatter(ConciseDateFormatter(dates))
            axis.get_offset_text().set_fontsize(7)
        elif self.kind == "time":
            axis.set_major_locator(MaxNLocator(TICKS, steps=[1, 2, 3, 6, 10]))
            axis.set_major_formatter(FuncFormatter(lambda x, _: clock(x)))
        elif self.kind == "linear":
            axis.set_major_locator(MaxNLocator(TICKS))
            axis.set_major_formatter(FuncFormatter(lambda x, _: said(x)))
        else:
            low, high = axis.get_view_interval()
            round_ones = [float(f"{x:.0e}") for x in self.number(np.linspace(low, high, TICKS + 2)[1:-1])]
            if low <= float(self.place(np.zeros(1))[0]) <= high:
                round_ones.append(0.0)
            ticks = _apart(np.unique(round_ones), self, (high - low) / (TICKS + 2))
            axis.set_ticks(self.place(ticks).tolist(), [said(x) for x in ticks])


LINEAR = Scale()


def label_both(axes: Axes, scale: Scale) -> None:
    """Put the same ticks on both axes."""
    scale.label(axes.xaxis)
    scale.label(axes.yaxis)


def clock(hours: float) -> str:
    """A time of day.

    >>> clock(8.5), clock(24.0)
    ('08:30', '24:00')
    """
    minutes = round(60 * hours)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def said(x: float) -> str:
    """A number in a few letters.

    >>> [said(x) for x in (0.0, -0.25, 1500.0, 20000.0, 1.25e7, 3e-7)]
    ['0', '−0.25', '1500', '20k', '12.5M', '3e−07']
    """
    _, size, suffix = next((each for each in SUFFIXES if abs(x) >= each[0]), (0.0, 1.0, ""))
    return f"{x / size:.4g}{suffix}".replace("-", "−")


def _apart(x: np.ndarray, scale: Scale, least: float) -> np.ndarray:
    """Those of rising numbers whose places are not too near to each other; 0 before any other."""
    order = sorted(x.tolist(), key=lambda each: (each != 0, each))
    kept: list[float] = []
    for each in order:
        place = scale.place(np.array([each, *kept]))
        if np.isfinite(place[0]) and (not kept or np.abs(place[1:] - place[0]).min() > least):
            kept.append(each)
    return np.array(sorted(kept))
