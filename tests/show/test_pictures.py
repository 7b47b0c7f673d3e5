"""Named pictures of runs: what each shows, of which runs, and those that are drawn while a run is trained."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawing_for_tests import given, pixels
from matplotlib.figure import Figure
from matplotlib.image import imread
from models_for_tests import float64, refuses
from rounding_for_tests import close_in_ulps
from runs_for_tests import SMALL, equal, metrics, small_run, weights
from torch.distributions import AffineTransform, Independent, MultivariateNormal, Normal, TransformedDistribution

from vaekit import Callbacks, train
from vaekit.evaluation.evaluation import clusters
from vaekit.runs.run import Run, load_run
from vaekit.seeding import seeded
from vaekit.show import plots
from vaekit.show.pictures import PICTURES, Picture, Prepared, Subject, groups, latent
from vaekit.show.pictures.drawing import draw, offers, prepare, watch
from vaekit.spec.parsing import changed
from vaekit.spec.parts import PARTS
from vaekit.training.weights import read_tensors

NAMES = list(PICTURES)
TWO = (
    "model.condition=true",
    "model.encoder={name='conv', channels=[4], dense=16}",
    "model.decoder={name='conv', channels=[4], dense=16}",
    "model.latents.u={size=4, posterior='full-rank-normal', prior={name='mixture', components=3}}",
)
DISCRETE = "model.latents.c={size=5, posterior='relaxed-categorical', prior='uniform-categorical'}"
CHAIN = (
    "model.structure=hierarchical",
    "model.latents.z.prior=diagonal-normal",
    "model.latents.top={size=4, prior={name='mixture', components=3}}",
    "model.latents.top.encoder={name='mlp', hidden=[12]}",
)
SEMI = ("data.labels=100", "training.labelled=20", "model.classifier={name='mlp', hidden=[8]}")
VAMP = "model.latents.z={size=3, posterior='flow', prior={name='vamp', components=4}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def digits(folder: Path) -> Run:
    return small_run(folder / "digits")


@pytest.fixture(scope="module")
def two(folder: Path) -> Run:
    return small_run(folder / "two", *TWO)


@pytest.fixture(scope="module")
def discrete(folder: Path) -> Run:
    return small_run(folder / "discrete", DISCRETE)


@pytest.fixture(scope="module")
def vamp(folder: Path) -> Run:
    return small_run(folder / "vamp", VAMP, "training.epochs=1")


@pytest.fixture(scope="module")
def chain(folder: Path) -> Run:
    return small_run(folder / "chain", *CHAIN, "training.epochs=1")


@pytest.fixture(scope="module")
def semi(folder: Path) -> Run:
    return small_run(folder / "semi", *SEMI, "model.auxiliary={size=2}", "training.epochs=1")


@pytest.fixture(scope="module")
def table(folder: Path) -> Run:
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{'high' if a > 0 else 'low'}" for a, b in rng.normal(size=(80, 2))]
    (folder / "table.csv").write_text("\n".join(["a,b,kind", *rows]))
    sets = ["data.label=kind", "training.epochs=1", "training.batch_size=20", "model.latents.z.size=2"]
    return train(str(folder / "table.csv"), folder / "table", sets=sets)


RUNS = ("digits", "two", "discrete", "vamp", "chain", "semi", "table")
LONG = {"vamp", "chain", "two", "discrete", "semi"}
"""Seconds each: what they draw differently has tests of its own."""
OF_TABLES = {"dependences", "missing"}
OF_IMAGES = {"untrained-samples", "pairs", "reconstruct-one", "interpolation", "traversal", "manifold"}
NOT_OF_ALL = {"manifold", "topics", *OF_TABLES}
LACKING = {
    "digits": {"conditional-grid", "cluster-grid", *NOT_OF_ALL},
    "two": NOT_OF_ALL,
    "discrete": {"conditional-grid", *NOT_OF_ALL},
    "vamp": {"conditional-grid", "kl", *NOT_OF_ALL},
    "chain": {"conditional-grid", "kl", *NOT_OF_ALL},
    "semi": {"cluster-grid", *NOT_OF_ALL},
    "table": {"conditional-grid", "cluster-grid", "missing", "topics", *OF_IMAGES},
}
FEW: dict[str, dict[str, Any]] = {
    "latents": {"n": 50},
    "correlations": {"n": 20},
    "importance-weights": {"n": 10, "samples": 30},
    "interpolation": {"n": 2, "columns": 4},
    "traversal": {"n": 3, "columns": 4},
}


def texts(figure: Figure) -> list[str]:
    return [each.get_text() for axes in figure.axes for each in axes.texts]


@pytest.mark.parametrize(
    "kind", [pytest.param(each, marks=[pytest.mark.slow] if each in LONG else []) for each in RUNS]
)
def test_each_picture_is_drawn_or_refused_in_one_line(kind: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(kind)
    assert {offer.name for offer in offers(run) if offer.lacks} == LACKING[kind]
    for i, name in enumerate(NAMES):
        if name in LACKING[kind]:
            with refuses(f"picture '{name}' needs "):
                draw(run, name)
            continue
        # Each picture in both themes, though not of each run: they differ in their colours alone.
        figure = draw(run, name, theme=(plots.LIGHT, plots.DARK)[(RUNS.index(kind) + i) % 2], **FEW.get(name, {}))
        assert np.ptp(pixels(figure)) > 0.2, name
        if figure.get_layout_engine() is not None:
            assert figure.get_suptitle(), name


def test_names_and_options_that_there_are_not(digits: Run) -> None:
    with refuses("unknown picture 'sample' (did you mean 'samples'?); accepted: data, samples"):
        draw(digits, "sample")
    with refuses("unknown option of picture 'curves': 'n'; accepted: none"):
        draw(digits, "curves", n=3)
    with refuses("n of a picture is 0; accepted: 1 or more"):
        draw(digits, "samples", n=0)
    with refuses("datum is 300; accepted: 0..299, the rows of test"):
        draw(digits, "reconstruct-one", datum=300)
    with refuses("datum is -1; accepted: 0..299, the rows of test"):
        draw(digits, "correlations", datum=-1)
    with refuses("has no split 'tset'"):
        draw(digits, "data", split="tset")


def test_samples_are_those_of_the_model_in_a_square(digits: Run) -> None:
    prepared = prepare(Subject(digits, seed=3), "samples", {})
    (images,) = given(prepared)
    assert close_in_ulps(images, digits.model.sample(64, draw=False, seed=3))
    shape = pixels(prepared.draw()).shape
    assert shape[0] == shape[1] == 8 * 120 + 7 * 10
    wide = pixels(draw(digits, "samples", n=100))
    assert wide.shape[0] == wide.shape[1] == 10 * 120 + 9 * 10


def test_conditional_samples_are_given_the_labels_of_data(two: Run) -> None:
    (images,) = given(prepare(Subject(two), "samples", {"n": 310}))
    chosen = Subject(two).chosen(310)
    assert sorted(chosen) == list(range(300))
    y = two.data("test").y
    assert y is not None
    expected = two.model.sample(y=y[np.concatenate([chosen, chosen[:10]])], draw=False, seed=0)
    assert close_in_ulps(images, expected)


def test_data_are_rows_of_the_split_as_the_model_sees_them(folder: Path, digits: Run) -> None:
    (images,) = given(prepare(Subject(digits, "valid"), "data", {"n": 30}))
    rows = digits.data("valid").x.numpy().reshape(-1, 64)
    found = [np.flatnonzero((rows == image).all(1)) for image in images.reshape(30, 64)]
    assert all(len(each) for each in found)
    assert len({int(each[0]) for each in found}) > 25
    black_and_white = small_run(folder / "binary", "data.binarize=static", "model.likelihood=bernoulli")
    (images,) = given(prepare(Subject(black_and_white), "data", {}))
    assert images.shape == (100, 1, 8, 8)
    assert set(np.unique(images)) == {0.0, 1.0}


def test_all_data_of_a_small_split(table: Run) -> None:
    prepared = prepare(Subject(table), "data", {})
    (parts,) = given(prepared)
    assert [part.name for part in parts] == ["a", "b"]
    assert "in all 8 rows of the test split" in prepared.text
    assert all(part.counts == (8, 8) for part in parts)


def test_reconstructions_are_those_of_data_chosen_at_random(digits: Run) -> None:
    x = digits.data("test").rows(Subject(digits).chosen(8)).x
    originals, made = given(prepare(Subject(digits), "reconstructions", {}))
    assert (originals == x.numpy()).all()
    assert close_in_ulps(made, digits.model.reconstruct(x))
    assert pixels(draw(digits, "reconstructions")).shape[0] == 2 * 120 + 10


def test_data_sorted_by_class_show_several_classes(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(5), 40)
    np.savez(tmp_path / "sorted.npz", x=np.tile(labels[:, None, None], (1, 4, 4)).astype(np.uint8), y=labels)
    sets = [*SMALL, "training.epochs=1", "data.levels=5", "model.condition=true"]
    run = train(tmp_path / "sorted.npz", tmp_path / "run", sets=sets)
    for name in ("data", "reconstructions", "pairs"):
        images = given(prepare(Subject(run), name, {"n": 12}))[0]
        assert len(np.unique(images)) > 2, name
    y = Subject(run).conditions(12)
    assert y is not None
    assert len(y.unique()) > 2


def test_pairs_stand_beside_each_other(digits: Run) -> None:
    prepared = prepare(Subject(digits), "pairs", {"n": 8})
    canvas = np.asarray(prepared.draw().axes[0].images[0].get_array()) / 255
    originals, made = given(prepared)
    assert canvas.shape[:2] == (2 * 120 + 10, 8 * 120 + 7 * 10 + 3 * 10)
    lefts = [j * 130 + j // 2 * 10 for j in range(8)]
    for i, left in enumerate(lefts):
        expected = (originals if i % 2 == 0 else made)[i // 2, 0] / 16
        assert np.allclose(canvas[7:120:15, left + 7 : left + 120 : 15, 0], expected, atol=0.5 / 255 + 1e-6), i


def test_one_datum_has_n_different_reconstructions(digits: Run) -> None:
    prepared = prepare(Subject(digits, seed=5), "reconstruct-one", {"datum": 7})
    original, made = given(prepared)
    x = digits.data("test").x[7:8].float()
    assert (original == x[0].numpy()).all()
    assert close_in_ulps(made, digits.model.reconstruct(x, samples=10, seed=5)[:, 0])
    assert len({image.tobytes() for image in made}) == 10
    assert "Datum 7 of the test split" in prepared.text
    chosen = {prepare(Subject(digits, seed=seed), "reconstruct-one", {}).text for seed in range(6)}
    assert len(chosen) > 3


def test_the_untrained_model_is_the_one_that_training_began_with(folder: Path) -> None:
    run = small_run(folder / "begun", "training.epochs=1")
    start = read_tensors(run.path / "checkpoints" / "epoch-000000.safetensors", "model")
    assert equal(weights(run.untrained()), start)
    assert not equal(weights(run.model), start)
    (grids,) = given(prepare(Subject(run), "untrained-samples", {"n": 9}))
    assert list(grids) == ["untrained", "trained"]
    z = _noise(run, 9)
    assert np.allclose(grids["untrained"], run.untrained().decode(z).numpy())
    assert np.allclose(grids["trained"], run.model.decode(z).numpy())
    assert [text.get_text() for text in draw(run, "untrained-samples", n=9).texts] == ["untrained", "trained"]


def _noise(run: Run, n: int) -> torch.Tensor:
    with seeded(0):
        return torch.cat([prior().sample(torch.Size((n,))) for prior in run.model.priors.values()], -1)


def test_a_column_of_the_conditional_grid_has_one_code(folder: Path) -> None:
    run = small_run(folder / "conditional", "model.condition=true", "training.epochs=1")
    prepared = prepare(Subject(run), "conditional-grid", {"n": 4})
    images = given(prepared)[0].reshape(10, 4, 1, 8, 8)
    with seeded(0):
        z = run.model.priors["z"](torch.eye(10)[:4]).sample()
    for k in range(10):
        assert np.allclose(images[k], run.model.decode(z, y=np.full(4, k)).numpy(), atol=1e-5), k
    assert [text.get_text() for text in prepared.draw().texts] == list("0123456789")


def test_rows_of_the_cluster_grid_are_clusters(discrete: Run) -> None:
    prepared = prepare(Subject(discrete), "cluster-grid", {"n": 4})
    images = given(prepared)[0].reshape(5, 4, 1, 8, 8)
    z = _noise(discrete, 4)
    for k in range(5):
        z[:, 3:] = torch.eye(5)[k]
        assert np.allclose(images[k], discrete.model.decode(z).numpy(), atol=1e-5), k
    own = clusters(discrete.model, discrete.data("test"))
    names = [text.get_text() for text in prepared.draw().texts]
    assert names == [f"{k}: {(own == k).mean():.0%}" for k in range(5)]


@pytest.mark.parametrize(("kind", "count"), [("discrete", 5), ("vamp", 4), ("two", 3)])
def test_data_of_a_cluster_are_in_it(kind: str, count: int, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(kind)
    images = given(prepare(Subject(run), "cluster-grid", {"n": 6, "show": "data"}))[0].reshape(count, 6, 64)
    own, rows = clusters(run.model, run.data("test")), run.data("test").x.numpy().reshape(-1, 64)
    order = Subject(run).chosen(len(rows))
    for k in range(count):
        members = rows[order][own[order] == k][:6]
        assert (images[k, : len(members)] == members).all()
        assert np.isnan(images[k, len(members) :]).all()


def test_rows_of_a_mixture_are_draws_of_its_components(two: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two.model, "decode", lambda z, y: z)
    rows = groups._samples(Subject(two), "u", np.arange(3), 300)
    y = two.data("test").y
    assert y is not None
    components = two.model.priors["u"](torch.eye(10)[y]).component_distribution
    for k, z in enumerate(rows):
        assert torch.equal(z[:, :3], rows[0][:, :3])  # the other latent has the same noise in all rows
        standard = ((z[:, 3:] - components.mean[:, k]) / components.stddev[:, k]).detach()
        assert abs(standard.mean()) < 4 / 1200**0.5
        assert abs(standard.var() - 1) < 4 * (2 / 1200) ** 0.5


def test_many_clusters_are_those_that_most_data_fall_into(folder: Path) -> None:
    prior = "model.latents.z.prior={name='mixture', components=30}"
    prepared = prepare(Subject(small_run(folder / "many", prior, "training.epochs=1")), "cluster-grid", {"n": 2})
    assert given(prepared)[0].shape == (40, 1, 8, 8)
    assert "20 clusters of 30, those that most data fall into" in prepared.text


def test_the_map_has_n_points_of_the_split(digits: Run) -> None:
    at, labels, classes = given(prepare(Subject(digits), "latents", {"n": 60}))
    assert (at.shape, labels.shape, classes) == ((60, 2), (60,), digits.schema.classes)
    at, labels, _ = given(prepare(Subject(digits), "latents", {}))
    assert (labels == digits.data("test").y.numpy()).all()  # type: ignore[union-attr]


def test_kl_bars_are_those_of_the_evaluation(digits: Run) -> None:
    kl, active = given(prepare(Subject(digits), "kl", {}))
    assert kl == digits.evaluate("test", 1).kl_per_dimension
    means, _ = digits.encode("test")
    assert (active["z"] == (means.var(0, ddof=1) > 0.01)).all()


def test_correlations_are_those_of_the_posterior(two: Run) -> None:
    one, average = given(prepare(Subject(two), "correlations", {"datum": 3, "n": 40}))
    chosen = Subject(two).chosen(40)
    batch = two.data("test").rows(np.concatenate([[3], chosen]))
    posteriors = two.model.trace(batch).latents
    factor = posteriors[1].q.scale_tril.detach().double().numpy()  # type: ignore[attr-defined]
    expected = np.zeros((41, 7, 7))
    for i, own in enumerate(factor):
        scale = np.sqrt(np.diag(own @ own.T))
        expected[i, 3:, 3:] = own @ own.T / np.outer(scale, scale)
        expected[i, :3, :3] = np.eye(3)  # a diagonal posterior has no correlations
    assert np.allclose(one, expected[0], atol=1e-5)
    assert np.allclose(average, np.abs(expected[1:]).mean(0), atol=1e-5)


def test_covariances_come_from_draws_where_they_have_no_closed_form() -> None:
    factor = torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    normal = MultivariateNormal(torch.zeros(1, 2, dtype=torch.float64), scale_tril=factor.expand(1, 2, 2))
    shifted = TransformedDistribution(normal, [AffineTransform(1.0, 3.0, event_dim=1)])
    with float64(), seeded(0):
        found = latent._covariance(shifted)[0]
    expected = 9 * factor @ factor.T
    spread = torch.outer(expected.diag(), expected.diag()) + expected**2
    assert ((found - expected).abs() < 4 * (spread / (latent.DRAWS - 1)).sqrt()).all()
    diagonal = Independent(Normal(torch.zeros(3, 2), torch.tensor([1.0, 2.0]).expand(3, 2)), 1)
    assert torch.equal(latent._covariance(diagonal), torch.diag(torch.tensor([1.0, 4.0])).expand(3, 2, 2))


@pytest.mark.parametrize("kind", RUNS)
def test_the_boxes_of_the_model_count_each_parameter_once(kind: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(kind)
    figure = draw(run, "model")
    bold = [text for text in figure.axes[0].texts if text.get_weight() == "bold"]
    counts = [int(text.get_text().replace(",", "")) for text in bold if re.fullmatch(r"[\d,]+", text.get_text())]
    assert sum(counts) == sum(p.numel() for p in run.model.parameters())
    assert any(text.get_text().startswith("Decoder · ") for text in bold)
    for name, size in run.model.sizes.items():
        assert f"{name}, {size}" in texts(figure)


def test_the_boxes_say_what_layers_give(digits: Run, two: Run, vamp: Run) -> None:
    found = texts(draw(digits, "model"))
    assert {"Encoder · mlp", "q(z | x) · diagonal-normal", "p(z) · standard-normal", "p(x | z) · binomial"} <= set(
        found
    )
    assert found.count("Linear") == 4  # two of the decoder, one each of encoder and posterior
    assert {"x, 1×8×8", "16", "6", "64", "1,088"} <= set(found)
    found = texts(draw(two, "model"))
    assert {"y, 10", "Conv2d 3×3, stride 2", "4×4×4", "q(u | x, y) · full-rank-normal", "p(u | y) · mixture"} <= set(
        found
    )
    assert {"pseudo inputs", "4×1×8×8", "Encoder, shared", "q(z | x), shared"} <= set(texts(draw(vamp, "model")))


def test_a_hierarchy_is_drawn_with_what_each_latent_is_given(chain: Run) -> None:
    found = texts(draw(chain, "model"))
    assert {"q(z | x) · diagonal-normal", "p(z | top) · diagonal-normal", "q(top | z) · diagonal-normal"} <= set(found)
    assert {"p(top) · mixture", "p(x | z) · bernoulli"} & set(found) == {"p(top) · mixture"}
    assert any(text.startswith("p(x | z) · ") for text in found)


def test_curves_have_a_panel_for_each_term(digits: Run, folder: Path) -> None:
    titles = [axes.get_title(loc="left") for axes in draw(digits, "curves").axes]
    assert titles == ["ELBO", "Reconstruction", "KL"]
    unfinished = replace(digits, path=folder)
    with refuses("there is no epoch"):
        draw(unfinished, "curves")


def test_a_picture_of_ones_own(folder: Path) -> None:
    @dataclass(frozen=True)
    class Blank(Picture):
        """Nothing."""

        size: float = 1.0

        def __call__(self, subject: Subject) -> Prepared:
            return Prepared(
                "Blank", "Nothing.", lambda theme: Figure(figsize=(self.size, 1), facecolor=theme.background)
            )

    mine = PARTS.extended(pictures={"blank": Blank})
    run = small_run(folder / "own", 'pictures.every_epoch=["blank"]', "training.epochs=1", parts=mine)
    assert draw(run, "blank", size=2.0).get_size_inches()[0] == 2
    assert [path.name for path in (run.path / "pictures").iterdir()] == ["blank_1.png"]


def test_what_is_no_picture_is_said(folder: Path) -> None:
    class Number(Picture):
        """No picture."""

        def __call__(self, subject: Subject) -> Any:
            return 3

    mine = PARTS.extended(pictures={"number": Number, "strange": lambda: 3})
    run = small_run(folder / "strange", "training.epochs=1", parts=mine)
    with refuses("picture 'number' gives int; accepted: vaekit.show.pictures.Prepared(title, text, draw)"):
        draw(run, "number")
    with refuses("picture 'strange' is a int; accepted: one that derives from vaekit.show.pictures.Picture"):
        draw(run, "strange")


# -- while training ----------------------------------------------------------------------------------------------------

EACH = 'pictures.every_epoch=["samples", {name="reconstructions", n=4}]'


def files(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run.path / "pictures").iterdir())}


def test_pictures_of_each_epoch_are_of_the_same_data_and_noise(folder: Path) -> None:
    run = small_run(folder / "watched", EACH, "training.epochs=4", "pictures.every=2")
    found = files(run)
    assert list(found) == ["reconstruction_2.png", "reconstruction_4.png", "sample_2.png", "sample_4.png"]
    assert found["sample_2.png"] != found["sample_4.png"]
    shown = imread(io.BytesIO(found["sample_4.png"]), format="png")[..., :3]
    apart = np.abs(shown - pixels(draw(run, "samples", split="valid")))  # the last epoch's model is the run's
    assert apart.max() <= 1.01 / 255
    watch(run, "valid")(run.model, 4)
    assert files(run) == found


def test_pictures_leave_the_training_as_it_is(folder: Path) -> None:
    plain = small_run(folder / "plain")
    watched = small_run(folder / "also", EACH)
    assert equal(weights(plain.model), weights(watched.model))
    assert metrics(plain.path) == metrics(watched.path)


def test_a_resumed_run_has_the_pictures_of_an_undisturbed_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small_run(folder / "whole", EACH, "training.epochs=3", "training.checkpoint_every=5")

    class KilledError(Exception):
        pass

    def kill(records: list[Any]) -> None:
        if records[0].epoch == 2:
            raise KilledError

    sets = [*SMALL, EACH, "training.epochs=3", "training.checkpoint_every=5"]
    with pytest.raises(KilledError):
        train("digits", folder / "killed", sets=sets, callbacks=Callbacks(on_epoch=kill))
    torn = folder / "killed" / "pictures" / ".sample_2.png.1-00000000.vaekit.tmp"
    torn.write_bytes(b"half")
    run = train(None, folder / "killed", resume=True)
    assert files(run) == files(whole)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ('pictures.every_epoch=["smaples"]', "unknown picture 'smaples' (did you mean 'samples'?)"),
        ('pictures.report=[{name="latents", m=3}]', "unknown option of picture 'latents': 'm'; accepted: n"),
        ('pictures.report=[{name="latents", n="all"}]', "option 'n' of picture 'latents' is 'all'"),
        ('pictures.report=[{name="latents", n=0}]', "n of a picture is 0"),
        ('pictures.report=["conditional-grid"]', "needs a condition (train with"),
        ('pictures.every_epoch=["curves"]', "picture 'curves' shows no single epoch; accepted: data, samples"),
        ("pictures.every=0", "pictures.every is 0"),
        ("pictures.evry=2", "unknown key of spec pictures: 'evry' (did you mean 'every'?)"),
    ],
)
def test_what_can_not_be_drawn_is_refused_before_training(tmp_path: Path, sets: str, message: str) -> None:
    with refuses(message):
        small_run(tmp_path / "run", sets)
    assert not (tmp_path / "run").exists()


def test_pictures_of_each_epoch_need_data_held_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", x_train=np.random.default_rng(0).normal(size=(40, 3)))
    sets = ["data.validation=0", "data.test=0", "training.epochs=1", "training.batch_size=20", EACH]
    with refuses("pictures.every_epoch needs rows that are held out"):
        train(str(tmp_path / "all.npz"), tmp_path / "run", sets=sets)
    assert not (tmp_path / "run").exists()


def test_the_spec_keeps_its_pictures(folder: Path) -> None:
    run = load_run(small_run(folder / "kept", EACH, "training.epochs=1").path)
    first, second = run.spec.pictures.every_epoch
    assert (first.name, second.name, second.options) == ("samples", "reconstructions", {"n": 4})
    assert changed(run.spec, ["pictures.every=3"]).pictures.every == 3


def test_an_averaged_model_is_what_is_watched(folder: Path) -> None:
    run = small_run(folder / "averaged", 'pictures.every_epoch=["samples"]', "training.ema=0.9", "training.epochs=1")
    shown = imread(io.BytesIO(files(run)["sample_1.png"]), format="png")[..., :3]
    assert (shown == pixels(draw(load_run(run.path), "samples"))).all()


def test_the_map_of_a_collapsed_posterior_says_so(tmp_path: Path) -> None:
    """Its means are constant but for noise, of which t-SNE makes clusters."""
    run = small_run(tmp_path / "run", "training.epochs=1")
    run.model.posteriors["z"].head.weight.data[:3] *= 10
    seen = prepare(Subject(run, "test"), "latents", {})
    assert seen.title == "Latent space"
    run.model.posteriors["z"].head.weight.data[:3] *= 1e-4
    collapsed = prepare(Subject(run, "test"), "latents", {})
    assert collapsed.title == "Latent space of a collapsed posterior: noise alone"
    assert "No mean varies with the data" in collapsed.text
