"""Datasets: named public sets, the user's own files, and how pixels are binarised or dequantised."""

from __future__ import annotations

from .base import Dataset, Split
from .batch import Batch
from .catalogue import catalogue
from .documents import Documents
from .loading import load
from .named import DATASETS
from .preprocessing import Preprocessing

__all__ = ["DATASETS", "Batch", "Dataset", "Documents", "Preprocessing", "Split", "catalogue", "load"]
