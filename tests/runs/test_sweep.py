"""Sweeps: every trial once, whatever comes between; what settings are worth; and what is refused."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands_for_tests import command, done
from models_for_tests import refuses
from runs_for_tests import SMALL, assert_same_run, metrics, weights

from vaekit import load_run, sweep, train
from vaekit.evaluation.scores import Evaluation
from vaekit.evaluation.tokens import CodeUse
from vaekit.runs import history
from vaekit.runs.axes import Settings, axes_of
from vaekit.runs.jobs import Here, Job, Outcome, answered, packed, understood, unpacked
from vaekit.runs.sweep import FILE, Plan, run_sweep
from vaekit.runs.swept import Sweep
from vaekit.show.report import sweep_tables, write_sweep
from vaekit.spec.parts import PARTS
from vaekit.spec.targets import resolve

TINY = (*SMALL, "data.train=100", "data.validation=50", "data.test=50", "training.epochs=1")
BETAS = ("objective.beta=1,2",)


def evaluation(nll: float, elbo: float | None = None) -> Evaluation:
    own = {"elbo": -nll if elbo is None else elbo, "elbo_stderr": 0.1, "reconstruction": -1.0, "kl": 1.0, "nll": nll}
    own |= {"nll_stderr": 0.1, "nll_mc_stderr": math.nan, "effective_samples": 3.0, "pareto_k": None, "untrusted": 0}
    more: dict[str, Any] = {
        "kl_per_dimension": {"z": [0.5]},
        "is_likelihood": True,
        "labels": {},
        "impossible": (3, "x"),
        "codes": {"z": CodeUse(4, 8, used=0.5, perplexity=3.0)},
        "latent_scales": {"z": 0.2},
    }
    return Evaluation("valid", 9, 5, **own, bits_per_dim=1.0, active_units=1, latent_size=1, **more)  # type: ignore[arg-type]


class Fake:
    """Does jobs without training; remembers which, and takes what one is worth, or what it raises, from a function."""

    def __init__(self, worth: Callable[[str], float | Exception | BaseException] = lambda name: 1.0) -> None:
        self.worth, self.names = worth, list[str]()

    def __call__(self, job: Job) -> Outcome:
        self.names.append(job.name)
        found = self.worth(job.name)
        if isinstance(found, Exception):
            return Outcome({}, error=str(found))
        if isinstance(found, BaseException):
            raise found
        Path(job.folder).mkdir(parents=True, exist_ok=True)
        (Path(job.folder) / "weights.safetensors").touch()
        return Outcome({"valid": evaluation(found), "test": evaluation(found + 1, elbo=found)}, seconds=2.0)


def plan(folder: Path, over: Any = BETAS, seeds: int = 2, **more: Any) -> Plan:
    return Plan(folder, "digits", axes_of(over), tuple(range(seeds)), **more)


def worth(name: str) -> float:
    """A number that depends on the beta and the seed of a name."""
    settings, _, seed = name.partition("/seed=")
    return 10 * float(settings.partition("=")[2]) + 3 * int(seed) ** 2


def test_each_trial_is_done_once_and_grouped_over_its_seeds(tmp_path: Path) -> None:
    fake = Fake(worth)
    found = run_sweep(plan(tmp_path / "s", ["objective.beta=2,1"], 3), Here(fake))
    assert fake.names == [f"objective.beta={beta}/seed={seed}" for beta in (2, 1) for seed in range(3)]
    assert [each.name for each in found.groups] == ["objective.beta=1", "objective.beta=2"]
    scores = [10.0, 13.0, 22.0]
    assert found.best.mean("valid.nll") == pytest.approx(statistics.fmean(scores))
    assert found.best.stderr("valid.nll") == pytest.approx(statistics.stdev(scores) / math.sqrt(3))
    assert found.best.mean("test.nll") == pytest.approx(statistics.fmean(scores) + 1)
    again = Fake(worth)
    assert run_sweep(plan(tmp_path / "s", ["objective.beta=2,1"], 3), Here(again)) == found
    assert not again.names


def test_less_nll_and_more_elbo_are_better(tmp_path: Path) -> None:
    best = {}
    for by in ("nll", "elbo", "test.nll", "test.elbo"):
        best[by] = run_sweep(plan(tmp_path / by, by=by), Here(Fake(worth))).best.name[-1]
    assert best == {"nll": "1", "elbo": "1", "test.nll": "1", "test.elbo": "2"}  # as `Fake` has the last


def test_seeds_and_values_may_be_added(tmp_path: Path) -> None:
    run_sweep(plan(tmp_path / "s", seeds=1), Here(Fake(worth)))
    more = Fake(worth)
    found = run_sweep(plan(tmp_path / "s", ["objective.beta=2,4"], 2), Here(more))
    assert more.names == ["objective.beta=2/seed=1", "objective.beta=4/seed=0", "objective.beta=4/seed=1"]
    assert [(each.name[-1], len(each.done)) for each in found.groups] == [("1", 1), ("2", 2), ("4", 2)]


def test_a_trial_that_fails_is_said_and_tried_again(tmp_path: Path) -> None:
    bad = "objective.beta=1/seed=1"
    found = run_sweep(
        plan(tmp_path / "s"), Here(Fake(lambda name: ValueError("no good") if name == bad else worth(name)))
    )
    assert [(each.name, each.outcome and each.outcome.error) for each in found.failed] == [(bad, "no good")]
    # A mean of the seeds that were done says nothing of the one that was not, however good it is.
    assert [len(each.done) for each in found.groups] == [2, 1]
    assert found.groups[1].mean(found.by) < found.best.mean(found.by)
    assert sweep_tables(found)[1].rows == [(bad, "no good")]
    again = Fake(worth)
    assert not run_sweep(plan(tmp_path / "s"), Here(again)).failed
    assert again.names == [bad]


@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_interrupted_sweep_goes_on(tmp_path: Path, at: int) -> None:
    fake = Fake(lambda name: KeyboardInterrupt() if len(fake.names) > at else worth(name))
    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan(tmp_path / "s"), Here(fake))
    rest = Fake(worth)
    found = run_sweep(plan(tmp_path / "s"), Here(rest))
    assert rest.names == [each.name for each in found.trials][at:]
    assert found == run_sweep(plan(tmp_path / "s"), Here(Fake()))


def test_what_has_gone_or_is_asked_otherwise_is_done_again(tmp_path: Path) -> None:
    asked = plan(tmp_path / "s")
    run_sweep(asked, Here(Fake(worth)))
    (tmp_path / "s/objective.beta=1/seed=0/weights.safetensors").unlink()
    again = Fake(worth)
    run_sweep(asked, Here(again))
    assert again.names == ["objective.beta=1/seed=0"]
    run_sweep(replace(asked, samples=7), Here(again))
    assert len(again.names) == 5


def test_what_is_no_sweep_or_another_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run_sweep(plan(tmp_path / "s"), Here(Fake()))
    before = (tmp_path / "s" / FILE).read_bytes()
    with refuses("training.epochs is 100, not 3"):
        run_sweep(plan(tmp_path / "s", sets=("training.epochs=3",)), Here(Fake()))
    assert (tmp_path / "s" / FILE).read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    with refuses("is not empty and is no sweep"):
        run_sweep(plan(tmp_path / "full"), Here(Fake()))
    (tmp_path / "s" / FILE).write_text(before.decode().replace('"trials"', '"trial"'))
    with refuses("is damaged"):
        run_sweep(plan(tmp_path / "s"), Here(Fake()))
    for changes, said in (
        ({"over": ["objective.betta=1"]}, "'betta' (did you mean 'beta'?)"),
        ({"over": ["objective.beta=1..2"]}, "is a range"),
        ({"seeds": 0}, "seeds are"),
        ({"by": "loss"}, "unknown score 'loss'"),
        ({"samples": 0}, "samples is 0"),
    ):
        with refuses(said):
            run_sweep(plan(tmp_path / "new", **changes), Here(Fake()))
    assert not (tmp_path / "new").exists()


def test_a_score_of_a_split_that_the_data_lack_is_refused(tmp_path: Path) -> None:
    def without(job: Job) -> Outcome:
        return Outcome({"test": evaluation(1.0)})

    assert run_sweep(plan(tmp_path / "a"), Here(without)).by == "test.nll"
    with refuses("of the split valid; the data have scores of test"):
        run_sweep(plan(tmp_path / "b", by="valid.nll"), Here(without))


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    def at_once(job: Job) -> Outcome:
        run_sweep(plan(tmp_path / "s"), Here(Fake()))
        raise AssertionError

    with refuses("another process is at the sweep"):
        run_sweep(plan(tmp_path / "s"), Here(at_once))


class Points:
    """A search of given points, that remembers what it is told."""

    def __init__(self, *points: Settings) -> None:
        self.given, self.points, self.told = list(enumerate(points)), len(points), dict[int, float | None]()

    def ask(self) -> tuple[int, Settings] | None:
        return self.given.pop(0) if self.given else None

    def tell(self, number: int, value: float | None) -> None:
        assert number not in self.told
        self.told[number] = value


def test_a_search_is_told_means_over_seeds_once_for_each_point(tmp_path: Path) -> None:
    points = Points(*[(("objective.beta", each),) for each in ("1", "2", "1", "3")])
    fake = Fake(lambda name: ValueError("bad") if name.startswith("objective.beta=3/seed=1") else worth(name))
    run_sweep(plan(tmp_path / "s"), Here(fake), lambda: points)
    assert points.told == {0: 11.5, 1: 21.5, 2: 11.5, 3: None}
    assert len(fake.names) == 6


def test_a_job_and_its_outcome_come_through_as_they_were(tmp_path: Path) -> None:
    job = Job("n", "f", "digits", None, ("a=1",), "x.py:P", 5, 2)
    assert unpacked(packed(job)) == job
    spec = resolve("digits", ["training.epochs=3"])
    assert unpacked(packed(replace(job, target=spec, parts=None))).target.training == spec.training
    outcome = Outcome({"valid": evaluation(1.5)}, 2.0)
    assert repr(understood(answered(packed(job), lambda each: outcome))) == repr(outcome)
    assert understood(answered(packed(job), lambda each: outcome)).scores["valid"].impossible == (3, "x")


@pytest.fixture(scope="module", autouse=True)
def _without_pages() -> Iterator[None]:
    """Pages take a second to draw, and one is drawn where it is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaekit.many.sweep.write_sweep", lambda found: None)
        yield


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("real") / "s"
    return sweep("digits", BETAS, seeds=2, out=folder, sets=TINY, samples=5, jobs=1)


def test_runs_of_a_sweep_are_runs_like_any_other(real: Sweep, tmp_path: Path) -> None:
    trial = real.trials[3]
    run = load_run(real.folder / trial.name)
    alone = train("digits", tmp_path / "alone", sets=[*TINY, "objective.beta=2", "training.seed=1"])
    mine, its = weights(run.model), weights(alone.model)
    assert all((mine[name] == its[name]).all() for name in its)
    assert metrics(run.path) == metrics(alone.path)
    assert trial.outcome is not None
    assert trial.score("test.nll") == pytest.approx(alone.evaluate("test", 5).nll, rel=1e-6)
    assert not real.failed
    assert len(repr(real)) < 200


def test_what_can_not_be_sent_to_another_process_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    for given, said in (
        ({"target": frame}, "a data frame can't be sent"),
        ({"parts": PARTS.extended()}, "parts that are"),
    ):
        with refuses(said):
            sweep(**{"target": "digits", "over": BETAS, "out": tmp_path / "s", "jobs": 2} | given)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [({"jobs": 0}, "jobs is 0"), ({"threads": 0}, "threads is 0"), ({"target": None}, "there is no target")],
)
def test_what_can_not_be_done_is_refused(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with refuses(said):
        sweep(**{"target": "digits", "over": BETAS, "out": tmp_path / "s"} | given)


def test_a_data_frame_is_swept_in_this_process(tmp_path: Path) -> None:
    draws = np.random.default_rng(0).normal(size=(60, 2))
    frame = pd.DataFrame({"a": draws[:, 0], "b": draws.sum(1)})
    found = sweep(frame, ["model.latents.z.size=2"], seeds=1, out=tmp_path / "s", samples=5, epochs=1)
    assert found.best.done
    assert sweep(frame, ["model.latents.z.size=2"], seeds=1, out=tmp_path / "s", samples=9, epochs=1).samples == 9


def test_the_command_ends_with_a_table_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(lambda name: KeyboardInterrupt() if len(fake.names) == 3 else worth(name))
    monkeypatch.setattr("vaekit.many.sweep.carry_out", fake)
    asked = ["sweep", "digits", "--over", "objective.beta=1,2", "--seeds", "2", "--out", tmp_path / "s", "--jobs", "1"]
    result = command(*asked)
    assert result.status == 130
    assert result.err.startswith("vaekit: interrupted; go on with: vaekit sweep digits --over objective.beta=1,2")
    told = done(*asked)
    assert "objective.beta=2/seed=0: done, 2.0 s" in told
    assert "best: objective.beta=1" in told
    assert json.loads(done(*asked, "--json"))["settings"][0]["valid.nll"] == 11.5
    failing = Fake(lambda name: ValueError("never"))
    monkeypatch.setattr("vaekit.many.sweep.carry_out", failing)
    result = command(*asked[:-4], "--out", tmp_path / "f", "--jobs", "1")
    assert result.status == 2
    assert "is done; objective.beta=1/seed=0: never" in result.err


def test_the_page_and_the_file_say_what_was_found(real: Sweep) -> None:
    page = write_sweep(real).read_text()
    assert "objective.beta" in page
    assert page.count("data:image/png") == 2
    assert not re.search("(src|href)=.?http", page)
    values = json.loads((real.folder / FILE).read_text())
    best = values["groups"][0]
    assert best["settings"] == dict(real.best.settings)
    assert best["mean"]["valid.nll"] == pytest.approx(real.best.mean("valid.nll"))
    assert list(real.frame["objective.beta"]) == [dict(each.settings)["objective.beta"] for each in real.groups]


def test_a_run_that_was_cut_off_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = (*TINY[:-1], "training.epochs=2")

    def call() -> Sweep:
        return sweep("digits", ["objective.beta=2"], seeds=1, out=tmp_path / "s", sets=sets, samples=5, jobs=1)

    def cut_off(folder: Path, records: Any) -> None:
        if records[0].epoch == 2:
            raise KeyboardInterrupt
        append(folder, records)

    append = history.append
    monkeypatch.setattr(history, "append", cut_off)
    with pytest.raises(KeyboardInterrupt):
        call()
    monkeypatch.setattr(history, "append", append)
    (trial,) = call().trials
    alone = train("digits", tmp_path / "alone", sets=[*sets, "objective.beta=2", "training.seed=0"])
    assert_same_run(tmp_path / "s" / trial.name, alone.path)
