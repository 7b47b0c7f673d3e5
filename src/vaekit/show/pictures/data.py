"""Pictures of data, of what a model makes of them, and of what it makes up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .. import plots
from . import columns
from .base import Picture, Prepared, Subject, array, is_image, no_images, visible

if TYPE_CHECKING:
    from ...runs.run import Run

POINTS = 2000
"""Rows of a table, unless told otherwise."""


@dataclass(frozen=True)
class Data(Picture):
    """Data of the split, chosen at random, as the model sees them: a grid of images, or histograms of a table."""

    n: int | None = None
    columns: int | None = None

    def __call__(self, subject: Subject) -> Prepared:
        if columns.is_table(subject.run):
            return _columns(subject, columns.data_of(subject, self.n))
        n = _count(subject.run, self.n, 100)
        x = visible(subject.some(n))
        text = f"{len(x):,} of the {len(subject.data):,} data of the {subject.split} split, chosen at random."
        if is_image(subject.run.model.event_shape):
            draw = partial(plots.image_grid, x, columns=self.columns, limits=subject.limits)
            return Prepared("Data", text, draw, chart=False)
        return Prepared("Data", text, partial(plots.marginals, _flat(x)))


@dataclass(frozen=True)
class Samples(Picture):
    """Samples from the prior: means of p(x | z) as images; of a table, histograms of draws beside those of the data."""

    n: int | None = None
    columns: int | None = None

    def __call__(self, subject: Subject) -> Prepared:
        if columns.is_table(subject.run):
            return _columns(subject, columns.sampled(subject, self.n))
        run, n = subject.run, _count(subject.run, self.n, 64)
        title, given = "Samples from the prior", ", given the labels of data" if subject.run.model.conditional else ""
        if is_image(run.model.event_shape):
            what = "what the model expects to see, without the noise of a draw"
            text = f"Means of p(x | z) at codes z from the prior{given}: {what}."
            draw = partial(plots.image_grid, subject.samples(n), columns=self.columns, limits=subject.limits)
            return Prepared(title, text, draw, chart=False)
        data, samples = _flat(visible(subject.some(n))), _flat(subject.samples(n, draw=True))
        where = f"the {subject.split} split, and of draws from the model{given}"
        text = f"{_which(data)} of {where}: z from the prior, then x from p(x | z)."
        return Prepared(title, text, partial(plots.marginals, data, samples))


@dataclass(frozen=True)
class Reconstructions(Picture):
    """Data of the split, chosen at random, above their reconstructions; of a table, one against the other."""

    n: int | None = None
    columns: int | None = None

    def __call__(self, subject: Subject) -> Prepared:
        if columns.is_table(subject.run):
            return _column_reconstructions(subject, columns.reconstructed(subject, self.n))
        run, n = subject.run, _count(subject.run, self.n, 8)
        x, made = _reconstructed(subject, n)
        if is_image(run.model.event_shape):
            text = f"Data of the {subject.split} split, chosen at random, and beneath each the mean of p(x | z) at its"
            text += " posterior mean."
            draw = partial(plots.pairs_grid, x, made, columns=self.columns or min(n, 12), limits=subject.limits)
            return Prepared("Reconstructions", text, draw, chart=False)
        text = f"{_which(_flat(x))} of the {subject.split} split, against the mean of p(x | z) at the posterior mean"
        draw = partial(plots.agreement, _flat(x), _flat(made))
        return Prepared("Reconstructions", f"{text}: exact on the line.", draw)


@dataclass(frozen=True)
class Pairs(Picture):
    """Data of the split, chosen at random, each with its reconstruction to the right of it."""

    n: int = 32
    columns: int = 4

    def lacks(self, run: Run) -> str:
        return no_images(run)

    def __call__(self, subject: Subject) -> Prepared:
        x, made = _reconstructed(subject, self.n)
        text = (
            f"Data of the {subject.split} split, chosen at random, and at the right of each the mean of p(x | z) at "
            "its posterior mean."
        )
        draw = partial(plots.pairs_grid, x, made, columns=self.columns, limits=subject.limits, beside=True)
        return Prepared("Pairs of data and reconstructions", text, draw, chart=False)


@dataclass(frozen=True)
class ReconstructOne(Picture):
    """One datum and n reconstructions of it, each from another draw of its posterior; by default a datum at random."""

    n: int = 10
    datum: int | None = None
    columns: int = 10

    def lacks(self, run: Run) -> str:
        return no_images(run)

    def __call__(self, subject: Subject) -> Prepared:
        drawn = np.random.default_rng(subject.seed).integers(len(subject.data))
        datum = int(drawn) if self.datum is None else self.datum
        one = subject.one(datum)
        made = subject.run.model.reconstruct(one, None, self.n, seed=subject.seed)[:, 0]
        text = f"Datum {datum} of the {subject.split} split, and means of p(x | z) at {self.n} draws of its posterior."
        draw = partial(plots.many_of_one, visible(one)[0], array(made), columns=self.columns, limits=subject.limits)
        return Prepared("Many reconstructions of one datum", text, draw, chart=False)


@dataclass(frozen=True)
class UntrainedSamples(Picture):
    """Samples of the model before its training beside those after it, from the same noise."""

    n: int = 100
    columns: int | None = None

    def lacks(self, run: Run) -> str:
        return no_images(run)

    def __call__(self, subject: Subject) -> Prepared:
        both = {"untrained": subject.samples(self.n, subject.run.untrained()), "trained": subject.samples(self.n)}
        text = "Means of p(x | z) at codes z from the prior, of the model before its training and of the trained one."
        text += " Images at the same place have the same z, or where the prior has learned too, the same noise."
        draw = partial(plots.image_grids, both, columns=self.columns, limits=subject.limits)
        return Prepared("Samples before and after training", text, draw)


def _columns(subject: Subject, table: columns.Table) -> Prepared:
    """Histograms and bars of columns, of data and of samples where the table has some."""
    parts, few = table.marginals(), "Each column"
    if len(parts) > columns.SHOWN:
        few = f"The first {columns.SHOWN} of {len(parts)} columns"
        if table.made is not None:
            parts.sort(key=lambda part: part.chance - part.distance)
            few = f"Of {len(parts)} columns the {columns.SHOWN} whose samples are farthest from the data, these first,"
    text = f"{few} in {subject.some_of(len(table.data))}"
    title = "Columns"
    if table.made is not None:
        given = ", given the labels of data" if subject.run.model.conditional else ""
        text += (
            f" (filled), and in {len(table.made):,} draws of the model (lines){given}: z from the prior, then x from"
        )
        text += " p(x | z)"
        title = "Samples from the prior, by column"
    text += ". Shares are of the cells that are observed; how much is missing of the data is said above a column."
    return Prepared(title, text, partial(plots.column_marginals, parts[: columns.SHOWN]))


def _column_reconstructions(subject: Subject, table: columns.Table) -> Prepared:
    parts, few = table.agreements(), "Each column"
    if len(parts) > columns.SHOWN:
        worst = np.argsort(table.known(), kind="stable")[: columns.SHOWN]
        few = f"Of {len(parts)} columns the {len(worst)} that codes tell least of, these first,"
        parts = [parts[i] for i in worst]
    text = f"{few} in {subject.some_of(len(table.data))}, against what"
    text += " p(x | z) makes of it at the posterior mean: of numbers the mean, exact on the line; of categories the"
    text += " likeliest, a row for each with the per cent that become which, in the same order from left to right."
    text += " Above a column is how far off it is on average, in its own unit."
    return Prepared("Reconstructions, by column", text, partial(plots.column_agreements, parts))


def _count(run: Run, n: int | None, images: int) -> int:
    return n or (images if is_image(run.model.event_shape) else POINTS)


def _reconstructed(subject: Subject, n: int) -> tuple[np.ndarray, np.ndarray]:
    batch = subject.some(n)
    return visible(batch), array(subject.run.model.reconstruct(batch, seed=subject.seed))


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _which(table: np.ndarray) -> str:
    size = table.shape[1]
    return "Each column" if size <= plots.COLUMNS else f"The first {plots.COLUMNS} of {size} columns"
