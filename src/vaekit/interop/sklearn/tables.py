"""What scikit-learn calls X as a table with names, its columns as numbers, and numbers as what X was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeVar

import narwhals
import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data
from torch import Tensor

from ...data.batch import Batch
from ...data.columns import Column, frame_of, possible_numbers
from ...data.domains import Domain
from ...data.frames import is_frame, pandas_frame
from ...data.kinds import infer

Given = TypeVar("Given")

PASSED_BY = ("constant", "no value", "asked to be left out")
"""Why a column of numbers may be left out: any other reason, such as that they are all distinct, is one for a file's
columns, not for an array's.
"""


def table_of(estimator: BaseEstimator, X: Any, *, reset: bool) -> pd.DataFrame:  # noqa: N803 - scikit-learn's name
    """X, checked as scikit-learn checks it, as a table: of at least two rows where it is `reset`, which is fitted on.

    Columns are called as they were when it was fitted; those of an array x0, x1, …. Cells may be missing, but not
    infinite.
    """
    least = 2 if reset else 1
    if is_frame(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        table = pandas_frame(X)
        if len(table) < least:
            name = type(estimator).__name__
            found = f"Found array with {len(table)} sample(s) (shape={table.shape})"
            raise ValueError(f"{found} while a minimum of {least} is required by {name}.")
        for name in table.columns:
            values: pd.Series = table[name]
            if values.dtype.kind == "c":
                raise ValueError("Complex data not supported\n" + str(values.head()))
            if values.dtype.kind == "f":
                assert_all_finite(values.to_numpy(np.float64, na_value=np.nan), allow_nan=True, input_name="X")
    else:
        finite = {"ensure_all_finite": "allow-nan", "ensure_min_samples": least}
        table = pd.DataFrame(validate_data(estimator, X, reset=reset, dtype=None, **finite))
    table.columns = pd.Index(names_of(estimator), dtype="str")
    return table


def names_of(estimator: Any) -> list[str]:
    """What the columns are called that an estimator was fitted on."""
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{i}" for i in range(estimator.n_features_in_)] if names is None else list(map(str, names))


def by_name(names: Sequence[str], given: Mapping[str | int, Given], what: str) -> dict[str, Given]:
    """What is given of columns by the name of each, or by its number from 0; `ValueError`, of `what` it is, for a
    number that none has.
    """
    found = {}
    for each, value in given.items():
        key: object = each  # whatever the signature says: a number of NumPy, too
        number = int(key) if isinstance(key, Integral) else None
        if number is not None and not 0 <= number < len(names):
            raise ValueError(f"{what}: there is no column number {number}; accepted: 0 to {len(names) - 1}, or a name")
        found[str(key) if number is None else names[number]] = value
    return found


def columns_of(
    table: pd.DataFrame, asked: Mapping[str | int, str] | None, framed: bool
) -> tuple[tuple[Column, ...], dict[str, str]]:
    """The columns of a table that a model can learn, by the kinds that are `asked` for (by name, or by number) or that
    they look like, and of the others why they are left out. Unless it was `framed`, a data frame, numbers are numbers
    also where they could number the rows.
    """
    kinds = by_name(list(map(str, table.columns)), asked or {}, "columns")
    columns, left_out = infer(table, kinds)
    if framed or not (others := {name: why for name, why in left_out.items() if why not in PASSED_BY}):
        return columns, left_out
    for name in others:
        numbers = table[name]
        if pd.api.types.is_numeric_dtype(numbers.dtype) or pd.api.types.infer_dtype(numbers, skipna=True) == "integer":
            kinds[name] = "integer" if np.abs(numbers.astype(float)).max() < 2**53 else "real"
    return infer(table, kinds)


@dataclass(frozen=True)
class Cells:
    """The cells of N rows of D columns that a model knows."""

    x: np.ndarray
    """(N, D): numbers, NaN where a cell is missing, or is none that its column has."""
    refused: np.ndarray
    """(N, D) of bool: cells that are none that their column has, of which the model knows nothing."""

    @property
    def gone(self) -> np.ndarray:
        """(N, D) of bool: cells that are missing."""
        return np.isnan(self.x) & ~self.refused

    def batch(self, domain: Domain, like: Tensor) -> Batch:
        """As a model of `domain` takes them, of the type and on the device of a tensor."""
        observed = ~np.isnan(self.x)
        x = torch.from_numpy(np.where(observed, self.x, domain.filler)).to(like)
        return Batch(x, observed=torch.from_numpy(observed).to(like.device))


def cells_of(columns: Sequence[Column], table: pd.DataFrame) -> Cells:
    """The cells of a table, its columns found by name."""
    if not columns:
        return Cells(np.empty((len(table), 0)), np.zeros((len(table), 0), bool))
    return Cells(*possible_numbers(columns, table))


def completed(
    names: Sequence[str], columns: Sequence[Column], constants: Mapping[str, Any], x: np.ndarray
) -> pd.DataFrame:
    """The table of all columns by `names`, of numbers x (N, D) of those that are known; others have their constant, or
    are missing.
    """
    made = frame_of(columns, x)
    others = {name: pd.Series([constants.get(name)] * len(x)) for name in names if name not in made}
    return pd.DataFrame({name: made[name] if name in made else others[name] for name in names})


def library_of(X: Any) -> str:  # noqa: N803 - scikit-learn's name
    """Which library a data frame is of; nothing of an array."""
    return type(X).__module__.partition(".")[0] if is_frame(X) else ""


def called_in(X: Any) -> list[Any] | None:  # noqa: N803 - scikit-learn's name
    """What the columns of a frame of pandas are called, where that is no text; None of any other."""
    return list(X.columns) if isinstance(X, pd.DataFrame) and not all(isinstance(each, str) for each in X) else None


def as_in(library: str, called: list[Any] | None, table: pd.DataFrame) -> Any:
    """A table as a data frame of the library that a fit was given, of polars or pyarrow, else of pandas, its columns
    `called` as they were where that was no text; as an array where that was one.
    """
    if not library:
        return array_of(table)
    if library not in ("polars", "pyarrow"):
        return table if called is None else table.set_axis(called, axis=1)
    frame = narwhals.from_native(table, eager_only=True)
    return frame.to_polars() if library == "polars" else frame.to_arrow()


def array_of(table: pd.DataFrame) -> np.ndarray:
    """A table as an array: of float64 where all are numbers, else of Python's objects."""
    if all(pd.api.types.is_numeric_dtype(dtype) or dtype.kind == "b" for dtype in table.dtypes):
        return table.to_numpy(np.float64, na_value=np.nan)
    return table.to_numpy(object)
