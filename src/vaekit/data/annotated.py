"""Cells: a matrix of counts, cells by genes, with tables of both, as an AnnData object or its `.h5ad` file has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import MOST, several, unknown
from ..settings import named, setting, unset
from ..system.extras import needing
from .base import Content, Split, stored
from .cells import numbers_in
from .columns import Column
from .covariates import asked_covariates, covariate_numbers
from .domains import Kind
from .exposure import TOTAL, beside, own_total
from .headers import Reading
from .memmap import Array
from .sparse import SparseRows
from .tabular import labels_of, with_covariates

CELLS = ".h5ad"
"""The ending of a file of them."""
GENES = "genes of cells"
"""Why the columns of such data are what they are."""
TO_MEMORY = "adata.to_memory()"
"""What has the numbers of such an object that lie in its file, or are computed when they are asked for."""
LOOKED_AT = 1 << 20
"""Numbers of a layer that are looked at to tell whether it is one of counts, where nobody has asked for it."""


def read_cells(path: Path, reading: Reading) -> Content:
    """The content of an `.h5ad` file. Raises as `annotated` does, and `ValueError` for what is no such file."""
    with needing(f"{path}: a {CELLS} file", "anndata", "anndata"):
        from anndata import read_h5ad
    try:
        data = read_h5ad(path)
    except Exception as error:  # whatever HDF5 and its readers raise of files that are none
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is no whole .h5ad file: {reason}") from None
    return annotated(data, str(path), reading)


def annotated(data: Any, name: str, reading: Reading) -> Content:
    """The cells of an AnnData object: X or a layer, its genes as columns, what `reading` asks of obs beside.

    A sparse matrix stays one. Raises `ValueError`, one line, where the matrix is not of counts (unless `reading` says
    that it is of another kind), where names of genes are not unique, and for columns of obs that there are not.
    """
    obs = data.obs
    names = [str(each) for each in data.var_names]
    what = f"{name}, {'X' if reading.layer is None else f'layer {reading.layer!r}'},"
    matrix, kind = _matrix(data, reading.layer, name), _kind(reading)
    if len(set(names)) < len(names):
        twice = next(each for i, each in enumerate(names) if each in names[:i])
        raise ValueError(f"{name} has more than one gene of the name {twice!r}; call adata.var_names_make_unique()")
    if odd := _first(matrix, np.isfinite):
        value, place = odd
        raise ValueError(f"{what} has no finite number: {value} of {_cell(data, place)}; fill it, or drop the cell")
    x = matrix_rows(matrix, what, empty=bool(reading.known))
    if kind in ("count", "columns"):
        _refuse_no_counts(x, data, what, of_a_run=bool(reading.known))
    if reading.known:
        x, names = _known(x, names, reading, name)
    origin = np.array([str(each) for each in data.obs_names], object)
    of_counts = kind in ("count", "columns")
    options: dict[str, Any] = {"dtype": "int64"} if of_counts else {}
    table = tuple(Column(each, "count" if of_counts else "real", why=GENES, **options) for each in names)
    layer = () if reading.layer is None else (f"layer {reading.layer!r} of {name} is what is modelled, not its X",)
    content = Content({"train": Split(x, origin=origin)}, (), tuple(names), layer, table=table, kind=kind)
    return _beside(content, obs, name, reading)


def are_genes(columns: Sequence[Column]) -> bool:
    """Whether the columns of a table are genes, its rows cells.

    >>> are_genes([Column("CD8A", "count", why=GENES)]), are_genes([])
    (True, False)
    """
    return bool(columns) and columns[0].why == GENES


def _kind(reading: Reading) -> Kind:
    if reading.kind not in (None, "count", "real", "columns"):
        raise ValueError(f"{named('data.domain', reading.kind)}; of cells accepted: count, real, columns")
    return reading.kind or "count"  # type: ignore[return-value]


def _matrix(data: Any, layer: str | None, name: str) -> Any:
    layers = list(data.layers)
    if layer is None and data.isbacked:
        raise ValueError(f"{name}, X, is in its file, not in memory; give {TO_MEMORY}")
    if layer is not None and layer not in layers:
        what = unknown("layer", layer, layers) if layers else f"there is no layer {layer!r}, or any other"
        raise ValueError(f"{name}: {what}; to take X: {unset('data.layer')}")
    found = data.X if layer is None else data.layers[layer]
    if found is None:
        what = f"name a layer, {setting('data.layer', '…')}; accepted: {several(layers, MOST)}"
        raise ValueError(f"{name} has no X{f'; {what}' if layers else ', and no layers: there are no counts in it'}")
    if not data.n_obs or not data.n_vars:
        raise ValueError(f"{name} has no {'genes' if data.n_obs else 'cells'}")
    return found


def matrix_rows(matrix: Any, what: str, *, empty: bool) -> Array:
    """A matrix as rows of 32-bit numbers, or of more where these lose any; it may be `empty`, of zeros alone, where
    there is nothing to learn of it.
    """
    if hasattr(matrix, "tocsr"):
        sparse = matrix.tocsr()
        if not sparse.has_canonical_format or (sparse.nnz and not sparse.data.all()):
            sparse = sparse.copy()
            sparse.sum_duplicates()
            sparse.eliminate_zeros()
        if not (sparse.nnz or empty):
            raise ValueError(f"{what} has nothing but zeros")
        numbers = _floats(sparse.data, what) if sparse.nnz else np.empty(0, np.float32)
        kept = type(sparse)((numbers, sparse.indices, sparse.indptr), shape=sparse.shape)
        return SparseRows(kept)
    if not isinstance(matrix, np.ndarray):
        accepted = f"an array or a SciPy matrix in memory, as {TO_MEMORY} has them"
        raise ValueError(f"{what} is a {type(matrix).__name__}; accepted: {accepted}")
    return _floats(np.asarray(matrix), what)


def _floats(x: np.ndarray, what: str) -> np.ndarray:
    return stored(x.astype(np.float32) if x.dtype in (np.bool_, np.uint8) else x, what)


def are_counts(values: np.ndarray) -> bool:
    """Whether all are whole numbers from 0 on."""
    return bool(_counts(values).all())


def _counts(values: np.ndarray) -> np.ndarray:
    return (values >= 0) & (values == np.floor(values))


def _first(matrix: Any, fits: Callable[[np.ndarray], np.ndarray]) -> tuple[Any, tuple[int, int]] | None:
    """The first number of an array or a SciPy matrix that does not fit, with its row and column."""
    stored = matrix.data if hasattr(matrix, "tocsr") else matrix
    if not isinstance(stored, np.ndarray) or stored.dtype.kind != "f" or (good := fits(stored)).all():
        return None
    if hasattr(matrix, "tocsr"):
        where = matrix.tocoo()
        at = int(np.argmin(good))
        return where.data[at], (int(where.row[at]), int(where.col[at]))
    row, column = (int(i) for i in np.unravel_index(int(np.argmin(good)), good.shape))
    return stored[row, column], (row, column)


def _cell(data: Any, place: tuple[int, int]) -> str:
    row, column = place
    return f"cell {str(data.obs_names[row])!r}, gene {str(data.var_names[column])!r}"


def _refuse_no_counts(x: Array, data: Any, what: str, *, of_a_run: bool) -> None:
    odd = _first(x.matrix if isinstance(x, SparseRows) else x, _counts)
    if odd is None:
        return
    value, place = odd
    first = f"{what} is not of counts: {value:g} of {_cell(data, place)}"
    others = [each for each, of in _layers(data) if _look_like_counts(of)]
    raw = getattr(data, "raw", None)
    if others:
        instead = f"of counts are the layers {several(others, MOST)}: {setting('data.layer', others[0])}"
    elif raw is not None and _look_like_counts(raw.X):
        instead = "of counts is its raw.X: give adata.raw.to_adata()"
    elif of_a_run:
        instead = "no layer is, and the run is of counts"
    else:
        instead = f"no layer is; for other numbers than counts {setting('data.domain', 'real')}"
    raise ValueError(f"{first}; {instead}")


def _layers(data: Any) -> Iterator[tuple[str, Any]]:
    for name in data.layers:
        yield name, data.layers[name]


def _look_like_counts(matrix: Any) -> bool:
    """Whether the first numbers of a matrix might be counts, some of them other than 0."""
    values = np.asarray(matrix.data if hasattr(matrix, "tocsr") else matrix).ravel()[:LOOKED_AT]
    return values.dtype.kind in "buif" and bool(np.any(values)) and are_counts(values)


def _known(x: Array, names: list[str], reading: Reading, name: str) -> tuple[Array, list[str]]:
    """The genes that a model knows, in its order; `ValueError` naming those that lack."""
    known = [str(each) for each in reading.known]
    what = name if reading.called == "genes" else f"{name} is of cells by genes, and"
    return columns_known(x, names, known, what, reading.called), known


def columns_known(x: Array, names: Sequence[str], known: Sequence[str], what: str, called: str) -> Array:
    """The columns of x (N, D), of these names, that a model knows, in its order; `ValueError` naming those that lack,
    which are `called` genes or the like.
    """
    if list(known) == list(names):
        return x
    place = {each: i for i, each in enumerate(names)}
    if missing := [each for each in known if each not in place]:
        of = f"{len(missing)} of the {len(known)} {called} that the model was trained on"
        raise ValueError(f"{what} lacks {of}: {several(missing, MOST)}")
    index = [place[each] for each in known]
    return x.columns(index) if isinstance(x, SparseRows) else np.asarray(x)[:, index]


def _beside(content: Content, obs: pd.DataFrame, name: str, reading: Reading) -> Content:
    """`content` with what obs has of labels, covariates and the exposure."""
    new, label, exposure = bool(reading.known), reading.label, reading.exposure
    asked = {*([] if label is None else [label]), *reading.covariates, *(each.name for each in reading.given), exposure}
    if twice := [each for each in obs.columns[obs.columns.duplicated()] if each in asked]:
        raise ValueError(f"{name} has more than one column {twice[0]!r} in obs; rename all but one")
    if label is not None and label not in obs and not new:
        raise ValueError(f"{name}: {unknown('column of obs', label, [str(each) for each in obs.columns])}")
    if label is not None and (reading.covariates or reading.given):
        given = setting("data.label", label)
        raise ValueError(f"{given} is given beside covariates; leave one out, or make it a covariate too")
    classes: tuple[str, ...] = ()
    y: np.ndarray | None = None
    if label is not None and label in obs:
        y, classes = labels_of(obs[label], name, label)
        return replace(content, classes=classes, splits={"train": replace(content.splits["train"], y=y)})
    covariates = tuple(reading.given) or asked_covariates(obs, reading.covariates, name)
    if covariates:
        y = covariate_numbers(obs, covariates, name)
        content = with_covariates(content, y, covariates)
    if exposure is None or exposure == TOTAL:
        if exposure == TOTAL and TOTAL in obs and not new:
            content = replace(content, notes=(*content.notes, own_total("not the column")))
        return content
    if exposure not in obs:
        raise ValueError(f"{name}: {unknown('column of obs', exposure, [TOTAL, *map(str, obs.columns)])}")
    where = f"{name}, exposure {exposure!r},"
    y = beside(y, numbers_in(obs[exposure], where), where)
    return replace(content, splits={"train": replace(content.splits["train"], y=y)}, exposed=True)
