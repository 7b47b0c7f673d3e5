from __future__ import annotations

import contextlib
import csv
import inspect
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from commands_for_tests import (
    AT_A_TERMINAL,
    PROGRAM,
    QUICK,
    SECONDS,
    Result,
    command,
    done,
    environment,
    process,
    started,
)
from PIL import Image
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from vaekit import cli, load_dataset, train
from vaekit.data import DATASETS
from vaekit.distributions.levels import Levels
from vaekit.distributions.shapes import independent
from vaekit.evaluation.evaluation import evaluate
from vaekit.likelihoods import Likelihood
from vaekit.runs import history
from vaekit.runs.run import Run, load_run
from vaekit.show import report, terminal
from vaekit.spec.parts import PARTS
from vaekit.spec.recipes import RECIPES

REPORT = report.write_report
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


pytestmark = pytest.mark.usefixtures("_no_reports")  # a report takes seconds, and is wanted in one test only


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("cli") / "a run's folder"
    done("train", "digits", "--out", folder, "--samples", "2", *QUICK)
    return load_run(folder)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("cli") / "conditional"
    done("train", "digits", "--out", folder, "--samples", "2", "--set", "model.condition=true", *QUICK)
    return load_run(folder)


def read_csv(path: Path) -> tuple[list[str], np.ndarray]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, np.array(rows, dtype=np.float64)


def epochs(run: Run) -> list[int]:
    return [record.epoch for record in history.read(run.path) if record.split == "train"]


# -- train -------------------------------------------------------------------------------------------------------------


def test_train_says_what_it_does_and_ends_with_the_path_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "write_report", REPORT)
    out = done("train", "digits", "--out", tmp_path / "run", "--samples", "2", *QUICK)
    first, *_, last = out.splitlines()
    assert first == load_run(tmp_path / "run").spec.title
    assert "digits: 1,297 train, 200 valid, 300 test" in out
    assert f"run folder: {tmp_path / 'run'}" in out
    assert "ELBO" in out
    assert "NLL, 2 samples" in out
    assert last == f"report: {tmp_path / 'run' / 'report.html'}"
    assert Path(last.removeprefix("report: ")).read_text(encoding="utf-8").startswith("<!")


def test_train_takes_options_from_set_in_their_order(tmp_path: Path) -> None:
    given = ("--set", "training.seed=3", "--set", "training.seed=4", "--set", "title=Two words = one")
    done("train", "digits", "--out", tmp_path / "run", *QUICK, *given, "--samples=1", "--epochs=1")
    spec = load_run(tmp_path / "run").spec
    assert (spec.training.seed, spec.training.epochs, spec.title) == (4, 1, "Two words = one")


def test_train_resumes_and_overwrites_only_when_asked(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    refused = command("train", "digits", "--out", folder, *QUICK)
    assert refused.status == 2
    assert "--resume" in refused.err
    assert "--overwrite" in refused.err
    done("train", "--resume", "--out", folder, "--epochs", "3", "--samples=1")
    assert epochs(load_run(folder)) == [1, 2, 3]
    done("train", "digits", "--overwrite", "--out", folder, *QUICK, "--epochs=1", "--samples=1")
    assert epochs(load_run(folder)) == [1]


def test_a_short_training_is_scored_by_fewer_draws_which_is_said(tmp_path: Path) -> None:
    out = done("train", "digits", "--out", tmp_path / "run", *QUICK, "--epochs=1")
    more = f"for more: vaekit evaluate {tmp_path / 'run'} --samples 200"
    assert f"scoring 300 data of test by 12 draws each, since the training was short; {more}\n" in out
    assert "NLL, 12 samples" in out


def test_a_finished_run_that_is_resumed_says_so_and_is_scored_again_only_when_asked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    again = ("train", "--resume", "--out", folder)
    assert "NLL, 25 samples" in done(*again), "it has no report yet"
    (folder / "report.html").write_text("as it was")
    for _ in range(2):
        out = done(*again)
        assert f"{folder} is finished, and has its scores; to train it longer: --epochs N; to score it anew: " in out
        assert "NLL" not in out
        assert out.endswith(f"report: {folder / 'report.html'}\n")
    assert "NLL, 3 samples" in done(*again, "--samples=3")
    assert "epoch 3" in done(*again, "--epochs=3")


def test_train_goes_into_a_folder_of_the_targets_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = done("train", "digits", *QUICK, "--samples=1", "--epochs=1")
    assert "run folder: runs/digits\n" in out
    assert load_run("runs/digits").spec.data.name == "digits"


def test_a_long_training_says_now_and_then_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.0)
    out = done("train", "digits", "--out", tmp_path / "run", *QUICK, "--samples=1")
    assert re.findall(r"^epoch (\d): ELBO -\d+\.\d rec .* KL .* rows/s", out, re.MULTILINE) == ["1", "2"]


def test_a_training_that_blows_up_is_one_line_with_its_place(tmp_path: Path) -> None:
    wild = ("--set=training.learning_rate=1e38", "--set=training.optimizer=sgd")
    result = command("train", "digits", "--out", tmp_path / "run", *QUICK, *wild)
    assert result.status == 2
    assert re.fullmatch(
        r"vaekit: epoch 1, step \d+: .*lower the learning rate \(--set training\.learning_rate=…\).*\n", result.err
    )
    said = command("evaluate", tmp_path / "run", "--samples=1").err
    why = result.err.removeprefix("vaekit: ").strip()
    stands = f"as it stands, {tmp_path / 'run'} is at epoch 0 of 2, and diverged: {why}"
    assert said == f"{stands}; --resume would end there again, so train it anew\n"
    done("train", "digits", "--out", tmp_path / "run", *QUICK, "--overwrite", "--samples=1")
    assert command("evaluate", tmp_path / "run", "--samples=1").err == ""


# -- evaluate ----------------------------------------------------------------------------------------------------------


def test_errors_that_one_sample_cannot_tell_are_null_in_json(run: Run) -> None:
    printed = json.loads(done("evaluate", run.path, "--json", "--samples", "1"), parse_constant=pytest.fail)
    assert printed["nll_mc_stderr"] is None
    assert printed["nll_stderr"] > 0


def test_evaluate_prints_one_json_object_of_what_the_library_says(run: Run) -> None:
    out = done("evaluate", run.path, "--json", "--samples", "7", "--seed", "5", "--split", "valid")
    printed = json.loads(out)
    said = evaluate(run.model, run.data("valid"), 7, split="valid", seed=5)
    assert printed == {**asdict(said), "impossible": list(said.impossible)}
    assert printed["pareto_k"] is None  # seven are too few to tell
    names = (
        "split n samples elbo reconstruction kl nll nll_stderr bits_per_dim active_units effective_samples untrusted"
    )
    assert set(names.split()) <= printed.keys()
    assert (printed["split"], printed["n"], printed["samples"]) == ("valid", 200, 7)


def test_evaluate_prints_the_same_numbers_to_read(run: Run) -> None:
    scores = evaluate(run.model, run.data("test"), 3)
    printed = done("evaluate", run.path, "--samples", "3").splitlines()
    assert max(len(line) for line in printed if line.startswith(" ")) <= 80
    lines = [" ".join(line.split()) for line in printed]
    assert lines[0] == "test, 300 data, nats per datum"
    wanted = [
        f"ELBO {scores.elbo:.2f} ± {scores.elbo_stderr:.2f}",
        f"reconstruction {scores.reconstruction:.2f}",
        f"KL {scores.kl:.2f}",
        f"NLL, 3 samples {scores.nll:.2f} ± {scores.nll_stderr:.2f}",
        f"bits per dimension {scores.bits_per_dim:.4f}",
        f"active units {scores.active_units} of 3",
    ]
    assert all(any(line.startswith(each) for line in lines) for each in wanted)
    assert [line for line in lines if "higher is better" in line] == [line for line in lines if "ELBO" in line]
    assert [line.split(",")[0] for line in lines if "lower is better" in line][:1] == ["NLL"]


def test_grey_pixels_as_probabilities_are_said_to_be_no_likelihood(tmp_path: Path) -> None:
    grey = ("--set=data.binarize=grey", "--set=model.likelihood=bernoulli", "--samples=2")
    assert "no likelihood" in done("train", "digits", "--out", tmp_path / "run", *QUICK, *grey)
    assert json.loads(done("evaluate", tmp_path / "run", "--json", "--samples=1"))["is_likelihood"] is False


# -- sample, reconstruct, encode ---------------------------------------------------------------------------------------


def test_sample_writes_what_the_library_draws(run: Run, tmp_path: Path) -> None:
    drawn = run.sample(5, seed=3).numpy()
    for name in ("a.npy", "a.csv", "a.parquet", "a.png"):
        out = done("sample", run.path, "--out", tmp_path / name, "-n", "5", "--seed", "3")
        assert out == f"{tmp_path / name}: 5 x 1 x 8 x 8\n"
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), drawn)
    header, rows = read_csv(tmp_path / "a.csv")
    assert header == [f"x{i}" for i in range(64)]
    np.testing.assert_array_equal(rows, drawn.reshape(5, 64))
    parquet = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "a.parquet")
    np.testing.assert_array_equal(np.stack([column.to_numpy() for column in parquet.columns], 1), drawn.reshape(5, 64))
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image.convert("L")).std() > 10


def test_the_seed_makes_the_sample(run: Run, tmp_path: Path) -> None:
    files = {}
    for name, options in {
        "a": ("--seed=1",),
        "b": ("--seed=1",),
        "c": ("--seed=2",),
        "mean": ("--seed=1", "--mean"),
    }.items():
        done("sample", run.path, "--out", tmp_path / f"{name}.npy", "-n4", *options)
        files[name] = np.load(tmp_path / f"{name}.npy")
    np.testing.assert_array_equal(files["a"], files["b"])
    assert not np.array_equal(files["a"], files["c"])
    np.testing.assert_array_equal(files["mean"], run.sample(4, draw=False, seed=1).numpy())
    assert not np.array_equal(files["mean"], files["mean"].round())


def test_a_label_chooses_the_class_of_a_conditional_run(conditional: Run, tmp_path: Path) -> None:
    done("sample", conditional.path, "--out", tmp_path / "a.npy", "-n6", "--label", "4")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), conditional.sample(6, "4", seed=0).numpy())
    done("sample", conditional.path, "--out", tmp_path / "b.npy", "-n6")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), conditional.sample(6, seed=0).numpy())


@pytest.mark.parametrize("options", [{}, {"samples": 2}, {"draw": True}])
def test_reconstruct_writes_data_and_reconstructions(options: dict[str, Any], conditional: Run, tmp_path: Path) -> None:
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]
    done("reconstruct", conditional.path, "--out", tmp_path / "a.npy", "-n3", "--split=valid", "--seed=2", *flags)
    wanted = conditional.reconstructions("valid", 3, seed=2, **options)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), wanted.flatten(0, 1).numpy())
    done("reconstruct", conditional.path, "--out", tmp_path / "a.png", *flags)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[1] > image.size[0], "16 rows of a few"


def test_reconstruct_shows_several_classes_of_sorted_data_and_the_first_on_request(run: Run, tmp_path: Path) -> None:
    digits = load_dataset("digits").splits["test"]
    np.savez(tmp_path / "sorted.npz", x=digits.x[np.argsort(digits.y)])
    given = ("reconstruct", run.path, "--data", tmp_path / "sorted.npz", "-n", "8", "--out", tmp_path / "a.csv")
    classes = np.sort(digits.y)
    for flags in ((), ("--first",)):
        done(*given, "--overwrite", *flags)
        with (tmp_path / "a.csv").open(encoding="utf-8") as file:
            rows = [int(each["row"]) for each in csv.DictReader(file) if each["which"] == "data"]
        assert (rows == list(range(8))) == bool(flags)
        assert (len(set(classes[rows])) > 3) == (not flags)


def test_encode_writes_codes_with_their_labels(conditional: Run, tmp_path: Path) -> None:
    codes, labels = conditional.encode("train")
    done("encode", conditional.path, "--out", tmp_path / "a.csv", "--split=train")
    header, rows = read_csv(tmp_path / "a.csv")
    assert header == ["row", "z.0", "z.1", "z.2", "label"]
    np.testing.assert_array_equal(rows[:, 1:4].astype(np.float32), codes)
    np.testing.assert_array_equal(rows[:, 4], labels)
    done("encode", conditional.path, "--out", tmp_path / "a.npy", "--draw", "--seed=4")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), conditional.encode(draw=True, seed=4)[0])


def test_encode_keeps_every_code_and_names_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = ["ant", "cat"] * 50
    lines = [f"{a},{b},{label}" for (a, b), label in zip(rng.normal(size=(100, 2)), labels, strict=True)]
    (tmp_path / "data.csv").write_text("a,b,kind\n" + "\n".join(lines))
    sizes = {"z": 11, "z1": 2, "y": 2}
    latents = [f"--set=model.latents.{name}.size={size}" for name, size in sizes.items()]
    given = (*QUICK, *latents, "--set=data.label=kind", "--set=training.batch_size=50", "--samples=1")
    done("train", tmp_path / "data.csv", "--out", tmp_path / "run", *given)
    done("encode", tmp_path / "run", "--out", tmp_path / "codes.csv", "--split=train")
    with (tmp_path / "codes.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["row", *(f"{name}.{i}" for name, size in sizes.items() for i in range(size)), "label"]
    codes, y = load_run(tmp_path / "run").encode("train")
    np.testing.assert_array_equal(np.array([row[1:-1] for row in rows], np.float32), codes)
    assert [row[-1] for row in rows] == [("ant", "cat")[each] for each in y]
    assert [labels[int(row[0])] for row in rows] == [row[-1] for row in rows], "by their rows in the file"


def test_a_table_keeps_its_columns_and_covariates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2))
    np.savez(tmp_path / "data.npz", x=x, y=x + rng.normal(size=(150, 2)))
    (tmp_path / "data.csv").write_text("a,b c\n" + "\n".join(f"{a:.5f},{b:.5f}" for a, b in x))
    for name, extra in (("data.npz", ("--set=model.condition=true",)), ("data.csv", ())):
        done(
            "train",
            tmp_path / name,
            "--out",
            tmp_path / name[-3:],
            *QUICK,
            "--set=training.batch_size=50",
            "--samples=1",
            *extra,
        )
    done("encode", tmp_path / "npz", "--out", tmp_path / "codes.csv")
    header, rows = read_csv(tmp_path / "codes.csv")
    assert header == ["row", "z.0", "z.1", "z.2", "y0", "y1"]
    np.testing.assert_array_equal(rows[:, 4:].astype(np.float32), load_run(tmp_path / "npz").encode()[1])
    done("sample", tmp_path / "csv", "--out", tmp_path / "drawn.csv", "-n3")
    assert read_csv(tmp_path / "drawn.csv")[0] == ["a", "b c"]


def test_every_command_that_takes_data_takes_what_is_said_anew_of_them():
    for each in cli.app.registered_commands:
        names = set(inspect.signature(each.callback).parameters)  # type: ignore[arg-type]
        if {"run", "runs"} & names and {"data", "file", "shards"} & names:
            assert "sets" in names, each.callback


# -- files that are there already --------------------------------------------------------------------------------------

WRITES = {
    "evaluate": "a.csv",
    "sample": "a.npy",
    "reconstruct": "a.npy",
    "encode": "a.csv",
    "impute": "a.csv",
    "detect": "a.csv",
    "synthesize": "a.csv",
    "plot": "a.png",
    "score": "a.parquet",
    "compare": "a.html",
    "explore": "a.html",
    "export": "a",
}
"""What each command writes; the others that take --out write runs."""
RUNS = {"train", "refit-prior", "sweep"}


def test_every_command_that_writes_can_be_told_to_overwrite() -> None:
    options = {name: {flag for each in made.params for flag in each.opts} for name, made in COMMANDS.items()}
    assert {name for name, flags in options.items() if "--out" in flags} == set(WRITES) | RUNS
    assert {name for name, flags in options.items() if "--overwrite" in flags} == set(WRITES) | RUNS - {"sweep"}


@pytest.mark.parametrize("name", WRITES)
def test_no_command_replaces_what_is_there_unless_it_is_told_to(name: str, run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", load_dataset("digits").splits["test"].x[:5])
    path = mine = tmp_path / WRITES[name]
    if not path.suffix:
        path.mkdir()
        mine = path / "mine"
    mine.write_text("mine")
    also = {"score": [tmp_path / "x.npy"], "compare": [run.path], "plot": ["--what", "samples"]}.get(name, [])
    result = command(name, run.path, *also, "--out", path)
    assert (result.status, result.out) == (2, "")
    assert f"{path} is there already; name another, or add --overwrite to replace it" in result.err
    assert mine.read_text() == "mine"


def test_what_is_there_is_replaced_on_request(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", load_dataset("digits").splits["test"].x[:5])
    for name, shard in (("sample", []), ("score", [tmp_path / "x.npy"])):
        path, few = tmp_path / WRITES[name], ["--samples=2"] if shard else ["-n3"]
        path.write_text("mine")
        done(name, run.path, *shard, "--out", path, "--overwrite", *few)
        assert path.read_bytes() != b"mine"
    refused = command("evaluate", run.path, "--overwrite")
    assert (refused.status, refused.out) == (2, "")
    assert "--overwrite is for a file; give --out name.csv too" in refused.err


# -- lists -------------------------------------------------------------------------------------------------------------


def test_recipes_are_listed_and_printed_to_be_edited(tmp_path: Path) -> None:
    said = done("recipes")
    assert [name for name in RECIPES if name in said] == list(RECIPES)
    tables = json.loads(done("recipes", "--json"))
    assert list(tables) == list(RECIPES)
    (tmp_path / "mine.toml").write_text(done("recipes", "digits"), encoding="utf-8")
    done("train", tmp_path / "mine.toml", "--out", tmp_path / "run", *QUICK, "--samples=1")
    assert json.loads(done("recipes", "digits", "--json")) == tables["digits"]
    assert load_run(tmp_path / "run").spec.title == tables["digits"]["title"]


def test_datasets_are_listed() -> None:
    listed = json.loads(done("datasets", "--json"))
    assert [row["name"] for row in listed] == list(DATASETS)
    assert [row["name"] for row in listed if row["here"]][:1] == ["digits"]
    said = done("datasets")
    assert all(name in said for name in DATASETS)
    assert json.loads(done("datasets", "digits", "--json")) == listed[:1]
    assert "CC BY 4.0" in done("datasets", "digits")


def test_parts_are_listed_with_their_options() -> None:
    listed = json.loads(done("parts", "--json"))
    for family in (
        "encoders",
        "decoders",
        "posteriors",
        "priors",
        "likelihoods",
        "objectives",
        "schedules",
        "optimizers",
    ):
        assert [row["name"] for row in listed if row["family"] == family] == list(getattr(PARTS, family))
        assert json.loads(done("parts", family, "--json")) == [row for row in listed if row["family"] == family]
    (mlp,) = [row for row in listed if (row["family"], row["name"]) == ("encoders", "mlp")]
    assert mlp["options"] == {
        "hidden": [512],
        "activation": "relu",
        "normalization": None,
        "skip": False,
        "gated": False,
        "dropout": 0.0,
    }
    assert "vamp" in done("parts", "priors")


def test_what_is_no_terminal_gets_a_row_a_line() -> None:
    header, *lines = done("parts").splitlines()
    listed = json.loads(done("parts", "--json"))
    assert header.split() == ["family", "name", "summary", "options"]
    assert len(lines) == len(listed)
    for line, row in zip(lines, listed, strict=True):
        assert line.startswith(row["family"])
        assert row["summary"] in line


def test_parts_are_listed_whatever_their_options() -> None:
    def made(latent: int, width: float, shape: object = complex(1, 2)) -> nn.Module:
        return Wide(latent, width)

    listed = json.loads(done("parts", "priors", "--json", parts=PARTS.extended(priors={"made": made})))
    assert listed[-1]["options"] == {"width": None, "shape": "(1+2j)"}


# -- parts of one's own ------------------------------------------------------------------------------------------------


class Tilted(Likelihood):
    """P(x_i = k) proportional to exp(k l_i), l the decoder's output."""

    domains = ("grey",)

    def forward(self, parameters: Tensor) -> Distribution:
        (slope,) = self.split(parameters)
        return self.event(Levels(slope[..., None] * torch.arange(self.domain.levels or 0)))


class Wide(nn.Module):
    """p(z) = N(z; 0, width² I)."""

    def __init__(self, latent: int, width: float = 2.0) -> None:
        super().__init__()
        self.latent, self.width = latent, width

    def forward(self, y: Tensor | None = None) -> Distribution:
        lead = () if y is None else y.shape[:-1]
        return independent(Normal(torch.zeros(*lead, self.latent), self.width, validate_args=False))


MINE = PARTS.extended(likelihoods={"tilted": Tilted}, priors={"wide": Wide})


def test_parts_from_outside_the_package_work_in_every_command(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sets = ("--set=model.likelihood=tilted", "--set=model.latents.z.prior={name='wide', width=3.0}")
    done("train", "digits", "--out", folder, *QUICK, *sets, "--samples=2", parts=MINE)
    scores = json.loads(done("evaluate", folder, "--json", "--samples=2", parts=MINE))
    run = load_run(folder, parts=MINE)
    assert run.model.priors["z"].width == 3.0
    assert scores["elbo"] == pytest.approx(evaluate(run.model, run.data("test"), 2).elbo, rel=1e-5)
    for name, argv in {"s.npy": ("sample", "-n3"), "r.png": ("reconstruct",), "e.csv": ("encode",)}.items():
        done(argv[0], folder, "--out", tmp_path / name, *argv[1:], parts=MINE)
    assert np.load(tmp_path / "s.npy").max() <= 16
    done("train", "--resume", "--out", folder, "--epochs=3", "--samples=2", parts=MINE)
    assert {"tilted", "wide"} <= {row["name"] for row in json.loads(done("parts", "--json", parts=MINE))}
    refused = command("evaluate", folder)
    assert refused.status == 2
    assert "unknown likelihood 'tilted'" in refused.err
    assert "tilted" not in done("parts")


def test_a_part_of_ones_own_is_checked_as_all_are(tmp_path: Path) -> None:
    sets = ("--set=model.likelihood=tilted", "--set=data.binarize=static")
    result = command("train", "digits", "--out", tmp_path / "run", *QUICK, *sets, parts=MINE)
    assert "likelihood 'tilted' is a density of grey data, but the data are binary 0/1" in result.err
    result = command(
        "train", "digits", "--out", tmp_path / "run", "--set=model.latents.z.prior={name='wide', wdith=1}", parts=MINE
    )
    assert "unknown option of prior 'wide': 'wdith' (did you mean 'width'?)" in result.err


# -- the program -------------------------------------------------------------------------------------------------------


def test_without_arguments_the_program_shows_its_help() -> None:
    assert done() == done("--help")


def test_help_shows_every_command_and_every_option_explained() -> None:
    overall = done("--help")
    for name, each in COMMANDS.items():
        assert re.search(rf"\b{name}\b", overall)
        assert each.help.rstrip().endswith("."), name
        shown = done(name, "--help")
        for parameter in each.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"
            assert all(option in shown for option in parameter.opts if option.startswith("-")), (
                f"{name} {parameter.name}"
            )


LIGHT = (
    [],
    ["--help"],
    ["train", "--help"],
    ["recipes"],
    ["recipes", "digits"],
    ["datasets"],
    ["datasets", "mnist", "--json"],
)


def test_help_and_lists_do_not_wait_for_torch() -> None:
    script = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count())); sys.modules['torch'] = None;"
        f"from vaekit.cli import main; sys.exit(sum(map(main, {LIGHT!r})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "fashion-mnist" in result.stdout
    assert int(result.stdout.split()[-1]) > 10_000, "at its end a process does not look through all objects once more"


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [({}, "1000 None"), ({"GOMP_SPINCOUNT": "7"}, "7 None"), ({"OMP_WAIT_POLICY": "active"}, "None active")],
    ids=["nothing", "a count", "a policy"],
)
def test_threads_wait_asleep_unless_the_user_chose(chosen: dict[str, str], wanted: str, tmp_path: Path) -> None:
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    # What torch finds in its environment when it is imported: here it is no more than that.
    (tmp_path / "torch.py").write_text(f"import os; print(*map(os.environ.get, {names})); raise SystemExit")
    around = {name: value for name, value in environment().items() if name not in names} | chosen
    around["PYTHONPATH"] = f"{tmp_path}:{around['PYTHONPATH']}"
    found = subprocess.run([*PROGRAM, "parts"], env=around, capture_output=True, text=True, check=True)
    assert found.stdout == f"{wanted}\n"


def test_a_command_as_a_process_keeps_results_and_errors_apart() -> None:
    """Of one that imports torch: what is stopped by Ctrl-C, below, says no more than its own line."""
    good = process("datasets", "mnist", "--json")
    assert (good.returncode, good.stderr) == (0, "")
    assert [row["name"] for row in json.loads(good.stdout)] == ["mnist"]
    bad = process("recipes", "digist")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("vaekit: ")
    assert bad.stderr.count("\n") == 1


def test_a_reader_that_stops_reading_is_no_error() -> None:
    with started(*PROGRAM, "recipes", "--json", text=False) as child:
        assert child.stdout is not None
        child.stdout.close()
        _, err = child.communicate(timeout=SECONDS)
    assert (child.returncode, err) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("argv", [["recipes", "digits"], ["datasets", "--json"]])
def test_output_to_a_full_disk_is_one_line(argv: list[str]) -> None:
    with open("/dev/full", "w") as full:
        result = process(*argv, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (result.returncode, result.stderr) == (2, "vaekit: No space left on device\n")


def test_output_in_an_encoding_that_lacks_characters_is_written_in_those_that_it_has() -> None:
    written = io.BytesIO()
    with io.TextIOWrapper(written, "ascii") as out:
        with contextlib.redirect_stdout(out):
            assert cli.main(["datasets"]) == 0
            assert cli.main(["recipes", "nö"]) == 2
        assert out.errors == "strict"
        out.flush()
        assert b"1x28x28" in written.getvalue()


def test_output_that_is_closed_from_the_start_is_no_error() -> None:
    with contextlib.redirect_stdout(None):  # as Python has it then
        assert cli.main(["datasets"]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a folder that is in use stays")
def test_a_current_folder_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = "vaekit: the current folder has been deleted; change to another, with cd, and try again\n"
    assert command("recipes") == Result(2, "", said)


@contextlib.contextmanager
def unread() -> Iterator[io.TextIOWrapper]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield stream


def test_a_training_whose_output_nobody_reads_ends_as_one_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder below the user's home, which shells do not put into `--out=~/run`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    folder, err = tmp_path / "run", io.StringIO()
    with unread() as pipe, contextlib.redirect_stdout(pipe), contextlib.redirect_stderr(err):
        status = cli.main(["train", "digits", "--out=~/run", *QUICK])
    again = f"vaekit train --resume --out {shlex.quote(str(folder))}"
    assert (status, err.getvalue()) == (1, f"vaekit: nobody reads the output any more; go on with: {again}\n")
    assert epochs(train(out="~/run", resume=True)) == epochs(load_run("~/run")) == [1, 2]
    assert command("recipes", "none").out == ""


def test_an_error_that_nobody_reads_has_its_status() -> None:
    with unread() as pipe, contextlib.redirect_stdout(pipe), contextlib.redirect_stderr(pipe):
        assert cli.main(["recipes", "none"]) == 2
    assert command("recipes", "other").err.startswith("vaekit: unknown recipe 'other'")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_a_run_that_is_stopped_goes_on_with_the_command_that_is_named(tmp_path: Path) -> None:
    """By Ctrl-C; of one that is killed in the background, see training/test_within.py."""
    folder = tmp_path / "my run"
    # An epoch is a step, of which there are too few for loops to be compiled.
    slow = ("--set=training.batch_size=1297", "--epochs=2900")
    with started(*AT_A_TERMINAL, "train", "digits", "--out", folder, *QUICK, *slow) as child:
        await_epochs(folder, 3)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=SECONDS)
    assert child.returncode == 130
    assert err == f"vaekit: interrupted; go on with: vaekit train --resume --out {shlex.quote(str(folder))}\n"
    assert "Ctrl-C does nothing here" not in out
    assert not list(folder.rglob("*.tmp"))
    done_before = len({record.epoch for record in history.read(folder)})
    assert done_before >= 3
    _, *named = shlex.split(err.split("go on with: ")[1])
    done(*named, f"--epochs={done_before + 2}", "--samples=1")
    assert epochs(load_run(folder)) == list(range(1, done_before + 3))


def await_epochs(folder: Path, number: int) -> None:
    """Return when a training in another process has done so many epochs more."""
    until, before = time.monotonic() + SECONDS, len(history.read(folder))
    while len(history.read(folder)) < before + 2 * number:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_ctrl_c_while_the_program_is_imported_says_so_in_a_line() -> None:
    script = """
import sys
class Interrupting:
    def find_spec(self, name, *rest):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from vaekit.__main__ import main
sys.exit(main())
"""
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "vaekit: interrupted\n")


def test_ctrl_c_in_another_command_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vaekit.runs.run.evaluate", interrupt)
    result = command("evaluate", run.path)
    assert (result.status, result.out, result.err) == (130, "", "vaekit: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGHUP")
def test_a_terminal_that_closes_interrupts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.runs.run.evaluate", lambda *given, **options: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which a suite that is started by nohup ignores
    try:
        assert command("evaluate", run.path) == Result(129, "", "vaekit: the terminal has closed\n")
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_errors_keep_their_traceback_when_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEKIT_DEBUG", "1")
    with pytest.raises(ValueError, match="unknown recipe"):
        command("recipes", "none")


def test_a_fault_of_the_programs_own_is_not_disguised(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("vaekit.runs.run.evaluate", broken)
    with pytest.raises(KeyError):
        command("evaluate", run.path)


def test_what_the_data_were_taken_for_is_said_before_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", X=rng.integers(0, 256, (40, 2, 2)), labels=np.arange(40) % 2, mean=np.zeros(2))
    given = (*QUICK, "--set=training.batch_size=20", "--samples=1")
    printed = done("train", tmp_path / "d.npz", "--out", tmp_path / "run", *given)
    assert "d: 32 train, 4 valid, 4 test; grey levels 0..255, 2 classes" in printed
    for words in ("X is train, labels its labels", "pixels are whole numbers 0..255", "not used: mean"):
        assert words in printed
