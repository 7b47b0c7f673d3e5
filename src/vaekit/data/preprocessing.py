"""How data are treated before a model sees them: pixels binarised or dequantised, once for the whole set or fresh each
time a datum is shown; images cropped, and in training at random, and flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..settings import named
from .domains import Domain
from .memmap import Array, blocks

if TYPE_CHECKING:
    import torch

Binarize = Literal["static", "stochastic", "threshold", "grey"]


@dataclass(frozen=True)
class Preprocessing:
    """What is done to data of grey levels, or of the unit interval, before a model sees them.

    With p = (x - location) / scale in [0, 1], `binarize` is

    - `static`: 1 with probability p, drawn once by `seed`
    - `stochastic`: 1 with probability p, drawn each time a datum is shown
    - `threshold`: 1 where p > 0.5
    - `grey`: p itself, scored as a Bernoulli probability: that number is no likelihood

    All of these leave binary data as they are, whose Bernoulli probability is a likelihood.

    `dequantize` adds uniform noise in (0, 1) to grey levels, fresh each time, which gives them a density (Theis, van
    den Oord and Bethge 2016, "A note on the evaluation of generative models", section 3.1).

    Of images, `crop` shows a part of so many pixels, one number or height and width: the middle, and in training one
    drawn afresh each time. With `flip` training shows one half of the images, drawn afresh, mirrored left to right.

    Raises `ValueError` for an unknown `binarize`, or both at once.

    >>> Preprocessing(binarize="threshold").domain(Domain("grey", levels=17))
    Domain('binary')
    """

    binarize: Binarize | None = None
    dequantize: bool = False
    seed: int = 0
    crop: int | tuple[int, int] | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        if self.binarize is not None and self.binarize not in get_args(Binarize):
            raise ValueError(f"unknown binarize={self.binarize!r}; accepted: {', '.join(get_args(Binarize))} or None")
        if self.binarize and self.dequantize:
            raise ValueError(f"binarize={self.binarize!r} and dequantize=True exclude each other; choose one")

    @property
    def random(self) -> bool:
        """Whether a datum differs each time it is shown."""
        return self.dequantize or self.binarize == "stochastic"

    @property
    def varies(self) -> bool:
        """Whether training shows other parts of images than evaluation does, or shows them mirrored."""
        return self.crop is not None or self.flip

    @property
    def window(self) -> tuple[int, int] | None:
        """Height and width of a crop, if there is one."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    def event_shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is shown of data of the shape `stored`; raises `ValueError` where they are no images, or
        smaller than a crop.

        >>> Preprocessing(crop=(24, 16)).event_shape((3, 32, 32))
        (3, 24, 16)
        """
        if (self.window or self.flip) and len(stored) != 3:
            given = named("data.crop", self.crop) if self.window else named("data.flip", True)
            raise ValueError(f"{given} is for images; the data have the shape {stored}")
        if self.window is None:
            return stored
        height, width = stored[1:]
        if not (1 <= self.window[0] <= height and 1 <= self.window[1] <= width):
            given, most = named("data.crop", self.crop), f"[1, 1] to [{height}, {width}]"
            raise ValueError(f"{given}, but the images are {height} pixels high and {width} wide; accepted: {most}")
        return (stored[0], *self.window)

    def domain(self, domain: Domain) -> Domain:
        """The domain of what is shown; raises `ValueError` where this makes no sense for the stored one."""
        if self.dequantize:
            if domain.kind != "grey" or domain.levels is None:
                raise ValueError(f"{named('data.dequantize', True)} is for grey levels; the data are {domain}")
            return Domain("unit", scale=float(domain.levels), missing=domain.missing)
        if self.binarize is None or _is_binary(domain):
            return domain
        if domain.kind not in ("grey", "unit"):
            given = named("data.binarize", self.binarize)
            raise ValueError(f"{given} is for grey levels or numbers of an interval; the data are {domain}")
        return Domain("binary", relaxed=self.binarize == "grey", missing=domain.missing)

    def described(self, domain: Domain) -> str:
        """What a model that is used elsewhere has to be given of data x of the stored `domain`; empty where it is x.

        >>> Preprocessing(binarize="threshold").described(Domain("grey", levels=17))
        '1 where x / 16 is above 0.5, else 0'
        """
        said = [] if self.window is None else ["the middle of the image, {} high and {} wide".format(*self.window)]
        if self.dequantize:
            said.append("x and a uniform draw from 0 to 1")
        elif self.binarize is not None and not _is_binary(domain):
            plain = domain.location == 0 and isinstance(domain.scale, float)
            p = f"x / {domain.scale:g}" if plain else "x as a share of its range"
            p = "x" if plain and domain.scale == 1 else p
            drawn = f"1 with probability {p}, else 0"
            said.append({"grey": p, "threshold": f"1 where {p} is above 0.5, else 0"}.get(self.binarize, drawn))
        return "; ".join(said)

    def untreated(self, domain: Domain) -> Domain:
        """The domain of what is treated to be of `domain`, where that tells."""
        levels = domain.scale
        if self.dequantize and domain.kind == "unit" and domain.location == 0 and isinstance(levels, float):
            return Domain("grey", levels=int(levels)) if levels == int(levels) >= 2 else domain
        return domain

    def once(self, x: Array, domain: Domain, split: str) -> Array:
        """What is computed once for the rows x (N, *event_shape) of a split: 0/1 bytes, or x as it is.

        The draws depend on `seed`, the name of the split and the place of a row only. Raises as `domain` does.
        """
        self.domain(domain)
        if self.binarize not in ("static", "threshold") or _is_binary(domain):
            return x
        location, scale = np.asarray(domain.location, np.float32), np.asarray(domain.scale, np.float32)
        rng = np.random.default_rng([self.seed, *split.encode()])
        result = np.empty(x.shape, np.uint8)
        for start, block in blocks(x):
            p = (block.astype(np.float32) - location) / scale
            result[start : start + len(block)] = p > (
                rng.random(p.shape, dtype=np.float32) if self.binarize == "static" else 0.5
            )
        return result

    def batch(self, x: torch.Tensor, domain: Domain) -> torch.Tensor:
        """What a model sees of a stored batch x (B, *event_shape): float32 on the same device, or float64 as stored.

        Random preprocessing draw from torch's generator of that device.
        """
        import torch

        shares = self.shares(domain) and self.binarize in ("stochastic", "grey")  # the others `once` has done
        x = x if x.dtype == torch.float64 and not shares else x.to(torch.float32)
        if not (shares or self.dequantize):
            return x
        return self.treated(x, domain, torch.rand_like(x) if self.draws(domain) else None)

    def draws(self, domain: Domain) -> bool:
        """Whether it makes of data of the stored `domain` something that is drawn, once or each time."""
        return self.dequantize or (self.binarize in ("static", "stochastic") and self.shares(domain))

    def treated(self, x: torch.Tensor, domain: Domain, uniform: torch.Tensor | None = None) -> torch.Tensor:
        """What a model sees of x (B, *event_shape) of the stored `domain`, but for a crop: where that `draws`, by
        `uniform` numbers in (0, 1) of the shape of x.

        >>> import torch
        >>> x, levels = torch.tensor([4.0, 12.0]), Domain("grey", levels=17)
        >>> [Preprocessing(each).treated(x, levels, torch.tensor([0.1, 0.9])).tolist() for each in ("grey", "static")]
        [[0.25, 0.75], [1.0, 0.0]]
        """
        if self.shares(domain):
            shifted = x if domain.location == 0 else x - _tensor(domain.location, x)
            p = shifted / _tensor(domain.scale, x)
            return p if self.binarize == "grey" else ((0.5 if uniform is None else uniform) < p).float()
        if self.dequantize and domain.levels is not None and uniform is not None:
            # Exactly 0 or the number of levels, which rounding reaches, would make a logit infinite.
            return (x + uniform).clamp(2.0**-25, domain.levels * (1 - 2.0**-24))
        return x

    def in_range(self, x: torch.Tensor, domain: Domain) -> torch.Tensor:
        """Means of what was binarised, x (B, *event_shape) between 0 and 1, in the range of the stored `domain`."""
        return _tensor(domain.location, x) + _tensor(domain.scale, x) * x if self.shares(domain) else x

    def shares(self, domain: Domain) -> bool:
        """Whether it takes x as a share of its range."""
        return self.binarize is not None and not _is_binary(domain)


def _is_binary(domain: Domain) -> bool:
    return domain.kind == "binary" and not domain.relaxed


def _tensor(value: float | tuple[float, ...], like: torch.Tensor) -> torch.Tensor | float:
    import torch

    return value if isinstance(value, float) else torch.tensor(value, device=like.device)
