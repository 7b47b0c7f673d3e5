"""Data that a run is given: whether they are its own, by their values, or new ones of the same kind."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from ..data import Dataset, Split
from ..data.annotated import are_genes
from ..data.base import SPLITS, Content, no_split, with_holes
from ..data.cells import numbers_in
from ..data.columns import frame_of
from ..data.covariates import covariate_numbers
from ..data.decoding import ImageRows
from ..data.domains import Domain
from ..data.exposure import TOTAL, beside, empty_rows, exposed_rows
from ..data.frames import TEXTS, as_frame, ending, is_annotated, is_documents, is_frame
from ..data.headers import Reading, names_known
from ..data.loading import read
from ..data.memmap import Array, blocks
from ..data.tabular import labels_of, new_rows_of_frame
from ..errors import MOST, LeftOutWarning, UnequalImagesError, several, shown
from ..settings import named, option, setting
from ..spec.keys import Spec
from ..spec.parts import PARTS, Parts
from ..system.progress import working
from .codes import fingerprint_of_codes

if TYPE_CHECKING:
    from ..data.tensors import TensorSplit
    from .run import Run

NEW = "new data"
"""What data are called that a run was not trained on, where a split would be named."""
FRAME, ANNDATA, DOCUMENTS = "(data frame)", "(AnnData)", "(documents)"
"""What the data of a run are called that were given as a data frame, an AnnData object, or documents."""
NOWHERE = "(none)"
"""What the data of a run are called that was trained elsewhere."""
FILES = "files:"
"""What the fingerprint of files begins with, which is not of the values in them."""
ALL = "all"
"""Every split there is, in place of the name of one."""


def name_in_memory(data: object) -> str:
    """What data in memory are called in the spec of a run."""
    return ANNDATA if is_annotated(data) else DOCUMENTS if is_documents(data) else FRAME


def rows_of(
    run: Run, given: str | Path | Dataset | pd.DataFrame | np.ndarray | Tensor, split: str | None = None
) -> Dataset:
    """New data of the kind of `run`, whose own are no codes: as `runs.run.new_data` says."""
    schema = run.schema
    try:
        name, content = _content(given, _reading(run))
    except UnequalImagesError as error:
        if len(schema.event_shape) != 3:
            kind = f"data of shape {schema.event_shape}, not of images"
            raise ValueError(f"{given} is a folder of images, but {run.path} is of {kind}") from None
        raise ValueError(f"{error.odd}{_to_size(schema.event_shape, of_files=True)}") from None
    _check_said(run, given, name, content)
    content = _of_frame(run, name, content)
    if "label" in run.anew and run.spec.data.label is not None and not content.classes:
        raise ValueError(f"{named('data.label', run.spec.data.label)} names labels; {name} has no column of that name")
    rows, notes = _one_split(name, content, split), list(content.notes + content.left_out)
    x, left = _columns(name, rows.x, content.columns, schema.columns)
    observed = (
        rows.observed if rows.observed is None else _columns(name, rows.observed, content.columns, schema.columns)[0]
    )
    notes += [f"columns of {name} that are not used: {several(left, MOST)}"] if left else []
    if run.spec.data.preprocessing.event_shape(x.shape[1:]) != schema.event_shape:
        own = f"{run.path} is of data of shape {schema.event_shape}"
        raise ValueError(f"a datum of {name} has shape {x.shape[1:]}, but {own}{_remedy(rows, schema.event_shape)}")
    domain = _stored_domain(run, x)
    if domain.kind == "binary" and not domain.relaxed and all(((b == 0) | (b == 255)).all() for _, b in blocks(x)):
        x = (np.asarray(x) > 0).view(np.uint8)  # masks
    known = _with_total(run, name, replace(rows, x=x, observed=observed))  # type: ignore[arg-type]
    y, said = _y(run, name, known, content.classes)
    if run.schema.exposed and y is not None and (said_of := empty_rows(int((y[:, -1] == 0).sum()), len(y))):
        notes.append(said_of)
    origin = np.arange(len(x)) if rows.origin is None else rows.origin
    made = Split(x, y, origin=origin, observed=observed, refused=rows.refused)  # type: ignore[arg-type]
    made = replace(made, impossible=rows.impossible).filled(domain)
    domain.check(made.x, name, partial(made.place, columns=schema.columns))
    if domain.kind == "grey" and x.ndim > 2 and all((block <= 1).all() for _, block in blocks(x)):
        notes.append(f"pixels of {name} are 0 and 1 alone, of {domain}: next to black")
    told = (*notes, *said)
    found = Dataset(name, domain, {"train": made}, schema.classes, schema.columns, notes=told, table=schema.table)
    return replace(found, dialect=content.dialect)


def _with_total(run: Run, name: str, rows: Split) -> np.ndarray | None:
    """What is known of rows beside their data, with their total where that is their exposure."""
    y = rows.y
    if not run.schema.exposed or run.spec.data.exposure != TOTAL:
        return y
    if y is not None and (y.ndim == 1 or y.shape[1] != run.model.condition - 1):
        return y
    return exposed_rows(rows, None, name, empty=True).y


def _remedy(rows: Split, wanted: tuple[int, ...]) -> str:
    """What can be done with images that are not of the size, or not of the colours, of those of a run."""
    shape, of_files = rows.x.shape[1:], rows.origin is not None and rows.origin.dtype == object
    if not len(shape) == len(wanted) == 3:
        return ""
    if shape[0] != wanted[0]:
        kinds = {1: "grey", 3: "RGB"}
        return f"; convert its images to {kinds[wanted[0]]}" if {shape[0], wanted[0]} <= kinds.keys() else ""
    return _to_size(wanted, of_files)


def _to_size(wanted: tuple[int, ...], of_files: bool) -> str:
    height, width = wanted[-2:]
    size = setting("data.resize", height if height == width else [height, width])
    does = f"; a run that was trained with {size} does so with whatever it is asked about" if of_files else ""
    return f"; bring all to {width} pixels wide and {height} high first{does}"


def classes_of(run: Run, y: Tensor | np.ndarray | None, label: str = "label") -> dict[str, np.ndarray]:
    """The names of the classes of labels y (N,), as column `label`, or covariates (N, C) under their own names, of
    arrays as y0, y1, …; nothing for None.
    """
    if y is None:
        return {}
    y = y.cpu().numpy() if isinstance(y, Tensor) else y
    if y.ndim == 1:
        return {label: np.array(run.schema.classes)[y]}
    return _covariates(run, y) or {f"y{i}": column for i, column in enumerate(y.T)}


def _covariates(run: Run, y: np.ndarray) -> dict[str, np.ndarray]:
    """The covariates y (N, C) as the user has them, a column each, and the exposure; nothing if they have no name."""
    found: dict[str, np.ndarray] = {}
    start = 0
    for each in run.schema.covariates:
        own = y[:, start : (start := start + each.width)]
        found[each.name] = np.array(each.categories, object)[own.argmax(1)] if each.categories else own[:, 0]
    if run.schema.exposed and y.shape[1] == start + 1:
        found[run.spec.data.exposure or TOTAL] = y[:, start]
    return found if y.shape[1] == start + run.schema.exposed else {}


def label_column(run: Run) -> str:
    """What the column of classes is called in the user's table, or "label"."""
    name = run.spec.data.label
    return name if name and name not in run.schema.columns else "label"


def source_frame(run: Run, given: object, data: TensorSplit) -> pd.DataFrame:
    """The table that `data` of `run`, of what is `given`, are the rows of: all that the user has, where that is at
    hand, else the columns that the model knows.
    """
    if isinstance(given, (str, Path)) and (isinstance(given, Path) or given not in SPLITS):
        frame = read(given, replace(_reading(run), label=None))[0].frame
        if frame is not None:
            return frame
    elif is_frame(given):
        return as_frame(given).table
    table = frame_of(run.schema.typed_columns, data.cells())
    return table if data.origin is None else table.set_axis(pd.Index(data.origin), axis=0)


def fingerprint_of(spec: Spec, dataset: Dataset, parts: Parts = PARTS, like: str = FILES) -> str:
    """What tells whether the data of a run of `spec` have changed; as in the fingerprint `like`, by files or values."""
    if spec.data.codes is not None:
        return fingerprint_of_codes(spec.data.codes, parts)
    return fingerprint(dataset, files=like.startswith(FILES))


def fingerprint(dataset: Dataset, *, files: bool = True) -> str:
    """A SHA-256 of all the stored values of all splits, to tell whether data have changed.

    Of images that are decoded as they are asked for, it is of the bytes of their `files`, which it then says.
    """
    digest, of_files = hashlib.sha256(), False
    for name, split in dataset.splits.items():
        for array in (split.x, split.y, split.observed):
            if array is not None:
                digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
                with working(f"checking {name} data", len(array)) as step:
                    if files and isinstance(array, ImageRows):
                        digest.update(array.digest().encode())
                        of_files = True
                        continue
                    for start, block in blocks(array):
                        digest.update(np.ascontiguousarray(block).data.cast("B"))
                        step(start + len(block))
    return (FILES if of_files else "") + digest.hexdigest()


def _reading(run: Run) -> Reading:
    """How a file of new rows is read, whose line of names has those of the run's columns."""
    data, schema = run.spec.data, run.schema
    own = Reading(data.label, data.header, data.sheet, schema.columns, schema.is_older_table, data.resize)
    kind = None if schema.stored is None else schema.stored.kind
    called = "genes" if are_genes(schema.table) else "columns"
    coloured = len(schema.event_shape) == 3 and schema.event_shape[0] == 3
    own = replace(own, domain=schema.of_files, encoding=data.encoding, coloured=coloured)
    return replace(own, layer=data.layer, kind=kind, exposure=data.exposure, given=schema.covariates, called=called)


def _of_frame(run: Run, name: str, content: Content) -> Content:
    """A table read as numbers by what `run` knows of its own columns."""
    frame, schema = content.frame, run.schema
    if frame is None:
        return content
    if not schema.columns:
        raise ValueError(f"{name} is a table, but {run.path} is of data of shape {schema.event_shape} without columns")
    label = run.spec.data.label
    asked = (
        *schema.columns,
        *(each.name for each in schema.covariates),
        *filter(None, (label, run.spec.data.exposure)),
    )
    frame = frame.rename(columns=names_known(frame.columns, asked))
    y, classes = (None, ()) if label is None or label not in frame else labels_of(frame[label], name, label)
    exposure = run.spec.data.exposure
    if schema.covariates:
        y = covariate_numbers(frame, schema.covariates, name)
    if schema.exposed and exposure in frame:
        where = f"{name}, exposure {exposure!r},"
        y = beside(y, numbers_in(frame[exposure], where), where)
    lacking = [each for each in schema.columns if each not in frame.columns] if are_genes(schema.table) else []
    if lacking:
        of = f"{len(lacking)} of the {len(schema.columns)} genes that the model was trained on"
        own = f"its columns: {several(frame.columns, MOST)}"
        raise ValueError(f"{name} is a table, and lacks {of}: {several(lacking, MOST)}; {own}")
    x = new_rows_of_frame(schema.typed_columns, frame, name, schema.of_files)
    given = [each.name for each in schema.covariates]
    left = [each for each in frame.columns if each not in (*schema.columns, *given, label, exposure)]
    said = [f"columns of {name} that are not used: {several(left, MOST)}"] if left else []
    if never := x.impossible.said(name):
        warnings.warn(never, LeftOutWarning, stacklevel=2)
        said.append(never)
    return Content(
        {"train": replace(x, y=y)}, classes, schema.columns, content.notes, tuple(said), dialect=content.dialect
    )


def _check_said(run: Run, given: object, name: str, content: Content) -> None:
    """`ValueError` where what is said anew of how data are read is not to be found in them."""
    data = run.spec.data
    said = {key: value for key in run.anew if (value := getattr(data, key)) is not None}
    if "layer" in said and content.kind is None:
        raise ValueError(f"{named('data.layer', data.layer)} names a matrix of cells; {name} is none")
    if "sheet" in said and (not isinstance(given, (str, Path)) or ending(Path(given)) != ".xlsx"):
        raise ValueError(f"{named('data.sheet', data.sheet)} names a sheet of a workbook; {name} is none")
    if "encoding" in said and (not isinstance(given, (str, Path)) or ending(Path(given)) not in TEXTS):
        raise ValueError(f"{named('data.encoding', data.encoding)} is of a table's text; {name} is none")


def _content(given: str | Path | Dataset | pd.DataFrame | np.ndarray | Tensor, reading: Reading) -> tuple[str, Content]:
    if isinstance(given, Dataset):
        return given.name, Content(given.splits, given.classes, given.columns)
    if is_frame(given):
        return "the table", read(given)[0]
    if is_annotated(given):
        return "the AnnData object", read(given, reading)[0]
    if is_documents(given):
        return "the documents", read(given, reading)[0]
    if not isinstance(given, (str, Path)):
        array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
        x, observed = with_holes(array, "data", reading.domain)
        return "data", Content({"train": Split(x, observed=observed)})
    try:
        content, name, _, _ = read(given, reading)
    except ValueError:
        if reading.label is None:
            raise
        content, name, _, _ = read(given, replace(reading, label=None))  # new data may come without labels
    return name, content


def _one_split(name: str, content: Content, split: str | None) -> Split:
    splits: Mapping[str, Split] = content.splits
    if split is None and len(splits) > 1:
        raise ValueError(
            f"{name} has the splits {', '.join(splits)}; say which: {option('split', 'SPLIT')}, one of them or all"
        )
    if split not in (None, ALL) and split not in splits:
        raise ValueError(no_split(f"{name}, new data to the run,", str(split), [*splits, ALL]))
    chosen = list(splits.values()) if split in (None, ALL) else [splits[str(split)]]
    if len(chosen) == 1:
        return chosen[0]
    x, observed = np.concatenate([np.asarray(each.x) for each in chosen]), None
    if any(each.observed is not None for each in chosen):
        own = [np.ones(each.x.shape, bool) if each.observed is None else each.observed for each in chosen]
        observed = np.concatenate(own)
    y = None if any(each.y is None for each in chosen) else np.concatenate([each.y for each in chosen])
    origins = [np.arange(len(each)) if each.origin is None else each.origin for each in chosen]
    return Split(x, y, origin=np.concatenate(origins), observed=observed)


def _columns(name: str, x: Array, theirs: tuple[str, ...], ours: tuple[str, ...]) -> tuple[Array, list[str]]:
    """The columns that a run knows, in its order, and the names of the others."""
    if not ours or not theirs or theirs == ours:
        return x, []
    if missing := [column for column in ours if column not in theirs]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{name} has no column {missing[0]!r}{more}, which the run was trained on")
    return np.asarray(x)[:, [theirs.index(column) for column in ours]], [each for each in theirs if each not in ours]


def _stored_domain(run: Run, x: Array) -> Domain:
    """The domain of the run's data before their preprocessing."""
    schema, preprocessing = run.schema, run.spec.data.preprocessing
    if schema.stored is not None:
        return schema.stored
    if preprocessing.dequantize:
        return Domain("grey", levels=int(np.asarray(schema.domain.scale)))
    if preprocessing.binarize is None or all(((b == 0) | (b == 1)).all() for _, b in blocks(x)):
        return schema.domain
    # A run from before this was kept.
    return Domain("grey", levels=256) if x.dtype == np.uint8 else Domain("unit")


def _y(
    run: Run, name: str, y: np.ndarray | None, classes: tuple[str, ...]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels by the numbers that the run has for their classes, or covariates as they are; and what is to be said."""
    own = run.schema.classes
    needed = f"{run.path} is conditional: {name}"
    if y is not None and y.ndim == 1 and own:
        numbers = {each: number for number, each in enumerate(own)}
        unknown = [each for each in classes if each not in numbers]
        known = f"accepted: {several(own, MOST)}"
        if not unknown:
            return np.array([numbers[each] for each in classes], np.int64)[y], ()
        if run.model.conditional:
            raise ValueError(f"{needed} has the class {shown(unknown[0])}, which it was not trained on; {known}")
        return None, (f"labels of {name} are not used: the run knows no class {shown(unknown[0])}; {known}",)
    if run.model.conditional and (y is None or y.ndim == 1 or own or y.shape[1] != run.model.condition):
        wanted = f"labels ({run.spec.data.label or 'y'})" if own else f"{run.model.condition} covariates of each row"
        if run.schema.exposed:
            wanted = f"the exposure of each row, as {run.spec.data.exposure!r} was"
        raise ValueError(f"{needed} needs {wanted}")
    factors = y is not None and y.ndim == 2 and not own  # which metrics ask for, whatever the model is given
    return (y if run.model.conditional or factors else None), ()
