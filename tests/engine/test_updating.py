"""Adam in C is torch's Adam."""

from __future__ import annotations

import platform
import shutil
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from vaekit.engine.updating import Update

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

SHAPES = ((300, 100), (100,), (3, 4), ())


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def updated(optimizer: Optimizer, long: bool, updates: int = 30, without: int | None = None) -> Update:
    """Updates from the same gradients, of very different sizes, at a rate that changes."""
    generator, update = torch.Generator().manual_seed(1), Update(optimizer, long)
    (group,) = optimizer.param_groups
    for i in range(updates):
        group["lr"] = 1e-3 * (1 + i)
        for k, weight in enumerate(group["params"]):
            gradient = torch.randn(weight.shape, generator=generator) * 10 ** torch.randn((), generator=generator)
            weight.grad = None if k == without else gradient
        update()
        if i == updates // 2:
            update.refresh()
    return update


@pytest.mark.parametrize("without", [None, 1])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Adam, {}),
        (AdamW, {}),
        (Adam, {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
        (AdamW, {"weight_decay": 0.1}),
    ],
)
def test_updates_and_state_are_torchs(kind: type[Optimizer], options: dict[str, Any], without: int | None) -> None:
    wanted, found = (kind(weights(), fused=True, **options) for _ in range(2))  # type: ignore[call-arg]
    updated(wanted, long=False, without=without)
    update = updated(found, long=True, without=without)
    assert update.groups is not None, "they were torch's"
    for one, other in zip(wanted.param_groups[0]["params"], found.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
        state, same = wanted.state[one], found.state[other]
        assert list(state) == list(same)
        for name, value in state.items():
            torch.testing.assert_close(same[name], value, rtol=1e-5, atol=1e-6)


def test_gradients_that_lie_otherwise_or_come_later_are_torchs() -> None:
    optimizers = [Adam(weights(), fused=True) for _ in range(2)]
    for optimizer in optimizers:
        update = updated(optimizer, long=optimizer is optimizers[1], without=1)
        weights_ = optimizer.param_groups[0]["params"]
        for weight in weights_:  # one has none so far, one is transposed
            weight.grad = torch.ones_like(weight) if weight.dim() < 2 else torch.ones(weight.shape[::-1]).t()
        for _ in range(3):
            update()
    for one, other in zip(*(each.param_groups[0]["params"] for each in optimizers), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq", "step"])
def test_a_state_of_another_size_is_refused_and_nothing_written(name: str, long: bool) -> None:
    optimizer = Adam(weights(), fused=True)
    update = updated(optimizer, long=long, updates=2)
    weight = optimizer.param_groups[0]["params"][0]
    small = torch.zeros(3)
    optimizer.state[weight][name] = small[:2]  # what an update wrote beyond it would be seen in the third
    before = weight.detach().clone()
    with pytest.raises(ValueError, match=f"the optimizer's '{name}' of weight 0 has shape"):
        update.refresh()
    assert torch.equal(weight, before)
    assert not small.any()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda w: SGD(w, lr=0.1),
        lambda w: Adam(w, amsgrad=True),
        lambda w: Adam(w, maximize=True),
        lambda w: Adam([nn.Parameter(each.detach().double()) for each in w]),
    ],
)
def test_other_optimizers_stay_as_they_are(optimizer: Any) -> None:
    assert Update(optimizer(weights()), long=True).adam is None


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only these are told to")
def test_means_of_gradients_that_vanished_become_zeros_and_nothing_else_does() -> None:
    (weight,) = ones = [nn.Parameter(torch.ones(40_000))]
    optimizer = Adam(ones, fused=True)
    update = Update(optimizer, long=True)
    weight.grad = torch.ones_like(weight)
    for _ in range(900):
        update()
        weight.grad = torch.zeros_like(weight)
    mean, square = (optimizer.state[weight][name] for name in ("exp_avg", "exp_avg_sq"))
    assert not mean.any(), "0.9 to the power of 900 is below the normal numbers"
    assert bool((square > 0).all())
    tiny = torch.full((40_000,), 1e-39)  # large enough for all threads to have their share
    assert bool((tiny * 0.5 > 0).all()), "outside of it they are what they were"
