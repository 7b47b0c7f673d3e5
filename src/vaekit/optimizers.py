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
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""What five iterations take the singular values to between 0.7 and 1.2 by (Jordan et al. 2024)."""
ITERATIONS = 5


class Muon(Optimizer):
    """Steps of matrices are made orthogonal (Muon, Jordan et al. 2024), and as large as AdamW's would be, so that they
    go by the same learning rate (Liu et al. 2025); all other weights are AdamW's.

    A step of a matrix (A, B) is 0.2 lr sqrt(max(A, B)) O, O the orthogonal matrix nearest to the `momentum` of its
    gradients, by five iterations of Newton and Schulz. The weight of a convolution of images, (A, C, H, W), is the
    matrix (A, C H W).

    An iteration is some 4 min(A, B)² max(A, B) operations, however small the batch: little beside what a convolution
    costs, and more than all else for wide plain layers in batches of few.

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
        groups: list[dict[str, Any]] = []
        if matrices:
            groups.append({"params": matrices, "lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.adamw = AdamW(others, lr, betas, eps, weight_decay, fused=fused) if others else None
        super().__init__([*groups, *(self.adamw.param_groups if self.adamw else [])], {})

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"adamw": self.adamw}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all weights by their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if "momentum" in group:
                self._step_of_matrices(group)
            elif self.adamw is not None:
                # Of one state, which another may have taken the place of.
                self.adamw.param_groups, self.adamw.state = [group], self.state
                self.adamw.step()
        return loss

    def _step_of_matrices(self, group: dict[str, Any]) -> None:
        alike: defaultdict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is not None:
                alike[weight.shape].append((weight, weight.grad))
        for pairs in alike.values():  # matrices of one shape together, which are fewer and larger products
            steps = []
            for weight, gradient in pairs:
                if "momentum_buffer" not in self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(gradient)
                mean = self.state[weight]["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
                steps.append(gradient.lerp(mean, group["momentum"]).flatten(1))
            step = orthogonal(torch.stack(steps))
            size = 0.2 * group["lr"] * max(step.shape[1:]) ** 0.5
            for (weight, _), own in zip(pairs, step, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(own.view(weight.shape), alpha=size)


def orthogonal(matrices: Tensor) -> Tensor:
    """The orthogonal matrices nearest to `matrices` (N, A, B), nearly: their singular values are between 0.7 and 1.2.

    On CUDA in bfloat16; processors without instructions for it, of which there are many, would take 16 times as long.
    """
    upright = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if upright else matrices
    x = x.bfloat16() if x.is_cuda else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    linear, cubic, quintic = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)
    return (x.mT if upright else x).to(matrices.dtype)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": Adagrad,
    "muon": Muon,
}
