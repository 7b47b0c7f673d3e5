"""A log for TensorBoard (`pip install 'vaekit[tensorboard]'`): `tensorboard --logdir RUN/logs`."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..runs.logs import Beginning, End, Entry
from ..spec.saving import spec_to_json
from ..system.extras import check_importable, needing


@dataclass(frozen=True)
class TensorBoard:
    """Event files of TensorBoard: numbers, pictures and histograms of weights, in logs/tensorboard of the run."""

    def __post_init__(self) -> None:
        with needing("the log 'tensorboard'", "TensorBoard", "tensorboard"):
            check_importable("tensorboard")

    def __call__(self, beginning: Beginning) -> EventFile:
        return EventFile(beginning)


class EventFile:
    """An event file, one for each beginning of a training. Written as it comes: a kill loses nothing."""

    key = ""

    def __init__(self, beginning: Beginning) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary

        self.place, self.event, self.summary = str(beginning.folder), event_pb2, summary
        # Not torch's SummaryWriter: its thread dies of a full disk, with a traceback that nobody can catch.
        self.file = _new_file(beginning.folder)
        self.writer = RecordWriter(self.file)
        self._write(file_version="brain.Event:2")
        # From here on: what another event file has of later epochs, written before a kill, TensorBoard forgets.
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(session_log=start, step=beginning.done + 1)
        if not beginning.done:
            text = "\n".join(f"    {line}" for line in spec_to_json(beginning.spec).splitlines())
            self._write(summary=summary.text("spec", text))

    def write(self, entry: Entry) -> None:
        from torch.utils.tensorboard import summary

        for name, value in entry.numbers.items():
            self._write(summary=summary.scalar(name, value), step=entry.epoch)
        for name, path in entry.pictures.items():
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._write(summary=summary.image(f"pictures/{name}", pixels, dataformats="HWC"), step=entry.epoch)
        for name, each in entry.histograms.items():
            number = sum(each.counts)
            ends: Any = each.edges[0], each.edges[-1], number, each.total, each.squares, each.edges[1:], each.counts
            self._write(summary=summary.histogram_raw(f"weights/{name}", *ends), step=entry.epoch)
        self.file.flush()

    def close(self, end: End) -> None:
        self.file.close()

    def _write(self, step: int = 0, **what: Any) -> None:
        self.writer.write(self.event.Event(wall_time=time.time(), step=step, **what).SerializeToString())


def _new_file(folder: Path) -> Any:
    """A new event file: readers take those of a folder in the order of their names."""
    for number in itertools.count():
        path = folder / f"events.out.tfevents.{time.time_ns() // 1000:017d}.{os.getpid()}.{number}"
        try:
            return path.open("xb")
        except FileExistsError:
            continue
