"""What parts of a model say of themselves that is to be known before they are used."""

from __future__ import annotations

from torch import nn


def remarks(model: nn.Module) -> list[str]:
    """The `remark` of each part of `model` that has one, a line with its name; what is dear is told so beforehand.

    >>> part = nn.Linear(1, 1)
    >>> part.remark = "takes an hour"
    >>> remarks(nn.ModuleDict({"priors": nn.ModuleDict({"z": part})}))
    ['priors.z: takes an hour']
    """
    found = {name: getattr(each, "remark", "") for name, each in model.named_modules()}
    return [f"{name}: {remark}" for name, remark in found.items() if remark]
