"""An epoch under way: where it begins or goes on, and what is saved of it before it is over."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..seeding import stream
from ..system.interrupts import Interrupt
from .meter import Meter
from .position import Position
from .together import own_draws, same_order

if TYPE_CHECKING:
    from .loop import Training

AGREED = 8
"""Steps after which several processes ask each other whether a state is to be saved, or all end."""


class Within:
    """An epoch of a training, which begins, or goes on from the training's `position`."""

    def __init__(self, training: Training, started: float) -> None:
        self.training, self.started = training, started
        self.from_here = training.position
        self.meter = Meter(training.task.train.x.device)
        self.order: Tensor = torch.empty(0)
        self.at_end: Position | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        before = self.from_here.seconds if self.from_here else 0.0
        return before + time.perf_counter() - self.started

    def begin(self) -> Iterable[Tensor]:
        """The batches that are left of it; draws go on from where they were."""
        training, found = self.training, self.from_here
        processes, state, task = training.processes, training.state, training.task
        training.update.refresh(found.updates if found else 0)
        if found:
            torch.set_rng_state(found.order)
        same_order(processes)
        self.order = torch.get_rng_state()
        order = task.train.order(task.batch_size, state.batches, training.parts.rows)
        own_draws(processes, training.options.seed, state.epoch)
        if found and not found.go_on(self.meter, training.kept, processes):
            # What other processes would have drawn nobody knows: it is drawn anew.
            seed = stream(stream(training.options.seed, state.epoch), f"from batch {state.batches}", processes.rank)
            torch.manual_seed(seed)
        return order

    def save_if_due(self, interrupt: Interrupt) -> None:
        """Save the state where one is due, or all are to end; then end."""
        training, processes = self.training, self.training.processes
        late = training.checkpoints is not None and self._is_late()
        ends = interrupt.asked is not None
        if processes.several:
            if training.state.batches % AGREED:
                return
            wanted = torch.tensor([float(ends), float(late)])
            processes.add(wanted)
            ends, late = (wanted > 0).tolist()
        if ends or late:
            self.save()
        if ends:
            interrupt.end()

    def note_end(self) -> None:
        """Note where it is after its last step, before what is looked at draws anything."""
        if self.training.checkpoints and not self.training.processes.several:
            self.at_end = self._position()

    def save(self) -> None:
        """Save the state, in all processes together."""
        training = self.training
        if training.folder is None:
            return
        position = self.at_end or self._position()
        now = time.perf_counter() - self.started
        state = replace(training.state, engine=training.take.chosen, seconds=training.state.seconds + now)
        training.write(state, position)

    def _is_late(self) -> bool:
        return time.monotonic() - self.training.saved > 60 * self.training.options.checkpoint_minutes

    def _position(self) -> Position:
        training = self.training
        return Position.now(
            self.order, self.meter, training.kept, training.processes, training.update.done, self.seconds
        )
