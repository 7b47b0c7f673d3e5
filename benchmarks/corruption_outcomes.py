"""What comes of a damaged run: what is loaded, read, resumed and said, beside what is right."""

from __future__ import annotations

import logging
import random
import resource
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corruption_damages import damage
from corruption_runs import MORE, Reference, equal, untimed, weights_of

from vaekit import load_run, train
from vaekit.runs import history

RESUMED = 10
"""One of so many damaged runs is resumed."""
SECONDS = 20
BYTES = 2**30


@dataclass
class Said:
    """What vaekit warned of."""

    lines: list[str] = field(default_factory=list)


def attempt(action: Callable[[], Any]) -> tuple[Any, str, str]:
    """What an action gives; if it raises, the line it says; and what is wrong with that, if anything."""
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value, line, wrong = None, "", ""
    try:
        value = action()
    except (ValueError, ArithmeticError) as error:
        line = str(error)
        if "\n" in line or len(line) > 700 or type(error) is UnicodeDecodeError:
            wrong = f"no line: {type(error).__name__} {line[:200]!r}"
    except BaseException as error:
        place = [f for f in traceback.extract_tb(error.__traceback__) if "vaekit" in f.filename][-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        wrong = f"traceback: {type(error).__name__} {str(error)[:200]!r} at {where}"
    if time.process_time() - started > SECONDS:
        wrong = wrong or "slow"
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 > BYTES:
        wrong = wrong or "memory"
    return value, line, wrong


def examined(folder: Path, reference: Reference, signed: bool, resume: bool, said: Said) -> tuple[list[str], list[str]]:
    """What is wrong with what comes of a damaged run; and how it was found: by an error, a warning, or not at all."""
    wrong, found = [], []
    cut = not (folder / "weights.safetensors").exists()
    run, line, bad = attempt(lambda: load_run(folder))
    wrong += [bad] if bad else []
    found.append("error" if line else "warning" if said.lines else "same")
    if run is not None and not signed and not said.lines:
        # Without its newest state a run is one that was cut off before.
        newest = reference.states[0 if (folder / "checkpoints" / "epoch-000003.safetensors").exists() else 1]
        if not equal(weights_of(run), newest if cut else reference.weights):
            wrong.append("silent: other weights")
        if (run.spec, run.schema) != reference.described:
            wrong.append("silent: another spec")
    records, line, bad = attempt(lambda: untimed(history.read(folder)))
    wrong += [bad] if bad else []
    if line or said.lines:
        found[0] = found[0] if found[0] != "same" else "error" if line else "warning"
    elif not signed and records is not None and records != reference.records:
        wrong.append("silent: other records")
    if resume:
        run, line, bad = attempt(lambda: train(out=folder, resume=True, epochs=MORE))
        wrong += [bad] if bad else []
        if run is not None and not signed:
            if not equal(weights_of(run), reference.resumed):
                wrong.append("silent: resumed to other weights")
            if not said.lines and untimed(history.read(folder)) != reference.resumed_records:
                wrong.append("silent: resumed to other records")
        found.append("resumed" if run is not None else "not resumed")
    return wrong, found


def one(number: int, seed: int, references: list[Reference], work: Path) -> dict[str, Any]:
    """Damage a copy of a run, and examine it."""
    chance = random.Random(f"{seed}/{number}")
    reference = chance.choice(references)
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(reference.folder, folder)
    said = Said()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if str(folder) in record.getMessage():  # others are of the training
                said.lines.append(record.getMessage())

    log, listener = logging.getLogger("vaekit"), Listener(logging.WARNING)
    log.addHandler(listener)
    log.propagate = False
    try:
        what, signed = damage(folder, chance)
        wrong, found = examined(folder, reference, signed, number % RESUMED == 0, said)
    finally:
        log.removeHandler(listener)
    return {"number": number, "what": what, "signed": signed, "wrong": wrong, "found": found, "said": said.lines[:2]}
