"""From what is asked to a trained run: resolve, load, build, train, each a function of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

from ..data import Dataset
from ..data.frames import check_data, frame_among, is_in_memory
from ..data.named import DATASETS
from ..data.shards import are_shards
from ..errors import NonFiniteError, RunError, shown
from ..models import VAE
from ..seeding import plain_tensors
from ..settings import key_called, option, standing, written
from ..spec.building import build_model, schema_of
from ..spec.keys import Spec
from ..spec.meant import by_its_kind
from ..spec.parsing import changed, texts_of
from ..spec.parts import PARTS, Parts
from ..spec.recipes import RECIPES
from ..spec.targets import ACCEPTED, check_no_run, is_data, name_of, recipe_in_memory, resolve
from ..system.disk import write_atomic
from ..system.processes import join
from ..system.progress import following
from ..training.checkpoint import Checkpoints
from ..training.loop import optimize
from .codes import READING, check_same_spec, codes_of, on_codes, runs_below
from .folder import DIVERGED, Claim, check_free, check_places, claimed, is_run, read_spec
from .given import NOWHERE, fingerprint_of, name_in_memory
from .keeping import Callbacks, Kept, Plan, Watch
from .logs import Logs, loggers
from .preparation import Ready, check_sharded, completed, make_ready
from .reading import ANEW
from .run import Run, load_data, own_data

log = logging.getLogger(__name__)
CHANGEABLE = (
    *("training.epochs=", "training.device=", "training.log=", "training.shard_parameters="),
    *(f"data.{key}=" for key in ANEW),
)
"""Settings of a run that it may go on with others of; its data are known by their values, wherever these stand."""


@standing("spec")
@plain_tensors()
def train(
    target: str | Path | Spec | Any | None = None,
    out: str | Path | None = None,
    *,
    data: str | Path | Any | None = None,
    sets: Iterable[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    parts: Parts = PARTS,
    callbacks: Callbacks | None = None,
    **options: Any,
) -> Run:
    """Train what `target` says into the run folder `out` (default runs/NAME), and return the run.

    `target` is a recipe, a dataset by name or path, a data frame, an AnnData object, a .toml file, or a `Spec`; `sets`
    change it ("training.seed=1"), and `options` are those of its training (epochs=5). With `data`, likewise by name,
    path or itself, it is run on these: they are preprocessed as `target` says, numbers of rows and the like are
    forgotten, and a batch that nobody asks for is no more than there is (as where `target` is data). With `resume` the
    run in `out` goes on where it was, by its own spec, `epochs` excepted, and `target` may be left out; `data` is then
    where its data lie now. `callbacks` are told how it goes. Called in each of the processes that torchrun starts, all
    of them train the one run; to go on with it all of them must see its folder. Raises `ValueError`, one line, for what
    can't be run, before anything is written; `NonFiniteError` when the loss stops being finite.

    >>> import tempfile
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> run.model.encode(run.data("test").x[:5]).shape
    torch.Size([5, 16])
    """
    callbacks = callbacks or Callbacks()
    frame = frame_among(target, data)
    if frame is not None:
        if frame is target and data is not None:
            given = "a data frame" if is_in_memory(data) else f"data={shown(data)}"
            raise ValueError(f"target is a data frame, and {given} is beside it; give one, or a recipe and data")
        target = recipe_in_memory(frame) if target is None or frame is target else target
        data = None if resume else name_in_memory(frame)
    target = _target(target, data, out=out, resume=resume, overwrite=overwrite)
    sets = [
        *texts_of(sets),
        *(f"training.{key}={written(value)}" for key, value in options.items() if value is not None),
    ]
    usual, processes = Path("runs") / name_of(target or ""), join()
    free = out is None and not resume
    with processes.quiet(), claimed(Path(out).expanduser() if out else usual, free, processes) as mine:
        mine.begun = resume
        if resume:
            plan = _resumed(mine.path, None if frame is not None else target, data, sets, parts, frame)
            ready = make_ready(plan.spec, plan.schema, plan.dataset, parts, begins=plan.saved is None)
        else:
            spec = on_codes(resolve(target or "", sets, parts, data), parts)
            check_sharded(spec, parts)
            asked = any(each.partition("=")[0].strip() == "training.batch_size" for each in sets)
            capped = not asked and (data is not None or is_data(target or ""))  # a recipe's batch is of other data
            with by_its_kind(target, spec, spec.data.name if frame is None else frame, sets):
                spec = _stacked(spec, mine.path, capped=capped, overwrite=overwrite, parts=parts, told=callbacks)
                plan = _new(mine.path, spec, parts, capped=capped, frame=frame)
                ready = make_ready(plan.spec, plan.schema, plan.dataset, parts)
            _check_apart(plan.spec, mine.path, parts)
        run = _trained(plan, ready, mine, callbacks, overwrite)
        return run if frame is None else replace(run, loaded=plan.dataset)


def _target(
    target: str | Path | Spec | None, data: str | Path | None, *, out: object, resume: bool, overwrite: bool
) -> str | Path | Spec | None:
    """What is trained, None where a folder says it; an error where it is not said, or said twice."""
    if resume and overwrite:
        raise RunError(f"{option('resume')} and {option('overwrite')} exclude each other; choose one")
    given: object = target  # whatever the signature says
    if not isinstance(given, (str, Path, Spec, NoneType)):
        known = "a recipe, a dataset by name or path, a data frame, a .toml file, a Spec; for objects there is fit"
        raise TypeError(f"target is a {type(given).__name__}; accepted: {known}")
    check_data(data)
    target = data if target is None else target
    if target is None and not (resume and out):
        needs = f"{option('resume')} needs the folder of a run: give {option('out', 'FOLDER')}"
        raise ValueError(needs if resume else f"there is no target; {ACCEPTED}")
    if isinstance(target, str | Path):
        check_no_run(str(target))
    return target


def _loaded(spec: Spec, parts: Parts, frame: Any = None) -> Dataset:
    """The data of `spec`, or of a `frame`. Those that may have to be downloaded or looked through, the first process of
    a machine loads before the others do.
    """
    shared = spec.data.name in DATASETS or are_shards(Path(spec.data.name))  # what is found of them is kept for all
    if frame is None and spec.data.codes is None and shared:
        return join().in_turn(lambda: load_data(spec, parts), of_machine=True)
    return load_data(spec, parts, frame)


def _new(folder: Path, spec: Spec, parts: Parts, *, capped: bool, frame: Any = None) -> Plan:
    """The plan of a new run of `spec`, of which the data, a `frame` or what it names, say the rest."""
    dataset = _loaded(spec, parts, frame)
    told = fingerprint_of(spec, dataset, parts)
    schema = schema_of(dataset, spec.data.preprocessing, told, masked=spec.data.mask > 0)
    spec = completed(spec, schema, dataset, parts, capped).model_copy(update={"parts": parts.source})
    return Plan(folder, spec, schema, dataset, parts, resume=False)


def _resumed(
    folder: Path,
    target: str | Path | Spec | None,
    data: str | Path | None,
    sets: Sequence[str],
    parts: Parts,
    frame: Any = None,
) -> Plan:
    """The plan of the run in `folder`, to go on from its newest saved state; `RunError` where there can't be one."""
    spec, schema = read_spec(folder, parts)
    if spec.data.name == NOWHERE:
        raise RunError(f"{folder} was trained elsewhere: there is no training of it to go on with")
    check_places(folder)
    place = frame if frame is not None else _place(folder, spec, target, data, parts)
    spec = changed(spec, _changes(sets), parts)
    check_sharded(spec, parts)
    dataset = own_data(folder, spec, schema, parts, place)
    if place is not None and frame is None and spec.data.codes is None:
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"name": place})})
    states = Checkpoints(folder / "checkpoints")
    saved = states.newest(log.warning)
    if saved is None and (states.all() or (folder / "weights.safetensors").exists()):
        raise RunError(
            f"{folder} has no training state that is whole; restore one, or begin anew: {option('overwrite')}"
        )
    done, begun = (saved.state.epoch, bool(saved.state.batches)) if saved else (0, False)
    if done + begun > spec.training.epochs:
        asked, part = f"training.epochs is {spec.training.epochs}", " and a part of another" * begun
        raise RunError(f"{asked}, but {folder} has {done} done{part}; accepted: {done + begun} or more")
    return Plan(folder, spec, schema, dataset, parts, resume=True, saved=saved)


def _trained(plan: Plan, ready: Ready, mine: Claim, callbacks: Callbacks, overwrite: bool) -> Run:
    """The run of `plan`, its model trained."""
    processes, model = join(), ready.task.model
    processes.check_same({"data of the fingerprint": plan.schema.fingerprint})
    run = Run(plan.folder, plan.spec, plan.schema, model, plan.parts, plan.dataset)
    draw = _watched(run, ready.task.split, callbacks.watch)
    logs = Logs(loggers(plan.spec.training.log, _with_loggers(plan.parts, callbacks)), callbacks.on_log)
    with ExitStack() as held:
        kept = Kept(plan, ready, mine, callbacks, draw, logs, held, model)
        try:
            optimize(
                ready.task,
                plan.folder,
                saved=plan.saved,
                on_start=partial(kept.start, overwrite),
                on_epoch=kept.record,
                on_look=kept.look,
                on_progress=held.enter_context(following(callbacks.on_progress, ready.task.total)),
            )
        except NonFiniteError as error:
            if processes.first and mine.begun:
                write_atomic(plan.folder / DIVERGED, str(error))
            raise
    return replace(run, loaded=None)


def _with_loggers(parts: Parts, callbacks: Callbacks) -> Parts:
    return parts.extended(loggers={**callbacks.loggers, **parts.loggers})


def _watched(run: Run, split: str, watch: Watch | None) -> Callable[[VAE, int], Mapping[str, Path] | None]:
    """What is called after each epoch; `ValueError` where the run asks for pictures, and nobody draws them."""
    if watch is not None:
        return watch(run, split)
    if run.spec.pictures.every_epoch:
        raise ValueError("pictures.every_epoch needs who draws them: call vaekit.train, or give callbacks that watch")
    return lambda model, epoch: None


def ensure(target: str | Spec, folder: Path, *, overwrite: bool = False, **options: Any) -> Run:
    """The run of `target` in `folder`: as it is if it is finished, gone on with if it was begun, else trained.

    `options` are those of `train`; the data of a run that is there must be those asked for.
    """
    if overwrite or not join().told(is_run(folder)):
        return train(target, folder, overwrite=overwrite, **options)
    return train(target, folder, resume=True, **options)


def _stacked(spec: Spec, folder: Path, *, capped: bool, overwrite: bool, parts: Parts, told: Callbacks) -> Spec:
    """`spec` with the folder of the run whose codes it takes; that of a recipe is `ensure`d beside `folder`, once
    nothing that can be known before speaks against the run on its codes.
    """
    data, name = spec.data, spec.data.codes
    if name is None or name not in RECIPES:
        return spec
    given = {key: getattr(data, key) for key in (*READING, "labels", "seed")}
    sets = [f"data.{key}={written(value)}" for key, value in given.items() if value is not None]
    sets += [f"training.{key}={getattr(spec.training, key)}" for key in ("seed", "device")]
    first = resolve(name, sets, parts, data.name)
    path = folder.resolve()
    path = path.with_name(f"{path.name}-{name}")
    _rehearse(spec, first, capped, parts, told.watch)
    if (processes := join()).first:
        check_free(folder, overwrite)
    if processes.told(is_run(path)) and not overwrite:
        check_same_spec(path, first, parts)
    ensure(first, path, data=data.name, overwrite=overwrite, parts=parts, callbacks=told)
    return on_codes(spec.model_copy(update={"data": data.model_copy(update={"codes": str(path)})}), parts)


def _check_apart(spec: Spec, folder: Path, parts: Parts) -> None:
    """`RunError` where the run in `folder` would take the place of one that it is made from."""
    start, codes = spec.training.start, spec.data.codes
    if start is not None and Path(start).resolve() == folder.resolve():
        key = key_called("training.start")
        raise RunError(f"{folder} is the run that {key} names; name another folder for what begins with it")
    if codes is not None and folder.resolve() in runs_below(codes, parts):
        raise RunError(f"{folder} is itself among the runs of data.codes; name another folder for the run")


def _rehearse(spec: Spec, first: Spec, capped: bool, parts: Parts, watch: Watch | None) -> None:
    """Raise what training `spec` on the codes of `first` would before it begins, by its codes before its training."""
    dataset = _loaded(first, parts)
    schema = schema_of(dataset, first.data.preprocessing, masked=first.data.mask > 0)
    first = completed(first, schema, dataset, parts, capped=True)
    model = build_model(first.model, schema, first.training.seed, parts)
    codes = codes_of(Run(Path(spec.data.codes or ""), first, schema, model, parts, dataset))
    schema = schema_of(codes, spec.data.preprocessing, masked=spec.data.mask > 0)
    spec = completed(spec, schema, codes, parts, capped)

    def stop() -> None:
        raise _RehearsedError

    task = make_ready(spec, schema, codes, parts).task
    _watched(Run(Path(), spec, schema, task.model, parts, codes), task.split, watch)
    with suppress(_RehearsedError):
        optimize(task, on_start=stop)


class _RehearsedError(Exception):
    """All has been checked that is checked before a training begins."""


def _place(
    folder: Path, spec: Spec, target: str | Path | Spec | None, data: str | Path | None, parts: Parts
) -> str | None:
    """Where the data of the run in `folder` that is gone on with lie, if `data` say that it is elsewhere."""
    if isinstance(target, str | Path) and str(Path(target).expanduser().resolve()) == spec.data.name:
        target = data  # what the run was on, whether it is still there or not
    if target is None:
        return None
    asked = on_codes(resolve(target, (), parts, data), parts).data.name
    if asked == spec.data.name:
        return None
    if data is None:
        elsewhere = f"leave out the target, or, where the same data lie there now, give {option('data', asked)}"
        raise RunError(f"{folder} is a run on {spec.data.name!r}, not on {asked!r}; {elsewhere}")
    return asked


def _changes(sets: Sequence[str]) -> Sequence[str]:
    """What of a run that goes on may be changed; `RunError` for anything else."""
    if others := [s for s in sets if not s.startswith(CHANGEABLE)]:
        can = f"only {', '.join(each.rstrip('=') for each in CHANGEABLE)} can change"
        place = others[0].removeprefix("data.name=")
        where = f"; where its data lie now is said by {option('data', place)}" if place != others[0] else ""
        raise RunError(f"a resumed run keeps its own spec; leave out {others[0]!r}, {can}{where}")
    return sets
