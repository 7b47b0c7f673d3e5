"""The spec of a run: typed, checked, built from, saved."""

from __future__ import annotations

from .building import build_model
from .keys import Schema, Spec

__all__ = ["Schema", "Spec", "build_model"]
