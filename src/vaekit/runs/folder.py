"""The folder of a run: how one is found, claimed, locked, emptied, and what its spec.json says."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import NotBegunError, RunError, TakenError
from ..settings import option
from ..spec.keys import Schema, Spec
from ..spec.parts import PARTS, Parts
from ..spec.saving import from_json
from ..system.disk import drop_temporaries, is_temporary, lock, read_text, refuse_links, refuse_no_folder
from ..system.processes import Processes

LOGS, PAGE, DIVERGED = "logs", "report.html", "diverged.txt"
"""The first is where loggers have folders of their own."""
LAID_OUT = "layouts"
"""The folder of codes laid out in the plane."""
CONTENTS = (
    *("weights.safetensors", "metrics.jsonl", "checkpoints", "pictures", LAID_OUT),
    *(LOGS, PAGE, DIVERGED, "spec.json"),
)
"""What a run writes into its folder."""
LOCK = ".lock"
FOLDERS = {
    "checkpoints": re.compile(r"(best|epoch-[0-9]+(-batch-[0-9]+)?)\.safetensors"),
    "pictures": re.compile(r".+\.png"),
    LAID_OUT: re.compile(r"[a-z-]+-[0-9a-f]{16}\.safetensors"),
    LOGS: re.compile(r"(?!)"),  # no file
}
"""The folders of a run, and what it writes into them."""


def read_spec(folder: Path, parts: Parts = PARTS) -> tuple[Spec, Schema]:
    """Spec and schema of the run in `folder`; `RunError`, one line, where there is none."""
    path = folder / "spec.json"
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise RunError(
            f"{folder} is no run: {'it has no spec.json' if folder.is_dir() else 'it is not there'}"
        ) from None
    except NotADirectoryError:
        raise RunError(f"{folder} is no run: it is a file") from None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise RunError(str(error)) from None
    try:
        return from_json(text, parts)
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None


def diverged(folder: Path) -> str:
    """Where, and likely why, the training of the run in `folder` ended with a loss that is no finite number; nothing of
    one that did not.
    """
    try:
        return " ".join(read_text(folder / DIVERGED).split())[:1000]
    except (OSError, ValueError):
        return ""


@contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Inside, `folder` is there and no other process trains into it; the system lets go of the lock of a killed one.

    What it gives raises `RunError` once the folder is there no more, or another one is in its place. `RunError`, too,
    where the folder is none, is not a run's, or has links where a run writes.
    """
    refuse_no_folder(folder, "for the run")
    folder.mkdir(parents=True, exist_ok=True)
    _check_contents(folder, overwrite=True)
    check_places(folder)
    held = folder / LOCK
    if held.exists() and (not held.is_file() or held.stat().st_size):
        raise RunError(f"{held} is not what vaekit puts there; move it, or name another folder")
    with ExitStack() as inside:
        try:
            inside.enter_context(lock(held, timeout=0))
        except TimeoutError:
            busy = f"another process is training into {folder}"
            raise RunError(f"{busy}; wait for it, or name another folder") from None
        inside.callback(held.unlink, missing_ok=True)
        yield _watched(folder, inside)


def _watched(folder: Path, inside: ExitStack) -> Callable[[], None]:
    """What raises `RunError` once `folder` is another one than now, or none."""
    if os.name != "posix":  # where a folder with an open file stays
        return lambda: None
    descriptor = os.open(folder, os.O_RDONLY)  # open, so that no other folder gets its number
    inside.callback(os.close, descriptor)
    mine = os.fstat(descriptor)

    def look() -> None:
        try:
            same = os.path.samestat(folder.stat(), mine)
        except OSError:
            same = False
        if not same:
            raise RunError(f"{folder} was deleted, moved or replaced while training into it: the training ends")

    return look


def check_places(folder: Path) -> None:
    """`RunError` where a link, or a folder for a file, is in the place of what a run writes or deletes in `folder`."""
    for name in (*CONTENTS, LOCK):
        path = folder / name
        refuse_links([path])
        if path.exists() and path.is_dir() != (name in FOLDERS):
            raise RunError(f"{path} is {_what(path)}; a run has {'a folder' if name in FOLDERS else 'a file'} there")
    for name, kind in FOLDERS.items():
        for path in (folder / name).iterdir() if (folder / name).is_dir() else ():
            refuse_links([path])
            if kind.fullmatch(path.name) and path.is_dir():
                raise RunError(f"{path} is {_what(path)}; a run has a file there")


def _what(path: Path) -> str:
    return "a folder" if path.is_dir() else "a file"


def subfolder(folder: Path, name: str) -> Path:
    """The folder `name` of a run, made; `RunError` where it is a link."""
    path = folder / name
    refuse_links([path])
    path.mkdir(exist_ok=True)
    return path


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


@dataclass
class Claim:
    """The folder of a run that is to be: whether it has begun, and what raises `RunError` if it is there no more."""

    path: Path
    begun: bool = False
    still_there: Callable[[], None] = field(default=lambda: None)


@contextmanager
def claimed(path: Path, free: bool, processes: Processes) -> Iterator[Claim]:
    """The place of a run, the next `free` one if that is asked for; a run that can't begin leaves it as it was."""
    beside = path.parent.is_dir()
    if free:
        path = Path(processes.told(str(claim(path) if processes.first else path)))
    mine = Claim(path)
    try:
        yield mine
    except BaseException as error:
        if isinstance(error, OSError) and mine.begun:
            mine.still_there()
        if free and processes.first:
            with suppress(OSError):  # empty only where nothing has been written
                mine.path.rmdir()
                if not beside:
                    mine.path.parent.rmdir()
        if isinstance(error, KeyboardInterrupt) and not mine.begun:
            raise NotBegunError from error
        raise


def check_free(folder: Path, overwrite: bool) -> None:
    """Raise `RunError`, one line, where no run may be written into `folder` now: others are there, or at work."""
    if os.path.lexists(folder):
        with locked(folder):
            _check_contents(folder, overwrite)


def clear(folder: Path, overwrite: bool) -> None:
    """Make the locked `folder` free for a run; raises as `check_free` does."""
    drop_temporaries(folder)  # of a run that was killed at its very start
    _check_contents(folder, overwrite)
    # Only what a run writes, spec.json last: what else lies there is the user's, and a kill in between leaves a run.
    for name in CONTENTS:
        path = folder / name
        if path.is_dir():
            drop_temporaries(path)
            for each in path.iterdir():
                if name == LOGS and each.is_dir() and not each.is_symlink():
                    shutil.rmtree(each)
                elif each.is_file() and FOLDERS[name].fullmatch(each.name):
                    each.unlink()
            with suppress(OSError):  # what else is in it stays, too
                path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _check_contents(folder: Path, overwrite: bool) -> None:
    if not folder.is_dir() or all(path.name == LOCK or is_temporary(path.name) for path in folder.iterdir()):
        return
    if not is_run(folder):
        raise RunError(f"{folder} is not empty and is no run; name another folder")
    if not overwrite:
        or_other = f"add {option('resume')} to go on with it, or {option('overwrite')} to replace it"
        raise TakenError(f"{folder} holds a run already; {or_other}")


def is_run(folder: Path) -> bool:
    """Whether there is a spec.json as vaekit writes them: other programs have files of that name too."""
    try:
        values = json.loads(read_text(folder / "spec.json"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and {"format", "spec", "schema"} <= values.keys()
