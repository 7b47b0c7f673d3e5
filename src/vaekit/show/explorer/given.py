"""What the page sends, lists of numbers, as a model takes them; what is no such is refused in one line."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...data.batch import Batch
from ...models.given import checked, checked_codes, checked_condition
from ..pictures.base import is_image
from ..pictures.columns import is_table

if TYPE_CHECKING:
    from ...runs.run import Run

MOST = 1000
"""Data, or draws, that one question may be about."""

Rows = Sequence[Sequence[float | None]]
Condition = float | Sequence[float] | Sequence[Sequence[float]] | None
"""The class of each datum, or its covariates; one for all."""


def batch_of(run: Run, x: Rows, y: Condition) -> Batch:
    """Data x (B, E) as the model takes them, what is drawn by hand made what its pixels can be; as on the map without y
    where the model needs none.
    """
    model = run.model
    given = _numbers("x", x, prod(model.event_shape), missing=True)
    if not is_table(run) and is_image(model.event_shape):
        given = _pixels(run, given)
    condition = None if y is None else _labels(run, y, len(given))
    return model.asked(checked(model, torch.from_numpy(given).view(-1, *model.event_shape), condition))


def codes_given(run: Run, z: Rows) -> Tensor:
    """Codes z (B, D)."""
    return checked_codes(run.model, _numbers("z", z, run.model.latent_size))


def _pixels(run: Run, x: np.ndarray) -> np.ndarray:
    """The nearest values of the domain; of an interval such that lie within it, by half the step of a byte."""
    domain = run.schema.domain
    low, high = domain.limits or (-np.inf, np.inf)
    if domain.kind == "unit":
        step = domain.scale / 512  # type: ignore[operator]
        low, high = low + step, high - step
    x = x.clip(low, high)
    if domain.kind in ("count", "categorical"):
        x = x.clip(0, (domain.levels or np.inf) - 1)
    return x if domain.kind in ("unit", "real", "positive", "nonnegative") or domain.relaxed else np.rint(x)


def condition_of(run: Run, y: Condition, n: int) -> Tensor | None:
    """What is known beside n data, None of a model that is told nothing."""
    return checked_condition(run.model, None if y is None else _labels(run, y, n), n)


def _labels(run: Run, y: Condition, n: int) -> Tensor:
    """Classes (n,) of whole numbers, or covariates (n, C); one class, or one row (C,) or (1, C), stands for all."""
    try:
        given = np.atleast_1d(np.asarray(y, np.float64))
    except (TypeError, ValueError):
        raise ValueError("y has something that is no number, or rows of several lengths") from None
    if given.ndim == 1 and run.schema.classes:
        if not (np.isfinite(given) & (given == np.floor(given))).all():
            raise ValueError(f"y has values that are no classes; accepted: 0..{len(run.schema.classes) - 1}")
        given = given.astype(np.int64)
    elif given.ndim == 1:
        given = given[None]
    if given.ndim not in (1, 2) or len(given) not in (1, n):
        raise ValueError(f"y has shape {given.shape}; accepted: {n} classes or rows of covariates, or one for all")
    return torch.from_numpy(np.broadcast_to(given, (n, *given.shape[1:])).copy())


def _numbers(name: str, rows: object, size: int, missing: bool = False) -> np.ndarray:
    """Lists of numbers (B, size), null where `missing` cells may be; `ValueError`, one line, for all else."""
    accepted = f"1 to {MOST:,} lists of {size:,} numbers{', null where missing' if missing else ''}"
    if not isinstance(rows, (list, tuple, np.ndarray)) or not 1 <= len(rows) <= MOST:
        raise ValueError(f"{name} is no list of data; accepted: {accepted}")
    try:
        x = np.array(rows, np.float64)  # None becomes NaN
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} has something that is no number, or rows of several lengths: {accepted}") from None
    if x.ndim != 2 or x.shape[1] != size:
        raise ValueError(f"{name} has shape {x.shape}; accepted: {accepted}")
    if np.isinf(x).any() or (not missing and np.isnan(x).any()):
        raise ValueError(f"{name} has values that are no finite numbers; accepted: {accepted}")
    return x


def check_number(name: str, value: object, least: int, most: int) -> None:
    """`ValueError` for what is no whole number between two."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}; accepted: a whole number from {least} to {most:,}")
