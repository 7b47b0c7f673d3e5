"""The tokens of data: which codes quantised latents have of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ..data.batch import Batch
from ..distributions.moments import center
from ..distributions.quantised import Quantised

if TYPE_CHECKING:
    from .vae import VAE


def quantised(model: VAE) -> dict[str, tuple[int, int]]:
    """The latents whose posteriors give codes: how many tokens, T, each one of how many, K."""
    found = {name: getattr(each, "tokens", None) for name, each in model.posteriors.items()}
    return {name: tokens for name, tokens in found.items() if tokens}


def tokens_of(model: VAE, batch: Batch) -> dict[str, Tensor]:
    """The tokens (B, T) of each quantised latent of a batch, of a model in evaluation mode; `ValueError` where there is
    none.
    """
    if not quantised(model):
        names = ", ".join(map(repr, model.posteriors))
        raise ValueError(f"no latent of {names} is quantised; accepted: one whose posterior is vq, rvq, fsq or lfq")
    found = model.infer(model.typed(batch), lambda _, q: center(q))
    return {name: q.indices for name, (q, _) in found.items() if isinstance(q, Quantised)}
