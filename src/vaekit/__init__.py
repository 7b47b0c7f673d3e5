"""vaekit: variational autoencoders from named parts, with likelihoods that can be trusted.

What most programs need is exported here; the parts themselves live in their modules (`vaekit.likelihoods`,
`vaekit.priors`, …).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .composed import refit_prior, train
    from .data import Dataset, Preprocessing, Split
    from .data import load as load_dataset
    from .data.domains import Domain
    from .evaluation.evaluation import evaluate
    from .evaluation.scores import Evaluation
    from .interop.hub import from_pretrained, push
    from .many.score import score
    from .many.sweep import sweep
    from .models import VAE
    from .runs.comparison import Comparison, compare
    from .runs.keeping import Callbacks
    from .runs.run import Run, load_run
    from .runs.swept import Sweep
    from .show.explorer.exploring import explore
    from .show.pictures.drawing import draw
    from .show.report import write_comparison, write_report
    from .spec.building import build_model
    from .spec.keys import Schema, Spec
    from .spec.parts import PARTS, Parts
    from .training.fitting import fit


_HOME = {
    "Callbacks": "runs.keeping",
    "Comparison": "runs.comparison",
    "compare": "runs.comparison",
    "draw": "show.pictures.drawing",
    "explore": "show.explorer.exploring",
    "Dataset": "data",
    "Split": "data",
    "Preprocessing": "data",
    "load_dataset": "data:load",
    "Domain": "data.domains",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "VAE": "models",
    "PARTS": "spec.parts",
    "Parts": "spec.parts",
    "Run": "runs",
    "load_run": "runs",
    "score": "many.score",
    "sweep": "many.sweep",
    "Sweep": "runs.swept",
    "refit_prior": "composed",
    "train": "composed",
    "Schema": "spec.keys",
    "Spec": "spec.keys",
    "build_model": "spec.building",
    "fit": "training.fitting",
    "from_pretrained": "interop.hub",
    "push": "interop.hub",
    "write_comparison": "show.report",
    "write_report": "show.report",
}

__all__ = [  # noqa: RUF022
    "Callbacks",
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
    "Sweep",
    "Preprocessing",
    "VAE",
    "build_model",
    "compare",
    "draw",
    "evaluate",
    "explore",
    "fit",
    "from_pretrained",
    "load_dataset",
    "load_run",
    "push",
    "refit_prior",
    "score",
    "sweep",
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
