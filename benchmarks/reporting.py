"""The report of the speed benchmark: tables, and pictures beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from measuring import APART, Panel, Round, Section, Target, apart, compared, values

from vaekit.show.plots.style import LIGHT, WIDTH, new_axes, new_figure, save


def spread(found: Sequence[float], digits: int) -> str:
    """The median, and where they differ the least and the greatest."""
    if not found:
        return "–"
    middle, *ends = (f"{value:,.{digits}f}" for value in (statistics.median(found), min(found), max(found)))
    return f"{middle} ({ends[0]}–{ends[1]})" if ends[0] != ends[1] else middle


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)] + [""]


def sides_table(section: Section, rounds: Sequence[Round]) -> list[str]:
    """A line for each side; in place of what it did not tell, why."""
    rows = []
    for side in section.sides:
        outcomes = [each[side.name] for each in rounds if side.name in each]
        failures = list(dict.fromkeys(outcome.failure for outcome in outcomes if outcome.failure))
        told = any(outcome.told for outcome in outcomes)
        cells = [spread(values(rounds, side.name, each.name), each.digits) for each in section.shown]
        why = "; ".join(failures) or ("" if outcomes else "not measured")
        rows.append([f"{side.name} ({why})" if told and why else side.name, *(cells if told else [why, *cells[1:]])])
    return table(["side", *(each.title for each in section.shown)], rows)


def verdict(target: Target, rounds: Sequence[Round]) -> str:
    """Whether the median holds; never where the two sides don't do the same."""
    found, difference = compared(target, rounds), apart(target, rounds)
    if not found:
        return "not measured"
    middle = statistics.median(found)
    holds = middle >= target.bound if target.at_least else middle <= target.bound
    if difference is not None and difference > APART:
        return f"no: not the same, {target.same} {difference:.1%} apart"
    return ("yes" if holds else "**no**") + (
        f"; {target.same} {difference:.1%} apart" if difference is not None else ""
    )


def targets_table(section: Section, rounds: Sequence[Round]) -> list[str]:
    if not section.targets:
        return []
    rows = [
        [
            target.what,
            spread(compared(target, rounds), 2),
            f"{'≥' if target.at_least else '≤'} {target.bound:g}",
            verdict(target, rounds),
        ]
        for target in section.targets
    ]
    return table(["compared round by round", "measured", "target", "holds"], rows)


def line_of(panel: Panel, rounds: Sequence[Round]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The numbers, the medians there, and the slope and the beginning of the line through them."""
    found = {n: values(rounds, side, panel.quantity) for n, side in panel.points.items()}
    x = np.array([n for n, each in found.items() if each], float)
    y = np.array([statistics.median(each) for each in found.values() if each])
    return (x, y, np.polyfit(x, y, 1)) if len(x) > 1 else None


def lines_table(section: Section, rounds: Sequence[Round]) -> list[str]:
    rows = []
    for panel in section.panels:
        line = line_of(panel, rounds)
        if line is None:
            continue
        x, y, fit = line
        off = np.abs(np.polyval(fit, x) - y).max() / y.max()
        rows.append([panel.title, panel.x, f"{1000 * fit[0]:.4g}", f"{fit[1]:.4g}", f"{off:.1%}"])
    titles = ["line", "against", "per thousand", "at none", "furthest point off it, of the greatest"]
    return table(titles, rows) if rows else []


def bars(section: Section, rounds: Sequence[Round]) -> Figure:
    """The first quantity of each side, and its range over rounds."""
    quantity = section.shown[0]
    found = {side.name: values(rounds, side.name, quantity.name) for side in section.sides}
    found = {name: each for name, each in found.items() if each}
    figure = new_figure(WIDTH, 0.6 + 0.32 * len(found), LIGHT)
    axes = new_axes(figure, (1, 1, 1), LIGHT, quantity.title)
    axes.grid(visible=False)
    middles = [statistics.median(each) for each in found.values()]
    errors = [[m - min(each), max(each) - m] for m, each in zip(middles, found.values(), strict=True)]
    colours = [LIGHT.colours[0] if name.startswith("vaekit") else LIGHT.muted for name in found]
    axes.barh(list(found), middles, xerr=np.transpose(errors), color=colours, ecolor=LIGHT.text, height=0.6)
    for i, (middle, each) in enumerate(zip(middles, found.values(), strict=True)):
        label = f" {middle:.{quantity.digits}f}"
        axes.text(max(each), i, label, va="center", size=8, color=LIGHT.text)
    axes.invert_yaxis()
    return figure


def panels(section: Section, rounds: Sequence[Round]) -> Figure:
    """Each quantity against its number, with its line; whiskers are the range over rounds."""
    columns = 3
    lines = -(-len(section.panels) // columns)
    figure = new_figure(WIDTH, 2.4 * lines, LIGHT)
    for i, panel in enumerate(section.panels):
        axes = new_axes(figure, (lines, columns, i + 1), LIGHT)
        axes.set_title(panel.title, loc="left", size=9, color=LIGHT.text, weight="bold")
        axes.set_xlabel(panel.x)
        line = line_of(panel, rounds)
        if line is None:
            continue
        x, y, fit = line
        ends = [values(rounds, side, panel.quantity) for side in panel.points.values()]
        errors = [[m - min(each), max(each) - m] for m, each in zip(y, filter(None, ends), strict=True)]
        axes.plot([0, x.max()], np.polyval(fit, [0, x.max()]), color=LIGHT.muted, lw=1)
        axes.errorbar(x, y, np.transpose(errors), fmt="o", ms=4, color=LIGHT.colours[0])
        axes.set_ylim(0, 1.1 * max(max(each) for each in ends if each))
        axes.set_xlim(left=0)
        axes.locator_params(nbins=4, axis="x")
    return figure


def section_text(name: str, section: Section, rounds: Sequence[Round], made: str, report: Path | None) -> str:
    """A section of the report, `made` how; its picture is written beside `report`, if there is one."""
    lines = [f"## {section.title}", "", section.about, "", f"Medians of {len(rounds)} rounds (range). {made}", ""]
    lines += targets_table(section, rounds) + sides_table(section, rounds) + lines_table(section, rounds)
    if report and (section.drawn or section.panels):
        path = report.with_name(f"{report.stem}-{name}.svg")
        save((bars if section.drawn else panels)(section, rounds), path, "svg")
        lines += [f"![{section.title}]({path.name})", ""]
    return "\n".join(lines)


def summary(found: Sequence[tuple[Section, Sequence[Round]]]) -> list[str]:
    """How many targets hold, and those that don't."""
    verdicts = [(target, verdict(target, rounds), rounds) for section, rounds in found for target in section.targets]
    held = sum(text.startswith("yes") for _, text, _ in verdicts)
    lines = [f"**{held} of {len(verdicts)} targets hold.**", ""]
    missed = [
        f"- {target.what}: {spread(compared(target, rounds), 2)}, target {'≥' if target.at_least else '≤'} "
        f"{target.bound:g}: {text}"
        for target, text, rounds in verdicts
        if not text.startswith("yes")
    ]
    return [*lines, *(["Not:", "", *missed, ""] if missed else [])]
