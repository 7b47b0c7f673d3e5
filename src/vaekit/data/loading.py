"""`load`: a dataset by its name or by the path of the user's own data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LeftOutWarning, unknown
from ..settings import named, setting
from ..system.progress import working
from .annotated import annotated
from .base import Content, Dataset, Split
from .covariates import Covariate, asked_covariates, covariate_numbers
from .documents import content_of
from .domains import Domain
from .exposure import TOTAL, exposed
from .files import read_path
from .frames import as_frame, is_annotated, is_documents
from .headers import AS_IT_IS, Reading
from .image_files import Resize
from .large import typed_large
from .named import DATASETS, read_named
from .remarks import classes_unseen, far_values, few_rows, rows_shared
from .shards import are_shards, plain_name
from .splits import hold_out
from .tabular import typed, with_covariates
from .values import Asked, domain_of


def load(  # noqa: PLR0913 - all that a file may need to be told
    name_or_path: str | Path | Any,
    *,
    label: str | None = None,
    domain: str | None = None,
    levels: int | None = None,
    exposure: str | None = None,
    layer: str | None = None,
    covariates: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    header: bool | int | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    resize: Resize = None,
    train: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
    older: bool = False,
) -> Dataset:
    """A named dataset, or the user's own: `.npy`, `.npz`, a table (`.csv` and the like, `.parquet`, `.xlsx`), a
    data frame, cells (`.h5ad`, an AnnData object), documents (`Documents`, an `.npz` of a sparse matrix), a folder of
    images, or shards of them (`.tar`, `shard-{000..019}.tar`, a folder of such).

    `label` names a table's column of class labels, or the field of shards' `.json` members. Of a table's columns kinds
    are found one by one (see `kinds.infer`), unless `columns` says otherwise, by name: a kind, or "none" to leave one
    out; `header` says whether the first line has their names, or which line has, and `sheet` which one of a workbook is
    read; `encoding` is that of a text which is no UTF-8. Cells that are missing are not observed. Images of a folder
    are brought to one size by `resize`: the side of a square, which is the middle of each once its shorter side is so
    long, or the height and width of all of it. `domain` overrides what is found in all of the data: of arrays, 0 and 1
    alone are binary, in images 0 and 255 too; bytes, and whole pixels up to 255, are grey levels 0..255; pixels between
    0 and 1, or -1 and 1, are numbers of that interval; all else is real, with the mean and standard deviation of the
    training rows as location and scale (per column, one for images; bytes of images that are to be real get a map of
    theirs to -1..1). `levels` is the number of grey levels, else 256, or of categories, else as many as the greatest
    value tells. `exposure` names the column that the means of counts are proportional to, or is "total", each row's
    own. `covariates` are columns that a model is given and does not model, each "categorical" or "real". Of cells, X or
    the `layer` named are counts, and columns beside them those of obs. `validation` and `test` rows are drawn by
    `seed`, by class where there are classes: n rows, 0 for none, of the split that the dataset brings (None for all of
    it), or else held out from its training rows (None for a tenth). `train` is how many of the rest are trained on,
    None for all. What the files were taken for is in the dataset's `notes`. `older` is for what a run was trained on
    before values said what they are: those of images and the columns of tables are numbers alike.

    Warns (`LeftOutWarning`) of what lies with the data and is not used. Raises `ValueError` or `FileNotFoundError`, in
    a line, for what is unknown, missing, damaged or outside its domain.

    >>> digits = load("digits")
    >>> digits.event_shape, str(digits.domain), {name: len(split) for name, split in digits.splits.items()}
    ((1, 8, 8), 'grey levels 0..16', {'train': 1297, 'valid': 200, 'test': 300})
    """
    reading = Reading(
        label,
        header,
        sheet,
        older=older,
        resize=resize,
        lazily=True,
        layer=layer,
        kind=domain,
        covariates=covariates or {},
        exposure=exposure,
        encoding=encoding,
    )
    with working(f"reading {name_or_path if isinstance(name_or_path, (str, Path)) else 'the table'}"):
        content, name, source, licence = read(name_or_path, reading)
        content = _in_numbers(content, name, reading, columns or {})
    _refuse_unused(content, name, source, reading, columns or {})
    if exposure is not None:
        content = exposed(content, exposure)
    if content.left_out:
        warnings.warn(f"{name}: {'; '.join(content.left_out)}", LeftOutWarning, stacklevel=2)
    tabular = bool(content.table) and not older
    looked_at = tabular and content.kind is None  # of genes it is usual
    far = [each for rows in content.splits.values() for each in far_values(content.table, rows)] if looked_at else []
    splits: Mapping[str, Split] = hold_out(content.splits, validation, test, seed, train)
    shared = rows_shared(splits) if looked_at else []
    content = replace(content, splits={}, frame=None)  # they may be most of the memory
    row = DATASETS.get(name_or_path) if isinstance(name_or_path, str) else None
    asked = Asked(domain or content.kind, levels, older, row.domain if row else None)
    splits, values, notes = domain_of(splits, content, name, asked)
    splits, values, missing = _without_holes(splits, values, "missing" if content.table else "NaN")
    for split, rows in splits.items():
        values.check(rows.x, f"{name}, split {split},", partial(rows.place, columns=content.columns))
    if exposure is not None and values.kind != "count":
        counts = setting("data.domain", "count")
        of = f"{setting('data.exposure', exposure)} is for counts; the data are {values}"
        raise ValueError(f"{of}; if they are counts: {counts}")
    few = few_rows(sum(map(len, splits.values()))) if tabular else ""
    unseen = classes_unseen(content.classes, splits["train"])
    said = (*content.notes, *notes, few, *shared, *far, missing, unseen, *content.left_out)
    return Dataset(
        name,
        values,
        splits,
        content.classes,
        content.columns,
        source,
        licence,
        tuple(filter(None, said)),
        table=() if older else content.table,
        covariates=content.covariates,
        exposed=exposure is not None,
        dialect=content.dialect,
    )


def _in_numbers(content: Content, name: str, reading: Reading, columns: Mapping[str, str]) -> Content:
    """What was read, a table's columns by their kinds as numbers, and its covariates apart."""
    y, content = _covariates(content, reading.covariates, name, reading.label)
    plain = "real" if reading.older else reading.kind or ""
    plain = "" if plain == "columns" else plain
    if content.large is None:
        content = typed(content, name, reading.label, columns, plain=plain)
    else:
        exposure = None if reading.exposure == TOTAL else reading.exposure
        content = typed_large(content.large, name, reading.label, columns, plain=plain, exposure=exposure)
    return content if y is None else with_covariates(content, *y)


def _refuse_unused(content: Content, name: str, source: str, reading: Reading, columns: Mapping[str, str]) -> None:
    """`ValueError` for what is said of other data than these."""
    if reading.layer is not None and content.kind is None:
        raise ValueError(f"{named('data.layer', reading.layer)} names a matrix of cells; {name} is none")
    if reading.resize is not None and not (source and (Path(source).is_dir() or are_shards(Path(source)))):
        raise ValueError(f"{named('data.resize', reading.resize)} is for a folder of images; {name} is none")
    if columns and not content.table:
        raise ValueError(f"{named('data.columns', dict(columns))} names kinds of a table's columns; {name} is none")


def _without_holes(splits: Mapping[str, Split], domain: Domain, called: str) -> tuple[Mapping[str, Split], Domain, str]:
    """The rows, a value of their domain in each cell that is not observed, the domain, which says so, and a note of
    them, where there are any.
    """
    gone = sum(int((~split.observed).sum()) for split in splits.values() if split.observed is not None)
    if not gone:
        return splits, domain, ""
    domain, cells = replace(domain, missing=True), sum(split.x.size for split in splits.values())
    note = f"{gone:,} of {cells:,} cells are {called}: taken as not observed"
    return {name: split.filled(domain) for name, split in splits.items()}, domain, note


def _covariates(
    content: Content, asked: Mapping[str, str], name: str, label: str | None
) -> tuple[tuple[np.ndarray, tuple[Covariate, ...]] | None, Content]:
    """The covariates of a table, and its content without their columns; those of cells are there already."""
    if not asked or content.kind is not None:
        return None, content
    given = named("data.covariates", dict(asked))
    if content.frame is None:
        fits = "tables that memory holds" if content.large is not None else "a table, or cells"
        raise ValueError(f"{given} names columns of {fits}; {name} is none")
    if label is not None:
        raise ValueError(f"{given} is given beside {named('data.label', label)}; leave one out, or make it one of them")
    found = asked_covariates(content.frame, asked, name)
    y = covariate_numbers(content.frame, found, name)
    return (y, found), replace(content, frame=content.frame.drop(columns=list(asked)))


def read(name_or_path: str | Path | Any, reading: Reading = AS_IT_IS) -> tuple[Content, str, str, str]:
    """What there is by this name or path, or in a data frame, before rows are held out; its name, source, licence."""
    label = reading.label
    if is_annotated(name_or_path):
        return annotated(name_or_path, "the AnnData object", reading), "cells", "", ""
    if is_documents(name_or_path):
        return content_of(name_or_path, "the documents", reading), "documents", "", ""
    if not isinstance(name_or_path, (str, Path)):
        frame = as_frame(name_or_path)
        if label is not None and label not in frame.table:
            raise ValueError(unknown("column", label, list(frame.table.columns)))
        return Content({}, notes=frame.notes, frame=frame.table), "table", "", ""
    row = DATASETS.get(name_or_path) if isinstance(name_or_path, str) else None
    if row:
        if label is not None:
            raise ValueError(f"{named('data.label', label)} names a column of a table; {name_or_path!r} is none")
        name, source, licence = str(name_or_path), row.source, row.license
    else:
        path = _path(name_or_path)
        name, source, licence = plain_name(path.resolve()), str(path), ""
    try:
        content = read_named(name) if row else read_path(Path(source), reading)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"cannot read {error.filename or name}: {error.strerror or error}") from error
    return content, name, source, licence


def _path(name_or_path: str | Path) -> Path:
    path = Path(name_or_path).expanduser()
    if isinstance(name_or_path, Path) or path.suffix or len(path.parts) > 1 or (name_or_path and path.exists()):
        return path
    raise ValueError(f"{unknown('dataset', name_or_path, DATASETS)}, or the path of your own data")
