"""A split of a dataset on a device: stored values as they are, turned into what a model sees a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..domains import Domain
from .base import Dataset
from .treatment import Treatment


@dataclass(frozen=True)
class TensorSplit:
    """x (N, *event) as stored and y (N,) or (N, C) or None, both on one device, with what is done to each batch."""

    x: Tensor
    y: Tensor | None
    domain: Domain
    treatment: Treatment

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        """The rows at `index` as a model sees them: x (B, *event) as floats, treated, and their y."""
        return self.treatment.batch(self.x[index], self.domain), None if self.y is None else self.y[index]


def to_device(dataset: Dataset, split: str, treatment: Treatment, device: torch.device | str = "cpu") -> TensorSplit:
    """The named split of `dataset` on `device`; what the treatment does once to all data has been done."""
    if split not in dataset.splits:
        raise ValueError(f"dataset {dataset.name!r} has no split {split!r}; it has {', '.join(dataset.splits)}")
    given = dataset.splits[split]
    x = _tensor(treatment.once(given.x, dataset.domain, split), device)
    return TensorSplit(x, None if given.y is None else _tensor(given.y, device), dataset.domain, treatment)


def _tensor(array: np.ndarray, device: torch.device | str) -> Tensor:
    # Shares the array's memory on the CPU; a read-only array is copied, since torch has no read-only tensors.
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
