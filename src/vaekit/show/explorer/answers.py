"""What the page asks of a model: codes, what they decode to, scores, draws, missing cells; numbers in, numbers out.

What is decoded is an array, which travels as its bytes: a hundred images are millions of numbers.
x is flat (E), in the data's own units, a missing cell None; z is flat (D), all latents side by side in the model's
order. The same each time for one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ...data.batch import Batch
from ...distributions.moments import center, stddev, typical
from ...distributions.observed import cell_log_probs, whole
from ...errors import UndefinedError
from ...evaluation.anomalies import cell_nats
from ...evaluation.imputation import fill
from ...models.sampling import draws
from ...models.scoring import MEMORY, Scores, chunks, plan, score, sums
from ...models.trace import Trace
from ...modules import evaluating
from ...runs.tables import typed_columns
from ...seeding import seeded
from ...system.progress import working
from ..pictures.base import array, blank
from ..pictures.columns import is_table
from .given import MOST, Condition, Rows, batch_of, check_number, codes_given, condition_of

if TYPE_CHECKING:
    from ...runs.run import Run

SAMPLES = 16
"""Draws of z that a bound is averaged over."""
FILLING = 200
"""Samples of z by which a missing cell is filled."""


@dataclass(frozen=True)
class Encoded:
    """Codes of B data: means and standard deviations (B, D)."""

    mean: list[list[float]]
    sd: list[list[float]]


@dataclass(frozen=True)
class Decoded:
    """What B codes stand for: means (B, E), of categories the likeliest; and how likely each is, by column (B, L)."""

    x: np.ndarray
    probabilities: dict[str, list[list[float]]] | None = None


@dataclass(frozen=True)
class Scored:
    """The bounds of B data, nats; and of a table what each column takes of it, (B, E)."""

    elbo: list[float]
    columns: list[list[float]] | None = None


@dataclass(frozen=True)
class Drawn:
    """n codes (n, D) and what they are decoded to, (n, E)."""

    z: list[list[float]]
    x: np.ndarray


@dataclass(frozen=True)
class Filled:
    """One datum (E) whose missing cells are filled."""

    x: list[float]


@dataclass(frozen=True)
class Answers:
    """What is asked of a run.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from vaekit import train
    >>> answers = Answers(train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1))
    >>> z = answers.encode([[0.0] * 64]).mean
    >>> len(answers.decode(z).x[0]), len(answers.draw(3, seed=1).x)
    (64, 3)
    """

    run: Run

    # -- of tensors ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def codes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Means and standard deviations (B, D) of the posteriors of a batch, each given the means of those before it;
        of one that has none in closed form, of draws of a fixed seed.
        """
        model = self.run.model
        with seeded(0), evaluating(model):
            found = model.infer(model.typed(batch), lambda _, q: center(q))
            spreads = {name: (q, stddev(q).expand_as(z)) for name, (q, z) in found.items()}
            return model.side_by_side(found), model.side_by_side(spreads)

    @property
    def has_scores(self) -> bool:
        """Whether the likelihood is a density of the data."""
        return bool(getattr(self.run.model.likelihood, "is_density", True))

    @torch.no_grad()
    def scores(self, batch: Batch, seed: int = 0) -> tuple[Scores, Tensor | None]:
        """The bounds of a batch from `SAMPLES` draws; and of a table the nats that each column takes of each row on
        average over these, (B, D), None where columns depend on each other.
        """
        model, found = self.run.model, []
        cells: list[Tensor | None] = []
        rows, at_once = self._plan
        with seeded(seed), evaluating(model), working("scoring", len(batch)) as step:
            for start in range(0, len(batch), rows):
                parts, columns = [], []
                for many in chunks(SAMPLES, at_once):
                    trace = model.trace(batch.take(slice(start, start + rows)), many, sum_classes=True)
                    parts.append((many, sums(trace)))
                    columns.append(self._of_columns(trace, many / SAMPLES))
                found.append(score(parts))
                cells += [_total(columns)]
                step(min(start + rows, len(batch)))
        return joined(found), _total(cells, torch.cat)

    def _of_columns(self, trace: Trace, share: float) -> Tensor | None:
        """-log p of each column given z, the mean over a trace's draws times their share of all, (B, D)."""
        with suppress(UndefinedError):
            return share * cell_nats(trace).mean(0) if is_table(self.run) else None
        return None

    @cached_property
    def _plan(self) -> tuple[int, int]:
        """How many data, and how many draws of each, go at once."""
        with seeded(0), evaluating(self.run.model):
            return plan(self.run.model.trace, blank(self.run.model), MOST, SAMPLES, MEMORY)

    @cached_property
    def order(self) -> list[str]:
        """The latents in the order in which they are drawn from the model."""
        model = self.run.model
        with torch.no_grad(), seeded(0), evaluating(model):
            return list(model.generate(model.network_condition(blank(model).y), draws(1)))

    def abilities(self, one: Batch) -> tuple[str, ...]:
        """What can be asked, of which `one` is a datum."""
        in_turn = len(self.order) > len(self.run.model.roots)
        found = ["encode", "decode", "draw", *["score"] * self.has_scores, *["levels"] * in_turn]
        observed = torch.ones_like(one.x, dtype=torch.bool)
        observed.view(-1)[-1] = False
        with suppress(ValueError):
            fill(self.run.model, self.run.model.typed(Batch(one.x, one.y, observed)), 2)
            found.append("impute")
        return tuple(found)

    # -- of lists of numbers -------------------------------------------------------------------------------------------

    def encode(self, x: Rows, y: Condition = None) -> Encoded:
        """The posteriors of data x (B, E)."""
        mean, sd = self.codes(batch_of(self.run, x, y))
        return Encoded(mean.tolist(), sd.tolist())

    @torch.no_grad()
    def decode(self, z: Rows, y: Condition = None, levels: int | None = None) -> Decoded:
        """The means of p(x given z) for z (B, D); with `levels` k, of the k latents that are drawn first alone, the
        others being the means of their priors given those.
        """
        codes = codes_given(self.run, z)
        given = condition_of(self.run, y, len(codes))
        if levels is not None:
            with seeded(0), evaluating(self.run.model):
                codes = self._below(codes, given, levels, lambda _, p: center(p))
        return self._decoded(codes, given)

    def score(self, x: Rows, y: Condition = None) -> Scored:
        """The bounds of data x (B, E), from draws of a fixed seed."""
        if not self.has_scores:
            raise ValueError(f"the likelihood of {self.run.path.name} is no density of its data: they have no score")
        found, columns = self.scores(batch_of(self.run, x, y))
        return Scored(found.elbo.tolist(), None if columns is None else columns.tolist())

    @torch.no_grad()
    def draw(
        self,
        n: int,
        seed: int = 0,
        *,
        x: Sequence[float | None] | None = None,
        z: Sequence[float] | None = None,
        levels: int | None = None,
        y: Condition = None,
    ) -> Drawn:
        """n draws of q(z given x); or with z and `levels` k, z of the k latents that are drawn first, and draws of the
        others given those; or n draws of the prior; and the means of p(x given z) at these.
        """
        model = self.run.model
        check_number("n", n, 1, MOST)
        check_number("seed", seed, 0, 2**63 - 1)
        if x is not None and z is not None:
            raise ValueError("x and z are both given; draw given one of them")
        if (z is None) != (levels is None):
            raise ValueError("z and levels go together: how many of the latents of z are kept")
        given = condition_of(self.run, y, n)
        if x is not None:
            codes = model.encode(batch_of(self.run, [x], y), samples=n, seed=seed)[:, 0]
        else:
            start = torch.zeros(n, model.latent_size, device=model.scale.device)
            if z is not None:
                start = codes_given(self.run, [z]).expand(n, -1)
            with seeded(seed), evaluating(model):
                codes = self._below(start, given, levels or 0, draws(n))
        return Drawn(codes.tolist(), self._decoded(codes, given).x)

    def impute(self, x: Sequence[float | None], y: Condition = None) -> Filled:
        """One datum x (E) with its missing cells filled, from `FILLING` weighted samples of a fixed seed: means of
        numbers, the likeliest of categories.
        """
        return Filled(fill(self.run.model, batch_of(self.run, [x], y), FILLING)[0].reshape(-1).tolist())

    def _below(self, z: Tensor, y: Tensor | None, levels: int, take: Callable[[str, Distribution], Tensor]) -> Tensor:
        """z (B, D) of whose latents the first `levels` in the order of being drawn are kept, the others as `take`
        gives.
        """
        model, own = self.run.model, self.run.model.split(z)
        check_number("levels", levels, 0, len(self.order))

        def taken(name: str, p: Distribution) -> Tensor:
            found = own[name] if name in self.order[:levels] else take(name, p)
            return found.expand_as(own[name])

        return model.side_by_side(model.generate(model.network_condition(y), taken))

    def _decoded(self, z: Tensor, y: Tensor | None) -> Decoded:
        model = self.run.model
        with seeded(0), evaluating(model):
            px = whole(model.generated(z, model.network_condition(y), False))
            x = typical(px).expand(len(z), *model.event_shape)
            x = x if x.dtype == torch.float64 else x.float()
            return Decoded(array(x).reshape(len(z), -1), self._probabilities(px) if is_table(self.run) else None)

    def _probabilities(self, px: Distribution) -> dict[str, list[list[float]]] | None:
        """How likely each category of each column is, (B, L) by name; None where columns depend on each other."""
        columns = typed_columns(self.run)
        sizes = np.array([len(each.categories) for each in columns])
        if not sizes.any():
            return {}
        filler = np.broadcast_to(self.run.schema.domain.filler, len(columns))
        tried = np.minimum(np.arange(sizes.max())[:, None], np.maximum(sizes - 1, 0))
        cells = torch.as_tensor(np.where(sizes > 0, tried, filler), dtype=self.run.model.scale.dtype)
        try:
            found = cell_log_probs(px, cells[:, None].to(self.run.model.scale.device)).exp()  # (L, B, D)
        except UndefinedError:
            return None
        return {
            each.name: found[: len(each.categories), :, i].T.tolist()
            for i, each in enumerate(columns)
            if each.categories
        }


def _total(
    parts: Sequence[Tensor | None], joining: Callable[[list[Tensor]], Tensor] = lambda each: torch.stack(each).sum(0)
) -> Tensor | None:
    """All parts as one, None where one is."""
    known = [each for each in parts if each is not None]
    return joining(known) if len(known) == len(parts) else None


def joined(found: Sequence[Scores]) -> Scores:
    """The scores of several batches as those of one."""
    if len(found) == 1:
        return found[0]
    own: dict[str, Any] = {}
    for name, first in vars(found[0]).items():
        every = [getattr(each, name) for each in found]
        of_latents = isinstance(first, dict)
        own[name] = {key: torch.cat([each[key] for each in every]) for key in first} if of_latents else torch.cat(every)
    return Scores(**own)
