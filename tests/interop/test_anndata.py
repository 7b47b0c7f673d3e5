"""Cells asked about under scvi-tools' names, by a run of the recipe `scvi`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from models_for_tests import refuses
from scipy import sparse, stats

from vaekit import Run, load_run, train
from vaekit.errors import RunError
from vaekit.interop.anndata import (
    annotate,
    get_latent_representation,
    get_marginal_ll,
    get_normalized_expression,
    setup_anndata,
)
from vaekit.spec.targets import resolve

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

RNG = np.random.default_rng(0)
TYPES, N, GENES = 3, 240, 30
KIND = np.arange(N) % TYPES
COUNTS = RNG.poisson(RNG.gamma(0.3, 1.0, (TYPES, GENES))[KIND] * RNG.gamma(5, 0.4, (N, 1))).astype(np.float32)
COUNTS[:, 0] += 1
SMALL = ["model.encoder.hidden=[16]", "model.decoder.hidden=[16]", "model.latents.z.size=2", "training.batch_size=32"]


def cells() -> AnnData:
    names = pd.Index([f"cell{i}" for i in range(N)], dtype=object)
    batch = pd.Categorical(np.array(["x", "y"])[np.arange(N) % 2], categories=pd.Index(["x", "y"], dtype=object))
    var = pd.DataFrame(index=pd.Index([f"g{i}" for i in range(GENES)], dtype=object))
    obs = pd.DataFrame({"batch": batch, "mito": np.linspace(0, 1, N)}, index=names)
    logs = np.log1p(COUNTS)
    return AnnData(sparse.csr_matrix(logs), obs=obs, var=var, layers={"counts": sparse.csr_matrix(COUNTS)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    given = setup_anndata(cells(), layer="counts", batch_key="batch", continuous_covariate_keys=["mito"])
    sets = [*SMALL, *given, "objective.beta.until=0.1", "training.learning_rate=0.01"]
    return train("scvi", tmp_path_factory.mktemp("cells") / "run", data=cells(), sets=sets, epochs=12)


def test_what_is_asked_of_cells_is_refused_before_anything_else() -> None:
    with refuses("is not of counts"):
        setup_anndata(cells(), batch_key="batch")
    with refuses("unknown covariate 'donor'"):
        setup_anndata(cells(), layer="counts", batch_key="donor")
    with refuses("'mito' is named as a categorical and as a continuous"):
        asked: Any = {"categorical_covariate_keys": ["mito"], "continuous_covariate_keys": ["mito"]}
        setup_anndata(cells(), layer="counts", **asked)
    with refuses("labels_key is given beside"):
        setup_anndata(cells(), layer="counts", labels_key="batch", continuous_covariate_keys=["mito"])
    with pytest.raises(TypeError, match="an AnnData object"):
        setup_anndata(COUNTS)
    sized = cells()
    sized.obs["size"] = 1.0 + sized.obs["mito"]
    spec = resolve("scvi", setup_anndata(sized, layer="counts", size_factor_key="size"))
    assert (spec.data.exposure, spec.data.layer) == ("size", "counts")
    assert spec.model.likelihood is not None
    assert spec.model.likelihood.options == {"shares": False}


def test_rates_are_shares_of_the_library_and_follow_the_batch(run: Run) -> None:
    some = cells()[:20].copy()
    rates = get_normalized_expression(run, some, library_size=1e4)
    assert np.allclose(rates.sum(1), 1e4, rtol=1e-4)
    assert rates.index.tolist() == some.obs_names.tolist()
    few = get_normalized_expression(run, some, library_size=1e4, gene_list=["g5", "g1"])
    assert np.array_equal(few, rates[["g5", "g1"]])
    of_x = get_normalized_expression(run, some, transform_batch="x")
    as_given = get_normalized_expression(run, some)
    same = np.isclose(of_x, as_given, rtol=1e-5).all(1)
    assert same[::2].all()
    assert not same[1::2].any()
    assert not np.allclose(get_normalized_expression(run, some, n_samples=3), as_given)
    with refuses("unknown batch of transform_batch 'z'; accepted: x, y"):
        get_normalized_expression(run, some, transform_batch="z")
    with refuses("unknown gene 'g99'"):
        get_normalized_expression(run, some, gene_list=["g99"])
    with refuses("library_size is 0"):
        get_normalized_expression(run, some, library_size=0)


def test_genes_are_found_by_their_names(run: Run, tmp_path: Path) -> None:
    codes = get_latent_representation(run, cells())
    other = cells()[:, ::-1].copy()
    assert np.array_equal(get_latent_representation(run, other), codes)
    other.write_h5ad(tmp_path / "cells.h5ad")
    assert np.array_equal(run.encode(tmp_path / "cells.h5ad")[0], codes)
    with refuses("lacks 2 of the 30 genes that the model was trained on: g28, g29"):
        run.encode(cells()[:, :28].copy())
    strange = cells()[:9].copy()
    strange.obs["batch"] = ["x"] * 8 + ["q"]
    with refuses("covariate 'batch', has 'q', which training had not; accepted: x, y"):
        run.encode(strange)


def test_log_p_is_that_of_scipy_at_the_rates(run: Run) -> None:
    """The likelihood at a code, of SciPy's negative binomial at the rates and the zeros beside."""
    some = cells()[:4].copy()
    data = run.data(some)
    batch = next(data.blocks())
    z = run.model.encode(batch)
    px = run.model._generated(z, run.model._given(batch.y), False)
    found = px.log_prob(batch.x)
    total = COUNTS[:4].sum(1, keepdims=True)
    rates = np.concatenate(
        [get_normalized_expression(run, some[[i]].copy(), float(total[i, 0])).to_numpy() for i in range(4)]
    ).astype(np.float64)
    theta = run.model.likelihood.log_theta.detach().double().exp().numpy()  # type: ignore[operator, union-attr]
    plain = stats.nbinom.logpmf(COUNTS[:4], theta, theta / (theta + rates))
    zero = px.base_dist.logits.sigmoid().detach().numpy()
    wanted = np.where(COUNTS[:4] == 0, np.logaddexp(np.log(zero), np.log1p(-zero) + plain), np.log1p(-zero) + plain)
    assert np.allclose(found.detach().numpy(), wanted.sum(1), rtol=1e-4)


def test_an_object_is_annotated_and_its_run_found_again(run: Run, tmp_path: Path) -> None:
    new = cells()[:30, ::-1].copy()
    annotate(run, new, samples=5)
    assert new.obsm["X_vaekit"].shape == (30, 2)
    assert np.allclose(new.layers["vaekit_normalized"].sum(1), 1e4, rtol=1e-4)
    assert np.array_equal(new.obs["vaekit_log_p"], get_marginal_ll(run, cells()[:30].copy(), 5))
    loaded = load_run(run.path)
    with pytest.raises(RunError, match="was trained on an AnnData object, which it does not keep"):
        loaded.evaluate("test", 5)
    cells().write_h5ad(tmp_path / "all.h5ad")
    there = load_run(run.path, data=tmp_path / "all.h5ad")
    assert there.evaluate("test", 5).nll == run.evaluate("test", 5).nll
    assert (
        loaded.evaluate(tmp_path / "all.h5ad", 5).nll
        < run.untrained().score(COUNTS, run_y(run), 5, seed=0).log_prob.neg().mean()
    )
    assert anndata.read_h5ad(tmp_path / "all.h5ad").shape == (N, GENES)


def run_y(run: Run) -> Any:
    return run.data(cells()).y


@pytest.mark.parametrize("engine", ["python", "replay"])
def test_sparse_cells_train_as_dense_ones_do(tmp_path: Path, engine: str) -> None:
    dense = cells()
    dense.layers["counts"] = COUNTS
    sets = [*SMALL, "data.layer=counts", f"training.engine={engine}"]
    runs = [
        train("scvi", tmp_path / name, data=data, sets=sets, epochs=2) for name, data in (("a", cells()), ("b", dense))
    ]
    ours, theirs = ([each.terms for each in run.history()] for run in runs)
    assert ours == theirs
    assert runs[0].schema.fingerprint == runs[1].schema.fingerprint


def test_covariates_beside_an_exposure_have_to_be_asked_for(tmp_path: Path) -> None:
    sets = [*SMALL, "data.layer=counts", "data.covariates.batch=categorical", "model.condition=false"]
    with refuses("covariates stand beside the exposure, but model.condition is not set"):
        train("scvi", tmp_path / "run", data=cells(), sets=sets, epochs=1)
