"""The table of published numbers: its rows are specs, and what it says of them is what was measured."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import vaekit
from vaekit.spec.recipes import RECIPES

ROOT = Path(__file__).parent.parent
MACHINE = "a machine"


@pytest.fixture(scope="module")
def published() -> SimpleNamespace:
    """All names of the benchmark's modules."""
    modules = [f"published{part}" for part in ("_budgets", "_records", "_report", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return SimpleNamespace(**{key: value for each in modules for key, value in vars(import_module(each)).items()})


def told(published: SimpleNamespace, row, budget, values: list[float], target: str = "", first: int = 0) -> dict:
    """What is written down of a row that has reached these values."""
    rest = {"seconds": 36.0, "samples": row.samples, "where": MACHINE}
    seeds = {str(first + i): {"value": value, **rest} for i, value in enumerate(values)}
    of = published.identity(row) | ({"target": target} if target else {})
    return json.loads(json.dumps({"row": of, "budget": asdict(budget), "seeds": seeds}))


def test_every_row_is_a_spec_of_a_recipe_with_a_source_and_a_budget(published: SimpleNamespace) -> None:
    for name, row in published.ROWS.items():
        assert name == row.name
        assert row.target in RECIPES
        assert row.metric in published.METRICS
        assert row.mark in ("V", "S", "M"), name
        assert row.source, name
        assert all(below in published.ROWS for below in row.below)
        published.spec_of(row)  # which refuses a key, a part or an option that there is not
        assert published.whole(row).whole_steps > 100
    assert published.ROWS["m1-m2"].below == ("m1",)
    assert published.ROWS["1-dreg-50"].below == ("1-iwae-5",)
    assert published.ROWS["2-iwae-50"].below == ("2-iwae-5",)
    assert published.whole(published.ROWS["dynamic-vamp"]).whole_steps == 2000 * 500
    assert published.whole(published.ROWS["1-elbo-1"]).whole_steps == 250 * 118
    assert published.training_rows(published.spec_of(published.ROWS["frey-vamp"])) == 1565


def test_a_row_begins_with_the_run_of_another_where_that_is(published: SimpleNamespace, tmp_path: Path) -> None:
    given = argparse.Namespace(
        folder=tmp_path, scale=None, minutes=None, quick=True, seeds=1, samples=2, jobs=1, sets=[]
    )
    given.sets = ["training.device=cpu", "data.name=digits"]
    row = published.ROWS["1-elbo-5"]
    published.measure(row, given)
    run = vaekit.load_run(published.run_of(row, 0, given, "quick"))
    assert run.spec.training.start == str(tmp_path / "1-elbo-1" / "quick" / "runs" / "seed=0")
    (told,) = [each for each in published.gathered(tmp_path) if published.same(each, row, published.quick(row))]
    assert list(told["seeds"]) == ["0"]


def test_a_budget_is_fewer_epochs_and_then_fewer_rows(published: SimpleNamespace) -> None:
    row = published.ROWS["static-iwae-50"]
    assert published.scaled(row, 0.01, "x").epochs == 33
    tiny = published.scaled(row, 1e-4, "x")
    assert (tiny.epochs, tiny.rows, tiny.sets) == (1, 16400, ("data.train=16400",))
    assert tiny.part == pytest.approx(1e-4)
    assert published.scaled(published.ROWS["m1-m2"], 1e-4, "x").sets == ()  # its rows are those of the run below


def test_a_verdict_says_which_side_and_why(published: SimpleNamespace) -> None:
    row = replace(published.ROWS["static-iwae-50"], published=86.76)
    whole, trial = published.whole(row), published.scaled(row, 0.1, "x")

    def said(values: tuple[float, ...], budget=whole, row=row) -> str:
        return published.verdict(row, published.Measured(budget, values, 1.0, 5000, (MACHINE,)))

    assert said((86.70, 86.75, 86.86)).startswith("reproduced, +0.01")
    assert said((88.1, 88.2, 88.0)).startswith("behind, +1.34")
    assert said((85.0, 85.1, 85.2)).startswith("better, -1.66")
    assert said((88.1, 88.2, 88.0), trial).endswith("(10 % of the training)")
    assert said((88.0,)) == "behind by 1.24; fewer than 3 seeds tell no more"
    # The error of the source is the one that counts, where it has one.
    assert said((88.1, 88.2, 88.0), row=replace(row, stderr=1.0)).startswith("reproduced")
    clusters = replace(published.ROWS["clusters"], published=94.46)
    assert said((97.0, 97.1), row=clusters).startswith("better")
    assert "not the split" in said((100.0, 100.1), row=published.ROWS["omniglot-vamp"])


def test_the_table_has_of_each_row_the_longest_that_was_measured(published: SimpleNamespace) -> None:
    row, other = published.ROWS["static-iwae-50"], published.ROWS["m2"]
    known = [
        told(published, row, published.scaled(row, 0.01, "scale-0.01"), [90.0, 90.1]),
        told(published, row, published.scaled(row, 0.1, "scale-0.1"), [88.0, 88.1]),
        told(published, row, published.whole(row), [1.0, 1.0], target="another"),
        told(published, other, published.whole(other), [11.0, 12.0, 13.0]),
    ]
    lines = {line.split("`")[1]: line for line in published.report(known).splitlines() if line.startswith("| `")}
    assert list(lines) == list(published.ROWS)
    assert "| 88.05 ± 0.05 | 2 | 328 of 3,280 epochs | 36 s [1], whole 6 min | behind" in lines["static-iwae-50"]
    assert "| 12.00 ± 0.58 | 3 | 6 epochs, 1,800 steps | 36 s [1] | reproduced" in lines["m2"]
    assert "needs a GPU" in lines["dynamic-vamp"]


def test_seeds_of_several_machines_come_together_and_are_not_measured_again(
    published: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = published.ROWS["m2"]
    there = told(published, row, published.whole(row), [11.0, 12.0])
    here = told(published, row, published.whole(row), [12.5, 13.0], first=1)
    here["seeds"]["2"]["where"] = "another"
    (tmp_path / "m2" / "whole").mkdir(parents=True)
    (tmp_path / "m2" / "whole" / published.NUMBERS).write_text(json.dumps(here), encoding="utf-8")
    (known,) = published.gathered(tmp_path, [there])
    found = published.longest(row, [known])
    assert found.values == (11.0, 12.5, 13.0)  # what is in the folder is newer
    assert found.where == (MACHINE, "another")
    asked: list[int] = []
    no_trials = SimpleNamespace(trials=[])
    monkeypatch.setattr(published.vaekit, "sweep", lambda *_, seeds, **__: asked.extend(seeds) or no_trials)
    options = {"quick": False, "minutes": None, "scale": None, "samples": None, "jobs": 1, "sets": []}
    published.measure(row, argparse.Namespace(**options, seeds=3, folder=tmp_path), [known])
    assert asked == []
    published.measure(row, argparse.Namespace(**options, seeds=5, folder=tmp_path), [known])
    assert asked == [3, 4]


@pytest.mark.slow
def test_a_row_is_measured_once_and_goes_on_with_more_seeds(
    published: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = published.ROWS["sprites-beta-tc"]
    options = {"quick": True, "minutes": None, "scale": None, "seeds": None, "samples": None, "jobs": 1, "sets": []}
    given = argparse.Namespace(**options, folder=tmp_path)
    published.measure(row, given)
    found = published.longest(row, published.gathered(tmp_path))
    assert len(found.values) == 1
    assert 0 <= found.mean <= 1
    monkeypatch.setattr("vaekit.many.sweep.train", lambda *given, **options: pytest.fail("trained again"))
    published.measure(row, given)
    assert published.longest(row, published.gathered(tmp_path)).values == found.values
