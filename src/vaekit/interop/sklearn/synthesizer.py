"""Rows that a VAE makes up."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import DensityMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ...data.columns import numbers_of
from ...runs.run import Run
from ...runs.tables import synthesize
from .base import TableVAE
from .tables import as_in, by_name, completed

CODES = 10_000
"""Codes that a condition is weighed by at least."""


class VAESynthesizer(DensityMixin, TableVAE):
    """A density of rows that is drawn from, as `KernelDensity` is, also given some of their cells.

    Parameters are those of `TableVAE`.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"animal": ["cat", "cow"] * 50, "weight": [4.0, 600.0, 5.0, 500.0] * 25})
    >>> maker = VAESynthesizer(epochs=2, hidden=(8,), latent_size=2, random_state=0).fit(table)
    >>> maker.sample(3, where={"animal": "cow"})["animal"].tolist()
    ['cow', 'cow', 'cow']
    """

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803 - scikit-learn's name
        """The mean of log p(row), nats: what a search for parameters maximises. y is not used."""
        return TableVAE.score(self, X, y)

    def sample(
        self,
        n_samples: int = 1,
        where: Mapping[str | int, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Rows that the model makes up: a data frame of the library that it was fitted on, each column of its own
        type, or an array. With `where`, all of them have these cells, by name, or number of the column.

        Columns that the model does not know have their constant, or are missing. `random_state` is, where it is None,
        that of the estimator. Raises `ValueError` for a column that is not there, or a value that it can't have; warns
        where few of the codes that are drawn, 10,000 or `samples`, count for a condition.
        """
        check_is_fitted(self)
        seed = int(check_random_state(self.random_state if random_state is None else random_state).randint(2**31 - 1))
        names = self._names
        known = by_name(names, where or {}, "where")
        for name in [name for name in known if name in self._constants]:
            if known[name] != self._constants[name]:
                raise ValueError(
                    f"where: {name!r} is {known[name]}, but was always {self._constants[name]} in training"
                )
            del known[name]
        if self.model_ is None or self.spec_ is None or self.schema_ is None:
            raise NotFittedError(f"this {type(self).__name__} has no model; call fit on columns that can be learned")
        run = Run(Path(type(self).__name__), self.spec_, self.schema_, self.model_)
        made = synthesize(run, n_samples, known, samples=max(CODES, self.samples), seed=seed)
        if made.caution:
            warnings.warn(made.caution, UserWarning, stacklevel=2)
        table = completed(names, self.columns_, self._constants, numbers_of(self.columns_, made.table))
        return as_in(self._library, self._called, table)
