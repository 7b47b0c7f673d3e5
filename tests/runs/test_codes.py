"""Runs on the codes of other runs: the right codes, of the right data, and refused before anything is written."""

from __future__ import annotations

import json
import shlex
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from commands_for_tests import command, done
from models_for_tests import refuses

from vaekit import train
from vaekit.runs.folder import locked, read_spec
from vaekit.runs.run import Run, load_run
from vaekit.spec.parts import PARTS
from vaekit.spec.recipes import RECIPES

TINY = ["model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latents.z.size=2", "training.epochs=1"]
HIERARCHY = ["model.structure=hierarchical", "model.latents.z.prior=diagonal-normal", "model.latents.w.size=2"]
CLASSIFIER = ["model.classifier={name='mlp', hidden=[8]}", "training.batch_size=128"]
SUPERVISED = "objective.name=semi-supervised"
CODED = ["model.likelihood=normal", "training.epochs=1"]


def tiny(text: str) -> str:
    for old, new in (("600, 600", "8"), ("500", "8"), ("size = 50", "size = 2"), ("epochs = 40", "epochs = 1")):
        text = text.replace(old, new)
    return text.replace("epochs = 100", "epochs = 1").replace('"mnist"', '"digits"')


@pytest.fixture(autouse=True)
def recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes on the digits, of small networks and one epoch."""
    for name in ("m1", "m1-m2"):
        monkeypatch.setitem(RECIPES, name, tiny(RECIPES[name]))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("digits", tmp_path_factory.mktemp("codes") / "first", sets=TINY).path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(words: str, out: Path, attempt: Callable[[], object]) -> None:
    """`attempt` is refused, and everything beside `out` is as it was."""
    before = contents(out.parent)
    with refuses(words):
        attempt()
    assert contents(out.parent) == before


# -- a run's folder ----------------------------------------------------------------------------------------------------


def test_codes_of_a_run_are_the_data_of_another(tmp_path: Path) -> None:
    given = train("digits", tmp_path / "first", epochs=1)
    sets = [*CLASSIFIER, "data.labels=100", f"data.codes={given.path}"]
    run = train("digits", tmp_path / "second", sets=[*sets, "model.likelihood=normal"], epochs=1)
    assert run.model.event_shape == (16,)
    dataset = load_run(run.path).dataset
    codes, labels = given.encode("test")
    np.testing.assert_allclose(dataset.splits["test"].x, codes, rtol=1e-5, atol=1e-5)
    assert np.array_equal(dataset.splits["test"].y, labels)  # type: ignore[arg-type]
    split = load_run(run.path).data("test")
    draws = torch.stack([split.batch(slice(0, 5)).x for _ in range(4000)])
    spread = torch.from_numpy(dataset.splits["test"].noise[:5])  # type: ignore[index]
    torch.testing.assert_close(draws.std(0), spread, rtol=0.06, atol=0)


def test_a_run_that_has_not_finished_gives_no_codes(first: Path, tmp_path: Path) -> None:
    part = Path(shutil.copytree(first, tmp_path / "part"))
    whole = Path(shutil.copytree(first, tmp_path / "whole"))
    run = train("digits", tmp_path / "on", sets=[*CODED, f"data.codes={whole}"])
    (part / "weights.safetensors").unlink()
    words = "has not finished: go on with it first"
    out = tmp_path / "run"
    refused(words, out, lambda: train("digits", out, sets=[*CODED, f"data.codes={part}"]))
    (whole / "weights.safetensors").unlink()
    refused(words, out, lambda: load_run(run.path).dataset)


def test_codes_of_a_run_with_parts_of_ones_own(tmp_path: Path) -> None:
    class Mine(PARTS.priors["standard-normal"]):  # type: ignore[misc, name-defined]
        pass

    parts = PARTS.extended(priors={"mine": Mine})
    own = train("digits", tmp_path / "own", sets=[*TINY, "model.latents.z.prior=mine"], parts=parts)
    run = train("digits", tmp_path / "on", sets=[*CODED, f"data.codes={own.path}"], parts=parts)
    assert load_run(run.path, parts=parts).dataset.name == "codes of digits"


def test_a_run_on_its_own_codes_is_refused(first: Path, tmp_path: Path) -> None:
    below = Path(shutil.copytree(first, tmp_path / "below"))
    on = train("digits", tmp_path / "on", sets=[*CODED, f"data.codes={below}"]).path
    for out, codes in ((below, below), (on, on), (below, on)):
        sets = [*CODED, f"data.codes={codes}"]

        def attempt(out: Path = out, sets: list[str] = sets) -> Run:
            return train("digits", out, sets=sets, overwrite=True)

        refused("is itself among the runs of data.codes", out, attempt)


def test_a_chain_of_runs_that_comes_back_to_itself_is_refused(first: Path, tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        folder = Path(shutil.copytree(first, tmp_path / name))
        values = json.loads((folder / "spec.json").read_text())
        del values["sha256"]
        values["spec"]["data"]["codes"] = str(tmp_path / other)
        (folder / "spec.json").write_text(json.dumps(values))
    words = "is a run on codes that lead back to itself"
    out = tmp_path / "run"
    refused(words, out, lambda: load_run(tmp_path / "a").dataset)
    refused(words, out, lambda: train("digits", out, sets=[*CODED, f"data.codes={tmp_path / 'a'}"]))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.train=200", "data.train is 200, but of the run of data.codes"),
        ("data.label=x", "data.label is 'x', but"),
        ("data.validation=0", "data.validation is 0, but"),
        ("data.test=7", "data.test is 7, but"),
        ("data.domain=grey", "data.domain is 'grey', but"),
        ("data.levels=4", "data.levels is 4, but"),
        ("data.name=mnist", "data.name is 'mnist', but of the run of data.codes"),
        ("data.binarize=static", "binarize is set beside codes"),
        ("data.dequantize=true", "dequantize is set beside codes"),
    ],
)
def test_options_that_are_not_those_of_the_run_are_refused(
    setting: str, words: str, first: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    refused(words, out, lambda: train("digits", out, sets=[*CODED, f"data.codes={first}", setting]))


def table(path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.integers(0, 256, (300, 1, 8, 8)).astype(np.uint8), y=np.arange(300) % 10)
    return path


def test_the_data_are_those_of_the_run_where_nobody_says(tmp_path: Path) -> None:
    own = table(tmp_path / "own.npz")
    sets = [*TINY, "data.binarize=grey", "data.validation=0", "model.likelihood=bernoulli"]
    below = train(own, tmp_path / "below", sets=sets)
    (tmp_path / "on.toml").write_text(f'[data]\ncodes = "{below.path}"\n[model]\nlikelihood = "normal"\n')
    run = train(tmp_path / "on.toml", tmp_path / "on", epochs=1)
    assert (run.spec.data.name, run.spec.data.validation) == (str(own), 0)
    assert {record.split for record in run.history()} == {"train", "test"}
    again = train(run.spec, tmp_path / "again", epochs=2)
    assert again.spec.data == run.spec.data
    assert train(tmp_path / "on.toml", run.path, resume=True, epochs=2).spec.data == run.spec.data
    out = tmp_path / "other"
    refused(
        "data.name is 'digits', but of the run of data.codes",
        out,
        lambda: train(tmp_path / "on.toml", out, data="digits"),
    )


def test_a_home_folder_is_found(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(first.parent))
    run = train("digits", tmp_path / "run", sets=[*CODED, "data.codes=~/first"])
    assert run.spec.data.codes == str(first)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["model.condition=true"], "is conditional; data.codes takes"),
        ([*CLASSIFIER[:1], SUPERVISED], "models labels (model.classifier); data.codes takes"),
        (["model.latents.z.posterior=flow"], "has a posterior without standard deviations"),
        (HIERARCHY, "draws latents one from another; data.codes takes a run that draws them apart"),
    ],
)
def test_runs_whose_codes_are_no_data_are_refused(
    sets: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = train("digits", tmp_path / "below", sets=[*TINY, "training.batch_size=128", *sets]).path
    out = tmp_path / "run"
    refused(words, out, lambda: train("digits", out, sets=[*CODED, f"data.codes={below}"]))
    # As a recipe it is refused before it is trained.
    key, value = sets[0].split("=", 1)
    table, _, key = key.rpartition(".")
    setting = f"[{table}]\n{key} = {value if value[0] in '{t' else repr(value)}\n"
    monkeypatch.setitem(RECIPES, "m1", RECIPES["m1"].replace(f"[{table}]\n", setting))
    refused(words, out, lambda: train("m1-m2", out))


# -- a recipe, trained first -------------------------------------------------------------------------------------------


def test_the_first_of_two_recipes_is_that_recipe(tmp_path: Path) -> None:
    stacked = train("m1-m2", tmp_path / "run")
    alone = train("m1", tmp_path / "alone")
    below = load_run(tmp_path / "run-m1")
    assert below.spec == alone.spec
    assert below.spec.data.validation == 0
    assert set(stacked.dataset.splits) == {"train", "test"}
    ours, its = (dict(run.model.named_parameters()) for run in (below, alone))
    assert all(torch.equal(ours[name], its[name]) for name in its)


def test_what_is_asked_of_the_data_reaches_the_first_run(tmp_path: Path) -> None:
    sets = ["data.train=400", "data.validation=60", "data.test=50", "data.seed=7", "data.labels=30"]
    run = train("m1-m2", tmp_path / "run", sets=[*sets, "training.labelled=20", "training.seed=3"])
    assert {name: len(split) for name, split in run.dataset.splits.items()} == {"train": 400, "valid": 60, "test": 50}
    below = load_run(tmp_path / "run-m1").spec
    assert (below.data.seed, below.data.labels, below.training.seed) == (7, 30, 3)


def test_a_label_reaches_the_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = [",".join([*map(str, rng.normal(size=3).round(3)), "xy"[i % 2]]) for i in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,s", *rows]))
    real = RECIPES["m1"].replace('"bernoulli"', '"normal"').replace('binarize = "grey"\n', "")
    monkeypatch.setitem(RECIPES, "m1", real)
    sets = ["data.label=s", "data.labels=20", "training.labelled=10", "training.batch_size=40"]
    run = train("m1-m2", tmp_path / "run", data=tmp_path / "t.csv", sets=sets)
    assert run.dataset.classes == ("x", "y")


@pytest.mark.parametrize(
    ("target", "sets", "words"),
    [
        ("m1", ["training.seed=9"], "training.seed is 9, not 0"),
        ("m1", ["data.seed=5"], "data.seed is 5, not 0"),
        ("m1", ["data.train=300"], "data.train is 300, not None"),
        ("m1", ["model.latents.z.size=3"], "model.latents.z.size is 3, not 2"),
        ("digits", [*TINY, "training.batch_size=100"], "data.validation is None, not 0"),
    ],
)
def test_another_run_where_the_first_would_be_is_not_taken_for_it(
    target: str, sets: list[str], words: str, tmp_path: Path
) -> None:
    train(target, tmp_path / "run-m1", sets=sets)
    refused(words, tmp_path / "run", lambda: train("m1-m2", tmp_path / "run"))
    train("m1-m2", tmp_path / "run", overwrite=True)
    assert read_spec(tmp_path / "run-m1")[0] == train("m1", tmp_path / "alone").spec


def test_a_first_run_that_is_whole_is_kept(tmp_path: Path) -> None:
    train("m1-m2", tmp_path / "run", data=table(tmp_path / "own.npz"), sets=["training.labelled=20"])
    before = contents(tmp_path / "run-m1")
    shutil.rmtree(tmp_path / "run")
    train("m1-m2", tmp_path / "run", data=tmp_path / "own.npz", sets=["training.labelled=20", "training.epochs=2"])
    assert contents(tmp_path / "run-m1") == before


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["data.labels=5"], "data.labels is 5"),
        (["training.labelled=200"], "training.labelled is 100"),
        (["training.batch_size=5000"], "batch_size is 5000"),
        (["model.likelihood=bernoulli"], "bernoulli"),
        (["objective=dreg"], "DReG is for models"),
        (["training.optimizer={name='adam', lr=3}"], "lr"),
        (["data.binarize=grey"], "binarize is set beside codes"),
        (["pictures.report=['cluster-grid']"], "cluster-grid"),
    ],
)
def test_what_can_be_known_is_refused_before_the_first_run(sets: list[str], words: str, tmp_path: Path) -> None:
    if sets[0].startswith("training.labelled"):
        sets = [*sets, "training.batch_size=100"]
    refused(words, tmp_path / "run", lambda: train("m1-m2", tmp_path / "run", sets=sets))


def test_the_folder_is_looked_at_before_the_first_run(first: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(first, tmp_path / "run"))
    refused("holds a run already", out, lambda: train("m1-m2", out))
    refused("DReG is for models", out, lambda: train("m1-m2", out, sets=["objective=dreg"]))  # what was typed, first
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "mine.txt").write_text("mine")
    refused("is not empty and is no run", out, lambda: train("m1-m2", tmp_path / "strange"))


def test_nothing_is_replaced_while_another_process_is_at_work(tmp_path: Path) -> None:
    out = train("m1-m2", tmp_path / "run").path
    with locked(out):
        before = contents(tmp_path / "run-m1")
        with refuses("another process is training into"):
            train("m1-m2", out, overwrite=True)
        assert contents(tmp_path / "run-m1") == before


@pytest.mark.usefixtures("_no_report")
def test_the_same_command_goes_on_with_the_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "m1", RECIPES["m1"].replace("epochs = 1", "epochs = 3"))
    whole = train("m1-m2", tmp_path / "whole")
    append, seen = "vaekit.runs.history.append", []

    def interrupt(folder: Path, records: list[object]) -> None:
        seen.append(folder)
        if len(seen) == 3:
            raise KeyboardInterrupt

    out = tmp_path / "a run"
    with monkeypatch.context() as patch:
        patch.setattr(append, interrupt)
        result = command("train", "m1-m2", "--out", out, "--samples=1")
    assert result.status == 130
    assert not out.exists()
    assert result.err == f"vaekit: interrupted; go on with: vaekit train m1-m2 --out '{out}' --samples=1\n"
    began = (tmp_path / "a run-m1" / "checkpoints").stat().st_ino
    done(*shlex.split(result.err.split("go on with: ")[1])[1:])
    assert (tmp_path / "a run-m1" / "checkpoints").stat().st_ino == began
    ours, its = (dict(load_run(path).model.named_parameters()) for path in (out, whole.path))
    assert all(torch.equal(ours[name], its[name]) for name in its)


def test_the_current_folder_has_one_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    train("m1-m2", ".")
    assert (tmp_path / "here-m1" / "spec.json").exists()


# -- labels and objectives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["data.labels=100000"], "data.labels is 100000; accepted: 10"),
        (["data.labels=100", "model.condition=true"], "data.labels is 100, but model.condition gives the model all"),
        ([*CLASSIFIER, "data.labels=100", "objective=dreg"], "DReG is for models"),
        ([*CLASSIFIER, "data.labels=100", "objective=stl"], "STL is for models"),
        ([*HIERARCHY, "objective=dreg"], "DReG is for models whose latents are drawn apart"),
        ([*HIERARCHY, "training.mean_pass=true"], "training.mean_pass is for models whose latents are drawn apart"),
        ([*HIERARCHY[::2]], "model.latents.z.prior is 'standard-normal', which is not given the latent above"),
        (
            ["model.classifier=mlp", "model.auxiliary={size=3}", "model.latents.z.prior=vamp"],
            "'vamp' needs an encoder of x and y alone",
        ),
    ],
)
def test_what_would_fail_later_is_refused_at_once(sets: list[str], words: str, tmp_path: Path) -> None:
    refused(words, tmp_path / "run", lambda: train("digits", tmp_path / "run", sets=[*TINY, *sets]))


def test_trying_the_objective_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    for name in ("tried", "untried"):
        if name == "untried":
            monkeypatch.setattr("vaekit.training.task.rehearse", lambda *given: None)
        run = train("digits", tmp_path / name, sets=TINY)
        weights.append(torch.cat([p.flatten() for p in run.model.parameters()]))
    assert torch.equal(*weights)


@pytest.mark.parametrize("text", [RECIPES["m2"], RECIPES["m1-m2"]])
def test_the_classification_of_m2_is_that_of_its_paper(text: str) -> None:
    # alpha = 0.1 N / L on a labelled row's cross-entropy, beside a bound of weight 1.
    values = tomllib.loads(text)
    assert values["data"]["validation"] == 0
    assert values["objective"]["classification"] == pytest.approx(0.1 * 60_000 / values["data"]["labels"])


@pytest.mark.slow
def test_a_classifier_on_codes_knows_classes_from_few_labels(tmp_path: Path) -> None:
    sets = ["data.labels=100", "model.latents.z.size=50", "training.checkpoint_every=100"]
    run = train("digits", tmp_path / "run", sets=sets, epochs=25)
    assert run.evaluate("test", 2).labels["error"] < 0.15  # 8 % here; of standardised codes 11 %
