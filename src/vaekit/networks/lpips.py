"""LPIPS, how different two images look, in features of VGG-16 whose weights are read from a file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .vgg import WIDTHS, VGGFeatures

LEAST = 16
"""The rows and columns that VGG-16 needs."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the channels of ImageNet's pixels between 0 and 1, red, green, blue."""


class LPIPS(nn.Module):
    """The distance (N,) of images (N, C, H, W), C 1 or 3, and others in features of VGG-16 (Zhang et al. 2018, eq. 1).

    Images are numbers of order one: from -1 to 1, or where they are `standard`, standardised by their own mean and
    scale in place of ImageNet's. The tensors are those of `VGGFeatures`, `heads` those of the package `lpips`
    (`lin0.model.1.weight`, …, `lin4.model.1.weight`). Raises `ValueError` where a tensor lacks, with `advice` on heads.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], heads: Mapping[str, Tensor], standard: bool = False, advice: str = ""
    ) -> None:
        super().__init__()
        self.features, self.standard, kind = VGGFeatures(tensors), standard, torch.get_default_dtype()
        for i, stage in enumerate(WIDTHS):
            name, size = f"lin{i}.model.1.weight", stage[-1]
            head = heads.get(name)
            if head is None or head.numel() != size:
                found = "lacks" if head is None else f"has shape {tuple(head.shape)}"
                other = f"(1, {size}, 1, 1); they may be in a file of their own: {advice}"
                raise ValueError(f"weights of LPIPS: {name!r} {found}; accepted: {other}")
            self.register_buffer(f"head{i}", head.to(kind).view(-1, 1, 1), persistent=False)
        for name, value in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(value, dtype=kind).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for i, (one, two) in enumerate(zip(self._seen(x), self._seen(other), strict=True)):
            gap = (_normed(one) - _normed(two)).square() * getattr(self, f"head{i}")
            total = total + gap.sum(1).mean((1, 2))
        return total

    def _seen(self, images: Tensor) -> list[Tensor]:
        images = images.expand(-1, 3, -1, -1)
        if not self.standard:
            images = (0.5 * (images + 1) - self.mean) / self.deviation  # type: ignore[operator]
        return self.features(images)


def _normed(features: Tensor) -> Tensor:
    """Features (N, F, H, W) of length one at every place; within the root, whose gradient at 0 is infinite."""
    return features / (features.square().sum(1, keepdim=True) + 1e-20).sqrt().clamp(min=1e-10)
