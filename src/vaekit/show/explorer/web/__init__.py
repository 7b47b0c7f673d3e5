"""The page as it is built from its sources in `explorer/`: what is served, and what is inlined in a file."""

from __future__ import annotations

import json
from importlib.resources import files

PAGE, SCRIPT, STYLE, OPERATORS = "page.html", "explorer.js", "explorer.css", "operators.json"


def asset(name: str) -> str:
    """The text of one of these."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def operators() -> frozenset[str]:
    """The operators of core ATen that the page's script computes, by their names without overload."""
    return frozenset(json.loads(asset(OPERATORS)))
