"""Traces of latents that are drawn apart, one of few classes summed out in place of being drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributions import Distribution

from ..data.batch import Batch
from ..networks.base import last_weight
from .cases import Cases
from .given import check_samples
from .sampling import Draw
from .trace import Latent, Trace

if TYPE_CHECKING:
    from .vae import VAE

CLASSES = 64
"""A discrete latent of more classes is drawn where it might be summed over: the decoder runs for each of them."""


def trace_apart(model: VAE, batch: Batch, samples: int, sum_classes: bool, draw: Draw | None = None) -> Trace:
    """The trace of a batch, as `VAE.trace` says, of a `model` whose latents are drawn apart."""
    check_samples(samples)
    y, features, cases = model.network_condition(batch.y), model.features(batch), None
    posteriors = model.posteriors_of(features)
    few = [name for name, q in posteriors.items() if q.has_enumerate_support and q.event_shape[-1] <= CLASSES]
    summed = few[0] if few and sum_classes else None

    def times(q: Distribution) -> torch.Size:
        return torch.Size((1 if sum_classes and getattr(q, "deterministic", False) else samples,))

    take = draw or (lambda _, q: q.rsample(times(q)))
    z = {name: take(name, q) for name, q in posteriors.items() if name != summed}
    if summed:
        classes = posteriors[summed].enumerate_support()  # (K, B, K)
        cases = Cases(posteriors[summed].log_prob(classes).flatten(), 0, len(classes))
        posteriors = model.posteriors_of(cases.repeat(features))
        y = None if y is None else cases.repeat(y)
        z = {name: cases.repeat(drawn, 1) for name, drawn in z.items()}
        z[summed] = classes.flatten(0, 1).unsqueeze(0)
    latents = tuple(
        Latent(name, z[name], q, model.prior(name, y), cases, enumerated=name == summed)
        for name, q in posteriors.items()
    )
    px = model.likelihood_at(z, y)
    return Trace(batch, px, latents, cases, last=last_weight(model.decoder))
