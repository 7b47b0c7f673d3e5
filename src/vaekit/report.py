"""report.html and pictures/ of a run: one page that needs nothing but itself, and says all that is known of the run."""

from __future__ import annotations

import math
import shlex
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from torch import nn

from . import __version__, plots
from .checkpoint import write_atomic
from .datasets import Dataset
from .domains import Domain
from .evaluation import ACTIVE, Evaluation, evaluate
from .plots import DARK, LIGHT, Theme
from .runs import Run
from .spec import PartSpec
from .training import Epoch

DRAWS = 100_000
"""Posterior draws, in all, of the scores that a report makes itself: less than an epoch of training on most data."""
POINTS = 2000
"""Data, at most, in a map: t-SNE of more takes long."""
COLUMNS, ROWS, PAIRS = 12, 6, 3
"""Of a grid: images in a row, rows of samples, rows of pairs."""
CLASS_ROWS = 20
"""Classes, at most, that a conditional model's samples are shown of."""
TREATMENTS = {
    None: "none",
    "static": "binarised once, 1 with the probability that the grey level says",
    "stochastic": "binarised afresh each time, 1 with the probability that the grey level says",
    "threshold": "binarised, 1 above the middle",
    "grey": "grey levels scored as Bernoulli probabilities",
}


@dataclass(frozen=True)
class Score:
    """A row of the table of scores."""

    name: str
    value: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Picture:
    """A section of the report: what is seen, and how to draw it for light and dark pages."""

    file: str
    title: str
    text: str
    draw: Callable[..., Figure]
    chart: bool = True
    """Whether it has small print, which a phone must not shrink."""


@dataclass(frozen=True)
class Drawn:
    """A picture as the page shows it: data URIs of both variants, and its size in CSS pixels."""

    picture: Picture
    light: str
    dark: str
    width: int
    height: int


def write_report(run: Run, evaluation: Evaluation | None = None) -> Path:
    """Write report.html and pictures/ into the folder of `run`, and return the path of the page.

    The page shows the split that was evaluated. Without an `evaluation`, the last of train, valid and test that there is gets
    one of as many importance samples as are quickly drawn.

    >>> import tempfile
    >>> from vaekit.runs import train
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> write_report(run).name
    'report.html'
    """
    dataset = run.dataset()
    if evaluation is None:
        split = list(dataset.splits)[-1]
        data = run.data(split)
        evaluation = evaluate(run.model, data, min(500, max(1, DRAWS // len(data))), split=split)
    history = run.history()
    folder = run.path / "pictures"
    folder.mkdir(exist_ok=True)
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8")
    )
    text = page.render(
        themes={"light": LIGHT, "dark": DARK},
        title=run.spec.title or f"Variational autoencoder of {dataset.name}",
        source=run.spec.source,
        version=__version__,
        evaluation=evaluation,
        scores=_scores(evaluation, bool(run.model.condition)),
        coefficients=_coefficients(run, history),
        facts=_facts(run, dataset, history),
        parts=_parts(run),
        pictures=[_drawn(folder, picture) for picture in _pictures(run, evaluation, history)],
        run=shlex.quote(str(run.path)),
        ending="png" if _is_image(run.model.event_shape) else "csv",
        split=evaluation.split,
        more_samples=max(5000, 10 * evaluation.samples),
        more_epochs=2 * run.spec.training.epochs,
        spec=(run.path / "spec.json").read_text(encoding="utf-8"),
    )
    write_atomic(run.path / "report.html", text)
    return run.path / "report.html"


def _drawn(folder: Path, picture: Picture) -> Drawn:
    uris = []
    width, height = 0.0, 0.0
    for theme, suffix in ((LIGHT, ""), (DARK, "-dark")):
        figure = picture.draw(theme=theme)
        path = folder / f"{picture.file}{suffix}.png"
        write_atomic(path, partial(plots.save, figure))
        uris.append("data:image/png;base64," + b64encode(path.read_bytes()).decode("ascii"))
        width, height = figure.get_size_inches()
    return Drawn(picture, uris[0], uris[1], round(100 * width), round(100 * height))


def _pictures(run: Run, evaluation: Evaluation, history: list[Epoch]) -> Iterator[Picture]:
    split, model = evaluation.split, run.model
    if history:
        text = "Every term of the objective at the end of each epoch, in nats per datum. The range leaves out the first tenth of the epochs."
        yield Picture("curves", "Training", text, partial(plots.curves, history))
    means, y = run.encode(split, seed=0)
    pairs = run.reconstructions(split, COLUMNS * PAIRS if _is_image(model.event_shape) else POINTS, seed=0).cpu().numpy()
    if _is_image(model.event_shape):
        yield from _image_pictures(run, split, pairs, y)
    else:
        yield from _table_pictures(run, split, pairs, y)
    yield _map(run, split, means, y)
    yield from _kl(run, evaluation, means)


def _image_pictures(run: Run, split: str, pairs: np.ndarray, y: np.ndarray | None) -> Iterator[Picture]:
    model, limits = run.model, _limits(run.schema.domain, pairs[:, 0])
    text = "Means of p(x | z) at codes z drawn from the prior. They are what the model expects, not draws: those have the likelihood's noise on top."
    if model.condition and run.schema.classes:
        names = run.schema.classes[:CLASS_ROWS]
        # The same seed gives all classes the same noise.
        rows = [model.sample(y=np.full(COLUMNS, k), draw=False, seed=0).cpu().numpy() for k in range(len(names))]
        images, text = np.concatenate(rows), text + " Each row is one class, each column has the same noise in all of them."
    else:
        names, n = (), COLUMNS * ROWS
        images = (model.sample(y=y[:n], draw=False, seed=0) if model.condition else model.sample(n, draw=False, seed=0)).cpu().numpy()
    draw = partial(plots.image_grid, images, columns=COLUMNS, limits=limits, rows=names)
    yield Picture("samples", "Samples from the prior", text, draw, chart=bool(names))
    text = f"The first data of the {split} split, and beneath each the mean of p(x | z) at its posterior mean."
    draw = partial(plots.pairs_grid, pairs[:, 0], pairs[:, 1], columns=COLUMNS, limits=limits)
    yield Picture("reconstructions", "Reconstructions", text, draw, chart=False)


def _table_pictures(run: Run, split: str, pairs: np.ndarray, y: np.ndarray | None) -> Iterator[Picture]:
    model, columns = run.model, run.schema.columns
    x, made = pairs.reshape(*pairs.shape[:2], -1).swapaxes(0, 1)
    samples = model.sample(y=y[:POINTS], seed=0) if model.condition else model.sample(POINTS, seed=0)
    which = f"The first {plots.tables.COLUMNS} of {x.shape[1]} columns" if x.shape[1] > plots.tables.COLUMNS else "Each column"
    text = f"{which} of the {split} split, and of draws from the model: z from the prior, then x from p(x | z)."
    yield Picture("samples", "Samples from the prior", text, partial(plots.marginals, x, samples.flatten(1).cpu().numpy(), columns))
    text = f"{which} of the {split} split against the mean of p(x | z) at the posterior mean; exact on the line."
    yield Picture("reconstructions", "Reconstructions", text, partial(plots.agreement, x, made, columns))


def _map(run: Run, split: str, means: np.ndarray, y: np.ndarray | None) -> Picture:
    labels = y if y is not None and y.ndim == 1 else None
    n, dimensions = means.shape
    chosen = np.random.default_rng(0).permutation(n)[:POINTS]
    names = [f"{name}{i}" for name, size in run.model.sizes.items() for i in range(size)]
    latents = "all latents together" if len(run.model.sizes) > 1 else f"the latent {next(iter(run.model.sizes))}"
    text = f"Posterior means of {len(chosen):,} of the {n:,} {split} data, {latents}"
    text += f", {dimensions} dimensions laid out by t-SNE: neighbours are kept, distances and axes mean nothing." if dimensions > 2 else "."
    text += " One dimension, spread out into a strip." if dimensions == 1 else ""
    if labels is not None and len(run.schema.classes) > plots.latents.CLASSES:
        text += f" Coloured by class, of which there are {len(run.schema.classes)}; colours repeat."
    elif labels is not None:
        text += " Coloured by class."
    axes = {1: (names[0], ""), 2: tuple(names[:2])}.get(dimensions, ("", ""))
    points = plots.embed(means[chosen])
    label = None if labels is None else labels[chosen]
    return Picture("latents", "Latent space", text, partial(plots.latent_map, points, label, run.schema.classes, axes_names=axes))


def _kl(run: Run, evaluation: Evaluation, means: np.ndarray) -> Iterator[Picture]:
    start, shown, active, whole = 0, {}, {}, []
    for name, size in run.model.sizes.items():
        kl = evaluation.kl_per_dimension[name]
        if len(kl) == size:
            shown[name], active[name] = kl, means[:, start : start + size].var(0, ddof=min(1, len(means) - 1)) > ACTIVE
        else:
            whole.append(f"The KL of {name}, {sum(kl):.2f} nats in all, has no terms per dimension.")
        start += size
    if shown:
        text = "How much each latent dimension tells of a datum. Grey: inactive, its posterior mean hardly varies over the data."
        yield Picture("kl", "KL per latent dimension", " ".join([text, *whole]), partial(plots.kl_bars, shown, active))


def _scores(e: Evaluation, conditional: bool) -> list[Score]:
    p = "p(x | y)" if conditional else "p(x)"
    error = f"log {p} would move by this much with other data" if e.n > 1 else "one datum has no standard error"
    draws = f"{e.samples:,} importance sample{'s' if e.samples > 1 else ''}"
    nll = Score(
        f"−log {p}, {draws}",
        _number(e.nll, e.nll_stderr, e.n),
        "nats",
        "Negative log-likelihood; lower is better. On average an upper bound, which more samples tighten.",
    )
    return [
        Score("ELBO", _number(e.elbo, e.elbo_stderr, e.n), "nats", f"Lower bound of log {p}: reconstruction − KL, at β = 1. Higher is better."),
        Score("Reconstruction", _number(e.reconstruction), "nats", "Expected log-probability of a datum given its code."),
        Score("KL", _number(e.kl), "nats", "What the code tells of its datum: divergence of the posterior from the prior."),
        nll,
        Score("Monte Carlo error", f"{e.nll_mc_stderr:.2g}", "nats", "Standard error of the number above from the draws alone, as from another seed."),
        Score("Bits per dimension", _number(e.bits_per_dim), "bits", "The same number for each of a datum's values, to base 2."),
        Score("Active units", f"{e.active_units} of {e.latent_size}", "", f"Latent dimensions whose posterior mean varies over the data (variance above {ACTIVE})."),
    ]
