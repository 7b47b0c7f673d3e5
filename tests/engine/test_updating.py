"""Updates are torch's, and Adam's averages stay out of the numbers that take long."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from vaekit.engine import update

SHAPES = ((300, 100), (100,), (3, 4), ())


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def set_gradients(parameters: list[nn.Parameter], i: int) -> None:
    """Of very different sizes, the same for each `i`."""
    generator = torch.Generator().manual_seed(i)
    for weight in parameters:
        weight.grad = torch.randn(weight.shape, generator=generator) * 10 ** torch.randn((), generator=generator)


@pytest.mark.parametrize("kind", [Adam, AdamW, SGD])
def test_updates_are_torchs(kind: Any) -> None:
    wanted, found = weights(), weights()
    one, other = kind(wanted, lr=1e-2), kind(found, lr=1e-2)
    updating = update(other)
    for i in range(300):
        set_gradients(wanted, i)
        set_gradients(found, i)
        one.step()
        updating()
    for mine, theirs in zip(found, wanted, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq", "step"])
def test_a_state_of_another_size_is_refused_and_nothing_written(name: str) -> None:
    parameters = weights()
    optimizer = Adam(parameters, fused=True)
    updating = update(optimizer)
    set_gradients(parameters, 0)
    updating()
    small = torch.zeros(3)
    optimizer.state[parameters[0]][name] = small[:2]  # what an update wrote beyond it would be seen in the third
    before = parameters[0].detach().clone()
    with pytest.raises(ValueError, match=f"the optimizer's '{name}' of weight 0 has shape"):
        updating.refresh()
    assert torch.equal(parameters[0], before)
    assert not small.any()


@pytest.mark.parametrize("optimizer", [lambda w: Adam(w), lambda w: Adam(w, eps=1e-30)], ids=["usual", "no eps"])
def test_means_of_gradients_that_vanished_become_zeros_where_they_are_nothing(optimizer: Any) -> None:
    (weight,) = ones = [nn.Parameter(torch.ones(40))]
    made: Optimizer = optimizer(ones)
    updating = update(made)
    weight.grad = torch.ones_like(weight)
    for _ in range(900):
        updating()
        weight.grad = torch.zeros_like(weight)
    mean, square = (made.state[weight][name] for name in ("exp_avg", "exp_avg_sq"))
    assert bool(mean.any()) == (made.param_groups[0]["eps"] < 1e-20), "0.9 to the power of 900 is below normal numbers"
    assert bool((square > 0).all())
