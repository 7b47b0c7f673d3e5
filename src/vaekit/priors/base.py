"""What priors share: how a condition enters their parameters."""

from __future__ import annotations

from torch import Tensor, nn


def of_condition(shift: nn.Module, y: Tensor | None, like: Tensor) -> Tensor:
    """What a `shift` makes of the condition y (…, C), in the type of `like`; `ValueError` where there is no y."""
    if y is None:
        raise ValueError(f"this prior was built with condition={getattr(shift, 'in_features', 'maps')}: it needs y")
    return shift(y.to(like.dtype))


def shifted(start: Tensor, shift: nn.Module | None, y: Tensor | None) -> Tensor:
    """Parameters (*shape), to which what a `shift` makes of y (…, C) is added, (…, *shape); as they are without one."""
    return start if shift is None else start + of_condition(shift, y, start).unflatten(-1, start.shape)
