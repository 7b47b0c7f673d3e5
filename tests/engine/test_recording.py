"""The law of the engine: recorded or not, the numbers are those of Python, and nothing else changes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from vaekit.engine import ENGINES, Recording, Use, engine_of, record
from vaekit.engine.surroundings import Surroundings
from vaekit.seeding import seeded

ROWS, WIDTH = 6, 4


class Base(nn.Module):
    """A layer, and what subclasses make of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.calls, self.settings, self.kept = 0, {"factor": 1.0}, [1.0]
        self.register_buffer("seen", torch.zeros(WIDTH))
        self.note = torch.zeros(WIDTH)
        self.array, self.generator = np.ones(WIDTH, np.float32), np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.layer(x).tanh(), x)

    def change(self, h: Tensor, x: Tensor) -> Tensor:
        return h


def of(change: Callable[[Any, Tensor, Tensor], Tensor]) -> type[Base]:
    return type("Changed", (Base,), {"change": change, "__module__": __name__})


def gradients_of(module: nn.Module) -> Callable[[Tensor], list[Tensor | None]]:
    def gradients(x: Tensor) -> list[Tensor | None]:
        with torch.enable_grad():
            loss = module(x).square().sum()
            wanted = [each for each in module.parameters() if each.requires_grad]
            return [loss.detach(), *torch.autograd.grad(loss, wanted, allow_unused=True)]

    return gradients


def batch(seed: int) -> Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed)) + seed


def effects(module: nn.Module, results: Sequence[Tensor | None]) -> list[Any]:
    kept = [getattr(module, "note", None), *module.parameters(), *module.buffers(), torch.rand(3)]
    return [None if each is None else each.detach().clone() for each in (*results, *kept)]


def assert_law(
    make: Callable[[], nn.Module], between: Callable[[nn.Module, int], object] = lambda module, i: None
) -> bool:
    """Whether a module is recorded, and that calls, with changes `between`, are those of one that is not."""
    found, recorded = [], False
    for engine in ("python", "replay"):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        module, results = make(), []
        function, recording, refused = gradients_of(module), None, 0
        for i in range(8):
            between(module, i)
            if recording.stale() if recording else refused < 2:
                recording = record(function, [batch(i)], Use("calls", 10, engine=engine), reads=[module])
                recorded, refused = recorded or recording is not None, refused + (recording is None)
            with seeded(i):
                results.append(effects(module, (recording or function)(batch(i))))
        found.append((results, getattr(module, "calls", 0), random.random(), np.random.random()))  # noqa: NPY002
    for one, other in zip(*(results for results, *_ in found), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-5, atol=1e-6)
    assert found[0][1:] == found[1][1:], "Python's own state differs"
    return recorded


def _counting(self: Any, h: Tensor, x: Tensor) -> Tensor:
    self.calls += 1
    return h / self.calls


def _noting(self: Any, h: Tensor, x: Tensor) -> Tensor:
    self.note.mul_(0.5).add_(h.detach().mean(0))
    return h - self.note


def _averaging(self: Any, h: Tensor, x: Tensor) -> Tensor:
    self.seen.mul_(0.5).add_(h.detach().mean(0))
    return h * self.seen


def _replacing(self: Any, h: Tensor, x: Tensor) -> Tensor:
    self.seen = 0.5 * self.seen + h.detach().mean(0)
    return h * self.seen


def _bounded(self: Any, h: Tensor, x: Tensor) -> Tensor:
    self.layer.weight.data = torch.renorm(self.layer.weight.data, 2, 0, 0.2)
    return h + self.layer(x)


def _bounded_in_place(self: Any, h: Tensor, x: Tensor) -> Tensor:
    with torch.no_grad():
        self.layer.weight.copy_(torch.renorm(self.layer.weight, 2, 0, 0.2))
    return self.layer(x)


def _learning_array(self: Any, h: Tensor, x: Tensor) -> Tensor:
    self.array += 1
    return h * torch.from_numpy(self.array)


LOST = 0.0


def _global(self: Any, h: Tensor, x: Tensor) -> Tensor:
    global LOST
    LOST += 1.0
    return h * LOST


RECORDED: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "plain": lambda self, h, x: h,
    "noise": lambda self, h, x: h + torch.randn_like(h) * torch.bernoulli(x.sigmoid()),
    "a buffer in place": _averaging,
    "a tensor of its own in place": _noting,
    "a constant": lambda self, h, x: h * torch.arange(WIDTH),
    "a sign": lambda self, h, x: torch.sgn(h) * h.abs().sqrt(),
    "transposed": lambda self, h, x: torch.stack([h, -h]).exp().t().mean() if h.dim() == 1 else h.t().exp().mean(0),
    "a row of one": lambda self, h, x: h * self.layer.bias.expand(3, WIDTH)[1],
}
NOT_RECORDED: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "numpy": lambda self, h, x: h * torch.from_numpy(np.median(x.numpy(), 1, keepdims=True)),
    "asarray": lambda self, h, x: h * torch.as_tensor(np.asarray(x.detach()).max(1))[:, None],
    "tolist": lambda self, h, x: h * torch.tensor([sum(row) for row in x.tolist()])[:, None],
    "item": lambda self, h, x: h * x.sum().item(),
    "a float": lambda self, h, x: h * float(x.max()),
    "a float of a weight": lambda self, h, x: h * float(self.layer.weight.detach().sum()),
    "a float of a buffer": lambda self, h, x: _averaging(self, h, x) * float(self.seen.sum()),
    "a float of a tensor": lambda self, h, x: _noting(self, h, x) * float(self.note.sum()),
    "numpy of a tensor": lambda self, h, x: _noting(self, h, x) * torch.from_numpy(self.note.numpy()),
    "a branch": lambda self, h, x: h if h.sum() > 0 else 2 * h,
    "a mask": lambda self, h, x: h[x > 0].exp(),
    "nonzero": lambda self, h, x: h[(x[:, 0] > 0).nonzero()[:, 0]],
    "unique": lambda self, h, x: h.sum() * len(x.round().unique()),
    "a counter": _counting,
    "another buffer": _replacing,
    "data in a forward": _bounded,
    "an array": _learning_array,
    "a global": _global,
    "random": lambda self, h, x: h * random.random(),
    "numpy's random": lambda self, h, x: h * np.random.random(),  # noqa: NPY002
    "a generator": lambda self, h, x: h * self.generator.random(),
}


@pytest.mark.parametrize("change", RECORDED.values(), ids=RECORDED)
def test_what_is_the_same_each_time_is_recorded(change: Any) -> None:
    assert assert_law(of(change))


@pytest.mark.parametrize("change", NOT_RECORDED.values(), ids=NOT_RECORDED)
def test_what_is_not_runs_as_python(change: Any) -> None:
    global LOST
    LOST = 0.0
    kind = of(change)

    def make() -> nn.Module:
        global LOST
        LOST = 0.0
        return kind()

    assert not assert_law(make)


@pytest.mark.parametrize("kind", ["spectral_norm", "weight_norm", "orthogonal"])
def test_parametrizations_keep_the_law(kind: str) -> None:
    def make() -> nn.Module:
        module = Base()
        getattr(parametrizations, kind)(module.layer)
        return module

    assert_law(make)


def test_weights_that_are_changed_while_it_is_called_keep_the_law() -> None:
    assert_law(of(_bounded_in_place))


# -- what changes between the calls ----------------------------------------------------------------------------------

BOX = {"closure": [1.0], "factor": 1.0}


class Told:
    factor = 1.0


def _of_all(self: Any, h: Tensor, x: Tensor) -> Tensor:
    factor = BOX["factor"] * Told.factor * self.settings["factor"] * self.kept[0] * float(self.array[0])  # type: ignore[operator]
    return h * factor * getattr(self, "factor", 1.0)


def _of_class(factor: float) -> None:
    Told.factor = factor


CHANGES: dict[str, Callable[[Any], object]] = {
    "a global": lambda module: BOX.update(factor=5.0),
    "a class": lambda module: _of_class(5.0),
    "a dict": lambda module: module.settings.update(factor=5.0),
    "a list": lambda module: module.kept.__setitem__(0, 5.0),
    "an array": lambda module: module.array.__setitem__(0, 5.0),
    "an attribute": lambda module: setattr(module, "factor", 5.0),
    "frozen": lambda module: module.layer.bias.requires_grad_(False),
    "other weights": lambda module: setattr(module.layer, "weight", nn.Parameter(torch.ones(WIDTH, WIDTH))),
    "other data of weights": lambda module: setattr(module.layer.weight, "data", torch.ones(WIDTH, WIDTH)),
    "transposed data of weights": lambda module: setattr(module.layer.weight, "data", module.layer.weight.data.t()),
    "data with gaps": lambda module: setattr(module.layer.bias, "data", torch.arange(2.0 * WIDTH)[::2]),
    "evaluation": lambda module: module.eval(),
    "a hook": lambda module: module.layer.register_forward_hook(lambda one, given, out: 0.5 * out),
    "a hook before": lambda module: module.layer.register_forward_pre_hook(lambda one, given: (0.5 * given[0],)),
    "a backward hook": lambda module: module.register_full_backward_pre_hook(lambda one, go: (2 * go[0],)),
    "a hook of a weight": lambda module: module.layer.weight.register_hook(lambda gradient: 0 * gradient),
    "a parametrization": lambda module: parametrizations.weight_norm(module.layer),
}


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_between_calls_is_seen(change: Any) -> None:
    def between(module: nn.Module, i: int) -> None:
        if i == 0:
            BOX["factor"], Told.factor = 1.0, 1.0
        if i == 4:
            change(module)

    assert assert_law(of(_of_all), between)


def test_hooks_of_all_modules_are_seen() -> None:
    handles = []

    def between(module: nn.Module, i: int) -> None:
        if i == 4:
            handles.append(nn.modules.module.register_module_forward_hook(lambda one, given, out: 0.5 * out))
        if i == 7:
            handles.pop().remove()

    assert assert_law(Base, between)


# -- how it fails ----------------------------------------------------------------------------------------------------


class OddError(Exception):
    """No error that anything waits for."""


def _raising_later() -> Callable[[Tensor], list[Tensor]]:
    told: list[int] = []

    def function(x: Tensor) -> list[Tensor]:
        if len(told) > 3 or type(x) is not Tensor:
            raise OddError("two\nlines")
        return [2 * x]

    return function


FAILING: dict[str, Callable[[Tensor], Any]] = {
    "raises": _raising_later(),
    "no tensors": lambda x: [1.0],
    "no list": lambda x: 3,
    "exits": lambda x: (_ for _ in ()).throw(RuntimeError("")),
}


@pytest.mark.parametrize("function", FAILING.values(), ids=FAILING)
def test_a_recording_never_raises_and_says_so_once(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert record(function, [torch.ones(2)], Use("calls", 10)) is None
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(said) == 1
    assert "\n" not in said[0]
    assert said[0].startswith("calls run as Python, which is slower, since they can't be recorded: ")


def test_what_differs_later_is_python_again_and_said(caplog: pytest.LogCaptureFixture) -> None:
    hidden = {"factor": 1.0}
    function = eval("lambda x: [x * get()]", {"get": lambda: hidden["factor"]})  # nothing of it is among what it reads
    recording = record(function, [torch.ones(2)], Use("calls", 10))
    assert recording is not None
    hidden["factor"] = 2.0
    assert not recording.stale()
    assert recording(torch.ones(2))[0].tolist() == [2.0, 2.0]  # type: ignore[union-attr]
    assert "replayed, it gives other numbers" in caplog.text
    assert recording.chosen["backend"] == "python"


def test_nothing_that_stays_is_drawn_or_changed() -> None:
    module = of(_counting)()
    state, before = Surroundings([module]), torch.get_rng_state()
    known = state.state()
    values = [each.clone() for each in state.tensors()]
    assert record(gradients_of(module), [batch(0)], Use("calls", 10, level=logging.DEBUG), reads=[module]) is None
    assert torch.equal(torch.get_rng_state(), before)
    assert state.state() == known
    assert all(torch.equal(one, other) for one, other in zip(values, state.tensors(), strict=True))


def test_engines_are_named_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAEKIT_ENGINE", raising=False)
    assert [engine_of(name) for name in ENGINES] == list(ENGINES)
    monkeypatch.setenv("VAEKIT_ENGINE", "python")
    assert engine_of("replay") == "python"
    assert record(lambda x: [x], [torch.ones(1)], Use("calls", 10)) is None
    monkeypatch.setenv("VAEKIT_ENGINE", "fast")
    with pytest.raises(ValueError, match="VAEKIT_ENGINE is 'fast'; accepted: auto, python, replay, inductor"):
        engine_of()


# -- split -----------------------------------------------------------------------------------------------------------


def split(function: Callable[[Tensor], list[Tensor]], x: Tensor) -> Recording:
    recording = record(function, [x], Use("calls", 10, split=True))
    assert recording is not None
    return recording


def test_a_recording_is_taken_apart_into_what_is_the_same_and_the_rest() -> None:
    def function(x: Tensor) -> list[Tensor]:
        normal = torch.randn(4, 3)
        return [x.exp() * normal, torch.rand(3) + normal.exp().sum(0) * x.sin().square()]

    x = torch.ones(3)
    once, again = split(function, x).split()
    with seeded(1):
        wanted = function(x)
    with seeded(1):
        state = torch.get_rng_state()
        known = once(x)
        assert torch.equal(torch.get_rng_state(), state)
        found = again(x, *known)
    assert len(known) == 2
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [torch.bernoulli(x)],
        lambda x: [x.exp().mul_(torch.rand(3))],
        lambda x: [x.exp()[:1].add_(torch.rand(1))],
        lambda x: [torch.empty(3).uniform_() + x.exp().add_(1.0)],
    ],
    ids=["drawn from the inputs", "changed in place", "a view changed in place", "changed before"],
)
def test_what_is_changed_in_place_is_made_again(function: Callable[[Tensor], list[Tensor]]) -> None:
    x = torch.full((3,), 0.5)
    once, again = split(function, x).split()
    known = once(x)
    for _ in range(2):
        with seeded(1):
            (wanted,) = function(x)
        with seeded(1):
            (found,) = again(x, *known)
        torch.testing.assert_close(wanted, found)
