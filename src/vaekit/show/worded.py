"""Tables in words, for a terminal or a page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table in words: its title, what is said of it, the heads of its columns, its rows, and if they are numbers."""

    title: str
    text: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numbers: bool = False
