"""Scores of a model on data, and the metrics among them."""

from __future__ import annotations

from .evaluation import clusters, evaluate, label_scores, mean_pass
from .scores import Evaluation

__all__ = ["Evaluation", "clusters", "evaluate", "label_scores", "mean_pass"]
