"""What a page is told of a run, and answered: the model's own numbers, whatever the model is."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from explorer_for_tests import HOSTILE, KINDS, MODELS, run_of

from vaekit.modules import evaluating
from vaekit.runs.folder import FOLDERS
from vaekit.runs.run import Run
from vaekit.seeding import seeded
from vaekit.show import plots
from vaekit.show.explorer import exploring, scene
from vaekit.show.explorer.answers import SAMPLES, Answers
from vaekit.show.explorer.layouts import laid_out
from vaekit.show.explorer.records import Colour
from vaekit.show.explorer.scene import QUANTILES, Making, scene_of, weight_of_a_point
from vaekit.show.explorer.values import as_json, inlined, packed


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer training data that say what is usual."""
    monkeypatch.setattr(scene, "REFERENCE", 60)


def rows(run: Run, n: int = 2) -> list[list[float | None]]:
    """The first n data of a run, flat, None where a cell is missing."""
    batch = run.data("test").rows(np.arange(n))
    x = batch.x.double()
    x = x if batch.observed is None else torch.where(batch.observed, x, torch.nan)
    return [[None if np.isnan(cell) else cell for cell in row] for row in x.reshape(n, -1).tolist()]


def condition(run: Run) -> list[int] | None:
    """A class, for models that are given one."""
    return [3] if run.model.condition else None


def unpacked(value: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(b64decode(value["data"]), np.dtype(value["dtype"]).newbyteorder("<")).reshape(value["shape"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_model_has_a_scene_that_json_takes(kind: str) -> None:
    run = run_of(kind)
    told = json.loads(as_json(scene_of(run, points=12)))
    points, latents = told["points"], told["latents"]
    size = sum(each["size"] for each in latents)
    assert size == run.model.latent_size
    assert sorted(each["step"] for each in latents) == list(range(len(latents)))
    assert unpacked(points["mean"]).shape == (12, size)
    assert unpacked(points["x"]).shape == (12, np.prod(run.model.event_shape))
    assert len(points["names"]) == points["n"] == 12
    for each in (*points["projections"], *points["colours"]):
        values = each.get("xy") or each["values"]
        assert values is None or len(unpacked(values)) == 12
    quantiles = told["reference"]["elbo"]
    assert len(quantiles) == QUANTILES
    assert sorted(quantiles) == quantiles
    assert {"encode", "decode", "draw", "score"} <= set(told["can"])
    assert ("levels" in told["can"]) == (kind in ("hierarchical", "ladder", "top-down"))


def test_a_scene_shows_the_data_themselves_and_their_codes() -> None:
    run = run_of("mlp")
    told = scene_of(run, points=5, split="valid")
    chosen = [int(name.removeprefix("row ")) for name in told.points.names or []]
    data = run.data("valid")
    index = np.searchsorted(data.origin, chosen)  # type: ignore[arg-type]
    low, high = told.data.range or (0.0, 0.0)
    x = low + (high - low) * told.points.x / 255
    assert np.allclose(x, data.x[index].reshape(5, -1), atol=(high - low) / 255)
    assert np.allclose(told.points.mean, run.encode("valid")[0][index])
    assert told.points.y is not None
    assert (told.points.y == run.encode("valid")[1][index]).all()  # type: ignore[index]


def test_missing_cells_of_a_table_are_nan_and_a_date_keeps_its_digits() -> None:
    run = run_of("table")
    told = scene_of(run)
    data = run.data("test")
    assert np.isnan(told.points.x).sum() == (~data.observed).sum() > 0  # type: ignore[operator]
    assert [each.name for each in told.data.columns or []] == list(run.schema.columns)
    assert HOSTILE in {each.name for each in told.data.columns or []}


def test_one_that_is_drawn_first_but_not_decoded_is_said_to_be_such() -> None:
    first, second = scene_of(run_of("hierarchical"), points=5).latents
    assert (first.name, first.step, first.decoded) == ("z", 1, True)
    assert (second.name, second.step, second.decoded) == ("z2", 0, False)


def test_components_of_a_mixture_are_those_of_its_prior() -> None:
    run = run_of("mixture")
    found = scene_of(run, points=5).components
    p = run.model.priors["z"]()
    assert found is not None
    assert np.allclose(found.mean, p.component_distribution.mean.detach())
    assert np.allclose(found.weight, p.mixture_distribution.probs.detach())


def test_what_points_are_coloured_by_has_a_name_of_its_own() -> None:
    found = [Colour(name, "number", np.zeros(8, np.float32)) for name in ("size", "KL")]
    table = Making(run_of("little"), None, 8, 0)
    cells = [each.name for each in table.cells()]
    assert [each.name for each in table.colours(found)] == ["size of the row", "KL", *cells]


def test_a_scene_moves_no_random_stream() -> None:
    run, before = run_of("hierarchical"), torch.get_rng_state()
    scene_of(run, points=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_what_they_decode_to_are_the_models_own(kind: str) -> None:
    run = run_of(kind)
    answers, x, y = Answers(run), rows(run), condition(run)
    given = torch.tensor([[torch.nan if cell is None else cell for cell in row] for row in x], dtype=torch.float64)
    own_y = None if y is None else torch.tensor(2 * y)
    known = own_y if run.model.conditional else None  # who tells classes itself encodes x, as on the map
    encoded = answers.encode(x, y)
    assert torch.equal(torch.tensor(encoded.mean), run.model.encode(given.view(2, *run.model.event_shape), known))
    decoded = answers.decode(encoded.mean, y)
    own = run.model.decode(torch.tensor(encoded.mean), own_y).reshape(2, -1)
    assert torch.allclose(torch.tensor(decoded.x, dtype=own.dtype), own)
    if kind == "table":
        assert decoded.probabilities is not None
        for name, each in decoded.probabilities.items():
            assert np.allclose(np.sum(each, 1), 1, atol=1e-5), name


@pytest.mark.parametrize("kind", ["mlp", "conditional", "classified", "table", "hierarchical"])
def test_a_bound_is_that_of_the_models_trace(kind: str) -> None:
    run = run_of(kind)
    answers, x, y = Answers(run), rows(run, 1), condition(run)
    batch = run.model.asked(run.data("test").rows(np.arange(1)))
    if kind == "conditional":
        batch = batch.of([batch.x, run.model.one_hot(torch.tensor([3]))])  # type: ignore[list-item]
    with seeded(0), evaluating(run.model), torch.no_grad():
        trace = run.model.trace(batch, SAMPLES, sum_classes=True)
        kl = sum(each.mean(0) if each.dim() > 1 else each for each in trace.kl.values())
        elbo = trace.log_px.mean(0) - kl
    found = answers.score(x, y)
    assert np.allclose(found.elbo, elbo)
    if kind == "table":  # what columns and codes take is all of it
        assert np.allclose(np.sum(found.columns, 1) + kl.numpy(), -elbo)  # type: ignore[union-attr, arg-type]


def test_of_many_data_each_has_its_own_bound_whatever_goes_at_once() -> None:
    run = run_of("mlp")
    one, few = Answers(run), Answers(run)
    vars(few)["_plan"] = (7, 5)  # rows, and draws
    batch = run.data("test").rows(np.arange(30))
    (scores, _), (others, _) = one.scores(batch.without_y()), few.scores(batch.without_y())
    assert scores.elbo.shape == others.elbo.shape == (30,)
    assert np.corrcoef(scores.elbo, others.elbo)[0, 1] > 0.9


@pytest.mark.parametrize("kind", ["two", "hierarchical", "ladder", "top-down"])
def test_draws_keep_the_latents_that_are_held_and_vary_the_others(kind: str) -> None:
    run = run_of(kind)
    answers = Answers(run)
    told = scene_of(run, points=5)
    z = told.points.mean[0].tolist()
    first = min(told.latents, key=lambda each: each.step)
    ends = np.cumsum([each.size for each in told.latents])
    at = told.latents.index(first)
    own = slice(int(ends[at]) - first.size, int(ends[at]))
    drawn = np.array(answers.draw(4, 1, z=z, levels=1).z)
    assert np.allclose(drawn[:, own], z[own])
    assert (np.delete(drawn, np.arange(len(z))[own], 1).std(0) > 0).any()
    assert np.allclose(answers.draw(2, 1, z=z, levels=2).z, [z, z])


def test_draws_are_seeded_and_of_what_is_given() -> None:
    run = run_of("mlp")
    answers, (x, _) = Answers(run), rows(run)
    one, same, other = (answers.draw(400, seed, x=x).z for seed in (1, 1, 2))
    assert one == same != other
    mean, sd = answers.encode([x]).mean[0], answers.encode([x]).sd
    assert np.abs(np.mean(one, 0) - mean).max() < 4 * np.max(sd) / 20
    assert np.allclose(np.std(one, 0), sd[0], rtol=0.2)
    prior = answers.draw(400, 3).z
    assert np.abs(np.mean(prior, 0)).max() < 0.2
    assert np.array_equal(answers.draw(400, 1, x=x).x, answers.decode(one).x)


def test_cells_that_are_there_are_left_as_they_are() -> None:
    run = run_of("table")
    answers, (x, *_) = Answers(run), rows(run)
    x[0] = None
    filled = answers.impute(x).x
    assert all(filled[i] == pytest.approx(cell) for i, cell in enumerate(x) if cell is not None)
    assert np.isfinite(filled).all()


def test_a_datum_without_a_hole_is_left_as_it_is() -> None:
    run = run_of("little")
    whole = [3.0, 0.0, 1.0]
    assert Answers(run).impute(whole).x == whole


def test_one_row_of_covariates_is_for_all() -> None:
    run = run_of("covariates")
    answers, told, (x, *_) = Answers(run), scene_of(run, points=5), rows(run)
    y = told.points.y[0].tolist()
    assert told.data.covariates == len(y) == 3
    assert len(answers.draw(2, y=y).z) == 2
    assert answers.draw(4, y=y) is not None
    assert np.array_equal(answers.draw(3, y=y).x, answers.draw(3, y=[y] * 3).x)
    assert answers.draw(3, x=x, y=y).z == answers.draw(3, x=x, y=[y]).z
    x[0] = None
    assert answers.impute(x, y) == answers.impute(x, [y])
    other = (np.asarray(y)[[1, 0, 2]] + 1.0).tolist()
    assert not np.array_equal(answers.draw(3, y=y).x, answers.draw(3, y=other).x)


def test_what_is_drawn_by_hand_is_taken_for_the_nearest_value() -> None:
    run = run_of("mlp")
    answers = Answers(run)
    by_hand = [[7.3, -2.0, 99.0, *[0.2] * 61]]
    assert answers.encode(by_hand) == answers.encode([[7.0, 0.0, 16.0, *[0.0] * 61]])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda a: a.decode([[0.0]]), r"z has shape \(1, 1\); accepted: 1 to 1,000 lists of 3 numbers"),
        (lambda a: a.decode([]), "z is no list of data"),
        (lambda a: a.decode("abc"), "z is no list of data"),
        (lambda a: a.decode([[None, 0, 0]]), "no finite numbers"),
        (lambda a: a.decode([["a", 0, 0]]), "something that is no number"),
        (lambda a: a.decode([[0, 0, 0]], levels=7), "levels is 7; accepted: a whole number from 0 to 1"),
        (lambda a: a.decode([[0, 0, 0]], y=[1]), "y was given to a model without a condition"),
        (lambda a: a.encode([[0.0] * 63]), "x has shape"),
        (lambda a: a.draw(0), "n is 0; accepted: a whole number from 1 to 1,000"),
        (lambda a: a.draw(2.5), "n is 2.5"),
        (lambda a: a.draw(10**9), "n is 1000000000"),
        (lambda a: a.draw(2, -1), "seed is -1"),
        (lambda a: a.draw(2, z=[0, 0, 0]), "z and levels go together"),
        (lambda a: a.draw(2, z=[0, 0, 0], x=[0.0] * 64), "x and z are both given"),
    ],
)
def test_a_question_that_is_none_is_refused_in_a_line(ask: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        ask(Answers(run_of("mlp")))
    assert "\n" not in str(caught.value)


def test_a_class_is_needed_where_the_model_is_given_one() -> None:
    answers = Answers(run_of("conditional"))
    for y, said in ((None, "needs y"), ([11], "accepted: 0..9"), ([0.5], "no classes"), ("a", "no number")):
        with pytest.raises(ValueError, match=said):
            answers.decode([[0.0, 0.0, 0.0]], y)  # type: ignore[arg-type]


def test_no_split_and_no_points_are_refused() -> None:
    with pytest.raises(ValueError, match="has no split 'tset'"):
        scene_of(run_of("mlp"), split="tset")
    with pytest.raises(ValueError, match="points is 0"):
        scene_of(run_of("mlp"), points=0)


def test_json_within_a_script_ends_it_by_no_name() -> None:
    text = inlined(as_json({"name": HOSTILE, "line": "\u2028"}))
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"name": HOSTILE, "line": "\u2028"}
    with pytest.raises(TypeError, match="int64"):
        packed(np.zeros(1, np.int64))


def test_the_models_of_these_tests_differ() -> None:
    assert len({str(run_of(kind).spec.model) for kind in MODELS}) == len(MODELS)


def test_codes_are_laid_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).normal(size=(12, 4))
    first = laid_out(codes, "t-sne", 0, tmp_path)
    (file,) = (tmp_path / "layouts").iterdir()
    assert FOLDERS["layouts"].fullmatch(file.name)
    monkeypatch.setattr(plots, "embed", lambda codes, seed: np.full((len(codes), 2), 5.0))
    np.testing.assert_array_equal(laid_out(codes, "t-sne", 0, tmp_path), first)
    for others in ((codes + 1e-3, 0), (codes, 1)):
        assert (laid_out(others[0], "t-sne", others[1], tmp_path) == 5.0).all()
    file.write_bytes(b"damaged")
    assert (laid_out(codes, "t-sne", 0, tmp_path) == 5.0).all()
    # Nothing is written where there is no folder, or through a link.
    assert (laid_out(codes, "t-sne", 0, tmp_path / "none") == 5.0).all()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "layouts").symlink_to(tmp_path / "layouts")
    before = len(list((tmp_path / "layouts").iterdir()))
    laid_out(codes + 1.0, "t-sne", 0, tmp_path / "run")
    assert len(list((tmp_path / "layouts").iterdir())) == before


def test_a_served_page_has_no_more_points_than_a_browser_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    run, scenes = run_of("mlp"), list[str]()
    for room in (110, 1):
        monkeypatch.setattr(exploring, "ROOM", room * weight_of_a_point(run))
        monkeypatch.setattr(exploring, "serve", lambda answers, scene, *_: scenes.append(scene))
        exploring.explore(run, browser=False)
    assert [json.loads(each)["points"]["n"] for each in scenes] == [110, 100]


def test_an_unknown_layout_and_a_missing_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"unknown layout 'tsne' .did you mean 't-sne'.*; accepted: t-sne, umap"):
        scene_of(run_of("mlp"), points=5, layout="tsne")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ValueError, match=r"layout='umap' needs umap-learn: pip install 'vaekit\[umap\]'; t-sne"):
        scene_of(run_of("mlp"), points=5, layout="umap")


def test_umap_is_given_the_codes_the_seed_and_no_more_neighbours_than_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Umap:
        """umap-learn's, which would compile itself for a minute."""

        def __init__(self, n_neighbors: int, random_state: int, n_jobs: int) -> None:
            assert (n_neighbors, random_state, n_jobs) == (11, 3, 1)

        def fit_transform(self, codes: np.ndarray) -> np.ndarray:
            return codes[:, 2:4]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    codes = np.random.default_rng(0).normal(size=(12, 4))
    np.testing.assert_allclose(laid_out(codes, "umap", 3, tmp_path), codes[:, 2:4], rtol=1e-6)
    assert len(list((tmp_path / "layouts").glob("umap-*"))) == 1
