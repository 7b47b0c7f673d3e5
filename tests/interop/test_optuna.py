"""Optuna's choice of settings: drawn from the seed, gone on with after any cut, and drawn to where it is good."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from models_for_tests import refuses

pytest.importorskip("optuna")

from vaekit.interop.optuna import FILE, OptunaSearch, check
from vaekit.runs.axes import Settings, axes_of
from vaekit.runs.sweep import Plan

OVER = ("training.learning_rate=1e-5..1e-1:log", "model.latents.z.size=2..64", "objective.name=elbo,iwae")


def search(folder: Path, sampler: str = "random", points: int = 12, seed: int = 0, **more: Any) -> OptunaSearch:
    folder.mkdir(exist_ok=True)
    return OptunaSearch(Plan(folder, "digits", axes_of(OVER), **more), sampler, points, seed)


def value(settings: Settings) -> float:
    """Least at a learning rate of 1e-3."""
    return math.log10(float(dict(settings)["training.learning_rate"]) / 1e-3) ** 2


def finished(found: OptunaSearch, stop: int | None = None) -> list[Settings]:
    """All points that are asked for, each told its value; after `stop` of them the last is left untold."""
    asked = []
    while (point := found.ask()) is not None:
        asked.append(point[1])
        if len(asked) == stop:
            break
        found.tell(point[0], value(point[1]))
    return asked


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_that_is_cut_off_goes_on_as_if_it_were_not(tmp_path: Path, sampler: str) -> None:
    whole = finished(search(tmp_path / "whole", sampler, 14))
    before = finished(search(tmp_path / "cut", sampler, 14), stop=12)
    after = finished(search(tmp_path / "cut", sampler, 14))
    assert before == whole[:12]
    assert after == whole[11:]  # the one that was under way comes first
    assert len(set(whole)) == 14
    assert finished(search(tmp_path / "other", sampler, 14, seed=1)) != whole
    assert finished(search(tmp_path / "whole", sampler, 16)) == finished(search(tmp_path / "cut", sampler, 16))


def test_points_are_of_their_ranges_and_short_in_words(tmp_path: Path) -> None:
    for settings in finished(search(tmp_path)):
        rate, size, name = (text for _, text in settings)
        assert 1e-5 <= float(rate) <= 1e-1
        assert len(rate) <= 9
        assert 2 <= int(size) <= 64
        assert name in ("elbo", "iwae")


def test_the_parzen_estimator_comes_nearer_than_chance(tmp_path: Path) -> None:
    found = {each: finished(search(tmp_path / each, each, 40))[20:] for each in ("tpe", "random")}
    means = {each: sum(map(value, points)) / len(points) for each, points in found.items()}
    assert means["tpe"] < 0.5 * means["random"]


def test_a_torn_line_and_a_point_that_was_not_drawn_are_left_out(tmp_path: Path) -> None:
    finished(search(tmp_path, points=3))
    text = (tmp_path / FILE).read_text()
    lines = text.splitlines(keepends=True)
    created = next(i for i, line in enumerate(lines) if json.loads(line)["op_code"] == 4)  # a trial, not yet drawn
    (tmp_path / FILE).write_text("".join(lines[: created + 1]) + lines[created + 1][:7])
    found = search(tmp_path, points=3)
    assert len(finished(found)) == 2


def test_another_search_in_the_folder_is_refused(tmp_path: Path) -> None:
    finished(search(tmp_path, points=1))
    with refuses("a search with other seeds"):
        search(tmp_path, seeds=(0, 1))
    with refuses("a search with other by"):
        search(tmp_path, by="test.nll")
    with refuses("unknown search 'grid'; accepted: tpe, random"):
        check("grid", 3)
    with refuses("trials is 0"):
        check("tpe", 0)
