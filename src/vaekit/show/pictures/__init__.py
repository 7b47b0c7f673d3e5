"""Pictures of a run by their names: each takes a run, one of its splits and a seed, and gives what is to be drawn.

Reports, the command `plot` and the pictures after each epoch of a training all draw from this one table.
"""

from __future__ import annotations

from collections.abc import Callable

from .base import Picture, Prepared, Subject
from .bounds import ImportanceWeights, RateDistortion
from .data import Data, Pairs, Reconstructions, ReconstructOne, Samples, UntrainedSamples
from .groups import ClusterGrid, ConditionalGrid
from .latent import KL, Correlations, Latents
from .making import Curves, Model
from .table import Dependences, Missing
from .topics import Topics
from .walks import Interpolation, Manifold, Traversal

PICTURES: dict[str, Callable[..., Picture]] = {
    "data": Data,
    "samples": Samples,
    "untrained-samples": UntrainedSamples,
    "conditional-grid": ConditionalGrid,
    "cluster-grid": ClusterGrid,
    "reconstructions": Reconstructions,
    "pairs": Pairs,
    "reconstruct-one": ReconstructOne,
    "interpolation": Interpolation,
    "traversal": Traversal,
    "manifold": Manifold,
    "dependences": Dependences,
    "missing": Missing,
    "topics": Topics,
    "latents": Latents,
    "kl": KL,
    "correlations": Correlations,
    "importance-weights": ImportanceWeights,
    "rate-distortion": RateDistortion,
    "curves": Curves,
    "model": Model,
}

__all__ = ["PICTURES", "Picture", "Prepared", "Subject"]
