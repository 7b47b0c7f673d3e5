"""The report of `quality.py`: its tables, and the picture beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import heading
from quality_points import MOMENTS, Point
from quality_settings import SETTINGS

from vaekit.show.plots.style import LIGHT, WIDTH, new_axes, new_figure, save

LEVELS = (100.0, 95.0, 92.0, 90.0, 89.0, 88.0, 87.5, 87.0)
"""NLLs of which it is said when they were reached."""


def reached(points: Sequence[Point], level: float) -> str:
    """When an NLL was reached, by a straight line between two points in the logarithm of the time."""
    for before, after in zip([None, *points], points, strict=False):
        if after.nll <= level:
            if before is None:
                return f"< {after.seconds / 60:.1f}"
            part = (before.nll - level) / (before.nll - after.nll)
            return f"{math.exp(math.log(before.seconds) * (1 - part) + math.log(after.seconds) * part) / 60:.1f}"
    return "–"


def drawn(found: dict[str, list[Point]], path: Path) -> None:
    figure = new_figure(WIDTH, 4.2, LIGHT)
    axes = new_axes(figure, (1, 1, 1), LIGHT, "NLL, nats")
    colours = iter(LIGHT.colours * 2)
    for name, points in found.items():
        style: dict[str, Any] = (
            {"color": LIGHT.muted, "ls": "--" if name.startswith("plain") else ":"}
            if not name.startswith(tuple(SETTINGS))
            else {"color": next(colours)}
        )
        axes.plot(
            [each.seconds / 60 for each in points], [each.nll for each in points], "o-", ms=3, label=name, **style
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("minutes of training")
    axes.legend(fontsize=7, frameon=False, labelcolor=LIGHT.text)
    save(figure, path, "svg")


def report(found: dict[str, list[Point]]) -> str:
    best = {name: points[-1] for name, points in found.items()}
    lines = [
        heading("Time to quality on dynamic MNIST"),
        "NLL of the first test images from importance samples, after each part of a run that was made as long as its "
        "time; ± is the standard error over images, the same in lines of as many, and one seed is one. The clock runs "
        "for training alone. Where nothing else is said the network is 784-200-200-50 and k = 1: published, after "
        "3,280 epochs in batches of 20, 86.76 (Burda et al. 2016), 86.35 (a reproduction), of all test images; of two "
        "stochastic layers and k = 50, 82.90. Few samples give an NLL that is too high.",
        "",
        "| side | images, samples | epochs | minutes | NLL at the end | "
        f"{' | '.join(f'at {part:.0%}' for part in MOMENTS[:-1])} |",
        "|---" * (5 + len(MOMENTS) - 1) + "|",
    ]
    for name, points in found.items():
        end = best[name]
        at = {round(part * end.epochs): part for part in MOMENTS}
        nlls = {at.get(each.epoch): f"{each.nll:.2f}" for each in points}
        cells = [
            name,
            f"{end.rows:,}, {end.samples:,}",
            f"{end.epoch:,} of {end.epochs:,}",
            f"{end.seconds / 60:.1f}",
            f"{end.nll:.2f} ± {end.stderr:.2f}",
        ]
        lines.append(f"| {' | '.join([*cells, *(nlls.get(part, '–') for part in MOMENTS[:-1])])} |")
    lines += ["", "Minutes until an NLL is reached, with the schedule of the whole run:", ""]
    lines += [f"| side | {' | '.join(f'{level:g}' for level in LEVELS)} |", "|---" * (1 + len(LEVELS)) + "|"]
    for name, points in found.items():
        lines.append(f"| {' | '.join([name, *(reached(points, level) for level in LEVELS)])} |")
    return "\n".join([*lines, ""])
