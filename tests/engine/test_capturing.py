"""A recording as one launch gives the numbers of Python. On the CPU, with what stands for a CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from models_for_tests import data_of, model_of
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from vaekit.data import Preprocessing
from vaekit.data.tensors import TensorSplit
from vaekit.engine import Recording, Use, capturing, record, recording
from vaekit.engine.capturing import Run, refuse_others
from vaekit.objectives.elbo import ELBO
from vaekit.seeding import seeded
from vaekit.training.meter import Meter
from vaekit.training.step import Step, Terms


class Standing:
    """It reads and writes the memory that it was made with, changes what it is made of, and overwrites its results."""

    made = 0

    def __init__(self, run: Run, tensors: Sequence[Tensor]) -> None:
        type(self).made += 1
        run(*tensors)
        self.run, self.tensors = run, tensors
        self.results = [torch.full_like(each, torch.nan) for each in run(*tensors)]

    def launch(self) -> None:
        for own, new in zip(self.results, self.run(*self.tensors), strict=True):
            own.copy_(new)


@pytest.fixture(autouse=True)
def _standing(monkeypatch: pytest.MonkeyPatch) -> None:
    Standing.made = 0
    monkeypatch.setattr(capturing, "Graph", Standing)
    monkeypatch.setattr(recording, "on_cuda", lambda tensors: True)
    monkeypatch.setattr(recording, "refuse_others", lambda graph: None)


class Noisy(nn.Module):
    """Weights, a draw and a buffer that changes."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.mul_(0.5).add_(x.mean(0))
        return (self.weight * x + torch.randn_like(x)) * self.seen


def recorded(module: nn.Module, **how: object) -> Recording:
    found = record(lambda x: [module(x).detach(), x.sum()], [torch.ones(3, 4)], Use("calls", **how), reads=[module])  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_launch_is_the_function() -> None:
    own, other = Noisy(), Noisy()
    run = recorded(own)
    for i in range(4):
        x = torch.full((3, 4), float(i))
        with seeded(i):
            found, after = run(x), torch.rand(())
        with seeded(i):
            assert torch.equal(found[0], other(x))
            assert torch.equal(after, torch.rand(()))
        assert torch.equal(own.seen, other.seen)
    assert Standing.made == 1


def test_capturing_leaves_weights_buffers_and_streams_as_they_were() -> None:
    module, before = Noisy(), torch.get_rng_state()
    recorded(module)
    assert Standing.made == 1
    assert not module.seen.any()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_lie_elsewhere_are_captured_anew() -> None:
    module = Noisy()
    run, x = recorded(module), torch.ones(3, 4)
    module.weight.data = torch.zeros(4)
    module.seen.data = torch.ones(4)
    with seeded(0):
        found = run(x)[0]
    with seeded(0):
        module.seen.fill_(1.0)
        torch.testing.assert_close(found, module(x).detach())
    assert Standing.made == 2


@pytest.mark.parametrize("lasting", [None, 1])
def test_results_last_as_long_as_is_said(lasting: int | None) -> None:
    run = recorded(Noisy(), lasting=lasting)
    one = run(torch.ones(3, 4))
    kept = [each.clone() for each in one if each is not None]
    run(torch.full((3, 4), 7.0))
    same = [torch.equal(each, other) for each, other in zip(one, kept, strict=True) if each is not None]
    assert same == [True, lasting is None]


def test_in_two_parts_it_is_the_function_too() -> None:
    weight = nn.Linear(4, 4)
    found = record(
        lambda x: [weight(x).detach().exp() + torch.randn(3, 4)],
        [torch.ones(3, 4)],
        Use("calls", split=True),
        reads=[weight],
    )
    assert found is not None
    once, again = found.split()
    for x in (torch.ones(3, 4), torch.zeros(3, 4)):
        known = once(x)
        for seed in (0, 1):
            with seeded(seed):
                (given,) = again(x, *known)
            with seeded(seed):
                torch.testing.assert_close(given, weight(x).detach().exp() + torch.randn(3, 4))


def test_the_terms_of_many_steps_are_those_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meter keeps the terms of steps until there are some."""
    monkeypatch.setattr(recording, "WORTHWHILE", 0)
    averages = []
    for engine in ("python", "replay"):
        model = model_of().train()
        data = TensorSplit(data_of(model.domain, (20, 4)), None, model.domain, Preprocessing())
        step, meter = Step(model, ELBO(), data, 6, engine=engine), Meter(torch.device("cpu"))
        for number in range(recording.SOON, recording.SOON + 5):
            with seeded(number):
                meter.add(step(torch.arange(number % 7, number % 7 + 6), 0.5, number), 6)
        averages.append(meter.averages())
    assert Standing.made == 1
    assert averages[0] == pytest.approx(averages[1])


def test_steps_with_weights_that_lie_channels_last_are_those_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WORTHWHILE", 0)
    model = (
        model_of(encoder="conv", decoder="conv", event_shape=(2, 4, 5)).train().to(memory_format=torch.channels_last)
    )  # type: ignore[call-overload]
    data = TensorSplit(data_of(model.domain, (20, 2, 4, 5)), None, model.domain, Preprocessing())
    step, found = Step(model, ELBO(), data, 6), []
    for number in (0, recording.SOON):
        with seeded(1):
            terms: Terms = step(torch.arange(6), 0.5, number)
        assert all(each.grad is not None and each.grad.stride() == each.stride() for each in model.parameters())
        found.append([terms.values, *(each.grad for each in model.parameters())])
    assert Standing.made == 1
    torch.testing.assert_close(*found)


def test_tensors_of_the_host_are_refused() -> None:
    graph = make_fx(lambda x: x + 1, tracing_mode="fake")(torch.ones(2)).graph
    with pytest.raises(ValueError, match="they have a tensor on the cpu"):
        refuse_others(graph)


def test_what_cant_be_captured_is_replayed_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(run: Run, tensors: Sequence[Tensor]) -> None:
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(capturing, "Graph", refuse)
    own, other = Noisy(), Noisy()
    run = recorded(own)
    with seeded(0):
        found = run(torch.ones(3, 4))[0]
    with seeded(0):
        assert torch.equal(found, other(torch.ones(3, 4)))
    assert "can't be captured: RuntimeError: called a synchronizing CUDA operation" in caplog.text
