"""Schedules: their values, their ends, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import refuses

from vaekit.objectives import ELBO
from vaekit.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Cyclic,
    Exponential,
    Geometric,
    Linear,
    Schedule,
    Switch,
    settled,
)
from vaekit.spec.building import build_schedule
from vaekit.spec.keys import PartSpec
from vaekit.spec.parts import PARTS, build

FRACTION = st.floats(0, 1)
ENDS = {"constant": {}, "linear": {"start": 0.2, "end": 3.0}, "cosine": {"start": 0.2, "end": 3.0}}
ENDS |= {name: {"start": 0.2, "end": 3.0} for name in ("cyclic", "exponential", "geometric", "switch")}


def test_every_schedule_is_tested():
    assert ENDS.keys() == SCHEDULES.keys()


@pytest.mark.parametrize("name", SCHEDULES)
@given(progress=FRACTION)
def test_schedules_stay_between_their_ends_and_reach_the_last(name: str, progress: float):
    schedule = build(PARTS, "schedules", name, ENDS[name])
    low, high = (ENDS[name]["start"], ENDS[name]["end"]) if ENDS[name] else (1.0, 1.0)
    assert low - 1e-12 <= schedule(progress) <= high + 1e-12
    assert schedule(1.0) == pytest.approx(high)
    assert schedule(0.0) == pytest.approx(low)


@given(until=st.floats(0.01, 1), a=FRACTION, b=FRACTION)
def test_warm_ups_rise_and_then_stay(until: float, a: float, b: float):
    a, b = sorted((a, b))
    for schedule in (Linear(until=until), Cosine(until=until), Exponential(until=until)):
        assert schedule(a) <= schedule(b)
        assert schedule(until) == pytest.approx(1.0)
        assert schedule(min(1.0, until + 0.01)) == pytest.approx(1.0)


def test_values_in_between():
    assert Constant(0.3)(0.7) == 0.3
    assert Linear(1.0, 0.0, until=0.5)(0.25) == 0.5
    assert Cosine(2.0, 0.0)(0.25) == pytest.approx(1 + math.cos(math.pi / 4))
    assert Exponential(0.04, 1.0, until=0.5)(0.25) == pytest.approx(0.2)  # the geometric mean, half way
    with refuses("from a number above 0 to another"):
        Exponential(0.0, 1.0)
    cyclic = Cyclic(0.0, 1.0, cycles=4, ramp=0.5)
    assert [cyclic(t) for t in (0.0, 0.0625, 0.125, 0.2, 0.25, 0.3125, 0.5)] == [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 0.0]


def test_geometric_stages_are_those_of_burda_et_al():
    schedule, passes, done = Geometric(), 3280, 0
    for i in range(8):
        rate = 1e-3 * 10 ** (-i / 7)
        # Of the whole run of 3,280 passes, stage i takes 3^i: at 100 steps a pass, its first step and its last.
        first, last = done / passes, (done + 3**i - 0.01) / passes
        assert schedule(first) == pytest.approx(rate, rel=1e-12)
        assert schedule(last) == pytest.approx(rate, rel=1e-12)
        done += 3**i
    assert done == passes


@pytest.mark.parametrize("base", [1.5, 2.0, 10.0])
def test_geometric_stages_of_any_base(base: float):
    schedule = Geometric(1.0, 16.0, stages=5, base=base)
    lengths = [base**i for i in range(5)]
    for i in range(5):
        middle = (sum(lengths[:i]) + lengths[i] / 2) / sum(lengths)
        assert schedule(middle) == pytest.approx(2.0**i)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Linear(until=0.0),
        lambda: Linear(until=1.5),
        lambda: Cosine(until=float("nan")),
        lambda: Cyclic(ramp=-1.0),
        lambda: Cyclic(cycles=0),
        lambda: Geometric(stages=1),
        lambda: Geometric(base=1.0),
        lambda: Geometric(start=0.0),
        lambda: Geometric(end=-1.0),
    ],
)
def test_what_schedules_refuse(make):
    with refuses():
        make()


@pytest.mark.parametrize("at", [0.0, 1.0, -0.5, math.nan])
def test_a_switch_that_is_never_reached_is_refused(at: float):
    with refuses("at is a fraction of the run, above 0 and below 1"):
        Switch(at=at)


@pytest.mark.parametrize(
    ("schedule", "epochs", "last"),
    [
        (Constant(3.0), 10, 0),
        (Linear(0.0, 1.0, until=0.5), 10, 5),
        (Linear(0.0, 1.0, until=0.41), 10, 5),
        (Cosine(0.0, 1.0, until=1.0), 10, 10),
        (Switch(0.0, 1.0, at=0.3), 10, 3),
        (Switch(0.0, 1.0, at=0.3), 1, 1),
        (Cyclic(0.2, 0.9, cycles=4, ramp=0.5), 8, 7),
        (lambda t: 0.1 + t * 0, 7, 0),
    ],
)
def test_a_schedule_has_settled_where_it_changes_no_more(schedule: Schedule, epochs: int, last: int):
    assert settled(lambda progress: [1.0, schedule(progress)], epochs) == last


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (lambda t: "a", "beta is 'a' at 0 of the run; accepted: finite numbers from 0 on"),
        (lambda t: 1 / t if t else math.inf, "beta is inf at 0 of the run"),
        (lambda t: 1 - 2 * t, "beta is -1.0 at 1 of the run"),
        (lambda t: torch.ones(3), "beta is tensor("),
        (Linear(start=-1.0), "beta is -1.0 at 0 of the run"),
    ],
)
def test_a_schedule_that_is_no_weight_is_refused(schedule: Schedule, told: str):
    with refuses(told):
        ELBO(beta=schedule)
    ELBO(beta=lambda t: torch.tensor(float(t)))
    ELBO(beta=lambda t: np.float32(t))


def test_a_schedule_of_ones_own_is_a_learning_rate_without_options():
    def half(progress: float) -> float:
        return 0.5 - 0.25 * progress

    mine = PARTS.extended(schedules={"half": lambda: half, "none": lambda: lambda progress: math.nan})
    assert build_schedule(PartSpec(name="half"), mine)(1.0) == 0.25
    with refuses("schedule 'none' is nan at 0 of the run; accepted: a finite number"):
        build_schedule(PartSpec(name="none"), mine)
    with refuses("the learning rate is 'constant', but not how much; such as"):
        build_schedule(PartSpec(name="constant"), mine)
