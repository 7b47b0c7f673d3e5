"""`load`: a dataset by its name or by the path of the user's own data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import LeftOutWarning, unknown
from ..settings import named, setting
from ..system.progress import working
from .annotated import annotated
from .base import Content, Dataset, Split
from .covariates import Covariate, asked_covariates, covariate_numbers
from .documents import content_of
from .domains import KINDS, Domain, Kind
from .exposure import TOTAL, exposed
from .files import read_path
from .frames import as_frame, is_annotated, is_documents
from .headers import AS_IT_IS, Reading
from .image_files import Resize
from .large import typed_large
from .memmap import Array, blocks
from .named import DATASETS, read_named
from .pixels import understand
from .remarks import classes_unseen, far_values, few_rows
from .shards import are_shards, plain_name
from .splits import hold_out
from .tabular import table_domain, typed, with_covariates

CONSTANT = 1e-6  # a spread below this part of the mean is lost in float32


def load(  # noqa: C901, PLR0913 - all that a file may need to be told
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
    row = DATASETS.get(name_or_path) if isinstance(name_or_path, str) else None
    of_cells = {"layer": layer, "kind": domain, "covariates": covariates or {}, "exposure": exposure}
    with working(f"reading {name_or_path if isinstance(name_or_path, (str, Path)) else 'the table'}"):
        content, name, source, licence = read(
            name_or_path,
            Reading(label, header, sheet, older=older, resize=resize, lazily=True, encoding=encoding, **of_cells),  # type: ignore[arg-type]
        )
        y, content = _covariates(content, covariates or {}, name, label)
        plain, column = "real" if older else domain or "", None if exposure == TOTAL else exposure
        plain = "" if plain == "columns" else plain
        if content.large is None:
            content = typed(content, name, label, columns or {}, plain=plain)
        else:
            content = typed_large(content, name, label, columns or {}, plain=plain, exposure=column)
        content = content if y is None else with_covariates(content, *y)
    if layer is not None and content.kind is None:
        raise ValueError(f"{named('data.layer', layer)} names a matrix of cells; {name} is none")
    domain = domain or content.kind
    if resize is not None and not (source and (Path(source).is_dir() or are_shards(Path(source)))):
        raise ValueError(f"{named('data.resize', resize)} is for a folder of images; {name} is none")
    if columns and not content.table:
        raise ValueError(f"{named('data.columns', dict(columns))} names kinds of a table's columns; {name} is none")
    if exposure is not None and (column is None or content.large is None):
        content = exposed(content, exposure)
    if content.left_out:
        warnings.warn(f"{name}: {'; '.join(content.left_out)}", LeftOutWarning, stacklevel=2)
    tabular = bool(content.table) and not older
    looked_at = content.splits.values() if tabular and content.kind is None else ()  # of genes it is usual
    far = [each for rows in looked_at for each in far_values(content.table, rows)]
    splits: dict[str, Split] = hold_out(content.splits, validation, test, seed, train)
    content = replace(content, splits={}, frame=None)  # they may be most of the memory
    gone = sum(int((~split.observed).sum()) for split in splits.values() if split.observed is not None)
    notes, values = list(content.notes), None
    images = splits["train"].x.ndim > 2 or splits["train"].x.dtype == np.uint8
    if row and levels is None and domain in (None, row.domain.kind):
        values = row.domain
    elif not older and images and domain == "real" and splits["train"].x.dtype == np.uint8 and levels is None:
        greatest = ((row.domain.levels if row else None) or 256) - 1
        values = Domain("real", location=greatest / 2, scale=greatest / 2)
    elif not older and images and not row and domain in (None, "binary"):
        found = understand(splits, levels)
        if domain is None or (found.domain and found.domain.kind == "binary"):
            splits, values = dict(found.splits), found.domain
            notes += [found.note] if found.note else []
    if tabular and domain in (None, "columns"):
        values = table_domain(content.table, splits["train"].x, splits["train"].observed)
    if domain == "columns" and not content.table:
        raise ValueError(f"{named('data.domain', domain)} is of a table whose columns have names; {name} is none")
    values = values or infer_domain(splits, domain, content.columns, levels)
    if values.kind == "real" and domain is None and not content.table and _are_counts(splits):
        notes.append(
            f"values are whole numbers from 0 on: taken as real ones; counts are {setting('data.domain', 'count')}"
        )
    if tabular:
        said = few_rows(sum(map(len, splits.values())))
        notes += [*([said] if said else []), *far]
    if gone:
        values, cells = replace(values, missing=True), sum(split.x.size for split in splits.values())
        for split, rows in splits.items():
            splits[split] = rows.filled(values)
        notes.append(f"{gone:,} of {cells:,} cells are {'missing' if content.table else 'NaN'}: taken as not observed")
    for split, rows in splits.items():
        values.check(rows.x, f"{name}, split {split},", partial(rows.place, columns=content.columns))
    if exposure is not None and values.kind != "count":
        counts = setting("data.domain", "count")
        of = f"{setting('data.exposure', exposure)} is for counts; the data are {values}"
        raise ValueError(f"{of}; if they are counts: {counts}")
    unseen = classes_unseen(content.classes, splits["train"])
    notes += [*([unseen] if unseen else []), *content.left_out]
    own = (name, values, splits, content.classes, content.columns, source, licence, tuple(notes))
    given = {"covariates": content.covariates, "exposed": exposure is not None, "dialect": content.dialect}
    return Dataset(*own, table=() if older else content.table, **given)  # type: ignore[arg-type]


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


def infer_domain(
    splits: Mapping[str, Split], kind: str | None = None, columns: Sequence[str] = (), levels: int | None = None
) -> Domain:
    """The domain of the data, or of the given kind (and levels) with the location and scale of its training rows.

    Raises `ValueError` where the kind is unknown or has no levels, or a column of real numbers is constant.
    """
    x, observed = splits["train"].x, splits["train"].observed
    if kind is None:
        binary = all(((x == 0) | (x == 1)).all() for split in splits.values() for _, x in blocks(split.x))
        kind = "binary" if binary else "grey" if x.dtype == np.uint8 else "real"
    if kind not in KINDS:
        raise ValueError(unknown("domain", kind, KINDS))
    kind = cast(Kind, kind)
    if levels is not None and kind not in ("grey", "categorical"):
        raise ValueError(
            f"{named('data.levels', levels)} was given, but the domain is {kind!r}; accepted: 'grey', 'categorical'"
        )
    if kind in ("binary", "unit"):
        return Domain(kind)
    if kind == "grey":
        return Domain("grey", levels=256 if levels is None else levels)
    if kind == "categorical":
        if levels is None:
            levels = max(2, 1 + max(int(x.max()) for split in splits.values() for _, x in blocks(split.x)))
        return Domain("categorical", levels=levels, scale=levels - 1)
    axis = 0 if x.ndim == 2 else None
    return _counts(x, axis, observed) if kind == "count" else _numbers_of(kind, x, axis, observed, columns)


def _numbers_of(kind: Kind, x: Array, axis: int | None, observed: np.ndarray | None, columns: Sequence[str]) -> Domain:
    """The domain of real numbers, or of others with a scale."""
    if kind == "real":
        location = _mean(x, axis, observed=observed)
        scale = np.sqrt(_mean(x, axis, location, observed))
        constant = np.flatnonzero(scale <= (CONSTANT if x.dtype.itemsize <= 4 else CONSTANT**2) * np.abs(location))
        if constant.size:
            which = ", ".join(columns[i] if columns else str(i) for i in constant[:8]) if axis == 0 else "all values"
            other = f"drop it, or give another domain: {setting('data.domain', '…')}"
            raise ValueError(f"constant to six digits in the training rows: {which}; {other}")
        return Domain("real", location=_numbers(location), scale=_numbers(scale))
    # Location 0 keeps positive numbers positive; a column of zeros alone has no scale of its own.
    scale = np.sqrt(_mean(x, axis, 0.0, observed))
    return Domain(kind, scale=_numbers(np.where(scale > 0, scale, 1.0)))


def _counts(x: Array, axis: int | None, observed: np.ndarray | None) -> Domain:
    """The domain of counts x, seen as log(x + 1), whose mean and standard deviation are of its training rows; where
    there are zeros alone, as if one were 1/2.
    """
    location = _mean(x, axis, None, observed, np.log1p)
    scale = np.sqrt(_mean(x, axis, location, observed, np.log1p))
    least = np.log1p(0.5 / len(x))
    numbers = _numbers(np.where(location > 0, location, least)), _numbers(np.where(scale > 0, scale, 1.0))
    return Domain("count", location=numbers[0], scale=numbers[1], warp="log")


def _are_counts(splits: Mapping[str, Split]) -> bool:
    """Whether all values might be counts."""
    return all(((x >= 0) & (x == np.floor(x))).all() for split in splits.values() for _, x in blocks(split.x))


def covariate_units(y: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Location and scale of each column of covariates (N, C): mean and standard deviation, so that networks get numbers
    of order one; 0 and 1 of a column of zeros and ones, which stays as it is.

    >>> covariate_units(np.array([[1990.0, 1.0], [2010.0, 0.0]]))
    ((2000.0, 0.0), (10.0, 1.0))
    """
    y = y.astype(np.float64)
    location, scale = y.mean(0), y.std(0)
    as_it_is = ((y == 0) | (y == 1)).all(0)
    # A constant one tells nothing: all that is to be seen of it is a zero.
    scale = np.where(as_it_is | (scale <= CONSTANT * np.abs(location)), 1.0, scale)
    return tuple(np.where(as_it_is, 0.0, location).tolist()), tuple(scale.tolist())


def _mean(
    x: Array,
    axis: int | None,
    center: np.ndarray | float | None = None,
    observed: np.ndarray | None = None,
    of: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """The mean of x over its rows, or over all of it for None; with a `center`, that of its squared distances to it; or
    all that `of` a function of x.

    Of the cells that are `observed`; `ValueError` for a column without any.
    """
    total: np.ndarray | float = 0.0
    for start, block in blocks(x):
        values = of(block.astype(np.float64))
        terms = values if center is None else np.square(values - center)
        total = total + (terms if observed is None else terms * observed[start : start + len(block)]).sum(axis)
    count = (len(x) if axis == 0 else x.size) if observed is None else observed.sum(axis)
    if np.any(count == 0):
        raise ValueError(f"nothing is observed in the training rows of column {int(np.argmin(count))}; leave it out")
    return np.asarray(total / count)


def _numbers(values: np.ndarray) -> float | tuple[float, ...]:
    return tuple(values.tolist()) if np.ndim(values) else float(values)


def _path(name_or_path: str | Path) -> Path:
    path = Path(name_or_path).expanduser()
    if isinstance(name_or_path, Path) or path.suffix or len(path.parts) > 1 or (name_or_path and path.exists()):
        return path
    raise ValueError(f"{unknown('dataset', name_or_path, DATASETS)}, or the path of your own data")
