"""A sweep: one target under many settings, each with several seeds; a run for each, in one folder, that goes on when
it is called again.

sweep.json says what was asked for, how each trial has ended, and what the settings are worth; it is written anew
whenever a trial ends. Every trial's run lies below it, in a folder that is called by its settings and its seed.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..data import DATASETS
from ..data.frames import frame_among
from ..errors import RunError, shown, unknown
from ..settings import option, standing
from ..spec.own import parts_from
from ..spec.parts import PARTS, Parts
from ..spec.recipes import RECIPES
from ..spec.targets import recipe_in_memory, resolve
from ..system.disk import (
    drop_temporaries,
    finite,
    is_temporary,
    lock,
    read_text,
    refuse_links,
    refuse_no_folder,
    write_atomic,
)
from ..system.progress import working
from .axes import Axis, Settings, folder_of, grid, sets_of
from .codes import first_difference
from .given import name_in_memory
from .jobs import SPLITS, Job, Outcome, from_values, to_values
from .swept import SCORES, Sweep, Trial, scores_of

FILE, LOCK = "sweep.json", ".sweep.lock"
FORMAT = 1


class Pool(Protocol):
    """Who carries jobs out: some at a time, in this process or in others."""

    def results(self, jobs: Iterator[Job]) -> Generator[tuple[Job, Outcome]]:
        """The jobs with what has become of each, as they end; one is asked for when there is room for it."""


class Search(Protocol):
    """Who says which settings are tried next, by what others were worth."""

    points: int
    """How many there will be."""

    def ask(self) -> tuple[int, Settings] | None:
        """The number of a point and its settings; None where there have been enough."""

    def tell(self, number: int, value: float | None) -> None:
        """What the point of that number is worth, None where it has failed."""


@dataclass(frozen=True)
class Plan:
    """What a sweep is to do: `target` on `data` with `sets`, at the values of `axes`, with each of `seeds`."""

    folder: Path
    target: Any
    axes: tuple[Axis, ...] = ()
    seeds: tuple[int, ...] = (0,)
    data: Any = None
    sets: tuple[str, ...] = ()
    parts: Parts | str | None = None
    samples: int = 200
    by: str = "nll"
    threads: int | None = None


def trials_of(plan: Plan) -> int:
    """How many settings the values of its axes make."""
    return len(grid(plan.axes))


@standing("spec")
def run_sweep(
    plan: Plan,
    pool: Pool,
    search: Callable[[], Search] | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Sweep:
    """Carry out by `pool` what is not done yet of `plan`, and return all that is there.

    Without a `search` it goes over every combination of the values of the axes, with one over the points that it
    chooses; it is made once the folder is the sweep's. `on_trial` is told of each trial as it ends. An interrupt leaves
    a folder in which the same call goes on. Raises `ValueError`, before anything is written, for settings that are no
    spec's, `RunError` for a folder that holds something else.
    """
    asked = _checked(plan, search is not None)
    with _held(plan.folder):
        record = _Record(plan, asked)
        points = _Points(record, search()) if search else None
        if points is None:
            record.add(grid(plan.axes))
        record.save()
        trials = points if points is not None else (each for one in grid(plan.axes) for each in record.begun(one))
        total = len(plan.seeds) * (points.search.points if points is not None else len(grid(plan.axes)))
        jobs = (_job(plan, each) for each in trials)
        with working("sweep", total) as step, closing(pool.results(jobs)) as results:
            for job, outcome in results:
                trial = record.ended(job.name, outcome)
                if points is not None:
                    points.tell(trial.settings)
                record.save()
                on_trial(trial)
                step(record.done)
        return record.sweep


class _Record:
    """How the trials of a sweep have ended, in memory and in its file."""

    def __init__(self, plan: Plan, asked: dict[str, Any]) -> None:
        self.plan, self.asked = plan, asked
        self.trials: dict[str, Trial] = {}
        self.taken: set[str] = set()
        if (plan.folder / FILE).exists():
            self._read(_values(plan.folder / FILE))

    def _read(self, values: dict[str, Any]) -> None:
        file = self.plan.folder / FILE
        if other := first_difference(values["asked"], self.asked):
            raise RunError(f"{self.plan.folder} is a sweep of something else: its {other}; name another folder")
        try:
            for each in values["trials"]:
                outcome = None if each["outcome"] is None else from_values(each["outcome"])
                trial = Trial(tuple(each["settings"].items()), int(each["seed"]), outcome)
                whole = (self.plan.folder / trial.name / "weights.safetensors").exists()
                if trial.state == "done" and not (whole and values["samples"] == self.plan.samples):
                    trial = replace(trial, outcome=None)  # it is looked at again
                self.trials[trial.name] = trial
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{file} is damaged: {error!r}; delete it with the folder, or name another") from None

    @property
    def done(self) -> int:
        return sum(each.state == "done" for each in self.trials.values())

    def add(self, every: list[Settings]) -> None:
        """Have the trials of all these settings among those that are waited for."""
        for settings in every:
            for seed in self.plan.seeds:
                trial = Trial(settings, seed)
                self.trials.setdefault(trial.name, trial)

    def begun(self, settings: Settings) -> Iterator[Trial]:
        """The trials of these settings that are neither done nor taken already, now taken."""
        self.add([settings])
        for seed in self.plan.seeds:
            name = folder_of(settings, seed)
            if name not in self.taken and self.trials[name].state != "done":
                self.taken.add(name)
                self.trials[name] = replace(self.trials[name], outcome=None)
                yield self.trials[name]

    def ended(self, name: str, outcome: Outcome) -> Trial:
        """The trial of that name, with how it has ended."""
        self.trials[name] = replace(self.trials[name], outcome=outcome)
        return self.trials[name]

    def of(self, settings: Settings) -> list[Trial]:
        """The trials of these settings that this call is about."""
        return [self.trials[folder_of(settings, seed)] for seed in self.plan.seeds]

    @property
    def sweep(self) -> Sweep:
        trials = tuple(self.trials.values())
        return Sweep(self.plan.folder, _ranked_by(self.plan.by, trials), self.plan.samples, trials)

    def save(self) -> None:
        found = self.sweep
        scores = scores_of(found) if self.done else []
        values = {
            "format": FORMAT,
            "by": found.by,
            "samples": found.samples,
            "asked": self.asked,
            "groups": [
                {
                    "settings": dict(each.settings),
                    "runs": len(each.done),
                    "mean": {by: finite(each.mean(by)) for by in scores},
                    "stderr": {by: finite(each.stderr(by)) for by in scores},
                }
                for each in found.groups
            ],
            "trials": [
                {
                    "name": each.name,
                    "settings": dict(each.settings),
                    "seed": each.seed,
                    "state": each.state,
                    "outcome": None if each.outcome is None else to_values(each.outcome),
                }
                for each in found.trials
            ],
        }
        write_atomic(self.plan.folder / FILE, json.dumps(values, indent=1, allow_nan=False) + "\n")


class _Points:
    """The trials at the points that a search chooses, one after another; it is told what they are worth."""

    def __init__(self, record: _Record, search: Search) -> None:
        self.record, self.search = record, search
        self.numbers: dict[Settings, list[int]] = {}

    def __iter__(self) -> Iterator[Trial]:
        while (point := self.search.ask()) is not None:
            number, settings = point
            self.numbers.setdefault(settings, []).append(number)
            yield from self.record.begun(settings)
            self.tell(settings)  # where there was nothing to do

    def tell(self, settings: Settings) -> None:
        """Tell the search what a point is worth, if all of its trials have ended."""
        trials = self.record.of(settings)
        if any(each.state == "waiting" for each in trials):
            return
        by = self.record.sweep.by
        scores = [each.score(by) for each in trials]
        known = [each for each in scores if each is not None]
        for number in self.numbers.pop(settings, []):
            self.search.tell(number, statistics.fmean(known) if len(known) == len(scores) else None)


def _checked(plan: Plan, searching: bool) -> dict[str, Any]:
    """What tells this sweep from others in its folder; `ValueError` for what can't be one."""
    spans = [each.key for each in plan.axes if each.span is not None]
    if spans and not searching:
        raise ValueError(f"{option('over', spans[0])} is a range, from which a search draws: {option('search', 'tpe')}")
    if searching and not plan.axes:
        raise ValueError(f"a search needs what to search over: {option('over', 'KEY=LOW..HIGH')}")
    if not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        raise ValueError(f"seeds are {shown(plan.seeds)}; accepted: one or more, each once")
    if plan.samples < 1:
        raise ValueError(f"samples is {plan.samples}; accepted: 1 or more")
    if plan.by not in (accepted := [*SCORES, *(f"{split}.{score}" for split in SPLITS for score in SCORES)]):
        raise ValueError(unknown("score", plan.by, accepted))
    parts = parts_from(plan.parts) if isinstance(plan.parts, str) else plan.parts or PARTS
    frame = frame_among(plan.target, plan.data)
    target = recipe_in_memory(frame) if frame is not None and plan.target is frame else plan.target
    data = plan.data if frame is None else name_in_memory(frame)
    base = resolve(target, plan.sets, parts, data)
    ends = [[(each.key, str(each.span.low))] if each.span else [] for each in plan.axes]
    axes = [each for each in plan.axes if each.span is None]
    for settings in grid(axes):
        every = (*settings, *(each for end in ends for each in end))
        resolve(target, [*plan.sets, *sets_of(every, plan.seeds[0])], parts, data)
    return {"spec": base.model_dump(mode="json"), "capped": data is not None, "parts": parts.source}


def _job(plan: Plan, trial: Trial) -> Job:
    sets = (*plan.sets, *sets_of(trial.settings, trial.seed))
    given = _absolute(plan.target), _absolute(plan.data)
    return Job(
        trial.name, str(plan.folder.absolute() / trial.name), *given, sets, plan.parts, plan.samples, plan.threads
    )


def _absolute(given: Any) -> Any:
    """A path as it is from any folder; anything else as it is."""
    if not isinstance(given, (str, Path)) or str(given) in (*RECIPES, *DATASETS):
        return given
    path = Path(given).expanduser()
    return str(path.resolve()) if path.exists() else str(given)


def _ranked_by(by: str, trials: tuple[Trial, ...]) -> str:
    """The score and its split; without one, that of the first split that there are scores of."""
    there = {split: None for each in trials if each.outcome for split in each.outcome.scores}
    if "." not in by:
        return f"{next((split for split in SPLITS if split in there), next(iter(there), SPLITS[0]))}.{by}"
    if there and (split := by.partition(".")[0]) not in there:
        raise ValueError(f"{option('by', by)} is of the split {split}; the data have scores of {', '.join(there)}")
    return by


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Inside, `folder` is there for this sweep alone; `RunError` where something else is there, or somebody."""
    refuse_no_folder(folder, "for the sweep")
    known = {FILE, LOCK}
    there = {each.name for each in folder.iterdir() if not is_temporary(each.name)} if folder.exists() else set()
    if there - known and FILE not in there:
        raise RunError(f"{folder} is not empty and is no sweep; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    refuse_links([folder / each for each in known])
    try:
        with lock(folder / LOCK, timeout=0):
            drop_temporaries(folder)
            yield
            (folder / LOCK).unlink(missing_ok=True)
    except TimeoutError:
        raise RunError(f"another process is at the sweep in {folder}; wait for it, or name another folder") from None


def _values(path: Path) -> dict[str, Any]:
    """What the file of a sweep says; `RunError` where it is none."""
    try:
        values = json.loads(read_text(path))
    except (ValueError, RecursionError, OSError) as error:
        raise RunError(f"{path} can't be read: {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT or not isinstance(values.get("asked"), dict):
        raise RunError(f"{path} is no sweep that this version of vaekit knows; name another folder")
    return values
