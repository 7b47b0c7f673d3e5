"""The numbers that rows of `published.py` are of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import vaekit
from vaekit.evaluation.disentanglement import disentangled
from vaekit.runs.codes import error_of_codes


@dataclass(frozen=True)
class Metric:
    """A number of a run: how it is had of its scores on held-out data, and written."""

    of: Callable[[vaekit.Evaluation, vaekit.Run], float]
    digits: int
    unit: str
    more_is_better: bool = False


def factor_score(name: str) -> Callable[[vaekit.Evaluation, vaekit.Run], float]:
    def of(scores: vaekit.Evaluation, run: vaekit.Run) -> float:
        found = disentangled(run.model, run.data(scores.split), scores.split, (name,))
        return found.numbers[0].value

    return of


METRICS: dict[str, Metric] = {
    "nll": Metric(lambda scores, run: scores.nll, 2, "nats"),
    "-elbo": Metric(lambda scores, run: -scores.elbo, 2, "nats"),
    "bits": Metric(lambda scores, run: scores.bits_per_dim, 3, "bits a dimension"),
    "error": Metric(lambda scores, run: 100 * scores.labels["error"], 2, "%"),
    "error of codes": Metric(lambda scores, run: 100 * error_of_codes(run), 2, "%"),
    "accuracy": Metric(lambda scores, run: 100 * scores.labels["accuracy"], 2, "%", True),
    "mig": Metric(factor_score("mig"), 3, "", True),
    "factor-vae": Metric(factor_score("factor-vae"), 3, "", True),
    "fid": Metric(lambda scores, run: math.nan, 2, ""),
}
"""By the names that rows have for them."""
