"""Loops in C give what the operations give that they are made of."""

from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.fx import GraphModule
from torch.nn import functional as F

from vaekit.distributions.bounds import bounded
from vaekit.engine import compiling, fusing
from vaekit.engine.capture import capture
from vaekit.engine.compiling import CompilerError, compiled
from vaekit.engine.fusing import fused
from vaekit.engine.loops import ELEMENTWISE, SMALL, SUMS
from vaekit.engine.rewriting import ready
from vaekit.seeding import seeded

aten = torch.ops.aten
Function = Callable[..., list[Tensor]]
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def loops_of(function: Function, *given: Tensor) -> GraphModule:
    return ready(fused(capture(function, given)))


def left(recorded: GraphModule) -> list[str]:
    """The operations that are no loops."""
    return [str(node.target) for node in recorded.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]


NUMBERS = [0.0, -0.0, 1e-42, -1e-42, 1e-30, 1e-3, 0.5, 1.0, 10.0, 19.9, 20.1, 87.0, 88.9, 104.0, 1e4, 3e38, math.inf]
SPECIAL = torch.tensor([*NUMBERS, *(-each for each in NUMBERS), math.nan], dtype=torch.float32)

# All of one argument and, where they have one, a derivative, whose operation is another.
ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "bounded": lambda x: bounded(x, -3.0, 4.0),
    "clamp": lambda x: x.clamp(-1.5, 2.0) + x.clamp_min(0.1) - x.clamp(max=0.25),
    "clamp_max": lambda x: x.clamp_max(3.0),
    "clone": lambda x: x.clone(),
    "elu": F.elu,
    "elu of a scale": lambda x: F.elu(x, 0.5),
    "selu": F.selu,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "hardtanh": lambda x: F.hardtanh(x, -3.0, 4.0),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "log": torch.log,
    "log1p": torch.log1p,
    "neg": torch.neg,
    "powers": lambda x: x**2 - x**3 + x.abs() ** 0.5 + x**-1,
    "reciprocal": torch.reciprocal,
    "relu": torch.relu,
    "rsqrt": torch.rsqrt,
    "rsub": lambda x: torch.rsub(x, 2.0, alpha=3.0),
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "softplus of a scale": lambda x: F.softplus(x, 2.0, 10.0),
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "scalars": lambda x: aten.sub.Scalar(aten.add.Scalar(aten.div.Scalar(aten.mul.Scalar(x, 3), 7), 1, 2), 0.5),
    "compared": lambda x: (
        (x > 1).float() + (x >= 1) * 2.0 + (x < 0.5) * 4.0 + (x <= 0.5) * 8.0 + (x == 0) + (x != 1)
    ).float(),
    "masked_fill": lambda x: x.masked_fill(x > 1, -math.inf),
    "half as precise": lambda x: x.bfloat16().float() + 1,
}
TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda x, y: torch.add(x, y, alpha=-2),
    "addcdiv": lambda x, y: torch.addcdiv(x, y, x, value=0.5),
    "addcmul": lambda x, y: torch.addcmul(x, y, x, value=-3),
    "arithmetic": lambda x, y: (x - y) * y / x,
    "compared": lambda x, y: (
        (x > y).float() + (x >= y) + (x < y) * 3.0 + (x <= y) * 5.0 + (x == y) + (x != y)
    ).float(),
    "logical": lambda x, y: ((x > 0) & (y > 0) | ~(x > y)).logical_or(x.logical_and(y.logical_not())).float(),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda x, y: torch.where(x > y, x, y * 2),
}


def derivative(function: Callable[..., Tensor]) -> Function:
    """What the function gives, and the gradient of its first argument for a gradient of that."""

    def both(g: Tensor, x: Tensor, *others: Tensor) -> list[Tensor]:
        x = x.detach().requires_grad_()
        value = function(x, *others)
        return [value.detach(), *(torch.autograd.grad(value, [x], g) if value.requires_grad else [])]

    return both


COVERED = {
    **{f"{name} of one": (derivative(function), 1) for name, function in ONE.items()},
    **{f"{name} of two": (derivative(function), 2) for name, function in TWO.items()},
}


DIFFERENCES = ("addcdiv", "addcmul", "arithmetic", "powers", "scalars", "rsub", "add ", "silu")
"""Operations that have a difference of numbers in them, or whose derivative has."""
SLOPES = ("sigmoid", "tanh", "expm1")
"""Operations whose derivative is the gradient times a difference from one."""


def close(name: str, given: Sequence[Tensor], found: Tensor, wanted: Tensor) -> None:
    """Within some units in the last place, of a difference in those of its terms; the same where it is no number."""
    gradient, *numbers = given
    scale = wanted.abs()
    if name.startswith(SLOPES):
        scale = torch.maximum(scale, gradient)
    elif name.startswith(DIFFERENCES):
        terms = torch.stack([gradient, *numbers, *(each.square() for each in numbers)]).abs().nan_to_num(0.0, 0.0)
        scale = torch.maximum(scale, terms.where(terms < 1e18, 0).amax(0))
    same = (found == wanted) | (found.isnan() & wanted.isnan())
    if name.startswith(DIFFERENCES):
        # Whether a product that overflows does so before its sum is the processor's: inf - 2 * 3e38 is inf, or nothing.
        overflows = (torch.stack(numbers).abs().nan_to_num(0.0, 0.0, 0.0) > 1e37).any(0)
        same |= overflows & ~(found.isfinite() & wanted.isfinite())
    same |= (found - wanted).abs() <= 1e-6 * scale + 1e-37
    apart = torch.stack([*given, found, wanted])[:, ~same]
    assert same.all(), f"arguments, found, wanted: {apart[:, :5].tolist()}"


@pytest.mark.parametrize("name", COVERED)
def test_operations_are_what_torch_makes_of_all_numbers(name: str) -> None:
    function, arguments = COVERED[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([SPECIAL, 10 * torch.randn(400, generator=generator)])
    given = (x,) if arguments == 1 else tuple(each.flatten() for each in torch.meshgrid(x[:80], x[:80], indexing="ij"))
    given = (torch.linspace(0.5, 2, len(given[0])), *given)
    recorded = loops_of(function, *given)
    assert left(recorded) == []
    for found, wanted in zip(recorded(*given), function(*given), strict=True):
        close(name, given, found, wanted)


def test_all_operations_are_covered() -> None:
    found = set()
    for function, arguments in COVERED.values():
        for node in capture(function, [torch.ones(3)] * (arguments + 1)).graph.nodes:
            if isinstance(node.target, torch._ops.OpOverload):  # those that change their argument are made others first
                packet = getattr(aten, node.target._opname.rstrip("_"))
                found.add(getattr(packet, node.target._overloadname, None))
    assert {*ELEMENTWISE} <= found


SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@st.composite
def programs(draw: st.DrawFn) -> tuple[Function, list[Tensor]]:
    """A random function of some tensors: elementwise operations, sums, views, parts put together, changes in place."""
    shape = draw(SHAPES)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    inputs = []
    for _ in range(draw(st.integers(1, 3))):
        own = [size if draw(st.booleans()) else 1 for size in shape][draw(st.integers(0, len(shape) - 1)) :]
        inputs.append(torch.randn(own, generator=generator, dtype=torch.float64))
    choices = draw(st.lists(st.tuples(st.integers(0, 10), *[st.integers(0, 2**16)] * 3), min_size=1, max_size=14))

    def function(*given: Tensor) -> list[Tensor]:
        known = list(given)
        for kind, i, j, k in choices:
            x, y = known[i % len(known)], known[j % len(known)]
            if kind == 0:
                known.append(x.sigmoid())
            elif kind in (1, 2, 3):
                try:
                    torch.broadcast_shapes(x.shape, y.shape)
                except RuntimeError:
                    y = y.sum()
                known.append([x + y, x * y, torch.maximum(x, y)][kind - 1])
            elif kind == 4 and x.dim():
                dims = [d for d in range(x.dim()) if k >> d & 1] or [0]
                known.append([x.sum(dims), x.mean(dims, keepdim=True), x.tanh().prod(dims[0])][j % 3])
            elif kind == 5 and x.dim() > 1:
                known.append(x.transpose(k % x.dim(), j % x.dim()))
            elif kind == 6 and x.dim():
                at = k % x.shape[0]
                known.append([x[at:], x[at], x[: at + 1]][j % 3])
            elif kind == 7 and x.dim():
                known.append(torch.cat([x, x.exp().clamp_max(2), x], k % x.dim()))
            elif kind == 8:
                known.append(torch.stack([x, x.neg()], k % (x.dim() + 1)))
            elif kind == 9:
                known.append(x.reshape(-1))
            elif kind == 10 and i % len(known) >= len(given):
                known.append(x.mul(1.0).add_(1).mul_(0.5))
        return [each.clone() for each in known[len(given) :]] or [given[0].clone()]

    return function, inputs


@given(programs())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_random_program_gives_the_same(program: tuple[Function, list[Tensor]]) -> None:
    function, inputs = program
    recorded = loops_of(function, *inputs)
    for scale in (1.0, 0.5):
        given = [scale * each for each in inputs]
        before = [each.clone() for each in given]
        for found, wanted in zip(recorded(*given), function(*before), strict=True):
            torch.testing.assert_close(found, wanted)
        assert all(map(torch.equal, given, before))


SUMMED: dict[str, Callable[[Tensor], Tensor]] = {
    "all": lambda x: x.sum(),
    "columns": lambda x: x.sum(0),
    "rows": lambda x: x.mean(-1),
    "in the middle": lambda x: x.view(50, 2, -1).sum(1),
    "all but the middle": lambda x: x.view(50, 2, -1).mean((0, 2)),
    "products": lambda x: x.sigmoid().view(-1, 8).prod(1),
    "of a row": lambda x: x[3].sum(0, keepdim=True),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", SUMMED)
def test_sums_by_several_threads_are_the_same_each_time(name: str, dtype: torch.dtype) -> None:
    x = torch.randn(100, SMALL // 64, generator=torch.Generator().manual_seed(0)).to(dtype)

    def function(x: Tensor) -> list[Tensor]:
        return [SUMMED[name](x.exp() * 0.5)]

    recorded = loops_of(function, x)
    (first,), (second,), (wanted,) = recorded(x), recorded(x), function(x.double())
    assert left(recorded) in ([], ["aten.mul.Tensor"])  # a row alone is a view
    assert torch.equal(first, second)
    assert first.dtype == dtype
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-13, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(first.double(), wanted, rtol=tolerance, atol=tolerance)


def test_every_kind_of_sum_is_covered() -> None:
    x = torch.randn(4, 6)
    recorded = capture(lambda x: [x.sum(), x.sum(1), x.mean(), x.mean(1), x.prod(), x.prod(1)], [x])
    assert {node.target for node in recorded.graph.nodes if node.op == "call_function"} == set(SUMS)
    assert left(ready(fused(recorded))) == []


def test_results_stay_when_it_is_called_again() -> None:
    recorded = loops_of(lambda x: [x.exp() + 1, (x * 2).sum(), (x - 1).t()], torch.ones(3, 4))
    first = recorded(torch.ones(3, 4))
    kept = [each.clone() for each in first]
    recorded(torch.zeros(3, 4))
    assert all(map(torch.equal, first, kept))


def test_results_of_operations_that_are_no_loops_stay_too() -> None:
    x, w = torch.ones(3, 4), torch.eye(4)
    recorded = loops_of(lambda x, w: [((x @ w).exp() * 2).lgamma()], x, w)
    (first,) = recorded(x, w)
    kept = first.clone()
    recorded(2 * x, w)
    assert torch.equal(first, kept)


def test_views_as_another_type_and_by_the_storage() -> None:
    def function(x: Tensor, y: Tensor) -> list[Tensor]:
        z = torch.complex(x, y.exp())
        parts = torch.view_as_real(z * z)
        return [
            parts[..., 1] * 2 + y,
            x.exp().view(torch.int32)[:, 1:].float() + 1,
            y.exp().as_strided((2, 3), (1, 1), 2) * x[:2, :3],
        ]

    x, y = torch.randn(3, 4), torch.randn(3, 4)
    found, wanted = loops_of(function, x, y)(x, y), function(x, y)
    torch.testing.assert_close(found[0], wanted[0])
    # Bits, of an exponential that differs in its last ones.
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-6, atol=8)
    torch.testing.assert_close(found[2], wanted[2])


def test_what_is_drawn_is_the_same() -> None:
    def function(x: Tensor) -> list[Tensor]:
        first = torch.randn(3, 4) * x
        return [first + torch.rand(3, 4), torch.bernoulli(first.sigmoid()) + x]

    x = torch.randn(3, 4)
    recorded = loops_of(function, x)
    for seed in (0, 1):
        with seeded(seed):
            wanted = function(x)
        with seeded(seed):
            found = recorded(x)
        torch.testing.assert_close(found, wanted)


def test_what_changes_memory_keeps_its_turn() -> None:
    state = torch.zeros(4)

    def function(x: Tensor) -> list[Tensor]:
        state.copy_(x.mean(0))
        before = state * 2
        state.index_add_(0, torch.tensor([1]), x[0, :1])
        return [before, state * 3]

    x = torch.randn(5, 4)
    recorded = loops_of(function, x)
    found = recorded(x)
    mine = state.clone()
    torch.testing.assert_close(found, function(x))
    torch.testing.assert_close(mine, state)


def test_one_pass_is_made_of_many() -> None:
    x, w = torch.randn(64, 30, dtype=torch.float64), torch.randn(30, 30, dtype=torch.float64)

    def function(x: Tensor, w: Tensor) -> list[Tensor]:
        h = (x @ w).relu()
        y = (h * 2 + x).tanh()
        return [y.sum(), y.mean(0), (y @ w).exp().sum(1)]

    recorded = loops_of(function, x, w)
    names = [node.name for node in recorded.graph.nodes if "loops" in node.name]
    assert len(names) == 2  # one after each product
    torch.testing.assert_close(recorded(x, w), function(x, w))


def test_a_compiler_that_is_missing_or_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CompilerError, match="no C compiler no-such-compiler; install one, or set CC"):
        compiled("void none(void) {}", {"none": []})
    monkeypatch.setenv("CC", "false")
    with pytest.raises(CompilerError, match="false: it failed"):
        compiled("void none(void) {}", {"none": []})
    monkeypatch.delenv("CC")
    with pytest.raises(CompilerError, match=r"error: .*nothing"):
        compiled("void wrong(void) { nothing; }", {"wrong": []})
    monkeypatch.setattr(compiling, "OPENMP", "libother.so")
    with pytest.raises(CompilerError, match=r"libother\.so"):
        compiled("void another(void) {}", {"another": []})


def test_large_sums_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusing, "LARGEST_SUM", 10)
    assert left(loops_of(lambda x: [x.exp().sum()], torch.ones(11))) == ["aten.sum.default"]
    assert left(loops_of(lambda x: [x.exp().sum()], torch.ones(10))) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_fork_can_compile() -> None:
    compiled("void before(void) {}", {"before": []})
    child = os.fork()
    if not child:
        compiled("void after(void) {}", {"after": []})["after"]()
        os._exit(7)
    for _ in range(2000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended, "it waits for ever"
    assert os.waitstatus_to_exitcode(status) == 7


def test_what_was_begun_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = "double half(double x) { return x / 2; }"
    compiling.begin_compiling(source)
    monkeypatch.setenv("CC", "no-such-compiler")
    compiling.begin_compiling(source)
    assert compiling.address_of(source, "half")
    assert not list(tmp_path.iterdir()), "nothing is kept"
