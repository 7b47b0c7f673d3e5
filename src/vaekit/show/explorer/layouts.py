"""Codes of many dimensions laid out in the plane, once: what was laid out is kept in the run's folder."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import RunError, unknown
from ...settings import option

if TYPE_CHECKING:
    import numpy as np

LAYOUTS = {"t-sne": "t-SNE", "umap": "UMAP"}
"""What lays codes out, and what the page calls it."""
NEIGHBOURS = 15
"""Of UMAP, as its authors have it."""


def check_layout(name: str) -> None:
    """Raise `ValueError`, one line, for a layout that there is not, or whose library is not there."""
    if name not in LAYOUTS:
        raise ValueError(unknown("layout", name, LAYOUTS))
    if name == "umap":
        try:
            import umap  # noqa: F401
        except ImportError:
            given = option("layout", "umap")
            raise ValueError(
                f"{given} needs umap-learn: pip install 'vaekit[umap]'; t-sne, the default, needs nothing"
            ) from None


def laid_out(codes: np.ndarray, name: str, seed: int, run: Path) -> np.ndarray:
    """Codes (N, D) in the plane, (N, 2); kept in the folder of a `run`, where it can be written to."""
    import torch

    from ...runs.folder import LAID_OUT, subfolder
    from ...training.weights import load_tensors, save_tensors

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
    import numpy as np

    from ...system.progress import working
    from .. import plots

    if name == "t-sne" or len(codes) < 5:
        return plots.embed(codes, seed=seed).astype(np.float32)
    import umap

    with working(f"UMAP of {len(codes):,} codes"):
        made = umap.UMAP(n_neighbors=min(NEIGHBOURS, len(codes) - 1), random_state=seed, n_jobs=1)
        return made.fit_transform(codes).astype(np.float32)
