"""What every likelihood is: a module whose forward maps a decoder's output to a distribution over x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.domains import Domain
from ..distributions.counts import wide
from ..distributions.shapes import Scaled, independent
from ..errors import wrong_kind
from ..networks.base import sizes_of


class Likelihood(nn.Module):
    """What every likelihood states: the shape of a datum, its domain, and the shape of the parameters it wants.

    The decoder's output (…, *parameter_shape) is here (…, P, *event_shape), P parameters for each element of a datum. A
    likelihood of one's own derives from this class, or has the attributes `domains`, `event_shape`, `domain`,
    `parameter_shape` itself.
    """

    domains: ClassVar[tuple[str, ...]] = ()
    formerly: ClassVar[tuple[str, ...]] = ()
    """Kinds of data that runs of older versions have it for, though some of its mass is on none of their values: such a
    run is loaded, with `is_density` false, and not scored.
    """
    is_density = True
    open: ClassVar[bool] = False
    """Whether it is a density of what lies between the ends of a unit interval, and of neither end."""
    in_order = False
    """Whether the channels of a pixel depend on those before them, so that only the last ones may be missing."""
    location: Tensor
    location_rest: Tensor | None
    scale: Tensor
    least: Tensor
    greatest: Tensor

    def __init__(self, event_shape: Sequence[int], domain: Domain, parameters: int = 1) -> None:
        super().__init__()
        if not isinstance(domain, Domain):
            raise wrong_kind("domain", domain, 'a vaekit.Domain, such as Domain("real")')
        self.event_shape, self.domain = sizes_of("event_shape", event_shape), domain
        self.parameter_shape = (parameters, *self.event_shape)
        low, high = _limits(domain, self.open)
        location, rest = domain.location_parts
        own = {"location": location, "location_rest": rest, "scale": domain.scale, "least": low, "greatest": high}
        for name, value in own.items():
            values = None if value is None else torch.as_tensor(value, dtype=torch.get_default_dtype())
            self.register_buffer(name, values, persistent=False)

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """The P parameters of each element, (…, *event_shape) each."""
        place = -1 - len(self.event_shape)
        # The gradient of one that is unbound is copied.
        return (parameters.squeeze(place),) if parameters.shape[place] == 1 else parameters.unbind(place)

    def event(self, elements: Distribution) -> Distribution:
        """Independent `elements` (…, *event_shape) as one distribution over a datum."""
        return independent(elements, len(self.event_shape))

    def scaled(self, elements: Distribution) -> Distribution:
        """Independent `elements` of scaled data as one distribution over a datum, in the data's units and their domain.

        Positive data are scaled alone, since what is moved is not positive. Real ones far from 0 are moved in float64.
        """
        if self.domain.kind not in ("positive", "unit") or not self.is_density:
            location = self.location if self.location_rest is None else wide(self.location) + wide(self.location_rest)
            return self.event(Scaled(elements, location, self.scale))
        location = self.location if self.domain.kind == "unit" else torch.zeros_like(self.scale)
        return self.event(Scaled(elements, location, self.scale, (self.least, self.greatest)))


def _limits(domain: Domain, open_ends: bool) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest float32 number in a domain, (-inf, inf) where it has none."""
    single = np.finfo(np.float32)
    if domain.kind == "positive":
        return np.asarray(single.tiny), np.asarray(single.max)
    if domain.kind != "unit":
        return np.asarray(-np.inf), np.asarray(np.inf)
    location, scale = np.asarray(domain.location), np.asarray(domain.scale)
    low, high = location.astype(np.float32), (location + scale).astype(np.float32)
    # Rounded inwards.
    low = np.where((low < location) | open_ends, np.nextafter(low, np.float32(np.inf)), low)
    high = np.where((high > location + scale) | open_ends, np.nextafter(high, np.float32(-np.inf)), high)
    return low, high
