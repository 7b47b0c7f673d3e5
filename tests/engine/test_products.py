"""Products of matrices in C give what torch gives, from matrices of any layout, whatever the threads."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from vaekit.engine import fusing, loops, products
from vaekit.engine.capture import capture
from vaekit.engine.compiling import compiled
from vaekit.engine.fusing import fused
from vaekit.engine.rewriting import ready
from vaekit.system.devices import threads

CAPABILITY = torch.backends.cpu.get_cpu_capability()
pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or not products.can_multiply(), reason="products in C are not made here"
)
HERE = [name for name, tile in products.TILES.items() if tile <= products.TILES.get(CAPABILITY, ())]
SIZES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 97, 130)
KINDS = [ctypes.c_int64] * 3 + [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64] * 2
KINDS += [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]


def multiply(a: Tensor, b: Tensor, bias: Tensor | None = None, *, rectified: bool = False, processor: str) -> Tensor:
    """The product by the function in C itself."""
    product = compiled(products.product_source(processor), {"product": KINDS})["product"]
    c = torch.full((a.shape[0], b.shape[1]), torch.nan)
    product(
        a.shape[0],
        b.shape[1],
        a.shape[1],
        *(a.data_ptr(), *a.stride()),
        *(b.data_ptr(), *b.stride()),
        c.data_ptr(),
        None if bias is None else bias.data_ptr(),
        rectified,
    )
    return c


def matrix(rows: int, columns: int, layout: str, generator: torch.Generator) -> Tensor:
    if layout == "columns":
        return torch.randn(columns, rows, generator=generator).t()
    if layout == "part":
        return torch.randn(rows + 2, columns + 5, generator=generator)[1:-1, 3:-2]
    return torch.randn(rows, columns, generator=generator)


LAYOUT = st.sampled_from(("rows", "columns", "part"))


@pytest.mark.parametrize("processor", HERE)
@given(
    st.sampled_from(SIZES),
    st.sampled_from(SIZES),
    st.sampled_from((*SIZES, 1023, 1024, 1025, 2050)),
    LAYOUT,
    LAYOUT,
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_a_product_is_that_of_float64_numbers(
    processor: str, rows: int, columns: int, depth: int, one: str, other: str, biased: bool, rectified: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = matrix(rows, depth, one, generator), matrix(depth, columns, other, generator)
    bias = torch.randn(columns, generator=generator) if biased else None
    wanted = a.double() @ b.double() + (bias.double() if bias is not None else 0)
    # Each of the sums is rounded as often as it has terms, by half a unit of what it then is at most.
    sizes = a.double().abs() @ b.double().abs() + (bias.double().abs() if bias is not None else 0)
    found = multiply(a, b, bias, rectified=rectified, processor=processor)
    wanted = wanted.relu() if rectified else wanted
    assert bool(((found - wanted).abs() <= (depth + 2) * 2**-24 * sizes).all())


@pytest.mark.parametrize("processor", HERE)
@pytest.mark.parametrize("layouts", [("rows", "rows"), ("rows", "columns"), ("columns", "rows")])
def test_a_product_has_the_same_bits_whatever_the_threads(processor: str, layouts: tuple[str, str]) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = matrix(203, 301, layouts[0], generator), matrix(301, 217, layouts[1], generator)
    found = []
    for number in (1, 2, 3, 4, 7):
        with threads(number):
            found.append(multiply(a, b, processor=processor))
    assert all(torch.equal(each, found[0]) for each in found)


@pytest.mark.parametrize("processor", HERE)
def test_what_is_no_number_stays_in_its_row_and_column(processor: str) -> None:
    a, b = torch.ones(20, 30), torch.ones(30, 50)
    a[3, 4], b[5, 47] = torch.nan, torch.inf
    found = multiply(a, b, torch.zeros(50), rectified=True, processor=processor)
    assert bool(found[3].isnan().all())
    assert bool((found[[i for i in range(20) if i != 3], 47] == torch.inf).all())
    assert int(found.isfinite().sum()) == 19 * 49


def test_what_is_no_number_stays_it_in_a_rectified_layer() -> None:
    x, w = torch.randn(32, 40), torch.randn(24, 40)
    x[3, 4] = torch.nan
    recorded = capture(lambda x, w: [F.linear(x, w).relu() * 2], [x, w])
    for made in (fused(recorded), recorded):
        torch.testing.assert_close(
            ready(made)(x, w)[0], F.linear(x, w).relu() * 2, equal_nan=True, rtol=1e-4, atol=1e-4
        )


FUNCTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "a product": lambda x, w, b: x @ w.t(),
    "a layer": lambda x, w, b: F.linear(x, w, b),
    "a rectified layer": lambda x, w, b: F.linear(x, w, b).relu(),
    "of few columns": lambda x, w, b: x @ w[:17].t(),
    "of a part": lambda x, w, b: x[2:, 1:] @ w[:, 1:].t(),
    "of a transpose": lambda x, w, b: x.t() @ x + 1,
    "of what a loop makes": lambda x, w, b: (2 * x.exp()) @ (w + 1).t() + b,
    "with a sum": lambda x, w, b: F.linear(x, w, b).square().sum(0),
    "of a stack of data": lambda x, w, b: F.linear(x.view(4, -1, x.shape[1]), w, b) * 2,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_products_among_loops_give_what_torch_gives(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((64, 40), (72, 40), (72,))]

    def function(*given: Tensor) -> list[Tensor]:
        found = FUNCTIONS[name](*given)
        loss = found.square().mean()
        return [found, *torch.autograd.grad(loss, given, allow_unused=True, materialize_grads=True)]

    recorded = capture(function, given)
    made = ready(fused(recorded))
    left = [str(node.target) for node in made.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    assert not any("linear" in each or "mm" in each for each in left), left
    with torch.no_grad():
        found = [each.clone() for each in made(*given)]
        again = made(*given)
    for wanted, one, other in zip(map(torch.detach, function(*given)), found, again, strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-6 * float(wanted.abs().max()))
        assert torch.equal(one, other)


@pytest.mark.parametrize("shapes", [((64, 3), (9, 3)), ((64, 40), (3, 40)), ((1, 400), (400, 400))])
def test_a_library_makes_products_that_it_makes_faster(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    x, w = (torch.randn(shape) for shape in shapes)
    made = ready(fused(capture(lambda x, w: [2 * F.linear(x, w)], [x, w])))
    assert any("linear" in str(node.target) or "mm" in str(node.target) for node in made.graph.nodes)
    torch.testing.assert_close(made(x, w)[0], 2 * F.linear(x, w), rtol=1e-4, atol=1e-4)


def test_a_compiler_that_cannot_make_products_makes_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusing, "product_source", lambda: "nothing that is C")
    monkeypatch.setattr(loops, "product_source", lambda: "nothing that is C")
    x, w = torch.randn(32, 40), torch.randn(24, 40)
    made = ready(fused(capture(lambda x, w: [F.linear(x, w).exp() + 1], [x, w])))
    called = [str(node.target) for node in made.graph.nodes]
    assert any("linear" in each or "mm" in each for each in called)
    assert not any("exp" in each for each in called)
    torch.testing.assert_close(made(x, w)[0], F.linear(x, w).exp() + 1)


def test_a_bias_with_gaps_is_added_as_it_is() -> None:
    x, w = torch.randn(32, 40), torch.randn(40, 40)
    recorded = capture(lambda x, w: [torch.addmm(w[:, 3], x, w.t()) * 2], [x, w])
    for made in (fused(recorded), recorded):
        torch.testing.assert_close(ready(made)(x, w)[0], torch.addmm(w[:, 3], x, w.t()) * 2)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_other_numbers_are_multiplied_by_torch(kind: torch.dtype) -> None:
    x, w = torch.randn(32, 40).to(kind), torch.randn(24, 40).to(kind)
    made = ready(fused(capture(lambda x, w: [2 * F.linear(x, w)], [x, w])))
    torch.testing.assert_close(
        made(x, w)[0], 2 * F.linear(x, w), rtol=1e-2 if kind == torch.bfloat16 else 1e-12, atol=1e-2
    )


def test_on_other_processors_products_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert not products.can_multiply()
    x, w = torch.randn(32, 40), torch.randn(24, 40)
    made = ready(fused(capture(lambda x, w: [2 * F.linear(x, w)], [x, w])))
    assert any("linear" in str(node.target) or "mm" in str(node.target) for node in made.graph.nodes)
    torch.testing.assert_close(made(x, w)[0], 2 * F.linear(x, w))
