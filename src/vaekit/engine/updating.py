"""The optimizer's update of the weights."""

from __future__ import annotations

import torch
from torch.optim import Adagrad, Adam, AdamW, Optimizer

EVERY = 256
"""Updates after which an Adam's averages are looked at."""
NOTHING = {"exp_avg": 1e-20, "exp_avg_sq": 1e-36}
"""What an Adam's averages are less than where they are nothing: beside an `eps` of `LEAST` or more."""
LEAST = 1e-10


class Update:
    """`optimizer.step()`, with an Adam's averages kept out of the numbers below the normal ones.

    The mean of gradients that have become zero halves every seven steps, and is such a number for good after seven
    hundred; each takes the processor several times as long. Call `refresh` when the state may be another.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.is_adam = type(optimizer) in (Adam, AdamW)
        self.done = 0

    def refresh(self, done: int = 0) -> None:
        """Count anew, from so many on; `ValueError` for a state that is not of its weights."""
        self.done = done
        if self.is_adam:
            check_state(self.optimizer)

    def __call__(self) -> None:
        if self.is_adam and self.done % EVERY == 0:
            clear(self.optimizer)
        self.done += 1
        self.optimizer.step()


def fuses(kind: object, device: torch.device, sharded: bool = False) -> bool:
    """Whether a kind of optimizer may be asked for one kernel for all weights: torch 2.11 refuses Adagrad's on CUDA,
    and of weights that are `sharded` has Adam's alone.

    >>> fuses(Adam, torch.device("cuda")), fuses(Adagrad, torch.device("cuda"))
    (True, False)
    """
    if sharded:
        return kind in (Adam, AdamW)
    return device.type == "cpu" or kind is not Adagrad


def update(optimizer: Optimizer) -> Update:
    """What takes the place of `optimizer.step`."""
    return Update(optimizer)


def check_state(optimizer: Optimizer) -> None:
    """`ValueError` where the state of an Adam has other numbers than its weights: torch's fused update does not look,
    and would write beyond.
    """
    for group in optimizer.param_groups:
        for index, weight in enumerate(group["params"]):
            for name, tensor in optimizer.state.get(weight, {}).items():
                shape = torch.Size() if name == "step" else weight.shape
                dtype = tensor.dtype if name == "step" else weight.dtype
                if (tensor.shape, tensor.dtype) != (shape, dtype):
                    found = f"shape {tuple(tensor.shape)} and type {tensor.dtype}"
                    needed = f"needed: shape {tuple(shape)} and type {dtype}"
                    raise ValueError(f"the optimizer's {name!r} of weight {index} has {found}; {needed}")


@torch.no_grad()
def clear(optimizer: Optimizer) -> None:
    """Make zeros of what is nothing."""
    for group in optimizer.param_groups:
        if group["eps"] < LEAST:
            continue
        for weight in group["params"]:
            for name, tensor in optimizer.state.get(weight, {}).items():
                if name in NOTHING and tensor.device.type == "cpu":
                    tensor.masked_fill_(tensor.abs() < NOTHING[name], 0.0)
