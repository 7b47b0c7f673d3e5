"""Tensor programs run fast: recorded as their operations, and compiled where they are long. See README.md beside this.

What is outside knows `record` and `update`, what `Use` says to them, `engine_of`, the engine that is asked for, and
`fuses`, of which optimizer.
"""

from __future__ import annotations

from .recording import ENGINES, Recording, Use, engine_of, record
from .updating import Update, fuses, update

__all__ = ["ENGINES", "Recording", "Update", "Use", "engine_of", "fuses", "record", "update"]
