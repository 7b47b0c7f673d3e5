"""What a page shows of a training while it goes on: its curves, and now and then codes, reconstructions and samples.

The training tells it between epochs what it has measured already; a thread of the server reads that. The model is
asked between epochs alone, of few data, while a page is open, and for a small part of the time. No bit of a run depends
on it.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...data.batch import Batch
from ...runs import history
from ...seeding import seeded
from ..pictures.base import Subject, array, visible
from ..pictures.drawing import watch
from ..terminal import ended_by, has_display, say
from .answers import Answers
from .place import bound, check_libraries
from .records import Points, Projection, Reference, Scene
from .scene import FORMAT, ROOM, Making, points_within, scene_of, title_of
from .server import Served
from .values import as_json

if TYPE_CHECKING:
    from ...data import Dataset
    from ...models import VAE
    from ...runs.keeping import Callbacks
    from ...runs.run import Run
    from ...spec.keys import Spec
    from ...training.records import Epoch, Progress

POINTS, FEW = 1000, 16
"""Data whose codes are shown, and samples, at most."""
SHARE = 0.05
"""The part of a training's time that the model is asked for, but for the first time."""
OPEN = 5.0
"""Seconds after its last question for which a page counts as open."""
EXPLORED = 10_000
"""Points of the explorer at the end."""
ENDING = 6.0
"""Seconds that a page is given to end."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """What a page that has `since` records is told: where the training is, and the records after those."""

    stage: str
    title: str
    about: list[str]
    epochs: int
    progress: Progress | None
    records: list[Epoch]
    count: int
    """Of all records: fewer than the page has where another training has begun."""
    version: int
    """Of what the model was asked last; 0 before the first time."""


@dataclass(frozen=True)
class Look:
    """What a model makes of a few data after an `epoch`: their places in the plane (n, 2), some of them (k, E), what
    these are reconstructed as, and samples (k, E).
    """

    epoch: int
    xy: np.ndarray
    data: np.ndarray
    reconstructions: np.ndarray
    samples: np.ndarray


@dataclass
class Live:
    """A training as a page shows it. The training calls `callbacks`; the server's thread asks the others."""

    on_start: Callable[[], None] = lambda: None
    stage: str = "begins"
    title: str = ""
    about: list[str] = field(default_factory=list)
    epochs: int = 0
    progress: Progress | None = None
    records: list[Epoch] = field(default_factory=list)
    version: int = 0
    points: str = ""
    """The scene of the points, in JSON, once the model was asked; its looks likewise."""
    look: str = ""
    asked: float = -OPEN
    spent: float = 0.0
    began: float = 0.0
    looking: Looking | None = None
    looked: int = 0
    """The last epoch after which the model was asked."""

    # -- of the training -----------------------------------------------------------------------------------------------

    def callbacks(self, given: Callbacks) -> Callbacks:
        """Those `given`, with this told too."""

        def start(path: Path, spec: Spec, dataset: Dataset) -> None:
            given.on_start(path, spec, dataset)
            self._start(path, spec, dataset)

        def epoch(records: list[Epoch]) -> None:
            given.on_epoch(records)
            self._epoch(records)

        def progress(where: Progress) -> None:
            if given.on_progress is not None:
                given.on_progress(where)
            self.progress = where

        def watched(run: Run, split: str) -> Callable[[VAE, int], Mapping[str, Path] | None]:
            drawn = (given.watch or watch)(run, split)
            looking = Looking(run, split)

            def look(model: VAE, number: int) -> Mapping[str, Path] | None:
                looking.model = model  # as it is scored: the average, where there is one
                found = drawn(model, number)
                self._ask(number)  # here, where the model is whole, also if its weights are sharded
                return found

            self.looking = looking
            return look

        return replace(given, on_start=start, on_epoch=epoch, on_progress=progress, watch=watched)

    def _start(self, path: Path, spec: Spec, dataset: Dataset) -> None:
        self.records = history.read(path)
        self.title, self.epochs = title_of(path, spec), spec.training.epochs
        sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in dataset.splits.items())
        self.about = [f"{Path(dataset.name).name}: {sizes}; {dataset.domain}"]
        self.version, self.spent, self.began, self.progress, self.looked = 0, 0.0, time.monotonic(), None, 0
        self.stage = "training"
        self.on_start()

    def _epoch(self, records: list[Epoch]) -> None:
        self.records = [*self.records, *records]  # a list that is read is never changed
        self.progress = None
        self._ask(records[0].epoch)

    def _ask(self, epoch: int) -> None:
        """Ask the model after an epoch, once, if it is time to."""
        if self.looking is None or self.looked == epoch:
            return
        began, self.looked = time.monotonic(), epoch
        if not self._may_look():
            return
        try:
            with seeded(0):
                if not self.version:
                    self.points = as_json(self.looking.scene())
                self.look = as_json(self.looking.look(epoch))
            self.version += 1
        except Exception as error:  # of a part of the user's, or no memory: the training is worth more
            said = " ".join(str(error).split())[:300] or type(error).__name__
            log.warning("the live page shows no codes and samples: %s; the training goes on", said)
            self.looking = None
        self.spent += time.monotonic() - began

    def _may_look(self) -> bool:
        now = time.monotonic()
        return now - self.asked < OPEN and self.spent <= SHARE * (now - self.began)

    # -- of the page ---------------------------------------------------------------------------------------------------

    def told(self, since: int = 0) -> str:
        """As `Told`, in JSON."""
        self.asked = time.monotonic()
        records = self.records
        told = Told(
            self.stage, self.title, self.about, self.epochs, self.progress, records[since:], len(records), self.version
        )
        return as_json(told)


class LivePage:
    """A page that shows a training, and then the run that it gave."""

    def __init__(self, listening: socket.socket, browser: bool) -> None:
        self.live = Live(self._begin)
        self.served = Served(listening, None, "{}", self.live)
        self.thread = threading.Thread(target=self.served.run, daemon=True)
        self.browser = browser

    def _begin(self) -> None:
        """Serve from the first step on, which is when all that may be refused has been."""
        if self.thread.ident is None:
            self.thread.start()
            say(f"live: {self.served.address} (then the explorer, until {ended_by()})")
            if self.browser:
                webbrowser.open(self.served.address)

    def explore(self, run: Run) -> None:
        """Show the explorer of a run that is trained, until the page or Ctrl-C ends it."""
        scene = as_json(scene_of(run, points=points_within(run, EXPLORED, ROOM)))
        self.served.service.scene = scene
        self.served.service.answers = Answers(run)
        self.live.stage = "ready"
        say(f"explorer: {self.served.address}; {ended_by()} ends it")
        with suppress(KeyboardInterrupt):
            while self.thread.is_alive():
                self.thread.join(1.0)

    def end(self) -> None:
        """Serve no longer."""
        self.served.stop()
        if self.thread.ident is not None:
            self.thread.join(ENDING)


@contextmanager
def live_page(port: int = 0, browser: bool | None = None) -> Iterator[LivePage]:
    """Inside, a training whose callbacks are `page.live.callbacks(…)` is shown by a page on this machine alone.

    Raises `ValueError`, one line, where a port is taken, or what serves pages is not there.
    """
    check_libraries()
    with bound(port) as listening:
        page = LivePage(listening, has_display() if browser is None else browser)
        try:
            yield page
        finally:
            page.end()


class Looking:
    """Some rows of a split, and what a model makes of them."""

    def __init__(self, run: Run, split: str) -> None:
        self.run, self.split, self.model = run, split, run.model
        self.axes: np.ndarray | None = None

    @cached_property
    def making(self) -> Making:
        split = self.split if self.split in self.run.dataset.splits else "train"
        return Making(replace(self.run, loaded=self.run.dataset), split, points_within(self.run, POINTS, ROOM), 0)

    @cached_property
    def some(self) -> Batch:
        return self.making.batch.take(slice(FEW))

    def scene(self) -> Scene:
        """The points without their codes, which come with each look."""
        making, none = self.making, np.zeros((len(self.making.rows), 2), np.float32)
        size = self.run.model.latent_size
        axes = ("first component", "second component") if size > 2 else ("first dimension", "second dimension")
        name = "PCA" if size > 2 else "codes"
        projections, colours = [Projection(name, axes, none)], making.colours()
        points = Points(len(none), making.names(), making.stored(), none, none, making.y, projections, colours)
        title = title_of(self.run.path, self.run.spec)
        return Scene(FORMAT, title, [], making.data(), [], points, Reference([]), None, ())

    @torch.no_grad()
    def look(self, epoch: int) -> Look:
        run = replace(self.run, model=self.model)
        codes = array(Answers(run).codes(self.making.batch)[0]).astype(np.float64)
        some = self.some
        made = array(self.model.reconstruct(some, None, None, False))
        samples = Subject(run, self.making.asked, 0).samples(FEW)
        kind = np.float64 if run.schema.domain.in_float64 else np.float32
        flat = [each.reshape(len(each), -1).astype(kind) for each in (visible(some), made, samples)]
        return Look(epoch, self._plane(codes), *flat)

    def _plane(self, codes: np.ndarray) -> np.ndarray:
        """The codes in the plane: two of their dimensions, or their components, turned as they were before."""
        if codes.shape[1] == 1:
            codes = np.pad(codes, ((0, 0), (0, 1)))
        if codes.shape[1] > 2:
            centred = codes - codes.mean(0)
            _, _, axes = np.linalg.svd(centred, full_matrices=False)
            axes = axes[:2]
            if self.axes is not None and self.axes.shape == axes.shape:
                u, _, v = np.linalg.svd(self.axes @ axes.T)  # Procrustes: points don't jump where components swap
                axes = u @ v @ axes
            self.axes, codes = axes, centred @ axes.T
        return codes.astype(np.float32)
