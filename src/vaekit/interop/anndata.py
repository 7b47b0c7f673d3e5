"""Cells in AnnData objects, asked about under the names that scvi-tools has (`pip install 'vaekit[anndata]'`).

`vaekit.train("scvi", data=adata, sets=setup_anndata(adata, …))` trains on an object in memory, or on an `.h5ad` file by
its path; a run's own methods take either as new data. Genes are found by their names, whatever their order; those
that lack are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from ..data.annotated import annotated
from ..data.batch import Batch
from ..data.exposure import TOTAL
from ..data.frames import is_annotated
from ..data.headers import Reading
from ..data.tensors import TensorSplit
from ..distributions.counts import ZeroInflated
from ..errors import shown, unknown, wrong_kind
from ..models.given import checked_condition, refuse_number
from ..modules import evaluating
from ..runs.rows import Rows
from ..runs.run import Run
from ..seeding import seeded
from ..settings import written
from ..system.disk import write_atomic
from .differential import Comparison

CODES, RATES, LOG_P = "X_vaekit", "vaekit_normalized", "vaekit_log_p"
"""Where `annotate` puts codes (obsm), rates of genes (layers) and log p of cells (obs)."""
SCORE = "log_prob"
"""What that is called among scores."""


def setup_anndata(
    adata: Any,
    layer: str | None = None,
    batch_key: str | None = None,
    labels_key: str | None = None,
    size_factor_key: str | None = None,
    categorical_covariate_keys: Sequence[str] = (),
    continuous_covariate_keys: Sequence[str] = (),
) -> list[str]:
    """The settings (`sets` of `vaekit.train`) that say what of an AnnData object is what; the object stays as it is.

    `layer` has the counts (None: X). The batch and the other covariates, columns of obs, are given to the decoder;
    `labels_key` names classes, which go with a `classifier` and stand alone. Means are proportional to the column
    `size_factor_key`, where there is none to each cell's total. Raises `ValueError`, one line, for what is not there,
    and where the matrix is not of counts, naming the layers that are.

    >>> from anndata import AnnData
    >>> cells = AnnData(np.array([[0.0, 3.0], [1.0, 0.0]]), obs=pd.DataFrame({"donor": ["a", "b"]}, index=["r", "s"]))
    >>> setup_anndata(cells, batch_key="donor")
    ['data.exposure=total', 'data.covariates={donor = "categorical"}']
    """
    _checked(adata)
    given_as = {"categorical": categorical_covariate_keys, "continuous": continuous_covariate_keys}
    for kind, keys in given_as.items():
        if isinstance(keys, str):
            raise ValueError(f"{kind}_covariate_keys is {keys!r}; accepted: a list of names, [{keys!r}]")
    single = {"batch_key": batch_key, "labels_key": labels_key, "size_factor_key": size_factor_key}
    for name, key in (*single.items(), *((name, key) for name, keys in given_as.items() for key in keys)):
        if key is not None and not isinstance(key, str):
            raise wrong_kind(
                name if name in single else f"{name}_covariate_keys", key, "names of columns of obs, texts"
            )
    if size_factor_key == TOTAL:
        what = "is what each cell's own total is called, which is taken where none is given"
        raise ValueError(f"size_factor_key {TOTAL!r} {what}; rename the column of obs")
    categories = [*([batch_key] if batch_key is not None else []), *categorical_covariate_keys]
    asked = dict.fromkeys(categories, "categorical") | dict.fromkeys(continuous_covariate_keys, "real")
    if twice := sorted(set(categories) & set(continuous_covariate_keys)):
        raise ValueError(f"{twice[0]!r} is named as a categorical and as a continuous covariate; choose one")
    if labels_key is not None and (asked or size_factor_key is not None):
        raise ValueError("labels_key is given beside covariates or a size factor; leave one out")
    exposure = None if labels_key is not None else TOTAL if size_factor_key is None else size_factor_key
    annotated(adata, "the AnnData object", Reading(label=labels_key, layer=layer, covariates=asked, exposure=exposure))
    given: dict[str, Any] = {"layer": layer, "label": labels_key, "exposure": exposure, "covariates": asked or None}
    sets = [f"data.{key}={written(value)}" for key, value in given.items() if value is not None]
    # Of shares of a total the means are no multiples of a factor around 1.
    return sets if size_factor_key is None else [*sets, "model.likelihood.shares=false"]


def get_latent_representation(run: Run, adata: Any) -> np.ndarray:
    """The latent codes of cells, the means of q(z given x): (N, D)."""
    return run.encode(_data(run, adata))[0]


@torch.no_grad()
def get_normalized_expression(
    run: Run,
    adata: Any,
    library_size: float = 1.0,
    transform_batch: str | None = None,
    gene_list: Sequence[str] | None = None,
    n_samples: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """The rate of each gene in cells of one library size: a table of cells by genes.

    It is the mean of the counts that a cell would have with an exposure of `library_size`, without the zeros that a
    zero-inflated likelihood adds (rho of Lopez et al. 2018, times the library size), at the mean of q(z given x), or
    averaged over `n_samples` draws of it where these are more than one. With `transform_batch`, a category of the first
    categorical covariate, all cells are taken to be of that one; `gene_list` names the genes that are wanted. Raises
    `ValueError`, one line, for a run without an exposure, and a gene or a category that there is not.
    """
    _check_exposed(run)
    if not (isinstance(library_size, (int, float, np.integer, np.floating)) and 0 < library_size < math.inf):
        raise ValueError(f"library_size is {shown(library_size)}; accepted: numbers above 0")
    refuse_number("n_samples", n_samples)
    if isinstance(gene_list, str):
        raise ValueError(f"gene_list is {gene_list!r}; accepted: a list of names, [{gene_list!r}]")
    names = list(run.schema.columns)
    genes = names if gene_list is None else [str(each) for each in gene_list]
    if odd := [each for each in genes if each not in names]:
        raise ValueError(unknown("gene", odd[0], names))
    place = {each: i for i, each in enumerate(names)}
    index = torch.tensor([place[each] for each in genes], dtype=torch.long, device=run.model.scale.device)
    data, model, parts = _data(run, adata), run.model, []
    with seeded(seed), evaluating(model):
        for batch in data.blocks():
            draws = [model.encode(batch)] if n_samples == 1 else list(model.encode(batch, samples=n_samples))
            found = [_rates(run, batch, z, float(library_size), transform_batch).index_select(-1, index) for z in draws]
            parts.append(torch.stack(found).mean(0).cpu().numpy())
    rows = None if data.origin is None else [str(each) for each in data.origin]
    return pd.DataFrame(np.concatenate(parts), index=rows, columns=genes)


@torch.no_grad()
def differential_expression(  # noqa: PLR0913 - scvi-tools' arguments
    run: Run,
    adata: Any,
    groupby: str,
    group1: Hashable | Sequence[Hashable] = None,
    group2: Hashable = None,
    mode: Literal["change", "vanilla"] = "change",
    delta: float = 0.25,
    samples: int = 5000,
    batch_correction: bool = False,
    pseudocounts: float | None = None,
    fdr_target: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Which genes cells of one group express more or less than those of another: a table of a line for each gene, the
    surest first (Lopez et al. 2018; Boyeau et al. 2019).

    Cells are drawn from each group of the column `groupby` of obs, a code from q(z given x) of each, and its rates
    compared with those of a cell of the other group, `samples` times. `group1` are one or more groups, all where there
    is none; `group2` is what they are compared with, all other cells where there is none. With `batch_correction`, the
    two of a pair are decoded as of the same batch, drawn from those of all cells.

    proba_de          with "change", how often log2 of the ratio of rates (lfc_mean, …) is beyond ±`delta`; in "vanilla"
                      there is proba_m1, how often the rate of group 1 is the higher one
    bayes_factor      log of that probability over that of the opposite
    scale1, scale2    mean rates, as shares of a cell's total
    is_de_fdr_0.05    "change": the largest set of genes in which `fdr_target` of them are expected to be wrong
    raw_mean1, …      of the counts themselves, and which part of them is not 0

    To both rates of a ratio `pseudocounts` are added; where none are given, what the model makes of nine tenths of the
    genes that a group has no count of. Raises `ValueError`, one line, for a column or a group that there is not, a
    group without cells, and a run without an exposure.
    """
    _checked(adata)
    _check_exposed(run)
    how = Comparison(mode, delta, pseudocounts, fdr_target)
    refuse_number("samples", samples, 2)
    if groupby not in adata.obs:
        raise ValueError(unknown("column of obs", groupby, [str(each) for each in adata.obs.columns]))
    column = adata.obs[groupby]
    groups = [str(each) for each in pd.unique(column.dropna())]
    of = column.astype(str).where(column.notna(), None).to_numpy(object)
    firsts = groups if group1 is None else [str(each) for each in pd.Series(group1, dtype=object)]
    second = None if group2 is None else str(group2)
    for each in (*firsts, *([] if second is None else [second])):
        if each not in groups:
            raise ValueError(unknown(f"group of {groupby}", each, sorted(groups)))
    if not firsts:
        raise ValueError("group1 is empty; accepted: a group, a list of groups, or None for all")
    data, found = _data(run, adata), []
    for first in firsts:
        one, two = of == first, (of != first) if second is None else (of == second)
        if not two.any() or first == second:
            raise ValueError(f"{groupby} {first!r} is to be compared with other cells; accepted: a second group")
        cells = [np.flatnonzero(each) for each in (one, two)]
        table = _compared(run, data, cells, how, samples, batch_correction, seed)
        other = "rest" if second is None else second
        found.append(table.assign(comparison=f"{first} vs {other}", group1=first, group2=other))
    return pd.concat(found)


def get_marginal_ll(run: Run, adata: Any, n_mc_samples: int = 1000, seed: int = 0) -> np.ndarray:
    """The importance-weighted log p of each cell given its exposure and covariates, nats: (N,).

    `run.evaluate` gives the mean, with its errors, and the ELBO.
    """
    found: list[torch.Tensor] = []
    run.evaluate(_data(run, adata), n_mc_samples, seed=seed, on_scores=lambda scores: found.append(scores.log_prob))
    return torch.cat(found).cpu().numpy()


def annotate(run: Run, adata: Any, library_size: float = 1e4, samples: int = 100, seed: int = 0) -> None:
    """Put into an AnnData object what a run says of its cells: codes into obsm["X_vaekit"], rates of genes at
    `library_size` into layers["vaekit_normalized"] (genes that the run does not know are NaN), and log p, nats, by
    `samples` draws, into obs["vaekit_log_p"].
    """
    _checked(adata)
    data = _data(run, adata)
    codes, log_p = run.encode(data)[0], get_marginal_ll(run, data, samples, seed)
    rates = get_normalized_expression(run, data, library_size)
    wide = rates.reindex(columns=[str(each) for each in adata.var_names]).to_numpy(np.float32)
    adata.obsm[CODES], adata.layers[RATES], adata.obs[LOG_P] = codes, wide, log_p


def write_cells(path: Path, rows: Rows, source: Path | None = None) -> str:
    """Write codes of cells, or their scores, to an .h5ad file, and say where in it they are: codes in
    obsm["X_vaekit"], scores in columns of obs that begin with vaekit_.

    It has all that the .h5ad file `source` has, whose cells these are, else what is known beside them, in obs.
    """
    from anndata import AnnData, read_h5ad

    beside = {**rows.before, **rows.after}
    place = next((name for name in ("cell", "row", "file") if name in rows.before), None)
    names = np.arange(len(rows.array)) if place is None else beside.pop(place)
    if source is None:
        obs = pd.DataFrame(beside, index=pd.Index([str(each) for each in names], dtype=object))
        adata = AnnData(obs=obs)
    else:
        adata = read_h5ad(source)
    if SCORE in rows.columns:
        columns = {_of_score(name): each for name, each in zip(rows.columns, rows.array.T, strict=True)}
        for name, each in columns.items():
            adata.obs[name] = each
        said = f"obs {', '.join(columns)}"
    else:
        adata.obsm[CODES] = rows.array
        said = f"obsm {CODES}, {' x '.join(map(str, rows.array.shape))}"
    adata.obs, adata.var = _writable(adata.obs), _writable(adata.var)
    write_atomic(path, adata.write_h5ad)
    return said


def _writable(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts are categories that are Python's objects: anndata does not write pandas' own texts."""
    found = frame.set_axis(pd.Index(frame.index.astype(str).tolist(), dtype=object, name=frame.index.name), axis=0)
    for name, each in frame.items():
        texts = isinstance(each.dtype, pd.StringDtype) or pd.api.types.infer_dtype(each) == "string"
        cells = each.astype("category") if texts else each
        if isinstance(cells.dtype, pd.CategoricalDtype) and not pd.api.types.is_numeric_dtype(cells.cat.categories):
            kinds = pd.Index(cells.cat.categories.tolist(), dtype=object)
            found[name] = pd.Categorical.from_codes(cells.cat.codes.to_numpy(), kinds, ordered=cells.cat.ordered)
    return found


def _of_score(name: str) -> str:
    return LOG_P if name == SCORE else f"vaekit_{name}"


def _checked(adata: Any) -> None:
    if not is_annotated(adata):
        raise wrong_kind("adata", adata, "an AnnData object")


def _data(run: Run, adata: Any) -> TensorSplit:
    return adata if isinstance(adata, TensorSplit) else run.data(adata)


def _check_exposed(run: Run) -> None:
    if not run.schema.exposed:
        raise ValueError(f"{run.path} has no exposure; train with data.exposure=total, as the recipe scvi does")


def _rates(run: Run, batch: Batch, z: torch.Tensor, library_size: float, category: str | None) -> torch.Tensor:
    """The rates of all genes at codes z (B, D) of cells, (B, G)."""
    y = _as_of(run, batch.y, library_size, category)
    given = run.model.network_condition(checked_condition(run.model, y, len(batch)))
    return _rate(run.model.generated(z, given, False))


def _compared(
    run: Run,
    data: TensorSplit,
    cells: Sequence[np.ndarray],
    how: Comparison,
    samples: int,
    batch_correction: bool,
    seed: int,
) -> pd.DataFrame:
    """The table of `differential_expression` of two groups, the `cells` of each by their rows."""
    rng, genes = np.random.default_rng(seed), list(run.schema.columns)
    batches = next((each.categories for each in run.schema.covariates if each.categories), ())
    if batch_correction and not batches:
        raise ValueError(f"batch_correction is asked for, but {run.path} has no categorical covariate")
    # As many pairs of each batch as they come, the same in both groups.
    kinds = np.sort(rng.integers(0, len(batches), samples)) if batch_correction else np.zeros(samples, np.int64)
    rates, means, present = [], [], []
    with seeded(seed), evaluating(run.model):
        for rows in cells:
            parts = []
            for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
                for block in _blocks(data, rng.choice(rows, count)):
                    batch = data.rows(block)
                    z = run.model.encode(batch, samples=1)[0]
                    found = _rates(run, batch, z, 1.0, batches[kind] if batch_correction else None)
                    parts.append(found.float().cpu().numpy())
            rates.append(np.concatenate(parts))
            total = torch.zeros(2, len(genes), dtype=torch.float64)
            for block in _blocks(data, rows):
                counts = data.rows(block).x
                total += torch.stack([counts.sum(0, dtype=total.dtype), (counts > 0).sum(0)]).cpu()
            means.append((total[0] / len(rows)).numpy())
            present.append((total[1] / len(rows)).numpy())
    table = how.table(rates, means)
    for i in (0, 1):
        table[f"raw_mean{i + 1}"], table[f"non_zeros_proportion{i + 1}"] = means[i], present[i]
    return table.set_axis(pd.Index(genes, dtype=object)).sort_values("bayes_factor", ascending=False, kind="stable")


def _blocks(data: TensorSplit, rows: np.ndarray) -> list[np.ndarray]:
    """Numbers of rows, as many at a time as the data are read in blocks."""
    return np.array_split(rows, math.ceil(len(rows) / data.block_rows))


def _rate(px: Any) -> torch.Tensor:
    """The means of counts without the zeros that are added."""
    elements = getattr(px, "base_dist", px)
    return elements.base.mean if isinstance(elements, ZeroInflated) else px.mean


def _as_of(run: Run, y: torch.Tensor | None, library_size: float, category: str | None) -> torch.Tensor:
    """The covariates of cells with another exposure, and as of another category where one is named."""
    if y is None:
        raise ValueError("the cells have no exposure")
    y = y.clone()
    y[:, -1] = library_size
    if category is None:
        return y
    start = 0
    for each in run.schema.covariates:
        if each.categories:
            if str(category) not in each.categories:
                raise ValueError(unknown(f"{each.name} of transform_batch", category, each.categories))
            y[:, start : start + each.width] = 0.0
            y[:, start + each.categories.index(str(category))] = 1.0
            return y
        start += each.width
    raise ValueError(f"transform_batch is {shown(category)}, but {run.path} has no categorical covariate")
