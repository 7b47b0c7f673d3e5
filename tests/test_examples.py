"""The examples run to their end on the digits, and their pages are those of the scripts as they are."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

from vaekit.spec.recipes import RECIPES

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "examples"
NAMES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
SMALL = {
    "DATA": '"digits"',
    "EPOCHS": "2",
    "SIZE": "4",
    "TRAIN, TEST": "500, 100",
}
"""What a constant at the top of an example is set to, by its name."""
EVERY_EXAMPLE = pytest.mark.parametrize("name", NAMES)
LONG = {"semi_supervised"}
"""Examples that train many models."""

render = runpy.run_path(str(ROOT / "docs" / "render.py"))


def source(name: str) -> str:
    return (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")


def shortened(text: str) -> str:
    """An example with small constants: a number of epochs may be one for each recipe."""
    for constant, value in SMALL.items():
        text = re.sub(rf"^{constant} = (?!\{{)\S.*?(?=  #|$)", f"{constant} = {value}", text, flags=re.MULTILINE)
    return re.sub(r"^EPOCHS = \{.*\}", lambda found: re.sub(r": \d+", ": 1", found[0]), text, flags=re.MULTILINE)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # Image.open
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in NAMES]
)
def test_example_runs_on_the_digits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "import pyro" in source(name):
        pytest.importorskip("pyro")
    monkeypatch.chdir(tmp_path)
    # It takes longer than all the rest, and pages with programs are those of show/test_explorer_file.py.
    monkeypatch.setattr("vaekit.show.explorer.page.programs_of", lambda *given: ({}, "", ()))
    script = tmp_path / f"{name}.py"
    text = shortened(source(name))
    assert '\nDATA = "digits"' in text
    script.write_text(text, encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out
    assert len(re.findall(r"^(plots.save|Image.open)\(", source(name), re.MULTILINE)) > 3
    pictures = set((tmp_path / "runs" / name).rglob("*.png"))
    assert {path.name for path in pictures} >= set(re.findall(r'OUT / "([^"]+\.png)"', source(name)))
    for each in pictures:
        with Image.open(each) as image:
            assert len(set(image.convert("L").resize((50, 50)).tobytes())) > 4, each


@EVERY_EXAMPLE
def test_page_has_the_text_the_code_and_the_pictures_of_its_script(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    last = 0
    for kind, text in render["cells"](source(name)):
        part = render["text_of"](text) if kind == "markdown" else f"```python\n{text}\n```"
        assert part in page[last:], f"run: python docs/render.py {name}"
        last = page.index(part, last) + len(part)
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert link.startswith("https://") or (PAGES / link).exists(), link
    assert {path.name for path in PAGES.glob(f"{name}-*.png")} == set(re.findall(r"\]\(([\w-]+\.png)\)", page))


@EVERY_EXAMPLE
def test_notebook_has_the_cells_of_its_script(name: str) -> None:
    there = (ROOT / "examples" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert there == render["notebook"](name), "run: python docs/render.py --notebooks"


@EVERY_EXAMPLE
def test_names_in_the_text_of_an_example_are_there(name: str) -> None:
    for recipe in re.findall(r"`vaekit (?:train|recipes) ([\w-]+)`", source(name)):
        assert recipe in RECIPES
    for script in re.findall(r"\]\((\w+\.py)\)", source(name)):
        assert (ROOT / "examples" / script).exists()


def test_cells_are_those_of_a_notebook() -> None:
    script = "# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\nx = 1  # %% no cell\nprint(x)\n\n\n# %%\nx + 1\n"
    cells = render["cells"](script)
    assert cells == [("markdown", "# Title\n\nText."), ("code", "x = 1  # %% no cell\nprint(x)"), ("code", "x + 1")]
    names: dict[str, object] = {}
    assert [render["run"](code, names) for kind, code in cells[1:]] == [("1\n", None), ("", 2)]
