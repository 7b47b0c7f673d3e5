"""Pictures of walks through the latent space: between data, along its dimensions, and over a plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...models.tokens import quantised
from ...modules import evaluating
from ...seeding import seeded
from ...settings import setting
from .. import plots
from .base import Picture, Prepared, Subject, array, no_images, visible

if TYPE_CHECKING:
    from ...models import VAE
    from ...runs.run import Run

PERCENTILES = (1, 99)
"""Of the codes of data, between which a dimension is walked along."""
DRAWS = 10_000
"""Of the prior, by whose quantiles a plane is laid out."""


def _no_walk(run: Run) -> str:
    """What `run` lacks for a walk through its codes."""
    if names := list(quantised(run.model)):
        return f"latents that change gradually ({', '.join(names)} is quantised)"
    return no_images(run)


def _coded(subject: Subject, index: np.ndarray) -> tuple[np.ndarray, Tensor, Tensor | None]:
    """Rows of the split as they are drawn, their posterior means (n, D), and the y that they are decoded with: their
    own, or of a model that classifies the likeliest.
    """
    model, batch = subject.run.model, subject.rows(index)
    y = model.classify(batch).argmax(-1) if model.classifies else batch.y
    return visible(batch), model.encode(batch, seed=subject.seed), y


def _decoded(subject: Subject, z: Tensor, y: Tensor | None) -> np.ndarray:
    """Means of p(x | z) for z (n, steps, D), given y of each of the n, (n · steps, *event)."""
    given = None if y is None else y.repeat_interleave(z.shape[1], 0)
    return array(subject.run.model.decode(z.flatten(0, 1), given, seed=subject.seed))


@dataclass(frozen=True)
class Interpolation(Picture):
    """From one datum to another: a row for each of n pairs, the data at its ends, between them means of p(x | z) on the
    straight line between their codes.
    """

    n: int = 6
    columns: int = 10

    def lacks(self, run: Run) -> str:
        return _no_walk(run)

    def __call__(self, subject: Subject) -> Prepared:
        n = min(self.n, len(subject.data) // 2)
        if not n:
            raise ValueError(f"the {subject.split} split has one row; an interpolation needs two")
        x, z, y = _coded(subject, subject.chosen(2 * n))
        at = torch.linspace(0, 1, self.columns, dtype=z.dtype, device=z.device)[:, None]
        path = z[:n, None] + at * (z[n:, None] - z[:n, None])
        made = _decoded(subject, path, None if y is None else y[:n]).reshape(n, self.columns, *x.shape[1:])
        rows = np.concatenate([x[:n, None], made, x[n:, None]], 1).reshape(-1, *x.shape[1:])
        text = f"Pairs of data of the {subject.split} split, chosen at random, at the left and the right. Between them"
        text += " means of p(x | z) on the straight line from one's posterior mean to the other's"
        text += ", all given the label of the first." if y is not None else "."
        draw = partial(plots.image_grid, rows, columns=self.columns + 2, limits=subject.limits)
        return Prepared("Interpolations", text, draw, chart=False)


@dataclass(frozen=True)
class Traversal(Picture):
    """What each latent dimension does: a row for each of the n that vary most, from low to high, all else of the code
    as it is of one datum; by default a datum at random.
    """

    n: int = 10
    columns: int = 11
    datum: int | None = None

    def lacks(self, run: Run) -> str:
        if missing := _no_walk(run):
            return missing
        model = run.model
        maps = [name for name in model.decoded if len(model.shapes[name]) > 1]
        return f"latents that are vectors ({', '.join(maps[:3])} is maps of places)" if maps else ""

    def __call__(self, subject: Subject) -> Prepared:
        model, means = subject.run.model, subject.codes[0]
        datum = int(subject.chosen(1)[0]) if self.datum is None else self.datum
        subject.one(datum)
        _, z, y = _coded(subject, np.array([datum]))
        names = [f"{name}{i}" for name, size in model.sizes.items() for i in range(size)]
        seen = np.repeat([name in model.decoded for name in model.sizes], list(model.sizes.values()))
        spread = np.where(seen, means.var(0, dtype=np.float64), -1.0)
        kl = _nats(subject)
        order = np.where(seen, kl, -1.0) if np.isfinite(kl[seen]).all() else spread
        chosen = [int(d) for d in np.argsort(-order, kind="stable")[: min(self.n, int(seen.sum()))]]
        low, high = np.percentile(means[:, chosen].astype(np.float64), PERCENTILES, axis=0)
        path = z.expand(len(chosen), self.columns, -1).clone()
        for row, d, first, last in zip(path, chosen, low, high, strict=True):
            row[:, d] = torch.linspace(first, last, self.columns, dtype=z.dtype, device=z.device)
        made = _decoded(subject, path, None if y is None else y.expand(len(chosen), *y.shape[1:]))
        least = "that tell most" if order is not spread else "whose means vary most"
        few = "" if len(chosen) == seen.sum() else f", the {len(chosen)} of {seen.sum()} {least},"
        text = f"Each row walks along one latent dimension{few} from the {PERCENTILES[0]}st to the {PERCENTILES[1]}th"
        text += f" percentile of the posterior means of the {subject.split} data. All other dimensions are those of"
        text += f" datum {datum}; images are means of p(x | z). A row that does not change is a dimension without use."
        text += " Beside each: how many nats it tells of a datum (its KL), and from where to where it is walked."
        told = [f": {kl[d]:.1f} nats" if np.isfinite(kl[d]) else "" for d in chosen]
        ends = [f"{a:.1f} … {b:.1f}".replace("-", "−") for a, b in zip(low, high, strict=True)]
        titles = [f"{names[d]}{nats}, {each}" for d, nats, each in zip(chosen, told, ends, strict=True)]
        draw = partial(plots.image_grid, made, columns=self.columns, limits=subject.limits, rows=titles)
        return Prepared("Walks along latent dimensions", text, draw)


def _nats(subject: Subject) -> np.ndarray:
    """The mean KL of each latent dimension (D,), NaN where that of its latent is no sum over dimensions."""
    sizes, terms = subject.run.model.sizes, subject.scores.kl_per_dimension
    own = [terms.get(name, ()) for name in sizes]
    return np.concatenate(
        [each if len(each) == size else np.full(size, np.nan) for each, size in zip(own, sizes.values(), strict=True)]
    )


@dataclass(frozen=True)
class Manifold(Picture):
    """A latent space of two dimensions as a grid of n×n images: means of p(x | z) at quantiles of the prior (Kingma &
    Welling 2014, figure 4).
    """

    n: int = 20

    def lacks(self, run: Run) -> str:
        if missing := _no_walk(run):
            return missing
        return "" if _plane(run.model) else f"a code of two dimensions ({setting('model.latents.z.size', 2)})"

    def __call__(self, subject: Subject) -> Prepared:
        model, latents = subject.run.model, _plane(subject.run.model)
        y = _one_y(subject)
        draws = np.concatenate([_prior_draws(subject, name, y) for name in latents], -1)
        middles = (np.arange(self.n) + 0.5) / self.n
        across, up = np.quantile(draws.astype(np.float64), middles, axis=0).T
        # As axes are drawn: the first dimension to the right, the second upwards.
        z = np.stack(np.meshgrid(across, up[::-1]), -1).reshape(-1, 2)
        given = None if y is None else y.expand(len(z), *y.shape[1:])
        made = array(model.decode(z, given, seed=subject.seed))
        text = (
            f"Means of p(x | z) where z are {self.n} quantiles of the prior in each of two dimensions, the first from"
        )
        text += " left to right, the second from bottom to top: each image stands for as much of the prior"
        if latents != tuple(model.priors):
            text += f"; these are of {', '.join(latents)}, what is drawn from it is at its mean"
        text += ", given the label of one datum." if y is not None else "."
        draw = partial(plots.image_grid, made, columns=self.n, limits=subject.limits)
        return Prepared("The latent plane", text, draw, chart=False)


def _plane(model: VAE) -> tuple[str, ...]:
    """The latents that have two dimensions together, of all that a model decodes; none where it has more or fewer."""
    if model.latent_size == 2:
        return tuple(model.priors)
    return tuple(model.prefixes.get(2, ()))


def _one_y(subject: Subject) -> Tensor | None:
    """The y of one datum, (1, …), for a model that decodes none without."""
    if not subject.run.model.condition:
        return None
    y = subject.data.y
    return None if y is None else y[torch.as_tensor(subject.chosen(1), device=y.device)]


@torch.no_grad()
def _prior_draws(subject: Subject, name: str, y: Tensor | None) -> np.ndarray:
    model = subject.run.model
    with seeded(subject.seed), evaluating(model):
        z = model.prior(name, model.network_condition(y)).sample(torch.Size((DRAWS,)))
    return array(z.reshape(DRAWS, -1))
