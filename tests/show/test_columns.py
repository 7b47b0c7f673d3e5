"""The columns of a table in pictures and reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import ConciseDateFormatter
from models_for_tests import refuses

from vaekit import train
from vaekit.data.columns import Column
from vaekit.data.domains import Domain
from vaekit.runs.run import Run
from vaekit.show import plots
from vaekit.show.pictures import Subject
from vaekit.show.pictures.columns import LEVELS, SHOWN, agreement, errors, marginal, sampled, scale_of, value_range
from vaekit.show.pictures.drawing import draw, offers, prepare
from vaekit.show.plots import DARK, LIGHT, Colouring, Marginal, Scale
from vaekit.show.report import write_report
from vaekit.show.report.columns import column_table, odd_table, scored

SIZES = Column("size", "categorical", ("small", "$large_", "é <b>"), dtype="str")
WIDE = Column("wide", "categorical", tuple(f"level {chr(97 + i)}" for i in range(12)))
DAYS = Column("day", "date", unit="D", dtype="datetime64[us]")
CLOCK = Column("at", "date", unit="min", format="%H:%M", dtype="str")
REAL, COUNT = Column("x", "real"), Column("n", "count")
TINY = (
    "training.epochs=1",
    "training.batch_size=64",
    "model.encoder={name='mlp', hidden=[16]}",
    "model.decoder={name='mlp', hidden=[16]}",
    "model.latents.z.size=2",
)


def frame(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    made = pd.DataFrame(
        {
            "day": pd.to_datetime("2021-03-01") + pd.to_timedelta((z * 90).astype(int), unit="D"),
            "price": np.exp(2 * z + rng.normal(size=n)).round(3),
            "city": np.array(["Oslo", "Rome", "São $Paulo_"])[np.clip((z + 1).round(), 0, 2).astype(int)],
            "n": rng.poisson(4, n),
            "ok": z > 0,
        }
    )
    made.loc[rng.random(n) < 0.3, ["price", "city"]] = np.nan
    made.loc[rng.random(n) < 0.1, "n"] = np.nan
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(frame(), tmp_path_factory.mktemp("columns") / "run", sets=TINY)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Run:
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.normal(size=(300, 30)), columns=[f"c{i}" for i in range(30)])
    return train(made, tmp_path_factory.mktemp("numbers") / "run", sets=TINY)


def y_labels(axes: object) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]  # type: ignore[attr-defined]


# -- how often each value is -------------------------------------------------------------------------------------------


def test_shares_are_of_the_cells_that_are_observed() -> None:
    x, made = np.array([0, 0, 1, np.nan, 2, np.nan, 0, 1.0]), np.array([0.0, 1, 1, 1])
    found = marginal(SIZES, Domain("categorical", levels=3), x, made)
    assert found.names == ("small", "$large_", "é <b>")
    np.testing.assert_allclose(found.data, [3 / 6, 2 / 6, 1 / 6])
    assert found.samples is not None
    np.testing.assert_allclose(found.samples, [1 / 4, 3 / 4, 0])
    assert found.missing == 2 / 8
    assert found.distance == pytest.approx((1 / 4 + 5 / 12 + 1 / 6) / 2)


def test_the_rarest_of_many_categories_are_one() -> None:
    x = np.repeat(np.arange(12), np.arange(1, 13)).astype(float)
    found = marginal(WIDE, Domain("categorical", levels=12), x)
    assert found.names == (*(f"level {letter}" for letter in "lkjihgf"), "5 others")
    assert len(found.names) == LEVELS
    assert found.data.sum() == pytest.approx(1)
    assert found.data[-1] == pytest.approx(15 / 78)


def test_levels_keep_their_order() -> None:
    grade = Column("grade", "ordinal", ("low", "mid", "high"))
    found = marginal(grade, Domain("grey", levels=3), np.array([2.0, 2, 1, 0]))
    assert found.names == ("low", "mid", "high")


def test_whole_numbers_lie_in_the_middle_of_bins_of_as_many() -> None:
    rng = np.random.default_rng(0)
    for domain in (Domain("count"), Domain("count", location=3.0, scale=2.0, warp="log")):
        found = marginal(COUNT, domain, rng.poisson(300, 5000).astype(float))
        assert (found.ends % 1 == 0.5).all()
        assert len(set(np.diff(found.ends))) == 1
        assert 0.98 < found.data.sum() <= 1


def test_zero_does_not_hide_the_rest() -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.random(4000) < 0.9, 0, rng.integers(1000, 90_000, 4000)).astype(float)
    made = np.where(rng.random(4000) < 0.8, 0, rng.integers(1000, 90_000, 4000)).astype(float)
    found = marginal(COUNT, Domain("count", warp="log"), x, made)
    assert found.zero == pytest.approx((0.9, 0.8), abs=0.03)
    assert found.data.sum() == pytest.approx((x != 0).mean(), abs=0.01)
    assert found.distance == pytest.approx(0.1, abs=0.03)
    said = plots.column_marginals([found]).axes[0].texts[0].get_text()
    assert said.startswith("0 in 9")
    assert " / 8" in said


def test_far_samples_neither_squeeze_the_data_nor_are_forgotten() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    found = marginal(REAL, Domain("real"), x, np.where(rng.random(2000) < 0.5, x, 1e9))
    assert found.ends[-1] < 10
    assert found.distance == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("column", [SIZES, REAL])
def test_chance_is_what_two_samples_of_one_kind_differ_by(column: Column) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        x, made = (rng.integers(0, 3, n).astype(float) if column is SIZES else rng.normal(size=n) for n in (300, 900))
        found.append(marginal(column, Domain("categorical", levels=3) if column is SIZES else Domain("real"), x, made))
    distances, chances = np.array([(each.distance, each.chance) for each in found]).T
    assert distances.mean() == pytest.approx(chances.mean(), abs=4 * distances.std() / np.sqrt(60) + 0.003)


def test_a_column_of_which_nothing_is_observed_is_drawn() -> None:
    parts = [marginal(each, Domain("real"), np.full(5, np.nan), np.zeros(3)) for each in (REAL, SIZES, DAYS)]
    assert [part.missing for part in parts] == [1, 1, 1]
    assert len(plots.column_marginals(parts).axes) == 3


# -- axes --------------------------------------------------------------------------------------------------------------


def test_logarithms_where_the_model_has_them_and_they_help() -> None:
    log, far, near = Domain("positive", warp="log"), np.geomspace(1, 1e4, 50), np.linspace(10, 30, 50)
    positive = Column("p", "positive")
    assert scale_of(positive, log, far).kind == "log"
    assert scale_of(positive, log, near).kind == scale_of(REAL, Domain("real"), far).kind == "linear"
    assert scale_of(COUNT, Domain("count", warp="log"), far).place(np.zeros(1)) == 0
    assert scale_of(DAYS, Domain("integer"), far).kind == "date"
    for unit, a_day in {"D": 1, "h": 24, "min": 1440, "s": 86_400}.items():
        assert scale_of(replace(DAYS, unit=unit), Domain("integer"), far).place(np.array([a_day])) == 1
        far_off = errors(replace(DAYS, unit=unit), a_day * np.array([10.0, 30]), a_day * np.array([10.0, 10]))
        assert far_off == ("10 days", "10 days")
    assert np.allclose(scale_of(CLOCK, Domain("integer"), far).place(np.array([90.0, 1440.0])), [1.5, 24.0])


def test_times_of_day_have_the_hours_on_their_axis() -> None:
    x = np.random.default_rng(0).integers(8 * 60, 18 * 60, 500).astype(float)
    figure = plots.column_marginals([marginal(CLOCK, Domain("integer"), x)])
    figure.canvas.draw()
    ticks = [each.get_text() for each in figure.axes[0].get_xticklabels()]
    assert {"09:00", "12:00", "15:00"} <= set(ticks) or {"10:00", "12:00"} <= set(ticks), ticks


@pytest.mark.parametrize("scale", [Scale(), Scale("log"), Scale("asinh", 5.0, 0.1), Scale("date", scale=0.5)])
def test_places_lead_back_to_numbers(scale: Scale) -> None:
    x = np.array([0.5, 1.0, 30.0, 4000.0])
    np.testing.assert_allclose(scale.number(scale.place(x)), x, rtol=1e-9)


def test_ticks_of_logarithms_say_what_lies_there() -> None:
    part = Marginal("p", np.ones(4) / 4, ends=np.linspace(0, np.log(1e6), 5), scale=Scale("log"))
    axes = plots.column_marginals([part]).axes[0]
    for place, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        number = float(text.get_text().replace("k", "e3").replace("M", "e6"))
        assert np.log(number) == pytest.approx(place)
    assert 2 <= len(axes.get_xticks()) <= 6


def test_dates_are_dates() -> None:
    x = np.arange(18_000.0, 18_400)
    axes = plots.column_marginals([marginal(DAYS, Domain("integer"), x)]).axes[0]
    assert isinstance(axes.xaxis.get_major_formatter(), ConciseDateFormatter)
    assert axes.get_xlim() == pytest.approx((18_000, 18_400), abs=20)
    assert value_range(DAYS, x) == "2019-04-14 to 2020-05-17"


# -- panels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_categories_have_their_names_and_no_numbers(theme: plots.Theme) -> None:
    x = np.array([0, 0, 1, np.nan, 2.0])
    domain = Domain("categorical", levels=3)
    figure = plots.column_marginals([marginal(SIZES, domain, x, x[:3])], theme=theme)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    assert y_labels(axes) == ["small", "$large_", "é <b>"]
    assert [bar.get_width() for bar in axes.patches[2:]] == [0.5, 0.25, 0.25]  # type: ignore[attr-defined]
    assert axes.texts[0].get_text() == "missing 20 %"
    track, strip = axes.patches[:2]
    assert strip.get_width() / track.get_width() == pytest.approx(0.2)  # type: ignore[attr-defined]
    crossed = plots.column_agreements([agreement(SIZES, domain, x, np.zeros(5))], theme=theme).axes[0]
    assert y_labels(crossed) == ["small", "$large_", "é <b>"]
    assert list(crossed.get_xticks()) == []


def test_what_becomes_of_categories_and_of_numbers() -> None:
    x, made = np.array([0, 0, 1, 1, 2, np.nan]), np.array([0.0, 1, 1, 1, 0, 2])
    part = agreement(SIZES, Domain("categorical", levels=3), x, made)
    shares = np.asarray(plots.column_agreements([part]).axes[0].images[0].get_array())
    assert part.names == ("small", "$large_", "é <b>")
    assert shares.tolist() == [[0.5, 0.5, 0], [0, 1, 0], [1, 0, 0]]
    assert errors(SIZES, x, made) == ("40 %", "60 %")
    assert errors(REAL, np.array([1.0, 2, 4, np.nan]), np.array([2.0, 2, 2, 9])) == ("1", "1")
    assert errors(DAYS, np.array([10.0, 30]), np.array([10.0, 10])) == ("10 days", "10 days")
    assert errors(COUNT, np.array([2.0, 3]), np.array([2.4, 3.4])) == ("0", "0.5")


def test_patterns_of_holes() -> None:
    gaps = np.array([[0, 0, 0]] * 5 + [[1, 0, 1]] * 3 + [[0, 1, 0]] * 2, bool)
    bars, patterns = plots.holes(gaps, ["a", "$b", "c"]).axes
    assert y_labels(bars) == ["a", "$b", "c"]
    assert [bar.get_width() for bar in bars.patches] == [0.3, 0.2, 0.3]  # type: ignore[attr-defined]
    assert np.asarray(patterns.images[0].get_array()).tolist() == [[0, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert y_labels(patterns) == ["50 %", "30 %", "20 %"]


def test_dependences_are_drawn_on_fixed_scales_without_the_diagonal() -> None:
    data, samples = np.array([[1, 0.8], [0.8, 1]]), np.array([[1, 0.65], [0.65, 1]])
    axes = plots.dependences(data, samples, ["$a", "b"]).axes
    images = [each.images[0] for each in axes if each.images and each.get_title(loc="left")]
    assert [image.get_clim() for image in images] == [(0, 1), (0, 1), (-0.2, 0.2)]
    for image, value in zip(images, (0.8, 0.65, -0.15), strict=True):
        shown = np.ma.filled(image.get_array(), np.nan)
        assert np.isnan(shown.diagonal()).all()
        assert shown[0, 1] == pytest.approx(value)
    assert y_labels(axes[0]) == ["$a", "b"]
    with pytest.raises(ValueError, match="accepted"):
        plots.dependences(data, samples, ["a"])


def test_a_map_has_the_colours_of_a_column() -> None:
    z = np.random.default_rng(0).normal(size=(9, 2))
    names, shades = (
        Colouring("kind", np.array([0, 1, np.nan] * 3), ("$x", "_y")),
        Colouring("age", np.array([1.0, np.nan, 5] * 3)),
    )
    figure = plots.coloured_maps(z, [names, shades])
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["$x", "_y"]
    assert [len(each.get_offsets()) for each in figure.axes[0].collections] == [3, 3, 3]  # type: ignore[arg-type]
    assert [len(each.get_offsets()) for each in figure.axes[1].collections] == [3, 6]  # type: ignore[arg-type]


# -- runs --------------------------------------------------------------------------------------------------------------


def test_all_pictures_of_a_table_with_holes_and_dates(run: Run) -> None:
    lacking = {offer.name for offer in offers(run) if offer.lacks}
    assert not lacking & {"data", "samples", "dependences", "reconstructions", "missing", "latents"}
    made = {name: draw(run, name, theme=DARK) for name in ("samples", "dependences", "reconstructions", "missing")}
    for figure in made.values():
        figure.draw_without_rendering()
    names = list(run.schema.columns)
    assert [axes.get_title(loc="left") for axes in made["samples"].axes] == names
    assert [axes.get_title(loc="left") for axes in made["reconstructions"].axes] == names
    said = prepare(Subject(run), "missing", {}).text
    holes = frame().isna()
    assert f"{holes.to_numpy().sum():,} of {holes.size:,} cells" in said
    assert f"in {holes.any(axis=1).sum():,} of {len(holes):,} rows" in said
    assert said.startswith("3 of 5 columns")


def test_a_picture_is_the_same_each_time(run: Run) -> None:
    first, second = (sampled(Subject(run, seed=3)) for _ in range(2))
    assert first.made is not None
    assert second.made is not None
    assert np.array_equal(first.made, second.made)
    assert np.array_equal(first.data, second.data, equal_nan=True)


def test_the_map_is_coloured_by_any_column(run: Run, numbers: Run) -> None:
    for name in run.schema.columns:
        assert draw(run, "latents", column=name, n=20).axes[0].get_title(loc="left") == name
    four = draw(numbers, "latents", n=20)
    assert len({axes.get_title(loc="left") for axes in four.axes} & set(numbers.schema.columns)) == 4
    with refuses("unknown column 'prise' (did you mean 'price'?); accepted: day, price"):
        draw(run, "latents", column="prise")


def test_of_many_columns_the_worst_are_shown(numbers: Run) -> None:
    prepared = prepare(Subject(numbers), "samples", {})
    parts = prepared.draw.args[0]  # type: ignore[attr-defined]
    every = sampled(Subject(numbers)).marginals()
    off = {part.name: part.distance - part.chance for part in every}
    assert len(parts) == SHOWN
    assert {part.name for part in parts} == set(sorted(off, key=lambda name: -off[name])[:SHOWN])
    assert f"Of 30 columns the {SHOWN} whose samples are farthest from the data" in prepared.text
    assert len(prepare(Subject(numbers), "dependences", {}).draw.args[2]) == SHOWN  # type: ignore[attr-defined]


def test_the_report_lists_columns_and_the_oddest_rows(run: Run) -> None:
    subject = Subject(run)
    found = scored(subject)
    assert found is not None
    table = column_table(subject, found)
    rows = {row[0]: dict(zip(table.heads, row, strict=True)) for row in table.rows}
    assert list(rows) == list(run.schema.columns)
    assert rows["city"]["Kind"] == "categorical, 3"
    assert "Oslo" in rows["city"]["Values"]
    assert rows["day"]["Kind"] == "date"
    assert " to 20" in rows["day"]["Values"]
    assert rows["ok"]["Missing"] == ""
    assert float(rows["price"]["Missing"].removesuffix(" %")) == pytest.approx(30, abs=12)
    data = run.data("test")
    assert data.observed is not None
    seen = data.observed[:, 1].numpy()
    nats = run.detect("test", samples=20, per_column=True)["price"].to_numpy()
    assert float(rows["price"]["Nats"].replace("−", "-")) == pytest.approx(nats[seen].mean(), abs=0.02)
    odd = odd_table(subject, found)
    assert [row[0] for row in odd.rows] == [str(i) for i in found["score"].sort_values(ascending=False).index[:10]]
    assert "=" in odd.rows[0][2]
    assert "(+" in odd.rows[0][2]


def test_the_page_of_a_table(run: Run) -> None:
    text = write_report(run).read_text(encoding="utf-8")
    places = [
        text.index(f"<h2>{title}") for title in ("Columns", "Samples from", "Dependences", "Missing", "The oddest")
    ]
    assert places == sorted(places)
    assert (run.path / "pictures" / "dependences-dark.png").exists()


def test_a_part_of_the_rows_of_a_split(run: Run) -> None:
    data, index = run.data("test"), np.array([3, 0])
    part = data.part(index)
    assert np.array_equal(part.rows(np.arange(2)).x, data.rows(index).x)
    assert part.origin is not None
    assert data.origin is not None
    assert part.origin.tolist() == data.origin[index].tolist()


def test_a_table_of_one_column(tmp_path: Path) -> None:
    pd.DataFrame({"only": np.random.default_rng(0).normal(size=200)}).to_csv(tmp_path / "one.csv", index=False)
    run = train(tmp_path / "one.csv", tmp_path / "run", sets=TINY)
    assert {offer.name: offer.lacks for offer in offers(run)}["dependences"] == "two columns or more"
    assert [row[0] for row in column_table(Subject(run), None).rows] == ["only"]
