"""The names of a table's columns: found, checked, and the column that only numbers the rows left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..errors import nearest, several
from ..settings import named, setting
from .covariates import Covariate
from .domains import Domain
from .image_files import Resize
from .sniffing import has_names

UNNAMED = ("", "Unnamed: 0", "__index_level_0__")
"""What pandas calls the column of its row numbers, in CSV, when it reads that again, and in Parquet."""


@dataclass(frozen=True)
class Reading:
    """How a table's file, or a folder of images, is to be read, where that is not to be found out.

    `label` names the column of classes. `header` says whether the first line has the names of the columns, or which
    line has, from 1, so that those above it are none of the table. `sheet` is that of a workbook, `encoding` that of a
    text which is no UTF-8. `known` are the names of columns that a model has: where a line names one half of them or
    more, that is the line of names. As earlier versions read it, an `older` table has a line of names, and keeps a
    first column that numbers the rows. `resize` is what images are brought to, and grey ones become `coloured` for a
    model of colours. A Parquet file may be read `lazily`, where memory does not hold it. Of cells `layer` is the
    matrix, `kind` that of its values, `covariates` are columns of obs by their kinds and `exposure` is one, `given`
    what a model knows of its covariates, `called` what its columns are, and `domain` what its values are.
    """

    label: str | None = None
    header: bool | int | None = None
    sheet: str | None = None
    known: Sequence[str] = ()
    older: bool = False
    resize: Resize = None
    coloured: bool = False
    lazily: bool = False
    layer: str | None = None
    kind: str | None = None
    covariates: Mapping[str, str] = field(default_factory=dict)
    exposure: str | None = None
    given: Sequence[Covariate] = ()
    called: str = "genes"
    domain: Domain | None = None
    encoding: str | None = None

    def place(self, rows: Sequence[Sequence[str]], lines: Sequence[int], what: str) -> tuple[int, bool | None]:
        """Which of some first rows of text, which stand in `lines`, is the table's first; and whether it has the names
        of the columns, None where that is to be found out.
        """
        for i, row in enumerate(rows):
            if self.known and 2 * len({name_of(cell) for cell in row} & set(map(name_of, self.known))) >= len(
                self.known
            ):
                return i, True
        if self.older:
            return 0, True
        if self.header is None or isinstance(self.header, bool):
            return 0, self.header
        if self.known:  # a file of another form than that of the training rows
            return 0, None
        if self.header not in lines:
            reason = f"but {what} has no such line of cells among its first {lines[-1]}"
            raise ValueError(f"{named('data.header', self.header)} says in which line the names are, {reason}")
        return lines.index(self.header), True

    def unknown(self, names: Sequence[str]) -> set[int]:
        """The places of columns that a model knows nothing of, whose cells are whatever stands there: none where no
        model is asked.
        """
        asked = {*self.known, self.label or "", self.exposure or "", *(each.name for each in self.given)}
        found = set(map(name_of, asked))
        return {i for i, name in enumerate(names) if self.known and name_of(name) not in found}


AS_IT_IS = Reading()
"""Of a file of which all is found out."""


def line_of_names(rows: Sequence[Sequence[str]], lines: Sequence[int]) -> str:
    """What to do where lines above the table's own, such as comments, keep it from being read, or nothing.

    >>> line_of_names([["A title"], ["a", "b"], ["1", "2"]], [1, 3, 4])
    '; if the names of the columns stand in line 3, say header=3'
    """
    widths = [sum(bool(cell.strip()) for cell in row) for row in rows]
    usual = max(set(widths), key=widths.count)
    if widths[0] == usual or usual < 2:
        return ""
    if widths[:2] == [usual - 1, usual] and not has_names(rows[1:]):
        return "; the first line has one name too few: give one to the first column, too"
    plain = [i for i, row in enumerate(rows) if widths[i] == usual and not row[0].lstrip().startswith("#")]
    line = lines[plain[0] if plain else widths.index(usual)]
    return f"; if the names of the columns stand in line {line}, say {setting('data.header', line)}"


def numbered(width: int, hint: str = "") -> tuple[list[str], str]:
    """The names of columns that have none, and the note that says so, with a `hint` of a line that may have them.

    >>> numbered(2)[0]
    ['x1', 'x2']
    """
    names = [f"x{i + 1}" for i in range(width)]
    span = "column is x1" if width == 1 else f"columns are x1..x{width}"
    advice = hint or f"; if the first line is one, say {setting('data.header', True)}"
    return names, f"no line of names was found: {span}{advice}"


def name_of(cell: str) -> str:
    """The name that a cell of the first line gives, on one line.

    >>> name_of(" height\\nin m ")
    'height in m'
    """
    return " ".join(cell.strip().splitlines())


def names_known(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """What a model calls those of the columns' `names` that it has by another: names are one that differ in blanks at
    their ends and in line breaks alone, which a line of names of a text loses and a data frame keeps.

    >>> names_known(["price", "age"], ["price ", "age"])
    {'price': 'price '}
    """
    theirs, lacking = list(names), set(known)
    lacking -= set(theirs)
    plain = {name_of(each): each for each in lacking}
    found = {each: plain[name_of(each)] for each in theirs if name_of(each) in plain}
    return found if len(found) == len(set(found.values())) else {}


def check_names(
    what: str,
    names: Sequence[str],
    label: str | None = None,
    found: bool = True,
    hint: str = "",
    *,
    cells: bool = False,
) -> None:
    """Raise `ValueError` for names that are blank (but for the first) or not unique, and for a label that is none.

    `found` says that the names were read, not made up, `hint` what else to do about blank ones; `cells` that they are
    those of a first line, which may be none.
    """
    blank = [i + 1 for i, name in enumerate(names) if not name and i]
    if blank:
        which = f"columns {several(blank, 4)} have" if len(blank) > 1 else f"column {blank[0]} has"
        raise ValueError(f"{what}: {which} no name in the first line; give every column a name, or take it out{hint}")
    if len(set(names)) < len(names):
        twice = [name for name, times in Counter(names).items() if times > 1]
        no_names = f", or if the first line is no line of names, say {setting('data.header', False)}" if cells else ""
        raise ValueError(f"{what} has more than one column of the name {_quoted(twice)}; rename them{no_names}")
    if label is not None and label not in names:
        near = nearest(label, names)
        hint = f"did you mean {near!r}?" if near else f"columns: {_quoted(names)}"
        unnamed = (
            "" if found else f" (no line of names was found; if the first line is one: {setting('data.header', True)})"
        )
        raise ValueError(f"{what} has no column {label!r}; {hint}{unnamed}")


def without_row_numbers(what: str, table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table without a first column that pandas or R wrote to number the rows, and a note of it; one that names them
    is then its index.

    Raises `ValueError` where a first column has neither a name nor such cells.
    """
    if table.shape[1] < 2 or table.columns[0] not in UNNAMED:
        return table, ()
    name, first = table.columns[0], table.iloc[:, 0]
    if pd.api.types.is_integer_dtype(first.dtype) and not first.isna().any():
        start = np.asarray(first, np.int64) - np.arange(len(first))
        if start[0] in (0, 1) and (start == start[0]).all():
            called = f"called {name!r}" if name else "without a name"
            return table.iloc[:, 1:], (f"the first column, {called}, only numbers the rows: left out",)
    if not name:
        if first.is_unique and not first.isna().any() and first.dtype.kind not in "fb":
            note = "the first column, without a name, has a name of each row: no column of the table"
            return table.iloc[:, 1:].set_axis(pd.Index(first), axis=0), (note,)
        raise ValueError(f"{what}: the first column has no name, and does not number or name the rows; give it a name")
    return table, ()


def _quoted(names: Sequence[str]) -> str:
    return several((repr(name) for name in names), 8)
