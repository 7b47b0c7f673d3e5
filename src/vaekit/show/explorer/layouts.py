"""Codes of many dimensions laid out in the plane, once: what was laid out is kept in the run's folder."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from ...errors import RunError
from ...runs.folder import LAID_OUT, subfolder
from ...system.progress import working
from ...training.weights import load_tensors, save_tensors
from .. import plots

NEIGHBOURS = 15
"""Of UMAP, as its authors have it."""


def laid_out(codes: np.ndarray, name: str, seed: int, run: Path) -> np.ndarray:
    """Codes (N, D) in the plane, (N, 2); kept in the folder of a `run`, where it can be written to."""
    key = sha256(f"{name} {seed} {codes.shape}".encode() + codes.astype("<f4").tobytes()).hexdigest()[:16]
    file = run / LAID_OUT / f"{name}-{key}.safetensors"
    if file.is_file():
        with suppress(RunError, OSError, KeyError):  # else it is laid out anew
            kept = load_tensors(file)["xy"].numpy()
            if kept.shape == (len(codes), 2):
                return kept
    xy = _made(codes, name, seed)
    if run.is_dir():
        with suppress(RunError, OSError):  # a folder that is only read, or a link
            save_tensors(subfolder(run, LAID_OUT) / file.name, {"xy": torch.from_numpy(xy)})
    return xy


def _made(codes: np.ndarray, name: str, seed: int) -> np.ndarray:
    if name == "t-sne" or len(codes) < 5:
        return plots.embed(codes, seed=seed).astype(np.float32)
    import umap

    with working(f"UMAP of {len(codes):,} codes"):
        made = umap.UMAP(n_neighbors=min(NEIGHBOURS, len(codes) - 1), random_state=seed, n_jobs=1)
        return made.fit_transform(codes).astype(np.float32)
