"""The page of a sweep: what its settings are worth over seeds, and how they were learned, side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from ...errors import number_of
from ...runs import history
from ...runs.swept import Group, Sweep, Trial, more_is_better, scores_of
from ...system.disk import write_atomic
from ...training.records import Epoch
from .. import plots
from ..pictures import Prepared
from ..worded import Table, duration, with_error
from .frame import drawn, render

PAGE = "sweep.html"
NOTHING = "—"
MOST = 8
"""Settings whose curves are drawn: the best."""
HEADS = {"nll": "NLL", "elbo": "ELBO"}


def write_sweep(found: Sweep) -> Path:
    """Write the page of a sweep into its folder, where it replaces an older one; it needs nothing but itself."""
    path = found.folder / PAGE
    ranked = found.groups[:MOST]
    histories = {each.name: mean_history(found.folder, each) for each in ranked}
    curves = {name: records for name, records in histories.items() if records}
    pictures = []
    if curves:
        best = f" The {MOST} best of {len(found.groups)} settings." if len(found.groups) > MOST else ""
        text = f"The terms of the objective after each epoch, on the data held out, means over seeds.{best}"
        pictures.append(Prepared("Training", text, partial(_curves, curves)))
    scored = [score for each in found.trials if each.outcome for score in each.outcome.scores.values()]
    page = render(
        "comparison.html.jinja",
        title=f"{number_of(len(found.groups), 'setting')}, {number_of(len(found.trials), 'run')}",
        summary=f"the best: {found.groups[0].name}" if found.groups[0].done else "",
        is_likelihood=all(each.is_likelihood for each in scored),
        tables=sweep_tables(found),
        pictures=[drawn(picture) for picture in pictures],
    )
    write_atomic(path, page)
    return path


def sweep_tables(found: Sweep) -> list[Table]:
    """The settings with their scores, the best first; and the trials that have failed, if any have."""
    scores = scores_of(found)
    keys = list(dict.fromkeys(key for each in found.groups for key, _ in each.settings))
    heads = (
        *keys,
        "Runs",
        *(f"{HEADS[name]}, {split}" for split, _, name in (by.partition(".") for by in scores)),
        "Time",
    )
    rows = [_row(each, keys, scores) for each in found.groups]
    tables = [Table("Settings", about_sweep(found), heads, rows, numbers=True)]
    if found.failed:
        text = "They are tried again when the sweep is called again."
        errors: list[tuple[str, ...]] = [(each.name, each.outcome.error) for each in found.failed if each.outcome]
        tables.append(Table("Failed", text, ("Run", "Why"), errors))
    return tables


def about_sweep(found: Sweep) -> str:
    """What the scores of a sweep are, and how its settings are ranked, in words."""
    split, _, name = found.by.partition(".")
    which = "greatest" if more_is_better(found.by) else "least"
    text = f"Ranked by {HEADS[name]} of the {split} split, the {which} first. Nats per datum, means over seeds ± their "
    return f"{text}standard errors over seeds; the NLL by {found.samples:,} importance samples."


def _row(group: Group, keys: Sequence[str], scores: Sequence[str]) -> tuple[str, ...]:
    settings, done = dict(group.settings), group.done
    numbers = [with_error(group.mean(by), group.stderr(by)) if done else NOTHING for by in scores]
    seconds = [each.outcome.seconds for each in done if each.outcome]
    time = duration(statistics.fmean(seconds)) if seconds else NOTHING
    return (*(settings.get(key, NOTHING) for key in keys), f"{len(done)} of {len(group.trials)}", *numbers, time)


def _curves(histories: dict[str, list[Epoch]], theme: plots.Theme = plots.LIGHT) -> Figure:
    return plots.compared_curves(histories, theme=theme)


def mean_history(folder: Path, group: Group) -> list[Epoch]:
    """The records of the trials of a group that are done, averaged over them where all have one."""
    every = [_by_epoch(folder, each) for each in group.done]
    if not every:
        return []
    found = []
    for key, record in every[0].items():
        own = [each[key].terms for each in every if key in each]
        if len(own) == len(every):
            names = [name for name in record.terms if all(name in terms for terms in own)]
            means = {name: statistics.fmean(terms[name] for terms in own) for name in names}
            found.append(replace(record, terms=means))
    return found


def _by_epoch(folder: Path, trial: Trial) -> dict[tuple[int, str], Epoch]:
    return {(each.epoch, each.split): each for each in history.read(folder / trial.name)}
