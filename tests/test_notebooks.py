"""Notebooks, run in a kernel of Jupyter: the first example as it is there, and how what the package gives is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_examples import shortened

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).parent.parent
SHOWN = {
    "training": 'run = vaekit.train("digits", OUT / "own", epochs=2, overwrite=True)',
    "run": "run",
    "scores": "run.evaluate(samples=2)",
    "figure": 'vaekit.draw(run, "samples")',
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Jupyter's own packages
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_notebook_runs_and_shows_what_it_is_given(tmp_path: Path) -> None:
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

    Client(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [each for cell in notebook.cells[:many] for each in cell.get("outputs", ()) if "image/png" in data(each)]
    assert len(pictures) == 4
    shown = dict(zip(SHOWN, notebook.cells[many:], strict=True))
    assert any("run folder: " in data(each).get("text/plain", "") for each in shown["training"].outputs)
    for name in ("run", "scores", "comparison"):
        html = data(shown[name].outputs[-1])["text/html"]
        assert html.count("<tr>") > 2, name
    assert "NLL, 2 samples" in data(shown["scores"].outputs[-1])["text/html"]
    assert "image/png" in data(shown["figure"].outputs[-1])
    html = [each["text/html"] for each in seen if "text/html" in each]
    bars = [each for each in html if "&lt;work&gt;" in each]
    assert bars[0] == '<progress value="0" max="4"></progress> &lt;work&gt;: 0 s'
    assert '<progress value="1" max="4"></progress> &lt;work&gt;: 1 of 4, ' in bars[1]
    assert html[-1] == "", "it is taken away where work ends by an error, too"


def data(output: Any) -> dict[str, str]:
    return output.get("data", {})
