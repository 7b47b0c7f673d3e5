"""Random specs over all named parts, on small data of every kind, and what has to hold of each: for a test of a few of
them, and for benchmarks/fuzz.py of many.

A new part, and a new option of one, is drawn as its type says; what makes a network small is `SIZES`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from vaekit.networks.base import ACTIVATIONS, NORMALIZATIONS
from vaekit.spec.keys import Spec
from vaekit.spec.parsing import assign_all, parse, tables
from vaekit.spec.parts import PARTS, may_be_schedule, options

N, CLASSES = 24, 4
QUANTISED = ("vq", "rvq", "fsq", "lfq")
"""The posteriors of codes."""


def parse_toml(text: str, sets: Iterable[str] = ()) -> Spec:
    """The spec that TOML says, changed by `sets`."""
    values = tables(text)
    assign_all(values, sets)
    return parse(values)


def kind_of(name: str) -> str:
    """Of what a posterior or a prior is a distribution."""
    if name in QUANTISED or name.endswith("-tokens"):
        return "codes"
    if name in ("von-mises-fisher", "uniform-sphere"):
        return "points of a sphere"
    if name == "dirichlet":
        return "shares"
    return "one-hots" if "categorical" in name else "numbers"


LOWER = {
    "codes": ["categorical-tokens", "transformer-tokens", "masked-tokens"],
    "one-hots": ["categorical"],
    "numbers": ["diagonal-normal", "mixture", "flow"],
    "points of a sphere": ["uniform-sphere"],
    "shares": ["dirichlet"],
}
"""Priors that are given another latent."""
USUAL = {
    "codes": "uniform-tokens",
    "one-hots": "uniform-categorical",
    "numbers": "standard-normal",
    "points of a sphere": "uniform-sphere",
    "shares": "dirichlet",
}

SIZES: dict[str, list[Any]] = {
    "hidden": [[], [5], [8], [6, 5]],
    "channels": [[3], [3, 4], [2, 3, 4, 3]],
    "dense": [6],
    "transforms": [1, 2],
    "components": [1, 3, 5],
    "activation": list(ACTIVATIONS),
    "normalization": [None, *NORMALIZATIONS],
    "samples": [1, 2, 5],
    "groups": [1, 1, 2],
    "sigma": [0.1, 1.0, 2.5],
    "log_variance_clamp": [[-4.0, 4.0]],
    "fit_after": [[0.4], [0.3, 0.6]],
    "free_bits": [0.1, 2.0],
    "stages": [1, 2, 3],
    "weight_decay": [0.01],
    "cycles": [1, 2],
    "codes": [3, 5],
    "dim": [None, 1],
    "levels": [[3], [5]],
    "quantizers": [1, 2],
    "width": [4],
    "layers": [1, 2],
    "heads": [1, 2],
    "rank": [1],
    "reflections": [1, 2],
    "concentration_clamp": [[0.5, 50.0]],
    "tries": [3],
}
"""What an option of that name may be."""
ALWAYS = {
    "tries",
    "hidden",
    "channels",
    "dense",
    "transforms",
    "components",
    "codes",
    "levels",
    "width",
    "layers",
    "heads",
}
"""Options whose defaults are too large."""
NEVER = {"fit_components", "betas", "eps", "nesterov", "dampening", "initial_accumulator_value", "lr_decay"}
"""Those that make sense beside others only, or none in so short a training."""
KEPT = {"beta": (0.0, 4.0), "temperature": (0.3, 1.0)}
"""From where to where a schedule of that option goes."""


@dataclass(frozen=True)
class Kind:
    """Data of one kind: what is in the file, its options, the ways of preprocessing, and whether it has classes."""

    options: Mapping[str, Any]
    arrays: Callable[[np.random.Generator], Mapping[str, np.ndarray]]
    preprocessing: tuple[Mapping[str, Any], ...] = ({},)
    image: bool = False
    labels: str = "classes"


def _one(draw: Callable[[np.random.Generator], np.ndarray]) -> Callable[[np.random.Generator], dict[str, np.ndarray]]:
    return lambda random: {"x": draw(random), "y": np.arange(N) % CLASSES}


GREY = ({}, {"binarize": "static"}, {"binarize": "stochastic"}, {"binarize": "threshold"}, {"binarize": "grey"})
NOISE = ({"dequantize": True},)
NAMES = np.array(["a", "b", "c", "d"])
SPREAD = np.array([1, 10, 1e3, 0.1, 1])
KINDS: dict[str, Kind] = {
    "binary": Kind({}, _one(lambda r: (r.random((N, 6)) < 0.4).astype(np.uint8))),
    "binary image": Kind({}, _one(lambda r: (r.random((N, 1, 5, 4)) < 0.4).astype(np.uint8)), image=True),
    "grey image": Kind({}, _one(lambda r: r.integers(0, 256, (N, 1, 7, 5)).astype(np.uint8)), GREY + NOISE, True),
    "colours": Kind(
        {},
        lambda r: {"x": r.integers(0, 256, (N, 3, 6, 6)).astype(np.uint8), "y": NAMES[np.arange(N) % CLASSES]},
        GREY + NOISE,
        True,
    ),
    "levels": Kind(
        {"levels": 5, "domain": "grey"}, _one(lambda r: r.integers(0, 5, (N, 6)).astype(np.uint8)), GREY + NOISE
    ),
    "categorical": Kind({"domain": "categorical"}, _one(lambda r: r.integers(0, 3, (N, 5)).astype(np.uint8))),
    "real": Kind({}, _one(lambda r: r.normal(size=(N, 5)) * SPREAD + np.array([0, 5, -1e3, 0, 2]))),
    "one column": Kind({}, _one(lambda r: r.normal(size=(N, 1)))),
    "real image": Kind({}, _one(lambda r: r.normal(size=(N, 2, 5, 4))), image=True),
    "covariates": Kind(
        {}, lambda r: {"x": r.normal(size=(N, 4)), "y": r.normal(size=(N, 3)).astype(np.float32)}, labels="covariates"
    ),
    "no labels": Kind({}, lambda r: {"x": r.normal(size=(N, 4))}, labels="none"),
    "unit": Kind({"domain": "unit"}, _one(lambda r: r.random((N, 5))), GREY),
    "unit image": Kind({"domain": "unit"}, _one(lambda r: r.random((N, 1, 6, 6))), GREY, True),
    "positive": Kind({"domain": "positive"}, _one(lambda r: np.exp(r.normal(size=(N, 4))))),
    "positive image": Kind({"domain": "positive"}, _one(lambda r: np.exp(r.normal(size=(N, 1, 4, 4)))), image=True),
    "count": Kind({"domain": "count"}, _one(lambda r: r.negative_binomial(1, 0.1, (N, 8)))),
    "count image": Kind({"domain": "count"}, _one(lambda r: r.poisson(3, (N, 1, 4, 5))), image=True),
    "splits": Kind(
        {},
        lambda r: {
            f"{what}_{split}": r.normal(size=(n, 4)) if what == "x" else np.arange(n) % 3
            for split, n in (("train", 16), ("valid", 4), ("test", 5))
            for what in "xy"
        },
    ),
}


def write_data(folder: Path) -> None:
    """Write the data of every kind into `folder`, the same each time."""
    for name, kind in KINDS.items():
        np.savez(folder / f"{name}.npz", **kind.arrays(np.random.default_rng(0)))


@dataclass
class Drawn:
    """A generator of specs: `random`, and what of the model has been drawn so far."""

    random: random.Random
    folder: Path
    kind: Kind = field(init=False)
    semi: bool = False

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def schedule(self, start: float, end: float) -> dict[str, Any]:
        """Any schedule that goes from `start` to `end`, or is `end`."""
        name = self.random.choice(list(PARTS.schedules))
        known = options(PARTS.schedules[name], "schedules")
        ends = {"value": end, "start": start if name != "geometric" else max(start, 1e-4), "end": end}
        return {"name": name} | {
            option: ends[option] if option in ends else self.option(option, each.type, each.default)
            for option, each in known.items()
            if option in ends or self.chance(0.3)
        }

    def option(self, name: str, kind: Any, default: Any) -> Any:
        """A value for an option of that name, type and default."""
        if may_be_schedule(kind):
            low, high = KEPT.get(name, (0.0, 10.0))
            return self.random.choice([low or 0.5, high]) if self.chance(0.4) else self.schedule(low, high)
        if name in SIZES:
            return self.random.choice(SIZES[name])
        kinds = {kind, *get_args(kind)}
        if bool in kinds:
            return self.random.choice([False, True])
        if kinds & {float, int} and isinstance(default, (int, float)):
            return type(default)(default * self.random.choice([0.5, 1, 0.9]))
        return list(default) if isinstance(default, tuple) else default

    def part(self, family: str, name: str, **given: Any) -> dict[str, Any]:
        """The part of that name with some of its options, `given` ones if it has them."""
        known = options(getattr(PARTS, family)[name], family)
        drawn = {
            option: self.option(option, each.type, each.default)
            for option, each in known.items()
            if option in ALWAYS or (option not in NEVER and self.chance(0.3))
        }
        return {"name": name} | drawn | {option: value for option, value in given.items() if option in known}

    def network(self, family: str = "encoders", image: bool = False) -> dict[str, Any]:
        """A network; convolutions mostly where there are images."""
        names = [name for name in getattr(PARTS, family) if image or name == "mlp" or self.chance(0.05)]
        return self.part(family, self.random.choice(names))

    def latent(self) -> dict[str, Any]:
        """A latent, mostly of a posterior and a prior of one kind."""
        posterior = self.random.choice(list(PARTS.posteriors))
        kind = kind_of(posterior)
        groups = self.random.choice(SIZES["groups"])
        names = [n for n in PARTS.priors if n == "vamp" or kind_of(n) == kind or self.chance(0.02)]
        if kind == "codes":
            names = [n for n in names if n != "vamp" or self.chance(0.02)]
        size = self.random.choice(
            {"one-hots": [4, 6], "points of a sphere": [2, 3], "shares": [2, 3]}.get(kind, [1, 2, 3, 5])
        )
        prior = self.random.choice(names)
        size = max(size, 2) if posterior in ("householder", "wrapped-normal") or prior == "logistic-normal" else size
        parts = {"posterior": ("posteriors", posterior), "prior": ("priors", prior)}
        return {"size": size} | {key: self.part(*part, groups=groups) for key, part in parts.items()}

    def data(self) -> dict[str, Any]:
        name = self.random.choice(list(KINDS))
        self.kind = KINDS[name]
        values = {"name": str(self.folder / f"{name}.npz"), **self.kind.options, "seed": self.random.choice([0, 1])}
        values |= self.random.choice(self.kind.preprocessing)
        if name != "splits" and self.chance(0.25):
            values |= self.random.choice([{"validation": 0}, {"test": 0}, {"validation": 0, "test": 0}])
        return values

    def domain(self, data: Mapping[str, Any]) -> str:
        """The kind of the data's domain, after their preprocessing."""
        file = Path(data["name"]).stem
        stored = data.get("domain") or {"binary": "binary", "binary image": "binary"}.get(
            file, "grey" if file in ("grey image", "colours") else "real"
        )
        return "unit" if data.get("dequantize") else "binary" if data.get("binarize") else stored

    def likelihood(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing, for the usual one, or one of those that fit; sometimes one that does not."""
        kind = self.domain(data)
        fitting = [n for n, part in PARTS.likelihoods.items() if kind in part.domains or self.chance(0.005)]  # type: ignore[attr-defined]
        return {} if self.chance(0.1) else {"likelihood": self.part("likelihoods", self.random.choice(fitting))}

    def labels(self, model: dict[str, Any], data: dict[str, Any]) -> None:
        """Nothing, a condition, or a classifier, perhaps with an auxiliary latent."""
        which = self.random.choice(["none", "none", "condition", "classifier"])
        if which == "none" or (self.kind.labels == "none" and self.chance(0.95)):
            return
        if which == "condition" or (self.kind.labels == "covariates" and self.chance(0.95)):
            model["condition"] = self.random.choice([True, "decoder"])
            return
        self.semi = True
        model["classifier"] = self.network(image=self.kind.image)
        if self.chance(0.4):
            posteriors = [name for name in PARTS.posteriors if kind_of(name) == "numbers"]
            model["auxiliary"] = {
                "size": self.random.choice([1, 3]),
                "encoder": self.network(image=self.kind.image),
                "generator": self.network(),
                "skip": self.chance(0.5),
                **{key: self.part("posteriors", self.random.choice(posteriors)) for key in ("posterior", "prior")},
            }
        if self.chance(0.7):
            data["labels"] = self.random.choice([4, 8, 12])

    def hierarchy(self, model: dict[str, Any]) -> None:
        """Nothing, or latents that are drawn one from another, mostly of priors that are given the next one."""
        if self.semi or self.chance(0.5 if len(model["latents"]) > 1 else 0.9):
            return
        model["structure"] = "hierarchical"
        *lower, last = model["latents"].values()
        for latent in lower:
            if self.chance(0.97):
                names = LOWER[kind_of(latent["posterior"]["name"])]
                latent["prior"] = self.part("priors", self.random.choice(names))
        for latent in [*lower, last][1:]:
            latent |= {key: self.network() for key in ("encoder", "generator") if self.chance(0.6)}
        if lower and last["prior"]["name"] == "vamp" and self.chance(0.9):
            last["prior"] = {"name": USUAL[kind_of(last["posterior"]["name"])]}

    def training(self) -> dict[str, Any]:
        rate = self.random.choice([1e-3, 1e-2]) if self.chance(0.6) else self.schedule(1e-2, 1e-3)
        size = self.random.choice([None, None, None, 1, 7, 7, 7, 13, 13, 16])
        if self.semi:
            size = self.random.choice([None, 8, 13])
        values: dict[str, Any] = {"epochs": 2, "seed": self.random.choice([0, 3]), "device": "cpu"}
        values |= {"learning_rate": rate, "optimizer": self.part("optimizers", self.random.choice([*PARTS.optimizers]))}
        may = {
            "batch_size": (size, 1.0),
            "labelled": (self.random.choice([1, 4]), float(self.semi)),
            "clip": (self.random.choice([0.1, 5.0]), 0.3),
            "ema": (self.random.choice([0.9, 0.999]), 0.25),
            "early_stopping": (1, 0.2),
            "mean_pass": (True, 0.1 if not self.semi else 0.02),
            "precision": ("bfloat16", 0.1),
            "checkpoint_every": (2, 0.2),
        }
        return values | {key: value for key, (value, often) in may.items() if value is not None and self.chance(often)}


def spec_of(number: int, folder: Path, seed: int = 0) -> dict[str, Any]:
    """The spec of that number, on data that `write_data` has written into `folder`."""
    drawn = Drawn(random.Random(f"{seed} {number}"), folder)
    data = drawn.data()
    model: dict[str, Any] = {"encoder": drawn.network(image=drawn.kind.image)}
    model |= {"decoder": drawn.network("decoders", drawn.kind.image), **drawn.likelihood(data)}
    model["latents"] = {name: drawn.latent() for name in "zwv"[: drawn.random.choice([1, 1, 1, 2, 2, 3])]}
    drawn.labels(model, data)
    names = list(PARTS.objectives) if drawn.semi else [n for n in PARTS.objectives if "semi" not in n]
    coded = any(kind_of(latent["posterior"]["name"]) == "codes" for latent in model["latents"].values())
    if coded and drawn.chance(0.8):  # weights of what is not drawn are refused
        names = ["elbo"]
    others = Drawn(random.Random(f"structure {seed} {number}"), folder)
    others.semi = drawn.semi
    others.hierarchy(model)
    objective = drawn.part(
        "objectives", "semi-supervised" if drawn.semi and drawn.chance(0.4) else drawn.random.choice(names)
    )
    return {"data": data, "model": model, "objective": objective, "training": drawn.training()}
