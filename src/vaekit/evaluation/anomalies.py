"""How odd data are to a model, and what of them is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.batch import Batch
from ..distributions.observed import cell_log_probs
from ..models import VAE
from ..models.scoring import MEMORY
from ..models.trace import Trace
from ..modules import evaluating
from .alike import row_by_row
from .weighted import alike_plan, weighted


@dataclass(frozen=True)
class Anomalies:
    """How odd each of B rows is, nats."""

    score: Tensor
    """-log p(x), estimated by importance sampling, (B,): the higher, the odder."""
    contributions: Tensor
    """(B, *event): -log p of each cell given z, and of a pixel whose channels hang together those before it, averaged
    over p(z given x); 0 of what is not observed. What all of them lack of `score` is the information in z itself.
    """


@torch.no_grad()
def anomalies(
    model: VAE, batch: Batch, samples: int = 100, seed: int | None = 0, memory: int = 4 * MEMORY
) -> Anomalies:
    """How odd the rows of a batch are, from `samples` of z for each; the same each time for one seed.

    The same random numbers are drawn for all rows: a score does not depend on the rows beside it, and differences of
    scores are not those of chance.

    Raises `ValueError` for a likelihood whose cells depend on each other given z.
    """

    def one(row: Batch) -> tuple[Tensor, ...]:
        known = weighted(model, row, samples, chunk, lambda trace: [cell_nats(trace)])
        return known.log_prob, known.averages[0]

    with evaluating(model):
        rows, chunk = alike_plan(model, batch, samples, memory)
        log_prob, contributions = row_by_row(one, batch, rows, seed)
    return Anomalies(-log_prob, contributions)


def cell_nats(trace: Trace) -> Tensor:
    """-log p of each cell given each draw of z, (S, B, *event), nats: 0 of what is not observed, and where classes are
    summed out of a table the mean over q(y given x).

    Raises `UndefinedError` for a likelihood whose cells depend on each other given z.
    """
    cases, observed = trace.cases, trace.batch.observed
    x = trace.x if cases is None else cases.repeat(trace.x)
    found = -cell_log_probs(trace.px, x)
    if observed is not None:
        found = torch.where(observed if cases is None else cases.repeat(observed), found, 0.0)
    return found if cases is None else cases.expected_rows(found)
