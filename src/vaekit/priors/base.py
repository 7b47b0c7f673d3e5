"""What priors share."""

from __future__ import annotations

from torch import Tensor, nn


def _required(y: Tensor | None, shift: nn.Module) -> Tensor:
    if y is None:
        raise ValueError(f"this prior was built with condition={getattr(shift, 'in_features', 'maps')}: it needs y")
    return y
