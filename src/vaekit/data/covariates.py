"""Covariates: columns of a table, or of cells, that a model is given beside its data and does not model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import MOST, several, shown, unknown
from ..settings import named
from .cells import category_text, factorized, numbers_in, refuse_fractions

COVARIATE_KINDS = ("categorical", "real")
CONSTANT = 1e-6
"""A spread below this part of the mean is lost in float32."""


@dataclass(frozen=True)
class Covariate:
    """A covariate: a number, or one of `categories`, which stands for its one-hot.

    >>> batch = Covariate("batch", ("a", "b"))
    >>> batch.numbers(pd.Series(["b", "a"]), "cells").tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    name: str
    categories: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers it is."""
        return len(self.categories) or 1

    @property
    def in_words(self) -> str:
        """What it is, in a few words."""
        return f"{self.name} ({several(self.categories, MOST) if self.categories else 'a number'})"

    @classmethod
    def of(cls, cells: pd.Series, name: str, kind: str) -> Covariate:
        """What a column of covariates is, its categories those that it has."""
        if kind == "real":
            return cls(name)
        distinct = factorized(cells)[1]
        refuse_fractions(distinct, len(cells), f"covariate {name!r}", "give it as real")
        return cls(name, tuple(sorted({category_text(each) for each in distinct})))

    def numbers(self, cells: pd.Series, what: str) -> np.ndarray:
        """Cells as numbers (N, `width`).

        Raises `ValueError`, one line, for the first that is missing, no number or none of the categories.
        """
        where = f"{what}, covariate {self.name!r},"
        if not self.categories:
            numbers = numbers_in(cells, where)
            _refuse_gaps(~np.isfinite(numbers), where)
            return numbers[:, None]
        codes, distinct = factorized(cells)
        _refuse_gaps(codes < 0, where)
        texts = [category_text(each) for each in distinct]
        if others := [each for each in texts if each not in self.categories]:
            known = f"which training had not; accepted: {several(self.categories, MOST)}"
            raise ValueError(f"{where} has {shown(others[0])}, {known}")
        return np.eye(len(self.categories))[[self.categories.index(each) for each in texts]][codes]


def _refuse_gaps(gaps: np.ndarray, where: str) -> None:
    if gaps.any():
        raise ValueError(f"{where} has no value in row {int(np.argmax(gaps))} (from 0); fill it or drop the row")


def asked_covariates(frame: pd.DataFrame, asked: Mapping[str, str], what: str) -> tuple[Covariate, ...]:
    """The covariates that are `asked` for by their kinds, as the columns of `frame` have them.

    Raises `ValueError`, one line, for a column that there is not and for another kind.
    """
    for name, kind in asked.items():
        if kind not in COVARIATE_KINDS:
            given = named("data.covariates", dict(asked))
            raise ValueError(f"{given}: {unknown('kind of covariate', kind, COVARIATE_KINDS)}")
        if name not in frame:
            raise ValueError(f"{what}: {unknown('covariate', name, [str(each) for each in frame.columns])}")
    return tuple(Covariate.of(frame[name], name, kind) for name, kind in asked.items())


def covariate_numbers(frame: pd.DataFrame, covariates: Sequence[Covariate], what: str) -> np.ndarray:
    """The covariates of the rows of `frame` as numbers (N, C), side by side.

    Raises `ValueError`, one line, where a column lacks or has what is none of its covariate.
    """
    if missing := [each.name for each in covariates if each.name not in frame]:
        raise ValueError(f"{what} has no {missing[0]!r}, a covariate that the model is given")
    return np.concatenate([each.numbers(frame[each.name], what) for each in covariates], 1).astype(np.float32)


def covariate_units(y: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Location and scale of each column of covariates (N, C): mean and standard deviation, so that networks get numbers
    of order one; 0 and 1 of a column of zeros and ones, which stays as it is.

    >>> covariate_units(np.array([[1990.0, 1.0], [2010.0, 0.0]]))
    ((2000.0, 0.0), (10.0, 1.0))
    """
    y = y.astype(np.float64)
    location, scale = y.mean(0), y.std(0)
    as_it_is = ((y == 0) | (y == 1)).all(0)
    # A constant one tells nothing: all that is to be seen of it is a zero.
    scale = np.where(as_it_is | (scale <= CONSTANT * np.abs(location)), 1.0, scale)
    return tuple(np.where(as_it_is, 0.0, location).tolist()), tuple(scale.tolist())
