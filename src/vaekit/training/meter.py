"""Averages of an objective's terms over an epoch, without waiting for the device at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import NonFiniteError, several
from ..models.scoring import sum_type
from ..settings import setting
from ..system.processes import Processes
from .step import Terms

if TYPE_CHECKING:
    from .checkpoint import State

STEPS = 64
"""Steps that are added up together."""
LEFT_OUT = "skipped"
"""The term that says of a step whether it was left out."""


class Meter:
    """Running sums of terms that stay on the device: nothing is read back until `averages`.

    Added up some steps at a time: small operations in every step are a few percent of a small model's epoch.
    """

    def __init__(self, device: torch.device) -> None:
        self.type, self.device = sum_type(device), device
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.good = torch.zeros((), dtype=torch.int64, device=device)
        self.sums = self.last = torch.zeros((), dtype=self.type, device=device)
        self.names: tuple[str, ...] = ()
        self.numbers: dict[str, float] = {}
        self.before: Tensor | None = None
        """Values that were waiting where a training was interrupted that now goes on."""
        self.waiting: list[Tensor] = []
        self.sizes: list[float] = []
        self.rows: float = 0

    def add(self, terms: Terms, rows: float) -> None:
        """The terms of a batch of so many rows."""
        if self.names not in ((), terms.names):
            changed = sorted(set(self.names) ^ set(terms.names)) or terms.names
            raise ValueError(f"terms of the objective are there in one step and not in the next: {several(changed)}")
        self.names, self.numbers = terms.names, terms.numbers
        self.waiting.append(terms.values)
        self.sizes.append(rows)
        if len(self.sizes) == STEPS:
            self._add_waiting()

    @property
    def state(self) -> Tensor:
        """All that it has added up, and what waits for that, as numbers of 64 bits on the CPU."""
        values = self._values()
        many = len(self.names)
        head = torch.tensor([self.rows, float(self.good), float(self.finite), len(self.sizes)], dtype=torch.float64)
        sums = [each.cpu().double().expand(many) for each in (self.sums, self.last)]
        waiting = torch.zeros(0) if values is None else values.flatten()
        return torch.cat([head, *sums, torch.tensor(self.sizes, dtype=torch.float64), waiting.cpu().double()])

    def restore(self, state: Tensor, names: Sequence[str], numbers: Mapping[str, float]) -> None:
        """Go on from a `state`, of terms of these names; `ValueError` where it is none of so many."""
        self.names, self.numbers, many = tuple(names), dict(numbers), len(names)
        head, rest = state[:4].tolist(), state[4:]
        waiting = int(head[3]) if len(head) == 4 and 0 <= head[3] < STEPS else -1
        if len(rest) != 2 * many + waiting * (1 + many):
            raise ValueError(f"sums of {many} terms are not {len(state)} numbers")
        sums, last, sizes, values = rest.split([many, many, waiting, waiting * many])
        self.rows, self.sizes = head[0], sizes.tolist()
        self.good.fill_(int(head[1]))
        self.finite.fill_(bool(head[2]))
        self.sums, self.last = (each.to(self.type).to(self.device) for each in (sums, last))
        self.before = values.view(waiting, many).to(self.type).to(self.device) if waiting else None

    def restore_sums(self, states: Tensor, names: Sequence[str], numbers: Mapping[str, float]) -> None:
        """Go on from the sums of several, (P, …), or of none, each of a share of the same batches."""
        found = [Meter(self.device) for _ in states]
        for each, state in zip(found, states, strict=True):
            each.restore(state, names, numbers)
            each._add_waiting()
        self.names, self.numbers = tuple(names), dict(numbers)
        self.sums = sum((each.sums for each in found), torch.zeros(len(names), dtype=self.type, device=self.device))
        self.last = found[0].last if found else self.sums
        self.rows = sum(each.rows for each in found)
        for each in found:
            self.good, self.finite = each.good, self.finite & each.finite

    def _values(self) -> Tensor | None:
        """The terms of the steps that wait, a row each."""
        found = [] if self.before is None else [self.before]
        found += [torch.stack(self.waiting).to(self.type)] if self.waiting else []
        return torch.cat(found) if found else None

    def _without_left_out(self, values: Tensor) -> Tensor:
        """Terms (n, T) in which a step that was left out with a loss that is no number counts as the step before it."""
        if LEFT_OUT not in self.names:
            return values
        own = self.names.index(LEFT_OUT)
        lost = (values[:, own] > 0) & ~values[:, 0].isfinite()
        every = torch.cat([self.last.expand(1, values.shape[1]), values])
        at = torch.arange(1, len(every), device=values.device)
        taken = torch.where(lost, 0, at).cummax(0).values
        taken = torch.where((taken == 0) & (self.good == 0), at, taken)  # there is none before
        found = every[taken]
        found[:, own] = values[:, own]
        return found

    def _added(self) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        """Sums, the last finite terms, how many steps were, whether all, and rows, with those that wait."""
        values = self._values()
        if values is None:
            return self.sums, self.last, self.good, self.finite, self.rows
        values = self._without_left_out(values)
        sizes = torch.tensor(self.sizes, dtype=self.type).to(values.device, non_blocking=True)
        # `last` stops at the first step that is not finite, `good` counts those before it.
        good = values[:, 0].isfinite().long().cumprod(0).sum()
        last = torch.where(self.finite, values[good.clamp(max=len(values) - 1)], self.last)
        finite = self.finite & (good == len(values))
        return self.sums + sizes @ values, last, self.good + good * self.finite, finite, self.rows + sum(self.sizes)

    def _add_waiting(self) -> None:
        self.sums, self.last, self.good, self.finite, self.rows = self._added()
        self.waiting, self.sizes, self.before = [], [], None

    def gather(self, processes: Processes) -> None:
        """Take in what those of the other processes have, of the rest of the same batches."""
        if not processes.several:
            return
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
        # Not added for good: when somebody looks is to change no sum's rounding.
        sums, last, good, finite, rows = self._added()
        if state and not bool(finite):
            found = dict(zip(self.names, last.tolist(), strict=True))
            raise NonFiniteError(_diagnosis(found, state.epoch + 1, int(good) + 1))
        return dict(zip(self.names, (sums / rows).tolist(), strict=True)) | self.numbers


def steadier() -> str:
    """What to try where a training runs away."""
    lower, clip = setting("training.learning_rate", "…"), setting("training.clip", 1.0)
    return f"lower the learning rate ({lower}) or clip gradients ({clip})"


def _diagnosis(terms: dict[str, float], epoch: int, step: int) -> str:
    culprits = [name for name, value in terms.items() if not math.isfinite(value)]
    # The bounds are sums: what is not finite in its own right is the better name.
    named = next((name for name in culprits if name not in ("loss", "elbo", "iwae")), culprits[0])
    first = epoch == step == 1  # of weights as they were made: no rate of learning has to do with it
    if first and named.startswith("kl"):
        cause = "q(z given x) or p(z) gives no finite numbers as it is made, or p(z) is none of what q draws"
    elif first and named == "reconstruction":
        cause = "a network or the likelihood gives no finite numbers as it is made, or the data are far from 0"
    elif first:
        cause = "the objective gives no finite number of the first batch"
    elif named.startswith("kl"):
        cause = f"the posterior ran away from the prior; {steadier()}, or warm up the KL"
    elif named == "reconstruction":
        cause = f"the likelihood's parameters ran away; {steadier()}, or scale the data"
    else:
        cause = f"the weights are no longer finite; {steadier()}"
    found = f"the loss is {terms['loss']} and its term {named!r} is {terms[named]}"
    return f"epoch {epoch}, step {step}: {found}; likely {cause}"
