"""Terms of what images look like, beside a bound: they are no likelihoods, and what they are added to is no bound then.

Images are compared as numbers of order one: from -1 to 1 where the domain of the data has two ends, else as the domain
scales them. Of a draw of z the image is the mean of p(x given z). Cells that are not observed are taken for what is
decoded, in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad

from ..data.domains import Domain
from ..distributions.moments import typical
from ..errors import check_least
from ..models.trace import Trace, corrected
from ..networks.lpips import LEAST, LPIPS
from ..networks.weights import tensors_of
from ..schedules import Schedule
from ..settings import setting, unset
from .base import Loss, at, take_schedule

Shape = Sequence[int]


def checked_images(term: str, event_shape: Shape, domain: Domain) -> None:
    """`ValueError`, naming the `term`, unless data are images (C, H, W) of ordered values."""
    if len(event_shape) != 3 or domain.kind == "categorical":
        what = f"is of images (C, H, W), the data are {domain} of shape {tuple(event_shape)}"
        raise ValueError(f"the term {term!r} {what}; {unset(f'objective.terms.{term}')}")


def compared(trace: Trace, domain: Domain) -> tuple[Tensor, Tensor]:
    """The images x (R, C, H, W) of a trace, and what its draws are decoded to, (S, R, C, H, W), as numbers of order
    one; a row for each case where a class is summed out. Where cells are missing, x has those of each draw.
    """
    x, observed, made = trace.x, trace.batch.observed, typical(trace.px)
    if trace.cases is not None:
        x, observed = trace.cases.repeat(x), None if observed is None else trace.cases.repeat(observed)
    x = x.to(made.dtype)
    if observed is not None:
        made = torch.where(observed, made, made.detach())
        x = torch.where(observed, x, made.detach())
    return of_order_one(domain, x), of_order_one(domain, made)


def of_order_one(domain: Domain, images: Tensor) -> Tensor:
    """Images of a domain, of any shape, as numbers of order one: from -1 to 1 where it has two ends.

    >>> of_order_one(Domain("grey", levels=17), torch.tensor([0.0, 4.0, 16.0]))
    tensor([-1.0000, -0.5000,  1.0000])
    """
    location, scale = (torch.as_tensor(each, dtype=images.dtype, device=images.device) for each in _units(domain))
    return (images - location) / scale


def expected(trace: Trace, values: Tensor) -> Tensor:
    """The mean of values (S, R) over all draws and data; of a class that is summed out as q(c given x) weighs it."""
    values = corrected(values, trace.latents)
    return trace.average(values if trace.cases is None else trace.cases.expected(values))


def _units(domain: Domain) -> tuple[float | tuple[float, ...], float | tuple[float, ...]]:
    if domain.limits is None:
        return domain.location, domain.scale
    low, high = domain.limits
    return (low + high) / 2, (high - low) / 2


@dataclass(frozen=True)
class Multiscale:
    """`weight` times the L1 distance of the Laplacian pyramids of image and reconstruction (Bojanowski et al. 2018, eq.
    2; Burt & Adelson 1983), which asks for edges at every scale and needs no weights of a network.

    sum_j 4^j |L_j(x) - L_j(x')|_1 over `levels` of which each has half the rows and columns of the one before, fewer of
    small images, and what is left of them. Summed over the elements of a datum, as a log-likelihood is: with weight 1 a
    unit of it is a nat of a Laplace likelihood of scale 1, in numbers of order one. The term `multiscale` is the
    distance of an element, averaged over the levels.
    """

    of_no_likelihood: ClassVar[bool] = True
    event_shape: Shape
    domain: Domain
    levels: int = 4
    weight: float | Schedule = 1.0

    def __post_init__(self) -> None:
        take_schedule(self, "weight")
        checked_images("multiscale", self.event_shape, self.domain)
        check_least("levels", self.levels)

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        x, made = compared(trace, self.domain)
        found = pyramid((made - x).flatten(0, 1), self.levels)  # which is linear
        each = torch.stack([level.abs().flatten(1).mean(1) for level in found])
        distance = expected(trace, each.sum(0).view(made.shape[:2]))
        weight = at(self.weight, progress)
        said: dict[str, Tensor | float] = {"multiscale": distance.detach() / len(each)}
        return Loss(weight * math.prod(self.event_shape) * distance, said)


def pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """The Laplacian pyramid of images (N, C, H, W): what each of at most so many levels loses when it is smoothed and
    every other row and column left out, and last what is left (Burt & Adelson 1983).

    >>> [tuple(level.shape[2:]) for level in pyramid(torch.zeros(1, 1, 12, 9), levels=4)]
    [(12, 9), (6, 5), (3, 3)]
    """
    found: list[Tensor] = []
    tap = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=images.dtype, device=images.device) / 16
    kernel = (tap[:, None] * tap).expand(images.shape[1], 1, 5, 5)
    while len(found) < levels and min(images.shape[2:]) > 4:
        smaller = conv2d(pad(images, (2, 2, 2, 2), "replicate"), kernel, stride=2, groups=images.shape[1])
        found.append(images - interpolate(smaller, size=images.shape[2:], mode="bilinear"))
        images = smaller
    return [*found, images]


class Perceptual(nn.Module):
    """`weight` times LPIPS, the distance of image and reconstruction in features of VGG-16 (Zhang et al. 2018, eq. 1).

    `weights` is a local .safetensors file with the tensors of torchvision's `vgg16`
    (`features.0.weight`, …, `features.28.bias`) and those of the package `lpips` (`lin0.model.1.weight`, …,
    `lin4.model.1.weight`); the latter may be in a file of their own, `heads`. Pickled code is refused. Images of one
    channel are taken for grey; data without ends (real ones) are standardised by their own mean and scale in place of
    ImageNet's. The distance counts once for each element of a datum, beside absolute errors, as in latent diffusion
    (Rombach et al. 2022); the term `perceptual` is the distance itself.
    """

    of_no_likelihood = True

    def __init__(
        self, event_shape: Shape, domain: Domain, weights: str, heads: str | None = None, weight: float = 1.0
    ) -> None:
        super().__init__()
        checked_images("perceptual", event_shape, domain)
        if event_shape[0] not in (1, 3) or min(event_shape[1:]) < LEAST:
            given = f"is of images of 1 or 3 channels and sides from {LEAST} on, not of {tuple(event_shape)}"
            raise ValueError(f"the term 'perceptual' {given}; without VGG-16 there is 'multiscale'")
        check_least("weight", weight, 0)
        self.domain, self.weight, self.elements = domain, float(weight), math.prod(event_shape)
        tensors = tensors_of(weights, "LPIPS", _option("weights"))
        own = tensors if heads is None else tensors_of(heads, "LPIPS", _option("heads"))
        self.lpips = LPIPS(tensors, own, domain.limits is None, _option("heads"))

    def forward(self, trace: Trace, progress: float = 1.0) -> Loss:
        x, made = compared(trace, self.domain)
        flat = made.flatten(0, 1)
        distance = self.lpips(x.expand_as(made).flatten(0, 1), flat).view(made.shape[:2])
        found = expected(trace, distance)
        return Loss(self.weight * self.elements * found, {"perceptual": found.detach()})


def _option(name: str) -> str:
    return setting(f"objective.terms.perceptual.{name}", "FILE")
