"""Tensors of which each process holds a shard, `torch.distributed.tensor.DTensor`, and others alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..system.processes import answering


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process holds a shard of it."""
    return hasattr(tensor, "to_local")  # not by the class, which takes seconds to import


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory: all of one that is not sharded."""
    given: Any = tensor
    return given.to_local() if is_sharded(tensor) else tensor


def sharded_as(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole `tensor`, the same in all processes, sharded as the `other` is."""
    from torch.distributed.tensor import distribute_tensor

    like: Any = other
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def fill(target: Tensor, source: Tensor) -> None:
    """Copy `source` into `target`. Where the source alone is sharded, all processes have to do it."""
    if is_sharded(target) and not is_sharded(source):
        source = sharded_as(source, target)
    elif is_sharded(source) and not is_sharded(target):
        source = _full(source)
    local(target).copy_(local(source))


@torch.no_grad()
def gathered(tensors: Mapping[str, Tensor], kept: bool) -> dict[str, Tensor]:
    """Whole tensors of those that are sharded, one after another in all processes, on the CPU; of these alone where
    they are not to be `kept` in this one.
    """
    found = {}
    for name, tensor in tensors.items():
        whole = _full(tensor.detach()).cpu() if is_sharded(tensor) else tensor
        if kept:
            found[name] = whole
    return found


def _full(tensor: Any) -> Tensor:
    with answering():
        return tensor.full_tensor()
