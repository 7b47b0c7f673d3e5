"""The folder of a run: how one is found, claimed, locked, emptied, and what its spec.json says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import RunError
from .parts import PARTS, Parts
from .settings import option
from .spec import Schema, Spec, from_json

CONTENTS = ("weights.safetensors", "metrics.jsonl", "checkpoints", "pictures", "report.html", "spec.json")
"""What a run writes into its folder."""
LOCK = ".lock"


def read_spec(folder: Path, parts: Parts = PARTS) -> tuple[Spec, Schema]:
    """Spec and schema of the run in `folder`; `RunError`, one line, where there is none."""
    path = folder / "spec.json"
    try:
        return from_json(path.read_text(encoding="utf-8"), parts)
    except FileNotFoundError:
        raise RunError(
            f"{folder} is no run: {'it has no spec.json' if folder.is_dir() else 'it is not there'}"
        ) from None
    except NotADirectoryError:
        raise RunError(f"{folder} is no run: it is a file") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
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


def claim(folder: Path) -> Path:
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


def check_free(folder: Path, overwrite: bool) -> None:
    """Raise `RunError`, one line, where no run may be written into `folder` now: others are there, or at work."""
    if folder.exists():
        with locked(folder):
            _check_contents(folder, overwrite)


def clear(folder: Path, overwrite: bool) -> None:
    """Make the locked `folder` free for a run; raises as `check_free` does."""
    for stray in folder.glob(".spec.json.*.tmp"):  # of a run that was killed at its very start
        stray.unlink(missing_ok=True)
    _check_contents(folder, overwrite)
    # Only what a run writes, spec.json last: what else lies there is the user's, and a kill in between leaves a run.
    for name in CONTENTS:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _check_contents(folder: Path, overwrite: bool) -> None:
    if all(path.name == LOCK or path.match(".spec.json.*.tmp") for path in folder.iterdir()):
        return
    if not is_run(folder):
        raise RunError(f"{folder} is not empty and is no run; name another folder")
    if not overwrite:
        or_other = f"add {option('resume')} to go on with it, or {option('overwrite')} to replace it"
        raise RunError(f"{folder} holds a run already; {or_other}")


def is_run(folder: Path) -> bool:
    """Whether there is a spec.json as vaekit writes them: other programs have files of that name too."""
    try:
        values = json.loads((folder / "spec.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and {"format", "spec", "schema"} <= values.keys()
