"""A run is a folder: made by `train`, read by `load_run`, whole at every instant.

spec.json (what was asked, and the shape of the data), weights.safetensors, metrics.jsonl (a line an epoch and split),
checkpoints/ (training states and the best weights); pictures/ are drawn while training or by `report`, which
writes report.html.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from . import history
from .checkpoint import (
    Checkpoints,
    check_shapes,
    drop_temporaries,
    load_tensors,
    set_model_tensors,
    tensor_shapes,
    write_atomic,
)
from .codes import codes_of, error_of_codes
from .datasets import Dataset, load
from .datasets.tensors import TensorSplit, partly_labelled, to_device
from .devices import resolve_device
from .distributions import seeded
from .errors import RunError, shown, unknown
from .evaluation import Evaluation, evaluate, label_scores
from .models import VAE, SemiSupervisedVAE
from .parts import PARTS, Parts
from .pictures.drawing import watch
from .recipes import RECIPES
from .spec import (
    Schema,
    Spec,
    build_model,
    build_objective,
    changed,
    from_json,
    schema_of,
    to_json,
    with_likelihood,
)
from .targets import name_of, resolve, target_names
from .trace import Scores
from .training import BATCH_SIZE, Epoch, Progress, optimize

CONTENTS = ("weights.safetensors", "metrics.jsonl", "checkpoints", "pictures", "report.html", "spec.json")
"""What a run writes into its folder."""
LOCK = ".lock"
ROWS = 1000
"""Data encoded at a time."""


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

    @cached_property
    def dataset(self) -> Dataset:
        """The data that the run was trained on; `RunError` if what is there now isn't what it was."""
        return self.loaded or _same_data(self.path, self.spec, self.schema, self.parts)

    def data(self, split: str = "test") -> TensorSplit:
        """A split of the run's data as its model sees it, on the model's device."""
        return to_device(self.dataset, split, self.spec.data.treatment, self.model.scale.device)

    def encode(
        self, split: str = "test", *, draw: bool = False, seed: int | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Latent codes of a split, (N, D): posterior means, or with `draw` a draw each; and its y if it has any."""
        data = self.data(split)
        codes = []
        with seeded(seed):
            for start in range(0, len(data), ROWS):
                x, y = data.batch(slice(start, start + ROWS))
                z = self.model.encode(x, self._condition(y), 1 if draw else None)
                codes.append(z[0] if draw else z)
        return torch.cat(codes).cpu().numpy(), None if data.y is None else data.y.cpu().numpy()

    def evaluate(
        self,
        split: str = "test",
        samples: int = 1000,
        *,
        seed: int = 0,
        on_scores: Callable[[Scores], None] = lambda scores: None,
    ) -> Evaluation:
        """The scores of a split; of a run without a classifier for whose codes `data.labels` are seen, with their error
        under a classifier on the codes. `on_scores` gets those of each datum, some data at a time.
        """
        scores = evaluate(self.model, self.data(split), samples, split=split, seed=seed, on_scores=on_scores)
        if self.spec.data.labels is not None and not isinstance(self.model, SemiSupervisedVAE):
            scores = replace(scores, labels=scores.labels | {"error": error_of_codes(self, split)})
        return scores

    def reconstructions(
        self,
        split: str = "test",
        n: int = 16,
        *,
        samples: int | None = None,
        draw: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """The first n data of a split, each before its S reconstructions (or the mean's one): (n, 1 + S, *event)."""
        data = self.data(split)
        with seeded(seed):
            x, y = data.batch(slice(0, min(n, len(data))))
            made = self.model.reconstruct(x, self._condition(y), samples, draw)
        return torch.cat([x[:, None], made[:, None] if samples is None else made.transpose(0, 1)], 1)

    def sample(self, n: int, label: str | int | None = None, *, draw: bool = True, seed: int | None = None) -> Tensor:
        """n draws of the model, (n, *event); of a conditional one of class `label` (name or number), else of the
        classes in turn.

        One that is conditioned on covariates takes those of its training data in turn.
        """
        if not self.model.condition:
            if label is not None:
                raise ValueError(
                    f"label {label!r} was given, but {self.path} is not conditional; train with model.condition=true"
                )
            return self.model.sample(n, draw=draw, seed=seed)
        names = self.schema.classes
        if not names:
            if label is not None:
                raise ValueError(
                    f"label {label!r} was given, but {self.path} is conditioned on covariates, which have no classes"
                )
            given = self.data("train").y
            y = given[torch.arange(n) % len(given)]  # type: ignore[index, arg-type]
        elif label is None:
            y = torch.arange(n) % len(names)
        else:
            y = torch.full((n,), _class_of(label, names))
        return self.model.sample(n, y, draw=draw, seed=seed)

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
        model = build_model(self.spec.model, self.schema, self.spec.training.seed, self.parts)
        return model.to(self.model.scale.device).eval()


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
    on_start: Callable[[Path, Spec, Dataset], None] = lambda path, spec, dataset: None,
    on_epoch: Callable[[list[Epoch]], None] = lambda records: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Train what `target` says into the run folder `out` (default runs/NAME), and return the run.

    `target` is a recipe, a dataset by name or path, a .toml file, or a `Spec`; `sets` change it ("training.seed=1").
    With `data`, a dataset by name or path, it is run on these: their treatment is that of `target`, numbers of rows and
    the like are forgotten, and a batch is no more than there is. With `resume` the run in `out` goes on where it was,
    by its own spec, `epochs` excepted, and `target` may be left out. Raises `ValueError`, one line, for what can't be
    run, before anything is written; `NonFiniteError` when the loss stops being finite.

    >>> import tempfile
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> run.model.encode(run.data("test").x[:5]).shape
    torch.Size([5, 16])
    """
    if resume and overwrite:
        raise RunError("resume and overwrite exclude each other; choose one")
    given: object = target  # whatever the signature says
    if not isinstance(given, (str, Path, Spec, NoneType)):
        known = "a recipe, a dataset by name or path, a .toml file, a Spec; for objects of your own there is fit"
        raise TypeError(f"target is a {type(given).__name__}; accepted: {known}")
    target = data if target is None else target
    if target is None and not (resume and out):
        raise ValueError(
            unknown("target", "", target_names()) if not resume else "resume needs the folder of a run: give --out"
        )
    sets = [*sets, *([f"training.epochs={epochs}"] if epochs is not None else [])]
    claimed = out is None and not resume
    folder = (
        _claim(Path("runs") / name_of(target or "")) if claimed else Path(out or Path("runs") / name_of(target or ""))
    )
    try:
        if resume:
            spec, schema = read_spec(folder, parts)
            _check_same(folder, spec, target, data, sets, parts)
            spec = changed(spec, sets, parts)
            dataset = _same_data(folder, spec, schema, parts)
        else:
            spec = resolve(target or "", sets, parts, data)
            told = {"on_start": on_start, "on_epoch": on_epoch, "on_progress": on_progress}
            spec = _stacked(spec, folder, overwrite=overwrite, parts=parts, **told)
            dataset = load_data(spec, parts)
            schema = schema_of(dataset, spec.data.treatment, _fingerprint(spec, dataset))
            spec = _completed(spec, schema, len(dataset.splits["train"]), parts, capped=data is not None)
        device = resolve_device(spec.training.device)
        model = build_model(spec.model, schema, spec.training.seed, parts)
        held_out = "test" if spec.data.validation == 0 and "valid" not in dataset.splits else "valid"
        train_data = to_device(dataset, "train", spec.data.treatment, device)
        held_data = to_device(dataset, held_out, spec.data.treatment, device) if held_out in dataset.splits else None
        labelled = held_data
        if isinstance(model, SemiSupervisedVAE):
            labels = len(train_data) if spec.data.labels is None else spec.data.labels
            classes, first = len(schema.classes), min(spec.training.labelled, labels)
            if first >= (spec.training.batch_size or 0):
                raise ValueError(f"training.labelled is {first}; accepted: 1 to {(spec.training.batch_size or 1) - 1}")
            train_data = partly_labelled(train_data, labels, first, classes, spec.data.seed)
            held_data = replace(held_data, y=None) if held_data is not None else None
        newest = Checkpoints(folder / "checkpoints").newest() if resume else None
        done = newest[1].epoch if newest else 0
        if done > spec.training.epochs:
            asked = f"training.epochs is {spec.training.epochs}"
            raise RunError(f"{asked}, but {folder} has {done} done; accepted: {done} or more")
        run = Run(folder, spec, schema, model, parts, dataset)
        draw = watch(run, held_out)

        def look(scored: VAE, epoch: int) -> dict[str, float]:
            return draw(scored, epoch) | (label_scores(scored, labelled) if labelled is not None else {})

        with ExitStack() as held:

            def start() -> None:
                held.enter_context(_locked(folder))
                if not resume:
                    _prepare_folder(folder, overwrite)
                else:
                    drop_temporaries(folder)
                    history.drop_after(folder, done)
                    if done < spec.training.epochs:
                        # From here on the states are newer; without it, they are what a run that is cut off loads as.
                        (folder / "weights.safetensors").unlink(missing_ok=True)
                write_atomic(folder / "spec.json", to_json(spec, schema))
                on_start(folder, spec, dataset)

            def record(records: list[Epoch]) -> None:
                history.append(folder, records)
                on_epoch(records)

            optimize(
                model,
                train_data,
                held_data,
                build_objective(spec, parts),
                spec.training,
                split=held_out,
                folder=folder,
                resume=newest is not None,
                parts=parts,
                on_start=start,
                on_epoch=record,
                on_look=look,
                on_progress=on_progress,
            )
    except BaseException:
        if claimed:
            with suppress(OSError):  # empty only where nothing has been written
                os.removedirs(folder)
        raise
    return replace(run, loaded=None)


def ensure(target: str, folder: Path, *, overwrite: bool = False, **options: Any) -> Run:
    """The run of `target` in `folder`: as it is if it is finished, gone on with if it was begun, else trained.

    `options` are those of `train`; the data of a run that is there must be those asked for.
    """
    if overwrite or not _is_run(folder):
        return train(target, folder, overwrite=overwrite, **options)
    return train(target, folder, resume=True, **{key: value for key, value in options.items() if key != "sets"})


def _stacked(spec: Spec, folder: Path, **options: Any) -> Spec:
    """`spec` with the folder of the run whose codes it takes; that of a recipe is `ensure`d beside `folder`."""
    name = spec.data.codes
    if name is None:
        return spec
    if name in RECIPES:
        seed = f"training.seed={spec.training.seed}"
        path = ensure(name, folder.with_name(f"{folder.name}-{name}"), data=spec.data.name, sets=[seed], **options).path
    elif _is_run(Path(name)):
        path = Path(name)
    else:
        raise ValueError(f"data.codes is {shown(name)}: neither a run's folder nor a recipe")
    return spec.model_copy(update={"data": spec.data.model_copy(update={"codes": str(path.resolve())})})


def _completed(spec: Spec, schema: Schema, rows: int, parts: Parts, capped: bool) -> Spec:
    """`spec` with what it leaves to the data: a likelihood, and a batch of no more than there is, also its own if
    `capped`.
    """
    spec = with_likelihood(spec, schema.domain, parts)
    asked = spec.training.batch_size
    if asked is None or capped:
        training = spec.training.model_copy(update={"batch_size": min(asked or BATCH_SIZE, rows)})
        spec = spec.model_copy(update={"training": training})
    return spec


def _check_same(
    folder: Path,
    spec: Spec,
    target: str | Path | Spec | None,
    data: str | Path | None,
    sets: list[str],
    parts: Parts,
) -> None:
    if target is not None and (asked := resolve(target, (), parts, data)).data.name != spec.data.name:
        raise RunError(f"{folder} is a run on {spec.data.name!r}, not on {asked.data.name!r}; leave out the target")
    if others := [s for s in sets if not s.startswith(("training.epochs=", "training.device="))]:
        can = "only the number of epochs and the device can change"
        raise RunError(f"a resumed run keeps its own spec; leave out {others[0]!r}, {can}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Inside, `folder` is there and no other process trains into it; the system lets go of the lock of a killed one."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; name a folder for the run")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"another process is training into {folder}; wait for it, or name another folder") from None
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def _class_of(label: str | int, names: tuple[str, ...]) -> int:
    """The index of a class: by its name, or by its number where no name could be taken for one."""
    if isinstance(label, str) and label in names:
        return names.index(label)
    number = int(label) if isinstance(label, int) or (label.isdecimal() and not any(map(str.isdecimal, names))) else -1
    if not 0 <= number < len(names):
        raise ValueError(unknown("label", str(label), names))
    return number


def load_run(path: str | Path, device: str = "cpu", parts: Parts = PARTS) -> Run:
    """The run in the folder `path`, its weights on `device`. Reads JSON and safetensors only; no code runs from the
    folder.

    Of a run that has not finished it gives the newest saved state. Parts of one's own are found in `parts`. Raises
    `RunError`, one line, for a folder that holds no whole run.
    """
    folder = Path(path)
    spec, schema = read_spec(folder, parts)
    weights, prefix = folder / "weights.safetensors", ""
    if not weights.exists():
        weights, prefix = Checkpoints(folder / "checkpoints").weights()
    # First without memory, so that a spec of absurd sizes is found out by the weights' header. Flows can't be built so.
    with suppress(NotImplementedError), torch.device("meta"):
        check_shapes(build_model(spec.model, schema, parts=parts), tensor_shapes(weights, prefix), weights)
    model = build_model(spec.model, schema, spec.training.seed, parts)
    set_model_tensors(model, load_tensors(weights, prefix), weights)
    return Run(folder, spec, schema, model.to(resolve_device(device)).eval(), parts)


def read_spec(folder: Path, parts: Parts = PARTS) -> tuple[Spec, Schema]:
    """Spec and schema of the run in `folder`; `RunError`, one line, where there is none."""
    path = folder / "spec.json"
    try:
        return from_json(path.read_text(encoding="utf-8"), parts)
    except FileNotFoundError:
        raise RunError(f"{folder} is no run: it has no spec.json") from None
    except NotADirectoryError:
        raise RunError(f"{folder} is no run: it is a file") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def load_data(spec: Spec, parts: Parts = PARTS) -> Dataset:
    """The dataset that `spec` names, or the codes that a run gives it."""
    data = spec.data
    if data.codes is not None:
        return codes_of(load_run(data.codes, parts=parts))
    names = ("label", "domain", "levels", "train", "validation", "test", "seed")
    options = {key: getattr(data, key) for key in names}
    return load(data.name, **{key: value for key, value in options.items() if value is not None})


def _same_data(folder: Path, spec: Spec, schema: Schema, parts: Parts = PARTS) -> Dataset:
    dataset = load_data(spec, parts)
    if _fingerprint(spec, dataset) != schema.fingerprint:
        raise RunError(f"dataset {spec.data.name!r} is not what {folder} was trained on: its values have changed")
    return dataset


def _fingerprint(spec: Spec, dataset: Dataset) -> str:
    """That of the stored values; of codes, of what makes them, since their last bits depend on the machine."""
    if spec.data.codes is None:
        return fingerprint(dataset)
    folder = Path(spec.data.codes)
    made = hashlib.sha256((folder / "weights.safetensors").read_bytes())
    made.update(read_spec(folder)[1].fingerprint.encode())
    return made.hexdigest()


def fingerprint(dataset: Dataset) -> str:
    """A SHA-256 of all the stored values of all splits, to tell whether data have changed."""
    digest = hashlib.sha256()
    for name, split in dataset.splits.items():
        for array in (split.x, split.y):
            if array is not None:
                digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()


def _claim(folder: Path) -> Path:
    """`folder` or the first of folder-2, folder-3, … that is not there, made: no other process can have it too."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    number, free = 1, folder
    while True:
        try:
            free.mkdir()
            return free
        except FileExistsError:
            number += 1
            free = folder.with_name(f"{folder.name}-{number}")


def _prepare_folder(folder: Path, overwrite: bool) -> None:
    for stray in folder.glob(".spec.json.*.tmp"):  # of a run that was killed at its very start
        stray.unlink(missing_ok=True)
    if all(path.name == LOCK for path in folder.iterdir()):
        return
    if not _is_run(folder):
        raise RunError(f"{folder} is not empty and is no run; name another folder")
    if not overwrite:
        raise RunError(f"{folder} holds a run already; add --resume to go on with it, or --overwrite to replace it")
    # Only what a run writes, spec.json last: what else lies there is the user's, and a kill in between leaves a run.
    for name in CONTENTS:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _is_run(folder: Path) -> bool:
    """Whether there is a spec.json as vaekit writes them: other programs have files of that name too."""
    try:
        values = json.loads((folder / "spec.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and {"format", "spec", "schema"} <= values.keys()
