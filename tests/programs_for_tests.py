"""Small models as programs, what is given to these, and which there are none of."""

from __future__ import annotations

from typing import Any

import torch
from models_for_tests import data_of, fits, model_of, tried
from torch import Tensor

from vaekit.interop.export import program
from vaekit.models import VAE
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS

B = 5
PAIRS = [(q, p) for q in PARTS.posteriors for p in PARTS.priors if fits(q, p) and tried(q, p)]
REFUSED = {
    ("sample", "transformer"): "Sequential",
    ("sample", "resampled"): "Resampled",
    ("sample", "transformer-tokens"): "JointTokens",
    ("sample", "masked-tokens"): "JointTokens",
    ("score", "masked-tokens"): "draws numbers of its own",
    ("sample", "dirichlet"): "Dirichlet",
}
"""By program and prior, what there is none of: priors that draw part after part, and one whose bound is drawn."""


def small(**options: Any) -> VAE:
    return model_of(**options).float().eval()


def tabular(kind: str) -> tuple[int, ...]:
    return (9,) if kind == "columns" else (4,)


def with_holes(model: VAE, seed: int = 0) -> Tensor:
    x = data_of(model.domain, (B, *model.event_shape), seed).float()
    cells = x.view(B, -1) if x.shape[1] == 1 else x  # of images of one channel pixels, else all of a channel
    cells[0, 1] = cells[2, 0] = torch.nan
    return x


def noise_of(*shape: int, seed: int = 0) -> Tensor:
    with seeded(seed):
        return torch.randn(*shape)


def ran(name: str, model: VAE, *inputs: Tensor, labels: bool | None = None) -> tuple[Tensor, ...]:
    """Its outputs, which it has the shapes of."""
    own = program(name, model, labels)
    for port, given in zip(own.inputs, inputs, strict=True):
        assert (port.shape, port.dtype) == (given.shape[1:], given.dtype)
    with torch.no_grad():
        found = own(*inputs)
    for port, made in zip(own.outputs, found, strict=True):
        assert (port.shape, port.dtype) == (made.shape[1:], made.dtype)
    return found


def asked(model: VAE, name: str, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of a program by name."""
    found = {}
    for port in program(name, model).inputs:
        given = noise_of(B, *port.shape, seed=seed)
        found[port.name] = with_holes(model) if port.name == "x" else torch.arange(B) % 3 if port.name == "y" else given
    return found
