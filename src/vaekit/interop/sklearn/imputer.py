"""Holes filled by what a VAE makes of the rest of a row."""

from __future__ import annotations

from typing import Any

import narwhals
import numpy as np
import pandas as pd
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._set_output import _get_output_config

from ...data.columns import frame_of
from ...data.frames import is_frame
from ...evaluation.imputation import fill
from ...runs.tables import filled
from .base import TableVAE
from .tables import Cells, array_of


class VAEImputer(OneToOneFeatureMixin, TransformerMixin, TableVAE):
    """Missing cells filled, all columns in their order (Mattei & Frellsen 2019, eq. 15).

    Numbers are means given what is observed of the row, categories and whole numbers the likeliest. A column that is
    constant is filled by its constant; one of which nothing is known (no value in training; of data frames also
    identifiers and free text) stays as it is. Parameters are those of `TableVAE`; training takes up to
    half of a row's cells as not observed, unless `sets` has another data.mask.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0] + [0.0, 5.0]
    >>> x[::4, 1] = np.nan
    >>> filled = VAEImputer(epochs=20, hidden=(16,), latent_size=2, random_state=0).fit_transform(x)
    >>> filled.shape, bool(np.isnan(filled).any())
    ((200, 2), False)
    """

    _mask = 0.5  # it is to know rows with holes, also where those in training have none

    def _untrained(self) -> None:
        """Constants can be filled in without a model."""

    def transform(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
        """X with its holes filled, (N, D): an array, or what `set_output` asks for, each column of its own type."""
        table, cells = self._cells(X)
        x = self._filled(cells)
        if not is_frame(X):
            given = np.asarray(X)
            if given.dtype.kind in "biuf":
                return self._of_numbers(given, cells, x)
        table = filled(table, self.columns_, x, cells.gone)
        for name, value in self._constants.items():
            table[name] = table[name].fillna(value)
        wanted = _get_output_config("transform", self)["dense"]
        if wanted == "polars":
            return narwhals.from_native(table, eager_only=True).to_polars()
        return table if wanted == "pandas" else array_of(table)

    def _filled(self, cells: Cells) -> np.ndarray:
        """The numbers (N, D) of the columns that the model knows, all that were missing filled."""
        x = cells.x.copy()
        holes = np.flatnonzero(cells.gone.any(1))
        if self._exact is not None and len(holes):
            part = Cells(cells.x[holes], cells.refused[holes]).batch(self._exact.domain, self._exact.scale)
            found = fill(self._exact, part, self.samples, self._seed)
            x[holes] = np.where(cells.gone[holes], found.double().cpu().numpy(), x[holes])
        return x

    def _of_numbers(self, given: np.ndarray, cells: Cells, x: np.ndarray) -> np.ndarray:
        """An array of numbers, filled: what was there is as it was, to the last bit."""
        result = given.copy()
        place = {name: i for i, name in enumerate(self._names)}
        made = frame_of(self.columns_, np.where(cells.gone, x, np.nan))
        for i, column in enumerate(self.columns_):
            if (gone := cells.gone[:, i]).any():
                result[gone, place[column.name]] = pd.to_numeric(made.loc[gone, column.name]).to_numpy(np.float64)
        for name, value in self._constants.items():
            own = result[:, place[name]]
            own[np.isnan(own)] = value
        return result

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
