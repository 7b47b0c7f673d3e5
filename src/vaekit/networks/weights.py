"""Weights of somebody else's network, read from a file: tensors alone, no code."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from ..errors import shown

SAFE = ".safetensors"


def tensors_of(path: str, what: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by their names.

    Raises `ValueError`, one line that says of `what` the weights are and with `advice` where the file is not there, for
    anything else: torch's own files are pickles, which may have code in them.
    """
    file = Path(path)
    if not file.exists():
        raise ValueError(f"weights of {what}: {path} is not there; {advice}")
    if file.suffix != SAFE:
        made = f"safetensors.torch.save_file(torch.load({path!r}, weights_only=True), {str(file.with_suffix(SAFE))!r})"
        raise ValueError(f"weights of {what}: {path} is no {SAFE} file; of a file of torch's it is made by {made}")
    try:
        return load_file(file)
    except Exception as error:  # whatever a reader raises of what is damaged
        reason = shown((str(error) or type(error).__name__).splitlines()[0])
        raise ValueError(f"weights of {what}: {path} is no file of tensors: {reason}") from None
