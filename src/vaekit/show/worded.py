"""Tables and numbers in words, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table in words: its title, what is said of it, the heads of its columns, its rows, and if they are numbers."""

    title: str
    text: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: bool = False


def number(value: float, digits: int = 2) -> str:
    """A number with its thousands apart and a real minus sign.

    >>> number(-1234.5)
    '−1,234.50'
    """
    return f"{value:,.{digits}f}".replace("-", "−")


def with_error(value: float, error: float) -> str:
    """A number and its standard error, which that of a single datum, NaN, is not shown.

    >>> with_error(-3.14159, 0.271), with_error(1.0, float("nan"))
    ('−3.14 ± 0.27', '1.00')
    """
    return f"{number(value)} ± {number(error)}" if error > 0 else number(value)


def capitalised(text: str) -> str:
    """A text that begins a sentence; names within it stay as they are.

    >>> capitalised("dimensions of z"), capitalised("")
    ('Dimensions of z', '')
    """
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """How long something took.

    >>> duration(7500)
    '2 h 5 min'
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
