"""Schedules: the value of a coefficient as a function of progress, the fraction of the run that is done (0 to 1).

Fractions, not steps, so that a warm-up can't be longer than the training and the final value is always reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, get_args, get_origin

from .errors import check_least, shown

Schedule = Callable[[float], float]


def may_be_schedule(hint: Any) -> bool:
    """Whether an option of that type takes a schedule.

    >>> may_be_schedule(float | Schedule), may_be_schedule(float)
    (True, False)
    """
    return any(get_origin(each) is Callable for each in (hint, *get_args(hint)))


def check_schedule(what: str, schedule: Schedule, least: float = -math.inf) -> None:
    """`ValueError`, one line, for a schedule that gives no finite number at the beginning, in the middle or at the end
    of a run, or one below `least`.

    >>> check_schedule("beta", Linear())
    """
    for progress in (0.0, 0.5, 1.0):
        given: Any = schedule(progress)
        value = given.item() if getattr(given, "ndim", None) == 0 else given  # one number of torch's or NumPy's
        if not isinstance(value, Real) or not math.isfinite(value) or value < least:
            wanted = "a finite number" if math.isinf(least) else f"finite numbers from {least:g} on"
            raise ValueError(f"{what} is {shown(value)} at {progress:g} of the run; accepted: {wanted}")


POINTS = 1000
"""Points of a run, at least, at which is looked whether a coefficient still changes."""


@dataclass(frozen=True)
class Constant:
    """The same value throughout."""

    value: float = 1.0

    def __call__(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """From `start` to `end` in a straight line over the first `until` of the run, then `end`.

    >>> [Linear(0.0, 1.0, until=0.5)(t) for t in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """

    start: float = 0.0
    end: float = 1.0
    until: float = 0.3

    def __post_init__(self) -> None:
        _check_fraction("until", self.until)

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * min(progress / self.until, 1.0)


@dataclass(frozen=True)
class Switch:
    """`start` until the run is `at` of its way, 0 < `at` < 1, then `end`.

    >>> [Switch(0.0, 1.0, at=0.5)(t) for t in (0.0, 0.49, 0.5)]
    [0.0, 0.0, 1.0]
    """

    start: float = 0.0
    end: float = 1.0
    at: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.at < 1:
            raise ValueError(f"at is a fraction of the run, above 0 and below 1, where it is over; got {self.at}")

    def __call__(self, progress: float) -> float:
        return self.end if progress >= self.at else self.start


@dataclass(frozen=True)
class Cosine:
    """From `start` to `end` along half a cosine over the first `until` of the run, then `end`."""

    start: float = 0.0
    end: float = 1.0
    until: float = 1.0

    def __post_init__(self) -> None:
        _check_fraction("until", self.until)

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * 0.5 * (1 - math.cos(math.pi * min(progress / self.until, 1.0)))


@dataclass(frozen=True)
class Exponential:
    """From `start` to `end` by the same factor each step, over the first `until` of the run, then `end`.

    A weight that has to grow by a hundred is small for longer than along a straight line.

    >>> Exponential(0.01, 1.0)(0.5)
    0.1
    """

    start: float = 0.01
    end: float = 1.0
    until: float = 1.0

    def __post_init__(self) -> None:
        if not (self.start > 0 and self.end > 0):
            raise ValueError(f"an exponential schedule goes from a number above 0 to another, got {self}")
        _check_fraction("until", self.until)

    def __call__(self, progress: float) -> float:
        if progress >= self.until:
            return self.end
        return self.start * (self.end / self.start) ** (progress / self.until)


@dataclass(frozen=True)
class Cyclic:
    """`cycles` times from `start` to `end` in the first `ramp` of each cycle, then `end` (Fu et al. 2019)."""

    start: float = 0.0
    end: float = 1.0
    cycles: int = 4
    ramp: float = 0.5

    def __post_init__(self) -> None:
        _check_fraction("ramp", self.ramp)
        check_least("cycles", self.cycles)

    def __call__(self, progress: float) -> float:
        if progress >= 1.0:
            return self.end
        return self.start + (self.end - self.start) * min(progress * self.cycles % 1.0 / self.ramp, 1.0)


@dataclass(frozen=True)
class Geometric:
    """From `start` to `end` in `stages` stages of lengths 1, base, base², …, by a constant factor from one to the next.

    Eight stages of base 3 from 1e-3 to 1e-4 are the learning rates of Burda et al. 2016: 3^i passes at 1e-3 ·
    10^(-i/7).
    """

    start: float = 1e-3
    end: float = 1e-4
    stages: int = 8
    base: float = 3.0

    def __post_init__(self) -> None:
        if self.stages < 2 or self.base <= 1 or self.start <= 0 or self.end <= 0:
            raise ValueError(f"geometric schedule needs stages >= 2, base > 1, start and end > 0, got {self}")

    def __call__(self, progress: float) -> float:
        passed = progress * (self.base**self.stages - 1)
        # The first float tolerance: a stage begins exactly at its boundary, not an ulp later.
        stage = math.floor(math.log(passed + 1, self.base) + 1e-9)
        return self.start * (self.end / self.start) ** (min(stage, self.stages - 1) / (self.stages - 1))


def settled(value: Callable[[float], Sequence[float]], epochs: int) -> int:
    """The epochs of a run of so many after which what `value` gives for the progress is what it gives at its end.

    >>> settled(lambda progress: [Linear(0.0, 1.0, until=0.5)(progress)], 40)
    20
    """
    each = max(1, POINTS // epochs)
    end, moving = value(1.0), 0
    for i in range(epochs * each):
        now = value(i / (epochs * each))
        if not all(math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12) for one, other in zip(now, end, strict=True)):
            moving = i + 1
    return -(-moving // each)


def _check_fraction(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"{name} is a fraction of the run, above 0 and at most 1; got {value}")


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "exponential": Exponential,
    "cyclic": Cyclic,
    "geometric": Geometric,
    "switch": Switch,
}
