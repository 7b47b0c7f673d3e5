"""vaekit: variational autoencoders from named parts, with likelihoods that can be trusted.

What most programs need is exported here; the parts themselves live in their modules (`vaekit.likelihoods`,
`vaekit.priors`, …).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import Comparison, compare
    from .datasets import Dataset, Split, Treatment
    from .datasets import load as load_dataset
    from .domains import Domain
    from .evaluation import Evaluation, evaluate
    from .fitting import fit
    from .models import VAE
    from .parts import PARTS, Parts
    from .pictures.drawing import draw
    from .report import write_comparison, write_report
    from .runs import Run, load_run, train
    from .spec import Schema, Spec, build_model

__version__ = "0.2.0"

_HOME = {
    "Comparison": "comparison",
    "compare": "comparison",
    "draw": "pictures.drawing",
    "Dataset": "datasets",
    "Split": "datasets",
    "Treatment": "datasets",
    "load_dataset": "datasets:load",
    "Domain": "domains",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "VAE": "models",
    "PARTS": "parts",
    "Parts": "parts",
    "Run": "runs",
    "load_run": "runs",
    "train": "runs",
    "Schema": "spec",
    "Spec": "spec",
    "build_model": "spec",
    "fit": "fitting",
    "write_comparison": "report",
    "write_report": "report",
}

__all__ = [  # noqa: RUF022
    "Comparison",
    "Dataset",
    "Domain",
    "Evaluation",
    "PARTS",
    "Parts",
    "Run",
    "Schema",
    "Spec",
    "Split",
    "Treatment",
    "VAE",
    "build_model",
    "compare",
    "draw",
    "evaluate",
    "fit",
    "load_dataset",
    "load_run",
    "train",
    "write_comparison",
    "write_report",
]


def __getattr__(name: str) -> Any:
    # Exports are imported when first used, so that `vaekit --help` does not wait for torch.
    if name not in _HOME:
        raise AttributeError(f"module 'vaekit' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(import_module(f".{module}", __name__), attribute or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
