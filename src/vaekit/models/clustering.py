"""Which cluster a datum falls into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ..data.batch import Batch
from ..distributions.moments import center
from ..priors.mixtures import Mixture
from .trace import Latent, cluster_probabilities

if TYPE_CHECKING:
    from .vae import VAE


def clusters_of(model: VAE, batch: Batch) -> Tensor:
    """The cluster of each of a batch, (B,), as `VAE.clusters` says, of a model in evaluation mode."""
    found = model.infer(batch, lambda _, q: center(q))
    priors = model.generate(model.network_condition(batch.y), lambda name, _: found[name][1])
    latents = [Latent(name, found[name][1][None], found[name][0], priors[name][0]) for name in model.roots]
    probabilities = cluster_probabilities(latents)
    if probabilities is None:
        names = ", ".join(map(repr, model.roots))
        raise ValueError(f"no latent of {names} has clusters: that takes a discrete latent or a mixture as its prior")
    return probabilities.argmax(-1)


def makes_clusters(model: VAE) -> bool:
    """Whether `model` is made to cluster, as `VAE.has_clusters` says."""
    discrete = any(getattr(model.posteriors[name], "groups", 0) == 1 for name in model.roots)
    return discrete or any(isinstance(model.priors[name], Mixture) for name in model.roots)
