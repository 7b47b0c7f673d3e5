"""Looks at data that are held out: an objective's terms after each epoch of a training."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..data.batch import Batch
from ..data.tensors import TensorSplit
from ..distributions.validation import unvalidated
from ..engine import Recording, Use, record
from ..models import VAE
from ..modules import evaluating
from ..objectives.base import Objective
from ..seeding import seeded, stream
from ..system.processes import Processes
from .meter import Meter
from .step import Terms, terms_of, traced

ROWS = 500
"""Rows at a time where no gradient is needed, if that is no more than four training batches take."""


class Validation:
    """The objective's terms on `data`, averaged, with its final coefficients and the same draws each time.

    From the second of so many `epochs` on, blocks of rows, but for what is left of the data, are looked at by a
    recording, if that pays and gives what Python gives. By the number of the epoch, so that a resumed run takes the
    same path. Several processes look at a share of each block, with draws of their own.
    """

    def __init__(
        self,
        model: VAE,
        data: TensorSplit,
        objective: Objective,
        batch_size: int,
        *,
        seed: int = 0,
        epochs: int = 1,
        engine: str = "auto",
        processes: Processes | None = None,
    ) -> None:
        self.model, self.data, self.objective, self.seed = model, data, objective, seed
        self.processes = processes or Processes()
        block = len(self._share(0)[0])
        most = min(max(batch_size, min(ROWS, 4 * batch_size)), block)
        # All of a block in parts that are alike, where they then need not be much smaller.
        self.rows = next((rows for rows in range(most, most // 2, -1) if block % rows == 0), most)
        calls = len(data) // min(data.block_rows, len(data)) * (block // self.rows) * (epochs - 1)
        self.use = Use("looks at held-out data", calls, engine=engine, level=logging.DEBUG)
        self.recordable = self.use.starts < calls
        self.recording: Recording | None = None

    @torch.no_grad()
    def __call__(self, epoch: int = 1) -> dict[str, float]:
        """The averages after an epoch, the first being 1."""
        meter = Meter(self.data.x.device)
        own = stream(self.seed, -1)
        if self.processes.several:
            own = stream(own, "process", self.processes.rank)
        with evaluating(self.model), seeded(own):
            if self.recording and self.recording.stale():
                self.recording = None
            for block, weight in self._blocks():
                for start in range(0, len(block), self.rows):
                    part = block.take(slice(start, start + self.rows))
                    whole = len(part) == self.rows
                    terms = self._recorded(part) if whole and epoch > 1 else None
                    meter.add(terms or self._terms(part), len(part) * weight)
        meter.gather(self.processes)
        return meter.averages()

    def _blocks(self) -> Iterator[tuple[Batch, float]]:
        """The rows of each block that this process looks at, and what one counts for: rows too few for all processes
        are looked at by each.
        """
        if not self.processes.several:
            yield from ((block, 1.0) for block in self.data.blocks())
            return
        for start in range(0, len(self.data), self.data.block_rows):
            rows, weight = self._share(start)
            yield self.data.rows(rows), weight

    def _share(self, start: int) -> tuple[np.ndarray, float]:
        rows, count = np.arange(start, min(start + self.data.block_rows, len(self.data))), self.processes.count
        if len(rows) < count:
            return rows, 1 / count
        return np.array_split(rows, count)[self.processes.rank], 1.0

    def _terms(self, batch: Batch) -> Terms:
        return terms_of(self.objective(traced(self.model, self.objective, batch), 1.0))

    def _recorded(self, part: Batch) -> Terms | None:
        """What a recording gives, or None where there can't be one."""
        if self.recording is None and self.recordable:
            self.recording = self._record(part)
            self.recordable = self.recording is not None
        if self.recording is None:
            return None
        values = self.recording(*part.tensors)[0]
        return Terms(self.names, values, self.numbers)  # type: ignore[arg-type]

    def _record(self, part: Batch) -> Recording | None:
        def values(*given: Tensor) -> list[Tensor]:
            with unvalidated():
                terms = self._terms(part.of(given))
            self.names, self.numbers = terms.names, terms.numbers
            return [terms.values]

        given = part.tensors
        others = [each.flip(0) for each in given]
        return record(values, given, self.use, reads=[self.model, self.objective], others=others)
