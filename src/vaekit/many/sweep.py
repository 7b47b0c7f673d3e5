"""A sweep: runs under many settings, in this process, in others of this machine, or by Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..composed import train
from ..data.frames import check_data, frame_among
from ..interop import optuna
from ..interop.ray import RayPool
from ..runs import jobs as a_job
from ..runs.axes import axes_of
from ..runs.jobs import Here, Job, Outcome, Processes, answered, packed
from ..runs.sweep import Plan, Pool, run_sweep, trials_of
from ..runs.swept import Sweep, Trial
from ..settings import standing, written
from ..show.report import write_sweep
from ..spec.keys import Spec
from ..spec.parsing import texts_of
from ..spec.parts import PARTS, Parts
from ..spec.targets import ACCEPTED, name_of, recipe_in_memory
from ..system.devices import graphics
from ..system.workers import Workers, processors


def carry_out(job: Job) -> Outcome:
    """Do a job of a sweep, with the pictures that its spec asks for."""
    return a_job.carry_out(job, train)


def answer(line: str) -> str:
    """Do a job that another process has written down."""
    return answered(line, carry_out)


ANSWER = f"{__name__}:{answer.__name__}"
"""By which other processes find it."""


@standing("spec")
def sweep(  # noqa: PLR0913 - all that may be said of many runs
    target: str | Path | Spec | Any | None = None,
    over: Mapping[str, Any] | Iterable[str] = (),
    *,
    seeds: int | Sequence[int] = 3,
    out: str | Path | None = None,
    data: str | Path | Any | None = None,
    sets: Iterable[str] = (),
    parts: Parts | str = PARTS,
    by: str = "nll",
    samples: int = 200,
    search: str | None = None,
    trials: int = 20,
    jobs: int | None = None,
    threads: int | None = None,
    ray: str | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    **options: Any,
) -> Sweep:
    """Train `target` with every combination of the values that `over` has, each with several `seeds`, and compare.

    `target`, `data`, `sets`, `parts` and `options` are as for `train`; `parts` may also be FILE.py:NAME. `over` has
    keys of the spec with their values ({"objective.beta": [1, 2, 4]}, or "objective.beta=1,2,4"). Each run is a folder
    below `out` (default runs/NAME-sweep), called by its settings and its seed; sweep.json and sweep.html there say what
    the settings are worth. Called again, it does what is not done yet: runs go on where they were, bit for bit, those
    that have failed are tried again, values and seeds may be added.

    Settings are ranked `by` "nll" or "elbo" of held-out data, "test.nll" for those of a split, the mean over seeds; the
    NLL is by `samples` importance samples. With `search` ("tpe" or "random", by Optuna), as many as `trials` settings
    are chosen of what `over` has, which may be ranges: "1e-4..1e-2:log", "2..64".

    As many `jobs` as there are processors (or CUDA devices) are done at once, each in a process with so many `threads`
    for an operation that none waits for another; one job at a time, or of data frames and parts that are objects, in
    this process. The last bits of a run may depend on the threads. `ray` is the address of a Ray cluster whose machines
    see `out` by the same path, or "local". `on_trial` is told of each trial as it ends.

    Raises `ValueError`, one line, before anything is trained, for what can't be a sweep; a run that fails is in
    `Sweep.failed`, with the reason.

    >>> import tempfile
    >>> over = {"objective.beta": [1, 64]}
    >>> found = sweep("digits", over, seeds=1, out=Path(tempfile.mkdtemp()) / "betas", samples=5, jobs=1, epochs=9)
    >>> found.best.settings
    (('objective.beta', '1'),)
    >>> [each.name for each in found.trials]
    ['objective.beta=1/seed=0', 'objective.beta=64/seed=0']
    """
    if target is None and data is None:
        raise ValueError(f"there is no target; {ACCEPTED}")
    check_data(data)
    check_data(None if isinstance(target, Spec) else target, "target")
    frame = frame_among(target, data)
    own = parts if isinstance(parts, str) or parts is not PARTS else None
    every = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    given = [f"training.{key}={written(value)}" for key, value in options.items() if value is not None]
    asked: Any = data if target is None else target
    name = recipe_in_memory(asked) if frame is asked else name_of(asked)
    plan = Plan(
        Path(out).expanduser() if out is not None else Path("runs") / f"{name}-sweep",
        asked,
        axes_of(over),
        every,
        None if target is None else data,
        (*texts_of(sets), *given),
        own,
        samples,
        by,
    )
    points = None
    if search is not None:
        optuna.check(search, trials)
        points = partial(optuna.OptunaSearch, plan, search, trials)
    many = trials if search is not None else trials_of(plan)
    here = frame is not None or isinstance(own, Parts)
    plan, pool = _pooled(plan, many, jobs=1 if here and jobs is None else jobs, threads=threads, ray=ray)
    found = run_sweep(plan, pool, points, on_trial)
    write_sweep(found)
    return found


def _pooled(plan: Plan, many: int, *, jobs: int | None, threads: int | None, ray: str | None) -> tuple[Plan, Pool]:
    """Who does the jobs of a plan of so many settings, and the plan with the threads of each."""
    on_cpu = any(each.replace(" ", "") == "training.device=cpu" for each in plan.sets)
    devices = () if on_cpu or ray is not None else graphics()
    most = many * len(plan.seeds)
    jobs = max(1, min(most, len(devices) or processors())) if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; accepted: 1 or more")
    # This process has as many as its user, by OMP_NUM_THREADS say, lets it have.
    threads = max(1, min(processors() // jobs, torch.get_num_threads())) if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads is {threads}; accepted: 1 or more")
    plan = replace(plan, threads=threads)
    if ray is None and jobs == 1:
        return plan, Here(carry_out)
    packed(Job("", "", plan.target, plan.data, plan.sets, plan.parts))  # an error where that can't be
    if ray is not None:
        return plan, RayPool(ANSWER, ray, jobs, threads)
    return plan, Processes(Workers(ANSWER, jobs, threads, devices))
