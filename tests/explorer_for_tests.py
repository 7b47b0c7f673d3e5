"""Runs that were never trained, of models of all kinds, for what a page shows of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from vaekit import load_dataset
from vaekit.runs.preparation import completed
from vaekit.runs.run import Run
from vaekit.spec.building import build_model, schema_of, with_likelihood
from vaekit.spec.parts import PARTS
from vaekit.spec.targets import resolve

DIGITS = (
    "model.encoder={name='mlp', hidden=[16]}",
    "model.decoder={name='mlp', hidden=[16]}",
    "model.latents.z.size=3",
)
TWO = (
    *DIGITS,
    "model.latents.z.prior=diagonal-normal",
    "model.latents.z2.size=2",
    "model.latents.z2.encoder={name='mlp', hidden=[8]}",
    "model.latents.z2.generator={name='mlp', hidden=[8]}",
)
CLASSIFIED = (
    *DIGITS,
    "model.classifier={name='mlp', hidden=[8]}",
    "model.auxiliary={size=2, encoder={name='mlp', hidden=[8]}, generator={name='mlp', hidden=[8]}}",
    "objective.name=semi-supervised",
)
MODELS: dict[str, tuple[str, ...]] = {
    "mlp": DIGITS,
    "conv": (
        "model.encoder={name='conv', channels=[4, 8], dense=8}",
        "model.decoder={name='conv', channels=[4, 8], dense=8}",
    ),
    "resnet": (
        "model.encoder={name='resnet', channels=[4, 4], blocks=1}",
        "model.decoder={name='resnet', channels=[4, 4], blocks=1}",
        "model.latents.z.size=2",
        "model.latents.z.maps=true",
    ),
    "full-rank": (*DIGITS, "model.latents.z.posterior=full-rank-normal"),
    "conditional": (*DIGITS, "model.condition=true"),
    "mixture": (*DIGITS, "model.latents.z.prior={name='mixture', components=4}"),
    "vamp": (*DIGITS, "model.latents.z.prior={name='vamp', components=4}"),
    "flow": (*DIGITS, "model.latents.z.posterior={name='flow', transforms=1, hidden=[8]}"),
    "two": (
        *DIGITS,
        "model.latents.c.size=4",
        "model.latents.c.posterior=relaxed-categorical",
        "model.latents.c.prior=uniform-categorical",
    ),
    "hierarchical": (*TWO, "model.structure=hierarchical"),
    "ladder": (*TWO, "model.structure=ladder"),
    "top-down": (
        "model.structure={name='top-down', groups=[1, 1]}",
        "model.encoder={name='pyramid', channels=[4, 4], blocks=[1, 1]}",
        "model.decoder={name='resnet', channels=[4], blocks=0}",
        "model.latents.z.size=2",
        "model.latents.z.maps=true",
        "model.latents.z.prior=diagonal-normal",
    ),
    "tokens": (
        *DIGITS,
        "model.latents.z.size=6",
        "model.latents.z.posterior={name='vq', codes=4, dim=2}",
        "model.latents.z.prior=uniform-tokens",
    ),
    "classified": CLASSIFIED,
}
"""Models of digits."""
TABLES = {"table": None, "little": 3, "covariates": None}
"""Models of so many columns of `frame`, None for all; of one its `COVARIATES` are given."""
COVARIATES = {"yes": "categorical", "count": "real"}
KINDS = (*MODELS, "table")


HOSTILE = "</script><img src=x onerror=\"alert('1')\">"
"""A name that a page must not take for itself."""


@cache
def run_of(kind: str) -> Run:
    """A run of a model of that kind, its weights as they are before a training."""
    table = kind in TABLES
    given = COVARIATES if kind == "covariates" else None
    sets = ("model.latents.z.size=3", *["model.condition=true"] * bool(given)) if table else MODELS[kind]
    spec = resolve("table" if table else "digits", [*sets, "training.epochs=1"], PARTS)
    own = {"validation": 8, "test": 16, "covariates": given}
    dataset = load_dataset(frame().iloc[:, : TABLES[kind]], **own) if table else load_dataset("digits")
    schema = schema_of(dataset, spec.data.preprocessing)
    spec = completed(with_likelihood(spec, schema.domain, PARTS), schema, dataset, PARTS, capped=True)
    model = build_model(spec.model, schema, 0, PARTS).eval()
    return Run(Path(f"no folder of {kind}"), spec, schema, model, PARTS, loaded=dataset)


def frame() -> pd.DataFrame:
    """A table of several kinds of columns with holes, one of whose names and categories are hostile."""
    rng = np.random.default_rng(0)
    n = 80
    table = pd.DataFrame(
        {
            "size": rng.normal(3, 2, n).round(2),
            HOSTILE: rng.choice(["a", "b", HOSTILE], n),
            "yes": rng.choice(["no", "yes"], n),
            "count": rng.poisson(3, n),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D"),
            "second": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 86400, n), "s"),
        }
    )
    table.loc[rng.random(n) < 0.2, "size"] = np.nan
    table.loc[rng.random(n) < 0.2, HOSTILE] = None
    return table
