"""What networks are made of: activations, normalisation, conditions beside inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import index

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from ..distributions.shapes import broadcast_shapes
from ..errors import unknown, wrong_kind

Shape = Sequence[int]


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
    "leaky-relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


class LoneRowNorm(nn.modules.batchnorm._BatchNorm):
    """A batch normalisation by running averages wherever there is one row alone, which has no spread."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)
        return super().forward(x)


class BatchNorm(LoneRowNorm, nn.BatchNorm1d):
    """Each feature of x (…, F) standardised over all that is before it (Ioffe & Szegedy 2015).

    Over the batch in training, by running averages in evaluation, and wherever there is one row alone.

    >>> BatchNorm(3)(torch.randn(4, 5, 3)).mean((0, 1)).abs().max() < 1e-6
    tensor(True)
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view_as(x)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"batch": BatchNorm, "layer": nn.LayerNorm}


def check_normalization(name: str | None) -> None:
    """`ValueError` for a name that is none of `NORMALIZATIONS`."""
    if name is not None and name not in NORMALIZATIONS:
        raise ValueError(unknown("normalization", name, NORMALIZATIONS))


def check_dropout(fraction: float) -> None:
    """`ValueError` for what is no part of a layer's outputs that can be set to 0."""
    if not 0 <= fraction < 1:
        raise ValueError(f"dropout must be from 0 to less than 1, got {fraction}")


def sizes_of(name: str, value: object) -> tuple[int, ...]:
    """A shape, or the widths of layers, as a tuple; `TypeError`, one line, for anything else.

    >>> sizes_of("hidden", [32, 64])
    (32, 64)
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        with suppress(TypeError):
            return tuple(map(index, value))
    one = value if isinstance(value, int) else 32
    raise wrong_kind(name, value, f"whole numbers, also of one a tuple, such as ({one},)")


def activation_named(name: str) -> nn.Module:
    """The activation of that name; `ValueError` with the nearest name otherwise.

    >>> activation_named("tanh")
    Tanh()
    """
    if name not in ACTIVATIONS:
        raise ValueError(unknown("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]()


def flat(network: nn.Module, made: Tensor) -> Tensor:
    """What `network` made, (…, *out_shape), as vectors (…, F)."""
    return made.flatten(-max(1, len(getattr(network, "out_shape", ()))))


def shaped(network: nn.Module, z: Tensor) -> Tensor:
    """Vectors z (…, N) as `network` takes them, (…, *in_shape)."""
    shape = getattr(network, "in_shape", ())
    return z.unflatten(-1, tuple(shape)) if len(shape) > 1 else z


class Chain(nn.Module):
    """Networks one after another, each of what the one before it made, and all of the condition y, if there is one."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.out_shape: tuple[int, ...] = networks[-1].out_shape  # type: ignore[assignment]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        for network in self.networks:
            x = network(x) if y is None else network(x, y)
        return x


def last_weight(network: nn.Module) -> Tensor | None:
    """The weights of the last layer of a network, the last in the order in which it has them; None without any."""
    return next((each for each in reversed(list(network.parameters())) if each.dim() > 1), None)


def one_hots(y: Tensor, size: int, like: Tensor) -> Tensor:
    """Labels y (B,) as one-hots (B, `size`) in the type of `like`; a condition (B, C) as it is, in that type."""
    if y.dim() == 1:
        # Not `one_hot` of torch: that reads the largest label back to the host to check it.
        y = y[:, None] == torch.arange(size, device=y.device)
    return y.to(like.dtype)


def join(x: Tensor, y: Tensor | None, condition: int) -> Tensor:
    """x (…, N) with the condition y (…, C) behind it, (…, N + C); y is repeated over leading dimensions it lacks."""
    return _cat(x, required(y, condition), -1) if condition else x


def with_channels(x: Tensor, y: Tensor | None, condition: int) -> Tensor:
    """Maps x (…, N, H, W) with the condition y (…, C) behind them as constant ones, (…, N + C, H, W)."""
    if not condition:
        return x
    y = required(y, condition)
    return _cat(x, y[..., None, None].expand(*y.shape, *x.shape[-2:]), -3)


def required(y: Tensor | None, condition: int) -> Tensor:
    """y, which a network with a condition is to be given; `ValueError` where it is not."""
    if y is None:
        raise ValueError(f"this network was built with condition={condition}: it needs y of shape (…, {condition})")
    return y


def _cat(x: Tensor, y: Tensor, dim: int) -> Tensor:
    lead = broadcast_shapes(x.shape[:dim], y.shape[:dim])
    return torch.cat([x.expand(*lead, *x.shape[dim:]), y.to(x.dtype).expand(*lead, *y.shape[dim:])], dim)
