"""Rows as codes of a VAE, and codes as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from .base import TableVAE
from .tables import as_in, completed


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TableVAE):
    """Codes of rows: means of q(z given x), D numbers each, as `PCA` gives them for a linear model.

    Parameters are those of `TableVAE`.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> coder = VAETransformer(epochs=2, hidden=(8,), latent_size=2, random_state=0).fit(x)
    >>> coder.transform(x).shape, coder.inverse_transform(coder.transform(x)).shape
    ((100, 2), (100, 3))
    """

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """The code of each row, (N, D): the mean of q(z given what is observed of it)."""
        _, cells = self._cells(X)
        batch = cells.batch(self._vae.domain, self._vae.scale)
        return self._vae.encode(batch).double().cpu().numpy()

    def inverse_transform(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
        """What codes (N, D) are decoded to: means of numbers, the likeliest of categories; a data frame of the library
        that it was fitted on, each column of its own type, or an array. Columns that the model does not know have their
        constant, or are missing.
        """
        check_is_fitted(self)
        z = check_array(X, dtype=np.float64, input_name="X", copy=True)  # torch takes none that are read-only
        if z.shape[1] != self._n_features_out:
            raise ValueError(f"X has {z.shape[1]} features, but codes have {self._n_features_out}")
        x = self._vae.decode(z).double().cpu().numpy()
        table = completed(self._names, self.columns_, self._constants, self._likeliest(x))
        return as_in(self._library, self._called, table)

    def _likeliest(self, x: np.ndarray) -> np.ndarray:
        """Means as categories where a column has such: a probability of 1 above a half is 1."""
        x = x.copy()
        for i, column in enumerate(self.columns_):
            if column.categories:
                x[:, i] = np.clip(np.rint(x[:, i]), 0, len(column.categories) - 1)
        return x

    @property
    def _n_features_out(self) -> int:
        return self._vae.latent_size
