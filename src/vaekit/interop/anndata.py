"""Cells in AnnData objects, asked about under the names that scvi-tools has (`pip install 'vaekit[anndata]'`).

`vaekit.train("scvi", data=adata, sets=setup_anndata(adata, …))` trains on an object in memory, or on an `.h5ad` file by
its path; a run's own methods take either as new data. Genes are found by their names, whatever their order; those
that lack are refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data.annotated import annotated
from ..data.exposure import TOTAL
from ..data.frames import is_annotated
from ..data.headers import Reading
from ..data.tensors import TensorSplit
from ..distributions.counts import ZeroInflated
from ..errors import shown, unknown, wrong_kind
from ..models.given import checked_condition
from ..modules import evaluating
from ..runs.rows import Rows
from ..runs.run import Run
from ..seeding import seeded
from ..settings import written
from ..system.disk import write_atomic

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
    if not run.schema.exposed:
        raise ValueError(f"{run.path} has no exposure; train with data.exposure=total, as the recipe scvi does")
    if not (isinstance(library_size, (int, float)) and library_size > 0):
        raise ValueError(f"library_size is {library_size!r}; accepted: numbers above 0")
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; accepted: 1 or more")
    names = list(run.schema.columns)
    genes = names if gene_list is None else [str(each) for each in gene_list]
    if odd := [each for each in genes if each not in names]:
        raise ValueError(unknown("gene", odd[0], names))
    place = {each: i for i, each in enumerate(names)}
    index = torch.tensor([place[each] for each in genes], device=run.model.scale.device)
    data, model, parts = _data(run, adata), run.model, []
    with seeded(seed), evaluating(model):
        for batch in data.blocks():
            y = _as_of(run, batch.y, library_size, transform_batch)
            given = model._given(checked_condition(model, y, len(batch)))
            draws = [model.encode(batch)] if n_samples == 1 else list(model.encode(batch, samples=n_samples))
            rates = torch.stack([_rate(model._generated(z, given, False)).index_select(-1, index) for z in draws])
            parts.append(rates.mean(0).cpu().numpy())
    rows = None if data.origin is None else [str(each) for each in data.origin]
    return pd.DataFrame(np.concatenate(parts), index=rows, columns=genes)


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
