"""Cells of new rows that their columns can't have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

MOST = 3
"""Cells, and columns, that are named at most."""


@dataclass(frozen=True)
class Impossible:
    """Cells that their columns can't have: how many, and the first few in words; `unread` are the columns of which no
    cell can be read: how many cells each has, and what it has and can have, in words.

    >>> (Impossible(1, ("'x' at row 3, column 'a'",)) + Impossible()).said("new.csv")[:51]
    'a cell of new.csv is none that its column can have:'
    """

    cells: int = 0
    first: tuple[str, ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Impossible) -> Impossible:
        unread = Counter(self.unread) + Counter(other.unread)
        return Impossible(self.cells + other.cells, (self.first + other.first)[:MOST], unread)

    def said(self, name: str) -> str:
        """What they are, and what that means, in a line; nothing where there are none."""
        said = [f"no cell of {name} in {column} can be read ({cells:,})" for column, cells in self.unread.items()]
        if self.cells:
            many = f"{self.cells:,} cells of {name} are none that their columns can have"
            one = f"a cell of {name} is none that its column can have"
            rest = [f"and {self.cells - MOST:,} more"] if self.cells > MOST else []
            said.append(f"{one if self.cells == 1 else many}: {'; '.join([*self.first, *rest])}")
        if not said:
            return ""
        rows = "its row" if self.cells == 1 and not self.unread else "their rows"
        means = f"log p of {rows} is -inf, and all else that is told of {rows} is by the other cells"
        return f"{'; '.join(said)}; {means}"


NONE = Impossible()
"""No such cells."""
