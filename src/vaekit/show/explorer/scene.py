"""What the page of a run shows, as data: points of the latent space with their codes, scores and colours, and what the
page must know of data and latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...data.batch import Batch
from ...data.columns import Column
from ...data.domains import WHOLE
from ...distributions.mixtures import Mixture
from ...distributions.moments import center
from ...distributions.simplex import SIMPLEX
from ...distributions.sphere import UNIT_SPHERE
from ...evaluation.evaluation import ACTIVE
from ...models.sampling import draws
from ...modules import evaluating
from ...runs.tables import typed_columns
from ...runs.wording import run_in_lines
from ...seeding import seeded
from ..pictures.base import Subject, array, is_image, outline, visible
from ..pictures.columns import is_table
from ..worded import number
from .answers import Answers
from .layouts import laid_out
from .place import LAYOUTS, check_layout
from .records import (
    Colour,
    Components,
    Data,
    PageColumn,
    PageLatent,
    Points,
    Projection,
    Reference,
    Scene,
)

if TYPE_CHECKING:
    from ...models.scoring import Scores
    from ...runs.run import Run
    from ...spec.keys import Spec

FORMAT = 1
"""Of the scene; the page says which it reads."""
REFERENCE = 2000
"""Training data, at most, whose bounds say what is usual."""
QUANTILES = 1001
LAID_OUT = 2000
"""Points, at most, that are laid out by t-SNE or UMAP, which takes seconds for as many."""
FEWEST = 100
"""Points that there are whatever they weigh."""
ROOM = 64 * 2**20
"""Bytes of the points of a page that is served, at most, unless so many are asked for: browsers read no text of much
more than that."""
SPACES = {UNIT_SPHERE: "sphere", SIMPLEX: "simplex"}
"""How a page calls spaces that it keeps codes on."""
COMPONENTS = 100
"""Components of a mixture prior, at most: the heaviest."""


def scene_of(run: Run, *, split: str | None = None, points: int = 2000, seed: int = 0, layout: str = "t-sne") -> Scene:
    """The scene of a run: at most so many `points` of a split, by default the one held out, chosen by `seed`, their
    codes laid out by one of `LAYOUTS`.

    Raises `ValueError` where there is no such split, or points are fewer than one.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> scene = scene_of(run, points=50)
    >>> scene.data.kind, scene.points.mean.shape, len(scene.reference.elbo)
    ('images', (50, 16), 1001)
    """
    if points < 1:
        raise ValueError(f"points is {points}; accepted: 1 or more")
    check_layout(layout)
    return Making(run, split, points, seed, layout).scene()


@dataclass(frozen=True)
class Making:
    """What the parts of a scene share."""

    run: Run
    asked: str | None
    most: int
    seed: int
    layout: str = "t-sne"

    @cached_property
    def subject(self) -> Subject:
        return Subject(self.run, self.asked, self.seed)

    @cached_property
    def rows(self) -> np.ndarray:
        return np.sort(self.subject.chosen(self.most))

    @cached_property
    def batch(self) -> Batch:
        return self.subject.rows(self.rows)

    @cached_property
    def x(self) -> np.ndarray:
        """The points' data (n, E), NaN where a cell is not observed."""
        return visible(self.batch).reshape(len(self.rows), -1).astype(np.float64)

    @cached_property
    def y(self) -> np.ndarray | None:
        """The points' classes (n,), or their covariates."""
        y = self.subject.data.y
        own = None if y is None else array(y)[self.rows]
        return None if own is None else own.astype(np.int32 if own.ndim == 1 else np.float32)

    @cached_property
    def answers(self) -> Answers:
        return Answers(self.run)

    @cached_property
    def codes(self) -> tuple[Tensor, Tensor]:
        return self.answers.codes(self.batch)

    @cached_property
    def mean(self) -> np.ndarray:
        return array(self.codes[0]).astype(np.float32)

    @cached_property
    def scores(self) -> Scores | None:
        return self.answers.scores(self.batch)[0] if self.answers.has_scores else None

    def scene(self) -> Scene:
        latents = self._latents()
        return Scene(
            FORMAT,
            title_of(self.run.path, self.run.spec),
            self.about(),
            self.data(),
            latents,
            self._points(),
            self._reference(),
            self._components(),
            self.answers.abilities(self.batch.take(slice(1))),
        )

    def about(self) -> list[str]:
        run, name = self.run, self.run.spec.data.name
        lines = run_in_lines(run).splitlines()[1:]
        lines = [" ".join(each.replace(name, Path(name).name).split()) for each in lines]  # no folder of the user's
        lines.append(f"points {self.subject.some_of(len(self.rows))}")
        if self.scores is not None:
            elbo, kl = (number(float(each.mean())) for each in (self.scores.elbo, self.scores.kl))
            lines.append(f"scores of these points: ELBO {elbo} nats, KL {kl} nats")
        if run.model.latent_size > 2 and len(self.rows) > LAID_OUT:
            lines.append(f"{LAYOUTS[self.layout]} of {LAID_OUT:,} of the points, since more take long")
        return lines

    def data(self) -> Data:
        schema, model = self.run.schema, self.run.model
        kind = "table" if is_table(self.run) else "images" if is_image(model.event_shape) else "vectors"
        shape = (1, *model.event_shape) if kind == "images" and len(model.event_shape) == 2 else model.event_shape
        columns = self._columns(typed_columns(self.run)) if kind == "table" else None
        limits = self.subject.limits if kind == "images" else None
        covariates = 0 if schema.classes else model.condition
        whole = kind == "images" and schema.domain.kind in WHOLE and not schema.domain.relaxed
        classes = schema.classes or None
        return Data(kind, shape, limits, columns, classes, model.condition > 0, covariates, 1.0 if whole else None)

    def _columns(self, columns: Sequence[Column]) -> list[PageColumn]:
        found = []
        for column, domain, cells in zip(columns, self.run.schema.domain.each(len(columns)), self.x.T, strict=True):
            seen = cells[np.isfinite(cells)]
            low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
            if domain.ends:
                low, high = domain.ends[0]
            if column.categories:
                low, high = 0.0, len(column.categories) - 1.0
            unit = column.unit or (column.numeral.unit if column.numeral else "")
            date = (column.format or "date") if column.kind == "date" else None
            levels = column.categories or None
            found.append(
                PageColumn(
                    column.name, column.kind, levels, float(low), float(high), column.decimals, unit or None, date
                )
            )
        return found

    def _latents(self) -> list[PageLatent]:
        model, found, start = self.run.model, [], 0
        order, discrete = self.answers.order, _discrete(self.run)
        mean, terms = self.mean.astype(np.float64), {} if self.scores is None else self.scores.kl_terms
        variance = mean.var(0, ddof=min(1, len(mean) - 1))
        for name, size in model.sizes.items():
            own = slice(start, start := start + size)
            kl = terms.get(name)
            each = None if kl is None or kl.shape[-1] != size else kl.double().mean(0).tolist()
            found.append(
                PageLatent(
                    name,
                    size,
                    model.shapes[name],
                    name in discrete,
                    discrete.get(name),
                    order.index(name),
                    name in model.decoded,
                    each,
                    mean[:, own].mean(0).tolist(),
                    mean[:, own].std(0).tolist(),
                    (variance[own] > ACTIVE).tolist(),
                    SPACES.get(getattr(model.posteriors[name], "space", None) or ""),
                )
            )
        return found

    def _points(self) -> Points:
        return Points(
            len(self.rows),
            self.names(),
            self.stored(),
            self.mean,
            array(self.codes[1]).astype(np.float32),
            self.y,
            self._projections(),
            self.colours(self._found()),
        )

    def stored(self) -> np.ndarray:
        """The data as the page keeps them: images as bytes over what is black and white, all else as numbers."""
        if not is_image(self.run.model.event_shape) or is_table(self.run) or np.isnan(self.x).any():
            return self.x if self.run.schema.domain.in_float64 else self.x.astype(np.float32)
        low, high = self.subject.limits
        return np.rint(255 * np.clip((self.x - low) / max(high - low, 1e-12), 0, 1)).astype(np.uint8)

    def names(self) -> list[str] | None:
        origin = self.subject.data.origin
        if origin is None:
            return [f"{self.subject.split} {row}" for row in self.rows.tolist()]
        found = origin[self.rows]
        return [str(each) for each in found] if found.dtype == object else [f"row {each}" for each in found.tolist()]

    def _projections(self) -> list[Projection]:
        size = self.mean.shape[1]
        if size < 3 or len(self.mean) < 3:
            return []
        centred = self.mean.astype(np.float64) - self.mean.mean(0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        found = [Projection("PCA", ("first component", "second component"), (centred @ axes[:2].T).astype(np.float32))]
        if centred.any():
            run = self.run
            laid = np.full((len(centred), 2), np.nan, np.float32)
            some = np.random.default_rng(self.seed).permutation(len(centred))[:LAID_OUT]
            laid[some] = laid_out(centred[some], self.layout, self.seed, run.path)
            found.append(Projection(LAYOUTS[self.layout], ("", ""), laid))
        return found

    def colours(self, found: Sequence[Colour] = ()) -> list[Colour]:
        """What points may be coloured by: their classes, what is `found` of them, and columns, each by a name of its
        own.
        """
        cells = self.cells()
        columns = {each.name for each in cells}

        def apart(name: str) -> str:
            return name if name not in columns else apart(f"{name} of the row")

        return [*(replace(each, name=apart(each.name)) for each in (*self.classes(), *found)), *cells]

    def classes(self) -> list[Colour]:
        """The points by their own classes."""
        if self.y is None or self.y.ndim != 1:
            return []
        return [Colour("class", "category", self.y, self.run.schema.classes)]

    def cells(self) -> list[Colour]:
        """The points by the columns of a table."""
        columns = typed_columns(self.run) if is_table(self.run) else ()
        kinds = [(each, "category" if each.categories else "number") for each in columns]
        return [Colour(each.name, kind, None, each.categories or None, i) for i, (each, kind) in enumerate(kinds)]

    def _found(self) -> list[Colour]:
        """The points by what the model makes of them."""
        run, found = self.run, []
        if run.model.classifies:
            likeliest = run.model.classify(self.batch.without_y()).argmax(-1)
            found.append(Colour("predicted class", "category", array(likeliest).astype(np.int32), run.schema.classes))
        if run.model.has_clusters:
            clusters = array(run.model.clusters(self.batch)).astype(np.int32)
            of = tuple(str(i) for i in range(int(clusters.max()) + 1))
            found.append(Colour("cluster", "category", clusters, of))
        if self.scores is not None:
            numbers = {
                "log p (bound)": self.scores.elbo,
                "reconstruction error": -self.scores.reconstruction,
                "KL": self.scores.kl,
            }
            found += [Colour(name, "number", array(each).astype(np.float32)) for name, each in numbers.items()]
        return found

    def _reference(self) -> Reference:
        if not self.answers.has_scores:
            return Reference([])
        train = Subject(self.run, "train", self.seed)
        batch = train.rows(np.sort(train.chosen(REFERENCE)))
        found, columns = self.answers.scores(batch)
        elbo = array(found.elbo.double())
        quantiles = np.quantile(elbo[np.isfinite(elbo)], np.linspace(0, 1, QUANTILES)).tolist()
        return Reference(quantiles, None if columns is None else columns.double().mean(0).tolist())

    @torch.no_grad()
    def _components(self) -> Components | None:
        model = self.run.model
        if model.condition:
            return None
        with seeded(0), evaluating(model):
            drawn = model.generate(None, draws(1))
            mixed = [(name, p) for name in model.roots if isinstance(p := drawn[name][0], Mixture)]
            if not mixed:
                return None
            name, p = mixed[0]
            weight, means = p.mixture_distribution.probs, center(p.component_distribution)
            heaviest = weight.argsort(descending=True, stable=True)[:COMPONENTS].sort().values
            whole = torch.as_tensor(self.mean).mean(0).expand(len(heaviest), -1).clone()
            start = 0
            for each, size in model.sizes.items():
                if each == name:
                    whole[:, start : start + size] = means[heaviest].cpu()
                start += size
        return Components(whole.tolist(), weight[heaviest].tolist())


def _discrete(run: Run) -> dict[str, int | None]:
    """The latents that are discrete, and of how many one-hots; None of tokens of a codebook."""
    found = {}
    for latent in outline(run.model).latents:
        groups = getattr(latent.q, "groups", None)
        if latent.deterministic or latent.one_hot or groups:
            found[latent.name] = None if latent.deterministic else (groups or 1)
    return found


def title_of(path: Path, spec: Spec) -> str:
    """What a page of a run is called."""
    return spec.title or path.resolve().name


def weight_of_a_point(run: Run) -> int:
    """How many bytes a point takes in a file, about."""
    size, own = prod(run.model.event_shape), run.model.latent_size
    number = 8 if run.schema.domain.in_float64 else 4
    each = 1 if is_image(run.model.event_shape) and not is_table(run) else number
    return (4 * (each * size + 8 * own + 40)) // 3


def points_within(run: Run, most: int, room: int) -> int:
    """How many points, at most so many, take no more than so many bytes; but `FEWEST` whatever they take."""
    return min(most, max(FEWEST, room // weight_of_a_point(run)))
