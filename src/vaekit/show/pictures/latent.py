"""Pictures of the latent space: where data lie in it, which dimensions are used, how they hang together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ...data.batch import Batch
from ...distributions.moments import covariance
from ...errors import unknown
from ...evaluation.evaluation import ACTIVE
from ...modules import evaluating
from ...runs.tables import typed_columns
from ...seeding import seeded
from .. import plots
from . import columns
from .base import Picture, Prepared, Subject, array, outline, visible

if TYPE_CHECKING:
    from ...runs.run import Run
    from ..plots import Colouring

DRAWS = 1000
"""Draws that a covariance without a closed form is estimated from."""
COLOURS = 4
"""Columns, at most, that a map is coloured by, unless one is named."""
PANELS = 8
"""Latents, at most, whose dimensions are shown one by one."""
ROWS = 100
"""Posteriors at a time whose covariances are computed."""


@dataclass(frozen=True)
class Latents(Picture):
    """Posterior means in the plane, coloured by class or by a column: as they are for two dimensions, by t-SNE above.

    At most n data of the split, chosen at random. 10,000 take about a minute. Of a table without classes, `column` is
    the one that colours them, by default the four that codes tell most of.
    """

    n: int = 2000
    column: str | None = None

    def __call__(self, subject: Subject) -> Prepared:
        (means, y), sizes, seed = subject.codes, subject.run.model.sizes, subject.seed
        total, size = means.shape
        chosen = np.sort(subject.chosen(self.n))
        some = f"{total:,}" if total == len(chosen) else f"{len(chosen):,} of the {total:,}"
        text = f"Posterior means of {some} {subject.split} data, "
        text += "all latents together" if len(sizes) > 1 else f"latent {next(iter(sizes))}"
        if size == 1:
            text += ": one dimension, spread out into a strip."
        elif size > 2:
            text += f": {size} dimensions laid out by t-SNE, which keeps neighbours together;"
            text += " distances and axes mean nothing."
        else:
            text += "."
        title = "Latent space"
        if total > 1 and not (means.var(0, ddof=1, dtype=np.float64) > ACTIVE).any():
            title += " of a collapsed posterior: noise alone"
            text += " No mean varies with the data: what is seen here, clusters too, is noise."
        names = [f"{name}{i}" for name, own in sizes.items() for i in range(own)]
        axes = (names[0], names[1] if size == 2 else "") if size <= 2 else ("", "")
        labels = y[chosen] if y is not None and y.ndim == 1 else None
        if self.column is not None or (labels is None and columns.is_table(subject.run)):
            said, parts = self._columns(subject, chosen)
            at = plots.embed(means[chosen], seed=seed)
            draw = partial(plots.coloured_maps, at, parts, axes_names=axes)
            return Prepared(title, text + said, draw, chart=len(parts) > 1)
        if labels is not None:
            many = len(np.unique(labels)) > plots.CLASSES
            text += " Colours are classes" + (", too many to name: they repeat." if many else ".")
        at = plots.embed(means[chosen], seed=seed)
        draw = partial(plots.latent_map, at, labels, subject.run.schema.classes, axes_names=axes)
        return Prepared(title, text, draw, chart=False)

    def _columns(self, subject: Subject, chosen: np.ndarray) -> tuple[str, list[Colouring]]:
        """What is said of the columns that colour the rows `chosen`, and these."""
        known = typed_columns(subject.run)
        names = [each.name for each in known]
        if self.column is None:
            table = columns.reconstructed(subject)
            index = np.argsort(-table.known(), kind="stable")[:COLOURS].tolist()
            said = " Colours are the columns that codes tell most of." if len(names) > COLOURS else ""
        elif self.column in names:
            table, index, said = columns.data_of(subject, 1), [names.index(self.column)], ""
        else:
            raise ValueError(unknown("column", self.column, names))
        x = visible(subject.rows(chosen)).astype(np.float64)
        parts = [columns.colouring(known[i], table.domains[i], x[:, i]) for i in index]
        return f"{said} A cell that is missing is grey." if np.isnan(x[:, index]).any() else said, parts


@dataclass(frozen=True)
class KL(Picture):
    """The KL of each latent dimension, the largest first, inactive dimensions in grey."""

    def lacks(self, run: Run) -> str:
        latents, sizes = outline(run.model).latents, run.model.sizes
        sums = any(latent.kl_terms.shape[-1] == sizes.get(latent.name) for latent in latents)
        return "" if sums else "a latent whose KL is a sum over dimensions"

    def __call__(self, subject: Subject) -> Prepared:
        terms, sizes = subject.scores.kl_per_dimension, subject.run.model.sizes
        kl = {name: own for name, own in terms.items() if len(own) == sizes[name]}
        if not kl:
            raise ValueError(f"no KL of {subject.run.path} is a sum over dimensions")
        means = subject.codes[0]
        variances = means.var(0, ddof=min(1, len(means) - 1), dtype=np.float64)
        ends = np.cumsum(list(sizes.values()))
        active = {name: own > ACTIVE for name, own in zip(sizes, np.split(variances, ends[:-1]), strict=True)}
        text = "How much each dimension tells of a datum. "
        text += "A grey bar is an inactive one: its mean hardly varies over the data."
        if whole := [name for name in sizes if name not in kl]:
            text += f" Not shown: {', '.join(whole)}, whose KL is no sum over dimensions."
        if len(kl) > PANELS:
            text = "How much each latent tells of a datum, all of its dimensions together, in the order of being drawn."
            sums = {name: sum(own) for name, own in kl.items()}
            return Prepared("KL per latent", text, partial(plots.kl_groups, sums))
        return Prepared("KL per latent dimension", text, partial(plots.kl_bars, kl, active))


@dataclass(frozen=True)
class Correlations(Picture):
    """The correlations between latent dimensions in the posterior of one datum, and their absolute average over n."""

    n: int = 200
    datum: int = 0

    def __call__(self, subject: Subject) -> Prepared:
        run = subject.run
        one, batch = _correlations(subject, subject.one(self.datum))[0], subject.some(self.n)
        average = np.zeros_like(one)
        for i in range(0, len(batch), ROWS):
            some = _correlations(subject, batch.take(slice(i, i + ROWS)))
            average += np.abs(some).sum(0) / len(batch)
        off = average[~np.eye(len(average), dtype=bool)]
        text = (
            f"Correlations between latent dimensions in q(z | x): of datum {self.datum} of the {subject.split} split,"
        )
        text += f" and their absolute values averaged over {len(batch):,} data"
        text += f" (off the diagonal {off.mean():.2f} on average)." if len(off) else "."
        text += " A diagonal posterior has none by its construction; a full-rank one learns them."
        if len(run.model.sizes) > 1:
            text += f" Dimensions are those of {', '.join(run.model.sizes)}, in this order."
        return Prepared("Correlations in the posterior", text, partial(plots.correlations, one, average))


@torch.no_grad()
def _correlations(subject: Subject, batch: Batch) -> np.ndarray:
    """Those of q(z | x) for each of a batch: (B, D, D), zero between latents that are drawn apart."""
    model = subject.run.model
    with seeded(subject.seed), evaluating(model):
        if model.apart:
            covariances = [_covariance(q) for q in model.posterior(model.typed(batch)).values()]
            whole = torch.stack([torch.block_diag(*own) for own in zip(*covariances, strict=True)])
        else:
            whole = _covariance_of(model.encode(batch, samples=DRAWS))
    scale = whole.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(whole.dtype).tiny).sqrt()
    return array(whole / scale[:, :, None] / scale[:, None, :])


def _covariance(q: Distribution) -> Tensor:
    """The covariance matrices (B, D, D) of q over z (B, D): in closed form, else from draws."""
    try:
        return covariance(q)
    except NotImplementedError:
        return _covariance_of(q.sample(torch.Size((DRAWS,))))


def _covariance_of(z: Tensor) -> Tensor:
    """Those of draws z (S, B, D)."""
    off = (z - z.mean(0)).movedim(0, -1)
    return off @ off.mT / (DRAWS - 1)
