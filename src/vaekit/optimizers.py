"""Optimizers by name: torch's, and Muon of all weights of a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adagrad, Adam, AdamW, Optimizer

MATRICES = (2, 4)
"""Dimensions of weights whose steps are made orthogonal: of plain layers, and of convolutions of images."""


class Muon(Optimizer):
    """Steps of matrices are made orthogonal (Muon, Jordan et al. 2024), and as large as AdamW's would be, so that they
    go by the same learning rate (Liu et al. 2025); all other weights are AdamW's.

    A step of a matrix (A, B) is 0.2 lr sqrt(max(A, B)) O, O the orthogonal matrix nearest to the `momentum` of its
    gradients, by five iterations of Newton and Schulz in bfloat16. The weight of a convolution of images, (A, C, H, W),
    is the matrix (A, C H W).

    >>> weight, bias = torch.nn.Parameter(torch.eye(3)), torch.nn.Parameter(torch.zeros(3))
    >>> optimizer = Muon([weight, bias], lr=0.1)
    >>> (weight.sum() + bias.sum()).backward()
    >>> optimizer.step()
    >>> round(bias[0].item(), 3)
    -0.1
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        fused: bool | None = None,
    ) -> None:
        given = list(params)
        matrices, others = ([p for p in given if (p.dim() in MATRICES) is is_matrix] for is_matrix in (True, False))
        self.optimizers: list[Optimizer] = []
        if matrices:
            own: dict[str, Any] = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
            flat = [p.detach().flatten(1) for p in matrices]
            self.optimizers.append(torch.optim.Muon(flat, adjust_lr_fn="match_rms_adamw", **own))
        if others:
            own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": fused}
            self.optimizers.append(AdamW(others, **own))
        groups = [group for each in self.optimizers for group in each.param_groups]
        weights = [each for each in (matrices, others) if each]
        super().__init__([{**group, "params": own} for group, own in zip(groups, weights, strict=True)], {})

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"optimizers": self.optimizers}

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all weights by their gradients."""
        loss = None if closure is None else closure()
        for each, group in zip(self.optimizers, self.param_groups, strict=True):
            weights = [p for p in group["params"] if p.grad is not None]
            # Of one state, which another may have taken the place of.
            flat = weights if isinstance(each, AdamW) else [_flat(p) for p in weights]
            each.state = defaultdict(dict, {own: self.state[p] for own, p in zip(flat, weights, strict=True)})
            each.param_groups = [{**group, "params": flat}]
            each.step()
            for own, p in zip(flat, weights, strict=True):
                if own.data_ptr() != p.data_ptr():  # a copy, where the memory is not in that order
                    p.detach().copy_(own.view(p.shape))
        return loss


def _flat(weight: Tensor) -> Tensor:
    """A weight and its gradient as matrices."""
    flat = weight.detach().flatten(1)
    flat.grad = None if weight.grad is None else weight.grad.flatten(1)
    return flat


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": Adagrad,
    "muon": Muon,
}
