"""The loggers by name, each a file beside this one, each library optional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..spec.parts import Parts
from .mlflow import MLflow
from .tensorboard import TensorBoard
from .wandb import WandB

LOGGERS: dict[str, Callable[..., Any]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


def with_loggers(parts: Parts) -> Parts:
    """`parts` with the loggers that vaekit has, beside one's own."""
    return parts.extended(loggers={**LOGGERS, **parts.loggers})
