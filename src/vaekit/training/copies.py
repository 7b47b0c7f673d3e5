"""The copies of a model that a training keeps: averaged weights, and the best ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from ..models import VAE
from ..spec.keys import TrainingSpec
from ..system.devices import repeatable
from .dtensors import local
from .held import into_training


def with_copies(model: VAE, options: TrainingSpec, made: Callable[[VAE], VAE] = lambda model: model) -> dict[str, VAE]:
    """The "model", its "average" where there is to be one, and its "best" weights where it may stop early: in the
    training state, so that they are always of the same past as the rest of it. Each is what is `made` of it.
    """
    models = {"model": made(model)}
    if options.ema:
        models["average"] = made(copy.deepcopy(model).eval().requires_grad_(False))
    if options.early_stopping:
        models["best"] = made(copy.deepcopy(model).requires_grad_(False))
    return models


@contextmanager
def computing(models: Mapping[str, VAE], precision: str) -> Iterator[None]:
    """Inside, the model trains, and with its copies computes in `precision`, the same bits each time; afterwards it is
    as users have it.
    """
    into_training(models["model"])
    for model in models.values():
        model.precision = torch.bfloat16 if precision == "bfloat16" else None
    try:
        with repeatable():
            yield
    finally:
        for model in models.values():
            model.eval()
            model.precision = None


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Also of what networks keep of data: the running averages of averaged weights are about the averages of theirs."""
    mine, theirs = ([local(each) for each in of.parameters()] for of in (average, model))
    torch._foreach_lerp_(mine, theirs, 1 - decay)
    for own, other in zip(average.modules(), model.modules(), strict=True):
        for name, buffer in own._buffers.items():
            now = other._buffers[name]
            if buffer is None or now is None:
                continue
            if name not in own._non_persistent_buffers_set and buffer.is_floating_point():
                buffer.lerp_(now, 1 - decay)
            else:
                buffer.copy_(now)
