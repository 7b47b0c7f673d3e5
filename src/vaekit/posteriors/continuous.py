"""Posteriors that draw: normals, relaxed categories, flows."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from ..distributions.bounds import checked_clamp, scale_of
from ..distributions.discrete import RelaxedOneHot, checked_groups
from ..distributions.flows import (
    KINDS,
    FlowKind,
    flow_of,
    flowing,
    inverse_flowing,
    passes_said,
    start_as_identity,
)
from ..distributions.normals import TriangularNormal
from ..distributions.shapes import Scaled, independent
from ..errors import unknown, wrong_kind
from ..networks.base import BatchNorm, Shape
from ..networks.maps import Maps, same_places
from ..networks.mlp import MLP
from ..schedules import Constant, Schedule

SLOWLY = 0.01
"""How much less a full-rank posterior's correlations move in a step than its other parameters."""


class Towers(nn.Module):
    """Several MLPs on the same features (…, F), their outputs side by side, (…, sum of `sizes`).

    >>> Towers(5, (2, 3), hidden=(8,), activation="tanh")(torch.zeros(4, 5)).shape
    torch.Size([4, 5])
    """

    def __init__(self, features: int, sizes: Sequence[int], hidden: tuple[int, ...], activation: str) -> None:
        super().__init__()
        self.towers = nn.ModuleList(MLP((features,), (size,), 0, hidden, activation) for size in sizes)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([tower(features) for tower in self.towers], -1)


def head(
    features: int,
    sizes: Sequence[int],
    hidden: tuple[int, ...],
    activation: str,
    feature_shape: Shape = (),
    latent_shape: Shape = (),
) -> nn.Module:
    """Groups of parameters, side by side, from the features: linear in them, or with hidden layers each its tower.

    Of a latent of maps, given features that are maps of that height and width, each group is maps, by convolutions.
    """
    for name, size in (("features", features), ("latent", sizes[0])):
        if not isinstance(size, int):
            raise wrong_kind(name, size, "a whole number, how many there are")
    if same_places(feature_shape, latent_shape):
        return Maps(feature_shape, len(sizes) * latent_shape[0], hidden, activation)
    return Towers(features, sizes, hidden, activation) if hidden else nn.Linear(features, sum(sizes))


class DiagonalNormal(nn.Module):
    """q(z given x) = N(z; mu, diag(sigma²)), mu and log sigma² linear in the features (Kingma & Welling 2014, appendix
    C.2).

    With `hidden` layers, mu and log sigma² each have an MLP of those sizes on the features, with that `activation`.
    log sigma² is kept in `log_variance_clamp`: outside it exp under- or overflows float32 before the KL can object. Its
    gradient still leads back from there (`bounded`). With `least_kl` above 0, variances are so small that the KL from
    N(0, I) of a datum is never less nats, whatever its mean: a posterior that can't collapse (delta-VAE, Razavi et al.
    2019, section 2). Each dimension has its share of them.

    With `normalization` batch, mu and log sigma² are standardised over the batch and moved by what is learned, so that
    means vary over data whatever the decoder makes of them: against collapse (Srivastava & Sutton 2017, section 3.2).

    Of a latent of maps (C, H, W), given features that are maps of that height and width, it is convolutional: a 3×3
    convolution in place of the linear layer. One over the standard deviation of its codes, measured when it has been
    trained, is then kept with it (`models.scales`); it is 0 before.

    >>> DiagonalNormal(features=5, latent=2)(torch.zeros(4, 5)).rsample((3,)).shape
    torch.Size([3, 4, 2])
    """

    def __init__(  # noqa: PLR0913 - options of a posterior
        self,
        features: int,
        latent: int,
        log_variance_clamp: tuple[float, float] = (-10.0, 10.0),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
        feature_shape: Shape = (),
        latent_shape: Shape = (),
        least_kl: float = 0.0,
        normalization: str | None = None,
    ) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        if not 0 <= least_kl < math.inf:
            raise ValueError(f"least_kl must be at least 0 and finite, got {least_kl}")
        if least_kl:
            highest = _log_variance_of(least_kl / latent)
            if highest <= self.clamp[0]:
                fewer = f"fewer nats, or a lower log_variance_clamp than {self.clamp[0]}"
                raise ValueError(f"least_kl is {least_kl} of {latent} dimensions, which needs {fewer}")
            self.clamp = (self.clamp[0], min(self.clamp[1], highest))
        self.latent_shape = tuple(latent_shape) or (latent,)
        self.head = head(features, (latent, latent), hidden, activation, feature_shape, latent_shape)
        if isinstance(self.head, Maps):
            self.register_buffer("code_scale", torch.zeros(()))
        self.normalize = standardising(normalization, 2 * latent, self.head)

    def forward(self, features: Tensor) -> Distribution:
        parameters = self.head(features)
        loc, log_variance = (parameters if self.normalize is None else self.normalize(parameters)).chunk(2, -1)
        return independent(Normal(loc, scale_of(log_variance, self.clamp), validate_args=False))


class Standardised(nn.Module):
    """Numbers (…, F) standardised over the batch, and moved by what is learned of each.

    >>> Standardised(3)(torch.randn(100, 3)).std(0, correction=0)
    tensor([1.0000, 1.0000, 1.0000], grad_fn=<StdBackward0>)
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.bias = BatchNorm(size, affine=False), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.bias


def standardising(normalization: str | None, size: int, head: nn.Module) -> nn.Module | None:
    """What standardises the parameters that a `head` gives; None for none. `ValueError` for another than batch, and for
    maps.
    """
    if normalization is None:
        return None
    if normalization != "batch":
        raise ValueError(unknown("normalization of a posterior", normalization, ["batch"]))
    if isinstance(head, Maps):
        raise ValueError("normalization of a posterior is for vectors, but the latent is maps; leave it out")
    return Standardised(size)


def _log_variance_of(kl: float) -> float:
    """log sigma² of the N(0, sigma²) narrower than N(0, 1) whose KL from that is `kl` > 0: of (sigma² - 1 - log sigma²)
    / 2 = kl it is -1 - 2 kl - W(-exp(-1 - 2 kl)), W the main branch of Lambert's function.
    """
    from scipy.special import lambertw  # a third of a second, for who asks for it

    return float(-1 - 2 * kl - lambertw(-math.exp(-1 - 2 * kl)).real)


class FixedNormal(nn.Module):
    """q(z given x) = N(z; mu, `scale`² I), mu linear in the features, the scale the same for all data and dimensions
    (Ghosh et al. 2020, section 3).

    With the objective `autoencoder`, which takes mu for z, it is that of an autoencoder; `scale` is then what its codes
    are smoothed by where it is scored, or a prior fitted to them. With `hidden` layers mu is an MLP on the features; of
    a latent of maps it is convolutional, as `DiagonalNormal` is.

    >>> FixedNormal(features=5, latent=2, scale=0.5)(torch.zeros(4, 5)).stddev[0]
    tensor([0.5000, 0.5000])
    """

    def __init__(
        self,
        features: int,
        latent: int,
        scale: float = 0.1,
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
        feature_shape: Shape = (),
        latent_shape: Shape = (),
    ) -> None:
        super().__init__()
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be above 0 and finite, got {scale}")
        self.scale, self.latent_shape = float(scale), tuple(latent_shape) or (latent,)
        self.head = head(features, (latent,), hidden, activation, feature_shape, latent_shape)
        if isinstance(self.head, Maps):
            self.register_buffer("code_scale", torch.zeros(()))

    def forward(self, features: Tensor) -> Distribution:
        loc = self.head(features)
        return independent(Normal(loc, torch.full_like(loc, self.scale), validate_args=False))


class FullRankNormal(nn.Module):
    """q(z given x) = N(z; mu, L Lᵀ), L = diag(sigma) (I + R) lower triangular: mu, log sigma² and R linear in the
    features.

    log sigma² is kept in its bounds as in `DiagonalNormal`, which it is without R. There it starts, R being zero, and R
    learns slowly: its many gradients are mostly noise at first, which would come into every code. With `hidden` layers,
    mu, log sigma² and R each have an MLP of those sizes on the features.

    >>> FullRankNormal(features=5, latent=2)(torch.zeros(4, 5)).covariance_matrix.shape
    torch.Size([4, 2, 2])
    """

    rows_columns: Tensor

    def __init__(
        self,
        features: int,
        latent: int,
        log_variance_clamp: tuple[float, float] = (-10.0, 10.0),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        self.latent = latent
        self.head = head(features, (latent, latent), hidden, activation)
        below = latent * (latent - 1) // 2
        self.relative = head(features, (below,), hidden, activation) if below else None
        self.off_diagonal: nn.Module | None = None
        """What `relative` is in runs from before: what of L is below its diagonal, as it is."""
        if self.relative:
            last = [layer for layer in self.relative.modules() if isinstance(layer, nn.Linear)][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.register_buffer("rows_columns", torch.tril_indices(latent, latent, -1), persistent=False)

    def adopt(self, names: Collection[str]) -> None:
        """Be what the tensors of these names are the weights of: a version of this module that had them."""
        if self.relative and any(name.startswith("off_diagonal.") for name in names):
            self.relative, self.off_diagonal = None, self.relative

    def forward(self, features: Tensor) -> Distribution:
        loc, log_variance = self.head(features).chunk(2, -1)
        diagonal = scale_of(log_variance, self.clamp)
        below = diagonal[..., :0]
        if self.relative:
            below = SLOWLY * self.relative(features) * diagonal.index_select(-1, self.rows_columns[0])
        elif self.off_diagonal:
            below = self.off_diagonal(features)
        return TriangularNormal(loc, diagonal, below, self.rows_columns)


class RelaxedCategorical(nn.Module):
    """q(z given x) = a one-hot of K classes, relaxed to a point of the simplex in training (Jang et al. 2017; Maddison
    et al. 2017).

    The D dimensions are `groups` one-hots side by side, each of K = D / groups classes; the logits are linear in the
    features, or with `hidden` layers an MLP on them. In training mode draws are Gumbel-softmax at `temperature`, a
    number or a schedule that `advance` follows, with `straight_through` rounded to one-hots that keep the gradient. In
    evaluation mode they are one-hots: what is scored is the discrete model.

    >>> posterior = RelaxedCategorical(features=5, latent=6, groups=2).eval()
    >>> posterior(torch.zeros(4, 5)).sample((3,)).sum(-1).unique()
    tensor([2.])
    """

    temperature: Tensor

    def __init__(
        self,
        features: int,
        latent: int,
        temperature: float | Schedule = 0.67,
        straight_through: bool = False,
        groups: int = 1,
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.groups, self.straight_through = checked_groups(groups, latent), straight_through
        self.schedule = Constant(float(temperature)) if isinstance(temperature, (int, float)) else temperature
        self.head = head(features, (latent,), hidden, activation)
        # A buffer, changed in place: a recorded step reads it anew each time. The schedule gives it, so it isn't saved.
        self.register_buffer("temperature", torch.ones(()), persistent=False)
        self.advance(0.0)

    def advance(self, progress: float) -> None:
        """Set the temperature to that of `progress` in [0, 1]; `ValueError` unless it is above 0."""
        temperature = self.schedule(progress)
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be above 0 and finite, got {temperature} at progress {progress}")
        self.temperature.fill_(temperature)

    def forward(self, features: Tensor) -> Distribution:
        temperature = self.temperature if self.training else None
        return RelaxedOneHot(self.head(features), temperature, self.straight_through, self.groups)


class Flow(nn.Module):
    """q(z given x): z = mu + sigma n, the noise n of a flow given the features; mu and log sigma² are linear in them.

    `kind` says of which layers: `coupling`, real-valued non-volume-preserving ones (Dinh et al. 2017), or of splines,
    `spline-coupling` (Durkan et al. 2019), whose draws take two passes each; `iaf`, inverse autoregressive ones (Kingma
    et al. 2016), one pass; `maf` and `nsf`, autoregressive ones (Papamakarios et al. 2017; Durkan et al. 2019), a pass
    for each dimension of z, for latents of a few; `planar` (Rezende & Mohamed 2015), each of which moves z along one
    direction: cheap ones, to have tens of. Their numbers are of the features, by a network of the `hidden` layers, as
    in the paper, whose flow of N(mu, sigma²) this is with other numbers. It starts as the diagonal normal, its flow as
    the identity.

    The density of its own draws costs nothing more with `iaf` and `planar`. That of any other z, which `stl`, `dreg`
    and terms of all codes ask for, takes an inversion: of `iaf` a pass for each dimension, of `planar` Newton's method
    in each layer.

    >>> Flow(features=5, latent=2)(torch.zeros(4, 5)).rsample((3,)).shape
    torch.Size([3, 4, 2])
    """

    def __init__(
        self,
        features: int,
        latent: int,
        transforms: int = 4,
        hidden: tuple[int, ...] = (128,),
        log_variance_clamp: tuple[float, float] = (-10.0, 10.0),
        kind: FlowKind = "coupling",
    ) -> None:
        super().__init__()
        self.clamp = checked_clamp("log_variance_clamp", log_variance_clamp)
        self.inverse = KINDS[kind].inverse
        self.head: nn.Module | None = nn.Linear(features, 2 * latent)
        made = flow_of(latent, features, transforms, hidden, kind)
        self.transform: nn.Module = made.transform  # type: ignore[assignment]
        self.base: nn.Module = made.base  # type: ignore[assignment]
        start_as_identity(self.transform)
        self.remark = passes_said(kind, latent, "draw")

    def adopt(self, names: Collection[str]) -> None:
        """Be what the tensors of these names are the weights of: a version of this module without a diagonal."""
        if not any(name.startswith("head.") for name in names):
            self.head = None

    def forward(self, features: Tensor) -> Distribution:
        if self.head is None:
            return flowing(self.transform, self.base, features)
        loc, log_variance = self.head(features).chunk(2, -1)
        scale = scale_of(log_variance, self.clamp)
        if self.inverse:
            return inverse_flowing(self.transform, self.base, features, loc, scale)
        return Scaled(flowing(self.transform, self.base, features), loc, scale)
