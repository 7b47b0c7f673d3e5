"""Mixtures of discretised logistics, of cells alone or of pixels whose channels hang together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .levels import drawn_level, log_mass, mean_level
from .shapes import _Shape, broadcast_shapes


class DiscretizedLogisticMixture(Distribution):
    """Levels 0..levels-1 by a mixture of K discretised logistics for each cell, or for each pixel of an image.

    Of cells alone: logits, loc, scale (…, K, *event), p(x_i) = sum_k w_ik P(x_i; loc_ik, scale_ik), P of `log_mass`.

    Of pixels, with `coefficients` (…, K, C (C - 1) / 2, H, W) between -1 and 1 and logits (…, K, 1, H, W), the C
    channels of a pixel share their component, and the place of each is moved by those before it:

        p(x) = sum_k w_k prod_c P(x_c; loc_kc + sum_{j<c} a_kcj (x_j - middle), scale_kc)

    The coefficients of c come after those of c - 1, in the order of j. loc and scale are in levels, an event has the
    last `dimensions` of them. Source: Salimans et al. 2017 (PixelCNN++), eq. 1-3.

    >>> place = torch.tensor([[10.0], [200.0]])
    >>> p = DiscretizedLogisticMixture(torch.zeros(2, 1), place, torch.ones(2, 1), levels=256)
    >>> p.log_prob(torch.tensor([[10.0], [11.0], [105.0]]))
    tensor([ -2.1000,  -2.3273, -94.9587])
    """

    arg_constraints = {}

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        scale: Tensor,
        levels: int,
        dimensions: int = 1,
        coefficients: Tensor | None = None,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.logits, self.loc, self.scale, self.levels = logits, loc, scale, levels
        self.coefficients, self.known = coefficients, known
        self.first, self.place = -dimensions, -dimensions - 1  # the axes of channels, and of components
        super().__init__(loc.shape[: self.place], loc.shape[self.first :], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(0, self.levels - 1), -self.first)

    def expand(self, batch_shape: _Shape, _instance: None = None) -> DiscretizedLogisticMixture:
        own = (self.logits, self.loc, self.scale, self.coefficients)
        logits, loc, scale, coefficients = (
            each if each is None else each.expand(*batch_shape, *each.shape[self.place :]) for each in own
        )
        return self._like(logits, loc, scale, coefficients, self.known)  # type: ignore[arg-type]

    def _like(
        self,
        logits: Tensor,
        loc: Tensor,
        scale: Tensor,
        coefficients: Tensor | None,
        known: tuple[Tensor, Tensor] | None,
    ) -> DiscretizedLogisticMixture:
        return DiscretizedLogisticMixture(logits, loc, scale, self.levels, -self.first, coefficients, known)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._mixed(self._masses(value)).flatten(self.first).sum(-1)

    def log_probs(self, value: Tensor) -> Tensor:
        """log p of each cell, of a pixel's channels given those before it, (…, *event): they sum to log p(x)."""
        masses = self._masses(value)
        if self.coefficients is None:
            return self._mixed(masses)
        up_to = ((self.logits + masses.cumsum(self.first)).logsumexp(self.place)) - self.logits.logsumexp(self.place)
        return up_to.diff(dim=self.first, prepend=torch.zeros_like(up_to.narrow(self.first, 0, 1)))

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        """log p of what is `observed`, a mask that broadcasts with the value: (…). Of a pixel any of the last channels
        may be missing; it is NaN where one before an observed one is, whose values are not summed over in closed form.
        """
        seen = observed.expand(broadcast_shapes(observed.shape, self.event_shape))
        mixed = self._mixed(torch.where(seen.unsqueeze(self.place), self._masses(value), 0.0))
        if self.coefficients is not None:
            mixed = mixed.masked_fill(out_of_order(seen), torch.nan)
        return mixed.flatten(self.first).sum(-1)

    def given_missing(self, value: Tensor, observed: Tensor | None) -> DiscretizedLogisticMixture:
        """The distribution of what is missing given what is `observed` of value: of the channels of a pixel, those
        that are there say of which component it is, and move the places of the others.
        """
        if self.coefficients is None or observed is None:
            return self
        masses = torch.where(observed.unsqueeze(self.place), self._masses(value), 0.0)
        logits = self.logits + masses.sum(self.first, keepdim=True)
        return self._like(logits, self.loc, self.scale, self.coefficients, (value, observed))

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        with torch.no_grad():
            lead = torch.Size(sample_shape) + self.batch_shape
            logits = self.logits.expand(*lead, *self.logits.shape[self.place :])
            noise = torch.empty_like(logits, memory_format=torch.contiguous_format).exponential_()
            which = (logits - noise.log()).argmax(self.place, keepdim=True)
            loc, scale = (_taken(each, which, self.place) for each in (self.loc, self.scale))
            if self.coefficients is None:
                return drawn_level(loc, scale, self.levels)
            chosen = _taken(self.coefficients, which, self.place)
            return self._in_order(loc, scale, chosen, self.known, drawn_level)

    @property
    def mean(self) -> Tensor:
        """The mean, (…, *event): of cells alone as of `mean_level`. Of pixels each component's channels are taken in
        their order, each at its mean with those before it at theirs; what the ends bend of that is left out.
        """
        if self.coefficients is None:
            means = mean_level(self.loc, self.scale, self.levels)
        else:
            known = None
            if self.known is not None:
                known = (self.known[0].unsqueeze(self.place), self.known[1].unsqueeze(self.place))
            means = self._in_order(self.loc, self.scale, self.coefficients, known, mean_level)
        return (self.logits.softmax(self.place) * means).sum(self.place).clamp(0, self.levels - 1)

    def _masses(self, value: Tensor) -> Tensor:
        """log P of each cell under each component, (…, K, *event)."""
        x, loc = value.unsqueeze(self.place), self.loc
        if self.coefficients is not None:
            moved, from_middle = [], x - self._middle
            for c, (place, own) in enumerate(zip(loc.split(1, self.first), self._coefficients(), strict=True)):
                shift = (own * from_middle.narrow(self.first, 0, c)).sum(self.first, keepdim=True)
                moved.append(place + shift)
            loc = torch.cat(moved, self.first)
        return log_mass(loc, self.scale, x, self.levels)

    def _mixed(self, masses: Tensor) -> Tensor:
        """log sum_k w_k prod P, (…, *event), of pixels with one channel."""
        if self.coefficients is not None:
            masses = masses.sum(self.first, keepdim=True)
        return (self.logits + masses).logsumexp(self.place) - self.logits.logsumexp(self.place)

    def _in_order(
        self,
        loc: Tensor,
        scale: Tensor,
        coefficients: Tensor,
        known: tuple[Tensor, Tensor] | None,
        give: Callable[[Tensor, Tensor, int], Tensor],
    ) -> Tensor:
        """What `give` makes of the place and the scale of each channel, moved by those before it; what is known, where
        it is.
        """
        found: list[Tensor] = []
        for c in range(loc.shape[self.first]):
            place = loc.narrow(self.first, c, 1)
            for j, x in enumerate(found):
                place = place + coefficients.narrow(self.first, c * (c - 1) // 2 + j, 1) * (x - self._middle)
            x = give(place, scale.narrow(self.first, c, 1).expand_as(place), self.levels)
            if known is not None:
                value, observed = (each.narrow(self.first, c, 1) for each in known)
                x = torch.where(observed, value.to(x.dtype), x)
            found.append(x)
        return torch.cat(found, self.first)

    def _coefficients(self) -> tuple[Tensor, ...]:
        """Those of each channel, none of the first."""
        return self.coefficients.split(list(range(self.event_shape[0])), self.first)  # type: ignore[union-attr]

    @property
    def _middle(self) -> float:
        return (self.levels - 1) / 2


def out_of_order(observed: Tensor) -> Tensor:
    """Whether of a pixel of `observed` (…, C, H, W) a channel is seen after one that is not, (…, 1, H, W).

    >>> out_of_order(torch.tensor([[1, 1, 0], [0, 0, 1]]).bool()[..., None, None]).flatten()
    tensor([False,  True])
    """
    return (observed[..., 1:, :, :] & ~observed[..., :-1, :, :]).any(-3, keepdim=True)


def _taken(values: Tensor, which: Tensor, place: int) -> Tensor:
    """Of values (…, K, *rest) those of the components `which` (…, 1, *some), some as the rest or 1: (…, *rest)."""
    index = which.expand(*which.shape[:place], 1, *values.shape[place + 1 :])
    return values.expand(*index.shape[:place], *values.shape[place:]).gather(place, index).squeeze(place)
