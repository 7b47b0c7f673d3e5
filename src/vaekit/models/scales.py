"""How large the codes of latents that are maps are: what a model of those codes, such as diffusion, divides by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from ..data.batch import Batch
from ..distributions.moments import center
from ..modules import evaluating

if TYPE_CHECKING:
    from .vae import VAE


def latent_scales(model: VAE) -> dict[str, float]:
    """One over the standard deviation of all codes, of each latent whose posterior keeps it and where it is measured:
    by it diffusion multiplies codes, its `scaling_factor` (Rombach et al. 2022, appendix G).
    """
    kept = {name: getattr(posterior, "code_scale", None) for name, posterior in model.posteriors.items()}
    return {name: float(f"{float(scale):.7g}") for name, scale in kept.items() if scale is not None and scale > 0}


@torch.no_grad()
def measure_scales(model: VAE, batches: Iterable[Batch]) -> None:
    """Measure the `latent_scales` of a model on data, and keep them in its posteriors.

    The deviation is that of draws of q(z given x) over data, places and maps: of means, and what q spreads around them.
    """
    wanted = [name for name, posterior in model.posteriors.items() if hasattr(posterior, "code_scale")]
    if not wanted:
        return
    sums = {name: torch.zeros(3, dtype=torch.float64) for name in wanted}
    with evaluating(model):
        for batch in batches:
            found = model.infer(model.typed(model.asked(batch)), lambda _, q: center(q))
            for name in wanted:
                q, z = found[name]
                z, spread = z.detach().double().cpu(), q.variance.double().cpu()
                sums[name] += torch.stack([z.new_tensor(z.numel()), z.sum(), (z.square() + spread).sum()])
    for name, (count, total, squares) in sums.items():
        variance = squares / count - (total / count).square()
        model.posteriors[name].code_scale.fill_(float(variance.rsqrt()))  # type: ignore[operator]
