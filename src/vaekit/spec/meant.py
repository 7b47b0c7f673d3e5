"""What kind of data a spec is for, and what is said of others that it can't take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data import DATASETS
from ..data.annotated import CELLS
from ..data.documents import are_documents
from ..data.frames import ending, is_annotated, is_documents, is_frame
from ..data.shards import are_shards, plain_name
from ..errors import RunError, shown
from ..settings import option
from .keys import Spec
from .recipes import RECIPES

SUCH = {
    "images": "images (a folder of them, an array, or a dataset such as mnist)",
    "tables": "tables (a .csv, .parquet or .xlsx file, or a data frame)",
    "cells": "cells, counts of genes (an .h5ad file, or an AnnData object)",
    "documents": "documents, counts of words (vaekit.data.Documents, or the .npz file that their save writes)",
}
"""The kinds of data, and what is read as such."""


def kind_of(data: object) -> str | None:
    """The kind of data that is in memory, has that name, or lies there, by what it is called; None of arrays, which may
    be any.

    >>> kind_of("digits"), kind_of("adult.csv"), kind_of("rows.npy")
    ('images', None, None)
    """
    if is_annotated(data) or is_documents(data) or is_frame(data):
        return "cells" if is_annotated(data) else "documents" if is_documents(data) else "tables"
    if str(data) in DATASETS:
        return "images"
    path = Path(str(data)).expanduser()
    if path.suffix.lower() == CELLS:
        return "cells"
    if are_documents(path):
        return "documents"
    if ending(path) is not None and path.is_file():
        return "tables"
    return "images" if path.is_dir() or are_shards(path) else None


@contextmanager
def by_its_kind(target: object, spec: Spec, data: object, sets: Iterable[str] = ()) -> Iterator[None]:
    """Inside, a `ValueError` about `data` of another kind than `spec`, of that target, is for says what it is for.

    In place of what failed, unless a user has set something of data or model, who is then to know it: recipes have
    settings that nobody typed, and what fails on data of another kind is mostly one of these.
    """
    try:
        yield
    except RunError:
        raise
    except ValueError as error:
        meant, kind = spec.meant_for, kind_of(data)
        if meant is None or kind == meant:
            raise
        recipe = f"recipe {target!r}" if target in RECIPES else spec.title or "this spec"
        what = f"{recipe} is for {SUCH[meant]}"
        if kind is None or any(each.startswith(("data.", "model.")) for each in sets):
            raise ValueError(f"{error}; {what}") from error
        name = shown(plain_name(Path(data))) if isinstance(data, (str, Path)) else "data in memory"
        do = f"give {meant} by {option('data', 'FILE')}, or leave the recipe out"
        raise ValueError(f"{what}; given: {name}, {kind}; {do}") from error
