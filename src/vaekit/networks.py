"""Networks: plain modules from a tensor (and an optional condition) to a tensor, with no probability in them.

One contract for all, encoders and decoders alike: `forward(x, y=None)` maps x (…, *in_shape), with y (…, C) when built
with `condition=C`, to (…, *out_shape), for any number of leading dimensions (samples S, batch B). Built without an
`out_shape`, a network ends in the features of its last hidden layer, which is what a posterior's heads want;
`out_shape` then tells how many there are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, linear

from .errors import unknown

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


class BatchNorm(nn.BatchNorm1d):
    """Each feature of x (…, F) standardised over all that is before it (Ioffe & Szegedy 2015).

    Over the batch in training, by running averages in evaluation, and wherever there is one row alone.

    >>> BatchNorm(3)(torch.randn(4, 5, 3)).mean((0, 1)).abs().max() < 1e-6
    tensor(True)
    """

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        if self.training and len(rows) == 1:
            return batch_norm(rows, self.running_mean, self.running_var, self.weight, self.bias).view_as(x)
        return super().forward(rows).view_as(x)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"batch": BatchNorm, "layer": nn.LayerNorm}


def activation_named(name: str) -> nn.Module:
    """The activation of that name; `ValueError` with the nearest name otherwise.

    >>> activation_named("tanh")
    Tanh()
    """
    if name not in ACTIVATIONS:
        raise ValueError(unknown("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Inside, `module` and all its submodules are in evaluation mode; afterwards each is in the mode that it was in."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, training in modes:
            each.training = training


@contextmanager
def apart(module: nn.Module) -> Iterator[None]:
    """Inside, what passes through `module` leaves no trace in what it keeps: it has copies of its saved buffers.

    For passes of what is no data, such as pseudo-inputs: a network's running averages are those of data alone.
    """
    before = [(each._buffers, dict(each._buffers), each._non_persistent_buffers_set) for each in module.modules()]
    for table, kept, derived in before:
        table.update({name: kept[name].clone() for name in kept.keys() - derived if kept[name] is not None})  # type: ignore[union-attr]
    try:
        yield
    finally:
        for table, kept, _ in before:
            table.update(kept)


class MLP(nn.Module):
    """Fully connected layers with an activation after each hidden one, before it a `normalization`: batch or layer.

    x (…, *in_shape), y (…, condition) to (…, *out_shape); without `out_shape`, to the last hidden layer's features.
    Normalised over the batch, what a row gives depends in training on the rows beside it, and a bound with it; scores
    are made in evaluation mode, where it does not.

    >>> MLP((1, 8, 8), (2, 10), hidden=(32,))(torch.zeros(5, 3, 1, 8, 8)).shape
    torch.Size([5, 3, 2, 10])
    >>> MLP((4,), hidden=(32, 16), condition=3).out_shape
    (16,)
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape | None = None,
        condition: int = 0,
        hidden: tuple[int, ...] = (512,),
        activation: str = "relu",
        normalization: str | None = None,
    ) -> None:
        super().__init__()
        if any(width < 1 for width in hidden):
            raise ValueError(f"hidden layer sizes must be at least 1, got {list(hidden)}")
        if normalization is not None and normalization not in NORMALIZATIONS:
            raise ValueError(unknown("normalization", normalization, NORMALIZATIONS))
        self.in_shape, self.condition = tuple(in_shape), condition
        sizes = [math.prod(in_shape) + condition, *hidden]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            normalized = [NORMALIZATIONS[normalization](fan_out)] if normalization else []
            # The average over the batch takes a bias away.
            bias = not any(isinstance(each, BatchNorm) for each in normalized)
            layers += [nn.Linear(fan_in, fan_out, bias), *normalized, activation_named(activation)]
        if out_shape is not None:
            layers.append(nn.Linear(sizes[-1], math.prod(out_shape)))
        self.out_shape = (sizes[-1],) if out_shape is None else tuple(out_shape)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        flat = x.flatten(x.dim() - len(self.in_shape))
        if not self.condition or not self.layers:
            return self.layers(join(flat, y, self.condition)).unflatten(-1, self.out_shape)
        # The first layer of (x, y) in two: where y has more leading dimensions, x is not multiplied for each of them.
        weight, bias = self.layers[0].weight, self.layers[0].bias
        of_x, of_y = weight.split([flat.shape[-1], self.condition], -1)  # type: ignore[operator]
        hidden = linear(flat, of_x, bias) + linear(_required(y, self.condition).to(flat.dtype), of_y)  # type: ignore[arg-type]
        return self.layers[1:](hidden).unflatten(-1, self.out_shape)


def _in_full_if_narrow(convolve: Callable[[Tensor], Tensor], weight: Tensor, images: Tensor) -> Tensor:
    """`convolve` of images (…, H, W), in the type of its weight where they are narrower than the kernel.

    On processors with products in bfloat16 torch 2.13 makes the gradient of such a layer's weight from memory that was
    never written. They are the smallest of layers: nothing is lost.
    """
    kind = images.device.type
    narrow = any(map(operator.lt, images.shape[-2:], weight.shape[-2:]))
    if not narrow or kind == "meta" or not torch.is_autocast_enabled(kind):
        return convolve(images)
    with torch.autocast(kind, enabled=False):
        return convolve(images.to(weight.dtype))


class Conv(nn.Conv2d):
    """As torch's, but in full precision where images are narrower than the kernel."""

    def forward(self, images: Tensor) -> Tensor:
        return _in_full_if_narrow(super().forward, self.weight, images)


class TransposedConv(nn.ConvTranspose2d):
    """As torch's, but in full precision where images are narrower than the kernel."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        return _in_full_if_narrow(super().forward, self.weight, images)


class ConvEncoder(nn.Module):
    """Strided 3×3 convolutions, each halving height and width (rounded up), then one fully connected layer.

    Images (…, C, H, W) of any size; y (…, condition) joins the image as constant channels.

    >>> ConvEncoder((1, 28, 20), channels=(8, 16), dense=32)(torch.zeros(5, 1, 28, 20)).shape
    torch.Size([5, 32])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape | None = None,
        condition: int = 0,
        channels: tuple[int, ...] = (32, 64),
        dense: int = 256,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.in_shape, self.condition = _image_shape(in_shape, channels, dense), condition
        sizes = [in_shape[0] + condition, *channels]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [Conv(fan_in, fan_out, 3, stride=2, padding=1), activation_named(activation)]
        height, width = _halvings(in_shape[1:], len(channels))[-1]
        layers += [nn.Flatten(), nn.Linear(channels[-1] * height * width, dense), activation_named(activation)]
        if out_shape is not None:
            layers.append(nn.Linear(dense, math.prod(out_shape)))
        self.out_shape = (dense,) if out_shape is None else tuple(out_shape)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.condition:
            y = _required(y, self.condition)
            channels = y[..., None, None].expand(*y.shape, *x.shape[-2:])
            x = _cat(x, channels, -3)
        lead = x.shape[:-3]
        return self.layers(x.reshape(-1, *x.shape[-3:])).reshape(*lead, *self.out_shape)


class ConvDecoder(nn.Module):
    """One fully connected layer, then transposed 3×3 convolutions, each doubling height and width back to the image's.

    z (…, *in_shape) to parameter maps (…, P, C, H, W); y (…, condition) joins z. The mirror of `ConvEncoder`:
    `channels` are given in its order, from the image inwards.

    >>> ConvDecoder((10,), (2, 1, 28, 20), channels=(8, 16))(torch.zeros(3, 5, 10)).shape
    torch.Size([3, 5, 2, 1, 28, 20])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        condition: int = 0,
        channels: tuple[int, ...] = (32, 64),
        dense: int = 256,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        _image_shape(tuple(out_shape)[-3:], channels, dense)
        self.in_shape, self.out_shape, self.condition = tuple(in_shape), tuple(out_shape), condition
        sizes = _halvings(out_shape[-2:], len(channels))
        height, width = sizes[-1]
        layers: list[nn.Module] = [
            nn.Linear(math.prod(in_shape) + condition, dense),
            activation_named(activation),
            nn.Linear(dense, channels[-1] * height * width),
            activation_named(activation),
            nn.Unflatten(-1, (channels[-1], height, width)),
        ]
        maps = [*reversed(channels), math.prod(out_shape[:-2])]
        for i, (fan_in, fan_out) in enumerate(pairwise(maps)):
            (small, target) = (sizes[-1 - i], sizes[-2 - i])
            # A stride of 2 maps n to 2n - 1; output padding makes up the one missing row or column of an even size.
            extra = (target[0] - (2 * small[0] - 1), target[1] - (2 * small[1] - 1))
            layers.append(TransposedConv(fan_in, fan_out, 3, stride=2, padding=1, output_padding=extra))
            if i < len(channels) - 1:
                layers.append(activation_named(activation))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        flat = join(x.flatten(x.dim() - len(self.in_shape)), y, self.condition)
        return self.layers(flat.reshape(-1, flat.shape[-1])).reshape(*flat.shape[:-1], *self.out_shape)


def join(x: Tensor, y: Tensor | None, condition: int) -> Tensor:
    """x (…, N) with the condition y (…, C) behind it, (…, N + C); y is repeated over leading dimensions it lacks."""
    return _cat(x, _required(y, condition), -1) if condition else x


def _required(y: Tensor | None, condition: int) -> Tensor:
    if y is None:
        raise ValueError(f"this network was built with condition={condition}: it needs y of shape (…, {condition})")
    return y


def _cat(x: Tensor, y: Tensor, dim: int) -> Tensor:
    lead = torch.broadcast_shapes(x.shape[:dim], y.shape[:dim])
    return torch.cat([x.expand(*lead, *x.shape[dim:]), y.to(x.dtype).expand(*lead, *y.shape[dim:])], dim)


def _image_shape(shape: Shape, channels: tuple[int, ...], dense: int) -> tuple[int, ...]:
    if len(shape) != 3:
        raise ValueError(
            f"a convolutional network needs images of shape (C, H, W), got data of shape {tuple(shape)}; use 'mlp'"
        )
    if not channels or any(width < 1 for width in channels):
        raise ValueError(f"channels must be one or more sizes of at least 1, got {list(channels)}")
    if dense < 1:
        raise ValueError(f"dense must be at least 1, got {dense}")
    return tuple(shape)


def _halvings(size: Shape, times: int) -> list[tuple[int, int]]:
    sizes = [(size[0], size[1])]
    for _ in range(times):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


ENCODERS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "conv": ConvEncoder}
DECODERS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "conv": ConvDecoder}
