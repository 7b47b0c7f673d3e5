"""The copies of a model that a training keeps: averaged weights, and the best ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from ..models import VAE
from ..spec.keys import TrainingSpec
from ..system.devices import repeatable


def with_copies(model: VAE, options: TrainingSpec) -> dict[str, VAE]:
    """The "model", its "average" where there is to be one, and its "best" weights where it may stop early: in the
    training state, so that they are always of the same past as the rest of it.
    """
    models = {"model": model}
    if options.ema:
        models["average"] = copy.deepcopy(model).eval().requires_grad_(False)
    if options.early_stopping:
        models["best"] = copy.deepcopy(model).requires_grad_(False)
    return models


@contextmanager
def computing(models: Mapping[str, VAE], precision: str) -> Iterator[None]:
    """Inside, the model trains, and with its copies computes in `precision`, the same bits each time; afterwards it is
    as users have it.
    """
    models["model"].train()
    for model in models.values():
        model.precision = torch.bfloat16 if precision == "bfloat16" else None
    try:
        with repeatable():
            yield
    finally:
        models["model"].eval()
        for model in models.values():
            model.precision = None


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Also of what networks keep of data: the running averages of averaged weights are about the averages of theirs."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for mine, theirs in zip(average.modules(), model.modules(), strict=True):
        for name, buffer in mine._buffers.items():
            now = theirs._buffers[name]
            if buffer is None or now is None:
                continue
            if name not in mine._non_persistent_buffers_set and buffer.is_floating_point():
                buffer.lerp_(now, 1 - decay)
            else:
                buffer.copy_(now)
