"""A split of a dataset on a device: stored values as they are, turned into what a model sees a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..seeding import seeded, stream
from ..settings import setting
from .arriving import Arriving, DecodedTensor, Passing
from .base import Dataset, Split, no_split, with_holes
from .batch import Batch
from .decoding import ImageRows
from .domains import Domain
from .impossible import NONE, Impossible
from .memmap import Array, MemmapRows
from .preprocessing import Preprocessing
from .sparse import SparseRows
from .sparse_tensors import SparseTensor
from .windows import draw_windows, middle, windowed

ROWS, ELEMENTS = 1000, 1 << 22
"""A block of a split has at most so many rows, and numbers: whoever reads it, the same rows are drawn together."""


class MappedTensor:
    """Rows (N, *event) of a file on the CPU, read when they are asked for and then on a device, as a tensor there."""

    def __init__(self, rows: MemmapRows, device: torch.device | str, window: tuple[int, int] | None = None) -> None:
        own = torch.from_numpy(rows.array)
        self.rows, self.index = own if window is None else middle(own, window), torch.from_numpy(rows.index)
        self.device, self.dtype = torch.device(device), self.rows.dtype

    @property
    def shape(self) -> torch.Size:
        """(N, *event)."""
        return torch.Size((len(self.index), *self.rows.shape[1:]))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice) -> Tensor:
        return _moved(self.rows.index_select(0, self.index[rows]), self.device)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The rows at `index` (B,), dimension 0."""
        return _moved(self.rows.index_select(dim, self.index[index.cpu()]), self.device)


Stored = Tensor | MappedTensor | DecodedTensor | SparseTensor
"""What the rows of a split are in."""


def block_rows(elements: int) -> int:
    """The rows of a block, but for the last, of data of so many numbers each."""
    return max(1, min(ROWS, ELEMENTS // max(1, elements)))


@dataclass(frozen=True)
class TensorSplit:
    """x (N, *event) as stored and y (N,) or (N, C) or None, both on one device, with what is done to each batch."""

    x: Stored
    y: Tensor | None
    domain: Domain
    preprocessing: Preprocessing
    noise: Tensor | None = None
    """Standard deviations (N, *event) of normal noise that is added afresh each time a row is shown."""
    origin: np.ndarray | None = None
    """Where each row (N,) comes from: its number in the file, from 0, or the name of its image."""
    observed: Tensor | None = None
    """Which cells of x are observed, (N, *event) of bool; None where all are."""
    mask: float = 0.0
    """The most of a row's cells that training takes as not observed; each row a part drawn between 0 and this."""
    refused: np.ndarray | None = None
    """Which cells are not observed since their column can't have them, (N, *event) of bool; None for none."""
    impossible: Impossible = NONE
    """The first of these, in words."""
    uncropped: tuple[Stored, Tensor | None] | None = None
    """Of images that are cropped all of their pixels, x and observed, of which training shows other parts."""
    arriving: Arriving | Passing | None = None
    """What training reads of images that are decoded when they are asked for: x is a part of it, if they are kept."""
    offset: int = 0
    """The number of its first row, of a part of more data that begins where a block of these does."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def seen(self) -> Domain:
        """The domain of what a model sees: that of the stored values, treated."""
        return self.preprocessing.domain(self.domain)

    def possible(self, split: str = "the data") -> np.ndarray:
        """The numbers of the rows without a cell that its column can't have; `ValueError` where a `split`, as it is
        called, has no such row.
        """
        found = np.arange(len(self)) if self.refused is None else np.flatnonzero(~self.refused.any(1))
        if not len(found):
            raise ValueError(f"each row of {split} has a cell that its column can't have: log p of all of them is -inf")
        return found

    @property
    def block_rows(self) -> int:
        """The rows of a block, but for the last."""
        return block_rows(self.x[:1].numel())

    def blocks(self) -> Iterator[Batch]:
        """All rows in order, some at a time, as a model sees them.

        Random preprocessing draws from its own seed, the same for whoever reads the data and however often: two models
        are scored on the same data.
        """
        for start in range(0, len(self), self.block_rows):
            yield self._block(start)

    def cells(self) -> np.ndarray:
        """All data (N, *event) as a model sees them, float64, NaN where a cell is not observed."""
        x = np.concatenate([batch.x.double().cpu().numpy() for batch in self.blocks()])
        if self.observed is not None:
            x[~self.observed.cpu().numpy()] = np.nan
        return x

    def rows(self, index: np.ndarray) -> Batch:
        """The rows numbered `index` (B,), as `blocks` gives them.

        Raises `ValueError` where there is no such row.
        """
        index = np.asarray(index, np.int64)
        if len(index) and not (index.min() >= 0 and index.max() < len(self)):
            raise ValueError(f"rows {index.min()}..{index.max()} were asked for; accepted: 0..{len(self) - 1}")
        where = torch.as_tensor(index, device=self._picked_on)
        if self.noise is None and not self.preprocessing.random:
            return self.batch(where)
        # What is random belongs to a row's place among those that are drawn with it.
        x = torch.empty(0)
        for start in np.unique(index // self.block_rows) * self.block_rows:
            block = self._block(int(start)).x
            if not len(x):
                x = block.new_empty(len(index), *block.shape[1:])
            mine = (start <= index) & (index < start + self.block_rows)
            x[mine] = block[torch.as_tensor(index[mine] - start, device=block.device)]
        return self._beside(x, where)

    def part(self, index: np.ndarray) -> TensorSplit:
        """The split of the rows numbered `index` (B,) alone, of data without random preprocessing."""
        where = torch.as_tensor(index, device=self._picked_on)
        y, noise, observed = (
            None if each is None else _rows(each, where) for each in (self.y, self.noise, self.observed)
        )
        origin = None if self.origin is None else self.origin[index]
        return replace(self, x=_rows(self.x, where), y=y, noise=noise, origin=origin, observed=observed)

    def _block(self, start: int) -> Batch:
        with seeded(stream(self.preprocessing.seed, "preprocessing", self.offset + start)):
            return self.batch(slice(start, start + self.block_rows))

    def wait(self, index: Tensor | slice) -> None:
        """Have the rows at `index` there, of images that are decoded when they are asked for."""
        if self.arriving is not None:
            self.arriving.need(index)

    def batch(self, index: Tensor | slice) -> Batch:
        """The rows at `index` as a model sees them: x (B, *event) as floats, treated."""
        if not isinstance(self.arriving, Passing):
            self.wait(index)
        return self._treated(index, _rows(self.x, index))

    def _treated(self, index: Tensor | slice, stored: Tensor) -> Batch:
        x = self.preprocessing.batch(stored, self.domain)
        if self.noise is not None:
            x = x + torch.randn_like(x) * _rows(self.noise, index)
        return self._beside(x, index)

    def _beside(self, x: Tensor, index: Tensor | slice) -> Batch:
        """x (B, *event), the rows at `index`, with what is known beside them."""
        y, observed = (None if each is None else _rows(each, index) for each in (self.y, self.observed))
        return Batch(x, y, observed, rows=len(self))

    @property
    def _picked_on(self) -> torch.device:
        """Where rows are picked: rows of a file before they go to the device."""
        return self.x.rows.device if isinstance(self.x, MappedTensor) else self.x.device  # of images on the CPU, too

    def steps(self, batch_size: int) -> int:
        """The batches of an epoch."""
        return math.ceil(len(self) / batch_size)

    def order(
        self, batch_size: int, done: int = 0, own: Callable[[Tensor], Tensor] = lambda rows: rows
    ) -> Iterable[Tensor]:
        """The rows of each batch of an epoch but the first `done`, in an order drawn from torch's stream on the CPU;
        each as soon as those of its rows are there that are this process's `own`.
        """
        return self._in_time(torch.randperm(len(self)).split(batch_size)[done:], own)

    def _in_time(self, rows: Sequence[Tensor], own: Callable[[Tensor], Tensor]) -> Iterable[Tensor]:
        if not rows:
            return ()
        batches = _moved(torch.cat(list(rows)), self._picked_on).split([len(each) for each in rows])
        return batches if self.arriving is None else self.arriving.in_time([own(each) for each in rows], batches)

    def shared(self, index: Tensor, process: int, count: int) -> tuple[Tensor, TensorSplit, float]:
        """Of a batch of `order` the rows that one of `count` processes takes, the split that makes a batch of them, and
        what their averages weigh: weighed so, those of all processes add up to the whole batch's.

        Rows too few for all are taken by each.
        """
        if len(index) < count:
            return index, self, 1 / count
        own = index.tensor_split(count)[process]
        return own, self, len(own) / len(index)

    def training_batch(self, index: Tensor) -> Batch:
        """The rows at `index`, one of `order`, as a model sees them in training. It is recorded, and waits for none."""
        return self._masked(self._varied(index))

    def _varied(self, index: Tensor) -> Batch:
        """The rows at `index`, of images the parts that are drawn for this batch, mirrored if that is drawn."""
        how = self.preprocessing
        whole, seen = self.uncropped or (self.x, self.observed)
        x = self.arriving.rows_at(index) if isinstance(self.arriving, Passing) else _rows(whole, index)
        if not how.varies:
            return self._treated(index, x)
        at = draw_windows(x, how.window or (x.shape[-2], x.shape[-1]), how.flip)
        batch = Batch(how.batch(windowed(x, *at), self.domain), rows=len(self))
        y = None if self.y is None else _rows(self.y, index)
        return replace(batch, y=y, observed=None if seen is None else windowed(_rows(seen, index), *at))

    def _masked(self, batch: Batch) -> Batch:
        if not self.mask:
            return batch
        rate = self.mask * torch.rand(len(batch), *[1] * (batch.x.dim() - 1), device=batch.x.device)
        kept = torch.rand(batch.x.shape, device=batch.x.device) >= rate
        return replace(batch, observed=kept if batch.observed is None else kept & batch.observed)


@dataclass(frozen=True, kw_only=True)
class PartlyLabelled(TensorSplit):
    """A split of whose rows only some show their label in training: `first` of each batch, from its start."""

    labelled: Tensor
    """The rows (L,) whose label is seen."""
    first: int
    others: float | None = None
    """Of a batch that processes share, how many rows without a label the averages of this one's part are of."""

    def steps(self, batch_size: int) -> int:
        return math.ceil((len(self) - len(self.labelled)) / (batch_size - self.first))

    def order(
        self, batch_size: int, done: int = 0, own: Callable[[Tensor], Tensor] = lambda rows: rows
    ) -> Iterable[Tensor]:
        """Every row whose label is not seen once, and before those of each batch `first` labelled ones, as often as it
        takes.
        """
        unseen = torch.ones(len(self), dtype=torch.bool)
        unseen[self.labelled.cpu()] = False
        unseen = unseen.nonzero().squeeze(1)
        others = unseen[torch.randperm(len(unseen))].split(batch_size - self.first)
        passes = math.ceil(len(others) * self.first / len(self.labelled))
        shuffled = torch.cat([torch.randperm(len(self.labelled)) for _ in range(passes)])
        labelled = self.labelled.cpu()[shuffled].split(self.first)
        return self._in_time([torch.cat(pair) for pair in zip(labelled, others, strict=False)][done:], own)

    def shared(self, index: Tensor, process: int, count: int) -> tuple[Tensor, TensorSplit, float]:
        seen, others = index[: self.first], index[self.first :]
        if min(len(seen), len(others)) < count:
            return index, self, 1 / count
        own, rest = (each.tensor_split(count)[process] for each in (seen, others))
        weight = len(own) / len(seen)
        return torch.cat([own, rest]), replace(self, first=len(own), others=len(others) * weight), weight

    def training_batch(self, index: Tensor) -> Batch:
        """The rows at `index`, of which those with a label stand for all that have one, and the others for the rest."""
        batch, share, seen = self._masked(self._varied(index)), len(self.labelled) / len(self), self.first
        others = len(batch) - seen
        of_each = (seen, seen, share), (others, self.others or others, 1 - share)
        weight = torch.cat([batch.x.new_full((n,), part * len(batch) / of) for n, of, part in of_each])
        return replace(batch, y=None if batch.y is None else batch.y[:seen], weight=weight)


def partly_labelled(split: TensorSplit, labels: int, first: int, classes: int, seed: int = 0) -> PartlyLabelled:
    """`split` with `labels` labels seen, as many of each class as of any other (or one more), drawn from `seed`.

    Raises `ValueError` for data without class labels, and for more or fewer labels than there can be.
    """
    if split.y is None or split.y.dim() != 1 or not classes:
        column = f"name a table's column of them: {setting('data.label', '…')}"
        raise ValueError(f"data.labels is set, but the data have no classes; {column}")
    if not classes <= labels <= len(split):
        raise ValueError(f"data.labels is {labels}; accepted: {classes} (one of each class) to {len(split)}")
    generator, y = torch.Generator().manual_seed(seed), split.y.cpu()
    shuffled = torch.randperm(len(y), generator=generator)
    # Rows by their rank within their class: the first of each class, then the second of each, and so on.
    ranks = torch.empty_like(shuffled)
    for each in range(classes):
        rows = shuffled[y[shuffled] == each]
        ranks[rows] = torch.arange(len(rows))
    chosen = shuffled[ranks[shuffled].argsort(stable=True)][:labels].sort().values
    named = {field.name: getattr(split, field.name) for field in fields(split)}
    return PartlyLabelled(**named, labelled=chosen.to(split.x.device), first=min(first, labels))


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _rows(tensor: Stored, index: Tensor | slice) -> Tensor:
    # Indexing by a tensor takes five times as long.
    if isinstance(index, slice):
        return tensor[index]
    return tensor.index_select(0, index.to(tensor.device) if isinstance(tensor, Tensor) else index)


def to_device(
    dataset: Dataset, split: str, preprocessing: Preprocessing, device: torch.device | str = "cpu"
) -> TensorSplit:
    """The named split of `dataset` on `device`; what the preprocessing does once to all data has been done."""
    if split not in dataset.splits:
        raise ValueError(no_split(f"dataset {dataset.name!r}", split, list(dataset.splits)))
    given, window = dataset.splits[split], preprocessing.window
    preprocessing.event_shape(given.x.shape[1:])
    stored = preprocessing.once(given.x, dataset.domain, split)
    arriving: Arriving | Passing | None = None
    x: Any
    if isinstance(stored, ImageRows) and not stored.kept:
        arriving, x = Passing(stored, device), DecodedTensor(stored, device)
    elif isinstance(stored, ImageRows) and not stored.there.all():
        arriving = Arriving(stored, device)
        x = arriving.x
    else:
        x = _tensor(stored, device)
    beside = (given.y, given.noise, given.observed)
    y, noise, observed = (None if each is None else _tensor(each, device) for each in beside)
    own = TensorSplit(x, y, dataset.domain, preprocessing, noise, given.origin, observed, arriving=arriving)
    own = replace(own, refused=given.refused, impossible=given.impossible)
    if window is None or window == given.x.shape[-2:]:
        return own
    seen: Stored
    if isinstance(stored, MemmapRows):
        seen = MappedTensor(stored, device, window)
    elif isinstance(x, DecodedTensor):
        seen = DecodedTensor(x.rows, device, window)
    else:
        seen = middle(x, window)
    return replace(
        own, x=seen, observed=None if observed is None else middle(observed, window), uncropped=(x, observed)
    )


def as_split(
    data: TensorSplit | Dataset | np.ndarray | Tensor,
    split: str,
    domain: Domain,
    preprocessing: Preprocessing | None = None,
    device: torch.device | str = "cpu",
) -> TensorSplit:
    """`data` as a split on `device`: one that it is already, one of a dataset, or an array (N, *event) that is treated
    to be of `domain`.

    Raises `ValueError` where a value is outside the domain that it is said to be of.
    """
    if isinstance(data, TensorSplit):
        return data
    preprocessing = preprocessing or Preprocessing()
    if not isinstance(data, Dataset):
        given = data.detach().cpu().numpy() if isinstance(data, Tensor) else np.asarray(data)
        untreated = preprocessing.untreated(domain)
        x, observed = with_holes(given, "data", untreated)
        own = replace(untreated, missing=observed is not None)
        data = Dataset("array", own, {"train": Split(x, observed=observed).filled(own)})
        split = "train"
    if split in data.splits:
        data.domain.check(data.splits[split].x, "data")
    return to_device(data, split, preprocessing, device)


def _tensor(array: Array, device: torch.device | str) -> Any:
    if isinstance(array, MemmapRows):
        return MappedTensor(array, device)
    if isinstance(array, SparseRows) and array.pays:
        return SparseTensor(array, device)
    array = np.asarray(array)
    if array.dtype == np.float64 and torch.device(device).type == "mps":  # which has no such numbers
        array = array.astype(np.float32)
    # Shares the array's memory on the CPU; a read-only array is copied, since torch has no read-only tensors.
    return _moved(torch.from_numpy(np.require(array, requirements=["C", "W"])), torch.device(device))
