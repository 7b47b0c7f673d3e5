"""Cells: matrices of counts, sparse or not, from AnnData objects and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from models_for_tests import refuses
from scipy import sparse

from vaekit.data import Dataset, load
from vaekit.data.sparse import SparseRows
from vaekit.data.sparse_tensors import SparseTensor
from vaekit.data.tensors import to_device
from vaekit.runs.given import fingerprint

# anndata's own, of pandas.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

RNG = np.random.default_rng(0)
COUNTS = (RNG.poisson(0.15, (60, 24)) * RNG.integers(1, 5, 24)).astype(np.float32)
COUNTS[:, 0] += 1
COUNTS[7, 1:] = 0


def cells(x: Any = COUNTS, **more: Any) -> AnnData:
    names = pd.Index([f"cell{i}" for i in range(len(COUNTS))], dtype=object)
    donors = pd.Categorical(
        np.array(["a", "b", "c"])[np.arange(60) % 3], categories=pd.Index(["a", "b", "c"], dtype=object)
    )
    obs = pd.DataFrame({"donor": donors, "mito": np.linspace(0, 1, 60), "size": 1.0 + np.arange(60)}, index=names)
    var = pd.DataFrame(index=pd.Index([f"g{i}" for i in range(COUNTS.shape[1])], dtype=object))
    return AnnData(x, obs=obs, var=var, **more)


def test_sparse_rows_are_an_array_whose_zeros_take_no_memory() -> None:
    rows = SparseRows(sparse.csr_array(COUNTS))
    assert rows.pays
    assert np.array_equal(rows, COUNTS)
    assert np.array_equal(rows.where(np.arange(60) > 50).columns([3, 0]), COUNTS[51:][:, [3, 0]])
    held = SparseTensor(rows, "cpu")
    assert held.shape == COUNTS.shape
    index = torch.tensor([7, 3, 7, 59])
    assert np.array_equal(held.index_select(0, index), COUNTS[index])
    assert np.array_equal(held[5:9], COUNTS[5:9])
    nothing = SparseTensor(SparseRows(sparse.csr_array((3, 4), dtype=np.float32)), "cpu")
    assert not nothing[0:3].any()


def test_a_matrix_is_the_same_data_in_every_form(tmp_path: Path) -> None:
    forms = [COUNTS, COUNTS.astype(np.int64), sparse.csr_matrix(COUNTS), sparse.csc_array(COUNTS.astype(np.uint8))]
    doubled = sparse.coo_array(COUNTS).tocsr()
    doubled.data[:1] = 0  # a zero that is stored
    cells(doubled).write_h5ad(tmp_path / "cells.h5ad")
    doubled.data[:1] = COUNTS.ravel()[COUNTS.ravel() > 0][0]
    found = [load(cells(each)) for each in (*forms, doubled)]
    assert {fingerprint(each) for each in found} == {fingerprint(found[0])}
    assert isinstance(found[2].splits["train"].x, SparseRows)
    of_file = load(tmp_path / "cells.h5ad")
    assert of_file.columns == found[0].columns
    assert fingerprint(of_file) != fingerprint(found[0])
    assert (found[0].domain.kind, found[0].domain.warp) == ("count", "log")
    assert found[0].table[0].kind == "count"


def test_what_is_not_of_counts_is_refused_naming_the_layers_that_are() -> None:
    logs = np.log1p(COUNTS)
    with refuses("not of counts: 0.693147 of cell 'cell0', gene 'g0'; of counts are the layers spliced, counts"):
        load(cells(logs, layers={"spliced": sparse.csr_matrix(COUNTS), "logs": logs, "counts": COUNTS}))
    with refuses("no layer is; for other numbers than counts domain='real'"):
        load(cells(sparse.csr_matrix(logs)))
    raw = cells()
    raw.raw = raw
    raw.X = logs
    with refuses("of counts is its raw.X: give adata.raw.to_adata()"):
        load(raw)
    with refuses("unknown layer 'count' (did you mean 'counts'?); accepted: counts"):
        load(cells(logs, layers={"counts": COUNTS}), layer="count")
    dataset = load(cells(logs, layers={"counts": COUNTS}), layer="counts", validation=0, test=0)
    assert np.array_equal(dataset.splits["train"].x, COUNTS)
    assert load(cells(logs), domain="real").domain.kind == "real"
    twice = cells()
    twice.var_names = ["g0", *twice.var_names[1:-1], "g0"]
    with refuses("more than one gene of the name 'g0'"):
        load(twice)
    with refuses("names a matrix of cells; digits is none"):
        load("digits", layer="counts")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cells.h5ad").write_text("nothing")
    with refuses("is no whole .h5ad file"):
        load(tmp_path / "cells.h5ad")


def beside(dataset: Dataset) -> np.ndarray:
    assert dataset.splits["train"].y is not None
    return dataset.splits["train"].y


def test_covariates_stand_before_the_exposure() -> None:
    options: dict[str, Any] = {"validation": 0, "test": 0, "covariates": {"mito": "real", "donor": "categorical"}}
    wanted = np.column_stack([np.linspace(0, 1, 60), np.eye(3)[np.arange(60) % 3]])
    for exposure, last in (("total", COUNTS.sum(1)), ("size", 1.0 + np.arange(60)), (None, None)):
        dataset = load(cells(sparse.csr_matrix(COUNTS)), exposure=exposure, **options)
        found = beside(dataset)
        assert np.allclose(found, wanted if last is None else np.column_stack([wanted, last]), atol=1e-6)
        assert dataset.exposed == (exposure is not None)
    assert [each.categories for each in dataset.covariates] == [(), ("a", "b", "c")]
    with refuses("unknown covariate 'doner' (did you mean 'donor'?)"):
        load(cells(), covariates={"doner": "categorical"})
    with refuses("unknown kind of covariate 'category' (did you mean 'categorical'?)"):
        load(cells(), covariates={"donor": "category"})
    with refuses("unknown column of obs 'sizes' (did you mean 'size'?)"):
        load(cells(), exposure="sizes")
    gap = cells()
    gap.obs.loc["cell4", "mito"] = np.nan
    with refuses("covariate 'mito', has no value in row 4 (from 0)"):
        load(gap, covariates={"mito": "real"})
    with refuses("beside covariates"):
        load(cells(), label="donor", covariates={"mito": "real"})


def test_a_table_has_covariates_too() -> None:
    frame = cells().to_df().assign(donor=np.array(["a", "b"])[np.arange(60) % 2], mito=np.linspace(0, 1, 60))
    kinds = {"donor": "categorical", "mito": "real"}
    dataset = load(frame, covariates=kinds, domain="count", exposure="total", validation=0, test=0)
    assert dataset.columns == tuple(f"g{i}" for i in range(24))
    wanted = np.column_stack([np.eye(2)[np.arange(60) % 2], np.linspace(0, 1, 60), COUNTS.sum(1)])
    assert np.allclose(beside(dataset), wanted, atol=1e-6)
    with refuses("names columns of a table, or cells; digits is none"):
        load("digits", covariates=kinds)
    with refuses("is given beside"):
        load(frame, covariates={"mito": "real"}, label="donor")


def test_a_split_of_sparse_rows_gives_the_batches_of_a_dense_one() -> None:
    dense, thin = (load(cells(each), exposure="total") for each in (COUNTS, sparse.csr_matrix(COUNTS)))
    one, other = (to_device(each, "train", _as_it_is()) for each in (dense, thin))
    assert isinstance(other.x, SparseTensor)
    index = torch.tensor([3, 1, 3])
    assert torch.equal(one.training_batch(index).x, other.training_batch(index).x)
    assert torch.equal(one.rows(np.array([5, 2])).x, other.rows(np.array([5, 2])).x)
    assert torch.equal(one.part(np.array([5, 2])).x, other.part(np.array([5, 2])).x)  # type: ignore[arg-type]


def _as_it_is() -> Any:
    from vaekit.data import Preprocessing

    return Preprocessing()


def test_a_number_that_is_none_is_told_by_its_cell_and_gene() -> None:
    odd = COUNTS.copy()
    odd[5, 3] = np.nan
    for x in (odd, sparse.csr_matrix(odd), sparse.csc_matrix(odd)):
        with refuses("X, has no finite number: nan of cell 'cell5', gene 'g3'"):
            load(cells(x))


def test_what_lies_in_a_file_is_told_how_to_be_in_memory(tmp_path: Path) -> None:
    cells(sparse.csr_matrix(COUNTS)).write_h5ad(tmp_path / "cells.h5ad")
    lying = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for each in (lying, lying[:5]):
        with refuses("X, is in its file, not in memory; give adata.to_memory()"):
            load(each)
    assert len(load(lying.to_memory()).splits["train"]) > 0
