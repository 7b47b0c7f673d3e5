"""Operations that are replayed give what the function gives, and write over what nothing needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.engine import products
from vaekit.engine.products import use_onednn
from vaekit.engine.replay import replayed
from vaekit.engine.tracing import Operations, traced
from vaekit.seeding import seeded

Function = Callable[..., list[Tensor]]


def added_in_place(x: Tensor, y: Tensor) -> list[Tensor]:
    same = x.exp() * 1.0
    return [same.add_(y), same * 2]


def kept_beside(x: Tensor, y: Tensor) -> list[Tensor]:
    same = x.exp() + 0.0
    changed = same.view(-1).mul_(3)
    return [x.exp(), changed, same + y]


def of_norms(x: Tensor, y: Tensor) -> list[Tensor]:
    mean, variance = torch.zeros(5), torch.ones(5)
    out = F.batch_norm(x.sin(), mean, variance, training=True)
    return [out * y, mean, variance]


def summed_and_changed(x: Tensor, y: Tensor) -> list[Tensor]:
    e = x.exp().view(1, 4, 5)
    return [e.sum(0).mul_(y), e + 1]


WEIGHT = torch.arange(20.0).view(4, 5) / 10


FUNCTIONS: dict[str, Function] = {
    "elementwise": lambda x, y: [((x.exp() + y).sigmoid() * 2 - 1).relu()],
    "an argument": lambda x, y: [x * 1.0, y.exp()],
    "used later": lambda x, y: [(e := x.exp()).log() + y, e + 1],
    "used later by a view": lambda x, y: [(e := x.exp()).sin() * y, e[:2] + e.t()[0, 0]],
    "a view, then the whole": lambda x, y: [(e := x.exp())[:, 0].sin(), (e.view(-1) * 2).view(4, 5), e],
    "both arguments": lambda x, y: [(e := x.exp()) * e, (s := y.sin()) * s.t().t()],
    "two parts of one": lambda x, y: [(parts := (x.exp() + y).split(2))[0] * parts[1]],
    "an overlapping part": lambda x, y: [(e := x.exp())[:3].mul(e[1:])],
    "wider than the first": lambda x, y: [x[:1].exp() * y, x[:, :1].sin() + y.cos()],
    "another type": lambda x, y: [(x.exp() > y).float().mul(2.0), x.exp().double().sqrt()],
    "transposed": lambda x, y: [x.exp().t() * y.t(), (x.t().sin() + 1) @ y],
    "reshaped": lambda x, y: [x.view(1, 4, 5).squeeze(0).unsqueeze(1).view(20).exp().view(4, 1, 5) * y.view(4, 1, 5)],
    "sums of one": lambda x, y: [x.view(1, 4, 5).sum(0) * y, y.unsqueeze(1).sum(1, keepdim=True)],
    "spread": lambda x, y: [x.sum(0, keepdim=True).expand(4, 5).exp() * y],
    "constants": lambda x, y: [x * torch.full((4, 1), 3.0), x * torch.arange(5.0), y[0] * torch.full((2, 5), 2.0)],
    "neutral": lambda x, y: [((x.sin() * 1.0).pow(1) / 1 - 0.0 + 0.0) * y],
    "changed in place": added_in_place,
    "changed by a view": kept_beside,
    "other arguments changed": of_norms,
    "sums of one changed": summed_and_changed,
    "tensors of its own": lambda x, y: [x @ WEIGHT.t(), y * WEIGHT.view(1, 20).view(4, 5) * 1.0, WEIGHT[:1].sum(0) * y],
    "random": lambda x, y: [torch.randn(4, 5).mul(x).add(torch.rand(4, 5)), torch.bernoulli(x.sigmoid()) * y],
}


def called(operations: Operations) -> Function:
    run = replayed(operations.graph)
    return lambda *given: run(*given, *operations.kept)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("onednn", [False, True], ids=["torch", "onednn"])
def test_a_replay_gives_the_same(function: Function, onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 5, generator=generator) for _ in range(2))
    operations = traced(function, [x, y], [])
    if onednn:
        monkeypatch.setattr(products, "LEAST", 1)
        use_onednn(operations.graph)
    found_by = called(operations)
    for scale in (1.0, 0.5):  # again, on other numbers: nothing of the first may be left
        given = [scale * x, scale * y]
        before = [each.clone() for each in given]
        with seeded(1):
            wanted = function(*before)
        with seeded(1):
            found = found_by(*given)
        for one, other in zip(wanted, found, strict=True):
            torch.testing.assert_close(one, other)
        assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))


@pytest.mark.skipif(products.LINEAR is None or not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
def test_products_of_a_part_of_a_weight_stay_as_they_are() -> None:
    """OneDNN's have no fast form for what does not lie close together."""
    whole = torch.randn(20, 30)
    columns = torch.randn(30, 20).t()
    operations = traced(
        lambda x: [x @ whole, x @ columns, x @ whole[:, :15], x @ columns[:15].t()[:20]], [torch.randn(40, 20)], []
    )
    use_onednn(operations.graph)
    exchanged = [node for node in operations.graph.nodes if node.target is products.LINEAR]
    assert len(exchanged) == 2
