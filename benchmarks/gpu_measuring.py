"""What the parts of gpu.py share: where they write, clocks of a device, steps taken by hand."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from vaekit.engine import recording, update
from vaekit.seeding import seeded
from vaekit.system.devices import repeatable
from vaekit.training.meter import Meter
from vaekit.training.step import Step
from vaekit.training.task import Task, check

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


@dataclass
class Setting:
    """Where a part writes, how long it has, and whether it is a rehearsal."""

    log: Path
    folder: Path
    seconds: float
    rehearse: bool
    started: float = field(default_factory=time.perf_counter)

    def tell(self, part: str, **what: Any) -> None:
        """Write a measurement, at once."""
        line = json.dumps({"part": part, **what})
        print(line, flush=True)
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def measure(self, part: str, most: float, work: Callable[[], dict[str, Any]], **what: Any) -> None:
        """Tell what `work` finds within so many seconds, or why there is nothing."""
        started = time.perf_counter()
        left = self.seconds - (started - self.started)
        if left < 2:
            self.tell(part, **what, failed="no time left")
            return
        signal.signal(signal.SIGALRM, _alarm)
        signal.setitimer(signal.ITIMER_REAL, min(most, left))
        try:
            found = work()
        except Exception as error:  # of whatever kind: the rest is still to be measured
            place = traceback.extract_tb(error.__traceback__)[-1]
            said = (f"{type(error).__name__}: {error}".splitlines() or [""])[0][:200]
            found = {"failed": f"{said} ({Path(place.filename).name}:{place.lineno})"}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.tell(part, **what, **found, took=round(time.perf_counter() - started, 1))


def _alarm(number: int, frame: object) -> None:
    raise TimeoutError("it took too long")


def wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


def megabytes(what: str) -> float:
    """What torch says of the device's memory: "memory_allocated", "memory_reserved", "max_memory_allocated"."""
    return round(getattr(torch.cuda, what)() / 2**20, 1) if CUDA else 0.0


def forget() -> None:
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def timed(work: Callable[[], object], times: int, rounds: int = 5) -> float:
    """Seconds of one call, the median of rounds of so many."""
    found = []
    for _ in range(rounds):
        wait()
        started = time.perf_counter()
        for _ in range(times):
            work()
        wait()
        found.append((time.perf_counter() - started) / times)
    return statistics.median(found)


def kernels(work: Callable[[], object], times: int) -> tuple[float, int]:
    """Seconds of the kernels of one call, added up, and how many there are."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if CUDA else [])]
    with profile(activities=activities) as profiled:
        for _ in range(times):
            work()
        wait()
    events = profiled.key_averages()
    if CUDA:
        events = [each for each in events if str(each.device_type).endswith("CUDA")]
        return sum(each.self_device_time_total for each in events) / 1e6 / times, sum(e.count for e in events) // times
    return sum(each.self_cpu_time_total for each in events) / 1e6 / times, sum(each.count for each in events) // times


def first_wait(work: Callable[[], object]) -> str:
    """Where a call waits for the device first; "" where it never does."""
    if not CUDA:
        work()
        return ""
    wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
        try:
            work()
        except RuntimeError as error:
            own = [each for each in traceback.extract_tb(error.__traceback__) if "vaekit" in each.filename]
            return f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].line}" if own else str(error)[:100]
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return ""


class Steps:
    """The steps of a task as the loop takes them, from the first on that may be recorded."""

    def __init__(self, task: Task, engine: str) -> None:
        check(task)
        self.task = task
        model = task.model.train()
        model.precision = torch.bfloat16 if task.options.precision == "bfloat16" else None
        self.parameters = [each for each in model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, 1e-4, fused=True)
        total = 10 * recording.LONG if engine == "inductor" else 2 * recording.WORTHWHILE
        self.step = Step(model, task.objective, task.train, task.batch_size, total, engine=engine)
        self.update, self.meter = update(self.optimizer), Meter(task.train.x.device)
        with seeded(0):
            full = [each for each in task.train.order(task.batch_size) if len(each) == task.batch_size]
        self.batches, self.number = full, recording.SOON

    def __call__(self) -> torch.Tensor:
        """Take one; its terms, the loss first."""
        with repeatable():
            index = self.batches[self.number % len(self.batches)]
            terms = self.step(index, 0.5, self.number)
            torch.nn.utils.clip_grad_norm_(self.parameters, 100.0)
            self.update()
            self.meter.add(terms, len(index))
        self.number += 1
        return terms.values

    @property
    def way(self) -> str:
        """How they are made."""
        made = self.step.recording
        if made is None:
            return "python"
        return f"{self.step.chosen.get('backend', 'replay')}{', launched' * (type(made.run).__name__ == 'Captured')}"
