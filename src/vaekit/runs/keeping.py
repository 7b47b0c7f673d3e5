"""What a training is to be, who is told of it, and what its folder is asked while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data import Dataset
from ..evaluation import label_scores, mean_pass
from ..models import VAE
from ..models.remarks import remarks
from ..spec.keys import Schema, Spec
from ..spec.parts import Parts
from ..spec.saving import to_json
from ..system.disk import drop_temporaries, write_atomic
from ..system.processes import join
from ..training.checkpoint import Saved
from ..training.records import Epoch, Progress
from . import history
from .folder import DIVERGED, Claim, clear, locked
from .logs import Logger, Logs
from .preparation import Ready
from .run import Run

Watch = Callable[[Run, str], Callable[[VAE, int], Mapping[str, Path] | None]]
"""Who draws while a run trains: given the run and the split that it is looked at on, what is called with the model
after each epoch, and gives the files that it has drawn by name, if any.
"""


@dataclass(frozen=True)
class Callbacks:
    """Who is told of a training: `on_start` of its folder, spec and data, before the first step; `on_epoch` of each
    epoch's records, `on_progress` a few times a second where it is. `watch` draws while it trains. `loggers` are those
    that `training.log` may name, beside those of the parts; `on_log` is told the name and the place of each. `on_note`
    is told what is to be known of the model, such as that a part of it is slow. Of several processes `on_start` and
    `on_note` are called in each, the others in the first alone.
    """

    on_start: Callable[[Path, Spec, Dataset], None] = lambda folder, spec, dataset: None
    on_epoch: Callable[[list[Epoch]], None] = lambda records: None
    on_progress: Callable[[Progress], None] | None = None
    watch: Watch | None = None
    loggers: Mapping[str, Callable[..., Logger]] = field(default_factory=dict)
    on_log: Callable[[str, str], None] = lambda name, place: None
    on_note: Callable[[str], None] = lambda note: None


@dataclass(frozen=True)
class Plan:
    """What a run is to be, with its data, and the `saved` state that it goes on from, if there is one."""

    folder: Path
    spec: Spec
    schema: Schema
    dataset: Dataset
    parts: Parts
    resume: bool
    saved: Saved | None = None

    @property
    def done(self) -> int:
        """Epochs that are there."""
        return self.saved.state.epoch if self.saved else 0


@dataclass
class Kept:
    """What is asked of a training's folder while it goes on: what it writes there is written while it is locked."""

    plan: Plan
    ready: Ready
    mine: Claim
    callbacks: Callbacks
    draw: Callable[[VAE, int], Mapping[str, Path] | None]
    logs: Logs
    held: ExitStack
    """Inside it the folder is locked, and logs are open."""
    seen: VAE
    """The model as it was last looked at."""
    drawn: dict[str, Path] = field(default_factory=dict)
    """The pictures of that look."""

    def start(self, overwrite: bool) -> None:
        """Make the folder one that the training can begin in, and tell that it does."""
        plan, first = self.plan, join().first
        if first:
            self.mine.still_there = self.held.enter_context(locked(plan.folder))
            _empty(plan, overwrite)
            write_atomic(plan.folder / "spec.json", to_json(plan.spec, plan.schema))
        self.mine.begun = True
        self.callbacks.on_start(plan.folder, plan.spec, plan.dataset)
        for note in remarks(self.ready.task.model):
            self.callbacks.on_note(note)
        if first:
            self.held.enter_context(self.logs).open(plan.folder, plan.spec, plan.done)

    def look(self, scored: VAE, epoch: int, split: str) -> dict[str, float]:
        """What is measured of the model after an epoch, beside its loss; pictures are drawn of it."""
        self.mine.still_there()  # before any file is written
        self.seen = scored
        data: Any = self.ready.task.train if split == "train" else self.ready.labelled
        found = mean_pass(scored, data) if self.plan.spec.training.mean_pass else {}
        if split == "train":
            return found
        self.drawn = dict(self.draw(scored, epoch) or {})
        return found | label_scores(scored, data)

    def record(self, records: list[Epoch]) -> None:
        """Write down an epoch's records, and tell them."""
        self.mine.still_there()
        history.append(self.plan.folder, records)
        self.callbacks.on_epoch(records)
        self.logs.write(records, self.drawn, self.seen)
        self.mine.still_there()


def _empty(plan: Plan, overwrite: bool) -> None:
    """Make the locked folder one that the training can go on from, or begin in."""
    folder = plan.folder
    if not plan.resume:
        clear(folder, overwrite)
        return
    drop_temporaries(folder, folder / "checkpoints", folder / "pictures")
    (folder / DIVERGED).unlink(missing_ok=True)
    history.drop_after(folder, plan.done)
    if plan.done < plan.spec.training.epochs:
        # From here on the states are newer; without it, they are what a run that is cut off loads as.
        (folder / "weights.safetensors").unlink(missing_ok=True)
