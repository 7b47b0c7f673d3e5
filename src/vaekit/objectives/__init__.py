"""Objectives: frozen data, called on a trace and the progress of the run; they return a loss and its named terms.

Every number is nats per datum, averaged over the batch. A loss is minimised, the bounds among the terms are maximised.
Objectives add up: `Sum` is one of several, and `TERMS` are those that make sense beside a bound. `OBJECTIVES` is the
table of names.
"""

from __future__ import annotations

from collections.abc import Callable

from .adversarial import Adversarial
from .aggregate import AdversarialCorrelation, AdversarialDiscrepancy, Covariance, Discrepancy, TotalCorrelation
from .autoencoder import Autoencoder, DecoderGradient
from .base import Loss, Objective, Sum, samples_of
from .constrained import GECO
from .elbo import ELBO, Capacity, InvariantClusters, SemiSupervised
from .images import Multiscale, Perceptual
from .similarity import StructuralSimilarity
from .terms import KL, Classification, Invariance, Reconstruction
from .weighted import IWAE, STL, DReG, Renyi

__all__ = [
    "ELBO",
    "GECO",
    "IWAE",
    "KL",
    "OBJECTIVES",
    "STL",
    "TERMS",
    "Adversarial",
    "AdversarialCorrelation",
    "AdversarialDiscrepancy",
    "Autoencoder",
    "Capacity",
    "Classification",
    "Covariance",
    "DReG",
    "DecoderGradient",
    "Discrepancy",
    "Invariance",
    "InvariantClusters",
    "Loss",
    "Multiscale",
    "Objective",
    "Perceptual",
    "Reconstruction",
    "Renyi",
    "SemiSupervised",
    "StructuralSimilarity",
    "Sum",
    "TotalCorrelation",
    "samples_of",
]

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "elbo": ELBO,
    "iwae": IWAE,
    "dreg": DReG,
    "stl": STL,
    "renyi": Renyi,
    "capacity": Capacity,
    "geco": GECO,
    "autoencoder": Autoencoder,
    "semi-supervised": SemiSupervised,
    "invariant-clusters": InvariantClusters,
}

TERMS: dict[str, Callable[..., Objective]] = {
    "reconstruction": Reconstruction,
    "kl": KL,
    "classification": Classification,
    "invariance": Invariance,
    "multiscale": Multiscale,
    "structural-similarity": StructuralSimilarity,
    "perceptual": Perceptual,
    "adversarial": Adversarial,
    "total-correlation": TotalCorrelation,
    "adversarial-correlation": AdversarialCorrelation,
    "covariance": Covariance,
    "discrepancy": Discrepancy,
    "adversarial-discrepancy": AdversarialDiscrepancy,
    "decoder-gradient": DecoderGradient,
}
"""What can be added to an objective by name: `objective.terms.NAME`."""
