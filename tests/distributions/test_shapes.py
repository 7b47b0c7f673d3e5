"""Shapes that broadcast, against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

import vaekit
from vaekit.distributions import shapes
from vaekit.distributions.shapes import broadcast_shapes

FEW = [(), (1,), (2,), (0,), (3, 1), (1, 2), (2, 2), (2, 1, 1), (1, 3, 2)]


def test_shapes_broadcast_as_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits without asking torch; what does not, or is no number, by what torch says."""
    theirs = torch.broadcast_shapes
    for given in [(), *product(FEW), *product(FEW, FEW), *product(FEW, FEW, FEW)]:
        wanted, said = outcome(theirs, given)
        with monkeypatch.context() as patch:
            if not said:
                patch.setattr(shapes.torch, "broadcast_shapes", None)
            assert outcome(broadcast_shapes, given) == (wanted, said)


def outcome(function: Callable[..., torch.Size], given: tuple[tuple[int, ...], ...]) -> tuple[object, str]:
    """What it gives, with its type, and what it says instead."""
    try:
        found = function(*given)
    except RuntimeError as error:
        return None, str(error)
    return (type(found), found), ""


def test_symbolic_sizes_stay_symbolic() -> None:
    symbols = ShapeEnv()
    symbol = symbols.create_symbol(7, source=torch._dynamo.source.ConstantSource("n"), dynamic_dim=DimDynamic.DYNAMIC)
    n = symbols.create_symintnode(symbol, hint=7)
    found = broadcast_shapes((n, 1), (3,))
    assert isinstance(found[0], torch.SymInt)
    assert found[1] == 3
    assert not symbols.guards


def test_all_of_the_package_asks_this_one() -> None:
    """That of torch loads SymPy when it is first asked."""
    folder = Path(vaekit.__file__).parent
    asks = [path.name for path in folder.rglob("*.py") if "torch.broadcast_shapes(" in path.read_text(encoding="utf-8")]
    assert asks == ["shapes.py"]
