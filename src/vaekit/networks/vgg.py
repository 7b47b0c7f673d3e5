"""The features of VGG-16, whose weights are read from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, relu

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""The channels of its convolutions, stage by stage; between two stages height and width are halved."""


class VGGFeatures(nn.Module):
    """What VGG-16 makes of images: the output of each of its five stages, before it is pooled (Simonyan & Zisserman
    2015).

    The tensors are named as in torchvision's `vgg16`: `features.0.weight` (64, 3, 3, 3), `features.0.bias`, …,
    `features.28.bias`. They are constants, with no gradient and in no saved state. Images (N, 3, H, W), of 16 rows and
    columns at least, are standardised as its training data were. Raises `ValueError` where a tensor lacks.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, shape in shapes():
            given = tensors.get(name)
            if given is None or tuple(given.shape) != shape:
                found = "lacks" if given is None else f"has shape {tuple(given.shape)}"
                raise ValueError(
                    f"weights of VGG-16: {name!r} {found}; accepted: {shape}, as torchvision's vgg16 has it"
                )
            self.register_buffer(name.replace(".", "_"), given.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        at = 0
        for stage in WIDTHS:
            if found:
                x, at = max_pool2d(x, 2), at + 1
            for _ in stage:
                weight, bias = (getattr(self, f"features_{at}_{name}") for name in ("weight", "bias"))
                x, at = relu(conv2d(x, weight, bias, padding=1)), at + 2
            found.append(x)
        return found


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names of its tensors, each with its shape.

    >>> list(shapes())[-1]
    ('features.28.bias', (512,))
    """
    at, before = 0, 3
    for stage in WIDTHS:
        for width in stage:
            yield f"features.{at}.weight", (width, before, 3, 3)
            yield f"features.{at}.bias", (width,)
            at, before = at + 2, width
        at += 1
