"""A run is a folder: trained, loaded, compared."""

from __future__ import annotations

from .keeping import Callbacks
from .run import Run, load_run
from .training import ensure, train

__all__ = ["Callbacks", "Run", "ensure", "load_run", "train"]
