"""Programs in onnxruntime: every part of the registry is compared with what the model gives, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from models_for_tests import SIMPLEX, domain_of, moved, refuses
from programs_for_tests import PAIRS, REFUSED, B, asked, ran, small, tabular

from vaekit import train
from vaekit.data.domains import Domain
from vaekit.interop.export import export, program
from vaekit.models import VAE
from vaekit.runs.run import Run
from vaekit.seeding import seeded
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import parse
from vaekit.spec.parts import PARTS

IMAGE = (1, 8, 8)
MLP = {"name": "mlp", "hidden": [6], "activation": "tanh"}


def of_posterior(name: str) -> VAE:
    return small(posterior=name, prior=next(p for q, p in PAIRS if q == name), latents={"z": 4})


def of_prior(name: str) -> VAE:
    return small(posterior=next(q for q, p in PAIRS if p == name), prior=name, latents={"z": 4})


def of_likelihood(name: str) -> VAE:
    kind = PARTS.likelihoods[name].domains[0]  # type: ignore[attr-defined]
    if name == "discretized-logistic-mixture":
        return small(likelihood=name, domain=domain_of(kind), event_shape=(3, 2, 2))
    return small(likelihood=name, domain=domain_of(kind, tabular(kind)), event_shape=tabular(kind))


def of_encoder(name: str) -> VAE:
    return small(encoder=name, event_shape=IMAGE)


def of_decoder(name: str) -> VAE:
    if name == "topics":
        return small(decoder=name, likelihood="multinomial", domain=Domain("count"), event_shape=(4,))
    return small(decoder=name, event_shape=IMAGE)


def labelled(auxiliary: bool = False) -> VAE:
    """Of real numbers, as M2 is of the codes of M1."""
    values: dict[str, Any] = {"encoder": MLP, "decoder": MLP, "classifier": MLP, "likelihood": "normal"}
    values["latents"] = {"z": {"size": 2}}
    if auxiliary:
        values["auxiliary"] = {"size": 3, "encoder": MLP, "generator": MLP}
    schema = Schema(event_shape=(4,), domain=domain_of("real"), condition=3, classes=("a", "b", "c"))
    return moved(build_model(parse({"model": values}).model, schema)).float().eval()


TWO: dict[str, Any] = {"latents": {"z1": 2, "z2": 3}, "prior": "diagonal-normal"}
STRUCTURES: Mapping[str, Callable[[], VAE]] = {
    "vae": small,
    "semi-supervised": labelled,
    "hierarchical": lambda: small(structure="hierarchical", **TWO),
    "ladder": lambda: small(structure="ladder", **TWO),
    "top-down": lambda: small(
        structure="top-down", encoder="pyramid", decoder="resnet", event_shape=IMAGE, prior="diagonal-normal"
    ),
    "hamiltonian": lambda: small(structure="hamiltonian"),
}
SLOPES = "codes of a HamiltonianVAE are led along gradients of log p(x, z), which no program takes; accepted: decode,"
FAMILIES: Mapping[str, tuple[Mapping[str, Any], Callable[[str], VAE], tuple[str, ...]]] = {
    "posteriors": (PARTS.posteriors, of_posterior, ("encode", "score")),
    "priors": (PARTS.priors, of_prior, ("sample", "score")),
    "likelihoods": (PARTS.likelihoods, of_likelihood, ("decode", "score")),
    "encoders": (PARTS.encoders, of_encoder, ("encode",)),
    "decoders": (PARTS.decoders, of_decoder, ("decode",)),
    "structures": (PARTS.structures, lambda name: STRUCTURES[name](), ("encode", "decode", "sample", "score")),
}
"""Of each family the parts, a model of each, and the programs that it is in."""
NOT_MADE: Mapping[tuple[str, str, str], str] = {
    **{("priors", name, what): why for (what, name), why in REFUSED.items()},
    **{("posteriors", name, "score"): "Dirichlet" for name in SIMPLEX},
    ("priors", "dirichlet", "score"): "Dirichlet",
    **{("structures", "hamiltonian", what): SLOPES for what in ("encode", "score")},
}
"""What there is none of, and why."""
QUICK = [
    ("posteriors", "vq", "encode"),
    ("likelihoods", "weibull", "decode"),
    ("likelihoods", "truncated-normal", "decode"),
]
CASES = [
    (family, name, what) for family, (parts, _, programs) in FAMILIES.items() for name in parts for what in programs
]
MADE = [each for each in CASES if each not in NOT_MADE]


def session(file: Path) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(str(file), options)


def compare(model: VAE, what: str, folder: Path) -> None:
    """The same numbers as the model's, of several rows and of one."""
    assert not export(model, folder, "onnx", [what]).left_out
    given, opened = asked(model, what), session(folder / f"{what}.onnx")
    for rows in (B, 1):
        found = opened.run(None, {key: each[:rows].numpy() for key, each in given.items()})
        wanted = ran(what, model, *(each[:rows] for each in given.values()))
        for one, other in zip(found, wanted, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "name", "what"), [pytest.param(*each, marks=() if each in QUICK else pytest.mark.slow) for each in MADE]
)
def test_each_part_is_in_onnxruntime_what_it_is_in_the_model(family: str, name: str, what: str, tmp_path: Path) -> None:
    compare(FAMILIES[family][1](name), what, tmp_path)


@pytest.mark.parametrize(("family", "name", "what"), [each for each in CASES if each in NOT_MADE])
def test_what_is_not_made_is_refused_in_a_line_before_work(family: str, name: str, what: str, tmp_path: Path) -> None:
    model = FAMILIES[family][1](name)
    with refuses(NOT_MADE[family, name, what]):
        export(model, tmp_path / "out", "onnx", [what])
    assert not (tmp_path / "out").exists()


def test_every_structure_of_the_registry_has_a_model_here() -> None:
    assert set(STRUCTURES) == set(PARTS.structures)
    assert set(NOT_MADE) <= set(CASES)


@pytest.mark.slow
def test_a_model_with_an_auxiliary_latent_scores_by_noise_of_both(tmp_path: Path) -> None:
    model = labelled(auxiliary=True)
    assert program("score", model).inputs[1].shape == (5,)
    compare(model, "score", tmp_path)


def people(rows: int) -> pd.DataFrame:
    draws = np.random.default_rng(rows)
    table = pd.DataFrame(
        {
            "height": 170 + 10 * draws.normal(size=rows),
            "city": draws.choice(["Rome", "Oslo", "Bonn"], rows),
            "visits": draws.poisson(4, rows),
            "member": draws.choice(["no", "yes"], rows),
        }
    )
    table.loc[::9, "height"] = np.nan
    table.loc[4::11, "city"] = None
    return table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    hidden = ["model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latents.z.size=2"]
    sets = [*hidden, "training.early_stopping=none"]
    return train(people(150), tmp_path_factory.mktemp("people") / "run", sets=sets, epochs=1)


def numbers(table: pd.DataFrame, notes: Mapping[str, Any]) -> np.ndarray:
    """A table as numbers, by what the notes of a file say of its columns and nothing else."""
    found = []
    for column in notes["data"]["columns"]:
        cells = table[column["name"]]
        if "categories" in column:
            index = {each: i for i, each in enumerate(column["categories"])}
            found.append([np.nan if pd.isna(each) else index[str(each)] for each in cells])
        else:
            found.append(cells.astype(float))
    return np.stack(found, 1).astype(np.float32)


@pytest.mark.parametrize("what", ["encode", pytest.param("rest", marks=pytest.mark.slow)])
def test_a_whole_table_goes_from_its_raw_columns_and_back(what: str, run: Run, tmp_path: Path) -> None:
    names = ["encode"] if what == "encode" else ["decode", "score"]
    assert not export(run, tmp_path / "out", "onnx", names).left_out
    notes, table = json.loads((tmp_path / "out" / "vaekit.json").read_text()), people(40)
    x = numbers(table, notes)
    assert np.isnan(x).any()
    codes = run.encode(table)[0]
    if what == "encode":
        mean, _ = session(tmp_path / "out" / "encode.onnx").run(None, {"x": x})
        np.testing.assert_allclose(mean, codes, rtol=1e-5, atol=1e-5)
        return
    rows, probabilities = session(tmp_path / "out" / "decode.onnx").run(None, {"z": codes.astype(np.float32)})
    np.testing.assert_allclose(rows, run.model.decode(torch.from_numpy(codes)).numpy(), rtol=1e-5, atol=1e-5)
    sizes = [each["levels"] for each in notes["programs"]["decode"]["probabilities"]]
    assert probabilities.shape == (40, sum(sizes))
    np.testing.assert_allclose(np.add.reduceat(probabilities, [0, *np.cumsum(sizes)[:-1]], 1), 1, rtol=1e-5)
    # The mean over draws is the bound that vaekit reports.
    scorer, draws = session(tmp_path / "out" / "score.onnx"), 400
    with seeded(0):
        noise = torch.randn(draws, 40, 2).numpy()
    elbo = np.stack([scorer.run(None, {"x": x, "noise": each})[0] for each in noise])
    wanted = run.evaluate(table, samples=2000)
    error = np.hypot(elbo.mean(1).std() / np.sqrt(draws), elbo.mean(1).std() / np.sqrt(2000))
    assert abs(elbo.mean() - wanted.elbo) < 4.5 * error
