from __future__ import annotations

import os
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from commands_for_tests import command, done
from models_for_tests import TABLES_ALONE, refuses
from pandas import read_csv
from runs_for_tests import small_run
from scipy.sparse import csr_array

from vaekit import train
from vaekit.data import Dataset, Split
from vaekit.data.batch import Batch
from vaekit.data.documents import Documents
from vaekit.data.domains import Domain
from vaekit.data.tensors import to_device
from vaekit.models.scales import latent_scales
from vaekit.runs.course import beside_the_bound
from vaekit.runs.run import RunError, load_data, load_run
from vaekit.spec.building import build_model, build_objective, build_schedule, with_likelihood
from vaekit.spec.keys import DataSpec, Schema, Spec
from vaekit.spec.recipes import RECIPES, extended, recipe
from vaekit.spec.targets import resolve
from vaekit.training.step import traced

QUICK = ("training.epochs=1", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latents.z.size=2")
BINARISED = [name for name in RECIPES if resolve(name).data.binarize]
MNIST = Schema(event_shape=(1, 28, 28), domain=Domain("binary"), condition=10)


def npy(path: Path, n: int = 40, levels: int = 2) -> Path:
    """A file of n images of so many grey levels."""
    np.save(path, np.random.default_rng(0).integers(0, levels, (n, 1, 4, 4), dtype=np.uint8))
    return path


def dense(*sizes: int) -> int:
    """The weights and biases of fully connected layers."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


# -- what the recipes are ----------------------------------------------------------------------------------------------

D = 200
DECODED = dense(D, 200, 500, 784)
SETTINGS = {
    "binary-mnist-diagonal": (dense(784, 500) + 2 * dense(500, 200, D) + DECODED, "adam", 3e-4, 200, 20),
    "binary-mnist-full-rank": (
        dense(784, 500) + 2 * dense(500, 200, D) + dense(500, 200, D * (D - 1) // 2) + DECODED,
        "adam",
        3e-4,
        200,
        20,
    ),
    "grey-mnist": (dense(784, 400, 40) + dense(20, 400, 784), "adam", 1e-3, 128, 10),
    "grey-mnist-sigmoid-adagrad": (dense(784, 400, 40) + dense(20, 400, 784), "adagrad", 0.01, 128, 10),
    "softplus-mnist": (dense(784, 400, 100) + dense(50, 400, 784), "adam", 1e-3, 128, 100),
    "elu-mnist": (dense(784, 256, 256, 128) + dense(64, 256, 256, 784), "adam", 1e-3, 64, 10),
    "conditional-mnist": (dense(784, 400, 40) + dense(30, 400, 784), "adam", 1e-3, 128, 15),
    "beta-mnist": (dense(784, 400, 40) + dense(20, 400, 784), "adam", 1e-3, 128, 15),
}
ACTIVATIONS = {"binary-mnist-diagonal": "Tanh", "binary-mnist-full-rank": "Tanh", "grey-mnist": "ReLU"} | {
    "grey-mnist-sigmoid-adagrad": "Sigmoid",
    "softplus-mnist": "Softplus",
    "elu-mnist": "ELU",
    "conditional-mnist": "ReLU",
    "beta-mnist": "ReLU",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_recipe_of_a_lesson_has_its_networks_and_its_training(name: str) -> None:
    spec = resolve(name)
    model, training = build_model(spec.model, MNIST), spec.training
    rate = build_schedule(training.learning_rate)(0.5)
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert (weights, training.optimizer.name, rate, training.batch_size, training.epochs) == SETTINGS[name]
    kinds = {type(module).__name__ for module in model.modules() if type(module).__module__.endswith("activation")}
    assert kinds == {ACTIVATIONS[name]}
    beta = build_objective(spec, model).beta(0.0)  # type: ignore[attr-defined]
    assert beta == (10.0 if name in ("conditional-mnist", "beta-mnist") else 1.0)
    preprocessing = (
        "grey" if name in ("softplus-mnist", "conditional-mnist", "beta-mnist") or "grey" in name else "static"
    )
    assert spec.data.binarize == preprocessing


def test_the_recipe_of_two_layers_has_the_networks_of_its_paper() -> None:
    spec, one = resolve("iwae-2-mnist"), resolve("iwae-mnist")
    weights = dense(784, 200, 200, 2 * 100) + dense(100, 100, 100, 2 * 50)  # up, a mean and a variance at each end
    weights += dense(50, 100, 100, 2 * 100) + dense(100, 200, 200, 784)
    assert sum(parameter.numel() for parameter in build_model(spec.model, MNIST).parameters()) == weights
    assert (spec.data, spec.training, spec.objective) == (one.data, one.training, one.objective)


@pytest.mark.public_data
@pytest.mark.skipif("VAEKIT_DATA" not in os.environ, reason="needs the public datasets")
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("binary-mnist-diagonal", {"train": 50_000, "valid": 10_000, "test": 10_000}),
        ("grey-mnist", {"train": 60_000, "test": 10_000}),
        ("elu-mnist", {"train": 50_000, "valid": 500, "test": 500}),
    ],
)
def test_a_recipe_has_the_rows_of_its_source(name: str, sizes: dict[str, int]) -> None:
    dataset = load_data(resolve(name))
    assert {split: len(rows) for split, rows in dataset.splits.items()} == sizes
    labels = dataset.splits["test"].y
    if name == "elu-mnist" and labels is not None:
        assert np.bincount(labels).min() > 40


def is_of_tables(name: str) -> bool:
    likelihood = resolve(name).model.likelihood
    return likelihood is not None and likelihood.name in TABLES_ALONE


# -- on other data -----------------------------------------------------------------------------------------------------


SPRITES = [name for name in RECIPES if name.endswith("-sprites")]
IMAGES = (
    *SPRITES,
    "images",
    "kl-autoencoder",
    "kl-f4",
    "kl-f8",
    "lda",
    "prodlda",
    "scvi",
    "vdvae-cifar",
    "vdvae-mnist",
)
"""Recipes whose likelihood depends on the data, or that digits are too small for, or which are too large for a test; or
that are for data without labels alone.
"""


@pytest.mark.parametrize("name", [name for name in RECIPES if not is_of_tables(name) and name not in IMAGES])
def test_every_recipe_runs_on_the_digits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = resolve(name)
    if below := own.data.codes:  # `epochs` is of the second training alone
        monkeypatch.setitem(RECIPES, below, re.sub(r"^epochs = \d+", "epochs = 1", RECIPES[below], flags=re.MULTILINE))
    few = {"train": 256, "validation": 60, "test": 50}
    run = train(name, tmp_path / "run", data="digits", sets=[f"data.{key}={n}" for key, n in few.items()], epochs=1)
    kept = {key: getattr(own.data, key) for key in ("labels", "binarize", "dequantize", "seed")}
    # A recipe whose data are the codes of another names it; its run names that one's folder.
    assert run.spec.data.model_copy(update={"codes": None}) == DataSpec(name="digits", **few, **kept)
    assert (run.spec.data.codes is None) == (own.data.codes is None)
    assert (run.spec.model, run.spec.objective, run.spec.source) == (own.model, own.objective, own.source)
    assert run.spec.title == own.title + ("" if own.data.name == "digits" else "; here on digits")
    assert {split: len(rows) for split, rows in run.dataset.splits.items()} == {
        "train": 256,
        "valid": 60,
        "test": 50,
    }
    assert run.spec.training.batch_size == own.training.batch_size
    assert np.isfinite(run.history()[-1].terms["loss"])
    assert np.isfinite(load_run(tmp_path / "run").encode("test")[0]).all()


def test_first_steps_of_the_very_deep_recipe_are_taken() -> None:
    """It leaves out steps with large gradients, and those of weights that have learned nothing are the largest."""
    spec = resolve("vdvae-mnist")
    model = build_model(spec.model, Schema(event_shape=(1, 28, 28), domain=Domain("binary")))
    objective = build_objective(spec, model)
    x = torch.zeros(8, 1, 28, 28)
    x[..., 4:24, 8:20] = (torch.rand(8, 1, 20, 12) < 0.5).float()
    objective(traced(model, objective, Batch(x, rows=60_000)), 0.0).loss.backward()
    norm = torch.nn.utils.get_total_norm(p.grad for p in model.parameters() if p.grad is not None)
    assert 0 < float(norm) < spec.training.skip / 2


@pytest.mark.parametrize("name", SPRITES)
def test_recipes_of_sprites_have_gradients_of_images_of_that_size(name: str) -> None:
    spec = with_likelihood(resolve(name), Domain("binary"))
    model = build_model(spec.model, Schema(event_shape=(1, 64, 64), domain=Domain("binary")))
    objective = build_objective(spec, model)
    found = objective(traced(model, objective, Batch((torch.rand(6, 1, 64, 64) < 0.2).float(), rows=15_000)), 0.5)
    found.loss.backward()
    assert {"elbo", "reconstruction", "kl"} <= found.terms.keys()
    assert all(bool(each.grad.isfinite().all()) and each.grad.any() for each in model.parameters())


def test_autoencoders_of_latent_diffusion_run_narrow_and_are_as_published(tmp_path: Path) -> None:
    narrow = "{name='resnet', channels=[8, 8], blocks=1}"
    sets = [f"model.encoder={narrow}", f"model.decoder={narrow}", "data.train=24", "data.validation=12"]
    sets += ["data.test=6", "objective.terms.adversarial={channels=4}", "training.epochs=1", "training.batch_size=12"]
    run = train("kl-f8", tmp_path / "run", data="digits", sets=sets)
    assert (str(run.schema.domain), run.schema.domain.location, run.schema.domain.scale) == ("real numbers", 8, 8)
    assert run.model.shapes == {"z": (4, 4, 4)}
    assert np.isfinite(list(run.history()[-1].terms.values())).all()
    saved = load_run(tmp_path / "run")
    draws = saved.model.encode(saved.data("train").x, samples=300, seed=0)
    assert latent_scales(saved.model)["z"] == pytest.approx(float(1 / draws.std()), rel=0.02)
    assert f"scale of z  {latent_scales(saved.model)['z']:.5f}" in repr(saved)
    assert "no bound of log p(x)" in beside_the_bound(saved)
    for name, weights, maps, factor in (("kl-f4", 55_315_000, 3, 4), ("kl-f8", 83_653_000, 4, 8)):
        schema = Schema(event_shape=(3, 64, 64), domain=Domain("real"))
        with torch.device("meta"):
            model = build_model(resolve(name).model, schema)
        assert model.posteriors["z"].latent_shape == (maps, 64 // factor, 64 // factor)
        assert sum(p.numel() for p in model.parameters()) == pytest.approx(weights, rel=1e-4)


def test_a_very_deep_model_has_the_latents_and_about_the_weights_that_are_published() -> None:
    schema = Schema(event_shape=(3, 32, 32), domain=Domain("grey", levels=256))
    with torch.device("meta"):
        model = build_model(resolve("vdvae-cifar").model, schema)
    sides = [shape[1] for shape in model.decoder.latent_shapes]
    assert {side: sides.count(side) for side in sides} == {1: 1, 4: 3, 8: 6, 16: 11, 32: 22}
    # 39 million, and what 3×3 convolutions in place of 1×1 add to the heads of q and p.
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(39e6 + 43 * 2 * 96 * 32 * 8, rel=0.05)


def test_models_that_the_page_of_images_names_are_what_it_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "your-images.md").read_text(encoding="utf-8")
    rows = [re.findall(r"--set (model[^ `]+)", line) for line in page.splitlines() if "--set model" in line]
    domain = Domain("grey", levels=256, scale=255)
    sizes = []
    for sets in rows:
        spec = with_likelihood(resolve("images", sets), domain, event_shape=(3, 32, 32))
        model = build_model(spec.model, Schema(event_shape=(3, 32, 32), domain=domain))
        assert sum(p.numel() for p in model.parameters()) < 5e6
        sizes.append(model.latent_size)
        tokens = getattr(model.posteriors["z"], "tokens", None) if "z" in model.posteriors else None
        assert tokens in (None, (64, 1000))
    assert len(sizes) == 4
    assert sizes[1:] == [64, 512, 256]


@pytest.mark.parametrize("levels", [2, 5, 256])
@pytest.mark.parametrize("name", BINARISED)
def test_what_a_recipe_binarises_may_have_any_number_of_levels(name: str, levels: int) -> None:
    preprocessing = resolve(name).data.preprocessing
    x = np.arange(levels, dtype=np.uint8).repeat(8).reshape(-1, 1, 2, 2)
    domain = Domain("binary") if levels == 2 else Domain("grey", levels=levels)
    seen = to_device(Dataset("mine", domain, {"train": Split(x)}), "train", preprocessing).batch(slice(None)).x
    assert preprocessing.domain(domain).kind == "binary"
    assert seen.min() == 0
    assert seen.max() == 1
    if levels == 2:
        np.testing.assert_array_equal(seen.numpy(), x)


def test_binary_data_of_a_recipe_that_takes_grey_are_scored_as_a_likelihood(tmp_path: Path) -> None:
    run = train("grey-mnist", tmp_path / "run", data=npy(tmp_path / "x.npy"), sets=QUICK)
    assert not run.model.domain.relaxed
    given = run.dataset.splits["test"].x
    np.testing.assert_array_equal(next(run.data("test").blocks()).x.numpy(), given)


def test_numbers_of_rows_and_kinds_of_values_belong_to_the_data_that_are_left(tmp_path: Path) -> None:
    run = train("elu-mnist", tmp_path / "run", data=npy(tmp_path / "x.npy", 50), sets=QUICK)
    assert {split: len(rows) for split, rows in run.dataset.splits.items()} == {"train": 40, "valid": 5, "test": 5}
    table = Spec(
        data=DataSpec(name="t.csv", label="kind", domain="grey", levels=9, train=3, validation=1, test=1, seed=5)
    )
    assert resolve(table, data="digits").data == DataSpec(name="digits", seed=5)


def test_sets_come_after_the_data(tmp_path: Path) -> None:
    sets = [*QUICK, "data.levels=17", "data.validation=7", "data.binarize=threshold"]
    run = train("elu-mnist", tmp_path / "run", data=npy(tmp_path / "x.npy", 50, levels=17), sets=sets)
    assert len(run.dataset.splits["valid"]) == 7
    assert run.dataset.domain == Domain("grey", levels=17)
    assert run.spec.data.binarize == "threshold"


def test_a_batch_is_no_more_than_there_is(tmp_path: Path) -> None:
    path = npy(tmp_path / "x.npy")
    run = train("binary-mnist-diagonal", tmp_path / "run", data=path, sets=QUICK)
    assert run.spec.training.batch_size == len(run.dataset.splits["train"]) == 32
    with refuses("batch_size is 200, but there are 32 training rows"):
        train("binary-mnist-diagonal", tmp_path / "other", sets=[*QUICK, f"data.name={path}"])


def test_a_recipe_says_what_it_lacks_of_other_data(tmp_path: Path) -> None:
    for data, message in [
        (npy(tmp_path / "x.npy"), "model.condition is set, but the data have no labels"),
        ("digist", "unknown dataset 'digist' (did you mean 'digits'?)"),
        (tmp_path / "none.npy", "there is no file or folder"),
    ]:
        with pytest.raises((ValueError, FileNotFoundError), match=message.replace("(", r"\(").replace("?)", r"\?\)")):
            train("conditional-mnist", tmp_path / "run", data=data)
    np.save(tmp_path / "real.npy", np.random.default_rng(0).normal(size=(40, 3)))
    with refuses("data.binarize=grey is for grey levels or numbers of an interval; the data are real numbers"):
        train("grey-mnist", tmp_path / "run", data=tmp_path / "real.npy")
    assert not (tmp_path / "run").exists()


def test_a_path_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npy(tmp_path / "x.npy")
    monkeypatch.chdir(tmp_path)
    train("elu-mnist", tmp_path / "run", data="x.npy", sets=QUICK)
    monkeypatch.chdir("/")
    assert load_run(tmp_path / "run").spec.data.name == str(path)


def test_a_run_on_other_data_is_resumed_on_them_alone(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run").path
    for options in ({"data": "digits"}, {"target": "beta-mnist", "data": "digits"}):
        assert train(**options, out=folder, resume=True, epochs=3).history()[-1].epoch == 3
    with pytest.raises(RunError, match=r"is not what .* was trained on"):
        train("digits", folder, data=npy(tmp_path / "x.npy"), resume=True)


def test_the_command_takes_a_recipe_to_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.show.report.write_report", lambda run, scores: run.path / "report.html")
    quick = ("--epochs=1", "--samples=1", "--set=model.encoder={name='mlp', hidden=[8]}")
    out = done("train", "conditional-mnist", "--data", "digits", "--out", tmp_path / "a", *quick)
    assert "here on digits" in out
    done("train", "--data", npy(tmp_path / "x.npy"), "--out", tmp_path / "b", *quick)
    assert load_run(tmp_path / "b").spec.model.likelihood.name == "bernoulli"  # type: ignore[union-attr]
    result = command("train", "beta-mnist", "--data", "digist", "--out", tmp_path / "c")
    assert (result.status, result.out) == (2, "")
    assert "unknown dataset 'digist' (did you mean 'digits'?)" in result.err


def test_elu_mnist_has_the_deterministic_pass_of_both_splits(tmp_path: Path) -> None:
    run = train("elu-mnist", tmp_path / "run", data=npy(tmp_path / "x.npy", 50), sets=QUICK)
    records = run.history()
    assert {record.split for record in records} == {"train", "valid"}
    for terms in (record.terms for record in records):
        assert terms["mean_reconstruction"] > terms["mean_elbo"]
    # Of the rows that are held out both passes are after the same epoch, and a closed form of the KL is of both.
    for terms in (record.terms for record in records if record.split == "valid"):
        assert terms["mean_elbo"] == pytest.approx(terms["mean_reconstruction"] - terms["kl"], rel=1e-5)


# -- a recipe that extends another -------------------------------------------------------------------------------------


def test_what_extends_a_recipe_is_that_recipe_but_for_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        """
        extends = "beta-mnist"
        objective = { name = "iwae", samples = 3 }
        [data]
        name = "digits"
        [model]
        decoder = { name = "mlp", hidden = [7] }
        [model.latents.first]
        size = 3
        """,
        encoding="utf-8",
    )
    mine, below = resolve(str(tmp_path / "mine.toml")), resolve("beta-mnist")
    assert mine.objective.options == {"samples": 3}, "a part is another part"
    assert (mine.data.name, mine.data.binarize) == ("digits", "grey"), "other data, treated alike"
    assert mine.model.decoder.options == {"hidden": [7]}
    assert mine.model.encoder == below.model.encoder
    assert list(mine.model.latents) == ["first", "z"]
    assert mine.training == below.training


def test_what_extends_no_recipe_is_refused() -> None:
    for extends, words in (("beta-mnits", "did you mean 'beta-mnist'"), (3, "unknown recipe of extends '3'")):
        with refuses(words):
            extended({"extends": extends})


def test_no_recipe_says_what_the_one_that_it_extends_says() -> None:
    for name, text in RECIPES.items():
        own = tomllib.loads(text)
        if "extends" in own:
            below = recipe(own["extends"])
            again = [key for key, value in own.items() if value == below.get(key) and not isinstance(value, dict)]
            assert not again, f"{name} says again {again}"


def test_data_of_a_kind_that_a_recipe_can_not_take_are_told_what_it_is_for(tmp_path: Path) -> None:
    table, documents = tmp_path / "mixed.csv", tmp_path / "texts.npz"
    table.write_text("a,b\n" + "".join(f"{i}.5,{'xy'[i % 2]}\n" for i in range(60)))
    Documents(csr_array(np.arange(1, 41).reshape(20, 2))).save(documents)
    cases = [("prodlda", "digits", "documents"), ("lda", table, "documents"), ("m2", documents, "images")]
    cases += [("m1-m2", table, "images"), ("scvi", read_csv(table), "cells"), ("table", "digits", "tables")]
    for name, data, kind in cases:
        with pytest.raises(ValueError, match=f"recipe '{name}' is for {kind}") as caught:
            train(name, tmp_path / "run", data=data)
        said = str(caught.value)
        assert "given: " in said
        assert "sets=" not in said  # of what nobody has typed
        assert not re.search(r"(data|model|objective)\.\w", said.replace("vaekit.data.Documents", ""))
    with pytest.raises(ValueError, match=r"exposure=n.* is given beside labels.*recipe 'prodlda' is for documents"):
        train("prodlda", tmp_path / "run", data="digits", sets=["data.exposure=n"])
    assert not (tmp_path / "run").exists()
