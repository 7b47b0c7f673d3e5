"""VAEs of tables as estimators of scikit-learn: fill holes, find odd rows, make rows up, get codes."""

from __future__ import annotations

from .detector import VAEOutlierDetector
from .imputer import VAEImputer
from .synthesizer import VAESynthesizer
from .transformer import VAETransformer

__all__ = ["VAEImputer", "VAEOutlierDetector", "VAESynthesizer", "VAETransformer"]
