"""Pictures of the bound: what of it is code and what is error, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...models.importance import pareto_shape, untrusted
from ...models.scoring import MEMORY, chunks, plan
from ...models.tokens import quantised
from ...modules import evaluating
from ...seeding import seeded
from .. import plots
from .base import Picture, Prepared, Subject, array

if TYPE_CHECKING:
    from ...runs.run import Run

TERMS = ("kl", "reconstruction")


@dataclass(frozen=True)
class RateDistortion(Picture):
    """Where a training went between rate, the KL, and distortion, the negative reconstruction; along a dotted line
    the ELBO is the same (Alemi et al. 2018).
    """

    per_epoch: ClassVar[bool] = False

    def lacks(self, run: Run) -> str:
        return "" if paths(run) else "epochs that have a KL and a reconstruction"

    def __call__(self, subject: Subject) -> Prepared:
        found = paths(subject.run)
        split, (rates, distortions) = list(found.items())[-1]
        text = (
            "Each point is an epoch: to the right what the code costs, the KL of q(z | x) from the prior; upwards what"
        )
        text += " the decoder still lacks, −E log p(x | z); nats per datum. On a dotted line their sum, −ELBO, is the"
        text += f" same. The last point of {split}: rate {rates[-1]:.2f}, distortion {distortions[-1]:.2f}. At the left"
        text += " edge a code says nothing (a collapsed posterior); a weight of the KL moves a model along the lines."
        return Prepared("Rate and distortion", text, partial(plots.rate_distortion, found))


def paths(run: Run) -> dict[str, tuple[list[float], list[float]]]:
    """By split the KL and the negative reconstruction after each epoch that has finite ones."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for each in run.history():
        rate, reconstruction = (each.terms.get(name, np.nan) for name in TERMS)
        if np.isfinite(rate + reconstruction):
            rates, distortions = found.setdefault(each.split, ([], []))
            rates.append(rate)
            distortions.append(-reconstruction)
    return found


@dataclass(frozen=True)
class ImportanceWeights(Picture):
    """How evenly importance weights p(x, z) / q(z | x) are spread over draws of q, for n data of the split: where a few
    draws outweigh all others, q is far from the true posterior, and the likelihood is loose.
    """

    n: int = 50
    samples: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2:
            raise ValueError(f"samples of a picture is {self.samples}; accepted: 2 or more")

    def lacks(self, run: Run) -> str:
        names = list(quantised(run.model))
        return f"latents that are drawn ({', '.join(names)} is quantised)" if names else ""

    def __call__(self, subject: Subject) -> Prepared:
        weights = _log_weights(subject, self.n, self.samples)
        samples, n = weights.shape
        shares = torch.softmax(weights, 0).sort(0, descending=True).values
        counted = 1 / shares.square().sum(0)
        shapes = pareto_shape(weights.sort(0, descending=True).values, samples)
        loose = int(untrusted(counted, shapes, samples).sum())  # as of an evaluation
        effective = array(counted)
        text = (
            f"For {n} data of the {subject.split} split, chosen at random, {samples:,} draws of q(z | x) each. At the"
        )
        text += " left which part of all weight the heaviest draws have together, a line for each datum and the median"
        text += " of them; dashed: all weigh the same, as with the true posterior. At the right how many draws that are"
        text += f" worth, the effective samples, {np.median(effective):.1f} at the median. Where they are few, the ELBO"
        text += " is far below log p(x), and more samples raise the bound."
        if loose:
            text += (
                f" For {loose} of the {n} data a few draws outweigh all others: their log p(x) is not to be trusted."
            )
        cumulative = array(shares.cumsum(0).clamp(max=1))
        return Prepared("Importance weights", text, partial(plots.weight_shares, cumulative, effective))


@torch.no_grad()
def _log_weights(subject: Subject, n: int, samples: int) -> Tensor:
    """log p(x, z) - log q(z | x), (S, N) nats in float64, of draws of q for the chosen n data that have any."""
    model, batch, found = subject.run.model, subject.some(n), []
    with seeded(subject.seed), evaluating(model):
        batch = model.typed(batch)
        trace = partial(model.trace, sum_classes=True)
        rows, chunk = plan(trace, batch, len(batch), samples, MEMORY)
        for start in range(0, len(batch), rows):
            block = batch.take(slice(start, start + rows))
            found.append(torch.cat([trace(block, many).log_weight.cpu().double() for many in chunks(samples, chunk)]))
    weights = torch.cat(found, 1)
    weights = weights[:, weights.isfinite().all(0)]
    if len(weights) < 2 or not weights.shape[1]:
        raise ValueError(f"{subject.run.path} has no latent that is drawn: all are summed out, and log p(x) is exact")
    return weights
