"""Which pictures a report has, what is said of each, and how it is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from .. import plots
from ..domains import Domain
from ..evaluation import ACTIVE, Evaluation
from ..plots.latents import CLASSES
from ..plots.tables import COLUMNS as TABLE_COLUMNS
from ..runs import Run

POINTS = 2000
"""Data, at most, in a map: t-SNE of more takes long."""
SAMPLES = (13, 6)
"""Images in a row and rows, of samples. One column more than where rows have a name, so that both are as wide."""
COLUMNS, PAIRS = 12, 3
"""Images in a row that has a name; rows of pairs."""
CLASS_ROWS = 20
"""Classes, at most, that samples of a conditional model are shown of."""


@dataclass(frozen=True)
class Picture:
    """A picture by the name of its file, with its heading and caption; `draw` takes a `theme`."""

    file: str
    title: str
    text: str
    draw: Callable[..., Figure]
    chart: bool = True
    """Whether it has small print, which a narrow screen must not shrink."""


def pictures(run: Run, evaluation: Evaluation) -> Iterator[Picture]:
    """The pictures of a report, in order, of the split that was evaluated."""
    split = evaluation.split
    if history := run.history():
        text = "The terms of the objective, averaged over each epoch. Steep beginnings are cut off."
        yield Picture("curves", "Training", text, partial(plots.curves, history))
    means, y = run.encode(split, seed=0)
    if is_image(run.model.event_shape):
        pairs = run.reconstructions(split, COLUMNS * PAIRS, seed=0).cpu().numpy()
        limits = _limits(run.schema.domain, pairs[:, 0])
        yield _image_samples(run, y, limits)
        text = f"The first data of the {split} split and, beneath each, the mean of p(x | z) at its posterior mean."
        draw = partial(plots.pairs_grid, pairs[:, 0], pairs[:, 1], columns=COLUMNS, limits=limits)
        yield Picture("reconstructions", "Reconstructions", text, draw, chart=False)
    else:
        yield from _tables(run, split, y)
    yield _map(run, split, means, y)
    yield from _kl(run, evaluation, means)


def is_image(event_shape: tuple[int, ...]) -> bool:
    """Whether data of this shape can be shown as grey or colour images."""
    return len(event_shape) == 2 or (len(event_shape) == 3 and event_shape[0] in (1, 3))


def _image_samples(run: Run, y: np.ndarray | None, limits: tuple[float, float]) -> Picture:
    model, names = run.model, run.schema.classes[:CLASS_ROWS] if run.model.condition else ()
    text = "Means of p(x | z) at codes z from the prior: what the model expects to see, without the noise of a draw."
    if names:
        text += " A row for each class; down a column the code is drawn with the same noise."
        rows = [model.sample(y=np.full(COLUMNS, k), draw=False, seed=0) for k in range(len(names))]
        images = np.concatenate([row.cpu().numpy() for row in rows])
    else:
        n = math.prod(SAMPLES)
        given = {"y": y[:n]} if model.condition and y is not None else {"n": n}
        images = model.sample(**given, draw=False, seed=0).cpu().numpy()
    draw = partial(plots.image_grid, images, columns=COLUMNS if names else SAMPLES[0], limits=limits, rows=names)
    return Picture("samples", "Samples from the prior", text, draw, chart=bool(names))


def _tables(run: Run, split: str, y: np.ndarray | None) -> Iterator[Picture]:
    pairs = run.reconstructions(split, POINTS, seed=0).flatten(2).cpu().numpy()
    given = {"y": y[:POINTS]} if run.model.condition and y is not None else {"n": POINTS}
    samples = run.model.sample(**given, seed=0).flatten(1).cpu().numpy()
    names, size = run.schema.columns, samples.shape[1]
    which = "Each column" if size <= TABLE_COLUMNS else f"The first {TABLE_COLUMNS} of {size} columns"
    text = f"{which} of the {split} split, and of draws from the model: z from the prior, then x from p(x | z)."
    yield Picture("samples", "Samples from the prior", text, partial(plots.marginals, pairs[:, 0], samples, names))
    text = f"{which} of the {split} split, against the mean of p(x | z) at the posterior mean: exact on the line."
    draw = partial(plots.agreement, pairs[:, 0], pairs[:, 1], names)
    yield Picture("reconstructions", "Reconstructions", text, draw)


def _map(run: Run, split: str, means: np.ndarray, y: np.ndarray | None) -> Picture:
    (n, size), sizes = means.shape, run.model.sizes
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:POINTS])
    some = f"{n:,}" if n == len(chosen) else f"{len(chosen):,} of the {n:,}"
    text = f"Posterior means of {some} {split} data, "
    text += "all latents together" if len(sizes) > 1 else f"latent {next(iter(sizes))}"
    if size == 1:
        text += ": one dimension, spread out into a strip."
    elif size > 2:
        text += (
            f": {size} dimensions laid out by t-SNE, which keeps neighbours together; distances and axes mean nothing."
        )
    else:
        text += "."
    labels = y[chosen] if y is not None and y.ndim == 1 else None
    if labels is not None:
        many = len(np.unique(labels)) > CLASSES
        text += " Colours are classes" + (", too many to name: they repeat." if many else ".")
    names = [f"{name}{i}" for name, own in sizes.items() for i in range(own)]
    axes = (names[0], names[1] if size == 2 else "") if size <= 2 else ("", "")
    draw = partial(plots.latent_map, plots.embed(means[chosen]), labels, run.schema.classes, axes_names=axes)
    return Picture("latents", "Latent space", text, draw, chart=False)


def _kl(run: Run, evaluation: Evaluation, means: np.ndarray) -> Iterator[Picture]:
    kl = {name: terms for name, terms in evaluation.kl_per_dimension.items() if len(terms) == run.model.sizes[name]}
    if not kl:
        return
    ends = np.cumsum(list(run.model.sizes.values()))
    variances = np.split(means.var(0, ddof=min(1, len(means) - 1), dtype=np.float64), ends[:-1])
    active = {name: own > ACTIVE for name, own in zip(run.model.sizes, variances, strict=True)}
    text = (
        "How much each dimension tells of a datum. A grey bar is an inactive one: its mean hardly varies over the data."
    )
    if whole := [name for name in run.model.sizes if name not in kl]:
        text += f" Not shown: {', '.join(whole)}, whose KL is no sum over dimensions."
    yield Picture("kl", "KL per latent dimension", text, partial(plots.kl_bars, kl, active))


def _limits(domain: Domain, images: np.ndarray) -> tuple[float, float]:
    """What is black and what is white: the ends of a bounded domain, else of nearly all of the values there are."""
    if domain.levels is not None:
        return 0.0, domain.levels - 1.0
    if domain.kind in ("binary", "unit") and isinstance(domain.location, float) and isinstance(domain.scale, float):
        return domain.location, domain.location + domain.scale
    low, high = np.percentile(images, [1, 99])
    return float(low), float(high)
