"""Programs of a model: equal to the model's own numbers, recorded, and read where there is no vaekit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands_for_tests import command, done
from models_for_tests import DOMAINS, SIMPLEX, SMALL, TOKENS, data_of, domain_of
from programs_for_tests import PAIRS, REFUSED, B, asked, noise_of, ran, small, tabular, with_holes
from runs_for_tests import small_run
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import special
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Independent, Laplace

from vaekit.data.columns import Column
from vaekit.data.covariates import Covariate
from vaekit.data.domains import Domain
from vaekit.data.numerals import Numeral
from vaekit.data.preprocessing import Preprocessing
from vaekit.distributions.divergences import kl
from vaekit.distributions.noise import from_noise, noise_size
from vaekit.distributions.observed import observed_log_prob
from vaekit.distributions.validation import unvalidated
from vaekit.interop.export import PROGRAMS, export, plain, program, recorded
from vaekit.interop.export.notes import notes_of
from vaekit.interop.export.raw import of_files
from vaekit.interop.exported import NOTES, drop_others
from vaekit.interop.exported import exported as exported_in
from vaekit.models import VAE
from vaekit.networks.base import flat
from vaekit.runs.run import Run
from vaekit.seeding import seeded
from vaekit.spec.keys import Schema, Spec
from vaekit.spec.parts import PARTS

KINDS = [(name, kind) for name, part in PARTS.likelihoods.items() for kind in part.domains]


def traceable(name: str, model: VAE) -> None:
    """No part looks at values: there are none to look at."""
    own = program(name, model)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        found = own(*(mode.from_tensor(each) for each in own.examples()))
    assert [tuple(each.shape[1:]) for each in found] == [port.shape for port in own.outputs]


def elbo_by_hand(model: VAE, x: Tensor, noise: Tensor, y: Tensor | None = None) -> Tensor:
    """The ELBO of rows x, by the parts of a model, at draws made of noise; y as networks see it."""
    observed = ~x.isnan()
    whole = torch.where(observed, x, torch.as_tensor(model.domain.filler).float())
    with torch.no_grad(), unvalidated():
        features = flat(model.encoder, model.encoder(model.inputs(whole, observed), *([] if y is None else [y])))
        found, total = [], torch.zeros(len(x))
        posteriors = {name: posterior(features) for name, posterior in model.posteriors.items()}
        parts = noise.split([noise_size(q) for q in posteriors.values()], -1)
        for (name, q), own in zip(posteriors.items(), parts, strict=True):
            p = model.priors[name](y)
            if q.has_enumerate_support:
                z = q.enumerate_support()
                px = model.likelihood(model.decoder(z))
                at = q.log_prob(z)
                return (at.exp() * (px.log_prob(whole) + p.log_prob(z) - at)).sum(0)
            z = from_noise(q, own)
            exact = kl(q, p)
            total = total - (q.log_prob(z) - p.log_prob(z) if exact is None else exact)
            found.append(z)
        px = model.likelihood(model.decoder(torch.cat(found, -1), *([] if y is None else [y])))
        return (observed_log_prob(px, whole, observed) + total).float()


@pytest.mark.parametrize(("likelihood", "kind"), KINDS)
def test_every_likelihood_decodes_and_scores_as_the_model_does(likelihood: str, kind: str):
    model = small(likelihood=likelihood, domain=domain_of(kind, tabular(kind)), event_shape=tabular(kind))
    z, x, noise = noise_of(B, 2), with_holes(model), noise_of(B, 2, seed=1)
    assert torch.equal(ran("decode", model, z)[0], model.decode(z))
    assert torch.equal(ran("encode", model, x)[0], model.encode(x))
    (elbo,) = ran("score", model, x, noise)
    assert torch.allclose(elbo.float(), elbo_by_hand(model, x, noise), rtol=1e-4, atol=1e-4)
    if kind == PARTS.likelihoods[likelihood].domains[0]:
        traceable("decode", model)
        traceable("score", model)


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_every_posterior_and_prior_encode_sample_and_score_as_the_model_does(posterior: str, prior: str):
    model = small(posterior=posterior, prior=prior, latents={"z": 4})
    x, noise = data_of(model.domain, (B, 4)).float(), noise_of(B, 4)
    usual = next(p for q, p in PAIRS if q == posterior)
    mean, _ = ran("encode", model, x)
    assert torch.allclose(mean, model.encode(x), rtol=0, atol=1e-6)
    # A code does not depend on what is beside it.
    assert torch.allclose(mean[:1], model.encode(x[:1]), rtol=0, atol=1e-6)
    if prior == usual and posterior != "flow":  # whose means are of many draws
        traceable("encode", model)
    if (why := REFUSED.get(("sample", prior), "Dirichlet" if posterior in SIMPLEX else None)) is None:
        if posterior in ("diagonal-normal", "relaxed-categorical", "fsq"):
            traceable("sample", model)
    else:
        with pytest.raises(ValueError, match=f"a draw of {why} can't be made of given noise; accepted: ") as error:
            program("sample", model)
        assert "\n" not in str(error.value)
    if ("score", prior) not in REFUSED and posterior not in SIMPLEX:
        assert torch.allclose(ran("score", model, x, noise)[0], elbo_by_hand(model, x, noise), rtol=1e-5, atol=1e-4)
        if prior == usual or posterior == "diagonal-normal":
            traceable("score", model)


@pytest.mark.parametrize("prior", [name for name in PARTS.priors if ("sample", name) not in REFUSED])
def test_what_is_made_of_noise_is_distributed_as_the_prior(prior: str):
    model = small(prior=prior, latents={"z": 4}, posterior="fsq" if prior in TOKENS else None)
    p = model.priors["z"](None)
    draws = 20_000
    with seeded(0), torch.no_grad():
        z, want = from_noise(p, torch.randn(draws, noise_size(p))), p.sample((draws,))
    for moment in (1, 2):
        one, other = z.double() ** moment, want.double() ** moment
        error = ((one.var(0) + other.var(0)) / draws).sqrt() + 1e-9
        assert ((one.mean(0) - other.mean(0)).abs() / error).max() < 4.5
    pairs = (z[:, 0] * z[:, 1]).double(), (want[:, 0] * want[:, 1]).double()
    error = (sum(each.var() for each in pairs) / draws).sqrt() + 1e-9
    assert (pairs[0].mean() - pairs[1].mean()).abs() / error < 4.5


STRUCTURES = {
    "hierarchical": {"structure": "hierarchical", "latents": {"z1": 2, "z2": 3}, "prior": "diagonal-normal"},
    "conditional": {"condition": 3},
    "covariates": {"condition": 2, "condition_units": ((1.0, 2.0), (3.0, 4.0))},
    "two latents": {"latents": {"a": 2, "b": 3}},
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_structures_do_as_the_model_does(structure: str):
    model = small(**STRUCTURES[structure])
    x, z, noise = data_of(model.domain, (B, 4)).float(), noise_of(B, model.latent_size), noise_of(B, model.latent_size)
    labels = structure == "conditional"
    y = [torch.arange(B) % 3] if labels else [noise_of(B, 2, seed=2)] if structure == "covariates" else []
    assert torch.equal(ran("encode", model, x, *y)[0], model.encode(x, *y))
    assert torch.equal(ran("decode", model, z, *y)[0], model.decode(z, *y))
    (elbo,) = ran("score", model, x, noise, *y)
    if structure != "hierarchical":
        seen = model.network_condition(y[0]) if y else None
        assert torch.allclose(elbo, elbo_by_hand(model, x, noise, seen), rtol=1e-5, atol=1e-4)
    traceable("sample", model)
    assert torch.allclose(model(x, *y), model.reconstruct(x, *y), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        pytest.param("diagonal-normal", "transformer", marks=pytest.mark.slow),  # its network is that of tokens
        ("fsq", "transformer-tokens"),
    ],
)
def test_a_score_under_a_prior_of_parts_in_turn_is_recorded_for_any_batch(posterior: str, prior: str):
    model = small(posterior=posterior, prior=prior, latents={"z": 4})
    own = program("score", model)
    made = recorded(own).module()
    for rows in (B, 1):
        given = data_of(model.domain, (rows, 4)).float(), noise_of(rows, 4)
        assert torch.allclose(made(*given)[0], own(*given)[0], rtol=1e-5, atol=1e-5)


class Other(nn.Module):
    """A posterior of somebody else's, whose draws are made in ways that nobody knows."""

    def __init__(self, features: int, latent: int) -> None:
        super().__init__()
        self.head = nn.Linear(features, latent)

    def forward(self, features: Tensor):
        return Independent(Laplace(self.head(features), 1.0, validate_args=False), 1, validate_args=False)


class Looking(nn.Module):
    """A network that looks at what it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) if float(x.sum()) > -1e9 else x


def test_what_can_not_be_made_is_refused_in_a_line(tmp_path: Path):
    parts = PARTS.extended(posteriors={"other": Other})
    model = small(posterior="other", prior="standard-normal", parts=parts)
    assert program("encode", model).outputs[1].name == "sd"
    with pytest.raises(ValueError, match="a draw of Laplace can't be made of given noise; accepted: normals"):
        program("score", model)
    with pytest.raises(ValueError, match=r"unknown format 'onx' .*accepted: onnx, torch, safetensors"):
        export(model, tmp_path, "onx")
    with pytest.raises(ValueError, match="unknown program 'encod'"):
        export(model, tmp_path, "torch", ["encod"])
    with pytest.raises(ValueError, match="score: a draw of Laplace can't be made"):
        export(model, tmp_path, "torch", ["score"])
    assert not list(tmp_path.iterdir())
    looking = small()
    looking.encoder = Looking(looking.encoder)
    with pytest.raises(ValueError, match=r"encode can't be recorded by torch\.export: ") as error:
        recorded(program("encode", looking))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="score draws numbers of its own"):
        program("score", small(posterior="fsq", prior="masked-tokens", latents={"z": 4}))


ALONE = """
import sys
sys.modules["vaekit"] = None  # an import of it fails
import json, torch
from pathlib import Path
from safetensors.torch import load_file
try:
    import vaekit
except ImportError:
    pass
else:
    raise SystemExit("vaekit is there")
for folder in map(Path, sys.argv[1:]):
    tensors, extra = load_file(folder / "expected"), {"vaekit.json": ""}
    for file in sorted(folder.glob("*.pt2")):
        made = torch.export.load(file, extra_files=extra)
        notes = json.loads(extra["vaekit.json"])
        given = [tensors[f"{file.stem}.{port['name']}"] for port in notes["inputs"]]
        for rows in (5, 1, 0):
            found = made.module()(*(each[:rows] for each in given))
            for port, each in zip(notes["outputs"], found, strict=True):
                want = tensors[f"{file.stem}.{port['name']} made"][:rows]
                torch.testing.assert_close(each, want, rtol=1e-5, atol=1e-5)
        print(file.name)
"""


def expected(folder: Path, model: VAE, names: list[str]) -> None:
    """Write what is given to programs, and what they are to make of it."""
    tensors = {}
    for name in names:
        own, given = program(name, model), asked(model, name)
        with torch.no_grad():
            made = own(*given.values())
        tensors |= {f"{name}.{key}": each for key, each in given.items()}
        tensors |= {f"{name}.{port.name} made": each for port, each in zip(own.outputs, made, strict=True)}
    save_file({key: each.contiguous().clone() for key, each in tensors.items()}, folder / "expected")


def table() -> VAE:
    return small(likelihood="columns", options=SMALL | {"columns": {"components": 1}}, domain=COLUMNS, event_shape=(3,))


def conditional() -> VAE:
    return small(condition=3, prior="mixture")


COLUMNS = Domain("columns", columns=(DOMAINS["real"], DOMAINS["categorical"], DOMAINS["grey"]))


def test_archives_need_no_vaekit(tmp_path: Path):
    for name, model, what in (
        ("conditional", conditional(), ["sample"]),
        ("table", table(), ["decode"]),
    ):
        assert not export(model, tmp_path / name, "torch", what).left_out
        expected(tmp_path / name, model, what)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE, str(tmp_path / "conditional"), str(tmp_path / "table")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [f"{name}.pt2" for name in ("sample", "decode")]
    notes = json.loads((tmp_path / "conditional" / "vaekit.json").read_text())
    assert list(notes["programs"]) == ["sample"]
    assert notes["programs"]["sample"]["inputs"][0]["shape"] == ["batch", 3]  # one chooses the component


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what the page of the documents reads."""
    folder = tmp_path_factory.mktemp("exported")
    export(small(prior="mixture"), folder / "digits-onnx", "onnx", ["sample"])
    export(small(), folder / "digits-torch", "torch", ["encode"])
    export(table(), folder / "table", "onnx", ["encode"])
    return folder


def test_onnx_gives_the_same_numbers(exported: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    for model, file in ((table(), "table/encode.onnx"), (small(prior="mixture"), "digits-onnx/sample.onnx")):
        name = Path(file).stem
        given = asked(model, name)
        session = onnxruntime.InferenceSession(str(exported / file))
        assert [each.name for each in session.get_inputs()] == list(given)
        assert session.get_inputs()[0].shape[0] == "batch"
        notes = json.loads(session.get_modelmeta().custom_metadata_map["vaekit"])
        assert [each["name"] for each in notes["inputs"]] == list(given)
        for rows in (B, 1):
            found = session.run(None, {key: each[:rows].numpy() for key, each in given.items()})
            want = ran(name, model, *(each[:rows] for each in given.values()))
            for one, other in zip(found, want, strict=True):
                np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-5)


def test_the_page_of_the_documents_runs(exported: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(exported)
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "export.md", "exec"), names)
    assert names["images"].shape == (16, 4)  # type: ignore[attr-defined]
    assert names["mean"].shape == (16, 2)  # type: ignore[attr-defined]


TREATED = {
    "grey": (("data.binarize=grey",), lambda x, u: x / 16),
    "threshold": (("data.binarize=threshold",), lambda x, u: x > 8),
    "static": (("data.binarize=static",), lambda x, u: u < x / 16),
    "stochastic": (("data.binarize=stochastic",), lambda x, u: u < x / 16),
    "crop": (("data.binarize=grey", "data.crop=[4, 7]"), lambda x, u: x[..., 2:6, :7] / 16),
    "dequantized": (("data.dequantize=true", "model.likelihood=beta"), lambda x, u: x + u),
}
"""By what is done to pixels: the settings, and what a model sees of x, by uniform numbers u."""


@pytest.mark.parametrize("name", TREATED)
def test_programs_of_a_run_are_given_pixels_as_they_are_in_files(name: str, tmp_path: Path):
    settings, seen = TREATED[name]
    run = small_run(tmp_path / "run", "model.likelihood=bernoulli", *settings)
    x = torch.from_numpy(run.dataset.splits["test"].x[:B]).float()
    uniform = torch.rand(B, *run.schema.event_shape, generator=torch.Generator().manual_seed(0))
    given, noise = seen(x, uniform).float(), noise_of(B, run.model.latent_size)
    drawn = [uniform] if name in ("static", "stochastic", "dequantized") else []
    own = {each: of_files(program(each, run.model), run) for each in PROGRAMS}
    for found, want in (
        (own["encode"](x, *drawn), program("encode", run.model)(given)),
        (own["score"](x, *drawn, noise), program("score", run.model)(given, noise)),
    ):
        for one, other in zip(found, want, strict=True):
            assert torch.allclose(one, other, rtol=1e-6, atol=1e-6)
    if not drawn:
        codes = torch.as_tensor(run.encode("test")[0][:B])
        assert torch.allclose(own["encode"](x)[0], codes, rtol=0, atol=1e-5)
    (back,), (mean,) = own["decode"](noise), program("decode", run.model)(noise)
    assert torch.equal(back, mean if name == "dequantized" else 16 * mean)
    x[0, 0, 3, 3] = given[0, 0, 1 if name == "crop" else 3, 3] = torch.nan
    codes, _ = own["encode"](x, *drawn)
    assert torch.allclose(codes, program("encode", run.model)(given)[0], rtol=1e-6, atol=1e-6)


def test_masks_are_taken_of_255_and_of_1(tmp_path: Path):
    masks = (np.random.default_rng(0).random((60, 1, 8, 8)) < 0.3).astype(np.uint8)
    np.savez(tmp_path / "masks.npz", x=255 * masks)
    file = f"data.name={tmp_path / 'masks.npz'}"
    run = small_run(tmp_path / "run", file, "data.test=20", "training.batch_size=20", "model.likelihood=bernoulli")
    own, x = of_files(program("encode", run.model), run), torch.from_numpy(masks[:B]).float()
    (mean, _) = program("encode", run.model)(x)
    for factor in (1, 255):
        assert torch.equal(own(factor * x)[0], mean)


@pytest.mark.parametrize("to", ["torch", "onnx"])
def test_images_of_any_size_are_cropped_in_the_graph(to: str, tmp_path: Path):
    run = small_run(tmp_path / "run", "data.binarize=stochastic", "data.crop=[4, 6]", "model.likelihood=bernoulli")
    export(run, tmp_path / "out", to, ["encode"])
    notes = json.loads((tmp_path / "out" / NOTES).read_text())["programs"]["encode"]
    assert [each["shape"] for each in notes["inputs"]] == [["batch", 1, "height", "width"], ["batch", 1, 4, 6]]
    generator = np.random.default_rng(0)
    uniform = generator.random((2, 1, 4, 6), dtype=np.float32)
    for height, width in ((4, 6), (8, 8), (31, 12)):
        x = generator.integers(0, 17, (2, 1, height, width)).astype(np.float32)
        top, left = (height - 4) // 2, (width - 6) // 2
        seen = torch.from_numpy((uniform < x[..., top : top + 4, left : left + 6] / 16).astype(np.float32))
        (mean, _) = program("encode", run.model)(seen)
        if to == "torch":
            own = torch.export.load(tmp_path / "out" / "encode.pt2").module()
            found = own(torch.from_numpy(x), torch.from_numpy(uniform))[0].detach().numpy()
        else:
            onnxruntime = pytest.importorskip("onnxruntime")
            session = onnxruntime.InferenceSession(str(tmp_path / "out" / "encode.onnx"))
            assert session.get_inputs()[0].shape == ["batch", 1, "height", "width"]
            found = session.run(None, {"x": x, "uniform": uniform})[0]
        np.testing.assert_allclose(found, mean.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_weights_alone_are_said_to_see_what_was_made_of_pixels(tmp_path: Path):
    run = small_run(tmp_path / "run", "data.binarize=grey", "model.likelihood=bernoulli")
    export(run, tmp_path / "out", "safetensors", ["encode"])
    notes = json.loads((tmp_path / "out" / NOTES).read_text())
    assert notes["data"]["preparation"] == "x / 16"
    assert notes["programs"]["encode"]["inputs"][0]["meaning"].startswith("what the model sees of data")
    assert all(
        name.startswith("encoder.") or "." in name for name in load_file(tmp_path / "out" / "weights.safetensors")
    )


def test_notes_say_what_data_are_in_files_and_what_is_made_of_them(tmp_path: Path):
    run = small_run(tmp_path / "run", "data.binarize=static", "data.crop=[4, 6]", "model.likelihood=bernoulli")
    data = notes_of(run)["data"]
    assert (data["shape"], data["values"]) == ([1, "height", "width"], "grey levels 0..16")
    assert data["seen"] == {"shape": [1, 4, 6], "kind": "binary", "values": "binary 0/1"}
    assert "resized" not in data
    spec = run.spec.model_copy(update={"data": run.spec.data.model_copy(update={"resize": 8})})
    said = notes_of(Run(run.path, spec, run.schema, run.model))["data"]["resized"]
    assert said == "the middle square of an image to 8 high and 8 wide, by Pillow's bicubic filter"


def test_programs_of_summed_classes_take_batches_of_none_and_of_one(tmp_path: Path):
    sets = ("model.classifier={name='mlp', hidden=[8]}", "model.structure=semi-supervised", "objective=semi-supervised")
    run = small_run(tmp_path / "run", *sets, "data.labels=50", "training.labelled=20")
    export(run, tmp_path / "out", "torch", ["score", "sample"])
    load = lambda name: torch.export.load(tmp_path / "out" / f"{name}.pt2").module()  # noqa: E731
    score, sample = load("score"), load("sample")
    for rows in (0, 1, 5):
        assert score(torch.zeros(rows, *run.schema.event_shape), noise_of(rows, 3))[0].shape == (rows,)
        assert len(sample(noise_of(rows, 3), torch.zeros(rows, dtype=torch.int64))[0]) == rows


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ""),
        ({"binarize": "static"}, "1 with probability x / 255, else 0"),
        ({"binarize": "stochastic"}, "1 with probability x / 255, else 0"),
        ({"dequantize": True}, "x and a uniform draw from 0 to 1"),
        ({"crop": (2, 3), "binarize": "grey"}, "the middle of the image, 2 high and 3 wide; x / 255"),
    ],
)
def test_a_preparation_is_said_in_words(settings: dict[str, Any], said: str):
    assert Preprocessing(**settings).described(Domain("grey", levels=256)) == said
    if "crop" not in settings and "dequantize" not in settings:
        assert Preprocessing(**settings).described(Domain("binary")) == ""


def test_notes_say_what_columns_and_their_numbers_are():
    columns = (
        Column("height", "real", numeral=Numeral(after=" cm")),
        Column("city", "categorical", ("Rome", "Oslo", "Bonn", "Lima")),
        Column("size", "ordinal", ("xs", "s", "m", "l", "xl")),
    )
    covariates = (Covariate("age"), Covariate("batch", ("b", "a")))
    names = ("height", "city", "size")
    schema = Schema(event_shape=(3,), domain=COLUMNS, columns=names, table=columns, condition=3, covariates=covariates)
    model = table()
    own = program("decode", model)
    given = conditional()
    assert notes_of(Run(Path("runs/people"), Spec(), schema, given), program("sample", given))["covariates"] == [
        {"name": "age", "numbers": 1},
        {"name": "batch", "numbers": 2, "categories": ["b", "a"]},
    ]
    notes = notes_of(Run(Path("runs/people"), Spec(), schema, model), own)
    assert notes["run"] == "people"
    assert "covariates" not in notes
    assert notes["data"]["columns"][0] == {"name": "height", "kind": "real", "unit": "cm"}
    assert notes["data"]["columns"][1] == {
        "name": "city",
        "kind": "categorical",
        "categories": list(columns[1].categories),
    }
    assert notes["probabilities"] == [{"column": "city", "levels": 4}, {"column": "size", "levels": 5}]
    dates = (Column("day", "date", unit="D"), Column("opens", "date", unit="min", format="%H:%M"))
    shops = schema.model_copy(update={"columns": ("day", "opens"), "table": dates})
    units = [each["unit"] for each in notes_of(Run(Path("runs/shops"), Spec(), shops, model))["data"]["columns"]]
    assert units == ["D since 1970", "min since midnight"]
    (_, probabilities) = ran("decode", model, noise_of(B, 2))
    assert probabilities.shape == (B, 9)
    assert torch.allclose(probabilities.split([4, 5], -1)[1].sum(-1), torch.ones(B))
    likeliest = model.decode(noise_of(B, 2))[:, 1]
    assert torch.equal(probabilities[:, :4].argmax(-1), likeliest.long())


def test_the_command_says_what_it_wrote(tmp_path: Path):
    small_run(tmp_path / "run")
    said = done("export", tmp_path / "run", "--to", "torch", "--what", "decode", "--out", tmp_path / "out")
    first, second = said.splitlines()
    assert re.fullmatch(r".*decode\.pt2: z \(batch, \d+\) float32 -> x \(batch(, \d+)+\) float32", first)
    assert second.endswith("vaekit.json: what is in the files: inputs, outputs, columns, classes")
    refused = command("export", tmp_path / "run", "--what", "decode", "--out", tmp_path / "other")
    assert refused.status == 2
    assert "--what decode is of --to onnx, torch and safetensors" in refused.err


def test_an_export_in_the_place_of_another_leaves_nothing_of_it_and_all_else(tmp_path: Path):
    small_run(tmp_path / "run")
    out, others = tmp_path / "out", {"notes.txt": "mine", "own.onnx": "mine"}
    done("export", tmp_path / "run", "--to", "torch", "--what", "encode,decode,sample", "--out", out)
    for name, text in others.items():
        (out / name).write_text(text)
    (out / "sample.pt2").write_bytes(b"changed since")
    (out / "encode.pt2").rename(tmp_path / "elsewhere.pt2")
    (out / "encode.pt2").symlink_to(tmp_path / "elsewhere.pt2")
    done("export", tmp_path / "run", "--to", "safetensors", "--what", "encode", "--out", out, "--overwrite")
    kept = {*others, "sample.pt2", "encode.pt2", "weights.safetensors", "vaekit.json"}
    assert {each.name for each in out.iterdir()} == kept
    assert (tmp_path / "elsewhere.pt2").exists()
    done("export", tmp_path / "run", "--to", "torch", "--what", "decode", "--out", out, "--overwrite")
    assert {each.name for each in out.iterdir()} == kept - {"weights.safetensors"} | {"decode.pt2"}


@pytest.mark.parametrize("notes", ["", "[]", "null", '{"files": 3}', '{"files": {"../run.json": "0", "a.onnx": 1}}'])
def test_notes_that_are_no_export_delete_nothing(notes: str, tmp_path: Path):
    (out := tmp_path / "out").mkdir()
    for path in (tmp_path / "run.json", out / "a.onnx"):
        path.write_text("mine")
    (out / NOTES).write_text(notes)
    drop_others(exported_in(out), [])
    assert (tmp_path / "run.json").exists()
    assert {each.name for each in out.iterdir()} == {"a.onnx", NOTES}


def test_weights_are_as_readable_as_other_files(tmp_path: Path):
    written = export(small(), tmp_path, "safetensors", ["decode"]).written
    assert len({each.path.stat().st_mode for each in written}) == 1


@pytest.mark.parametrize(("posterior", "prior"), [("diagonal-normal", "mixture"), ("flow", "flow")])
@pytest.mark.parametrize("name", ["encode", "decode", "sample", "score"])
def test_a_model_of_double_precision_is_asked_and_answers_in_it(name: str, posterior: str, prior: str):
    model = small(posterior=posterior, prior=prior, latents={"z": 4})
    given = list(asked(model, name).values())
    single = ran(name, model, *given)
    double = ran(name, model.double(), *(each.double() for each in given))
    assert all(each.dtype is torch.float64 for each in double)
    assert all(torch.allclose(one, other.float(), atol=1e-3) for one, other in zip(single, double, strict=True))


def test_weights_are_those_that_the_programs_read(tmp_path: Path):
    model = conditional()
    (written, _) = export(model, tmp_path, "safetensors", ["decode"]).written
    with safe_open(written.path, "pt") as file:
        names, notes = set(file.keys()), json.loads(file.metadata()["vaekit"])
        state = model.state_dict()
        for name in names:
            assert torch.equal(file.get_tensor(name), state[name])
        assert json.loads(file.metadata()["shapes"]) == {name: list(state[name].shape) for name in names}
    assert names == {name for name in state if name.startswith("decoder.")}
    assert notes["latents"] == {"z": [2]}


def test_forward_is_reconstruct_and_is_exported():
    model, x = small(), data_of(domain_of("binary"), (B, 4)).float()
    made = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert torch.allclose(made.module()(x[:2]), model.reconstruct(x[:2]), rtol=0, atol=1e-6)
    assert model(x).requires_grad


def test_plain_operators_are_those_that_they_stand_for():
    x = torch.from_numpy(np.geomspace(1e-6, 1e12, 2001))
    one = torch.ones((), dtype=torch.float64)
    assert ((plain.lgamma(x) - torch.lgamma(x)).abs() / torch.maximum(one, torch.lgamma(x).abs())).max() < 1e-12
    assert (plain.erfcx(x) / torch.special.erfcx(x) - 1).abs().max() < 1e-13
    x = torch.cat([-x, x])
    assert ((plain.asinh(x) - torch.asinh(x)).abs() / torch.asinh(x).abs()).max() < 1e-14
    assert torch.allclose(plain.erf(x), torch.erf(x), rtol=1e-14, atol=0)
    p = torch.cat([torch.logspace(-300, -0.31, 2001, dtype=torch.float64), torch.linspace(0.001, 0.999, 998).double()])
    wanted = torch.from_numpy(special.ndtri(p.numpy()))
    assert ((plain.ndtri(p) - wanted).abs() / wanted.abs().clamp(min=1e-3)).max() < 1e-13
    assert torch.equal(plain.ndtri(torch.tensor([0.0, 1.0])), torch.tensor([-torch.inf, torch.inf]))
    assert torch.allclose(plain.softplus(x), nn.functional.softplus(x), rtol=0, atol=3e-9)
    assert torch.allclose(plain.log_sigmoid(x), nn.functional.logsigmoid(x), rtol=0, atol=3e-9)
    small = x[x.abs() < 500]
    assert torch.allclose(plain.sinh(small), torch.sinh(small), rtol=1e-14, atol=0)
    assert torch.allclose(plain.cosh(small), torch.cosh(small), rtol=1e-14, atol=0)
    with seeded(0):
        root, value = torch.randn(3, 4, 4, dtype=torch.float64), torch.randn(3, 4, 2, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(4, dtype=torch.float64)
    for upper in (False, True):
        factor = torch.linalg.cholesky(matrix, upper=upper)
        assert torch.allclose(plain.cholesky(matrix, upper)[0], factor)
        for left, own in ((True, value), (False, value.mT)):
            for one in (False, True):
                how = {"upper": upper, "left": left, "unitriangular": one}
                want = torch.linalg.solve_triangular(factor, own, **how)
                assert torch.allclose(plain.solve_triangular(factor, own, **how), want)
