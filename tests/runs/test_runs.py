from __future__ import annotations

import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import refuses
from rounding_for_tests import close_in_ulps
from runs_for_tests import SMALL, equal, metrics, small_run, weights
from safetensors import safe_open
from safetensors.torch import save_file
from specs_for_tests import parse_toml

from vaekit import Callbacks, train
from vaekit.data import load
from vaekit.errors import RunError
from vaekit.evaluation.scores import Evaluation
from vaekit.interop.export import export
from vaekit.models.given import class_of
from vaekit.networks.mlp import MLP
from vaekit.objectives.elbo import ELBO
from vaekit.runs import history
from vaekit.runs.folder import CONTENTS, claim
from vaekit.runs.given import fingerprint
from vaekit.runs.run import Run, load_run
from vaekit.show.report import write_report
from vaekit.spec.keys import Spec
from vaekit.spec.parts import PARTS
from vaekit.spec.recipes import RECIPES
from vaekit.spec.targets import resolve
from vaekit.training.checkpoint import Checkpoints
from vaekit.training.records import Epoch
from vaekit.training.validation import Validation
from vaekit.training.weights import load_tensors, save_tensors

UNIT = "model.likelihood=continuous-bernoulli"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Run:
    sets = ("model.condition=true", "training.epochs=15", "training.learning_rate=1e-2")
    return small_run(tmp_path_factory.mktemp("runs") / "conditional", *sets)


def write_table(path: Path, shift: float = 0.0) -> Path:
    rows = np.random.default_rng(0).normal(size=(120, 2)) + shift
    lines = [f"{a:.4f},{b:.4f},{('ant', 'bee', 'cat')[i % 3]}" for i, (a, b) in enumerate(rows)]
    path.write_text("\n".join(["left,right,kind", *lines]), encoding="utf-8")
    return path


def train_table(path: Path, folder: Path, *sets: str, **options: Any) -> Run:
    return train(path, folder, sets=[*SMALL, "data.label=kind", "training.batch_size=20", *sets], **options)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what a run is -----------------------------------------------------------------------------------------------------


def test_a_run_is_its_files_and_no_others(run: Run) -> None:
    files = ["best.safetensors", "epoch-000001.safetensors", "epoch-000002.safetensors"]
    assert sorted(os.listdir(run.path / "checkpoints")) == files
    assert sorted(os.listdir(run.path)) == ["checkpoints", "metrics.jsonl", "spec.json", "weights.safetensors"]


def test_a_loaded_run_is_the_trained_one(run: Run) -> None:
    loaded = load_run(run.path)
    assert (loaded.spec, loaded.schema) == (run.spec, run.schema)
    assert equal(weights(loaded.model), weights(run.model))
    assert not loaded.model.training
    assert not run.model.training
    (codes, labels), (wanted, same) = loaded.encode("valid"), run.encode("valid")
    assert close_in_ulps(codes, wanted)
    np.testing.assert_array_equal(labels, same)


@contextmanager
def default(what: str) -> Iterator[None]:
    """Inside, tensors are made elsewhere, or of another type; "meta" stands for a device that others are not on."""
    try:
        torch.set_default_device("meta") if what == "meta" else torch.set_default_dtype(torch.float64)
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("what", ["meta", "float64"])
def test_what_torch_makes_by_default_is_nothing_to_a_run(what: str, run: Run, tmp_path: Path) -> None:
    with default(what):
        again = small_run(tmp_path / "run")
        loaded = load_run(tmp_path / "run")
        found = loaded.evaluate("test", samples=20)
        export(loaded, tmp_path / "export", "torch", ["encode"])
    assert (again.path / "weights.safetensors").read_bytes() == (run.path / "weights.safetensors").read_bytes()
    assert equal(weights(loaded.model), weights(run.model))
    assert found.nll == run.evaluate("test", samples=20).nll


def test_the_history_has_each_epoch_of_each_split_in_order(run: Run) -> None:
    assert [(r.epoch, r.step, r.split, r.rows) for r in run.history()] == [
        (epoch, 13 * epoch, split, rows) for epoch in (1, 2) for split, rows in (("train", 1297), ("valid", 200))
    ]


def test_a_moved_run_loads(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "moved")
    assert equal(weights(load_run(tmp_path / "moved").model), weights(run.model))


@pytest.mark.parametrize("line", ["5", "[]", "null", "not json", '{"epoch": 1}', '{"epoch": 2, "step": 26, "spl'])
def test_lines_that_are_no_records_are_left_out(line: str, run: Run, tmp_path: Path) -> None:
    whole = (run.path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(whole + line)
    assert metrics(tmp_path) == metrics(run.path)


# -- asking a run ------------------------------------------------------------------------------------------------------


def test_encode_gives_posterior_means_or_draws_by_their_seed(run: Run) -> None:
    means, labels = run.encode("test")
    data = load("digits").splits["test"]
    np.testing.assert_allclose(means, run.model.encode(data.x).numpy(), rtol=1e-5, atol=1e-6)
    assert labels is not None
    np.testing.assert_array_equal(labels, data.y)
    first, second, other = (run.encode("test", draw=True, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)
    np.testing.assert_array_equal(means, run.encode("test", seed=3)[0])


def test_reconstructions_have_the_data_first(run: Run) -> None:
    one = run.reconstructions("test", 4, first=True)
    assert one.shape == (4, 2, 1, 8, 8)
    data = torch.as_tensor(load("digits").splits["test"].x[:4]).float()
    assert torch.equal(one[:, 0], data)
    torch.testing.assert_close(one[:, 1], run.model.reconstruct(data))
    several = run.reconstructions("test", 4, samples=3, first=True, seed=0)
    assert several.shape == (4, 4, 1, 8, 8)
    assert torch.equal(several[:, 0], data)
    torch.testing.assert_close(several[:, 1:].transpose(0, 1), run.model.reconstruct(data, samples=3, seed=0))
    assert run.reconstructions("test", 10_000).shape == (300, 2, 1, 8, 8)


def test_samples_of_a_conditional_run_are_of_the_class_asked(conditional: Run) -> None:
    data = load("digits").splits["train"]
    assert data.y is not None
    centers = torch.stack([torch.as_tensor(data.x[data.y == k]).float().mean(0) for k in range(10)])
    for label in ("0", "1", "7"):
        mean = conditional.sample(200, label, draw=False, seed=0).mean(0)
        assert int((centers - mean).square().sum((1, 2, 3)).argmin()) == int(label)


def test_a_conditional_run_draws_the_classes_in_turn(conditional: Run) -> None:
    turn = conditional.sample(20, draw=False, seed=0)
    assert close_in_ulps(turn, conditional.model.sample(20, torch.arange(20) % 10, draw=False, seed=0))


def test_classes_are_asked_by_name_or_by_number(tmp_path: Path) -> None:
    run = train_table(write_table(tmp_path / "t.csv"), tmp_path / "run", "model.condition=true")
    assert run.schema.classes == ("ant", "bee", "cat")
    assert close_in_ulps(run.sample(5, "bee", seed=0), run.sample(5, "1", seed=0))
    assert not torch.equal(run.sample(5, "bee", seed=0), run.sample(5, "cat", seed=0))
    for wrong in ("bea", "3", "-1", "1.0"):
        with pytest.raises(ValueError, match=f"unknown label '{wrong}'.*; accepted: ant, bee, cat"):
            run.sample(5, wrong)


def test_a_run_conditioned_on_covariates_samples_at_those_of_its_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(100, 2))
    np.savez(tmp_path / "data.npz", x=y + rng.normal(size=(100, 2)), y=y)
    run = train(
        tmp_path / "data.npz", tmp_path / "run", sets=[*SMALL, "training.batch_size=50", "model.condition=true"]
    )
    shown = run.data("train").y
    assert shown is not None
    wanted = run.model.sample(90, torch.cat([shown, shown])[:90], draw=False, seed=0)
    assert close_in_ulps(run.sample(90, draw=False, seed=0), wanted)
    with pytest.raises(ValueError, match="is conditioned on covariates, which have no classes"):
        run.sample(2, "0")


def test_covariates_are_trained_on_in_any_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.column_stack([rng.normal(size=200), rng.integers(0, 2, 200)])
    x = y + rng.normal(size=(200, 2))
    sets = [*SMALL, "training.batch_size=50", "model.condition=true"]
    runs = []
    for name, given in (("small", y), ("large", y * [1000.0, 1] + [2000.0, 0])):
        np.savez(tmp_path / f"{name}.npz", x=x, y=given)
        runs.append(train(tmp_path / f"{name}.npz", tmp_path / name, sets=sets))
    losses = [[record.terms["loss"] for record in each.history()] for each in runs]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    units = runs[1].schema.condition_location, runs[1].schema.condition_scale
    assert units[0][0] == pytest.approx(2000, abs=250)
    assert units[1][0] == pytest.approx(1000, rel=0.2)
    assert (units[0][1], units[1][1]) == (0.0, 1.0)
    again = load_run(runs[1].path)
    np.testing.assert_array_equal(again.encode("test")[0], runs[1].encode("test")[0])


def test_a_run_from_before_covariates_had_units_takes_them_as_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.eye(50, 3) + np.arange(50)[:, None], y=np.arange(50.0) + 100)
    sets = [*SMALL, "training.batch_size=20", "model.condition=true"]
    run = train(tmp_path / "data.npz", tmp_path / "run", sets=sets)
    values = json.loads((tmp_path / "run/spec.json").read_text())
    del values["sha256"]
    for name in ("condition_location", "condition_scale"):
        assert len(values["schema"].pop(name)) == 1
    (tmp_path / "run/spec.json").write_text(json.dumps(values))
    old = load_run(tmp_path / "run").model
    batch = run.data("test").batch(slice(0, 4))
    x, y = batch.x, batch.y
    assert y is not None
    scaled = (y - run.model.condition_location) / run.model.condition_scale
    torch.testing.assert_close(old.encode(x, scaled), run.model.encode(x, y))


def test_a_label_for_a_run_that_is_not_conditional_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match=r"label '3' was given, but .* is not conditional"):
        run.sample(2, "3")


# -- where runs go -----------------------------------------------------------------------------------------------------


def test_runs_by_default_names_do_not_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [train("digits", sets=SMALL, epochs=1).path for _ in range(3)]
    assert paths == [Path("runs/digits"), Path("runs/digits-2"), Path("runs/digits-3")]
    assert {r.epoch for path in paths for r in history.read(path)} == {1}


def test_a_target_without_a_name_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    folder = tmp_path / "faces"
    (folder / "sub").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / "sub" / f"{i}.png")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(folder)
    paths = {}
    for target in (".", "../faces"):
        monkeypatch.chdir(folder)
        spec = resolve(target, [*SMALL, "model.latents.z.maps=false", "training.batch_size=10"])
        monkeypatch.chdir(work)
        paths[target] = train(spec, epochs=1).path
    assert paths == {".": Path("runs/faces"), "../faces": Path("runs/faces-2")}


@pytest.mark.parametrize("sets", [(), ("training.ema=0.9",)])
def test_a_run_that_was_cut_off_loads_as_its_newest_state(sets: tuple[str, ...], tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", *sets)
    (run.path / "weights.safetensors").unlink()
    assert equal(weights(load_run(run.path).model), weights(run.model))


class Stop(Exception):  # noqa: N818
    pass


def stop_at(epoch: int) -> Callable[[list[Epoch]], None]:
    def on_epoch(records: list[Epoch]) -> None:
        if records[0].epoch == epoch:
            raise Stop

    return on_epoch


def test_a_run_cut_off_while_it_is_extended_is_not_what_it_was_before(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    with pytest.raises(Stop):
        train(out=run.path, resume=True, epochs=6, callbacks=Callbacks(on_epoch=stop_at(5)))
    loaded = load_run(run.path)
    assert not equal(weights(loaded.model), weights(run.model))
    assert max(record.epoch for record in loaded.history()) == 5


def test_early_stopping_gives_the_best_of_the_past_that_is_kept(tmp_path: Path) -> None:
    sets = ("training.early_stopping=50", "training.checkpoint_every=3", "training.learning_rate=1e-2")
    whole = small_run(tmp_path / "whole", *sets, "training.epochs=4")
    with pytest.raises(Stop):
        train(
            "digits",
            tmp_path / "cut",
            sets=[*SMALL, *sets, "training.epochs=9"],
            callbacks=Callbacks(on_epoch=stop_at(6)),
        )
    cut = train(out=tmp_path / "cut", resume=True, epochs=4)
    best = min(record.terms["loss"] for record in cut.history() if record.split == "valid")
    data = cut.data("valid")
    assert Validation(cut.model, data, ELBO(), 100)()["loss"] == pytest.approx(best, rel=1e-6)
    assert [r.terms["loss"] for r in cut.history()] == [r.terms["loss"] for r in whole.history()]  # by resuming
    assert equal(weights(cut.model), weights(whole.model))


def test_one_folder_is_trained_into_by_one_process(run: Run, tmp_path: Path) -> None:
    def again(records: list[Epoch]) -> None:
        with pytest.raises(RunError, match="another process is training into"):
            train(out=tmp_path / "run", resume=True, epochs=9)

    train("digits", tmp_path / "run", sets=SMALL, callbacks=Callbacks(on_epoch=again))
    assert not (tmp_path / "run" / ".lock").exists()


def test_runs_without_a_folder_never_share_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: claim(Path("runs/digits")), range(12)))
    assert len(folders) == 12
    with pytest.raises(ValueError, match="unknown target"):
        train("digist")
    assert len(os.listdir("runs")) == 12


@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_can_t_begin_leaves_the_folder_of_runs_as_it_was(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one of the user's stays, one that was made for it goes."""
    monkeypatch.chdir(tmp_path)
    if there:
        Path("runs").mkdir()
    with pytest.raises(ValueError, match="unknown prior 'nope'"):
        train("digits", sets=["model.latents.z.prior=nope"])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"] * there


def test_fewer_rows_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv")
    run = train(path, tmp_path / "run", sets=["data.label=kind", "data.train=20"], epochs=1)
    assert run.spec.training.batch_size == len(run.dataset.splits["train"]) == 20


def test_labels_are_names_and_numbers_only_where_no_name_is_one() -> None:
    assert [class_of(label, ("ant", "bee")) for label in ("bee", "1", 0)] == [1, 1, 0]
    assert class_of("3", ("3", "4", "5")) == 0
    assert class_of(2, ("3", "4", "5")) == 2
    for label in ("2", 3, -1, "six"):
        with pytest.raises(ValueError, match=f"unknown label '{label}'"):
            class_of(label, ("3", "4", "5"))


def test_records_are_json_even_if_a_term_is_not_finite(tmp_path: Path) -> None:
    history.append(tmp_path, [Epoch(1, 3, "valid", {"loss": float("nan"), "kl": 2.0}, 0.1, 5)])
    line = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert json.loads(line, parse_constant=pytest.fail)["loss"] is None
    (record,) = history.read(tmp_path)
    assert np.isnan(record.terms["loss"])
    assert record.terms["kl"] == 2.0


def test_what_is_no_target_is_told_where_to_go() -> None:
    with pytest.raises(TypeError, match=r"target is a Dataset; accepted: .* there is fit"):
        train(load("digits"))  # type: ignore[arg-type]


def test_a_run_is_resumed_by_its_target_or_without_one_but_not_by_another(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    with pytest.raises(RunError, match="is a run on 'digits', not on 'mnist'"):
        train("mnist", tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match="give out='FOLDER'"):
        train(resume=True)
    assert train(None, tmp_path / "run", resume=True).spec == train("digits", tmp_path / "run", resume=True).spec


@pytest.mark.parametrize(
    ("parts", "size"),
    [(("flow", "vamp"), 2), (("diagonal-normal", "flow"), 1), (("flow", "flow"), 1), (("flow", "flow"), 2)],
)
def test_flows_of_any_size_are_loaded(parts: tuple[str, str], size: int, tmp_path: Path) -> None:
    small = {"flow": "{name='flow', transforms=2, hidden=[8]}", "vamp": "{name='vamp', components=4}"}
    named = zip(("posterior", "prior"), parts, strict=True)
    latent = (f"model.latents.z.{what}={small.get(name, name)}" for what, name in named)
    made = small_run(tmp_path / "run", f"model.latents.z.size={size}", *latent, "training.epochs=1")
    assert equal(weights(load_run(made.path).model), weights(made.model))


class Chance(MLP):
    """An encoder of somebody else's that is never of the same size again."""

    sizes = count(5)

    def __init__(self, in_shape: tuple[int, ...], wide: bool = True) -> None:
        super().__init__(in_shape, hidden=(next(self.sizes),))


class Lookup(MLP):
    """One that reads its tensors back when it is made, which only tensors with memory allow."""

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        super().__init__(in_shape, hidden=(5,))
        self.mean = float(self.layers[0].weight.detach().mean())


def test_what_could_not_be_loaded_is_not_trained(tmp_path: Path) -> None:
    parts = PARTS.extended(encoders={"chance": Chance, "lookup": Lookup})
    with pytest.raises(
        ValueError, match=r"the weights have 'encoder.layers.0.weight' of shape \(\d, 64\), the model of"
    ):
        small_run(tmp_path / "run", "model.encoder={name='chance'}", parts=parts)
    assert not (tmp_path / "run").exists()
    made = small_run(tmp_path / "run", "model.encoder={name='lookup'}", parts=parts)
    assert equal(weights(load_run(made.path, parts=parts).model), weights(made.model))


ABSURD: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "encoder": (("encoder",), {"name": "mlp", "hidden": [60_000] * 4}),  # 40 GB
    "priors": (("latents", "z", "prior"), {"name": "flow", "hidden": [60_000] * 3}),
    "posteriors": (("latents", "z", "posterior"), {"name": "flow", "hidden": [60_000] * 3}),
}


@pytest.mark.parametrize("where", ABSURD)
def test_a_spec_of_absurd_sizes_is_found_out_before_memory_is_taken(where: str, run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    path = tmp_path / "run" / "spec.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["sha256"]
    keys, part = ABSURD[where]
    place = values["spec"]["model"]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = part
    path.write_text(json.dumps(values), encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunError, match=rf"weights.safetensors (have|lack) '{where}"):
        load_run(tmp_path / "run")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000  # KiB on Linux, bytes on macOS


def test_a_spec_of_absurd_sizes_of_a_flow_is_found_out_before_memory_is_taken(tmp_path: Path) -> None:
    small_run(tmp_path / "run", "model.latents.z.prior={name='flow', hidden=[8, 8]}", "training.epochs=1")
    path = tmp_path / "run" / "spec.json"
    text = path.read_text(encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for hidden in ([30_000, 30_000], [8_000, 8_000], [10**6], [8] * 5000, [10**30]):
        values = json.loads(text)
        del values["sha256"]
        values["spec"]["model"]["latents"]["z"]["prior"]["hidden"] = hidden
        path.write_text(json.dumps(values), encoding="utf-8")
        with pytest.raises(RunError, match=r"weights.safetensors have|says what can't be built") as caught:
            load_run(tmp_path / "run")
        assert len(str(caught.value)) < 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 700_000  # KiB on Linux
    path.write_text(text, encoding="utf-8")
    load_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("spec", "model", "encoder", "hidden"), [10**30]),
        (("spec", "model", "encoder", "hidden"), [1] * 20_000),
        (("schema", "event_shape"), [10**6, 10**6, 10**6]),
        (("schema", "condition"), 10**18),
    ],
)
def test_a_spec_that_can_not_be_built_is_one_line(path: tuple[str, ...], to: object, run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    file = tmp_path / "run" / "spec.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    del values["sha256"]
    if path[-1] == "condition":
        values["spec"]["model"]["condition"] = True
    table = values
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = to
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_run(tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_edited_spec_is_refused_until_its_sum_is_gone(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    path = tmp_path / "run" / "spec.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values, indent=7, sort_keys=True), encoding="utf-8")
    assert load_run(tmp_path / "run").spec == run.spec, "laid out anew, it says the same"
    values["spec"]["training"]["seed"] = 5
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(RunError, match=r"spec\.json: it was damaged or edited: .*delete its line 'sha256'"):
        load_run(tmp_path / "run")
    del values["sha256"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert load_run(tmp_path / "run").spec.training.seed == 5
    values["sha356"] = ""
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(RunError, match="unknown key 'sha356'"):
        load_run(tmp_path / "run")


def test_weights_that_are_damaged_are_no_weights(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    path = tmp_path / "run" / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 4]) + whole[-1:])
    with pytest.raises(RunError, match=r"weights.safetensors is damaged.*--resume"):
        load_run(tmp_path / "run")
    shutil.copy(run.path / "checkpoints" / "best.safetensors", path)
    with pytest.raises(RunError, match=r"weights.safetensors holds a state of the training"):
        load_run(tmp_path / "run")
    train("digits", tmp_path / "run", resume=True)
    assert path.read_bytes() == whole


def test_weights_that_are_no_numbers_are_refused(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    path = tmp_path / "run" / "weights.safetensors"
    tensors = load_tensors(path)
    tensors["encoder.layers.0.bias"][0] = float("nan")
    save_tensors(path, tensors)
    with pytest.raises(RunError, match=r"numbers in 'encoder.layers.0.bias' that are not finite"):
        load_run(tmp_path / "run")


def test_a_run_without_sums_loads_and_goes_on(run: Run, tmp_path: Path) -> None:
    """As the first version has written it."""
    shutil.copytree(run.path, tmp_path / "run")
    for path in (tmp_path / "run").rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata())
        del metadata["sha256"]
        save_file(load_tensors(path), path, metadata)
    spec = json.loads((tmp_path / "run" / "spec.json").read_text(encoding="utf-8"))
    del spec["sha256"]
    (tmp_path / "run" / "spec.json").write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in lines:
        del line["crc32"]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert equal(weights(load_run(tmp_path / "run").model), weights(run.model))
    assert metrics(tmp_path / "run") == metrics(run.path)
    again = train("digits", tmp_path / "run", resume=True, epochs=3)
    assert equal(weights(again.model), weights(small_run(tmp_path / "reference", "training.epochs=3").model))


def test_a_run_whose_states_are_all_damaged_is_not_begun_anew_unasked(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    for path in Checkpoints(tmp_path / "run" / "checkpoints").all():
        path.write_bytes(path.read_bytes()[:-1])
    before = everything_in(tmp_path / "run")
    with pytest.raises(RunError, match="has no training state that is whole; restore one, or begin anew"):
        train("digits", tmp_path / "run", resume=True, epochs=3)
    assert everything_in(tmp_path / "run") == before


def test_a_run_is_not_replaced_unless_asked(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    before = everything_in(tmp_path / "run")
    with pytest.raises(
        RunError, match="holds a run already; add resume=True to go on with it, or overwrite=True to replace it"
    ):
        small_run(tmp_path / "run", "training.seed=1")
    assert everything_in(tmp_path / "run") == before


def test_overwriting_replaces_the_run_and_nothing_else(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    (tmp_path / "run" / "report.html").write_text("old")
    (tmp_path / "run" / "pictures").mkdir()
    again = train("digits", tmp_path / "run", sets=[*SMALL, "training.seed=1"], epochs=1, overwrite=True)
    assert {r.epoch for r in again.history()} == {1}
    assert sorted(os.listdir(again.path)) == [
        "checkpoints",
        "metrics.jsonl",
        "spec.json",
        "thesis.txt",
        "weights.safetensors",
    ]
    assert sorted(os.listdir(again.path / "checkpoints")) == [
        "best.safetensors",
        "epoch-000000.safetensors",
        "epoch-000001.safetensors",
    ]


def test_all_that_a_run_has_is_replaced(run: Run) -> None:
    assert set(os.listdir(run.path)) <= set(CONTENTS)
    assert CONTENTS[-1] == "spec.json", "a kill while a run is replaced must leave a folder that can be replaced"


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"format": 1, "openapi": 3}', "[" * 100_000])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_else_is_never_touched(content: str | None, overwrite: bool, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "thesis.txt").write_text("years of work")
    if content is not None:
        (folder / "spec.json").write_text(content)
    before = everything_in(folder)
    with pytest.raises(RunError, match="is not empty and is no run; name another folder"):
        train("digits", folder, sets=SMALL, overwrite=overwrite)
    assert everything_in(folder) == before


def test_an_empty_folder_and_one_with_a_torn_start_are_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".spec.json.17.tmp").write_text("{")
    small_run(tmp_path / "run")
    assert ".spec.json.17.tmp" not in os.listdir(tmp_path / "run")


def test_a_file_where_the_folder_would_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunError, match="run is a file; name a folder"):
        small_run(tmp_path / "run")


# -- resuming ----------------------------------------------------------------------------------------------------------


def test_resuming_a_finished_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    train("digits", tmp_path / "run", resume=True)
    assert everything_in(tmp_path / "run") == everything_in(run.path)


@pytest.mark.parametrize("how", ["epochs", "sets"])
def test_a_run_goes_on_for_more_epochs(how: str, run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    options: dict[str, Any] = {"epochs": 4} if how == "epochs" else {"sets": ["training.epochs=4"]}
    again = train("digits", tmp_path / "run", resume=True, **options)
    assert again.spec.training.epochs == load_run(tmp_path / "run").spec.training.epochs == 4
    assert [r.epoch for r in again.history() if r.split == "train"] == [1, 2, 3, 4]
    reference = small_run(tmp_path / "reference", "training.epochs=4")
    assert equal(weights(again.model), weights(reference.model))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"sets": ["training.seed=1"]},
            "leave out 'training.seed=1', only training.epochs, training.device, training.log, training.sh",
        ),
        ({"epochs": 1}, r"training.epochs is 1, but .*run has 2 done; accepted: 2 or more"),
        ({"epochs": 0}, "training.epochs is 0"),
        ({"sets": ["training.epochs=many"]}, "training.epochs is 'many'"),
    ],
)
def test_a_resumed_run_keeps_its_spec(options: dict[str, Any], words: str, run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    before = everything_in(tmp_path / "run")
    with pytest.raises(ValueError, match=words):
        train("digits", tmp_path / "run", resume=True, **options)
    assert everything_in(tmp_path / "run") == before


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none is no run: it is not there"):
        train("digits", tmp_path / "none", resume=True)
    assert not os.listdir(tmp_path)


def test_a_run_whose_data_have_changed_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv")
    run = train_table(path, tmp_path / "run")
    before = everything_in(tmp_path / "run")
    write_table(path, shift=1e-3)
    for ask in (lambda: train(path, tmp_path / "run", resume=True, epochs=3), lambda: run.dataset, run.encode):
        with pytest.raises(RunError, match=r"t\.csv' is not what .*run was trained on: its values have changed"):
            ask()  # type: ignore[operator]
    assert everything_in(tmp_path / "run") == before
    write_table(path)
    assert len(run.encode("test")[0]) == 12


def test_a_fingerprint_sees_every_value_label_and_split() -> None:
    prints = [fingerprint(load("digits"))]
    for split in ("train", "valid", "test"):
        for name in ("x", "y"):
            dataset = load("digits")
            array = getattr(dataset.splits[split], name)
            array.flat[-1] += 1
            prints.append(fingerprint(dataset))
    assert len(set(prints)) == len(prints) == 7
    assert prints[0] == fingerprint(load("digits"))


def test_what_a_kill_has_left_is_cleared_away(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run/checkpoints/.epoch-000003.safetensors.99.tmp").write_text("half")
    train("digits", tmp_path / "run", resume=True)
    assert everything_in(tmp_path / "run") == everything_in(run.path)


# -- targets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_whole_run_with_its_source(name: str) -> None:
    spec = resolve(name)
    assert spec.title
    assert spec.source
    assert spec == parse_toml(RECIPES[name])


def test_a_spec_a_file_and_a_recipe_are_the_same_run(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(RECIPES["digits"], encoding="utf-8")
    specs = [resolve(target, SMALL) for target in ("digits", str(tmp_path / "mine.toml"))]
    assert specs[0] == specs[1]
    runs = [train(target, tmp_path / str(i)) for i, target in enumerate(specs)]
    assert isinstance(specs[0], Spec)
    assert equal(weights(runs[0].model), weights(runs[1].model))


def test_a_path_is_kept_so_that_it_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "t.csv")
    monkeypatch.chdir(tmp_path)
    train_table(Path("t.csv"), tmp_path / "run")
    monkeypatch.chdir("/")
    assert len(load_run(tmp_path / "run").encode("test")[0]) == 12
    assert json.loads((tmp_path / "run/spec.json").read_text())["spec"]["data"]["name"] == str(tmp_path / "t.csv")


def test_sets_change_a_spec_given_as_such(tmp_path: Path) -> None:
    run = train(resolve("digits", SMALL), tmp_path / "run", sets=["training.seed=5"], epochs=1)
    assert (run.spec.training.seed, run.spec.training.epochs) == (5, 1)


@pytest.mark.parametrize(
    "sets", [("data.binarize=stochastic", "model.likelihood=bernoulli"), ("data.dequantize=true", UNIT)]
)
def test_random_preprocessings_give_the_same_codes_and_reconstructions_each_time(
    tmp_path: Path, sets: tuple[str, ...]
) -> None:
    run = small_run(tmp_path / "run", *sets)
    torch.manual_seed(1)
    codes, again = run.encode("test")[0], run.encode("test")[0]
    np.testing.assert_array_equal(codes, again)
    scored = torch.cat([batch.x for batch in run.data("test").blocks()])
    torch.testing.assert_close(torch.from_numpy(codes), run.model.encode(scored))
    shown = run.reconstructions("test", 3, first=True)
    assert torch.equal(shown, run.reconstructions("test", 3, first=True))
    assert torch.equal(shown[:, 0], scored[:3])


# -- what lies in the folder -------------------------------------------------------------------------------------------


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Files of somebody else."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("epoch-000001.safetensors", "best.safetensors", "curves.png", "precious.txt"):
        (folder / name).write_text("years of work")
    return folder


@pytest.fixture(scope="module")
def scores(run: Run) -> Evaluation:
    return run.evaluate(samples=1)


LINKS = ("checkpoints", "pictures", "metrics.jsonl", "weights.safetensors", "spec.json", "report.html", ".lock")


@pytest.mark.parametrize("how", ["resume", "overwrite", "report"])
@pytest.mark.parametrize("name", [*LINKS, "checkpoints/best.safetensors", "pictures/curves.png"])
def test_links_in_a_run_are_not_followed(
    name: str, how: str, run: Run, scores: Evaluation, victim: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if name == "spec.json":
        (victim / "precious.txt").write_text(path.read_text())
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(victim if name in ("checkpoints", "pictures") else victim / "precious.txt")
    before = everything_in(victim), everything_in(folder)
    asked: dict[str, Callable[[], object]] = {
        "resume": lambda: train("digits", folder, resume=True, epochs=3),
        "overwrite": lambda: train("digits", folder, sets=SMALL, overwrite=True),
        "report": lambda: write_report(replace(run, path=folder), scores),
    }
    with pytest.raises(RunError, match=re.escape(f"{path} is a link, which is not followed")):
        asked[how]()
    assert everything_in(victim) == before[0]
    assert everything_in(folder) == before[1]


def test_a_run_in_a_linked_folder_is_a_run(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "elsewhere")
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    assert train("digits", tmp_path / "run", resume=True, epochs=3).history()[-1].epoch == 3


def test_what_the_user_keeps_in_a_run_stays(run: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    mine = [".notes.tmp", "deep/.swap.tmp", "checkpoints/mine.txt", "pictures/mine.txt", "checkpoints/.a.tmp"]
    for name in mine:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    (folder / ".cache.tmp").mkdir()
    (folder / ".cache.1-0123abcd.vaekit.tmp").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / ".x.1-0123abcd.vaekit.tmp").write_text("theirs")
    (folder / "link").symlink_to(tmp_path / "outside")
    for options in ({"resume": True, "epochs": 3}, {"overwrite": True, "sets": SMALL}):
        train("digits", folder, **options)  # type: ignore[arg-type]
        assert all((folder / name).read_text() == "mine" for name in mine)
        assert (folder / ".cache.tmp").is_dir()
        assert (tmp_path / "outside" / ".x.1-0123abcd.vaekit.tmp").exists()


def test_a_lock_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".lock").write_text("of another program")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(RunError, match=r"\.lock is not what vaekit puts there"):
            train("digits", tmp_path / "mine", sets=SMALL, **options)  # type: ignore[arg-type]
    (tmp_path / "mine" / ".lock").write_text("")
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="is not empty and is no run"):
        train("digits", tmp_path / "mine", sets=SMALL)
    assert sorted(os.listdir(tmp_path / "mine")) == [".lock", "thesis.txt"]


@pytest.mark.parametrize("what", ["deleted", "moved", "replaced"])
def test_a_folder_that_goes_away_ends_the_training_in_a_line(what: str, tmp_path: Path) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"

    def act(records: list[Epoch]) -> None:
        if records[0].epoch == 2:
            shutil.rmtree(folder) if what == "deleted" else folder.rename(tmp_path / "moved")
            if what == "replaced":
                other.mkdir()
                other.rename(folder)

    with pytest.raises(RunError, match=f"{folder} was deleted, moved or replaced while training into it"):
        train("digits", folder, sets=SMALL, epochs=4, callbacks=Callbacks(on_epoch=act))
    assert not (folder.exists() and os.listdir(folder))
    if what != "deleted":
        assert train(out=tmp_path / "moved", resume=True).history()[-1].epoch == 4


def test_checkpoints_that_go_away_are_made_anew(tmp_path: Path) -> None:
    def act(records: list[Epoch]) -> None:
        if records[0].epoch == 2:
            shutil.rmtree(tmp_path / "run" / "checkpoints")

    train("digits", tmp_path / "run", sets=SMALL, epochs=4, callbacks=Callbacks(on_epoch=act))
    assert train(out=tmp_path / "run", resume=True, epochs=5).history()[-1].epoch == 5


# -- lines of metrics --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda line: line.replace(b'"epoch": 1', b'"epoch": 7'), "it is not what was written, by its sum"),
        (lambda line: line.replace(b'"step": 1', b'"step": 2'), "it is not what was written, by its sum"),
        (lambda line: line.replace(b'"loss": ', b'"loss": 1'), "it is not what was written, by its sum"),
        (lambda line: line.replace(b'"split"', b'"spl\xffit"'), "it is not UTF-8"),
        (lambda line: line.replace(b'"split"', b'"crc33"', 1), "sum|split"),
        (lambda line: line.replace(b'"crc32"', b'"crc33"', 1), "a term of it is no number"),
        (lambda line: bytes(len(line) - 1) + b"\n", "it is not (JSON|UTF-8)"),
        (lambda line: b"[" * 100_000 + b"\n", "recursion"),
        (lambda line: b'{"epoch": ' + b"9" * 5000 + b"}\n", "it is not JSON"),
        (lambda line: b'{"epoch": 1, "step": 1, "split": "train", "rows": 1, "seconds": 1, "a": 1e999}\n', "term"),
        (lambda line: b"7\n", "it is no record"),
        (lambda line: b"x" * (history.LINE_BYTES + 7) + b"\n", "it is not JSON"),
        (lambda line: line + line, "line 2: epoch 1 comes again"),
        (lambda line: b"", "lacks epoch 1 of train; the curves have a gap"),
    ],
)
def test_a_damaged_line_is_left_out_and_named(
    change: Callable[[bytes], bytes], words: str, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    first, *others = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    changed = change(first)
    assert changed != first
    (folder / "metrics.jsonl").write_bytes(b"".join([changed, *others]))
    wanted = metrics(run.path)
    found = metrics(folder)
    assert found == (wanted if "again" in words else wanted[1:])
    assert re.search(words, caplog.text)
    assert str(folder / "metrics.jsonl") in caplog.text
    again = train("digits", folder, resume=True, epochs=3)
    assert metrics(again.path)[: len(found)] == found


def test_a_cut_history_is_said(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_bytes(b"".join(lines[:2]))
    assert len(history.read(folder)) == 2
    assert "lacks epoch 2 of train" in caplog.text
    (folder / "metrics.jsonl").unlink()
    assert not history.read(folder)
    assert "lacks epoch 1 of train" in caplog.text


def test_metrics_that_are_no_file_are_one_line(run: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").mkdir()
    with pytest.raises(RunError, match=r"metrics\.jsonl is a folder, not a file"):
        history.read(folder)


def test_a_run_of_an_older_version_with_a_normal_of_an_interval_loads_but_is_not_scored(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", "data.dequantize=true", "model.likelihood=continuous-bernoulli")
    path = run.path / "spec.json"
    values = json.loads(path.read_text().replace('"continuous-bernoulli"', '"normal-fixed"'))
    values.pop("sha256")  # which older runs have not
    path.write_text(json.dumps(values))
    older = load_run(run.path)
    assert equal(weights(older.model), weights(run.model))
    assert older.encode("test")[0].shape == (300, 3)
    assert older.sample(3, seed=0).shape == (3, 1, 8, 8)
    x = older.data("test").batch(slice(0, 5)).x
    for ask in (lambda: older.evaluate("test", samples=2), lambda: older.model.log_prob(x)):
        with refuses("FixedNormal is no density of numbers from 0 to 17"):
            ask()
    with refuses("likelihood 'normal-fixed' is a density of real data"):
        train(out=run.path, resume=True, epochs=3)


def test_an_end_of_the_interval_in_any_split_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(0.1, 0.9, (60, 3))
    held_out = x[:10].copy()
    held_out[4, 1] = 1.0
    np.savez(tmp_path / "x.npz", x_train=x, x_valid=x[:10], x_test=held_out)
    with refuses("1 value of x, split test, at an end of the interval"):
        train(tmp_path / "x.npz", tmp_path / "run", sets=[*SMALL, "data.domain=unit", "model.likelihood=beta"])
    assert not (tmp_path / "run").exists()


def test_one_setting_may_be_given_by_itself(tmp_path: Path) -> None:
    run = train(
        "digits", tmp_path / "run", sets="objective.beta=linear", epochs=1, optimizer={"name": "sgd", "momentum": 0.5}
    )
    assert run.spec.objective.options == {"beta": "linear"}
    assert run.spec.training.optimizer.options == {"momentum": 0.5}
    with refuses("unknown key of spec training: 'epoch' (did you mean 'epochs'?)"):
        train("digits", tmp_path / "other", epoch=1)


def test_a_run_whose_data_have_moved_goes_on_by_its_own_target_or_says_how(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    old, new, out = tmp_path / "old.npy", tmp_path / "new.npy", tmp_path / "run"
    np.save(old, rng.normal(size=(60, 3)).astype(np.float32))
    small = ["model.encoder.hidden=[4]", "model.decoder.hidden=[4]"]
    train(old, out, sets=small, epochs=1)
    old.rename(new)
    with pytest.raises(
        RunError, match=r"are not where they were: .*; if they are elsewhere now, say where: data='PATH'"
    ):
        train(old, out, resume=True, epochs=2)
    assert train(old, out, data=new, resume=True, epochs=2).history()[-1].epoch == 2
