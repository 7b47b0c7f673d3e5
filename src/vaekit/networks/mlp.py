"""Fully connected networks."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import linear

from .base import (
    NORMALIZATIONS,
    BatchNorm,
    Shape,
    activation_named,
    check_dropout,
    check_normalization,
    join,
    required,
    sizes_of,
)


class Gated(nn.Module):
    """An activation of one half of x (…, 2 F), times the sigmoid of the other: (…, F) (Dauphin et al. 2017, eq. 1).

    >>> import torch
    >>> Gated(nn.Identity())(torch.tensor([3.0, 0.0]))
    tensor([1.5000])
    """

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, -1)
        return self.activation(value) * gate.sigmoid()


class MLP(nn.Module):
    """Fully connected layers with an activation after each hidden one, before it a `normalization`: batch or layer.

    x (…, *in_shape), y (…, condition) to (…, *out_shape); without `out_shape`, to the last hidden layer's features.
    Normalised over the batch, what a row gives depends in training on the rows beside it, and a bound with it; scores
    are made in evaluation mode, where it does not.

    With `skip` what a linear layer makes of (x, y) is added, and the others add nothing at first: a decoder starts as
    that of factor analysis, and bends where the data do. It needs an `out_shape`.

    With `gated` each hidden layer is multiplied by the sigmoid of another linear one of the same inputs, as wide; with
    the activation identity these are the layers of Tomczak & Welling 2018. `dropout` is the part of a hidden layer's
    outputs that is set to 0 in training, others each time (Srivastava et al. 2014).

    >>> import torch
    >>> MLP((1, 8, 8), (2, 10), hidden=(32,))(torch.zeros(5, 3, 1, 8, 8)).shape
    torch.Size([5, 3, 2, 10])
    >>> MLP((4,), hidden=(32, 16), condition=3).out_shape
    (16,)
    """

    def __init__(  # noqa: PLR0913 - options of a network
        self,
        in_shape: Shape,
        out_shape: Shape | None = None,
        condition: int = 0,
        hidden: tuple[int, ...] = (512,),
        activation: str = "relu",
        normalization: str | None = None,
        skip: bool = False,
        gated: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_dropout(dropout)
        in_shape, hidden = sizes_of("in_shape", in_shape), sizes_of("hidden", hidden)
        out_shape = None if out_shape is None else sizes_of("out_shape", out_shape)
        if any(width < 1 for width in hidden):
            raise ValueError(f"hidden layer sizes must be at least 1, got {list(hidden)}")
        check_normalization(normalization)
        self.in_shape, self.condition = in_shape, condition
        sizes = [math.prod(in_shape) + condition, *hidden]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            width = 2 * fan_out if gated else fan_out
            normalized = [NORMALIZATIONS[normalization](width)] if normalization else []
            # The average over the batch takes a bias away.
            bias = not any(isinstance(each, BatchNorm) for each in normalized)
            made = activation_named(activation)
            layers += [nn.Linear(fan_in, width, bias), *normalized, Gated(made) if gated else made]
            layers += [nn.Dropout(dropout)] if dropout else []
        if out_shape is not None:
            layers.append(nn.Linear(sizes[-1], math.prod(out_shape)))
        self.out_shape = (sizes[-1],) if out_shape is None else out_shape
        self.layers = nn.Sequential(*layers)
        self.linear = None
        if skip and out_shape is not None and hidden:
            self.linear = nn.Linear(sizes[0], math.prod(out_shape))
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        flat = x.flatten(x.dim() - len(self.in_shape))
        if self.linear is not None:
            both = join(flat, y, self.condition)
            return (self.layers(both) + self.linear(both)).unflatten(-1, self.out_shape)
        if not self.condition or not self.layers:
            return self.layers(join(flat, y, self.condition)).unflatten(-1, self.out_shape)
        # The first layer of (x, y) in two: where y has more leading dimensions, x is not multiplied for each of them.
        weight, bias = self.layers[0].weight, self.layers[0].bias
        of_x, of_y = weight.split([flat.shape[-1], self.condition], -1)  # type: ignore[operator]
        hidden = linear(flat, of_x, bias) + linear(required(y, self.condition).to(flat.dtype), of_y)  # type: ignore[arg-type]
        return self.layers[1:](hidden).unflatten(-1, self.out_shape)
