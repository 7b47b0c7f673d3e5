"""Networks: modules without probability in them, `forward(x, y=None)` from (…, *in_shape) to (…, *out_shape).

`ENCODERS` and `DECODERS` are the tables of their names.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .convolutional import ConvDecoder, ConvEncoder
from .mlp import MLP
from .pyramid import PyramidEncoder, TopDown
from .residual import ResNetDecoder, ResNetEncoder
from .topics import Topics

__all__ = [
    "DECODERS",
    "ENCODERS",
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "PyramidEncoder",
    "ResNetDecoder",
    "ResNetEncoder",
    "TopDown",
    "Topics",
]

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "conv": ConvEncoder,
    "resnet": ResNetEncoder,
    "pyramid": PyramidEncoder,
}
DECODERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "conv": ConvDecoder,
    "resnet": ResNetDecoder,
    "topics": Topics,
}
