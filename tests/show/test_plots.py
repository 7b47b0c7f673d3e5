from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from drawing_for_tests import pixels
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from vaekit.show import plots
from vaekit.show.plots import DARK, LIGHT, Theme, latents
from vaekit.show.plots.latents import STEPS
from vaekit.training.records import Epoch

HOSTILE = ("$\\frac{$", "_hidden", "", "two\nlines", "<b>&</b>", "数字", "a name that is longer than any legend")


def canvas_of(figure: Figure) -> np.ndarray:
    """The image that a figure of images is, in shares of full colour, each off by at most half a byte's step."""
    return np.asarray(figure.axes[0].images[0].get_array()) / 255


STEP = 0.5 / 255 + 1e-9


def epochs(*losses: float, split: str = "train", **terms: Sequence[float]) -> list[Epoch]:
    return [
        Epoch(i + 1, 10 * i, split, {"loss": loss} | {name: values[i] for name, values in terms.items()}, 0.1, 100)
        for i, loss in enumerate(losses)
    ]


def panels(figure: Figure) -> dict[str, object]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


# -- curves ------------------------------------------------------------------------------------------------------------


def test_curves_draw_the_values_of_each_split() -> None:
    train = epochs(9.0, 8.0, 7.0, kl=[1.0, 2.0, 3.0])
    valid = epochs(9.5, 8.5, 7.5, split="valid", kl=[1.5, 2.5, 3.5])
    figure = plots.curves([record for pair in zip(train, valid, strict=True) for record in pair])
    found = panels(figure)
    assert list(found) == ["Loss", "KL"]
    lines = found["KL"].lines  # type: ignore[attr-defined]
    assert [line.get_ydata().tolist() for line in lines] == [[1.0, 2.0, 3.0], [1.5, 2.5, 3.5]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "valid"]
    assert [line.get_color() for line in lines] == list(LIGHT.colours[:2])


def test_a_loss_that_is_the_negative_bound_is_left_out() -> None:
    assert list(panels(plots.curves(epochs(9.0, 8.0, elbo=[-9.0, -8.0 + 1e-6])))) == ["ELBO"]
    assert list(panels(plots.curves(epochs(9.0, 8.0, elbo=[-9.0, -8.1])))) == ["Loss", "ELBO"]


def test_a_coefficient_is_drawn_only_if_it_changes() -> None:
    assert "beta" not in panels(plots.curves(epochs(9.0, 8.0, beta=[1.0, 1.0])))
    warmed = epochs(9.0, 8.0, beta=[0.5, 1.0]) + epochs(9.0, 8.0, split="valid", beta=[1.0, 1.0])
    assert len(panels(plots.curves(warmed))["beta"].lines) == 1  # type: ignore[attr-defined]


def test_the_range_leaves_out_a_bad_start_and_nothing_else() -> None:
    values = [1e6, 1e4, *np.linspace(10, 9, 28)]
    axes = plots.curves(epochs(*values)).axes[0]
    low, high = axes.get_ylim()
    assert low < 9
    assert 10 < high < 100
    steady = plots.curves(epochs(*np.linspace(10, 9, 30))).axes[0].get_ylim()
    assert steady[0] < 9 < 10 < steady[1]


def test_terms_have_their_names_and_units() -> None:
    figure = plots.curves(epochs(3.0, 2.0, nmi=[0.1, 0.2], **{"kl/$u": [1.0, 2.0]}))
    assert list(panels(figure)) == ["Loss", "Mutual information", "KL of $u"]
    alone = plots.curves(epochs(float("nan"), float("nan"), nmi=[0.1, 0.2]))
    assert alone.axes[0].get_ylabel() == ""
    assert alone.axes[0].get_xlabel() == "epoch"


def test_runs_side_by_side_have_a_colour_each_and_show_what_they_held_out() -> None:
    train, valid = epochs(9.0, 8.0, 7.0, own=[1.0, 2.0, 3.0]), epochs(9.5, 8.5, 7.5, split="valid")
    both = [record for pair in zip(train, valid, strict=True) for record in pair]
    figure = plots.compared_curves({"$a": both, "b": epochs(5.0, 4.0, kl=[1.0, 2.0]), "none": []})
    found = panels(figure)
    assert list(found) == ["Loss", "KL"]
    lines = found["Loss"].lines  # type: ignore[attr-defined]
    assert [line.get_ydata().tolist() for line in lines] == [[9.5, 8.5, 7.5], [5.0, 4.0]]
    assert [line.get_color() for line in lines] == list(LIGHT.colours[:2])
    assert [line.get_color() for line in found["KL"].lines] == [LIGHT.colours[1]]  # type: ignore[attr-defined]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["$a", "b"]
    with pytest.raises(ValueError, match="no epoch"):
        plots.compared_curves({"a": []})


def test_many_runs_look_different() -> None:
    figure = plots.compared_curves({f"run {i}": epochs(9.0 + i, 8.0) for i in range(20)})
    handles = figure.legends[0].legend_handles
    assert len({(handle.get_color(), handle.get_linestyle()) for handle in handles}) == 20  # type: ignore[union-attr]


def test_one_epoch_is_visible() -> None:
    axes = plots.curves(epochs(9.0)).axes[0]
    assert axes.lines[0].get_marker() == "o"


def test_values_that_are_not_finite_are_left_out() -> None:
    axes = plots.curves(epochs(9.0, float("nan"), 7.0)).axes[0]
    assert axes.lines[0].get_xdata().tolist() == [1, 3]
    for records in ([], epochs(float("inf"))):
        with pytest.raises(ValueError, match="no epoch"):
            plots.curves(records)


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_grid_shows_each_image_in_its_place(theme: Theme) -> None:
    levels = np.arange(5) / 4
    shown = pixels(plots.image_grid(np.ones((5, 8, 8)) * levels[:, None, None], columns=3, limits=(0, 1), theme=theme))
    tile, gap = 120, 10
    assert shown.shape == (2 * tile + gap, 3 * tile + 2 * gap, 3)
    for i, level in enumerate(levels):
        top, left = i // 3 * (tile + gap), i % 3 * (tile + gap)
        own = shown[top + 1 : top + tile - 1, left + 1 : left + tile - 1]
        assert np.abs(own - level).max() < 0.01, i
    empty = shown[tile + gap :, 2 * (tile + gap) :]
    assert np.abs(empty - to_rgb(theme.background)).max() < 0.01


@pytest.mark.parametrize("shape", [(6, 5), (28, 28), (57, 57), (120, 29)])
def test_grid_keeps_pixels_sharp_and_upright(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 17, shape)
    shown = pixels(plots.image_grid(image[None], limits=(0, 16)))
    zoom = 120 // max(shape)
    assert np.abs(shown - (image / 16).repeat(zoom, 0).repeat(zoom, 1)[..., None]).max() < 0.01


def test_grid_shows_colours() -> None:
    image = np.zeros((1, 3, 4, 4))
    image[0, 0] = 255
    assert np.abs(pixels(plots.image_grid(image, limits=(0, 255))) - [1, 0, 0]).max() < 0.01


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_pixels_that_are_not_known_have_the_colour_of_the_page(theme: Theme) -> None:
    images = np.zeros((2, 3, 4, 4))
    images[:, 0] = 5
    images[0, 1, 1, 2] = images[1, :, 3, 0] = np.nan
    shown = pixels(plots.image_grid(images, columns=2, theme=theme))
    unknown = np.zeros((2, 4, 4), bool)
    unknown[0, 1, 2] = unknown[1, 3, 0] = True
    for tile, own in zip((shown[:, :120], shown[:, 130:]), unknown, strict=True):
        colours = np.where(own[..., None], to_rgb(theme.background), (1.0, 0.0, 0.0))
        assert np.abs(tile - colours.repeat(30, 0).repeat(30, 1)).max() < 0.01
    reconstructed = plots.pairs_grid(images, images + 1)  # what is black and white is told by what is known
    assert np.abs(pixels(reconstructed)[:120] - 1).max() > 0.9
    plots.image_grid(np.full((1, 4, 4), np.nan))


def test_values_beyond_the_limits_are_black_and_white() -> None:
    shown = pixels(plots.image_grid(np.array([[[-5.0, 5.0]]]), limits=(0, 1)))
    assert shown[:, :50].max() == 0
    assert shown[:, 70:].min() == 1


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 200), (1, 200, 1), (2, 3, 300, 7), (13, 28, 20), (40, 1, 2, 2)])
def test_grid_of_any_size(shape: tuple[int, ...]) -> None:
    figure = plots.image_grid(np.random.default_rng(0).random(shape))
    width, height = figure.get_size_inches()
    assert 0 < width < 8
    assert 0 < height < 8
    assert np.ptp(pixels(figure)) > 0 or shape[-2:] == (1, 1)


@pytest.mark.parametrize("shape", [(0, 8, 8), (8, 8), (2, 2, 8, 8), (1, 1, 1, 1, 1), (1, 0, 4)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="accepted"):
        plots.image_grid(np.zeros(shape))
    with pytest.raises(ValueError, match="accepted"):
        plots.pairs_grid(np.zeros(shape), np.zeros(shape))


def test_a_row_of_no_columns_is_refused() -> None:
    for draw in (plots.image_grid, lambda x, columns: plots.pairs_grid(x, x, columns=columns)):
        with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
            draw(np.zeros((2, 4, 4)), columns=0)


def test_reconstructions_are_beneath_their_originals() -> None:
    originals = np.ones((3, 8, 8)) * np.array([0.2, 0.4, 0.6])[:, None, None]
    canvas = canvas_of(plots.pairs_grid(originals, originals + 0.1, columns=2, limits=(0, 1)))
    column = canvas[60:, 60, 0]
    runs = [value for i, value in enumerate(column) if value < 1 and (i == 0 or column[i - 1] != value)]
    assert np.allclose(runs, [0.2, 0.3, 0.6, 0.7], atol=STEP)
    with pytest.raises(ValueError, match="must be the same"):
        plots.pairs_grid(originals, originals[:2])


def test_reconstructions_have_the_limits_of_the_originals() -> None:
    canvas = canvas_of(plots.pairs_grid(np.array([[[0.0, 1.0]]]), np.array([[[0.5, 9.0]]])))
    assert abs(canvas[-1, 0, 0] - 0.5) <= STEP
    assert canvas[-1, -1, 0] == 1.0


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (64, 8), (65, 9)])
def test_a_grid_is_as_square_as_it_can_be(n: int, columns: int) -> None:
    shown = pixels(plots.image_grid(np.ones((n, 4, 4))))
    assert shown.shape[:2] == (-(-n // columns) * 130 - 10, columns * 130 - 10)


def test_many_columns_are_no_wider_than_a_page() -> None:
    for shape in ((30, 28, 28), (30, 300, 7), (100, 8, 8)):
        figure = plots.image_grid(np.random.default_rng(0).random(shape), columns=shape[0])
        assert figure.get_size_inches()[0] <= 8.5


def test_grids_stand_beside_each_other_under_their_names() -> None:
    levels = np.ones((3, 8, 8)) * np.array([0.1, 0.3, 0.5])[:, None, None]
    figure = plots.image_grids({"$a": levels, "b": levels + 0.4}, columns=2, limits=(0, 1))
    assert [text.get_text() for text in figure.texts] == ["$a", "b"]
    canvas = canvas_of(figure)[..., 0]
    lefts = (0, 130, 270, 400)  # two gaps between the grids
    assert np.allclose([canvas[60, left + 60] for left in lefts], [0.1, 0.3, 0.5, 0.7], atol=STEP)
    assert np.allclose(
        [canvas[190, left + 60] for left in lefts], [0.5, 1.0, 0.9, 1.0], atol=STEP
    )  # the last row is short
    assert pixels(figure).shape[:2] == (48 + 250, 520)
    starts = [text.get_position()[0] * 520 for text in figure.texts]
    assert np.allclose(starts, [0, 270], atol=1)
    for wrong in ({}, {"a": levels, "b": levels[:2]}):
        with pytest.raises(ValueError, match="must be the same"):
            plots.image_grids(wrong)


def test_grids_share_what_is_black_and_white() -> None:
    canvas = canvas_of(plots.image_grids({"a": np.zeros((1, 4, 4)), "b": np.full((1, 4, 4), 2.0)}))
    assert canvas[60, 60, 0] == 0
    assert canvas[60, -60, 0] == 1


def test_pairs_beside_each_other() -> None:
    originals = np.ones((4, 8, 8)) * np.array([0.1, 0.2, 0.3, 0.4])[:, None, None]
    figure = plots.pairs_grid(originals, originals + 0.5, columns=2, limits=(0, 1), beside=True)
    canvas = canvas_of(figure)[..., 0]
    assert np.allclose([canvas[60, x + 60] for x in (0, 130, 270, 400)], [0.1, 0.6, 0.2, 0.7], atol=STEP)
    assert np.allclose([canvas[190, x + 60] for x in (0, 130, 270, 400)], [0.3, 0.8, 0.4, 0.9], atol=STEP)
    assert (canvas[60, 250:270] == 1).all()  # pairs are further apart than images


def test_many_reconstructions_are_beneath_their_original() -> None:
    made = np.ones((5, 1, 8, 8)) * np.array([0.1, 0.2, 0.3, 0.4, 0.5])[:, None, None, None]
    figure = plots.many_of_one(np.full((1, 8, 8), 0.9), made, columns=3, limits=(0, 1))
    canvas = canvas_of(figure)[..., 0]
    tops = (0, 140, 270)  # two gaps below the original
    assert np.allclose([canvas[top + 60, 60] for top in tops], [0.9, 0.1, 0.4], atol=STEP)
    assert [text.get_text() for text in figure.texts] == ["data", "model", "model"]


# -- the latent space --------------------------------------------------------------------------------------------------


def test_embedding_of_two_dimensions_is_the_identity() -> None:
    means = np.random.default_rng(0).normal(size=(7, 2))
    assert (plots.embed(means) == means).all()


def test_embedding_keeps_clusters_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "STEPS", STEPS)  # in other tests they are fewer
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 20)
    means = 10 * np.eye(5)[label] + rng.normal(size=(60, 5))
    found = plots.embed(means, seed=1)
    distance = np.square(found[:, None] - found).sum(-1) + np.where(np.eye(60), np.inf, 0)
    assert (label[distance.argmin(1)] == label).all()
    assert (plots.embed(means, seed=1) == found).all()


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("dimensions", [1, 2, 3, 9])
def test_embedding_of_a_few_points(n: int, dimensions: int) -> None:
    found = plots.embed(np.random.default_rng(0).normal(size=(n, dimensions)))
    assert found.shape == (n, 2)
    assert np.isfinite(found).all()


def test_embedding_of_a_collapsed_posterior() -> None:
    assert (plots.embed(np.full((50, 4), 3.0)) == 3.0).all()
    with pytest.raises(ValueError, match=r"accepted: \(N, D\)"):
        plots.embed(np.zeros((0, 3)))


def test_map_draws_each_class_and_names_it_whatever_its_name() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2, 3, 4, 6], 4)  # class 5 has no point
    z = rng.normal(size=(24, 2))
    figure = plots.latent_map(z, label, HOSTILE)
    drawn = [np.asarray(points.get_offsets()) for points in figure.axes[0].collections]
    assert all((own == z[label == k]).all() for own, k in zip(drawn, np.unique(label), strict=True))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["$\\frac{$", "_hidden", "", "two lines", "<b>&</b>", "a name that is long…"]
    assert pixels(figure).min() < 0.5


@pytest.mark.parametrize("classes", [10, 20])
def test_classes_look_different(classes: int) -> None:
    figure = plots.latent_map(np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % classes)
    handles = figure.legends[0].legend_handles
    assert len({(handle.get_color(), handle.get_marker()) for handle in handles}) == classes  # type: ignore[union-attr]


def test_short_names_stand_among_their_class() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(40, 2)) + center for center in ((-9, 0), (9, 0), (0, 0))]  # the first class in two parts
    texts = plots.latent_map(np.concatenate(parts), [0] * 80 + [1] * 40, ["a", "b"]).axes[0].texts
    places = {text.get_text(): text.get_position() for text in texts}
    assert abs(abs(places["a"][0]) - 9) < 1
    assert abs(places["b"][0]) < 1


def test_map_without_names() -> None:
    z = np.random.default_rng(0).normal(size=(63, 2))
    assert not plots.latent_map(z).legends
    assert not plots.latent_map(z, np.arange(63) % 21).legends
    figure = plots.latent_map(z[:1], axes_names=("$z", ""))
    assert figure.axes[0].get_xticks().size > 0
    assert figure.axes[0].get_yticks().size == 0
    assert pixels(figure).min() < 0.5
    for wrong in (z[:0], z[:, :1]):
        with pytest.raises(ValueError, match="accepted"):
            plots.latent_map(wrong)
    with pytest.raises(ValueError, match="accepted"):
        plots.latent_map(z, [0])


def test_bars_fall_and_keep_their_dimension() -> None:
    axes = plots.kl_bars({"z": [0.5, 2.0, 0.0, 1.0]}, {"z": [True, True, False, True]}).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2.0, 1.0, 0.5, 0.0]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "0", "2"]
    colours = [bar.get_facecolor()[:3] for bar in axes.patches]
    assert colours == [to_rgb(LIGHT.colours[0])] * 3 + [to_rgb(LIGHT.muted)]


def test_bars_of_many_latents_and_dimensions() -> None:
    figure = plots.kl_bars({"$a": [1.0], "b": np.linspace(0, 1, 150).tolist()}, theme=DARK)
    assert [len(axes.patches) for axes in figure.axes] == [1, 100]
    assert figure.axes[1].get_title(loc="left").startswith("b: the 100 largest")
    assert pixels(figure).max() > 0.5
    with pytest.raises(ValueError, match="no latent"):
        plots.kl_bars({})


# -- tables ------------------------------------------------------------------------------------------------------------


def test_histograms_are_shares_of_data_and_of_samples() -> None:
    rng = np.random.default_rng(0)
    data, samples = rng.normal(size=(500, 2)), rng.normal(size=(80, 2))
    figure = plots.marginals(data, samples, ["$x", "y"])
    for axes in figure.axes:
        shares = [step.get_data().values.sum() for step in axes.patches]  # type: ignore[attr-defined]
        assert all(0.95 < share <= 1 for share in shares)
    assert list(panels(figure)) == ["$x", "y"]


def test_whole_numbers_have_a_bin_each() -> None:
    data = np.array([[0.0], [0.0], [3.0], [1.0]])
    step = plots.marginals(data, data).axes[0].patches[0].get_data()  # type: ignore[attr-defined]
    counts = {
        round((low + high) / 2): value
        for low, high, value in zip(step.edges, step.edges[1:], step.values, strict=False)
    }
    assert {k: v for k, v in counts.items() if v} == {0: 0.5, 1: 0.25, 3: 0.25}


def test_a_far_draw_does_not_squeeze_the_rest() -> None:
    data = np.random.default_rng(0).normal(size=(1000, 1))
    samples = data.copy()
    samples[0] = 1e9
    assert plots.marginals(data, samples).axes[0].patches[0].get_data().edges[-1] < 10  # type: ignore[attr-defined]


def test_agreement_is_reconstruction_against_original() -> None:
    x, made = np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2) + 1
    figure = plots.agreement(x, made)
    for i, axes in enumerate(figure.axes):
        assert np.asarray(axes.collections[0].get_offsets()).tolist() == np.stack([x[:, i], made[:, i]], 1).tolist()
        assert np.array_equal(axes.lines[0].get_xdata(), axes.lines[0].get_ydata())


@pytest.mark.parametrize("draw", [plots.marginals, plots.agreement])
def test_tables_of_odd_shapes(draw: object) -> None:
    assert callable(draw)
    assert len(draw(np.zeros((1, 1)), np.ones((1, 1))).axes) == 1
    wide = draw(np.ones((4, 13)) * 7, np.ones((4, 13)) * 7, [f"c{i}" for i in range(13)], theme=DARK)
    assert list(panels(wide)) == [f"c{i}" for i in range(12)]
    assert pixels(wide).max() > 0.5
    with pytest.raises(ValueError, match="the same"):
        draw(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="accepted"):
        draw(np.zeros((0, 3)), np.zeros((0, 3)))


def test_data_alone() -> None:
    data = np.random.default_rng(0).normal(size=(50, 2))
    figure = plots.marginals(data)
    assert [len(axes.patches) for axes in figure.axes] == [1, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["data"]


# -- the posterior, and the model --------------------------------------------------------------------------------------


def test_correlations_leave_out_the_diagonal_and_share_a_scale() -> None:
    one = np.array([[1.0, -0.3, 0.0], [-0.3, 1.0, 0.1], [0.0, 0.1, 1.0]])
    figure = plots.correlations(one, np.abs(one))
    first, second = (axes.images[0] for axes in figure.axes[::2])
    assert (first.get_clim(), second.get_clim()) == ((-0.5, 0.5), (0.0, 0.5))
    shown = np.ma.filled(first.get_array(), np.nan)
    assert np.isnan(shown.diagonal()).all()
    assert np.array_equal(shown[~np.eye(3, dtype=bool)], one[~np.eye(3, dtype=bool)])
    labels = [axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes]
    assert labels == ["latent dimension", "correlation", "latent dimension", "mean |correlation|"]
    assert np.ptp(pixels(figure)) > 0.5


@pytest.mark.parametrize(("size", "theme"), [(1, LIGHT), (200, DARK)])
def test_correlations_of_any_size(size: int, theme: Theme) -> None:
    figure = plots.correlations(np.eye(size), np.eye(size), theme=theme)
    assert figure.axes[0].images[0].get_clim() == (-0.1, 0.1)
    assert np.ptp(pixels(figure)) > 0.5
    for wrong in (np.eye(size)[:0], np.ones((size, size + 1)), np.ones(size)):
        with pytest.raises(ValueError, match="accepted"):
            plots.correlations(wrong, wrong)


def block(name: str, layers: int) -> plots.Block:
    return plots.Block(name, "part", tuple(plots.Layer(f"layer {i}", str(i), 10) for i in range(layers)))


def test_boxes_do_not_overlap_and_stay_on_the_page() -> None:
    codes = [plots.Code(f"z{i}, 3", block(f"q{i}", i), block(f"p{i}", 4 - i)) for i in range(4)]
    figure = plots.structure(block("in", 5), codes, block("out", 9), block("px", 0), "x", "y, 10", theme=DARK)
    width, height = figure.get_size_inches()
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    places = np.array([(b.get_x(), b.get_y(), b.get_x() + b.get_width(), b.get_y() + b.get_height()) for b in boxes])
    assert len(boxes) == 3 + 2 + 1 + 3 * 4  # parts, data on both sides, the condition, and three for each latent
    assert places.min() > 0
    assert (places[:, 2] < width).all()
    assert (places[:, 3] < height).all()
    for i, a in enumerate(places):
        for b in places[:i]:
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, (a, b)
    assert np.ptp(pixels(figure)) > 0.5


def test_a_long_part_shows_its_ends_and_counts_everything() -> None:
    long = block("Encoder", 40)
    figure = plots.structure(long, [plots.Code("z, 2", block("q", 1), block("p", 0))], block("d", 1), block("l", 0))
    found = [text.get_text() for text in figure.axes[0].texts]
    assert {"layer 0", "layer 39", "… 27 more", "270", "400"} <= set(found)
    assert "layer 20" not in found
    with pytest.raises(ValueError, match="no latent"):
        plots.structure(long, [], long, long)


def test_a_condition_that_the_encoder_does_not_see_has_one_arrow_less() -> None:
    code = plots.Code("z, 2", block("q", 1), block("p", 0))
    counts = []
    for sees in (True, False):
        figure = plots.structure(block("e", 3), [code], block("d", 3), block("l", 0), "x", "y, 3", encoder_sees=sees)
        counts.append(sum(isinstance(patch, FancyArrowPatch) for patch in figure.axes[0].patches))
    assert counts[0] == counts[1] + 1


def test_names_from_outside_are_shown_as_they_are() -> None:
    code = plots.Code("$\\frac{$, 2", block("$q", 1), block("p", 0))
    figure = plots.structure(block("e", 1), [code], block("d", 1), block("l", 0), "数字")
    assert np.ptp(pixels(figure)) > 0.5


# -- all of them -------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_stand_out_from_the_page(theme: Theme) -> None:
    def contrast(colour: str) -> float:
        dark, light = sorted([luminance(colour), luminance(theme.background)])
        return (light + 0.05) / (dark + 0.05)

    # Of text the minimum of WCAG 2.1 (1.4.3), of lines that of graphics (1.4.11), of the colours of classes less.
    assert contrast(theme.text) > 7
    assert contrast(theme.muted) > 4.5
    assert all(contrast(colour) > 3 for colour in theme.colours[:2])
    assert all(contrast(colour) > 2 for colour in theme.colours)


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_files_of_each_kind_are_the_same_each_time(kind: str, start: bytes) -> None:
    found = []
    for _ in range(2):
        file = io.BytesIO()
        plots.save(plots.curves(epochs(2.0, 1.0)), file, kind)
        found.append(file.getvalue())
    assert found[0].startswith(start)
    assert found[0] == found[1]


def test_a_title_is_put_where_there_is_room() -> None:
    figure = plots.curves(epochs(2.0, 1.0))
    plots.add_title(figure, "$a title", LIGHT)
    assert figure.get_suptitle() == "$a title"
    figure.draw_without_rendering()
    boxes = [artist.get_window_extent() for artist in (figure._suptitle, figure.legends[0])]  # type: ignore[attr-defined]
    assert not boxes[0].overlaps(boxes[1])
    images = plots.image_grid(np.zeros((1, 4, 4)))
    plots.add_title(images, "a title", LIGHT)
    assert images.get_suptitle() == ""


def test_a_name_that_there_is_not() -> None:
    assert sorted(plots.__all__) == sorted(name for names in plots._HOME.values() for name in names)
    with pytest.raises(AttributeError, match="no attribute 'curve'"):
        plots.curve  # noqa: B018


def test_matplotlib_is_left_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    pixels(plots.latent_map(np.zeros((3, 2)), theme=DARK))
    pixels(plots.curves(epochs(2.0, 1.0), theme=DARK))
    plots.save(plots.image_grid(np.zeros((1, 4, 4))), io.BytesIO(), "svg")
    assert dict(matplotlib.rcParams) == before


def test_plots_need_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys; from vaekit.show import plots; plots.save(plots.kl_bars({'z': [1.0]}), '/dev/null');"
        "print([m for m in ('torch', 'matplotlib.pyplot', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_notebooks_show_what_is_saved(tmp_path: Path) -> None:
    figure = plots.curves(epochs(2.0, 1.0))
    assert plots.save(figure, tmp_path / "my-curves.png") is figure
    assert figure.get_label() == "my-curves"
    assert figure._repr_png_() == (tmp_path / "my-curves.png").read_bytes()  # type: ignore[attr-defined]
    grid = plots.image_grid(np.zeros((1, 4, 4)))
    assert grid._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
