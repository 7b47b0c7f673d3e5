"""Flows, as `zuko` makes them: modules whose forward returns a distribution, posteriors and priors as they are."""

from __future__ import annotations

from torch import nn
from torch.distributions import Distribution


def coupling_flow(features: int, context: int, transforms: int, hidden: tuple[int, ...]) -> nn.Module:
    """A flow of affine coupling layers (Dinh et al. 2017) over `features` dimensions, given `context` others.

    Coupling (two passes), not autoregressive (one pass a dimension): samples and densities both cost one evaluation,
    and a VAE needs both in every step.
    """
    validate = Distribution._validate_args
    import zuko  # here, since the import switches argument validation off for every distribution of the process

    Distribution.set_default_validate_args(validate)
    if transforms < 1:
        raise ValueError(f"transforms must be at least 1, got {transforms}")
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden layer sizes must be at least 1, got {list(hidden)}")
    # One dimension cannot be split in two: there, one pass is the whole (conditional) affine map.
    passes = 2 if features > 1 else 1
    return zuko.flows.MAF(features, context, transforms=transforms, hidden_features=list(hidden), passes=passes)
