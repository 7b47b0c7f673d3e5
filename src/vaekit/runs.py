"""A run is a folder: made by `train`, read by `load_run`, whole at every instant.

spec.json (what was asked, and the shape of the data), weights.safetensors, metrics.jsonl (a line an epoch and split),
checkpoints/ (training states and the best weights); pictures/ and report.html are written by `report`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import NoneType

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
from .datasets import DATASETS, Dataset, load
from .datasets.tensors import TensorSplit, to_device
from .devices import resolve_device
from .distributions import seeded
from .errors import RunError, unknown
from .models import VAE
from .parts import PARTS, Parts
from .recipes import RECIPES
from .spec import (
    Schema,
    Spec,
    build_model,
    build_objective,
    changed,
    from_json,
    parse_toml,
    schema_of,
    to_json,
    with_likelihood,
)
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

    @cached_property
    def dataset(self) -> Dataset:
        """The data that the run was trained on; `RunError` if what is there now isn't what it was."""
        return _same_data(self.path, self.spec, self.schema)

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
        return y if self.model.condition else None

    @property
    def held_out(self) -> str:
        """The split that the model has seen least of: test, else valid, else train."""
        return next(split for split in ("test", "valid", "train") if split in self.dataset.splits)

    def history(self) -> list[Epoch]:
        """The records of all epochs, in order."""
        return history.read(self.path)


def train(
    target: str | Path | Spec | None = None,
    out: str | Path | None = None,
    *,
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
    With `resume` the run in `out` goes on where it was, by its own spec, `epochs` excepted, and `target` may be left
    out. Raises `ValueError`, one line, for what can't be run, before anything is written; `NonFiniteError` when the
    loss stops being finite.

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
    if target is None and not (resume and out):
        raise ValueError(
            unknown("target", "", _targets()) if not resume else "resume needs the folder of a run: give --out"
        )
    sets = [*sets, *([f"training.epochs={epochs}"] if epochs is not None else [])]
    claimed = out is None and not resume
    folder = _claim(Path("runs") / _name(target or "")) if claimed else Path(out or Path("runs") / _name(target or ""))
    try:
        if resume:
            spec, schema = read_spec(folder, parts)
            _check_same(folder, spec, target, sets, parts)
            spec = changed(spec, sets, parts)
            dataset = _same_data(folder, spec, schema)
        else:
            spec = resolve(target or "", sets, parts)
            dataset = load_data(spec)
            schema = schema_of(dataset, spec.data.treatment, fingerprint(dataset))
            spec = _completed(spec, schema, len(dataset.splits["train"]), parts)
        device = resolve_device(spec.training.device)
        model = build_model(spec.model, schema, spec.training.seed, parts)
        held_out = "test" if spec.data.validation == 0 and "valid" not in dataset.splits else "valid"
        train_data = to_device(dataset, "train", spec.data.treatment, device)
        held_data = to_device(dataset, held_out, spec.data.treatment, device) if held_out in dataset.splits else None
        newest = Checkpoints(folder / "checkpoints").newest() if resume else None
        done = newest[1].epoch if newest else 0
        if done > spec.training.epochs:
            asked = f"training.epochs is {spec.training.epochs}"
            raise RunError(f"{asked}, but {folder} has {done} done; accepted: {done} or more")
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
                on_progress=on_progress,
            )
    except BaseException:
        if claimed:
            with suppress(OSError):  # empty only where nothing has been written
                os.removedirs(folder)
        raise
    return Run(folder, spec, schema, model, parts)


def _completed(spec: Spec, schema: Schema, rows: int, parts: Parts) -> Spec:
    """`spec` with what it leaves to the data: a likelihood, and a batch of no more than there is."""
    spec = with_likelihood(spec, schema.domain, parts)
    if spec.training.batch_size is None:
        training = spec.training.model_copy(update={"batch_size": min(BATCH_SIZE, rows)})
        spec = spec.model_copy(update={"training": training})
    return spec


def _check_same(folder: Path, spec: Spec, target: str | Path | Spec | None, sets: list[str], parts: Parts) -> None:
    if target is not None and (asked := resolve(target, (), parts)).data.name != spec.data.name:
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


def resolve(target: str | Path | Spec, sets: Iterable[str] = (), parts: Parts = PARTS) -> Spec:
    """The spec that `target` means: a recipe's, a .toml file's, the default one for a dataset by name or path, or a
    spec itself.

    A path to data becomes absolute, so that the run finds them from any folder.
    """
    spec = changed(target, sets, parts) if isinstance(target, Spec) else parse_toml(_toml(str(target)), sets, parts)
    path = Path(spec.data.name).expanduser()
    if spec.data.name in DATASETS or not path.exists():
        return spec
    data = spec.data.model_copy(update={"name": str(path.resolve())})
    return spec.model_copy(update={"data": data})


def _toml(name: str) -> str:
    if name in RECIPES:
        return RECIPES[name]
    if name.endswith(".toml"):
        try:
            return Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"cannot read {name}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{name} is not a text file in UTF-8") from None
    if name not in DATASETS and not (name and Path(name).exists()):
        raise ValueError(unknown("target", name, _targets()))
    return f"[data]\nname = {json.dumps(name, ensure_ascii=False)}"


def _targets() -> list[str]:
    return [*RECIPES, *DATASETS, "a .toml file", "a path to data"]


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


def load_data(spec: Spec) -> Dataset:
    """The dataset that `spec` names."""
    data = spec.data
    options = {key: getattr(data, key) for key in ("label", "domain", "levels", "validation", "test", "seed")}
    return load(data.name, **{key: value for key, value in options.items() if value is not None})


def _same_data(folder: Path, spec: Spec, schema: Schema) -> Dataset:
    dataset = load_data(spec)
    if fingerprint(dataset) != schema.fingerprint:
        raise RunError(f"dataset {spec.data.name!r} is not what {folder} was trained on: its values have changed")
    return dataset


def fingerprint(dataset: Dataset) -> str:
    """A SHA-256 of all the stored values of all splits, to tell whether data have changed."""
    digest = hashlib.sha256()
    for name, split in dataset.splits.items():
        for array in (split.x, split.y):
            if array is not None:
                digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()


def _name(target: str | Path | Spec) -> str:
    # Resolved, since "." and ".." have no stem that would do as a name.
    return Path(target.data.name if isinstance(target, Spec) else target).resolve().stem or "run"


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
