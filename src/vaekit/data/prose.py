"""Columns of texts, of which no kind of column is made."""

from __future__ import annotations

from collections.abc import Sequence

SEVERAL = 4
"""The words from which on a cell is a text rather than a name."""
LOOKED = 1000
"""Cells that are looked at."""


def of_texts(distinct: Sequence[str]) -> str:
    """Why a column of these cells, none of them twice, is left out where most are texts of several words; else nothing.

    >>> of_texts(["the cat sat on the mat", "a dog and a fox"])
    'free text, 2 distinct values; for topics of texts count their words: vaekit.data.Documents.from_texts'
    >>> of_texts(["Ann", "Bob", "Anna Maria"])
    ''
    """
    looked = list(distinct)[:LOOKED]
    if 2 * sum(len(each.split()) >= SEVERAL for each in looked) <= len(looked):
        return ""
    count = "for topics of texts count their words: vaekit.data.Documents.from_texts"
    return f"free text, {len(distinct):,} distinct values; {count}"
