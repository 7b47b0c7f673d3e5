"""Opponents: networks that an objective plays against, trained in turn with the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from ..data.tensors import TensorSplit
from ..models import VAE
from ..modules import apart
from ..objectives.base import Objective, leaves, with_modules
from ..system.processes import Processes
from .step import Terms, terms_of, traced
from .together import Gradients, Part

RATE, BETAS = 1e-4, (0.5, 0.9)
"""Of Adam, for an opponent whose objective says nothing else (Kim & Mnih 2018, appendix A)."""


class Opponents:
    """The opponents of `objective`: each is a discriminator, a critic, whatever it calls its `opponent`.

    After each step of the model, `opponent_loss(trace, progress)` is asked of a new trace of the same rows, made by the
    model as it is now and without gradients, and the opponent takes a step of Adam down its own, with the learning rate
    `opponent_rate`. Neither's gradient reaches the other's weights. Raises `ValueError` for an objective with weights
    that are no opponent's: nobody would train them.
    """

    def __init__(self, model: VAE, objective: Objective, data: TensorSplit, processes: Processes | None = None) -> None:
        self.model, self.objective, self.data = model, objective, data
        self.players: list[Any] = [each for each in leaves(objective) if getattr(each, "opponent", None) is not None]
        self.modules = nn.ModuleList(with_modules(objective))
        own = {id(p) for each in self.players for p in each.opponent.parameters()}
        if others := [name for name, p in self.modules.named_parameters() if p.requires_grad and id(p) not in own]:
            weight = others[0].partition(".")[2]
            raise ValueError(f"the objective's weight {weight!r} is none of its `opponent`'s, and nothing trains it")
        self.optimizers: dict[str, Optimizer] = {
            f"optimizer of opponent {i}": Adam(each.opponent.parameters(), getattr(each, "opponent_rate", RATE), BETAS)
            for i, each in enumerate(self.players)
        }
        weights = [list(each.opponent.parameters()) for each in self.players]
        self.gradients = [Gradients(each, processes or Processes()) for each in weights]

    def __call__(self, terms: Terms, part: Part, progress: float) -> Terms:
        """A step of each on the rows of `part`; `terms`, those of the model's step, with theirs."""
        batch = (part.data or self.data).training_batch(part.index)
        for player, optimizer, gradients in zip(self.players, self.optimizers.values(), self.gradients, strict=True):
            with torch.no_grad(), apart(self.model):
                trace = traced(self.model, player, batch, self.objective)
            found = player.opponent_loss(trace, progress)
            weights = list(player.opponent.parameters())
            for weight, gradient in zip(weights, torch.autograd.grad(found.loss, weights), strict=True):
                weight.grad = gradient
            gradients.begin()
            gradients.add(part.weight)
            gradients.finish()
            optimizer.step()
            said = terms_of(found)
            names = ("opponent" if name == "loss" else name for name in said.names)
            terms = Terms((*terms.names, *names), torch.cat([terms.values, said.values]), terms.numbers | said.numbers)
        return terms
