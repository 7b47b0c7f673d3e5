"""What a sweep goes over, and the names of the folders of its trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.runs.axes import Span, axes_of, folder_of, grid

KEYS = st.sampled_from(["objective.beta", "model.latents.z.prior", "data.name"])
SETTINGS = st.lists(st.tuples(KEYS, st.text(min_size=1, max_size=200)), max_size=3, unique_by=lambda each: each[0]).map(
    tuple
)


@settings(max_examples=40)
@given(SETTINGS, st.integers(0, 2**63))
def test_a_trial_lies_within_the_folder_of_its_sweep(own: tuple[tuple[str, str], ...], seed: int) -> None:
    name = folder_of(own, seed)
    parts = name.split("/")
    assert len(parts) == 1 + bool(own)
    assert name == folder_of(own, seed)
    for part in parts:
        assert not set(part) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=,+-")
        assert part not in ("", ".", "..")
        assert len(part) < 150
    assert Path("sweep").resolve() in Path("sweep", name).resolve().parents


@given(SETTINGS, SETTINGS)
def test_other_settings_lie_in_another_folder_on_any_file_system(one: tuple, other: tuple) -> None:
    if one != other:
        assert folder_of(one, 0).casefold() != folder_of(other, 0).casefold()


@pytest.mark.parametrize("values", [("a", "A"), ("x/y", "x_y"), ("1" * 150, "1" * 151), ("a", "a."), ("é", "è")])
def test_values_that_look_alike_are_told_apart(values: tuple[str, str]) -> None:
    names = [folder_of((("k", value),), 0).casefold().rstrip(".") for value in values]
    assert names[0] != names[1]


def test_the_grid_is_every_combination_once() -> None:
    found = grid(axes_of({"a": [1, True], "b": ["x", [2, 3]], "c": "u, v"}))
    assert len(found) == len(set(found)) == 8
    assert {dict(each)["b"] for each in found} == {"x", "[2, 3]"}
    assert {dict(each)["a"] for each in found} == {"1", "true"}
    assert grid(()) == [()]


def test_values_are_apart_at_commas_but_within_brackets_and_quotes() -> None:
    (axis,) = axes_of(["m.encoder={name='mlp', hidden=[4,4]},conv,'a,b'"])
    assert axis.values == ("{name='mlp', hidden=[4,4]}", "conv", "'a,b'")


def test_ranges() -> None:
    spans = [each.span for each in axes_of(["a=1e-4..1e-2:log", "b=2..64", "c=-1..0.5"])]
    assert spans == [Span(1e-4, 1e-2, log=True), Span(2, 64, whole=True), Span(-1, 0.5)]
    assert axes_of({"data.name": "../x,../y"})[0].values == ("../x", "../y")


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (["beta"], "KEY=VALUE"),
        (["a=1", "a=2"], "comes twice"),
        (["training.seed=1,2"], "seeds"),
        (["a=1,,2"], "empty value"),
        ({"a": []}, "no values"),
        (["a=1,2,1"], "'1' twice"),
        (["a=none,null"], "'null' twice"),
        (["a=3..2"], "LOW < HIGH"),
        (["a=0..2:log"], "0 < LOW < HIGH"),
    ],
)
def test_what_can_not_be_gone_over_is_refused_in_a_line(over: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        axes_of(over)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
