"""Optimizers by name: torch's, and Muon of all weights of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adagrad, Adam, AdamW, Optimizer


class Muon(Optimizer):
    """Steps of matrices are made orthogonal (Muon, Jordan et al. 2024), and as large as AdamW's would be, so that they
    go by the same learning rate (Liu et al. 2025); all other weights are AdamW's.

    A step of a matrix (A, B) is 0.2 lr sqrt(max(A, B)) O, O the orthogonal matrix nearest to the `momentum` of its
    gradients, by five iterations of Newton and Schulz in bfloat16. Weights of convolutions are no matrices.
    Raises `ValueError` with torch before 2.9, which has none.

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
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(f"optimizer 'muon' needs torch 2.9 or later, this is {torch.__version__}; accepted: adamw")
        given = list(params)
        matrices, others = ([p for p in given if (p.dim() == 2) is is_matrix] for is_matrix in (True, False))
        self.optimizers: list[Optimizer] = []
        if matrices:
            own: dict[str, Any] = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
            self.optimizers.append(torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **own))
        if others:
            own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": fused}
            self.optimizers.append(AdamW(others, **own))
        super().__init__([group for each in self.optimizers for group in each.param_groups], {})

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"optimizers": self.optimizers}

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all weights by their gradients."""
        loss = None if closure is None else closure()
        for each, group in zip(self.optimizers, self.param_groups, strict=True):
            # Of one state, which another may have taken the place of.
            each.param_groups, each.state = [group], self.state
            each.step()
        return loss


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": Adagrad,
    "muon": Muon,
}
