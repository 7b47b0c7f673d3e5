"""Modules in evaluation for a while, passes that leave no trace in them, and modes that look at what operations do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

TABLES = frozenset({"_parameters", "_buffers", "_modules"})
"""Where PyTorch keeps what it knows of a module."""


class Uncompiled(TorchDispatchMode):
    """A mode that is never compiled: torch's own would import the compiler to leave it out, which takes two seconds."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Inside, `module` and all its submodules are in evaluation mode; afterwards each is in the mode that it was in."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, training in modes:
            each.training = training


def check_registered(module: nn.Module) -> None:
    """`ValueError` where `module` has weights to train that PyTorch does not know of: modules in a list of Python's, a
    tensor with a gradient that is no parameter. They would be neither trained nor saved.
    """
    known = {id(each) for each in module.parameters()}
    for within, each in module.named_modules():
        for attribute, value in vars(each).items():
            if attribute in TABLES or all(id(one) in known for one in _weights_in(value)):
                continue
            kind, instead = (
                f"is a {type(value).__name__} of Python's",
                "nn.ModuleList, nn.ModuleDict or nn.ParameterList",
            )
            if isinstance(value, Tensor):
                kind, instead = "is no parameter", "nn.Parameter"
            what = f"{within}.{attribute} has weights, but {kind}: they would be neither trained nor saved"
            raise ValueError(f"{what}; make it an {instead}, or freeze them: requires_grad_(False)")


def _weights_in(value: object) -> list[Tensor]:
    """The tensors with a gradient of their own in an attribute of a module."""
    if isinstance(value, Tensor):
        return [value] if value.requires_grad and value.is_leaf else []
    if isinstance(value, nn.Module):
        return [each for each in value.parameters() if each.requires_grad]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple, set)) else ()
    return [tensor for each in inside for tensor in _weights_in(each)]


@contextmanager
def apart(module: nn.Module) -> Iterator[None]:
    """Inside, what passes through `module` leaves no trace in what it keeps: it has copies of its saved buffers.

    For passes of what is no data, such as pseudo-inputs: a network's running averages are those of data alone.
    """
    before = [(each._buffers, dict(each._buffers), each._non_persistent_buffers_set) for each in module.modules()]
    for table, kept, derived in before:
        table.update({name: kept[name].clone() for name in kept.keys() - derived if kept[name] is not None})  # type: ignore[union-attr]
    try:
        yield
    finally:
        for table, kept, _ in before:
            table.update(kept)


def move(module: nn.Module, device: torch.device) -> None:
    """Move a module to a device; on CUDA with the weights of its convolutions channels last, as tensor cores take them:
    what such a layer makes of images is laid out like its weights.
    """
    convolves = any(isinstance(each, (nn.Conv2d, nn.ConvTranspose2d)) for each in module.modules())
    if device.type == "cuda" and convolves:
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        module.to(device)
