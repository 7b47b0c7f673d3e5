"""Looks at held-out data from a recording are those of Python, and see what a training has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs_for_tests import SMALL, Pieces, assert_same_run, cut_short, pieces
from torch import Tensor

from vaekit import train
from vaekit.engine import recording
from vaekit.schedules import Constant
from vaekit.training import validation as looking
from vaekit.training.validation import Validation

RELAXED = "{name='relaxed-categorical', temperature={name='linear', start=1.0, end=0.5}}"
CASES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "conditional": ("model.condition=true", "data.binarize=stochastic", "model.likelihood=bernoulli"),
    "several samples": ("objective={name='iwae', samples=3}",),
    "schedules": ("objective.beta={name='linear', start=0.0, end=2.0}",),
    "batch norm": ("model.encoder={name='mlp', hidden=[16], normalization='batch'}",),
    "relaxed": (f"model.latents.z={{size=4, posterior={RELAXED}, prior='uniform-categorical'}}",),
}


@pytest.fixture(autouse=True)
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings of small blocks, for they would not pay on so few data."""
    monkeypatch.setattr(recording, "SOON", 0)
    monkeypatch.setattr(recording, "WORTHWHILE_WITHOUT", 1)
    monkeypatch.setattr(looking, "ROWS", 50)


def looked(p: Pieces) -> Validation:
    return Validation(p.model, p.valid, p.objective, 20, epochs=5)


def by_python(p: Pieces) -> dict[str, float]:
    return Validation(p.model, p.valid, p.objective, 20)(1)


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_a_recorded_look_is_that_of_python(case: str, precision: torch.dtype | None) -> None:
    p = pieces(*CASES[case])
    p.model.precision = precision  # type: ignore[assignment]
    look, wanted = looked(p), by_python(p)
    assert look(1) == pytest.approx(wanted, rel=1e-5)
    assert look.recording is None, "the first is Python's"
    found = look(2)
    assert look.recording is not None
    assert list(found) == list(wanted)
    assert found == pytest.approx(wanted, rel=1e-5 if precision is None else 1e-2)
    assert look(3) == found, "the same draws each time"


def test_it_sees_weights_that_were_changed_in_place() -> None:
    p = pieces()
    look = looked(p)
    before, own = look(2), look.recording
    with torch.no_grad():
        for weight in p.model.parameters():
            weight.mul_(1.5)
    after = look(3)
    assert look.recording is own
    assert after != pytest.approx(before, rel=1e-2)
    assert after == pytest.approx(by_python(p), rel=1e-5)


def test_it_is_recorded_again_where_an_attribute_was_changed() -> None:
    p = pieces()
    look = looked(p)
    look(2)
    own = look.recording
    object.__setattr__(p.objective, "beta", Constant(3.0))
    assert look(3) == pytest.approx(by_python(p), rel=1e-5)
    assert look.recording is not own


def test_numbers_that_are_not_finite_are_no_reason_against_a_recording() -> None:
    p = pieces()
    look, (weight, *_) = looked(p), p.model.parameters()
    before = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(torch.inf)
        look(2)
        weight.copy_(before)
    assert look.recording is not None
    assert look(3) == pytest.approx(by_python(p), rel=1e-5)


@pytest.mark.parametrize("wrong", [lambda terms: terms * 1.01, lambda terms: terms.flip(0)])
def test_a_recording_that_gives_other_numbers_is_not_used(
    wrong: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vaekit.engine.recording")
    captured = recording.replayed

    def other(graph: Any) -> Any:
        made = captured(graph)
        return lambda *given: [wrong(made(*given)[0])]

    monkeypatch.setattr(recording, "replayed", other)
    p = pieces()
    look = looked(p)
    assert look(2) == by_python(p)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("vaekit")] == [
        "looks at held-out data run as Python, which is slower, since they can't be recorded: replayed, it gives other "
        "numbers"
    ]


@pytest.mark.parametrize(("batch", "rows"), [(100, 250), (128, 500), (600, 500), (7, 25)])
def test_blocks_are_looked_at_in_equal_parts(batch: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ROWS", 500)
    p = pieces()
    big = type(p.valid)(p.train.x.repeat(2, 1, 1, 1)[:2300], None, p.valid.domain, p.valid.preprocessing)
    assert Validation(p.model, big, p.objective, batch).rows == rows


def test_few_looks_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WORTHWHILE_WITHOUT", 40)
    p = pieces()
    look = Validation(p.model, p.valid, p.objective, 100, epochs=5)
    assert look(2) == look(1)
    assert look.recording is None


@pytest.mark.parametrize("more", [(), ("training.ema=0.9", "training.early_stopping=3"), ("data.labels=200",)])
def test_a_run_with_recorded_looks_resumes_exactly(more: tuple[str, ...], tmp_path: Path) -> None:
    sets = [*SMALL, "data.binarize=stochastic", "model.likelihood=bernoulli", *more]
    train("digits", tmp_path / "whole", sets=sets, epochs=5)
    train(out=cut_short(tmp_path / "whole", tmp_path / "parts"), resume=True)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
