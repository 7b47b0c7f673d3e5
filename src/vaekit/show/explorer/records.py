"""What a page is told of a run before it asks: records whose fields are called as the page reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PageColumn:
    """A column of a table as the page shows it: how its cells are written, and between which ends they lie."""

    name: str
    kind: str
    levels: tuple[str, ...] | None
    low: float
    high: float
    decimals: int | None
    unit: str | None
    date: str | None


@dataclass(frozen=True)
class Data:
    """What the data of a run are."""

    kind: str
    shape: tuple[int, ...]
    range: tuple[float, float] | None
    columns: list[PageColumn] | None
    classes: tuple[str, ...] | None
    conditional: bool
    covariates: int
    """How many numbers y is of a datum, where it is no class; else 0."""
    step: float | None = None
    """What a pixel is a whole multiple of, from the lower end of the range on; None of other numbers."""


@dataclass(frozen=True)
class PageLatent:
    """One latent: its place among those drawn, and how the codes of the data lie in each of its dimensions."""

    name: str
    size: int
    shape: tuple[int, ...]
    discrete: bool
    groups: int | None
    """Of one-hots how many stand side by side, None of other latents."""
    step: int
    """Its place in the order of being drawn from the model."""
    decoded: bool
    """Whether the decoder sees it; another acts by those drawn after it alone."""
    kl: list[float] | None
    mean: list[float]
    sd: list[float]
    active: list[bool]
    space: str | None = None
    """Where all its codes lie: "sphere", of length 1, "simplex", shares that add up to 1; None of any numbers."""


@dataclass(frozen=True)
class Projection:
    """Points in the plane, NaN of those that are not laid out."""

    name: str
    axes: tuple[str, str]
    xy: np.ndarray


@dataclass(frozen=True)
class Colour:
    """What points may be coloured by: categories (int32, -1 for none) or numbers (float32, NaN for none); None stands
    for the cells of a `column` of the points' own data.
    """

    name: str
    kind: str
    values: np.ndarray | None
    names: tuple[str, ...] | None = None
    column: int | None = None


@dataclass(frozen=True)
class Points:
    """Some of the data, and their codes."""

    n: int
    names: list[str] | None
    x: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    y: np.ndarray | None
    projections: list[Projection]
    colours: list[Colour]


@dataclass(frozen=True)
class Reference:
    """What is usual: the quantiles 0, 0.001, …, 1 of the bounds of training data, nats, none of a model that can't be
    scored; and the nats that each column of a table takes of them on average.
    """

    elbo: list[float]
    columns: list[float] | None = None


@dataclass(frozen=True)
class Components:
    """Those of a mixture prior: means as whole codes (K, D), and weights."""

    mean: list[list[float]]
    weight: list[float]


@dataclass(frozen=True)
class Scene:
    """All that the page shows before it is asked."""

    format: int
    title: str
    about: list[str]
    data: Data
    latents: list[PageLatent]
    points: Points
    reference: Reference
    components: Components | None
    can: tuple[str, ...]
    programs: dict[str, object] | None = None
    weights: str | None = None
    """What constants of the programs are read from, as base64."""
