"""Cells of new rows that their columns can't have."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 3
"""Cells that are named at most."""


@dataclass(frozen=True)
class Impossible:
    """Cells that their columns can't have: how many, and the first few in words.

    >>> (Impossible(1, ("'x' at row 3, column 'a'",)) + Impossible()).said("new.csv")[:51]
    "a cell of new.csv is none that its column can have:"
    """

    cells: int = 0
    first: tuple[str, ...] = ()

    def __add__(self, other: Impossible) -> Impossible:
        return Impossible(self.cells + other.cells, (self.first + other.first)[:MOST])

    def said(self, name: str) -> str:
        """What they are, and what that means, in a line; nothing where there are none."""
        if not self.cells:
            return ""
        rows = "its row" if self.cells == 1 else "their rows"
        many = f"{self.cells:,} cells of {name} are none that their columns can have"
        one = f"a cell of {name} is none that its column can have"
        rest = [f"and {self.cells - MOST:,} more"] if self.cells > MOST else []
        means = f"log p of {rows} is -inf, and all else that is told of {rows} is by the other cells"
        return f"{one if self.cells == 1 else many}: {'; '.join([*self.first, *rest])}; {means}"


NONE = Impossible()
"""No such cells."""
