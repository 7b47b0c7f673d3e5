"""Writes docs/examples/NAME.md from examples/NAME.py: its text, its code, and what the code printed and drew; and
examples/NAME.ipynb, the same as a notebook that has not been run.

python docs/render.py NAME... (in a folder of your own, where the scripts leave their runs)
python docs/render.py --notebooks (those of all examples; nothing is run)
"""

from __future__ import annotations

import ast
import io
import json
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from vaekit.show import plots

ROOT = Path(__file__).parent.parent
PAGES, EXAMPLES = ROOT / "docs" / "examples", ROOT / "examples"
SHRINK = 2
"""Pictures have twice the pixels that a page shows."""


def cells(source: str) -> list[tuple[str, str]]:
    """The cells of a script in the percent format, each ("markdown" or "code", its text)."""
    found = []
    for head, body in re.findall(r"^# %%(.*)\n((?:(?!# %%).*\n?)*)", source, re.MULTILINE):
        markdown = "[markdown]" in head
        text = re.sub(r"^# ?", "", body, flags=re.MULTILINE) if markdown else body
        found.append(("markdown" if markdown else "code", text.strip()))
    return found


def notebook(name: str) -> str:
    """examples/NAME.ipynb: the cells of the script, in the format of Jupyter."""
    found = []
    for i, (kind, text) in enumerate(cells((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))):
        text = text.replace(".py)", ".ipynb)") if kind == "markdown" else text
        code = {"execution_count": None, "outputs": []} if kind == "code" else {}
        own = {"cell_type": kind, "id": f"cell-{i}", "metadata": {}, "source": text.splitlines(keepends=True)}
        found.append(own | code)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": found, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def text_of(markdown: str) -> str:
    """The text of a markdown cell, links to other examples leading to their pages."""
    return markdown.replace(".py)", ".md)")


def run(code: str, names: dict[str, Any]) -> tuple[str, Any]:
    """What a cell prints, and the value of its last line if that is an expression, as in a notebook."""
    tree = ast.parse(code)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(io.StringIO()) as out:
        exec(compile(tree, "cell", "exec"), names)
        value = eval(compile(last, "cell", "eval"), names) if last else None
    return out.getvalue(), value


def picture(value: Any) -> tuple[str, Image.Image] | None:
    """A figure that was saved, or an image from a file, as the file's name without its ending, and the image."""
    if isinstance(value, Image.Image):
        return Path(value.filename).stem, value  # type: ignore[attr-defined]
    if isinstance(value, Figure):
        file = io.BytesIO()
        plots.save(value, file)
        return value.get_label(), Image.open(file)
    return None


def page(name: str) -> str:
    """The page of examples/NAME.py, its pictures written beside it."""
    for old in PAGES.glob(f"{name}-*.png"):
        old.unlink()
    names: dict[str, Any] = {"__name__": "__main__"}
    parts = []
    for kind, text in cells((EXAMPLES / f"{name}.py").read_text(encoding="utf-8")):
        if kind == "markdown":
            parts.append(text_of(text))
            continue
        parts.append(f"```python\n{text}\n```")
        printed, value = run(text, names)
        if printed:
            parts.append(f"```text\n{printed.rstrip()}\n```")
        if (drawn := picture(value)) is not None:
            stem, image = drawn
            size = image.width // SHRINK, image.height // SHRINK
            image.convert("RGB").resize(size).save(PAGES / f"{name}-{stem}.png", optimize=True)
            parts.append(f"![{stem}]({name}-{stem}.png)")
    parts.append(f"---\n\nWritten by `python docs/render.py {name}` from [its script](../../examples/{name}.py).")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    every = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    if sys.argv[1:] == ["--notebooks"]:
        for each in every:
            (EXAMPLES / f"{each}.ipynb").write_text(notebook(each), encoding="utf-8")
        sys.exit()
    for each in sys.argv[1:]:
        (PAGES / f"{each}.md").write_text(page(each), encoding="utf-8")
