"""Cells: the recipe `scvi` beside scvi-tools, on the same cells, the same rows, by the same definitions.

    python benchmarks/cells.py --peers PYTHON --work FOLDER --report benchmarks/cells.md [--seeds 3] [--samples 500]

PYTHON is that of an environment with scvi-tools and scanpy (`pip install scvi-tools scanpy`); what lies in FOLDER
already is not made again. The cells are scanpy's `pbmc68k_reduced`, 700 of 765 genes, whose counts are recovered (see
`peers/scvi_cells.py`); there is one batch. A tenth is held out for early stopping and a tenth for the scores, by
vaekit's split of seed 0. Both are zero-inflated negative binomials, given each cell's total: one hidden layer of 128
with batch normalisation, ten latents, a dispersion for each gene, 400 epochs at most and a patience of 45. ELBO (KL in
closed form) and log p (importance weights) are of a cell's counts given its total, nats per cell. Codes are judged by
the cell types of `bulk_labels`: accuracy of 15 neighbours, those of training cells for the cells held out, and the
silhouette of all.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

import anndata
import numpy as np
from machine import where
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier

import vaekit

PEER = Path(__file__).parent / "peers" / "scvi_cells.py"
SCORES = ("ELBO", "log p", "neighbours", "silhouette", "epochs", "CPU seconds")


def split_of(cells: Path) -> dict[str, np.ndarray]:
    """The rows of each split, as vaekit holds them out."""
    names = {name: i for i, name in enumerate(anndata.read_h5ad(cells).obs_names)}
    dataset = vaekit.load_dataset(cells, exposure="total")
    return {name: np.array([names[each] for each in rows.origin]) for name, rows in dataset.splits.items()}


def ours(cells: Path, out: Path, seed: int, samples: int) -> None:
    began = time.process_time()
    run = vaekit.train("scvi", out.with_suffix(""), data=cells, sets=[f"training.seed={seed}"], overwrite=True)
    seconds = time.process_time() - began
    found = []
    run.evaluate("test", samples, on_scores=found.append)
    elbo, log_p = (np.concatenate([getattr(each, name).numpy() for each in found]) for name in ("elbo", "log_prob"))
    epochs = max(each.epoch for each in run.history())
    np.savez(out, elbo=elbo, log_p=log_p, codes=run.encode(cells)[0], seconds=seconds, epochs=epochs)


def judged(cells: Path, split: dict[str, np.ndarray], out: Path) -> list[float]:
    """The scores of one run, in the order of `SCORES`."""
    found, kinds = np.load(out), anndata.read_h5ad(cells).obs["bulk_labels"].to_numpy(str)
    neighbours = KNeighborsClassifier(15).fit(found["codes"][split["train"]], kinds[split["train"]])
    right = neighbours.score(found["codes"][split["test"]], kinds[split["test"]])
    apart = silhouette_score(found["codes"], kinds)
    return [found["elbo"].mean(), found["log_p"].mean(), right, apart, float(found["epochs"]), float(found["seconds"])]


def row(name: str, every: list[list[float]]) -> str:
    """Mean ± standard error over the seeds, of one its value."""
    values, digits = np.array(every), (2, 2, 3, 3, 0, 0)
    cells = [f"{mean:.{d}f}" for mean, d in zip(values.mean(0), digits, strict=True)]
    if len(values) > 1:
        errors = values.std(0, ddof=1) / len(values) ** 0.5
        cells = [f"{cell} ± {error:.{d}f}" for cell, error, d in zip(cells, errors, digits, strict=True)]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=500)
    arguments = parser.parse_args()
    work, cells, split_file = arguments.work, arguments.work / "counts.h5ad", arguments.work / "split.npz"
    work.mkdir(parents=True, exist_ok=True)
    if not cells.exists():
        subprocess.run([arguments.peers, PEER, "cells", cells], check=True)
    split = split_of(cells)
    np.savez(split_file, **split)  # type: ignore[arg-type]
    found: dict[str, list[list[float]]] = {"vaekit, `scvi`": [], "scvi-tools, SCVI": []}
    for seed in range(arguments.seeds):
        mine, theirs = work / f"vaekit-{seed}.npz", work / f"scvi-{seed}.npz"
        if not mine.exists():
            ours(cells, mine, seed, arguments.samples)
        if not theirs.exists():
            given = [split_file, work / "scvi", "--seeds", str(seed), "--samples", str(arguments.samples), "--early"]
            subprocess.run([arguments.peers, PEER, "train", cells, *given], check=True)
        for name, out in zip(found, (mine, theirs), strict=True):
            found[name].append(judged(cells, split, out))
    versions = (
        "import scvi, scanpy, torch; print(f'scvi-tools {scvi.__version__}, scanpy {scanpy.__version__}', end='')"
    )
    peers = subprocess.run(
        [arguments.peers, "-W", "ignore", "-c", versions], capture_output=True, text=True, check=True
    )
    table = [f"| of | {' | '.join(SCORES)} |", "|---" * (1 + len(SCORES)) + "|"]
    table += [row(name, each) for name, each in found.items()]
    text = "\n".join([f"{where()} {peers.stdout}, {arguments.seeds} seeds.", "", *table, ""])
    print(text)
    if arguments.report:
        arguments.report.write_text(f"# Cells\n\n{__doc__}\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
