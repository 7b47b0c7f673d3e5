"""Samples of a run beside its data: in which features, of which sets, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from models_for_tests import refuses
from runs_for_tests import small_run

from vaekit import train
from vaekit.cli import main
from vaekit.cli.judging import OF_SAMPLES
from vaekit.evaluation.sampled import table_of
from vaekit.runs.run import Run
from vaekit.runs.sampled import METRICS, sampled


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("sampled") / "run")


def test_sets_lie_beside_data_in_the_features_that_are_named(run: Run) -> None:
    found = sampled(run, "test", "prdc-inputs,prdc-codes,memorised-inputs,prdc-pixels,prdc-classes", seed=3)
    assert found == sampled(run, "test", "prdc-inputs,prdc-codes,memorised-inputs,prdc-pixels,prdc-classes", seed=3)
    assert (found.split, found.n, found.train) == ("test", 300, 1297)
    own = {(each.name, each.of): each for each in found.sets}
    assert [of for name, of in own if name == "inputs"] == ["samples", "means of samples", "train"]
    # Data beside data are as perfect samples: of 300 of each coverage is 0.97, and density 1.
    perfect = own["inputs", "train"].fidelity
    assert perfect is not None
    assert perfect.coverage.value > 0.85
    assert perfect.density.value == pytest.approx(1, abs=0.15)
    # Two epochs make no digits: samples are noise, of which none lies among the data.
    made = own["inputs", "samples"].fidelity
    assert made is not None
    assert made.coverage.value < 0.2
    near = own["inputs", "samples"].memorised
    assert near is not None
    assert near.ratio.value > 1
    assert own["codes", "samples"].memorised is None
    heads, rows_found = table_of(found)
    assert heads[1:4] == ("samples", "means of samples", "300 of train")
    assert [row[0] for row in rows_found if "inputs" in row[0]][:2] == ["precision, inputs", "recall, inputs"]
    assert "of 300 data" in found.reading
    assert "coverage of 0.97" in found.reading


def test_copies_of_training_data_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that gives training data back is what these numbers are for."""
    x = run.data("train").batch(slice(None)).x

    def copied(self: object, n: int, y: object, draw: bool, seed: int) -> torch.Tensor:
        return x[np.random.default_rng(seed).integers(len(x), size=n)]

    monkeypatch.setattr(type(run.model), "sample", copied)
    found = sampled(run, "test", "memorised-inputs")
    near = found.sets[0].memorised
    assert near is not None
    assert near.distance.value == 0
    assert near.seen.value > 0.9
    assert "known by heart" in found.reading
    assert "nothing says" not in found.reading


def test_what_can_t_be_compared_is_refused_before_anything_is_scored(run: Run, tmp_path: Path) -> None:
    with refuses("unknown metric 'prdc-input' (did you mean 'prdc-inputs'?)"):
        sampled(run, "test", "prdc-input")
    with refuses("n is 10; accepted: 50 or more for prdc-inputs"):
        sampled(run, "test", "prdc-inputs", n=10)
    with refuses("memorised-codes compares training data with others"):
        sampled(run, "train", "memorised-codes")
    with refuses("prdc-inception needs weights, a file of yours that is there"):
        sampled(run, "test", "prdc-inception")
    with refuses("new data has 20 data; prdc-inputs is of 50 at least"):
        sampled(run, run.data("test").x[:20].numpy(), "prdc-inputs")
    conditional = small_run(tmp_path / "given", "model.condition=true", "training.epochs=1")
    with refuses("prdc-codes is of codes, which this model has of data and y; without them there is prdc-inputs"):
        sampled(conditional, "test", "prdc-codes")
    assert sampled(conditional, "test", "prdc-inputs", n=60).sets[0].fidelity is not None


def test_the_command_says_them_and_the_report_shows_them(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert OF_SAMPLES == METRICS
    asked = ["evaluate", str(run.path), "--samples", "2", "-n", "60"]
    names = "prdc-codes,memorised-codes,active-units,overfitting"
    assert main([*asked, "--metrics", names, "--report"]) == 0
    said = capsys.readouterr().out
    for words in ("coverage, codes", "nearest is of training, codes", "variance above 0.01", "gap of the ELBO"):
        assert words in said
        assert words in (run.path / "report.html").read_text(encoding="utf-8")
    assert main([*asked, "--metrics", names, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples_beside_data"]["sets"][0]["fidelity"]["recall"]["value"] <= 1
    assert found["overfitting"]["n_train"] == 60
    assert len(found["active"]["active"]) == len(found["active"]["thresholds"])
    assert main([*asked, "--metrics", "overfitting", "--split", "train"]) == 2
    assert "compares training data with others" in capsys.readouterr().err
    assert main([*asked, "--metrics", "prdc-inputs", "--weights", "lpips=x"]) == 2
    assert "--weights lpips=x is for --metrics of images" in capsys.readouterr().err


def test_codes_of_data_with_holes_are_compared_with_those_of_samples_with_the_same_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that come back as samples, whatever stands in their holes, are perfect samples."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd")).mask(rng.random((300, 4)) < 0.2)
    few = ["model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "training.epochs=1", "data.test=100"]
    run = train(table, tmp_path / "run", sets=few)
    with refuses("data of test lack cells, so that distances are not known; in place of prdc-inputs there is prdc-cod"):
        sampled(run, "test", "prdc-codes,prdc-inputs")
    batch = run.data("test").batch(slice(None))

    def again(self: object, n: int, y: object, draw: bool, seed: int) -> torch.Tensor:
        return torch.where(batch.observed, batch.x, 7.0)  # type: ignore[arg-type]

    monkeypatch.setattr(type(run.model), "sample", again)
    found = sampled(run, "test", "prdc-codes,memorised-codes")
    own = {each.of: each for each in found.sets}
    same = own["samples"].fidelity
    assert same is not None
    assert (same.precision.value, same.recall.value, same.coverage.value) == (1, 1, 1)
    assert own["samples"].memorised is not None
