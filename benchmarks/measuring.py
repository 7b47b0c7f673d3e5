"""How the speed benchmark measures: sides, each a command in a process of its own, in turn, round after round.

A side tells lists of numbers by name (see measured.py). Its value in a round is, of "seconds", the median after the
first, which is the warm-up, or the only one; of everything else the last. Ratios are paired round by round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
LIMIT = 7200
"""Seconds after which a side is given up."""


@dataclass(frozen=True)
class Side:
    """A command, and how it is told apart; `needs` is the module without which a peer is not installed.

    With `whole`, what is measured is the command itself, from its start to its end, and not what it tells.
    """

    name: str
    command: tuple[str, ...]
    needs: str | None = None
    whole: bool = False


@dataclass(frozen=True)
class Quantity:
    """One of the numbers that sides tell, as a column of the table."""

    name: str
    title: str
    digits: int = 2


@dataclass(frozen=True)
class Target:
    """`of` divided by the least of `against` (or with `less`, that subtracted) is to be at least, or at most, `bound`.
    Without any `against` it is `of` itself.

    `same` is a quantity in which the two must not be further apart than `APART`: else they don't do the same.
    """

    what: str
    of: str
    against: tuple[str, ...]
    bound: float
    at_least: bool = True
    quantity: str = "seconds"
    less: bool = False
    same: str | None = None


APART = 0.03


@dataclass(frozen=True)
class Panel:
    """A quantity against a number, over sides; drawn, and fitted by a line."""

    title: str
    x: str
    quantity: str
    points: dict[int, str]


@dataclass(frozen=True)
class Section:
    """Sides that are compared, and what is expected of them. `prepare` makes what their commands need."""

    title: str
    about: str
    sides: tuple[Side, ...]
    shown: tuple[Quantity, ...]
    targets: tuple[Target, ...] = ()
    panels: tuple[Panel, ...] = ()
    drawn: bool = False
    """Whether its first quantity is drawn, a bar for each side."""
    rounds: int = 3
    prepare: Callable[[], None] = field(default=lambda: None)


Told = dict[str, list[float]]


@dataclass(frozen=True)
class Outcome:
    """What came of a side in a round: what it told, or in words why it told nothing."""

    told: Told = field(default_factory=dict)
    failure: str = ""

    def value(self, quantity: str) -> float | None:
        values = self.told.get(quantity)
        if not values:
            return None
        return statistics.median(values[1:] or values) if quantity == "seconds" else values[-1]


Round = dict[str, Outcome]


@cache
def installed(python: str, module: str) -> bool:
    return not subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode


def environment() -> dict[str, str]:
    """That of the sides: as here, and the folder of the benchmarks where Python looks for modules."""
    return os.environ | {"PYTHONPATH": str(HERE)}


def run(side: Side, folder: Path) -> Outcome:
    """A side in a process of its own, in `folder`."""
    if side.needs and not (side.command[0] and installed(side.command[0], side.needs)):
        return Outcome(failure="not installed")
    start = time.perf_counter()
    try:
        options = {"capture_output": True, "text": True, "timeout": LIMIT, "cwd": folder, "env": environment()}
        done = subprocess.run(side.command, check=False, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Outcome(failure=f"failed: {error}")
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Outcome(failure=f"failed: {last}")
    if side.whole:
        return Outcome({"seconds": [seconds]})
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if not last.startswith("{"):
        return Outcome(failure="failed: it told nothing")
    return Outcome(json.loads(last))


def take_round(sides: Sequence[Side], folder: Path, number: int) -> Round:
    """Each side once, every other round in the opposite order."""
    found = {}
    for side in sides if number % 2 == 0 else reversed(sides):
        found[side.name] = outcome = run(side, folder)
        told = ", ".join(f"{name} {outcome.value(name):.3f}" for name, values in outcome.told.items() if values)
        print(f"  round {number + 1}, {side.name}: {outcome.failure or told}", flush=True)
    return found


def values(rounds: Sequence[Round], side: str, quantity: str) -> list[float]:
    """Those of a side in the rounds in which it has one."""
    found = (each[side].value(quantity) for each in rounds if side in each)
    return [value for value in found if value is not None]


def compared(target: Target, rounds: Sequence[Round]) -> list[float]:
    """What a target is about in each round in which both are there: a ratio, or a difference."""
    results = []
    for each in rounds:
        own = each[target.of].value(target.quantity) if target.of in each else None
        others = [each[name].value(target.quantity) for name in target.against if name in each]
        known = [other for other in others if other is not None]
        if own is None or (target.against and not known):
            continue
        results.append(own if not known else own - min(known) if target.less else own / min(known))
    return results


def apart(target: Target, rounds: Sequence[Round]) -> float | None:
    """How far the two of a target are from doing the same, as a part of it."""
    if target.same is None:
        return None
    own, other = (values(rounds, name, target.same) for name in (target.of, target.against[0]))
    return abs(statistics.mean(own) / statistics.mean(other) - 1) if own and other else None
