"""Scores of a model on data, and the metrics among them."""

from __future__ import annotations

from .evaluation import Evaluation, clusters, evaluate, label_scores, mean_pass

__all__ = ["Evaluation", "clusters", "evaluate", "label_scores", "mean_pass"]
