"""Walks through the latent space, and pictures of the bound, against what they are said to show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawing_for_tests import given
from models_for_tests import refuses
from runs_for_tests import small_run
from scipy.special import logsumexp
from scipy.stats import norm

from vaekit.runs.run import Run
from vaekit.show import plots
from vaekit.show.pictures import Subject, bounds
from vaekit.show.pictures.drawing import draw, prepare

TOP = (
    "model.structure=hierarchical",
    "model.latents.z.prior=diagonal-normal",
    "model.latents.top={size=2}",
    "training.epochs=1",
)
TOKENS = ("model.latents.z={size=4, posterior='fsq', prior='uniform-tokens'}", "training.epochs=1")
COLOURED = (plots.LIGHT, plots.DARK)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("walks") / "plane", "model.latents.z.size=2", "training.epochs=3")


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("walks") / "top", *TOP)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("walks") / "tokens", *TOKENS)


def test_an_interpolation_goes_from_one_reconstruction_to_another(plane: Run) -> None:
    (images,) = given(prepare(Subject(plane), "interpolation", {"n": 3, "columns": 5}))
    rows = images.reshape(3, 7, 1, 8, 8)
    test = plane.data("test").x.numpy()
    first, last = ([int(np.square(test - x).sum((1, 2, 3)).argmin()) for x in rows[:, i]] for i in (0, -1))
    np.testing.assert_array_equal(rows[:, 0], test[first])
    np.testing.assert_array_equal(rows[:, -1], test[last])
    assert len({*first, *last}) == 6
    for at, index in ((1, first), (-2, last)):
        np.testing.assert_allclose(rows[:, at], plane.model.reconstruct(torch.tensor(test[index])), atol=1e-4)
    codes = plane.model.encode(torch.tensor(test[first + last]))
    middle = plane.model.decode((codes[:3] + codes[3:]) / 2)
    np.testing.assert_allclose(rows[:, 3], middle, atol=1e-4)


def test_a_traversal_moves_one_dimension_between_percentiles_of_codes(
    plane: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    decode = plane.model.decode

    def look(z: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
        seen.append(z)
        return decode(z, *others, **options)

    monkeypatch.setattr(plane.model, "decode", look)
    prepared = prepare(Subject(plane), "traversal", {"columns": 3, "datum": 4})
    codes = plane.encode("test")[0]
    kl = np.array(plane.evaluate("test", 1).kl_per_dimension["z"])
    order = np.argsort(-kl)
    ends = np.percentile(codes, [1, 99], axis=0)
    told = [f"z{d}: {kl[d]:.1f} nats, {ends[0, d]:.1f} … {ends[1, d]:.1f}".replace("-", "−") for d in order]
    assert prepared.draw.keywords["rows"] == told  # type: ignore[attr-defined]
    path = seen[-1].reshape(2, 3, 2).numpy()
    for row, d in zip(path, order, strict=True):
        np.testing.assert_allclose(row[[0, -1], d], np.percentile(codes[:, d], [1, 99]), rtol=1e-4)
        np.testing.assert_allclose(row[:, 1 - d], codes[4, 1 - d], rtol=1e-4)


def test_a_manifold_is_laid_out_by_quantiles_of_the_prior(plane: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane.model, "decode", lambda z, y, seed: torch.as_tensor(z))
    (z,) = given(prepare(Subject(plane), "manifold", {"n": 4}))
    grid = z.reshape(4, 4, 2)
    expected = norm.ppf([0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(grid[2, :, 0], expected, atol=5 / math.sqrt(10_000))  # of its draws
    np.testing.assert_allclose(grid[::-1, 1, 1], expected, atol=5 / math.sqrt(10_000))  # upwards


def test_the_top_of_a_hierarchy_is_a_plane(top: Run) -> None:
    prepared = prepare(Subject(top), "manifold", {"n": 3})
    assert given(prepared)[0].shape == (9, 1, 8, 8)
    assert "these are of top" in prepared.text


def test_of_tokens_nothing_is_walked_through_or_weighed(tokens: Run) -> None:
    for name in ("interpolation", "traversal", "manifold"):
        with refuses(f"picture '{name}' needs latents that change gradually (z is quantised)"):
            draw(tokens, name)
    with refuses("picture 'importance-weights' needs latents that are drawn (z is quantised)"):
        draw(tokens, "importance-weights")
    assert draw(tokens, "rate-distortion").axes


def test_rates_and_distortions_are_those_of_the_epochs(plane: Run) -> None:
    (paths,) = given(prepare(Subject(plane), "rate-distortion", {}))
    assert list(paths) == ["train", "valid"]
    for each in plane.history():
        rates, distortions = paths[each.split]
        at = each.epoch - 1
        assert rates[at] + distortions[at] == pytest.approx(-each.terms["elbo"])
        assert rates[at] == each.terms["kl"]
    for theme in COLOURED:
        axes = draw(plane, "rate-distortion", theme=theme).axes[0]
        for line in axes.lines[4:]:  # of one ELBO
            assert np.ptp(np.sum(line.get_data(), 0)) < 1e-9 * 300


def test_importance_weights_are_those_of_the_likelihood(plane: Run) -> None:
    subject = Subject(plane)
    weights = bounds._log_weights(subject, 5, 400).numpy()
    assert weights.shape == (400, 5)
    batch = subject.some(5)
    scores = plane.model.score(batch, samples=400, seed=subject.seed)  # of the same draws
    np.testing.assert_allclose(logsumexp(weights, 0) - math.log(400), scores.log_prob.numpy(), rtol=1e-5)
    shares, effective = given(prepare(subject, "importance-weights", {"n": 5, "samples": 400}))
    w = np.exp(weights - weights.max(0))
    np.testing.assert_allclose(effective, w.sum(0) ** 2 / np.square(w).sum(0), rtol=1e-6)
    np.testing.assert_allclose(shares[0], w.max(0) / w.sum(0), rtol=1e-6)
    np.testing.assert_allclose(shares[-1], 1, rtol=1e-6)


def test_what_a_walk_is_asked_that_can_t_be(plane: Run, tmp_path: Path) -> None:
    with refuses("n of a picture is 0"):
        draw(plane, "manifold", n=0)
    with refuses("datum is 300; accepted: 0..299"):
        draw(plane, "traversal", datum=300)
    with refuses("samples of a picture is 1; accepted: 2 or more"):
        draw(plane, "importance-weights", samples=1)
