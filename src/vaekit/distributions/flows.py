"""Flows, as `zuko` makes them: modules whose forward returns a distribution, posteriors and priors as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, Transform

from .planar import PlanarLayers, numbers_of
from .shapes import _Shape, broadcast_shapes

MOST_TRANSFORMS = 1000
FEW = 2
"""Passes of coupling layers, which are not more than is usual."""
BINS = 8
"""Bins of a spline of each number, from -5 to 5."""

FlowKind = Literal["coupling", "maf", "iaf", "spline-coupling", "nsf", "planar"]


@dataclass(frozen=True)
class _Layers:
    """Of what a kind of flow is made: `numbers` for each dimension, two passes or one a dimension; `inverse` where
    draws are the fast way.
    """

    spline: bool = False
    autoregressive: bool = False
    inverse: bool = False
    planar: bool = False

    @property
    def numbers(self) -> int:
        return 3 * BINS - 1 if self.spline else 2


KINDS: Mapping[str, _Layers] = {
    "coupling": _Layers(),
    "maf": _Layers(autoregressive=True),
    "iaf": _Layers(autoregressive=True, inverse=True),
    "spline-coupling": _Layers(spline=True),
    "nsf": _Layers(spline=True, autoregressive=True),
    "planar": _Layers(inverse=True, planar=True),
}


def passes_said(kind: FlowKind, latent: int, of: Literal["draw", "density"]) -> str:
    """That a draw, or a density, of a flow of that kind takes a pass for each of many dimensions, and which kind takes
    one, in a line; nothing where that is not so.

    >>> passes_said("coupling", 16, "draw"), passes_said("nsf", FEW, "draw"), passes_said("nsf", 16, "density")
    ('', '', '')
    """
    layers = KINDS[kind]
    if not layers.autoregressive or layers.inverse == (of == "draw") or latent <= FEW:
        return ""
    other = "iaf" if of == "draw" else "maf"
    each = f"a {of} takes {latent} passes, one for each dimension of the latent"
    return f"with kind={kind} {each}, with kind={other} one: training and scoring take long"


def flow_of(
    features: int, context: int, transforms: int, hidden: tuple[int, ...], kind: FlowKind = "coupling"
) -> nn.Module:
    """A flow of that kind over `features` dimensions D, given `context` others.

    kind               | a layer                                             | draws     | densities
    -------------------|-----------------------------------------------------|-----------|----------------------------
    `coupling`         | affine, of half given the other (Dinh et al. 2017)  | two passes| one
    `spline-coupling`  | the same, of splines (Durkan et al. 2019)           | two       | one
    `maf`              | affine, of each given those before (Papamakarios et al. 2017)| D | one
    `nsf`              | the same, of splines (Durkan et al. 2019)           | D         | one
    `iaf`              | the inverse of `maf` (Kingma et al. 2016)           | one       | D, of its own last draws none
    `planar`           | z + u tanh(w · z + b) (Rezende & Mohamed 2015)      | one       | Newton's method, or none

    On the meta device it has all its tensors without their memory, and gives distributions that have shapes only.
    """
    validate = Distribution._validate_args
    import zuko  # here, since the import switches argument validation off for every distribution of the process

    Distribution.set_default_validate_args(validate)
    _check_layers(transforms, hidden)
    layers = KINDS[kind]

    def base(features: int) -> nn.Module:
        start = {"loc": torch.zeros(features), "scale": torch.ones(features)}
        return zuko.lazy.UnconditionalDistribution(_normal, **start, buffer=True)

    if layers.planar:
        hyper = zuko.nn.MLP(context, numbers_of(features, transforms), list(hidden)) if context else None
        return zuko.lazy.Flow([PlanarLayers(features, transforms, hyper)], base(features))

    def made(features: int, context: int, hidden: list[int]) -> nn.Module:
        # One dimension cannot be split in two: there, one pass is the whole (conditional) map of a number.
        passes = None if layers.autoregressive else 2 if features > 1 else 1
        own = {"bins": BINS} if layers.spline else {}
        make = zuko.flows.NSF if layers.spline else zuko.flows.MAF
        flow = make(features, context, transforms=transforms, hidden_features=hidden, passes=passes, **own)
        flow.base = base(features)
        if layers.inverse:
            flow.transform = flow.transform.inv
        return flow

    if torch.get_default_device().type != "meta" or features == 1:
        return made(features, context, list(hidden))
    # Which weights are masked is found by operations that the meta device lacks. So the smallest flow of the same
    # layers is made, and its tensors are exchanged for those of the right shapes.
    with torch.device("cpu"):
        outline = made(2, min(context, 1), [1] * len(hidden))
    sizes = [features + context, *hidden, layers.numbers * features]
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


class Inverse(Distribution):
    """z = location + scale T(n) of noise n of `base`, T what is quick to take and slow to invert: autoregressive, the
    inverse autoregressive flow of Kingma et al. 2016 (eq. 10), or planar layers (Rezende & Mohamed 2015).

    log q(z) = log base(n) - log |det dT/dn| - sum log scale. The density of the last draws is remembered, so that it,
    which is what a training asks for, costs nothing; that of any other z takes an inversion.

    >>> flow = flow_of(3, 2, 1, (4,), "iaf")
    >>> q = inverse_flowing(flow.transform, flow.base, torch.zeros(5, 2), torch.zeros(5, 3), torch.ones(5, 3))
    >>> z = q.rsample()
    >>> torch.allclose(q.log_prob(z), q.log_prob(z.clone()), atol=1e-5)
    True
    """

    arg_constraints = {}
    has_rsample = True

    def __init__(self, transform: Transform, base: Distribution, location: Tensor, scale: Tensor) -> None:
        self.transform, self.base, self.location, self.scale = transform, base, location, scale
        self._last: tuple[Tensor, Tensor, bool] | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: object = None) -> Inverse:
        lead = torch.Size(batch_shape)
        location, scale = self.location.expand(*lead, -1), self.scale.expand(*lead, -1)
        return Inverse(self.transform, self.base.expand(lead), location, scale)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        return self.from_noise(self.base.rsample(torch.Size(sample_shape)))

    def _outwards(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z of noise, and its log-density."""
        noise = noise.expand(*broadcast_shapes(noise.shape[:-1], self.batch_shape), -1)
        out, log_slope = self.transform.call_and_ladj(noise)  # type: ignore[attr-defined]
        log_prob = self.base.log_prob(noise) - log_slope - self.scale.log().sum(-1)
        return self.location + self.scale * out, log_prob

    def log_prob(self, value: Tensor) -> Tensor:
        # A draw made without gradients is a number like any other: how its density moves is not how noise moves it.
        if self._last and self._last[0] is value and (self._last[2] or not torch.is_grad_enabled()):
            return self._last[1]
        return self._outwards(self.transform.inv((value - self.location) / self.scale))[1]

    @property
    def noise_size(self) -> int:
        return self.event_shape[0]

    def from_noise(self, noise: Tensor) -> Tensor:
        """The draw (…, D) that standard normal noise (…, D) makes."""
        z, log_prob = self._outwards(noise.to(self.location))
        self._last = z, log_prob, torch.is_grad_enabled()
        return z


def flowing(transform: nn.Module, base: nn.Module, context: Tensor) -> Distribution:
    """The distribution of a flow's transform and base given a context (…, C)."""
    from zuko.distributions import NormalizingFlow

    return NormalizingFlow(transform(context), base(context).expand(context.shape[:-1]))


def inverse_flowing(
    transform: nn.Module, base: nn.Module, context: Tensor, location: Tensor, scale: Tensor
) -> Distribution:
    """That of a flow whose draws are the fast way, moved and scaled."""
    return Inverse(transform(context).inv, base(context).expand(context.shape[:-1]), location, scale)


def _check_layers(transforms: int, hidden: tuple[int, ...]) -> None:
    if not 1 <= transforms <= MOST_TRANSFORMS:
        raise ValueError(f"transforms must be from 1 to {MOST_TRANSFORMS}, got {transforms}")
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden layer sizes must be at least 1, got {list(hidden)}")


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
