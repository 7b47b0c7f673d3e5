"""Runs side by side: scores on the same data, paired differences, what differs, and the page."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from commands_for_tests import command, done
from matplotlib.image import imread
from models_for_tests import refuses
from runs_for_tests import small_run

from vaekit import compare, load_run, train, write_comparison
from vaekit.runs.comparison import Comparison, differences
from vaekit.runs.run import Run
from vaekit.seeding import seeded, stream
from vaekit.show.report import comparison as page
from vaekit.show.report import tables

HOSTILE = "<script>alert('x')</script>&amp;"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def runs(folder: Path) -> tuple[Run, Run, Run]:
    return (
        small_run(folder / "plain"),
        small_run(folder / "full", "model.latents.z.posterior=full-rank-normal", "training.epochs=3"),
        small_run(folder / "given", "model.condition=true", f"title={json.dumps(HOSTILE)}"),
    )


@pytest.fixture(scope="module")
def found(runs: tuple[Run, Run, Run]) -> Comparison:
    return compare(runs, samples=6, seed=3)


def nll(run: Run, samples: int, seed: int) -> np.ndarray:
    """-log p(x) of each datum, by the model's own method."""
    values = []
    with seeded(stream(seed, "evaluation")):
        for batch in run.data("test").blocks():
            x, y = batch.x, batch.y
            values.append(-run.model.score(x, y if run.model.conditional else None, samples).log_prob)
    return np.concatenate(values)


def test_scores_are_those_of_an_evaluation(found: Comparison, runs: tuple[Run, Run, Run]) -> None:
    assert [row.name for row in found.rows] == ["plain", "full", "given"]
    for row, run in zip(found.rows, runs, strict=True):
        assert row.evaluation == run.evaluate("test", 6, seed=3)
        assert row.parameters == sum(p.numel() for p in run.model.parameters())
        assert row.epochs == run.spec.training.epochs
        assert row.seconds == sum(record.seconds for record in run.history())
    assert [row.posterior for row in found.rows] == ["diagonal-normal", "full-rank-normal", "diagonal-normal"]


def test_differences_are_paired(found: Comparison, runs: tuple[Run, Run, Run]) -> None:
    values = [nll(run, 6, 3) for run in runs]
    for row, own in zip(found.rows, values, strict=True):
        difference = own - values[0]
        assert row.nll_difference == pytest.approx(difference.mean(), abs=1e-4)
        assert row.nll_difference_stderr == pytest.approx(difference.std(ddof=1) / math.sqrt(300), abs=1e-4)
    assert (found.rows[0].nll_difference, found.rows[0].nll_difference_stderr) == (0.0, 0.0)
    # What the pairing is for: data that are hard for one run are hard for the other.
    apart = math.hypot(found.rows[0].evaluation.nll_stderr, found.rows[1].evaluation.nll_stderr)
    assert found.rows[1].nll_difference_stderr < apart / 2


def test_only_what_differs_is_named(found: Comparison, runs: tuple[Run, Run, Run]) -> None:
    assert found.differences == {
        "model.condition": (False, False, True),
        "model.latents.z.posterior": ("diagonal-normal", "full-rank-normal", "diagonal-normal"),
        "training.epochs": (2, 3, 2),
    }
    assert differences(runs[:1] * 2) == {}


def test_a_key_that_a_run_lacks_is_none_there(folder: Path, runs: tuple[Run, Run, Run]) -> None:
    sets = ("model.latents.u={size=2}", "model.latents.z.prior={name='mixture', components=4}")
    other = small_run(folder / "other", *sets, "training.learning_rate={name='linear', start=1e-3, end=1e-4}")
    assert differences([runs[0], other]) == {
        "model.latents.u.maps": (None, False),
        "model.latents.u.posterior": (None, "diagonal-normal"),
        "model.latents.u.prior": (None, "standard-normal"),
        "model.latents.u.size": (None, 2),
        "model.latents.z.prior": ("standard-normal", "mixture"),
        "model.latents.z.prior.components": (None, 4),
        "training.learning_rate": (1e-3, "linear"),
        "training.learning_rate.end": (None, 1e-4),
        "training.learning_rate.start": (None, 1e-3),
    }


def test_other_data_are_refused(folder: Path, runs: tuple[Run, Run, Run]) -> None:
    binary = ("data.binarize=static", "model.likelihood=bernoulli", "training.epochs=1")
    one = small_run(folder / "one", *binary)
    seeded_otherwise = small_run(folder / "two", *binary, "data.seed=1")
    grey = small_run(folder / "grey", "data.binarize=grey", "model.likelihood=bernoulli", "training.epochs=1")
    rng = np.random.default_rng(0)
    np.save(folder / "own.npy", rng.normal(size=(60, 3)))
    sets = ["training.epochs=1", "training.batch_size=20"]
    own = train(str(folder / "own.npy"), folder / "own", sets=sets)
    for first, second in ((runs[0], one), (one, seeded_otherwise), (one, grey), (runs[0], own)):
        with refuses("would be scored on other data than"):
            compare([first, second], samples=1)
    with refuses("runs to compare: 1; accepted: 2 or more"):
        compare(runs[:1])
    with refuses("samples must be at least 1, got 0"):
        compare(runs, samples=0)


def test_the_same_test_data_are_enough(folder: Path, runs: tuple[Run, Run, Run]) -> None:
    """Numbers on the test split can be compared, whatever was held out of the training rows for validation."""
    fresh = ("data.binarize=stochastic", "model.likelihood=bernoulli", "training.epochs=1")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (90, 5, 5)).astype(np.uint8)
    np.savez(folder / "split.npz", x_train=images[:70], x_test=images[70:])
    sets = ["training.batch_size=20", *fresh]
    path = str(folder / "split.npz")
    many, few = (train(path, folder / str(n), sets=[*sets, f"data.validation={n}"]) for n in (30, 10))
    assert compare([many, few], samples=1).differences == {"data.validation": (30, 10)}
    with refuses("split valid of split, as their models see it"):
        compare([many, few], samples=1, split="valid")


def test_one_datum_tells_nothing_of_errors(folder: Path) -> None:
    one = small_run(folder / "alone", "data.test=1", "training.epochs=1")
    row = compare([one, one], samples=2).rows[1]
    assert row.nll_difference == 0
    assert math.isnan(row.nll_difference_stderr)


def test_labels_matter_where_a_run_is_conditioned_on_them(folder: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    found = []
    for name, labels in (("a", y), ("b", 1 - y)):
        np.savez(folder / f"{name}.npz", x_train=x[:40], x_test=x[40:], y_train=labels[:40], y_test=labels[40:])
        for kind in ("true", "false"):
            sets = ["training.epochs=1", "training.batch_size=20", f"model.condition={kind}"]
            found.append(train(str(folder / f"{name}.npz"), folder / f"{name}-{kind}", sets=sets))
    assert len(compare([found[1], found[3]], samples=1).rows) == 2
    with refuses("would be scored on other data"):
        compare([found[0], found[2]], samples=1)


def test_folders_of_one_name_are_told_apart(folder: Path, runs: tuple[Run, Run, Run]) -> None:
    (folder / "deep").mkdir()
    other = small_run(folder / "deep" / "plain", "training.epochs=1")
    names = [row.name for row in compare([runs[0].path, other.path], samples=1).rows]
    assert names == [str(runs[0].path), str(other.path)]


# -- the page and the command ------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The text and the attributes of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_the_page_has_everything_and_needs_nothing_else(found: Comparison, tmp_path: Path) -> None:
    write_comparison(found, tmp_path / "page.html")
    shown = Page(tmp_path / "page.html")
    cells = [cell for table in tables(found) for row in table.rows for cell in row]
    assert set(cells) <= set(shown.words)
    assert HOSTILE in shown.words
    assert "script" not in shown.tags
    headings = [
        "Scores",
        "The runs",
        "What differs",
        "Training",
        "Rate and distortion",
        "Correlations in the posterior of full",
    ]
    assert [word for word in shown.words if word in headings] == headings
    assert not any(word.startswith("Correlations in the posterior of plain") for word in shown.words)
    sources = [value or "" for key, value in shown.attributes if key in ("src", "srcset")]
    assert len(sources) == 2 * 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"href", "action", "onload"} & {key for key, _ in shown.attributes}
    style = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_tables_say_the_numbers(found: Comparison) -> None:
    scores = tables(found)[0]
    e = found.rows[1].evaluation
    row = dict(zip(scores.heads, scores.rows[1], strict=True))
    assert row["NLL"] == f"{e.nll:.2f} ± {e.nll_stderr:.2f}"
    assert row["ELBO"] == f"−{-e.elbo:.2f} ± {e.elbo_stderr:.2f}"
    difference = f"{found.rows[1].nll_difference:.2f} ± {found.rows[1].nll_difference_stderr:.2f}"
    assert row["NLL less the first's"] == difference.replace("-", "−")
    assert row["Active units"] == f"{e.active_units} of 3"
    assert scores.rows[0][5] == "—"
    assert "−log p(x | y)" in page.about(found)  # one run is conditional, the others are not
    assert "−log p(x | y)" not in page.about(replace(found, runs=found.runs[:2]))


def test_numbers_that_are_no_likelihood_are_called_so(found: Comparison, tmp_path: Path) -> None:
    grey = replace(
        found, rows=tuple(replace(r, evaluation=replace(r.evaluation, is_likelihood=False)) for r in found.rows)
    )
    assert "no likelihood" in page.about(grey)
    assert "no likelihood" not in page.about(found)
    write_comparison(grey, tmp_path / "page.html")
    assert "These numbers are no likelihood." in Page(tmp_path / "page.html").words


def test_scores_of_labels_have_their_columns(found: Comparison) -> None:
    rows = [replace(row, evaluation=replace(row.evaluation, labels={})) for row in found.rows]
    rows[1] = replace(rows[1], evaluation=replace(rows[1].evaluation, labels={"error": 0.125}))
    table = tables(replace(found, rows=tuple(rows)))[0]
    assert table.heads[-1] == "Classification error"
    assert [row[-1] for row in table.rows] == ["—", "12.50 %", "—"]


def test_runs_without_metrics_have_a_page_without_curves(found: Comparison, tmp_path: Path) -> None:
    bare = replace(found, runs=tuple(replace(run, path=tmp_path) for run in found.runs))
    write_comparison(bare, tmp_path / "page.html")
    assert "Training" not in Page(tmp_path / "page.html").words


def test_the_command_prints_the_same_numbers(found: Comparison, runs: tuple[Run, Run, Run]) -> None:
    paths = [run.path for run in runs]
    values = json.loads(done("compare", *paths, "--samples=6", "--seed=3", "--json"))
    rows = json.loads(json.dumps([asdict(row) for row in found.rows]), parse_constant=lambda name: None)
    assert values["runs"] == rows
    assert values["differences"]["model.condition"] == [False, False, True]
    assert (values["dataset"], values["split"]) == ("digits", "test")
    lines = done("compare", *paths, "--samples=6", "--seed=3").splitlines()
    for table in tables(found):
        for row in table.rows:
            assert any(all(cell in line for cell in row) for line in lines), row


def test_the_command_writes_what_the_ending_says(runs: tuple[Run, Run, Run], tmp_path: Path) -> None:
    paths = [run.path for run in runs[:2]]
    for name, start in (("c.html", b"<!doctype html>"), ("c.svg", b"<?xml"), ("c.pdf", b"%PDF"), ("c.PNG", b"\x89PNG")):
        printed = done("compare", *paths, "--samples=1", "--out", tmp_path / name)
        assert printed.splitlines()[-1] == str(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    assert imread(tmp_path / "c.PNG").ndim == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.PNG", "c.html", "c.pdf", "c.svg"]


def test_mistakes_are_one_line(runs: tuple[Run, Run, Run], tmp_path: Path) -> None:
    first, second = runs[0].path, runs[1].path
    for argv, words in (
        ([first], "runs to compare: 1"),
        ([first, tmp_path], "is no run"),
        ([first, second, "--out", tmp_path / "c.jpg"], "unknown ending '.jpg'"),
        ([first, second, "--out", tmp_path / "no" / "c.html"], "there is no folder"),
        ([first, second, "--split", "tset"], "has no split 'tset'"),
    ):
        result = command("compare", *argv)
        assert result.status == 2
        assert re.fullmatch(r"vaekit: [^\n]+\n", result.err)
        assert words in result.err


def test_loading_by_path(runs: tuple[Run, Run, Run], found: Comparison) -> None:
    by_path = compare([str(runs[0].path), load_run(runs[1].path)], samples=6, seed=3)
    assert by_path.rows[1] == found.rows[1]


def test_recipes_are_trained_before_they_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: the same again takes the runs that are there."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(80, 3))
    np.savetxt("t.csv", rows, "%.4f", ",", header="a,b,c", comments="")
    asked = ("compare", "table", "miwae", "--data", "t.csv", "--epochs", "1", "--samples", "2")
    first, again = (done(*asked).splitlines() for _ in range(2))
    assert sorted(path.name for path in Path("runs").iterdir()) == ["miwae", "table"]
    assert any(line.startswith("epoch 1:") for line in first)
    assert not any(line.startswith("epoch 1:") for line in again)
    assert first[-1] == again[-1]


def test_one_run_is_no_list_of_runs() -> None:
    for given in ("runs/one", Path("runs/one")):
        with pytest.raises(ValueError, match=r"runs to compare: 'runs/one'; accepted: a list of 2 or more"):
            compare(given, "runs/two")  # type: ignore[arg-type]
