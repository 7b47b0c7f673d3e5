"""Domains: what values they take and what they say of others."""

from __future__ import annotations

import numpy as np
import pytest
from models_for_tests import data_of, domain_of, refuses

from vaekit.data.domains import KINDS, Domain

OUTSIDE = {
    "binary": [-1, 2, 0.5],
    "grey": [-1, 5, 1.5],
    "categorical": [-1, 4, 0.1],
    "count": [-1, 0.5],
    "unit": [-1.01, 7.01],
    "positive": [0.0, -1.0],
    "real": [],
    "nonnegative": [-0.5],
    "integer": [0.5],
    "columns": [0.5, -1.0],  # of the second column, of zeros and ones
}


@pytest.mark.parametrize("kind", KINDS)
def test_domains_take_their_values_and_no_others(kind: str):
    domain = domain_of(kind, (3,))
    x = data_of(domain, (50, 3)).numpy()
    domain.check(x)
    for bad in [*OUTSIDE[kind], np.nan, np.inf]:
        wrong = x.copy()
        wrong[4, 1] = bad
        with refuses(f"the first is {float(bad)} at index (4, 1)"):
            domain.check(wrong, "mine")


def test_relaxed_binary_takes_what_is_between():
    relaxed = Domain("binary", relaxed=True)
    relaxed.check(np.array([0.0, 0.3, 1.0]))
    with pytest.raises(ValueError, match="no likelihood"):
        relaxed.check(np.array([1.1]))


def test_columns_of_the_unit_interval_have_their_own_ends():
    domain = Domain("unit", location=(0.0, 10.0), scale=(1.0, 5.0))
    domain.check(np.array([[0.0, 15.0], [1.0, 10.0]]))
    with pytest.raises(ValueError, match=r"index \(0, 0\)"):
        domain.check(np.array([[10.0, 12.0]]))


@pytest.mark.parametrize("x", [np.array([]), np.array(["a"]), np.array([None]), np.array([1j])])
def test_arrays_that_hold_no_numbers_are_refused(x: np.ndarray):
    with refuses():
        Domain("real").check(x)


def test_booleans_and_integers_are_numbers():
    Domain("binary").check(np.array([True, False]))
    Domain("count").check(np.array([0, 2**40]))
    Domain("grey", levels=256).check(np.array([0, 255], np.uint8))


def test_numbers_of_any_type_are_kept_as_floats():
    assert Domain("unit", location=0, scale=2).limits == (0.0, 2.0)
    assert Domain("unit", scale=np.float32(2)).limits == (0.0, 2.0)
    columns = Domain("real", location=np.array([1, 2]), scale=[1, 2])
    assert columns == Domain("real", location=(1.0, 2.0), scale=(1.0, 2.0))
    assert hash(columns) == hash(Domain("real", location=(1.0, 2.0), scale=(1.0, 2.0)))


def test_grey_levels_are_scaled_to_one():
    assert Domain("grey", levels=2).scale == 1.0
    assert Domain("grey", levels=17).scale == 16.0
    assert Domain("grey", levels=17, scale=16.0) == Domain("grey", levels=17)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "gray"},
        {"kind": "grey"},
        {"kind": "binary", "levels": 2},
        {"kind": "categorical", "levels": 1},
        {"kind": "grey", "levels": 2.5},
        {"kind": "real", "scale": 0.0},
        {"kind": "real", "scale": (1.0, -1.0)},
        {"kind": "real", "scale": float("inf")},
        {"kind": "real", "location": float("nan")},
        {"kind": "real", "relaxed": True},
        {"kind": "grey", "levels": 17, "scale": 8.0},
        {"kind": "grey", "levels": 17, "location": 1.0},
    ],
)
def test_domains_that_make_no_sense_are_refused(values: dict):
    with refuses():
        Domain(**values)
