"""What networks see of data: numbers of order one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ..distributions.counts import wide
from ..distributions.warps import warped
from .domains import Domain


class Inputs(nn.Module):
    """The map from data x (B, *event) of `domain` to what an encoder sees, (B, *`shape`).

    That is (x - location) / scale, 0 where a cell is not observed. Of columns it is what their kinds make of them: that
    of t(x) where a column has a warp, a one-hot of categories (of which a network's first layer makes an embedding),
    and beside the logarithm of what may be 0 a bit for that. Where cells of the domain may be missing, a bit for each
    follows, 1 where it is observed, along the first dimension of an event: more columns of a table, more channels of an
    image. It is without anything to train, and no part of a model's state.

    >>> table = Inputs((2,), Domain("real", location=1.0, scale=2.0, missing=True))
    >>> table(torch.tensor([[3.0, 9.0]]), torch.tensor([[True, False]]))
    tensor([[1., 0., 1., 0.]])
    >>> mixed = Inputs((2,), Domain("columns", columns=(Domain("categorical", levels=3), Domain("binary"))))
    >>> mixed(torch.tensor([[2.0, 1.0]]))
    tensor([[0., 0., 1., 1.]])
    """

    def __init__(self, event_shape: tuple[int, ...], domain: Domain) -> None:
        super().__init__()
        self.domain, self.shape = domain, domain.inputs_shape(event_shape)
        groups = domain.groups if domain.kind == "columns" else ((domain, None),)
        self.groups = nn.ModuleList(_Group(own, index) for own, index in groups)

    @property
    def location(self) -> Tensor:
        """The domain's location; of columns that of the first group, whose type and device those of all are."""
        return self.groups[0].location  # type: ignore[return-value]

    @property
    def scale(self) -> Tensor:
        """The domain's scale, likewise."""
        return self.groups[0].scale  # type: ignore[return-value]

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        found = [group(x, observed) for group in self.groups]
        inputs = found[0] if len(found) == 1 else torch.cat(found, 1)
        if not self.domain.missing:
            return inputs
        bits = torch.ones_like(x) if observed is None else observed
        return torch.cat([inputs, bits.to(inputs.dtype)], 1)


class _Group(nn.Module):
    """What is seen of data of one domain, of a table of the columns at `index` (n,)."""

    index: Tensor | None
    location: Tensor
    location_rest: Tensor | None
    scale: Tensor

    def __init__(self, domain: Domain, index: tuple[int, ...] | None) -> None:
        super().__init__()
        self.domain, kind = domain, torch.get_default_dtype()
        self.register_buffer("index", None if index is None else torch.tensor(index), persistent=False)
        location, rest = domain.location_parts
        for name, value in (("location", location), ("location_rest", rest), ("scale", domain.scale)):
            values = None if value is None else torch.as_tensor(value, dtype=kind)
            self.register_buffer(name, values, persistent=False)
        self.scaled = domain.is_scaled

    def forward(self, x: Tensor, observed: Tensor | None) -> Tensor:
        if self.index is not None:
            x = x.index_select(1, self.index)
            observed = None if observed is None else observed.index_select(1, self.index)
        kind = self.scale.dtype
        if self.index is not None and self.domain.kind == "categorical":
            seen = one_hot(x.long(), self.domain.levels or 0).to(kind)
            return (seen if observed is None else torch.where(observed.unsqueeze(-1), seen, 0.0)).flatten(1)
        beside: list[Tensor] = []
        if self.domain.kind == "nonnegative":
            zero = x == 0
            beside, inputs = [zero.to(kind)], torch.where(zero, 0.0, self._scaled(torch.where(zero, 1.0, x)))
        else:
            inputs = self._scaled(x)
        if observed is not None:
            inputs, *beside = (torch.where(observed, each, 0.0) for each in (inputs, *beside))
        return torch.cat([inputs, *beside], 1) if beside else inputs

    def _scaled(self, x: Tensor) -> Tensor:
        kind = self.scale.dtype
        if self.domain.warp != "affine":
            shifted = wide(x) + (self.domain.kind == "count")
            location = wide(self.location)
            if self.location_rest is not None:
                location = location + self.location_rest
            return warped(self.domain.warp, shifted, location, wide(self.scale)).to(kind)
        if not self.scaled:
            return x.to(kind)
        moved = x - self.location
        if self.location_rest is not None:
            moved = moved.double() - self.location_rest
        return (moved / self.scale).to(kind)
