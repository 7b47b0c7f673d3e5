"""scvi-tools on the cells of `benchmarks/cells.py`, in an environment of its own (scvi-tools, scanpy).

    python benchmarks/peers/scvi_cells.py cells FILE.h5ad
    python benchmarks/peers/scvi_cells.py train FILE.h5ad SPLIT.npz OUT --seeds 0 1 2 --likelihood zinb --samples 500

The first writes scanpy's `pbmc68k_reduced` as counts. Its `.raw` has log(1 + 10,000 x / n_counts) of each count x, and
n_counts of all genes of a cell is in obs: x is what comes of it, a whole number up to rounding, which is checked. The
second trains SCVI on the rows "train" of a split, "valid" held out for early stopping, and writes of the rows "test"
the ELBO and the importance-weighted log p(x given the library size) of each cell, of all cells the codes.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings

import numpy as np
import torch


def write_cells(path: str) -> None:
    import anndata
    import scanpy
    from scipy import sparse

    cells = scanpy.datasets.pbmc68k_reduced()
    logs = cells.raw.X.tocsr()
    total = cells.obs["n_counts"].to_numpy(np.float64)
    values = np.expm1(logs.data.astype(np.float64)) * np.repeat(total, np.diff(logs.indptr)) / 1e4
    counts = np.rint(values)
    off = np.abs(values - counts)
    relative = (off / counts).max()
    print(f"counts recovered: off a whole number by {off.max():.3f} at most, {relative:.2%} of the count")
    if off.max() > 0.25 or counts.min() < 1:
        raise SystemExit("raw.X is not log(1 + 10,000 x / n_counts): counts can't be recovered")
    x = sparse.csr_matrix((counts.astype(np.float32), logs.indices, logs.indptr), shape=logs.shape)
    anndata.AnnData(x, obs=cells.obs[["bulk_labels"]].astype(str), var=cells.raw.var[[]]).write_h5ad(path)


def train(arguments: argparse.Namespace) -> None:
    import anndata
    import scvi

    cells, split = anndata.read_h5ad(arguments.file), np.load(arguments.split)
    scvi.settings.verbosity = 40
    scvi.model.SCVI.setup_anndata(cells)
    x = torch.from_numpy(cells.X[split["test"]].toarray())
    for seed in arguments.seeds:
        scvi.settings.seed = seed
        model = scvi.model.SCVI(cells, gene_likelihood=arguments.likelihood)
        began = time.process_time()
        model.train(
            accelerator="cpu",
            enable_progress_bar=False,
            logger=False,
            datasplitter_kwargs={"external_indexing": [split["train"], split["valid"], split["test"]]},
            early_stopping=arguments.early,
        )
        seconds = time.process_time() - began
        assert model.trainer is not None
        torch.manual_seed(0)
        elbo, log_p = scores(model.module.eval(), x, arguments.samples)
        codes, epochs = model.get_latent_representation(cells), model.trainer.current_epoch
        out = f"{arguments.out}-{seed}.npz"
        np.savez(out, elbo=elbo, log_p=log_p, codes=codes, seconds=seconds, epochs=epochs)
        print(f"{out}: ELBO {elbo.mean():.2f}, log p {log_p.mean():.2f}, {epochs} epochs, {seconds:.0f} s", flush=True)


@torch.no_grad()
def scores(module: torch.nn.Module, x: torch.Tensor, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """ELBO, with the KL in closed form, and log p of cells x (N, D), by the model's own distributions of z and x."""
    batch = torch.zeros(len(x), 1)
    found = module.inference(x, batch)
    q, library = found["qz"], found["library"]
    weights, reconstruction = [], []
    for _ in range(samples):
        z = q.sample()
        made = module.generative(z, library, batch)
        px = made["px"].log_prob(x).double().sum(-1)
        pz = made["pz"].log_prob(z).double().sum(-1)
        reconstruction.append(px)
        weights.append(px + pz - q.log_prob(z).double().sum(-1))
    kl = torch.distributions.kl_divergence(q, made["pz"]).double().sum(-1)
    elbo = torch.stack(reconstruction).mean(0) - kl
    return elbo.numpy(), (torch.stack(weights).logsumexp(0) - math.log(samples)).numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["cells", "train"])
    parser.add_argument("file")
    parser.add_argument("split", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--likelihood", default="zinb")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--early", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    write_cells(arguments.file) if arguments.what == "cells" else train(arguments)


if __name__ == "__main__":
    main()
