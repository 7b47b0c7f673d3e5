"""Logs of a training: what is measured after each epoch, told to other programs too, beside the run's own
metrics.jsonl.

A logger is called once, with a `Beginning`, and gives a `Log`, which is told of every epoch after it. No bit of a run
depends on it: it is told between epochs, random streams are put back after it, and one that fails is left out.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import unknown
from ..models import VAE
from ..seeding import other_streams_kept, seeded
from ..spec.keys import PartSpec, Spec
from ..spec.parts import Parts, build
from ..system.disk import drop_temporaries, write_atomic
from ..training.records import Epoch
from .folder import LOGS, subfolder

log = logging.getLogger(__name__)

BINS = 64
"""Of a histogram of weights."""
NOTE = "vaekit.json"
"""The file in a log's folder that says what it calls itself, and which epochs it has."""

End = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True)
class Histogram:
    """How many of some numbers lie between each two of `edges`, one more than `counts`; their sum, that of squares."""

    counts: tuple[int, ...]
    edges: tuple[float, ...]
    total: float
    squares: float


@dataclass(frozen=True)
class Beginning:
    """What a logger is given: a folder of its own within the run's, for what it keeps there; the run's name and spec;
    the epochs that the log has already, and what it called itself then ("" at first).
    """

    folder: Path
    name: str
    spec: Spec
    done: int = 0
    key: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The spec as a flat table, by dotted keys, without what is not set."""
        return dict(_flat(self.spec.model_dump(mode="json")))


@dataclass(frozen=True)
class Entry:
    """What an epoch is logged as: numbers by name, such as "train/loss"; pictures by name, .png files; histograms of
    the weights by name.
    """

    epoch: int
    numbers: Mapping[str, float]
    pictures: Mapping[str, Path]
    histograms: Mapping[str, Histogram]


class Log(Protocol):
    """A log that is open: told of each epoch in turn, then closed. It may raise anything: it is then left out."""

    @property
    def place(self) -> str:
        """Where it can be looked at: a folder, an address."""

    @property
    def key(self) -> str:
        """By what it finds itself again when the run goes on."""

    def write(self, entry: Entry) -> None:
        """Keep an epoch."""

    def close(self, end: End) -> None:
        """The training has ended in that way."""


Logger = Callable[[Beginning], Log]
"""What opens a log, or goes on with it."""


def loggers(specs: Sequence[PartSpec], parts: Parts) -> dict[str, Logger]:
    """The loggers of `training.log`, by name; `ValueError`, one line, for an unknown one, one that is named twice, and
    one whose library is missing.
    """
    found: dict[str, Logger] = {}
    for each in specs:
        if each.name in found:
            raise ValueError(f"training.log has {each.name!r} twice; accepted: each name once")
        if not parts.loggers:
            raise ValueError(f"{unknown('logger', each.name, ())}; call vaekit.train, or give callbacks with loggers")
        found[each.name] = build(parts, "loggers", each.name, each.options)
    return found


@dataclass
class Logs:
    """All logs of a training, in the one process that keeps them. As a context, closed at its end."""

    openers: Mapping[str, Logger]
    on_open: Callable[[str, str], None]
    """Told the name of a log and its place."""
    opened: dict[str, tuple[Log, int]] = field(default_factory=dict)
    """Each with the epochs that it had when it was opened."""
    folder: Path = Path()

    def open(self, folder: Path, spec: Spec, done: int) -> None:
        """Open all of them, of the run in `folder` of which so many epochs are done."""
        self.folder = folder
        for name, opener in self.openers.items():
            with self._guarded(name):
                own = subfolder(subfolder(folder, LOGS), name)
                drop_temporaries(own)
                key, had = _note(own)
                made = opener(Beginning(own, folder.resolve().name, spec, max(done, had), key))
                self.opened[name] = made, max(done, had)
                _write_note(own, made.key, max(done, had))
                self.on_open(name, made.place)

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        stopped = kind is not None and not issubclass(kind, Exception)
        end: End = "finished" if kind is None else "interrupted" if stopped else "failed"
        for name in [*self.opened]:
            with self._guarded(name):
                self.opened[name][0].close(end)
        self.opened.clear()

    def write(self, records: Sequence[Epoch], pictures: Mapping[str, Path], model: VAE) -> None:
        """Tell all of them of an epoch, but those that have it."""
        epoch = records[0].epoch
        waiting = {name: made for name, (made, had) in self.opened.items() if had < epoch}
        if not waiting:
            return
        numbers = {f"{each.split}/{name}": value for each in records for name, value in each.terms.items()}
        numbers |= {f"{each.split}/seconds": each.seconds for each in records}
        entry = Entry(epoch, numbers, pictures, histograms(model))
        for name, made in waiting.items():
            with self._guarded(name):
                made.write(entry)
                _write_note(self.folder / LOGS / name, made.key, epoch)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Inside, whatever goes wrong is one warning, after which that log is left out; no random stream moves."""
        try:
            with other_streams_kept(), seeded(0), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what these libraries deprecate of each other
                yield
        except Exception as error:  # of another library, on a full disk, of a server that is gone
            self.opened.pop(name, None)
            said = " ".join(str(error).split())[:300] or type(error).__name__
            log.warning("the log %r fails, and is left out from here on: %s; the training goes on", name, said)


@torch.no_grad()
def histograms(model: VAE) -> dict[str, Histogram]:
    """Those of the weights of a model, by their names."""
    return {name: histogram(each) for name, each in model.named_parameters() if each.numel()}


def histogram(values: Tensor) -> Histogram:
    """Of the values of a tensor of finite numbers, counted where they are.

    >>> histogram(torch.tensor([0.0, 1.0, 1.0])).counts[-1], histogram(torch.zeros(5)).edges[0]
    (2, -0.5)
    """
    x = values.detach().flatten().float()
    low, high = x.min().item(), x.max().item()
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-30):
        low, high = low - 0.5, high + 0.5
    places = ((x - low) * (BINS / (high - low))).long().clamp(0, BINS - 1)
    counts = torch.bincount(places, minlength=BINS).tolist()
    edges = np.linspace(low, high, BINS + 1).tolist()
    return Histogram(tuple(counts), tuple(edges), x.sum().item(), x.square().sum().item())


def _note(folder: Path) -> tuple[str, int]:
    """What a log in `folder` calls itself, and its last epoch; nothing of a new one."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        values = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if re.fullmatch(r"([A-Za-z0-9][\w-]*)?", key := str(values["key"])):  # no path, which some make of it
            return key, int(values["epoch"])
    return "", 0


def _write_note(folder: Path, key: str, epoch: int) -> None:
    write_atomic(folder / NOTE, json.dumps({"key": key, "epoch": epoch}) + "\n")


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif value is not None and value != [] and value != "":
            yield f"{above}{key}", value
