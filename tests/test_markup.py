"""What a notebook shows of runs, scores, comparisons and sweeps: tables of what their words say, all text escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from runs_for_tests import small_run

import vaekit
from vaekit.evaluation.scores import score_rows
from vaekit.runs.run import Run


class Cells(HTMLParser):
    """The texts of the cells of a page, and its tags; an error for a tag that is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("markup")
    title = "title=\"<script>alert('1')</script> & more\""
    return [small_run(folder / "<b>&", title, "training.epochs=1"), small_run(folder / "two", "training.epochs=1")]


def test_what_is_shown_is_what_is_said_and_escaped(runs: list[Run], tmp_path: Path) -> None:
    scores = runs[0].evaluate(samples=2)
    found = vaekit.compare(runs, samples=2)
    sets = ["model.encoder.hidden=[4]", "model.decoder.hidden=[4]"]
    sweep = vaekit.sweep(
        "digits", {"objective.beta": [1, 2]}, seeds=1, jobs=1, out=tmp_path / "<i>", epochs=1, sets=sets
    )
    for each in (runs[0], scores, found, sweep):
        page = each._repr_html_()
        assert "<script" not in page
        cells = Cells(page)
        assert cells.tags <= {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "p"}
        assert "color" not in page, "the page's own colours serve, light or dark"
    run = Cells(runs[0]._repr_html_()).texts
    assert run[0] == f"Run {str(runs[0].path)!r}: <script>alert('1')</script> & more"
    assert run[run.index("epochs") :][:2] == ["epochs", "1 of 1"]
    assert [Cells(scores._repr_html_()).texts[1 + i] for i in range(3)] == list(score_rows(scores)[0])
    compared = Cells(found._repr_html_()).texts
    assert {"<b>&", "two"} <= set(compared)
    assert f"{found.rows[1].evaluation.kl:.2f}" in compared
    swept = Cells(sweep._repr_html_()).texts
    assert swept[1] == "objective.beta"
    assert len(re.findall("<tr>", sweep._repr_html_())) == 3
