"""The tasks that gpu.py trains: every recipe on made-up data of its kind, and convolutional networks on made-up images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from vaekit import train
from vaekit.runs.preparation import completed, make_ready
from vaekit.runs.run import load_data
from vaekit.runs.training import fingerprint_of
from vaekit.spec.building import schema_of
from vaekit.spec.parts import PARTS
from vaekit.spec.recipes import RECIPES, recipe
from vaekit.spec.targets import resolve
from vaekit.training.task import Task

TABLES = ("table", "miwae", "not-miwae")
"""Recipes of tables; all others are of images."""
MANY = 1_000_000
"""Epochs: so many that a step is worth recording, few of which are taken."""


def pictures(path: Path, rows: int, shape: tuple[int, ...] = (1, 28, 28)) -> Path:
    """A file of so many made-up grey or coloured pictures: blots of ten kinds, with their labels."""
    if not path.exists():
        rng, (channels, height, width) = np.random.default_rng(0), shape
        y = rng.integers(0, 10, rows)
        high, wide = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
        centres = rng.random((10, 2))[y] + 0.05 * rng.standard_normal((rows, 2))
        x = np.empty((rows, *shape), np.uint8)
        for start in range(0, rows, 1000):
            at = centres[start : start + 1000, :, None, None]
            blots = np.exp(-20 * ((high - at[:, 0]) ** 2 + (wide - at[:, 1]) ** 2))
            noisy = 255 * blots[:, None] + rng.normal(0, 8, (len(at), channels, height, width))
            x[start : start + 1000] = noisy.clip(0, 255)
        np.savez(path, x=x, y=y)
    return path


def table(path: Path, rows: int) -> Path:
    """A file of a made-up table: numbers, counts, categories, and holes."""
    if not path.exists():
        rng = np.random.default_rng(0)
        z = rng.standard_normal((rows, 2))
        lines = ["a,b,c,d,e"]
        for one, other in z:
            cells = [
                f"{one:.4f}",
                f"{np.exp(other):.4f}",
                str(rng.poisson(np.exp(one / 2))),
                "red" if other > 0 else "blue",
            ]
            cells.append(f"{one * other:.4f}")
            lines.append(",".join("" if rng.random() < 0.1 else cell for cell in cells))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@cache
def of_recipe(name: str, folder: Path, rows: int, sets: tuple[str, ...] = (), device: str = "auto") -> str:
    """Nothing is cached but that a run whose codes another takes is trained once."""
    raise NotImplementedError


def task(
    name: str, folder: Path, rows: int, sets: Sequence[str] = (), device: str = "auto", data: Path | None = None
) -> Task:
    """What a recipe trains, on made-up data of so many rows or on other `data`."""
    if data is None:
        data = (
            table(folder / f"table-{rows}.csv", rows)
            if name in TABLES
            else pictures(folder / f"mnist-{rows}.npz", rows)
        )
    sets = [f"training.device='{device}'", *sets]
    codes = recipe(name).get("data", {}).get("codes") if name in RECIPES else None
    if codes:
        first = folder / f"{codes}-{rows}"
        if not first.exists():
            train(codes, first, data=data, sets=["training.epochs=1", f"training.device='{device}'"])
        sets.append(f"data.codes='{first}'")
    spec = resolve(name, sets, PARTS, None if codes else str(data))
    dataset = load_data(spec)
    schema = schema_of(dataset, spec.data.preprocessing, fingerprint_of(spec, dataset, PARTS))
    return make_ready(completed(spec, schema, dataset, PARTS, True), schema, dataset, PARTS).task
