"""Flows, as `zuko` makes them: modules whose forward returns a distribution, posteriors and priors as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

MOST_TRANSFORMS = 1000


def coupling_flow(features: int, context: int, transforms: int, hidden: tuple[int, ...]) -> nn.Module:
    """A flow of affine coupling layers (Dinh et al. 2017) over `features` dimensions, given `context` others.

    Coupling (two passes), not autoregressive (one pass a dimension): samples and densities both cost one evaluation,
    and a VAE needs both in every step. On the meta device it has all its tensors without their memory, and gives
    distributions that have shapes only.
    """
    validate = Distribution._validate_args
    import zuko  # here, since the import switches argument validation off for every distribution of the process

    Distribution.set_default_validate_args(validate)
    if not 1 <= transforms <= MOST_TRANSFORMS:
        raise ValueError(f"transforms must be from 1 to {MOST_TRANSFORMS}, got {transforms}")
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden layer sizes must be at least 1, got {list(hidden)}")

    def made(features: int, context: int, hidden: list[int]) -> nn.Module:
        # One dimension cannot be split in two: there, one pass is the whole (conditional) affine map.
        passes = 2 if features > 1 else 1
        flow = zuko.flows.MAF(features, context, transforms=transforms, hidden_features=hidden, passes=passes)
        start = {"loc": flow.base.loc, "scale": flow.base.scale}
        flow.base = zuko.lazy.UnconditionalDistribution(_normal, **start, buffer=True)
        return flow

    if torch.get_default_device().type != "meta" or features == 1:
        return made(features, context, list(hidden))
    # Which weights are masked is found by operations that the meta device lacks. So the smallest flow of the same
    # layers is made, and its tensors are exchanged for those of the right shapes.
    with torch.device("cpu"):
        outline = made(2, min(context, 1), [1] * len(hidden))
    sizes = [features + context, *hidden, 2 * features]
    for name, module in outline.named_modules():
        place = name.rpartition("hyper.")[2]
        for table in (module._parameters, module._buffers):
            for key, tensor in table.items():
                if tensor is None:
                    continue
                layer = int(place) // 2 if place.isdecimal() else -1  # between two layers is an activation
                shape = [features] if layer < 0 else sizes[layer + 1 :: -1][: tensor.dim()]
                empty = torch.empty(shape, dtype=tensor.dtype, device="meta")
                table[key] = nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty
    return outline


def flowing(transform: nn.Module, base: nn.Module, context: Tensor) -> Distribution:
    """The distribution of a flow's transform and base given a context (…, C)."""
    from zuko.distributions import NormalizingFlow

    return NormalizingFlow(transform(context), base(context).expand(context.shape[:-1]))


def start_as_identity(transform: nn.Module) -> None:
    """Set the last layer of each of its networks to zero, so that the transform changes nothing at first."""
    for name, module in transform.named_modules():
        if name.endswith("hyper"):
            last: Any = [each for each in module.modules() if hasattr(each, "weight")][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


def _normal(loc: Tensor, scale: Tensor) -> Distribution:
    """What a flow starts from. As everywhere, arguments are not read back to be checked: what is no number becomes a
    loss that is none, which is said in one place.
    """
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)
