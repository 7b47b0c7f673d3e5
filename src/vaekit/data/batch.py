"""A batch: what travels from data to loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import wrong_kind

if TYPE_CHECKING:  # whoever lists datasets does without torch
    from torch import Tensor

FIELDS = ("x", "y", "observed", "weight")


@dataclass(frozen=True)
class Batch:
    """B data as a model sees them, and what is known beside them.

    >>> import torch
    >>> batch = Batch(torch.zeros(5, 3), observed=torch.ones(5, 3, dtype=torch.bool))
    >>> len(batch), len(batch.take(slice(2)))
    (5, 2)
    """

    x: Tensor
    """The data (B, *event), in their own units. A cell that is not observed holds some value of the domain, which no
    number depends on.
    """
    y: Tensor | None = None
    """Class labels (B,) or covariates (B, C). Where the labels of some rows are seen and of others not, those of the
    first L, which come first.
    """
    observed: Tensor | None = None
    """Which cells of x are observed, (B, *event) of bool; None where all are."""
    weight: Tensor | None = None
    """What each row stands for, (B,), 1 on average: where rows with a label are shown more often than the data have
    them. None where all stand for one datum.
    """
    rows: int | None = None
    """N, the number of training data that it is of, where it is a part of them."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def tensors(self) -> list[Tensor]:
        """All that it has, in the order of `FIELDS`."""
        return [value for value in (getattr(self, name) for name in FIELDS) if value is not None]

    def of(self, tensors: Sequence[Tensor]) -> Batch:
        """One of other `tensors`, given as its own are."""
        own = [name for name in FIELDS if getattr(self, name) is not None]
        given: dict[str, Any] = dict(zip(own, tensors, strict=True))
        return replace(self, **given)

    def take(self, rows: slice | Tensor) -> Batch:
        """Some of its rows, whose labels are seen of all or of none."""
        return self.of([each[rows] for each in self.tensors])

    def repeat(self, times: int) -> Batch:
        """Each row so many times, one after another."""
        return self.of([each.repeat_interleave(times, 0) for each in self.tensors])

    def without_y(self) -> Batch:
        """The same data, nothing known beside them."""
        return self if self.y is None else replace(self, y=None)


def checked_batch(batch: object) -> Batch:
    """A batch; `TypeError` for data that are none yet."""
    if not isinstance(batch, Batch):
        raise wrong_kind("batch", batch, "a vaekit.data.Batch: of data Batch(x), of data with labels Batch(x, y)")
    return batch
