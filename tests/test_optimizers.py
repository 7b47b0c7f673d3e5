"""Muon of all weights is torch's own of matrices and convolutions, beside AdamW of the others."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vaekit.optimizers import Muon, orthogonal


def gradients(weights: list[nn.Parameter], number: int) -> None:
    made = torch.Generator().manual_seed(number)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=made)


def test_muon_is_torchs_of_matrices_and_convolutions_and_adamw_of_all_else() -> None:
    first = [nn.Parameter(torch.ones(shape)) for shape in ((3, 4), (3,), (2, 1, 3, 3), (5, 2))]
    second = [
        nn.Parameter(each.detach().clone().flatten(1) if each.dim() == 4 else each.detach().clone()) for each in first
    ]
    together = Muon(first, lr=0.01, weight_decay=0.1)
    options = {"lr": 0.01, "weight_decay": 0.1}
    apart = [
        torch.optim.Muon([second[0], second[2], second[3]], adjust_lr_fn="match_rms_adamw", **options),
        torch.optim.AdamW([second[1]], **options),
    ]
    for number in range(3):
        for optimizer in (together, *apart):
            for group in optimizer.param_groups:
                group["lr"] = 0.01 / (1 + number)  # as a schedule has it
        gradients(first, number)
        for one, other in zip(first, second, strict=True):
            other.grad = one.grad.reshape(other.shape)  # type: ignore[union-attr]
        together.step()
        for each in apart:
            each.step()
        for one, other in zip(first, second, strict=True):  # torch's matrices are of bfloat16
            torch.testing.assert_close(one, other.view_as(one), rtol=0, atol=2e-2 * 0.01)


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 4, 50), (3, 50, 4)])
def test_a_step_has_the_singular_vectors_of_the_gradient_and_values_near_one(shape: tuple[int, ...]) -> None:
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    within = left.mT @ orthogonal(given) @ right.mT
    values = within.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(within, torch.diag_embed(values), rtol=0, atol=1e-9)
    assert float(values.min()) > 0.65
    assert float(values.max()) < 1.25


def test_the_weight_of_a_convolution_takes_the_same_step_in_any_order_of_memory() -> None:
    steps = []
    for layout in (torch.contiguous_format, torch.channels_last):
        made = torch.Generator().manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 3, 3, 3, generator=made).to(memory_format=layout))
        optimizer = Muon([weight], lr=0.1)
        for _ in range(2):
            weight.grad = torch.randn(4, 3, 3, 3, generator=made).to(memory_format=layout)
            optimizer.step()
        assert weight.is_contiguous(memory_format=layout)
        steps.append(weight.detach().contiguous())
    torch.testing.assert_close(*steps)


def test_a_copy_and_a_loaded_state_go_on_alike() -> None:
    weights = [nn.Parameter(torch.ones(shape)) for shape in ((3, 4), (2, 1, 3, 3), (3,))]
    optimizer = Muon(weights, lr=0.01)
    gradients(weights, 0)
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    others = [nn.Parameter(each.detach().clone()) for each in weights]
    loaded = Muon(others, lr=0.01)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    twins = [p for group in twin.param_groups for p in group["params"]]
    for each in (weights, others, twins):
        gradients(each, 1)
    for each in (optimizer, loaded, twin):
        each.step()
    for one, other, third in zip(weights, others, twins, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)
        assert one is not third
