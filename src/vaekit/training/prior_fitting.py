"""Priors that are fitted to the codes of a model while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..data.tensors import TensorSplit
from ..system.processes import Processes
from ..system.progress import working
from . import validation as looking
from .weights import model_tensors, set_model_tensors

FITTED_ROWS = 20_000
"""Training data, at most, whose codes a part is fitted to."""


def fit_priors(
    model: Any,
    copies: Sequence[Any],
    train: TensorSplit,
    epoch: int,
    epochs: int,
    seed: int,
    processes: Processes | None = None,
) -> None:
    """Fit priors to the codes of training data, before the first epoch after each time of their `fit_after`.

    The codes are draws of the posteriors, whose average a prior is to be. `copies` of the model, such as the average of
    its weights, get the same prior. Of several processes the first does it for all.
    """
    processes = processes or Processes()
    for name, prior in model.priors.items():
        times = getattr(prior, "fit_after", ())
        before, passed = (sum(after <= done / epochs for after in times) for done in (epoch - 1, epoch))
        if before == passed:
            continue
        if processes.first:
            rows = torch.randperm(len(train))[:FITTED_ROWS].to(train.x.device).split(looking.ROWS)
            codes = [model.encode(train.batch(index), samples=1)[0] for index in rows]
            with working(f"fitting the prior of {name}"):
                prior.fit(model.split(torch.cat(codes))[name], seed, passed - 1)
        processes.share(model_tensors(prior).values())
        for each in copies:
            set_model_tensors(each.priors[name], model_tensors(prior))
