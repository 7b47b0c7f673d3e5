"""Notebooks, run in a kernel of Jupyter: the first example as it is there, and how what the package gives is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_examples import shortened

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

OF_JUPYTER = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
OF_ITS_END = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ROOT = Path(__file__).parent.parent
SHOWN = {
    "training": 'run = vaekit.train("digits", OUT / "own", epochs=2, overwrite=True)',
    "run": "run",
    "scores": "run.evaluate(samples=2)",
    "figure": 'vaekit.draw(run, "samples")',
    "frame": "run.explore(points=60)",
    "comparison": "vaekit.compare([relu, sigmoid], samples=2)",
    "progress": "\n".join(
        [
            "import time",
            "from vaekit.system import progress",
            "progress.DELAY = 0.0",
            'with progress.working("<work>", 4) as step:',
            "    time.sleep(0.5)",
            "    progress.EVERY = 0.0",
            "    step(1)",
            "    1 / 0",
        ]
    ),
}


@dataclass(frozen=True)
class Executed:
    """A notebook that was run: its cells, how many are the example's, and all that was displayed on the way."""

    cells: list[Any]
    many: int
    seen: list[dict[str, Any]]

    @property
    def shown(self) -> dict[str, Any]:
        return dict(zip(SHOWN, self.cells[self.many :], strict=True))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    notebook = nbformat.read(ROOT / "examples" / "first_vae.ipynb", as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = shortened(cell.source)
    many = len(notebook.cells)
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in SHOWN.values()]
    notebook.cells[-1].metadata["tags"] = ["raises-exception"]
    # A bar is taken away when work ends: what it was before is seen in what it is updated to.
    seen: list[dict[str, Any]] = []

    class Client(nbclient.NotebookClient):  # type: ignore[name-defined, misc]
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            if msg["msg_type"] in ("display_data", "update_display_data"):
                seen.append(msg["content"]["data"])
            return super().process_message(msg, cell, cell_index)

    folder = str(tmp_path_factory.mktemp("notebook"))
    Client(notebook, timeout=200, resources={"metadata": {"path": folder}}).execute()
    return Executed(notebook.cells, many, seen)


@pytest.mark.slow
@OF_JUPYTER
@OF_ITS_END
def test_a_notebook_runs_and_shows_what_it_is_given(executed: Executed) -> None:
    examples = executed.cells[: executed.many]
    pictures = [each for cell in examples for each in cell.get("outputs", ()) if "image/png" in data(each)]
    assert len(pictures) == 4
    shown = executed.shown
    assert any("run folder: " in data(each).get("text/plain", "") for each in shown["training"].outputs)
    for name in ("run", "scores", "comparison"):
        html = data(shown[name].outputs[-1])["text/html"]
        assert html.count("<tr>") > 2, name
    assert "NLL, 2 samples" in data(shown["scores"].outputs[-1])["text/html"]
    assert "image/png" in data(shown["figure"].outputs[-1])
    html = [each["text/html"] for each in executed.seen if "text/html" in each]
    bars = [each for each in html if "&lt;work&gt;" in each]
    assert bars[0] == '<progress value="0" max="4"></progress> &lt;work&gt;: 0 s'
    assert '<progress value="1" max="4"></progress> &lt;work&gt;: 1 of 4, ' in bars[1]
    assert html[-1] == "", "it is taken away where work ends by an error, too"


@pytest.mark.slow
@pytest.mark.browser
@OF_JUPYTER
@OF_ITS_END
def test_the_explorer_of_a_notebook_decodes_from_its_file_alone(
    executed: Executed, browser: Any, tmp_path: Path
) -> None:
    frames = [
        html
        for cell in executed.cells
        for each in cell.get("outputs", ())
        if "<iframe" in (html := data(each).get("text/html", ""))
    ]
    assert len(frames) == 2, "of the example and of the cell above"
    assert "also in runs/first_vae/explorer.html" in frames[0]
    assert re.search(r"<p>\d\.\d MB of this notebook, which works in its file too; vaekit", frames[1])
    page = browser.new_context(offline=True).new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # As Jupyter shows it, and as its export to HTML does; the page around it can't be reached from within.
    (tmp_path / "notebook.html").write_text(f"<!doctype html><body>{frames[1]}", encoding="utf-8")
    page.goto((tmp_path / "notebook.html").as_uri())
    frame = page.frame_locator("iframe")
    frame.locator(".stage[data-ready]").wait_for()
    read = "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).join()"
    before = frame.locator(".stage canvas").first.evaluate(read)
    frame.locator("#map").focus()
    for key in ("ArrowRight", "Enter", "Shift+ArrowRight", "Shift+ArrowUp"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert frame.locator(".stage canvas").first.evaluate(read) != before
    assert frame.locator("body").evaluate("() => self.origin") == "null"
    assert wrong == []
    page.context.close()


def data(output: Any) -> dict[str, str]:
    return output.get("data", {})
