"""A split of a dataset on a device: stored values as they are, turned into what a model sees a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..distributions import seeded
from ..domains import Domain
from .base import Dataset, Split, stored
from .treatment import Treatment

ROWS, ELEMENTS = 1000, 1 << 22
"""A block of a split has at most so many rows, and numbers: whoever reads it, the same rows are drawn together."""


@dataclass(frozen=True)
class TensorSplit:
    """x (N, *event) as stored and y (N,) or (N, C) or None, both on one device, with what is done to each batch."""

    x: Tensor
    y: Tensor | None
    domain: Domain
    treatment: Treatment

    def __len__(self) -> int:
        return len(self.x)

    @property
    def seen(self) -> Domain:
        """The domain of what a model sees: that of the stored values, treated."""
        return self.treatment.domain(self.domain)

    def blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """All rows in order, some at a time, x (B, *event) as a model sees them and their y.

        What is random in a treatment is drawn from its own seed, the same for whoever reads it and however often: two
        models are scored on the same data.
        """
        rows = max(1, min(ROWS, ELEMENTS // max(1, self.x[:1].numel())))
        for start in range(0, len(self), rows):
            with seeded(self.treatment.seed + start):
                block = self.batch(slice(start, start + rows))
            yield block

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        """The rows at `index` as a model sees them: x (B, *event) as floats, treated, and their y."""
        return self.treatment.batch(_rows(self.x, index), self.domain), None if self.y is None else _rows(self.y, index)


def _rows(tensor: Tensor, index: Tensor | slice) -> Tensor:
    # Indexing by a tensor takes five times as long.
    return tensor.index_select(0, index) if isinstance(index, Tensor) else tensor[index]


def to_device(dataset: Dataset, split: str, treatment: Treatment, device: torch.device | str = "cpu") -> TensorSplit:
    """The named split of `dataset` on `device`; what the treatment does once to all data has been done."""
    if split not in dataset.splits:
        raise ValueError(f"dataset {dataset.name!r} has no split {split!r}; it has {', '.join(dataset.splits)}")
    given = dataset.splits[split]
    x = _tensor(treatment.once(given.x, dataset.domain, split), device)
    return TensorSplit(x, None if given.y is None else _tensor(given.y, device), dataset.domain, treatment)


def as_split(
    data: TensorSplit | Dataset | np.ndarray | Tensor,
    split: str,
    domain: Domain,
    treatment: Treatment | None = None,
    device: torch.device | str = "cpu",
) -> TensorSplit:
    """`data` as a split on `device`: one that it is already, one of a dataset, or an array (N, *event) of `domain`."""
    if isinstance(data, TensorSplit):
        return data
    if not isinstance(data, Dataset):
        array = stored(np.asarray(data), "data")
        domain.check(array)
        data = Dataset("array", domain, {"train": Split(array)})
        split = "train"
    return to_device(data, split, treatment or Treatment(), device)


def _tensor(array: np.ndarray, device: torch.device | str) -> Tensor:
    # Shares the array's memory on the CPU; a read-only array is copied, since torch has no read-only tensors.
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
