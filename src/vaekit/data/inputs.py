"""What networks see of data: numbers of order one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .domains import Domain


class Inputs(nn.Module):
    """The map from data x (B, *event) of `domain` to what an encoder sees, (B, *`shape`).

    That is (x - location) / scale, 0 where a cell is not observed. Where cells of the domain may be missing, a bit for
    each follows, 1 where it is observed, along the first dimension of an event: more columns of a table, more channels
    of an image. It is without anything to train, and no part of a model's state.

    >>> table = Inputs((2,), Domain("real", location=1.0, scale=2.0, missing=True))
    >>> table(torch.tensor([[3.0, 9.0]]), torch.tensor([[True, False]]))
    tensor([[1., 0., 1., 0.]])
    """

    location: Tensor
    location_rest: Tensor | None
    scale: Tensor

    def __init__(self, event_shape: tuple[int, ...], domain: Domain) -> None:
        super().__init__()
        self.domain, self.shape = domain, domain.inputs_shape(event_shape)
        kind = torch.get_default_dtype()
        location, rest = domain.location_parts
        for name, value in (("location", location), ("location_rest", rest), ("scale", domain.scale)):
            values = None if value is None else torch.as_tensor(value, dtype=kind)
            self.register_buffer(name, values, persistent=False)
        self.scaled = domain.is_scaled

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        inputs = self._scaled(x)
        if observed is not None:
            inputs = torch.where(observed, inputs, 0.0)
        if not self.domain.missing:
            return inputs
        bits = torch.ones_like(inputs) if observed is None else observed.to(inputs.dtype)
        return torch.cat([inputs, bits], 1)

    def _scaled(self, x: Tensor) -> Tensor:
        kind = self.scale.dtype
        if not self.scaled:
            return x.to(kind)
        moved = x - self.location
        if self.location_rest is not None:
            moved = moved.double() - self.location_rest
        return (moved / self.scale).to(kind)
