"""Odd rows: those that a VAE of the others finds unlikely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin

from ...spec.keys import Spec
from .base import TableVAE

LEAST = np.finfo(np.float64).min / 4
"""In place of -inf, which scikit-learn's metrics refuse."""


class VAEOutlierDetector(OutlierMixin, TableVAE):
    """Outliers are the rows of least log p(row), as `EllipticEnvelope` has it for one normal.

    `contamination`, above 0 and at most 0.5, is the part of the training rows that are outliers: it sets `offset_`, in
    nats. The other parameters are those of `TableVAE`.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(300, 2))
    >>> detector = VAEOutlierDetector(epochs=20, hidden=(16,), latent_size=2, contamination=0.01, random_state=0).fit(x)
    >>> detector.predict([[0.0, 0.0], [40.0, -30.0]])
    array([ 1, -1])
    """

    def __init__(  # noqa: PLR0913 - scikit-learn's estimators are set by arguments
        self,
        recipe: str | Path | Spec = "table",
        *,
        contamination: float = 0.1,
        sets: Sequence[str] = (),
        columns: Mapping[str | int, str] | None = None,
        latent_size: int | None = None,
        hidden: int | Sequence[int] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        samples: int = 100,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            recipe,
            sets=sets,
            columns=columns,
            latent_size=latent_size,
            hidden=hidden,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            samples=samples,
            random_state=random_state,
            device=device,
            verbose=verbose,
        )
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Train on the rows of X, as `TableVAE` does, and find which of their log p is that of an outlier."""
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination is {self.contamination}; accepted: a part of the rows, in (0, 0.5]")
        super().fit(X, y)
        self.offset_ = float(np.percentile(self.score_samples(X), 100 * self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """log p(row), (N,) nats, the lower the odder; a number below all others where a cell is none that its column
        has.
        """
        return np.maximum(super().score_samples(X), LEAST)

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """log p(row) less that of the `offset_`, (N,) nats: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """-1 for outliers, 1 for all others, (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)
