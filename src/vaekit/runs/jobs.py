"""A run of a sweep as a job that any process can do: trained, or gone on with, and scored."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from ..data.frames import frame_among, is_in_memory
from ..evaluation.scores import Evaluation
from ..settings import option
from ..spec.keys import Spec
from ..spec.own import parts_from
from ..spec.parsing import parse
from ..spec.parts import PARTS, Parts
from ..system.devices import threads
from ..system.disk import finite
from ..system.workers import Workers
from .folder import is_run
from .run import Run

SPLITS = ("valid", "test")
"""The splits on which a run is scored, of those that its data have."""


@dataclass(frozen=True)
class Job:
    """A run to be trained and scored, in whatever process; all of it can be written as JSON, unless `target` or `data`
    is a data frame or `parts` are objects.
    """

    name: str
    """The folder of the run within that of its sweep."""
    folder: str
    target: Any
    data: Any
    sets: tuple[str, ...]
    parts: Parts | str | None = None
    samples: int = 200
    threads: int | None = None
    """Threads of one operation; None for as many as there are."""


@dataclass(frozen=True)
class Outcome:
    """How a job has ended: with scores by split, or with an error, one line."""

    scores: Mapping[str, Evaluation]
    seconds: float = 0.0
    """Of the training."""
    error: str = ""


def carry_out(job: Job, train: Callable[..., Run]) -> Outcome:
    """Train the run of `job` by `train`, or go on with it where it was begun, and score it on what it held out.

    Whatever goes wrong in it is its outcome; an interrupt is none.
    """
    try:
        folder, parts = Path(job.folder), parts_from(job.parts) if isinstance(job.parts, str) else job.parts or PARTS
        frame = frame_among(job.target, job.data)
        with threads(job.threads or torch.get_num_threads()):
            if is_run(folder):
                run = train(frame, folder, resume=True, parts=parts)
            else:
                run = train(job.target, folder, data=job.data, sets=job.sets, parts=parts)
            splits = [each for each in SPLITS if each in run.dataset.splits] or ["train"]
            scores = {split: run.evaluate(split, job.samples) for split in splits}
        return Outcome(scores, sum(each.seconds for each in run.history() if each.split == "train"))
    except Exception as error:  # parts of the user's own may raise whatever they like
        return Outcome({}, error=line_of(error))


def packed(job: Job) -> str:
    """A job as a line of JSON, for another process; `ValueError` where it has what can't be written down."""
    values = {each.name: getattr(job, each.name) for each in fields(job)}
    if is_in_memory(job.target) or is_in_memory(job.data) or isinstance(job.parts, Parts):
        what = "parts that are objects" if isinstance(job.parts, Parts) else "a data frame"
        other = "name them by file, FILE.py:NAME" if isinstance(job.parts, Parts) else "write it to a file"
        raise ValueError(f"{what} can't be sent to another process; {other}, or give {option('jobs', 1)}")
    for key in ("target", "data"):
        if isinstance(values[key], Spec):
            values[key] = {"spec": values[key].model_dump(mode="json", exclude_unset=True)}
        elif values[key] is not None:
            values[key] = str(values[key])
    return json.dumps(values)


def unpacked(text: str) -> Job:
    """The job that `packed` wrote down."""
    values = json.loads(text)
    values["sets"] = tuple(values["sets"])
    if isinstance(values["target"], dict):
        parts = parts_from(values["parts"]) if values["parts"] else PARTS
        values["target"] = parse(values["target"]["spec"], parts)
    return Job(**values)


def line_of(error: BaseException) -> str:
    """An error as one line; what is no mistake in the user's words is called by its type."""
    text = " ".join(str(error).split())
    usual = isinstance(error, (ValueError, ArithmeticError)) and text
    return text if usual else f"{type(error).__name__}: {text}".removesuffix(": ")


def to_values(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON has it."""
    return finite(asdict(outcome))


def from_values(values: Mapping[str, Any]) -> Outcome:
    """The outcome that `to_values` gave, NaN where a number is null; `LookupError`, `ValueError` or `TypeError` for
    anything else.
    """
    numbers = [each.name for each in fields(Evaluation) if each.type == "float"]
    scores = {}
    for split, own in values["scores"].items():
        bare = [name for name in numbers if own.get(name) is None]
        scores[split] = TypeAdapter(Evaluation).validate_python(own | dict.fromkeys(bare, math.nan))
    return Outcome(scores, float(values["seconds"]), str(values["error"]))


def answered(text: str, carry_out: Callable[[Job], Outcome]) -> str:
    """The line that a line of `packed` is answered by: what becomes of that job."""
    return json.dumps(to_values(carry_out(unpacked(text))))


def understood(text: str) -> Outcome:
    """The outcome that `answered` wrote down."""
    return from_values(json.loads(text))


class Here:
    """One job after another, in this process."""

    def __init__(self, carry_out: Callable[[Job], Outcome]) -> None:
        self.carry_out = carry_out

    def results(self, jobs: Iterator[Job]) -> Generator[tuple[Job, Outcome]]:
        """The jobs with what has become of each; the next one is asked for when the one before has been taken."""
        for job in jobs:
            yield job, self.carry_out(job)


class Processes:
    """Several jobs at once, in processes of this machine."""

    def __init__(self, workers: Workers[Job]) -> None:
        self.workers = workers

    def results(self, jobs: Iterator[Job]) -> Generator[tuple[Job, Outcome]]:
        """The jobs with what has become of each, as they end; one is asked for when there is a process for it."""
        with closing(self.workers.answers((job, packed(job)) for job in jobs)) as answers:
            for job, answer in answers:
                yield job, Outcome({}, error=answer.error) if answer.error else understood(answer.text)
