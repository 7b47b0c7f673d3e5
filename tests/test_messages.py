"""What is printed and said: readable, and of use where it is read."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from commands_for_tests import QUICK, command, done
from runs_for_tests import small_run
from specs_for_tests import parse_toml

import vaekit
from vaekit.models.given import class_of
from vaekit.runs.run import Run
from vaekit.show import report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("messages") / "run")


def test_runs_and_scores_are_shown_in_lines(run: Run) -> None:
    scores = run.evaluate("test", 3)
    shown = repr(scores).splitlines()
    assert shown[0] == "Evaluation of test, 300 data, nats per datum"
    assert any(line.split()[:2] == ["ELBO", f"{scores.elbo:.2f}"] for line in shown)
    shown = repr(run).splitlines()
    assert shown[0].startswith(f"Run {str(run.path)!r}")
    assert {"latent z, 3: q diagonal-normal, p standard-normal", "likelihood binomial", "epochs 2 of 2"} <= {
        " ".join(line.split()) for line in shown
    }
    assert max(map(len, shown)) < 200


def test_the_help_of_functions_is_readable() -> None:
    for function in (vaekit.train, vaekit.fit, vaekit.evaluate, vaekit.load_run, vaekit.compare):
        assert "<" not in str(inspect.signature(function)), function
        assert len(str(inspect.signature(function))) < 700
        assert inspect.getdoc(function)


def test_what_a_training_begins_with_names_the_likelihood_and_what_it_is_a_density_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "write_report", lambda run, scores: run.path / "report.html")
    out = done("train", "digits", "--out", tmp_path / "run", *QUICK, "--samples=1", "--epochs=1")
    assert "likelihood: binomial, a density of grey levels 0..16 (as are " in out
    binary = ("--set=data.binarize=static", "--set=model.likelihood=none", "--samples=1", "--epochs=1")
    out = done("train", "digits", "--out", tmp_path / "binary", *QUICK, *binary)
    assert "likelihood: bernoulli, a density of binary 0/1" in out


def test_parts_are_listed_with_options_as_they_are_set() -> None:
    rows = {line.split()[1]: line for line in done("parts", "posteriors").splitlines()[1:]}
    assert "log_variance_clamp=[-10,10]" in rows["diagonal-normal"]
    assert "straight_through=false" in rows["relaxed-categorical"]
    for row in rows.values():
        for text in re.findall(r"(\w+=(?:\[.*?\]|[^, ]+))", row.split("  ")[-1]):
            if text.split("=")[1]:
                parse_toml(
                    "", [f"model.latents.z.posterior.name={row.split()[1]}", f"model.latents.z.posterior.{text}"]
                )


@pytest.mark.parametrize(
    ("argv", "of"),
    [
        (["sample", "run", "--label"], "sample"),
        (["train", "digits", "--epochs", "many"], "train"),
        (["evaluate", "--sampels=3"], "evaluate"),
        (["smaple"], ""),
        (["--none"], ""),
    ],
)
def test_an_error_of_a_command_points_to_the_help_of_that_command(argv: list[str], of: str) -> None:
    assert command(*argv).err.endswith(f"; see vaekit {of} --help\n".replace("  ", " "))


def test_too_many_samples_name_their_option(run: Run, tmp_path: Path) -> None:
    result = command("sample", run.path, "--out", tmp_path / "a.npy", "-n", "100000000000")
    assert result.status == 2
    assert "-n" in result.err
    assert not (tmp_path / "a.npy").exists()


def test_a_label_of_a_thousand_classes_is_not_answered_with_all_of_them() -> None:
    with pytest.raises(ValueError, match=r"unknown label 'x'; accepted: c0, c1, c2, .* and 976 more") as caught:
        class_of("x", tuple(f"c{i}" for i in range(1000)))
    assert len(str(caught.value)) < 300
