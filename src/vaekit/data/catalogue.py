"""The named datasets as a table to read."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import unknown
from .download import find
from .named import DATASETS


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue; `here` tells whether the files are on this machine."""

    name: str
    title: str
    shape: tuple[int, ...]
    sizes: dict[str, int]
    values: str
    here: bool
    source: str
    license: str


def catalogue(name: str | None = None) -> list[Entry]:
    """All named datasets, or the one called `name`; `ValueError` for an unknown name.

    >>> catalogue("digits")[0].sizes
    {'train': 1297, 'valid': 200, 'test': 300}
    """
    if name is not None and name not in DATASETS:
        raise ValueError(unknown("dataset", name, DATASETS))
    return [_entry(each) for each in ([name] if name else DATASETS)]


def _entry(name: str) -> Entry:
    row = DATASETS[name]
    whole = row.archive is not None and find(name, row.archive) is not None
    here = whole or ((bool(row.files) or not row.archive) and all(find(name, file.name) for file in row.files))
    return Entry(name, row.title, row.shape, dict(row.sizes), str(row.domain), here, row.source, row.license)
