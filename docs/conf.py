"""How the pages become a site: `make docs`, which calls `sphinx-build -c docs . site`.

The source folder is that of the project, so that a link from page to page, to a benchmark or to an example is the same
on the site, in an editor, and where the code is hosted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

project = "vaekit"
author = "The vaekit developers"
html_title = "vaekit"
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/examples/*.md",
    "docs/python/*.md",
    "benchmarks/*.md",
    "src/vaekit/engine/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
# Folders that are not to be looked through.
exclude_patterns = [".*", "build", "dist", "explorer", "examples", "runs", "site", "tests"]

extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
pygments_style = "friendly"
pygments_dark_style = "github-dark"

html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def _mathml(translator: Any, node: nodes.Element, display: str) -> None:
    """A formula as MathML, which browsers draw by themselves: MathJax would be fetched from the network."""
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def _front(app: Any, exception: Exception | None) -> None:
    """The page that opens when somebody opens the folder."""
    if exception is None and app.builder.format == "html":
        page = '<!doctype html><meta charset="utf-8"><title>vaekit</title>'
        page += '<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">vaekit</a>\n'
        (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register both with Sphinx."""
    inline = (lambda translator, node: _mathml(translator, node, "inline"), None)
    block = (lambda translator, node: _mathml(translator, node, "block"), None)
    app.add_html_math_renderer("mathml", inline, block)
    app.connect("build-finished", _front)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


html_math_renderer = "mathml"
