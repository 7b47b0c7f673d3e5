"""What objects hold is found, whatever way they hold it."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vaekit.engine.reach import held, reached


class Slotted:
    __slots__ = ("empty", "kept")

    def __init__(self, kept: Any) -> None:
        self.kept = kept


class Below(Slotted):
    """With attributes beside the slot of its base."""

    def __init__(self, kept: Any) -> None:
        super().__init__(kept)
        self.beside = 3


class Plain:
    def __init__(self, kept: Any) -> None:
        self.kept = kept

    def method(self) -> None: ...


def closure(kept: Any) -> Callable[[], Any]:
    return lambda: kept


def default(kept: Any) -> Callable[..., Any]:
    def function(given: Any = kept, *, named: Any = kept) -> Any:
        return given, named

    return function


def in_itself(kept: Any) -> list[Any]:
    found = [kept]
    found.append(found)
    return found


WAYS: dict[str, Callable[[Tensor], Any]] = {
    "an attribute": Plain,
    "a slot": Slotted,
    "a slot of a base": Below,
    "a class": lambda kept: type("OfClass", (), {"kept": kept, "__module__": __name__})(),
    "a method": lambda kept: Plain(kept).method,
    "a partial": lambda kept: functools.partial(print, end=kept),
    "a closure": closure,
    "a default": default,
    "elements": lambda kept: {"a": deque([({1}, [kept])])},
    "a list in itself": in_itself,
    "a property": lambda kept: property(closure(kept)),
    "a static method": lambda kept: staticmethod(closure(kept)),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_held_is_reached_and_once(way: str) -> None:
    inner = torch.ones(2)
    found = reached([WAYS[way](inner)])
    assert sum(each is inner for each in found) == 1
    assert len({id(each) for each in found}) == len(found)


def test_what_is_held_has_its_name_or_place() -> None:
    assert held(closure(1)).keys() >= {"(0)", "=", "*="}
    assert held(Below(1)) == {"kept": 1, "beside": 3}
    assert held(["a", "b"]) == {0: "a", 1: "b"}
    assert held(torch.ones(2)) == {}
