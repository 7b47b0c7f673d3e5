"""A run is a folder: trained, loaded, compared."""

from __future__ import annotations

from .run import Run, ensure, load_run, train

__all__ = ["Run", "ensure", "load_run", "train"]
