"""Pictures with a row for each class, or for each cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from ...distributions.mixtures import Mixture
from ...evaluation.evaluation import clusters
from ...models.trace import clustered
from ...modules import evaluating
from ...seeding import seeded
from ...settings import setting
from .. import plots
from .base import Picture, Prepared, Subject, array, no_images, outline, visible

if TYPE_CHECKING:
    from ...models import VAE
    from ...runs.run import Run

GROUPS = 20
"""Rows, at most."""


@dataclass(frozen=True)
class ConditionalGrid(Picture):
    """Samples of a conditional model, a class in each row; down a column the code is drawn with the same noise."""

    n: int = 10

    def lacks(self, run: Run) -> str:
        if not run.model.condition:
            return f"a condition (train with {setting('model.condition', True)})"
        return no_images(run) if run.schema.classes else "classes (labels, not covariates)"

    def __call__(self, subject: Subject) -> Prepared:
        names, model = subject.run.schema.classes[:GROUPS], subject.run.model
        rows = [model.sample(y=np.full(self.n, k), draw=False, seed=subject.seed) for k in range(len(names))]
        text = "Means of p(x | z, y) at codes z from the prior: what the model expects to see. A row for each class"
        if len(names) < len(subject.run.schema.classes):
            text += f", the first {len(names)} of {len(subject.run.schema.classes)}"
        text += "; down a column the code is drawn with the same noise."
        draw = partial(plots.image_grid, array(torch.cat(rows)), columns=self.n, limits=subject.limits, rows=names)
        return Prepared("Samples from the prior, by class", text, draw)


@dataclass(frozen=True)
class ClusterGrid(Picture):
    """A row for each cluster, a class of a discrete latent or a component of a mixture prior: samples, or data."""

    n: int = 10
    show: Literal["samples", "data"] = "samples"

    def lacks(self, run: Run) -> str:
        if _clustered(run.model) is None:
            return "clusters (a discrete latent, or a mixture as a prior)"
        return no_images(run)

    def __call__(self, subject: Subject) -> Prepared:
        model, found = subject.run.model, _clustered(subject.run.model)
        if found is None:
            raise ValueError(f"{subject.run.path} has no clusters to draw")
        name, count = found
        own = clusters(model, subject.data)
        sizes = np.bincount(own, minlength=count)
        # Where there are many, those that have most of the data, in their order.
        shown = np.sort(np.argsort(-sizes, kind="stable")[:GROUPS])
        if self.show == "data":
            images, order = np.full((len(shown), self.n, *model.event_shape), np.nan), subject.chosen(len(own))
            for row, k in zip(images, shown, strict=True):
                members = order[own[order] == k][: self.n]
                if len(members):
                    row[: len(members)] = visible(subject.rows(members))
            text = f"Data of the {subject.split} split, chosen at random, by the cluster that they fall into"
        else:
            images = np.stack([array(each) for each in _samples(subject, name, shown, self.n)])
            text = "Means of p(x | z) at codes z drawn from one cluster of the prior"
        text += f", a row for each of {len(shown)} clusters"
        text += f" of {count}, those that most data fall into" if len(shown) < count else ""
        text += f". Beside its number is the share of the {subject.split} data that fall into it."
        names = [f"{k}: {share:.0%}" for k, share in zip(shown, sizes[shown] / len(own), strict=True)]
        flat = images.reshape(-1, *model.event_shape)
        draw = partial(plots.image_grid, flat, columns=self.n, limits=subject.limits, rows=names)
        return Prepared(f"Clusters of latent {name}", text, draw)


def _clustered(model: VAE) -> tuple[str, int] | None:
    """The latent whose classes or components are the clusters of `VAE.clusters`, and how many there are.

    Components without weight are none: they come last.
    """
    found = clustered([latent for latent in outline(model).latents if latent.name in model.roots])
    if found is None:
        return None
    if found.one_hot:
        return found.name, found.q.event_shape[-1]
    weights = found.p.mixture_distribution.probs  # type: ignore[attr-defined]
    return found.name, int((weights.flatten(0, -2).amax(0) if weights.dim() > 1 else weights).count_nonzero())


@torch.no_grad()
def _samples(subject: Subject, clustered: str, shown: np.ndarray, n: int) -> list[Tensor]:
    """Means of p(x | z), n for each of the clusters `shown`; all else of z has the same noise in each."""
    model, y = subject.run.model, subject.conditions(n)
    given = model.network_condition(y)
    rows = []
    for k in shown.tolist():
        with seeded(subject.seed), evaluating(model):
            z = []
            for name in model.roots:
                p = model.prior(name, given)
                if name == clustered and isinstance(p, Mixture):
                    drawn = p.component_distribution.sample(torch.Size((n,) if y is None else ()))[:, k]
                else:
                    drawn = p.sample(torch.Size((n,) if y is None else ()))
                    if name == clustered:
                        drawn = torch.eye(drawn.shape[-1], dtype=drawn.dtype, device=drawn.device)[k].expand(n, -1)
                z.append(drawn)
            rows.append(model.decode(torch.cat(z, -1), y))
    return rows
