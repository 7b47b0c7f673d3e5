"""Weights of somebody else's network, read from a file: tensors alone, no code."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..errors import shown


def tensors_of(path: str, what: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a file by their names: .safetensors, or a state dict of torch without pickled code.

    Raises `ValueError`, one line that says of `what` the weights are and with `advice` where the file is not there, for
    anything else.
    """
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - tensors alone, no code
    except FileNotFoundError:
        raise ValueError(f"weights of {what}: {path} is not there; {advice}") from None
    except Exception as error:  # whatever a reader raises of what is damaged, or has code in it
        reason = shown((str(error) or type(error).__name__).splitlines()[0])
        raise ValueError(f"weights of {what}: {path} is no file of tensors: {reason}") from None
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise ValueError(f"weights of {what}: {path} is no state dict, of names and tensors")
    return found
