"""What separates the cells of a text table, which mark its decimals have, and whether its first line names columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MISSING = frozenset({"", "?", "na", "n/a", "n.a.", "nan", "-nan", "null", "none", "<na>", "#n/a", "#na"})
"""Cells that are missing, in lower case."""
_WORDS = """unknown, unk, missing, not available, not applicable, not known, not reported, no data, no value, no answer,
nd, n.d., tbd, nat, blank, empty, undefined, unspecified, (blank), (null), (none), (missing), (unknown), \\n,
#value!, #div/0!, #ref!, #name?, #num!, #null!"""
MARKS = frozenset(word.strip() for word in _WORDS.split(","))
"""Cells that are missing where all others are numbers or dates, in lower case: elsewhere they may be categories."""
STROKES = re.compile(r"[-–—.…·*:/_?]+")
"""Likewise."""
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.I)
WITH_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+([eE][+-]?\d+)?")
WITH_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}([ T].*)?")
MONEY = "€$£¥₹₽₩₪₺₫฿₴₦₱₡₲¢"
CODES = "USD EUR GBP CHF JPY CNY INR AUD CAD NZD SEK NOK DKK PLN CZK HUF BRL MXN ZAR KRW TRY HKD SGD THB ILS RUB RMB"
BLANKS = " \u00a0\u2009\u202f"
NUMERAL = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+−–])?[{BLANKS}]?(?P<before>[A-Z]{{0,2}}[{MONEY}]|{CODES.replace(' ', '|')}|Rs\.?|[~≈])?"
    rf"(?P<gap>[{BLANKS}])?(?P<inner>[-+−–])?(?P<digits>\d{{1,3}}(?P<group>[,.'’{BLANKS}])\d{{3}}(?:(?P=group)\d{{3}})*|\d+)?"
    rf"(?:(?P<decimal>[.,])(?P<places>\d+))?(?P<space>[{BLANKS}])?"
    rf"(?P<after>[^\W\d_][^\s,:;()\"'|]{{0,15}}(?: [^\W\d_]{{2,}})?|[%‰°′″{MONEY}+][^\s()]{{0,6}})?(?P<close>\))?"
)
"""A number as people write it: $1,234.50, € 12, 1 234,5, 12 kg, 57.0%, (3.50)."""
LEADING_ZERO = re.compile(r"[+-]?0\d+")
"""A code, such as a postal one, and no number."""
WHITESPACE = " "
DELIMITERS = ("\t", ";", "|", ",", WHITESPACE)
LINES, BYTES = 100, 2**18
"""How much of a file is looked at: so many lines, or so many bytes of them, but three lines anyway."""


@dataclass(frozen=True)
class Dialect:
    """How a text table is written; the delimiter " " stands for any run of blanks and tabs."""

    delimiter: str
    decimal: str = "."

    @property
    def of_csv(self) -> Dialect:
        """How a .csv is written that is to be opened as easily as what is written so: commas, semicolons and bars stay.

        >>> Dialect("\t", ",").of_csv, Dialect(" ").of_csv
        (Dialect(delimiter=';', decimal=','), Dialect(delimiter=',', decimal='.'))
        """
        if self.delimiter in ",;|":
            return self
        return Dialect(";" if self.decimal == "," else ",", self.decimal)


PLAIN = Dialect(",")
"""How what is no text is written as one."""


def sample(data: bytes) -> str:
    """The first lines of a text."""
    end = 0
    for line in range(LINES):
        if line >= 3 and end > BYTES:
            break
        end = data.find(b"\n", end) + 1
        if not end:
            return data.decode()
    return data[:end].decode()


def records(text: str, delimiter: str) -> Iterator[tuple[int, int, list[str]]]:
    """The rows of a text that are not blank: the first and the last line of each, from 1, and its cells."""
    before = 0
    lines = io.StringIO(_squeezed(text) if delimiter == WHITESPACE else text, newline="\n")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            yield before + 1, reader.line_num, row
        before = reader.line_num


def sniff(text: str) -> Dialect:
    """The dialect in which the rows of a sample have the same number of cells, or most of them.

    A decimal comma makes commas even as well, so that they come late; blanks are only taken between numbers.

    >>> sniff("a;b;c\\n0,5;1,5;2\\n1,5;2,5;3\\n")
    Dialect(delimiter=';', decimal=',')
    >>> sniff("a  b\\n1.5   2\\n"), sniff("one\\ntwo words\\n")
    (Dialect(delimiter=' ', decimal='.'), Dialect(delimiter=',', decimal='.'))
    """
    tables = {delimiter: _rows(text, delimiter) for delimiter in DELIMITERS}
    even: dict[str, float] = {}
    for delimiter, rows in tables.items():
        width, times = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        if width > 1 and (delimiter != WHITESPACE or _are_numbers(rows[1:] or rows)):
            even[delimiter] = times / len(rows)
    if not even:
        return Dialect(",")
    delimiter = max(even, key=lambda each: even[each])  # the first of equals
    if even.get(WHITESPACE) == 1 and delimiter == "\t" and re.search(r"\S  +\S.*\n.*\S  +\S", text):
        delimiter = WHITESPACE  # columns set with blanks, a tab or two among them
    return Dialect(delimiter, "." if delimiter == "," else _decimal(tables[delimiter]))


def has_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of some rows of text holds the names of the columns.

    It does where there is a word above numbers; it does not where there are only numbers above numbers, a date, or
    words that their own columns repeat.

    >>> has_names([["id", "2019"], ["7", "0.5"]]), has_names([["3", "red"], ["7", "blue"]])
    (True, False)
    """
    first, *body = rows
    columns = list(zip(*(row for row in body if len(row) == len(first)), strict=True))
    if not columns:
        return not any(map(is_number, first))
    numbers = [any(map(_is_written, cells)) and all(_is_written(c) or is_mark(c) for c in cells) for cells in columns]
    above = [cell for cell, number in zip(first, numbers, strict=True) if number and not is_missing(cell)]
    if above:
        return not all(map(_is_written, above))
    again = sum(cell in cells for cell, cells in zip(first, columns, strict=True))
    return not any(DATE.fullmatch(cell.strip()) for cell in first) and 2 * again < len(first)


def is_number(cell: str) -> bool:
    """Whether a cell is written as a number, with a decimal point or comma."""
    return NUMBER.fullmatch(cell.strip()) is not None


def is_missing(cell: str) -> bool:
    """Whether a cell says that it has no value."""
    return cell.strip().lower() in MISSING


def is_unknown(cell: object, among_numbers: bool = False) -> bool:
    """Whether a cell is ?, which says in a column of words too, wherever it is from, that there is no value; a data
    frame has its own missing cells, so that its NA may be a category. `among_numbers` whether it is any mark of that.

    >>> is_unknown(" ? "), is_unknown("NA"), is_unknown("NA", among_numbers=True)
    (True, False, True)
    """
    return isinstance(cell, str) and (is_mark(cell) if among_numbers else cell.strip() == "?")


def is_mark(cell: str) -> bool:
    """Whether a cell among numbers or dates says that it has no value, as others may that are missing anywhere.

    >>> [is_mark(cell) for cell in ("-", "Unknown", "...", "-1", "high")]
    [True, True, True, False, False]
    """
    text = cell.strip().lower()
    return text in MARKS or text in MISSING or STROKES.fullmatch(text) is not None


def _is_written(cell: str) -> bool:
    """Whether a cell is a number as people write it."""
    found = NUMERAL.fullmatch(cell.strip())
    return is_number(cell) or (found is not None and bool(found["digits"] or found["places"]))


def _rows(text: str, delimiter: str) -> list[list[str]]:
    try:
        return [row for _, _, row in records(text, delimiter)]
    except csv.Error:  # one long cell: not the delimiter
        return []


def _squeezed(text: str) -> str:
    return re.sub(r"(?m)^ | $", "", re.sub(r"[ \t]+", " ", text))


def _are_numbers(rows: Sequence[Sequence[str]]) -> bool:
    cells = [cell for row in rows for cell in row]
    return 2 * sum(is_number(cell) or is_missing(cell) for cell in cells) >= len(cells)


def _decimal(rows: Sequence[Sequence[str]]) -> str:
    cells = [cell.strip() for row in rows for cell in row]
    commas = sum(WITH_COMMA.fullmatch(cell) is not None for cell in cells)
    return "," if commas > sum(WITH_POINT.fullmatch(cell) is not None for cell in cells) else "."
