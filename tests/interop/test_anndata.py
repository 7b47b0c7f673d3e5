"""Cells asked about under scvi-tools' names, by a run of the recipe `scvi`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from commands_for_tests import command
from models_for_tests import refuses
from scipy import sparse, stats

from vaekit import Run, load_run, train
from vaekit.data import load
from vaekit.errors import RunError
from vaekit.interop.anndata import (
    annotate,
    differential_expression,
    get_latent_representation,
    get_marginal_ll,
    get_normalized_expression,
    setup_anndata,
)
from vaekit.interop.differential import Comparison
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


def of_kinds() -> AnnData:
    adata = cells()
    adata.obs["kind"] = pd.Categorical(np.array(["a", "b", "c"], object)[KIND])
    return adata


def test_genes_that_differ_are_told_from_those_that_do_not(run: Run) -> None:
    adata = of_kinds()
    found = differential_expression(run, adata, "kind", group1="a", group2="b", samples=2000)
    assert sorted(found.index) == sorted(adata.var_names)
    assert (found["proba_de"].diff().dropna() <= 0).all()
    of = found.loc[adata.var_names]
    for i, kind in enumerate((KIND == 0, KIND == 1), start=1):
        np.testing.assert_allclose(of[f"raw_mean{i}"], COUNTS[kind].mean(0), rtol=1e-6)
        np.testing.assert_allclose(of[f"non_zeros_proportion{i}"], (COUNTS[kind] > 0).mean(0))
        # By 50 draws of each cell, and by one of 2,000 cells that are drawn; that of one is spread no more than sqrt(2)
        # times what the mean of two is.
        rates, pairs = (get_normalized_expression(run, adata[kind].copy(), n_samples=n) for n in (50, 2))
        error = 2**0.5 * pairs.std() * (1 / 2000 + 1 / (50 * kind.sum())) ** 0.5
        assert ((of[f"scale{i}"] - rates.mean()).abs() < 4.5 * error).all()
    sure = of["proba_de"] > 0.9
    assert sure.any()
    assert (np.sign(of["lfc_mean"]) == np.sign(np.log(of["scale1"] / of["scale2"])))[sure].all()
    # The other way round all changes are the opposite, up to what is drawn.
    back = differential_expression(run, adata, "kind", group1="b", group2="a", samples=2000).loc[adata.var_names]
    error = np.hypot(of["lfc_std"], back["lfc_std"]) / 2000**0.5
    assert (np.abs(of["lfc_mean"] + back["lfc_mean"]) < 5 * error + 1e-6).all()


def test_probabilities_are_those_of_rates_that_are_known() -> None:
    """Of rates whose log2 is N(m, s²) beside rates of 1, each gene with its own m."""
    n, middle, spread, delta = 40_000, np.array([-1.0, 0.0, 0.1, 0.5, 3.0]), 0.4, 0.25
    first = 2 ** np.random.default_rng(0).normal(middle, spread, (n, 5))
    table = Comparison(delta=delta, pseudocounts=0.0).table((first, np.ones_like(first)), (np.ones(5), np.ones(5)))
    beyond = stats.norm.cdf((-delta - middle) / spread) + stats.norm.sf((delta - middle) / spread)
    assert (np.abs(table["proba_de"] - beyond) < 4.5 * np.sqrt(beyond * (1 - beyond) / n) + 1e-9).all()
    assert (np.abs(table["lfc_mean"] - middle) < 4.5 * spread / n**0.5).all()
    assert np.allclose(table["lfc_std"], spread, rtol=0.02)
    assert table["is_de_fdr_0.05"].tolist() == [True, False, False, False, True]
    vanilla = Comparison("vanilla").table((first, np.ones_like(first)), (np.ones(5), np.ones(5)))
    higher = stats.norm.cdf(middle / spread)
    assert (np.abs(vanilla["proba_m1"] - higher) < 4.5 * np.sqrt(higher * (1 - higher) / n) + 1e-9).all()
    # What is added to both where a group has no count of a gene: its rates in nine tenths of such genes.
    found = Comparison().table((first, np.ones_like(first)), (np.array([0, 0, 0, 1, 1]), np.ones(5)))
    assert found["pseudocounts"].unique() == np.quantile(first[:, :3].max(0), 0.9)


def test_halves_of_the_same_cells_do_not_differ(run: Run) -> None:
    adata = of_kinds()[KIND == 0].copy()
    adata.obs["half"] = np.where(np.random.default_rng(1).permutation(adata.n_obs) % 2, "one", "two")
    found = differential_expression(run, adata, "half", group1="one", samples=2000, batch_correction=True)
    assert (found["lfc_mean"].abs() < 0.4).all()
    assert (found["comparison"] == "one vs rest").all()
    every = differential_expression(run, of_kinds(), "kind", samples=50, mode="vanilla")
    assert every.groupby("comparison").size().to_dict() == {f"{each} vs rest": GENES for each in "abc"}
    assert np.allclose(every["proba_m1"] + every["proba_m2"], 1)
    again = differential_expression(run, of_kinds(), "kind", samples=50, mode="vanilla")
    pd.testing.assert_frame_equal(every, again)


def test_what_can_not_be_compared_is_said_in_a_line(run: Run) -> None:
    adata = of_kinds()
    for words, options in {
        "unknown column of obs 'type'": {"groupby": "type"},
        "unknown group of kind 'z'": {"groupby": "kind", "group1": "z"},
        "kind 'a' is to be compared with other cells": {"groupby": "kind", "group1": "a", "group2": "a"},
        "mode is 'both'; accepted: 'change', 'vanilla'": {"groupby": "kind", "mode": "both"},
        "samples is 1; accepted: a whole number from 2 on": {"groupby": "kind", "samples": 1},
        "delta is -1; accepted: 0 or more": {"groupby": "kind", "delta": -1},
        "fdr_target is 1; accepted: between 0 and 1": {"groupby": "kind", "fdr_target": 1},
    }.items():
        with refuses(words):
            differential_expression(run, adata, **options)  # type: ignore[arg-type]


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
    px = run.model.generated(z, run.model.network_condition(batch.y), False)
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


def told(*argv: str | Path) -> str:
    """What a command that must succeed prints; what it notes of new data is on standard error."""
    result = command(*argv)
    assert result.status == 0, result
    return result.out


def counts_in_x(rows: int = 40) -> AnnData:
    """Some of the cells, whose X has the counts, in a file that has no layer."""
    found = cells()[:rows].copy()
    found.X = found.layers.pop("counts")
    return found


def test_a_file_with_its_counts_elsewhere_is_read_by_what_is_said_of_it(run: Run, tmp_path: Path) -> None:
    known, other = tmp_path / "known.h5ad", tmp_path / "other.h5ad"
    cells()[:40].copy().write_h5ad(known)
    counts_in_x().write_h5ad(other)
    asked, out = ["encode", run.path, other], ["--out", tmp_path / "codes.npy"]
    refused = command(*asked, *out)
    assert refused.status == 2
    assert "there is no layer 'counts', or any other; to take X: --set data.layer=none" in refused.err
    told(*asked, *out, "--set", "data.layer=none")
    wanted = run.encode(known)[0]
    assert np.array_equal(np.load(tmp_path / "codes.npy"), wanted)
    assert np.array_equal(run.reading(layer=None).encode(other)[0], wanted)
    # And the reverse: a run on X asked about a layer.
    on_x = run.reading(layer=None)
    with refuses("; of counts are the layers counts: layer='counts'"):
        on_x.encode(known)
    assert np.array_equal(on_x.reading(layer="counts").encode(known)[0], wanted)
    for name, more in (("score", []), ("evaluate", ["--samples", "2"])):
        one, two = (tmp_path / f"{name}{i}.parquet" for i in (1, 2))
        told(name, run.path, known, "--out", one, *more)
        told(name, run.path, other, "--out", two, *more, "--set", "data.layer=none")
        pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(two))


def test_what_is_no_place_of_a_name_in_other_data_is_refused(run: Run, tmp_path: Path) -> None:
    with refuses(
        "unknown option of other data 'domain'; accepted: layer, label, exposure, sheet, encoding; what data are is as"
    ):
        run.reading(domain="real")
    with refuses("data.exposure is none, but "):
        run.reading(exposure=None)
    with refuses("knows no classes; leave it out"):
        run.reading(label="batch")
    cells().obs.to_csv(tmp_path / "obs.csv", index_label="cell")
    asked = command("evaluate", run.path, tmp_path / "obs.csv").err
    assert (
        f"vaekit: obs is a table, and lacks {GENES} of the {GENES} genes that the model was trained on: g0, g1" in asked
    )
    with refuses("layer='raw' names a matrix of cells; obs is none"):
        run.reading(layer="raw").encode(tmp_path / "obs.csv")
    refused = command("evaluate", run.path, "--set", "model.condition=true")
    assert "unknown setting of other data 'model'; accepted: data.layer, data.label, data.exposure" in refused.err


def test_codes_and_scores_of_cells_are_written_where_their_users_look(run: Run, tmp_path: Path) -> None:
    file, out = tmp_path / "cells.h5ad", tmp_path / "codes.h5ad"
    cells().write_h5ad(file)
    assert "obsm X_vaekit, 240 x 2" in told("encode", run.path, file, "--out", out)
    found = anndata.read_h5ad(out)
    assert np.array_equal(found.obsm["X_vaekit"], run.encode(cells())[0])
    assert list(found.layers) == ["counts"]
    told("encode", run.path, "--data", file, "--split", "test", "--out", out, "--overwrite")
    alone = anndata.read_h5ad(out)
    assert np.array_equal(alone.obsm["X_vaekit"], found[alone.obs_names].obsm["X_vaekit"])
    assert alone.obs["batch"].astype(str).tolist() == cells().obs["batch"][alone.obs_names].astype(str).tolist()
    table = tmp_path / "codes.csv"
    told("encode", run.path, file, "--out", table)
    assert pd.read_csv(table).columns.tolist() == ["cell", "z.0", "z.1", "batch", "mito", "total"]
    told("evaluate", run.path, file, "--samples", "3", "--out", out, "--overwrite")
    assert np.isfinite(anndata.read_h5ad(out).obs["vaekit_log_p"]).all()
    assert "is the file that is read; name another" in command("encode", run.path, file, "--out", file).err


def test_what_an_object_lacks_is_said_in_a_line() -> None:
    nothing = AnnData(obs=pd.DataFrame(index=["a", "b"]))
    with refuses("has no X, and no layers: there are no counts in it"):
        setup_anndata(nothing)
    with refuses("the AnnData object has no cells"):
        setup_anndata(cells()[:0].copy(), layer="counts")
    with refuses("unknown layer 'count' (did you mean 'counts'?); accepted: counts; to take X: leave out layer"):
        setup_anndata(cells(), layer="count")


def test_numbers_and_groups_may_be_of_any_type_that_numpy_and_pandas_have(run: Run) -> None:
    adata = of_kinds()
    size = np.median(COUNTS.sum(1))  # of the type of the counts, float32
    assert np.allclose(get_normalized_expression(run, adata, library_size=size).sum(1), size, rtol=1e-4)
    assert get_normalized_expression(run, adata, library_size=np.int64(100), gene_list=[]).shape == (N, 0)
    adata.obs["number"], adata.obs["odd"] = KIND, KIND % 2 == 1
    by = differential_expression(run, adata, "number", group1=0, group2=1, samples=50)
    assert by.equals(differential_expression(run, adata, "number", group1="0", group2="1", samples=50))
    assert set(differential_expression(run, adata, "odd", group1=True, samples=50)["group1"]) == {"True"}
    with refuses("unknown group of number '7'; accepted: 0, 1, 2"):
        differential_expression(run, adata, "number", group1=7)
    with refuses("group1 is empty"):
        differential_expression(run, adata, "kind", group1=[])
    with refuses("gene_list is 'g1'; accepted: a list of names, ['g1']"):
        get_normalized_expression(run, adata, gene_list="g1")
    for wrong in ({"library_size": np.inf}, {"library_size": "latent"}, {"n_samples": 2.0}):
        asked: Any = wrong
        with refuses(f"{next(iter(wrong))} is"):
            get_normalized_expression(run, adata, **asked)


def test_cells_without_a_count_are_scored_by_themselves_as_in_company(run: Run) -> None:
    none = cells()[:2].copy()
    none.layers["counts"] = sparse.csr_matrix(none.shape, dtype=np.float32)
    assert (get_marginal_ll(run, none, 3) == 0).all()
    none.layers["counts"] = np.zeros(none.shape, np.float32)
    assert (get_marginal_ll(run, none, 3) == 0).all()


def test_columns_of_obs_are_named_once_by_texts(run: Run) -> None:
    named = cells()
    named.obs["total"] = 2.0
    with refuses("size_factor_key 'total' is what each cell's own total is called"):
        setup_anndata(named, layer="counts", size_factor_key="total")
    said = load(named, layer="counts", exposure="total").notes
    assert any("not the column 'total'" in each for each in said)
    for wrong in ({"batch_key": 0}, {"batch_key": ["batch"]}, {"continuous_covariate_keys": [1]}):
        asked: Any = wrong
        with pytest.raises(TypeError, match=f"{next(iter(wrong))} is .*; accepted: "):
            setup_anndata(named, layer="counts", **asked)
    named.obs = pd.concat([named.obs, named.obs[["batch"]]], axis=1)
    with refuses("more than one column 'batch' in obs"):
        setup_anndata(named, layer="counts", batch_key="batch")
