"""The tasks that gpu.py trains: every recipe on made-up data of its kind, and networks of made-up images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaekit import train
from vaekit.runs.given import fingerprint_of
from vaekit.runs.preparation import completed, make_ready
from vaekit.runs.run import load_data
from vaekit.spec.building import schema_of
from vaekit.spec.parts import PARTS
from vaekit.spec.recipes import recipe
from vaekit.spec.targets import resolve
from vaekit.training.task import Task

TABLES = ("table", "miwae", "not-miwae")
"""Recipes of tables; all others are of images."""


def pictures(path: Path, rows: int, shape: tuple[int, ...] = (1, 28, 28)) -> Path:
    """A file of so many made-up pictures (C, H, W): blots in ten places, with their labels."""
    if path.exists():
        return path
    rng, (_, height, width) = np.random.default_rng(0), shape
    y = np.arange(rows) % 10
    high, wide = np.arange(height)[:, None] / height, np.arange(width) / width
    centres = rng.random((10, 2))[y] + 0.05 * rng.standard_normal((rows, 2))
    x = np.empty((rows, *shape), np.uint8)
    for i, (row, column) in enumerate(centres):
        blot = 255 * np.exp(-20 * ((high - row) ** 2 + (wide - column) ** 2))
        x[i] = (blot + 8 * rng.random(shape)).clip(0, 255)
    np.savez(path, x=x, y=y)
    return path


def table(path: Path, rows: int) -> Path:
    """A file of a made-up table: real and positive numbers, counts, categories, and holes."""
    rng = np.random.default_rng(0)
    lines = ["a,b,c,d,e"]
    for one, other in rng.standard_normal((rows, 2)):
        numbers = [f"{one:.4f}", f"{np.exp(other):.4f}", f"{one * other:.4f}", str(rng.poisson(np.exp(one / 2)))]
        cells = [*numbers, "red" if other > 0 else "blue"]
        lines.append(",".join("" if rng.random() < 0.1 else cell for cell in cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def of_recipe(name: str, folder: Path, rows: int, sets: Sequence[str] = (), device: str = "auto") -> Task:
    """What a recipe trains, on made-up data of so many rows."""
    data = table(folder / "table.csv", rows) if name in TABLES else pictures(folder / f"grey-{rows}.npz", rows)
    sets, given = [f"training.device={device}", *sets], recipe(name).get("data", {})
    if given.get("labels"):
        sets.append("training.labelled=10")
    if codes := given.get("codes"):
        first = folder / str(codes)
        if not first.exists():
            train(codes, first, data=data, sets=["training.epochs=1", f"training.device={device}"])
        return of_spec(name, [*sets, f"data.codes={first}"], None)
    return of_spec(name, sets, data)


def of_network(network: str, folder: Path, side: int, rows: int, sets: Sequence[str], *, small: bool = False) -> Task:
    """A residual network, or a very deep model of a pyramid, of coloured pictures of so many pixels a side."""
    data = pictures(folder / f"colour-{side}-{rows}.npz", rows, (3, side, side))
    widths = [4, 8] if small else [64, 128, 256] if side < 100 else [32, 64, 128, 256]
    blocks = 1 if small else 2
    sets = [*sets, "data.binarize=grey", "model.likelihood=bernoulli"]
    if network == "resnet":
        part = f"{{name='resnet', channels={widths}, blocks={blocks}}}"
        return of_spec("grey-mnist", [*sets, f"model.encoder={part}", f"model.decoder={part}"], data)
    deep = [
        f"model.structure={{name='top-down', groups={[2] * len(widths)}}}",
        f"model.encoder={{name='pyramid', channels={widths}, blocks={[blocks] * len(widths)}}}",
        f"model.decoder={{name='resnet', channels=[{widths[0]}], blocks=0}}",
        "model.latents.z={size=8, maps=true, prior='diagonal-normal'}",
    ]
    return of_spec("grey-mnist", [*sets, *deep], data)


def of_spec(target: str, sets: Sequence[str], data: Path | None) -> Task:
    """What a spec trains on `data`, or on those that it names."""
    spec = resolve(target, sets, PARTS, None if data is None else str(data))
    dataset = load_data(spec)
    told = fingerprint_of(spec, dataset, PARTS)
    schema = schema_of(dataset, spec.data.preprocessing, told, masked=spec.data.mask > 0)
    return make_ready(completed(spec, schema, dataset, PARTS, True), schema, dataset, PARTS).task
