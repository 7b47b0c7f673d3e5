"""A model as programs of tensors alone, from the user's raw data to codes and back, and the files they go into."""

from __future__ import annotations

from .programs import PROGRAMS, Port, Program, program
from .recording import recorded
from .writing import FORMATS, Export, Written, export

__all__ = ["FORMATS", "PROGRAMS", "Export", "Port", "Program", "Written", "export", "program", "recorded"]
