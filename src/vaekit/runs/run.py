"""A run is a folder: made by `train`, read by `load_run`, whole at every instant.

spec.json (what was asked, and the shape of the data), weights.safetensors, metrics.jsonl (a line an epoch and split),
checkpoints/ (training states and the best weights); pictures/ are drawn while training or by `report`, which
writes report.html.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Dataset
from ..data.tensors import TensorSplit, to_device
from ..errors import NotBegunError, RunError, unknown
from ..evaluation.evaluation import Evaluation, evaluate, label_scores, mean_pass
from ..models import VAE, SemiSupervisedVAE
from ..models.scoring import Scores
from ..models.vae import refuse_too_many
from ..seeding import seeded
from ..settings import option, setting, standing
from ..spec.building import build_model, schema_of
from ..spec.keys import Schema, Spec
from ..spec.parsing import changed
from ..spec.parts import PARTS, Parts
from ..spec.recipes import RECIPES
from ..spec.saving import to_json
from ..spec.targets import ACCEPTED, name_of, resolve
from ..system.devices import resolve_device
from ..system.disk import drop_temporaries, write_atomic
from ..system.progress import following, working
from ..training.checkpoint import Checkpoints
from ..training.loop import Epoch, Progress
from . import history
from .codes import READING, check_same_spec, codes_of, error_of_codes, on_codes, runs_below
from .folder import check_free, check_places, claim, clear, is_run, locked, read_spec
from .given import NEW, fingerprint_of, load_data, new_data, own_data, treated
from .preparation import completed, make_ready
from .restoring import restored
from .wording import run_in_lines

Watch = Callable[["Run", str], Callable[[VAE, int], None]]
"""Who draws while a run trains: given the run and the split it is watched by, what is called with the model after each
epoch.
"""
Data = Path | Dataset | np.ndarray | Tensor | TensorSplit
"""New data, in place of the name of a split."""


@dataclass(frozen=True)
class Run:
    """A trained (or part-trained) model with all that describes it."""

    path: Path
    spec: Spec
    schema: Schema
    model: VAE
    parts: Parts = field(default=PARTS, repr=False)
    loaded: Dataset | None = field(default=None, repr=False, compare=False)
    """The data, where they are known to be those of the run."""
    place: str | None = field(default=None, repr=False, compare=False)
    """Where the data lie, if not where they were."""
    done: int | None = field(default=None, repr=False)
    """The epochs that are done, of a run that has not finished."""

    def __repr__(self) -> str:
        return run_in_lines(self)

    @cached_property
    def dataset(self) -> Dataset:
        """The data that the run was trained on; `RunError` if what is there now isn't what it was."""
        return self.loaded or own_data(self.path, self.spec, self.schema, self.parts, self.place)

    def data(self, split: str | Data = "test") -> TensorSplit:
        """A split of the run's data as its model sees it, on the model's device; or new data of the same kind.

        Those are an array (N, *event), a dataset, or the path of a file of them: all rows, in the run's units, by the
        names of its columns and classes. Raises `ValueError` where they are not of the run's kind.
        """
        if isinstance(split, TensorSplit):
            return split
        if isinstance(split, str):
            return to_device(self.dataset, split, self.spec.data.treatment, self.model.scale.device)
        return treated(self, new_data(self, split))

    def encode(
        self, split: str | Data = "test", *, draw: bool = False, seed: int | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Latent codes of a split, or of new data, (N, D): posterior means, or with `draw` a draw each; and its y if it
        has any.

        They are those of the data that `evaluate` scores, the same ones each time, also where a treatment is random.
        """
        data = self.data(split)
        codes, done = [], 0
        with seeded(seed), working(f"encoding {split}", len(data)) as step:
            for x, y in data.blocks():
                z = self.model.encode(x, self._condition(y), 1 if draw else None)
                codes.append(z[0] if draw else z)
                step(done := done + len(x))
        return torch.cat(codes).cpu().numpy(), None if data.y is None else data.y.cpu().numpy()

    def evaluate(
        self,
        split: str | Data = "test",
        samples: int = 1000,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
        on_scores: Callable[[Scores], None] | None = None,
    ) -> Evaluation:
        """The scores of a split, or of new data; of a run without a classifier for whose codes `data.labels` are seen,
        with their error under a classifier on the codes. `on_scores` gets those of each datum, some data at a time,
        `on_progress` how many of how many are done.
        """
        name = split if isinstance(split, str) else NEW
        data = self.data(split)
        scores = evaluate(
            self.model, data, samples, split=name, seed=seed, on_progress=on_progress, on_scores=on_scores
        )
        labelled = self.spec.data.labels is not None and isinstance(split, str)
        if labelled and not isinstance(self.model, SemiSupervisedVAE):
            scores = replace(scores, labels=scores.labels | {"error": error_of_codes(self, name)})
        return scores

    def reconstructions(
        self,
        split: str | Data = "test",
        n: int = 16,
        *,
        samples: int | None = None,
        draw: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """The first n of a split, or of new data, each before its S reconstructions (or the mean's one): (n, 1 + S,
        *event).
        """
        data = self.data(split)
        n = min(n, len(data))
        refuse_too_many(n * (1 + (samples or 1)), self.model.event_shape, self.model.scale)
        with seeded(seed):
            x, y = data.rows(np.arange(n))
            made = self.model.reconstruct(x, self._condition(y), samples, draw)
        return torch.cat([x[:, None], made[:, None] if samples is None else made.transpose(0, 1)], 1)

    @standing("spec")
    def sample(self, n: int, label: str | int | None = None, *, draw: bool = True, seed: int | None = None) -> Tensor:
        """n draws of the model, (n, *event); of a conditional one at the `conditions` of `label`."""
        return self.model.sample(n, self.conditions(n, label), draw=draw, seed=seed)

    @standing("spec")
    def conditions(self, n: int, label: str | int | None = None) -> Tensor | None:
        """The y of n samples, None of a model without: of class `label` (name or number), else the classes in turn.

        A model that is conditioned on covariates takes those of its training data in turn.
        """
        refuse_too_many(n, self.model.event_shape, self.model.scale)
        names = self.schema.classes
        if label is not None and not (self.model.condition and names):
            conditional = "is conditioned on covariates, which have no classes"
            what = (
                conditional
                if self.model.condition
                else f"is not conditional; train with {setting('model.condition', True)}"
            )
            raise ValueError(f"label {label!r} was given, but {self.path} {what}")
        if not self.model.condition:
            return None
        if not names:
            given = self.data("train").y
            return given[torch.arange(n) % len(given)]  # type: ignore[index, arg-type]
        return torch.arange(n) % len(names) if label is None else torch.full((n,), _class_of(label, names))

    @property
    def unfinished(self) -> str:
        """That it has not finished, how far it is and how it goes on, in a line; nothing of one that has."""
        if self.done is None:
            return ""
        go_on = f"it goes on with: vaekit train --resume --out {shlex.quote(str(self.path))}"
        return f"{self.path} has not finished: epoch {self.done} of {self.spec.training.epochs}; {go_on}"

    def _condition(self, y: Tensor | None) -> Tensor | None:
        return y if self.model.conditional else None

    @property
    def held_out(self) -> str:
        """The split that the model has seen least of: test, else valid, else train."""
        return next(split for split in ("test", "valid", "train") if split in self.dataset.splits)

    def history(self) -> list[Epoch]:
        """The records of all epochs, in order."""
        return history.read(self.path)

    def untrained(self) -> VAE:
        """The model as it was before its training: its weights drawn again from the seed of the spec."""
        model = build_model(self.spec.model, self.schema, self.spec.training.seed, self.parts, older=True)
        return model.to(self.model.scale.device).eval()


@standing("spec")
def train(
    target: str | Path | Spec | None = None,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    sets: Iterable[str] = (),
    epochs: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    parts: Parts = PARTS,
    on_start: Callable[[Path, Spec, Dataset], None] | None = None,
    on_epoch: Callable[[list[Epoch]], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    watch: Watch | None = None,
) -> Run:
    """Train what `target` says into the run folder `out` (default runs/NAME), and return the run.

    `target` is a recipe, a dataset by name or path, a .toml file, or a `Spec`; `sets` change it ("training.seed=1").
    With `data`, a dataset by name or path, it is run on these: their treatment is that of `target`, numbers of rows and
    the like are forgotten, and a batch is no more than there is. With `resume` the run in `out` goes on where it was,
    by its own spec, `epochs` excepted, and `target` may be left out; `data` is then where its data lie now. Raises
    `ValueError`, one line, for what can't be run, before anything is written; `NonFiniteError` when the loss stops
    being finite. `watch` is who draws while it trains, in vaekit.train the pictures that the spec asks for.

    >>> import tempfile
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> run.model.encode(run.data("test").x[:5]).shape
    torch.Size([5, 16])
    """
    if resume and overwrite:
        raise RunError(f"{option('resume')} and {option('overwrite')} exclude each other; choose one")
    given: object = target  # whatever the signature says
    if not isinstance(given, (str, Path, Spec, NoneType)):
        known = "a recipe, a dataset by name or path, a .toml file, a Spec; for objects of your own there is fit"
        raise TypeError(f"target is a {type(given).__name__}; accepted: {known}")
    target = data if target is None else target
    if target is None and not (resume and out):
        needs = f"{option('resume')} needs the folder of a run: give {option('out', 'FOLDER')}"
        raise ValueError(needs if resume else f"there is no target; {ACCEPTED}")
    sets = [*sets, *([f"training.epochs={epochs}"] if epochs is not None else [])]
    claimed = out is None and not resume
    usual = Path("runs") / name_of(target or "")
    folder = claim(usual) if claimed else Path(out or usual)
    begun = resume
    still_there: Callable[[], None] = _not_begun
    try:
        if resume:
            spec, schema = read_spec(folder, parts)
            check_places(folder)
            place = _place(folder, spec, target, data, parts)
            spec = changed(spec, _changes(sets), parts)
            dataset = own_data(folder, spec, schema, parts, place)
            if place is not None and spec.data.codes is None:
                spec = spec.model_copy(update={"data": spec.data.model_copy(update={"name": place})})
        else:
            spec = on_codes(resolve(target or "", sets, parts, data), parts)
            told = {"on_start": on_start, "on_epoch": on_epoch, "on_progress": on_progress, "watch": watch}
            spec = _stacked(spec, folder, capped=data is not None, overwrite=overwrite, parts=parts, **told)
            dataset = load_data(spec, parts)
            schema = schema_of(dataset, spec.data.treatment, fingerprint_of(spec, dataset, parts))
            spec = completed(spec, schema, len(dataset.splits["train"]), parts, capped=data is not None)
        ready = make_ready(spec, schema, dataset, parts)
        states = Checkpoints(folder / "checkpoints")
        newest = states.newest() if resume else None
        if resume and newest is None and (states.all() or (folder / "weights.safetensors").exists()):
            raise RunError(
                f"{folder} has no training state that is whole; restore one, or begin anew: {option('overwrite')}"
            )
        done = newest[1].epoch if newest else 0
        if done > spec.training.epochs:
            asked = f"training.epochs is {spec.training.epochs}"
            raise RunError(f"{asked}, but {folder} has {done} done; accepted: {done} or more")
        run = Run(folder, spec, schema, ready.model, parts, dataset)
        draw = _watched(run, ready.split, watch)

        def look(scored: VAE, epoch: int, split: str) -> dict[str, float]:
            still_there()  # before any file is written
            data: Any = ready.train if split == "train" else ready.labelled
            found = mean_pass(scored, data) if spec.training.mean_pass else {}
            if split == "train":
                return found
            draw(scored, epoch)
            return found | label_scores(scored, data)

        with ExitStack() as held:

            def start() -> None:
                nonlocal begun, still_there
                still_there = held.enter_context(locked(folder))
                if not resume:
                    clear(folder, overwrite)
                else:
                    drop_temporaries(folder, folder / "checkpoints", folder / "pictures")
                    history.drop_after(folder, done)
                    if done < spec.training.epochs:
                        # From here on the states are newer; without it, they are what a run that is cut off loads as.
                        (folder / "weights.safetensors").unlink(missing_ok=True)
                write_atomic(folder / "spec.json", to_json(spec, schema))
                begun = True
                if on_start:
                    on_start(folder, spec, dataset)

            def record(records: list[Epoch]) -> None:
                still_there()
                history.append(folder, records)
                if on_epoch:
                    on_epoch(records)
                still_there()

            steps = ready.train.steps(spec.training.batch_size or 1) * spec.training.epochs
            on_progress = held.enter_context(following(on_progress, steps))
            ready.optimize(
                folder=folder,
                resume=newest is not None,
                on_start=start,
                on_epoch=record,
                on_look=look,
                on_progress=on_progress,
            )
    except BaseException as error:
        if isinstance(error, OSError) and begun:
            still_there()
        if claimed:
            with suppress(OSError):  # empty only where nothing has been written
                os.removedirs(folder)
        if isinstance(error, KeyboardInterrupt) and not begun:
            raise NotBegunError from error
        raise
    return replace(run, loaded=None)


def _watched(run: Run, split: str, watch: Watch | None) -> Callable[[VAE, int], None]:
    """What is called after each epoch; `ValueError` where the run asks for pictures, and nobody draws them."""
    if watch is not None:
        return watch(run, split)
    if run.spec.pictures.every_epoch:
        raise ValueError("pictures.every_epoch needs who draws them: call vaekit.train, or give watch=")
    return lambda model, epoch: None


def _not_begun() -> None:
    """What is looked at before a folder is a run's."""


def ensure(target: str | Spec, folder: Path, *, overwrite: bool = False, **options: Any) -> Run:
    """The run of `target` in `folder`: as it is if it is finished, gone on with if it was begun, else trained.

    `options` are those of `train`; the data of a run that is there must be those asked for.
    """
    if overwrite or not is_run(folder):
        return train(target, folder, overwrite=overwrite, **options)
    return train(target, folder, resume=True, **options)


def _stacked(spec: Spec, folder: Path, *, capped: bool, overwrite: bool, parts: Parts, **told: Any) -> Spec:
    """`spec` with the folder of the run whose codes it takes; that of a recipe is `ensure`d beside `folder`, once
    nothing that can be known before speaks against the run on its codes.
    """
    data, name = spec.data, spec.data.codes
    if name is None:
        return spec
    if name not in RECIPES:
        if folder.resolve() in runs_below(name, parts):
            raise RunError(f"{folder} is itself among the runs of data.codes; name another folder for the run")
        return spec
    check_free(folder, overwrite)
    given = {key: getattr(data, key) for key in (*READING, "labels", "seed")}
    sets = [f"data.{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items() if value is not None]
    sets += [f"training.{key}={getattr(spec.training, key)}" for key in ("seed", "device")]
    first = resolve(name, sets, parts, data.name)
    path = folder.resolve()
    path = path.with_name(f"{path.name}-{name}")
    if is_run(path) and not overwrite:
        check_same_spec(path, first, parts)
    _rehearse(spec, first, capped, parts, told.get("watch"))
    ensure(first, path, data=data.name, overwrite=overwrite, parts=parts, **told)
    return on_codes(spec.model_copy(update={"data": data.model_copy(update={"codes": str(path)})}), parts)


def _rehearse(spec: Spec, first: Spec, capped: bool, parts: Parts, watch: Watch | None) -> None:
    """Raise what training `spec` on the codes of `first` would before it begins, by its codes before its training."""
    dataset = load_data(first, parts)
    schema = schema_of(dataset, first.data.treatment)
    first = completed(first, schema, len(dataset.splits["train"]), parts, capped=True)
    model = build_model(first.model, schema, first.training.seed, parts)
    codes = codes_of(Run(Path(spec.data.codes or ""), first, schema, model, parts, dataset))
    schema = schema_of(codes, spec.data.treatment)
    spec = completed(spec, schema, len(codes.splits["train"]), parts, capped)

    def stop() -> None:
        raise _RehearsedError

    ready = make_ready(spec, schema, codes, parts)
    _watched(Run(Path(), spec, schema, ready.model, parts, codes), ready.split, watch)
    with suppress(_RehearsedError):
        ready.optimize(on_start=stop)


class _RehearsedError(Exception):
    """All has been checked that is checked before a training begins."""


def _place(
    folder: Path, spec: Spec, target: str | Path | Spec | None, data: str | Path | None, parts: Parts
) -> str | None:
    """Where the data of the run in `folder` that is gone on with lie, if `data` say that it is elsewhere."""
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
    if others := [s for s in sets if not s.startswith(("training.epochs=", "training.device="))]:
        can = "only the number of epochs and the device can change"
        place = others[0].removeprefix("data.name=")
        where = f"; where its data lie now is said by {option('data', place)}" if place != others[0] else ""
        raise RunError(f"a resumed run keeps its own spec; leave out {others[0]!r}, {can}{where}")
    return sets


def _class_of(label: str | int, names: tuple[str, ...]) -> int:
    """The index of a class: by its name, or by its number where no name could be taken for one."""
    if isinstance(label, str) and label in names:
        return names.index(label)
    number = int(label) if isinstance(label, int) or (label.isdecimal() and not any(map(str.isdecimal, names))) else -1
    if not 0 <= number < len(names):
        raise ValueError(unknown("label", str(label), names))
    return number


@standing("spec")
def load_run(path: str | Path, device: str = "cpu", parts: Parts = PARTS, *, data: str | Path | None = None) -> Run:
    """The run in the folder `path`, its weights on `device`. Reads JSON and safetensors only; no code runs from the
    folder.

    Its data are not read before they are needed; `data` is where they lie now, if not where they were. Of a run that
    has not finished it gives the newest saved state, and `unfinished` says so. Parts of one's own are found in `parts`.
    Raises `RunError`, one line, for a folder that holds no whole run.
    """
    folder = Path(path)
    spec, schema = read_spec(folder, parts)
    weights, prefix, done = folder / "weights.safetensors", "", None
    if not weights.exists():
        checkpoints = Checkpoints(folder / "checkpoints")
        weights, prefix = checkpoints.weights()
        newest = checkpoints.newest()
        done = newest[1].epoch if newest else 0
    model = restored(folder, spec, schema, weights, prefix, parts)
    place = None if data is None else str(data)
    return Run(folder, spec, schema, model.to(resolve_device(device)).eval(), parts, place=place, done=done)
