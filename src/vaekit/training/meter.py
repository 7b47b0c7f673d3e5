"""Averages of an objective's terms over an epoch, without waiting for the device at each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import NonFiniteError
from ..models.scoring import sum_type
from ..settings import setting
from ..system.processes import Processes
from .checkpoint import State
from .step import Terms

STEPS = 64
"""Steps that are added up together."""


class Meter:
    """Running sums of terms that stay on the device: nothing is read back until `averages`.

    Added up some steps at a time: small operations in every step are a few percent of a small model's epoch.
    """

    def __init__(self, device: torch.device) -> None:
        self.type = sum_type(device)
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.good = torch.zeros((), dtype=torch.int64, device=device)
        self.sums = self.last = torch.zeros((), dtype=self.type, device=device)
        self.waiting: list[Tensor] = []
        self.sizes: list[float] = []
        self.rows: float = 0

    def add(self, terms: Terms, rows: float) -> None:
        """The terms of a batch of so many rows."""
        self.names, self.numbers = terms.names, terms.numbers
        self.waiting.append(terms.values)
        self.sizes.append(rows)
        if len(self.waiting) == STEPS:
            self._add_waiting()

    def _add_waiting(self) -> None:
        values = torch.stack(self.waiting).to(self.type)
        sizes = torch.tensor(self.sizes, dtype=self.type).to(values.device, non_blocking=True)
        self.sums = self.sums + sizes @ values
        self.rows += sum(self.sizes)
        # `last` stops at the first step that is not finite, `good` counts those before it.
        good = values[:, 0].isfinite().long().cumprod(0).sum()
        self.last = torch.where(self.finite, values[good.clamp(max=len(values) - 1)], self.last)
        self.good = self.good + good * self.finite
        self.finite = self.finite & (good == len(values))
        self.waiting, self.sizes = [], []

    def gather(self, processes: Processes) -> None:
        """Take in what those of the other processes have, of the rest of the same batches."""
        if not processes.several:
            return
        if self.waiting:
            self._add_waiting()
        rows = torch.tensor(float(self.rows))
        own = [each.to(self.sums) for each in (self.finite, self.good, rows)]
        found = torch.stack(processes.gathered(torch.cat([torch.stack(own), self.sums, self.last])))
        finite, good, rows = found[:, 0] > 0, found[:, 1], found[:, 2].sum()
        sums, last = found[:, 3:].chunk(2, 1)
        # Of those with a step that is not finite, the one whose came first.
        worst = torch.where(finite, torch.inf, good).argmin()
        self.finite, self.good, self.last = finite.all(), good[worst].long(), last[worst]
        self.sums, self.rows = sums.sum(0), float(rows)

    def averages(self, state: State | None = None) -> dict[str, float]:
        """Each term's average so far; in training (with a `state`), `NonFiniteError` if a loss was not finite."""
        if self.waiting:
            self._add_waiting()
        if state and not bool(self.finite):
            last = dict(zip(self.names, self.last.tolist(), strict=True))
            raise NonFiniteError(_diagnosis(last, state.epoch + 1, int(self.good) + 1))
        return dict(zip(self.names, (self.sums / self.rows).tolist(), strict=True)) | self.numbers


def steadier() -> str:
    """What to try where a training runs away."""
    lower, clip = setting("training.learning_rate", "…"), setting("training.clip", 1.0)
    return f"lower the learning rate ({lower}) or clip gradients ({clip})"


def _diagnosis(terms: dict[str, float], epoch: int, step: int) -> str:
    culprits = [name for name, value in terms.items() if not math.isfinite(value)]
    # The bounds are sums: what is not finite in its own right is the better name.
    named = next((name for name in culprits if name not in ("loss", "elbo", "iwae")), culprits[0])
    if named.startswith("kl"):
        cause = f"the posterior ran away from the prior; {steadier()}, or warm up the KL"
    elif named == "reconstruction":
        cause = f"the likelihood's parameters ran away; {steadier()}, or scale the data"
    else:
        cause = f"the weights are no longer finite; {steadier()}"
    found = f"the loss is {terms['loss']} and its term {named!r} is {terms[named]}"
    return f"epoch {epoch}, step {step}: {found}; likely {cause}"
