"""What the page asks of a model: codes, what they decode to, scores, draws, missing cells; numbers in, numbers out.

x is flat (E), in the data's own units, a missing cell NaN; z is flat (D), all latents side by side in the model's
order. The same each time for one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...data.batch import Batch
from ...distributions.moments import center
from ...models.sampling import draws
from ...modules import evaluating
from ...seeding import seeded

if TYPE_CHECKING:
    from ...models.scoring import Scores
    from ...runs.run import Run

SAMPLES = 16
"""Draws of z that a bound is averaged over."""


@dataclass(frozen=True)
class Codes:
    """Posterior means (B, D), and standard deviations where all posteriors have them in closed form."""

    mean: Tensor
    sd: Tensor | None


@torch.no_grad()
def codes_of(run: Run, batch: Batch) -> Codes:
    """The posteriors of a batch."""
    model = run.model
    with seeded(0), evaluating(model):
        found = model.infer(model.typed(batch), lambda _, q: center(q))
        mean = model.side_by_side(found)
        try:
            spread = {name: (q, q.stddev.expand_as(z)) for name, (q, z) in found.items()}
            return Codes(mean, model.side_by_side(spread))
        except NotImplementedError:
            return Codes(mean, None)


def scored(run: Run, batch: Batch, seed: int = 0) -> Scores | None:
    """Bounds of a batch, from `SAMPLES` draws; None of a model whose likelihood is no density."""
    model = run.model
    if not getattr(model.likelihood, "is_density", True):
        return None
    with seeded(seed), evaluating(model):
        return model.scorer(SAMPLES)(batch)


def order_of(run: Run) -> list[str]:
    """The latents in the order in which they are drawn from the model."""
    model = run.model
    y = torch.zeros(1, model.condition, device=model.scale.device) if model.condition else None
    with torch.no_grad(), seeded(0), evaluating(model):
        return list(model.generate(y, draws(1)))


def abilities(run: Run, one: Batch) -> tuple[str, ...]:
    """What can be asked of a run."""
    return ("encode", "decode", "score", "draw", "levels", "impute")
