from __future__ import annotations

import io
import json
import re
import shlex
from base64 import b64decode
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_for_tests import DRAWN
from matplotlib.image import imread
from rounding_for_tests import close_in_ulps
from runs_for_tests import small_run

from vaekit import train
from vaekit.evaluation.evaluation import evaluate
from vaekit.evaluation.scores import Evaluation, active_units, notes
from vaekit.runs.run import Run, load_run
from vaekit.show import plots, report
from vaekit.show.pictures import Subject
from vaekit.show.pictures.groups import ConditionalGrid
from vaekit.show.report import frame, page
from vaekit.show.worded import duration
from vaekit.spec.parts import PARTS
from vaekit.training.validation import Validation

pytestmark = pytest.mark.usefixtures("_drawn")

HOSTILE = "</pre><script>alert('x')</script><img src=http://a.b/c>&amp;\"'"
BOTH = frame._png
VOID = {"meta", "img", "source"}
TAGS = VOID | {
    "html",
    "head",
    "title",
    "style",
    "body",
    "main",
    "header",
    "h1",
    "h2",
    "h3",
    "p",
    "div",
    "strong",
    "code",
}
TAGS |= {"table", "tr", "th", "td", "figure", "figcaption", "picture", "pre", "details", "summary", "footer"}


@dataclass
class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, and the text inside each tag, in order."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open = [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def all(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag]

    @property
    def table(self) -> dict[str, str]:
        """The first cell beside each heading of a row."""
        cells = [(tag, text) for tag, text in self.texts if tag in ("th", "td")]
        return {head: cell for (tag, head), (_, cell) in pairwise(cells) if tag == "th"}


def read(run: Run, evaluation: Evaluation | None = None) -> Page:
    found = Page()
    found.feed(report.write_report(run, evaluation).read_text(encoding="utf-8"))
    assert found.open == [""]
    return found


def arrays(folder: Path, **values: Any) -> Path:
    np.savez(folder / "data.npz", **values)
    return folder / "data.npz"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the drawing and t-SNE, for a test of the text alone."""
    monkeypatch.setattr(page, "drawn", lambda prepared: frame.Drawn(prepared, b"", b"", 0, 0))
    monkeypatch.setattr(plots, "embed", lambda means, seed: means[:, :2])


def quick(target: Path, *sets: str) -> Run:
    return train(target, target.parent / "run", sets=["training.epochs=1", "training.batch_size=10", *sets])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def scores(digits: Run) -> Evaluation:
    return evaluate(digits.model, digits.data("test"), 7, split="test")


@pytest.fixture(scope="module")
def shown(digits: Run, scores: Evaluation) -> Page:
    """Of both variants of each picture, unlike other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "drawn", DRAWN)
        patch.setattr(frame, "_png", BOTH)
        return read(digits, scores)


def test_numbers_are_those_of_the_evaluation(shown: Page, scores: Evaluation) -> None:
    def number(text: str) -> list[float]:
        return [float(n) for n in re.findall(r"-?[\d.]+", text.replace("−", "-").replace(",", ""))]

    assert number(shown.table["ELBO"]) == [round(scores.elbo, 2), round(scores.elbo_stderr, 2)]
    assert number(shown.table["Reconstruction"]) == [round(scores.reconstruction, 2)]
    assert number(shown.table["KL"]) == [round(scores.kl, 2)]
    assert number(shown.table["NLL, −log p(x)"]) == [round(scores.nll, 2), round(scores.nll_stderr, 2)]
    assert number(shown.table["Monte Carlo error"]) == [float(f"{scores.nll_mc_stderr:.1g}")]
    assert number(shown.table["Bits per dimension"]) == [round(scores.bits_per_dim, 3)]
    assert shown.table["Active units"] == f"{scores.active_units} of 3"
    assert any("7 importance samples" in text for text in shown.all("td"))


def test_it_says_what_was_trained(shown: Page, digits: Run) -> None:
    assert shown.table["Dataset"] == "digits"
    assert shown.table["Rows"] == "1,297 train, 200 valid, 300 test"
    assert shown.table["A datum"] == "1 × 8 × 8, grey levels 0..16"
    assert shown.table["Encoder"].startswith("mlp (hidden 16;")
    assert shown.table["Epochs"] == "2"
    assert shown.table["Seed"] == "0"
    counts = [int(text.split()[0].replace(",", "")) for text in shown.all("td") if text.endswith(" parameters")]
    assert counts[-1] == sum(counts[:-1]) == sum(p.numel() for p in digits.model.parameters())
    spec = next(text for text in shown.all("pre") if text.startswith("{"))
    assert json.loads(spec) == json.loads((digits.path / "spec.json").read_text())


def test_the_page_needs_nothing_but_itself(shown: Page, digits: Run) -> None:
    sources = [value for _, attrs in shown.tags for key in ("src", "srcset") if (value := attrs.get(key))]
    assert len(sources) == 2 * 6
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert not {"href", "action", "onload", "onerror", "style"} & {key for _, attrs in shown.tags for key in attrs}
    style = "".join(shown.all("style"))
    assert "url(" not in style
    assert "@import" not in style
    policy = next(attrs["content"] for tag, attrs in shown.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "prefers-color-scheme: dark" in style


def test_pictures_are_there_in_a_light_and_a_dark_variant(shown: Page, digits: Run) -> None:
    names = ["curves", "samples", "reconstructions", "latents", "kl", "model"]
    files = {path.name: path.read_bytes() for path in (digits.path / "pictures").iterdir()}
    assert sorted(files) == sorted([f"{name}{ending}" for name in names for ending in (".png", "-dark.png")])
    light = [attrs for tag, attrs in shown.tags if tag == "img"]
    dark = [attrs for tag, attrs in shown.tags if tag == "source"]
    assert all(attrs["media"] == "(prefers-color-scheme: dark)" for attrs in dark)
    for name, for_light, for_dark in zip(names, light, dark, strict=True):
        data = files[f"{name}.png"]
        assert b64decode((for_light["src"] or "").split(",")[1]) == data
        assert b64decode((for_dark["srcset"] or "").split(",")[1]) == files[f"{name}-dark.png"]
        height, width, _ = imread(io.BytesIO(data), format="png").shape
        assert int(for_light["width"] or 0) == pytest.approx(width / 2, abs=1)
        assert int(for_light["height"] or 0) == pytest.approx(height / 2, abs=1)
        assert for_light["alt"]
    pages = [imread(io.BytesIO(files[f"curves{ending}"]), format="png")[0, 0, :3] for ending in (".png", "-dark.png")]
    assert pages[0].min() > 0.9
    assert pages[1].max() < 0.2


def test_commands_are_ones_that_run(shown: Page, digits: Run) -> None:
    from typer.main import get_command

    from vaekit.cli import app

    lines = next(text for text in shown.all("pre") if text.startswith("vaekit")).splitlines()
    for line in lines:
        program, name, *arguments = shlex.split(line)
        assert program == "vaekit"
        assert str(digits.path) in arguments
        get_command(app).commands[name].make_context(name, list(arguments))  # type: ignore[attr-defined]
    assert any("--out samples.png" in line for line in lines)


def test_the_same_run_gives_the_same_page(digits: Run, scores: Evaluation) -> None:
    pages = [report.write_report(load_run(digits.path), scores).read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]
    assert not list(digits.path.rglob("*.tmp"))


def test_without_an_evaluation_the_report_makes_one(
    digits: Run, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "DRAWS", 900)
    assert any("3 importance samples" in text for text in read(digits).all("td"))


def test_a_split_other_than_test_is_named(digits: Run, undrawn: None) -> None:
    found = read(digits, evaluate(digits.model, digits.data("valid"), 1, split="valid"))
    assert found.table["Monte Carlo error"] == "unknown"  # of one sample there is no spread
    assert any(text.startswith("Averages over 200 data of the valid split") for text in found.all("p"))
    assert any("encode" in line and "--split valid" in line for line in "".join(found.all("pre")).splitlines())


def test_grey_levels_as_probabilities_are_no_likelihood(
    digits: Run, scores: Evaluation, shown: Page, undrawn: None
) -> None:
    found = read(digits, replace(scores, is_likelihood=False))
    assert found.all("strong") == ["These numbers are no likelihood."]
    assert "Score" in found.table
    assert "NLL, −log p(x)" not in found.table
    assert shown.all("strong") == []


def test_what_must_be_known_of_a_run_is_said_over_its_scores(
    digits: Run, scores: Evaluation, tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warned(found: Page) -> list[str]:
        text = " ".join(found.all("p"))
        return [each for each in ("The posterior has collapsed", "This training went wrong") if each in text]

    assert warned(read(digits, replace(scores, kl=5.0, active_units=2))) == []
    found = read(digits, replace(scores, kl=0.01, active_units=0))
    assert warned(found) == ["The posterior has collapsed"]
    assert "--set objective.free_bits=0.1" in " ".join(found.all("p"))
    monkeypatch.setattr(Validation, "__call__", lambda self, epoch=1: {"loss": 10.0**epoch})
    assert "This training went wrong" in warned(read(small_run(tmp_path / "run", "training.epochs=3")))


def test_scores_say_where_codes_say_nothing_or_few_of_them_do(scores: Evaluation) -> None:
    fine = replace(scores, kl=5.0, active_units=1)
    others = notes(fine)
    (said,) = (each for each in notes(replace(scores, kl=0.02, active_units=0)) if each not in others)
    assert said.startswith("the posterior has collapsed (KL 0.02 nats, 0 of 3 units active)")
    assert "beta=Linear()" in said
    assert "collapsed" in repr(replace(scores, kl=0.02, active_units=0))
    uneven = replace(scores, kl_per_dimension={"z": [9.0, 0.4, 0.3]}, active_units=3)
    assert active_units(uneven) == "dimensions of z that follow x; 90% of KL: 1"
    even = replace(scores, kl_per_dimension={"z": [3.0, 3.4, 3.3]}, active_units=3)
    assert active_units(even) == "dimensions of z that follow x"
    few = notes(replace(scores, n=1, kl=0.02, active_units=0))  # of one datum no mean varies
    assert few == ["scores of 1 datum tell next to nothing of others; hold out 5 at least, better hundreds"]


def test_the_final_value_of_a_schedule(tmp_path: Path, undrawn: None) -> None:
    warm_up = "objective={name='elbo', beta={name='linear', start=0.0, end=0.25, until=0.5}}"
    found = read(small_run(tmp_path / "run", warm_up))
    assert found.table["beta at the end"] == "0.25"
    assert "linear (start 0.0; end 0.25; until 0.5)" in found.table["Objective"]


def test_what_is_special_of_a_training(tmp_path: Path, undrawn: None) -> None:
    sets = ("training.skip=1e9", "training.clip=5", "training.aggressive={steps=2, until=0.5}")
    first = small_run(tmp_path / "first", *sets)
    table = read(first).table
    assert table["Steps left out from a norm of"] == "1e+09"
    assert table["Inference ahead"] == "by 2 steps until 50% of the run"
    again = read(
        small_run(tmp_path / "again", f"training.start={first.path}", "training.only=['priors', 'decoder']")
    ).table
    assert again["Weights begin with"] == str(first.path)
    assert again["Trained alone"] == "priors, decoder"
    assert "Gradient clip" not in again


def test_shared_parameters_count_once(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", "model.latents.z.prior={name='vamp', components=4}", "training.epochs=1")
    rows = page._model(run)
    prior = next(row for row in rows if row.name == "Prior of z")
    assert prior.text == f"{4 * 64} parameters"


def test_text_from_outside_is_shown_and_never_run(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    cell = '"' + HOSTILE.replace('"', '""') + '"'
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{cell if i % 2 else 'plain $x'}" for i, (a, b) in enumerate(rng.normal(size=(40, 2)))]
    table.write_text("\n".join([f"{cell},b,kind", *rows]))
    run = quick(table, "data.label=kind", f"title={json.dumps(HOSTILE)}", f"source={json.dumps(HOSTILE)}")
    run = replace(run, path=run.path.rename(tmp_path / "a 'run' <b>"))
    found = read(run)
    assert found.all("title") == found.all("h1") == [HOSTILE]
    assert HOSTILE in found.all("p")
    assert json.loads(next(text for text in found.all("pre") if text.startswith("{")))["spec"]["title"] == HOSTILE
    commands = next(text for text in found.all("pre") if text.startswith("vaekit")).splitlines()
    assert shlex.split(commands[0])[2] == str(run.path)
    assert commands[1].endswith("--out samples.csv")


@pytest.mark.browser
def test_a_phone_never_scrolls_sideways(digits: Run, scores: Evaluation, browser: Any, undrawn: None) -> None:
    shown = browser.new_page(viewport={"width": 360, "height": 740})
    shown.goto(report.write_report(digits, scores).as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") == 360
    shown.close()


def test_conditional_samples_have_a_row_for_each_class(tmp_path: Path, undrawn: None) -> None:
    run = small_run(tmp_path / "run", "model.condition=true", "training.epochs=1")
    picture = ConditionalGrid(n=12)(Subject(run))
    figure = picture.draw(theme=plots.LIGHT)
    assert [text.get_text() for text in figure.texts] == list("0123456789")
    images = picture.draw.args[0]  # type: ignore[attr-defined]
    for k in (0, 7):
        expected = run.model.sample(y=np.full(12, k), draw=False, seed=0).numpy()
        assert close_in_ulps(images[12 * k : 12 * k + 12], expected)
    found = read(run)
    assert "Samples from the prior, by class" in found.all("h2")
    assert "NLL, −log p(x | y)" in found.table
    assert found.table["Labels"] == "10 classes, the model is conditioned on them"


def test_covariates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = arrays(tmp_path, x=rng.integers(0, 2, (60, 3, 5, 4)).astype(np.uint8), y=rng.normal(size=(60, 2)))
    found = read(quick(data, "model.condition=true", "data.domain=binary"))
    assert found.table["Labels"] == "2 covariates, the model is conditioned on them"
    assert not any("Colours are classes" in text for text in found.all("figcaption"))


def test_one_datum_in_one_dimension(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (30, 7, 9)).astype(np.uint8)
    data = arrays(tmp_path, x_train=x, x_test=x[:1])
    found = read(quick(data, "model.latents.z.size=1", "data.validation=0"))
    assert found.table["ELBO"].endswith("nats")
    assert "±" not in found.table["ELBO"]
    captions = found.all("figcaption")
    assert any(text.startswith("Posterior means of 1 test data, latent z: one dimension") for text in captions)
    assert "Labels" not in found.table


def test_data_without_a_test_split(tmp_path: Path, undrawn: None) -> None:
    found = read(quick(arrays(tmp_path, x=np.random.default_rng(0).normal(size=(9, 13))), "training.batch_size=4"))
    assert any(text.startswith("Averages over 9 data of the train split") for text in found.all("p"))
    assert any("The first 12 of 13 columns" in text for text in found.all("figcaption"))


def test_many_classes_and_latents(tmp_path: Path, undrawn: None) -> None:
    rng = np.random.default_rng(0)
    data = arrays(tmp_path, x=rng.normal(size=(320, 3)), y=np.arange(320) % 25)
    flow = "model.latents.$u={size=2, posterior='flow', prior='flow'}"
    sets = ["model.latents.z.size=1", flow] if "flow" in PARTS.posteriors else ["model.latents.z.size=1"]
    run = quick(data, *sets)
    found = read(run, evaluate(run.model, run.data("test"), 2))  # many draws of a flow take long
    assert any("too many to name" in text for text in found.all("figcaption"))
    if len(sets) > 1:
        assert any("Not shown: $u" in text for text in found.all("figcaption"))


def test_a_run_without_metrics_has_no_curves(tmp_path: Path, undrawn: None) -> None:
    run = small_run(tmp_path / "run", "training.epochs=1")
    (run.path / "metrics.jsonl").unlink()
    found = read(run)
    assert "Training" not in found.all("h2")
    assert found.table["Epochs"] == "0 of 1"


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.94, "59.9 s"), (60, "1 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
