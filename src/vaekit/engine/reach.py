"""The objects that can be reached from others: attributes, elements, closures, and what code of one's own names."""

from __future__ import annotations

import dis
import functools
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

MOST = 20_000
"""Objects that are looked at: beyond, a graph of objects is not one of a model's settings."""
LARGE = 2**27
"""Bytes of a tensor or array above which it is taken to be data, which nothing changes."""

Said = TypeVar("Said")
KINDS = 4096
"""Types of which is kept what they hold."""

PLAIN = (type(None), bool, int, float, complex, str, bytes, Enum, torch.dtype, torch.device, torch.Size, torch.layout)
_OTHERS = {*sys.stdlib_module_names, "numpy", "pydantic", "pyro", "scipy", "sklearn", "torch", "vaekit", "zuko"}
WHOLE: tuple[type, ...] = (
    *(Tensor, np.ndarray, torch.Generator, np.random.Generator, np.random.RandomState, random.Random),
    *(types.ModuleType, types.BuiltinFunctionType, types.CodeType),
)
"""What is described as one thing."""


def reached(roots: Iterable[object]) -> list[object]:
    """All that `roots` hold, by way of each other, and themselves: `MOST` of it."""
    found: dict[int, object] = {}
    waiting = deque(roots)
    while waiting and len(found) < MOST:
        each = waiting.popleft()
        kind = type(each)
        if is_plain(kind) or id(each) in found:
            continue
        found[id(each)] = each
        waiting.extend(held(each).values())
        if not is_whole(kind) and not isinstance(each, type):
            waiting.append(kind)
    return list(found.values())


def held(each: Any) -> dict[Any, Any]:
    """What an object holds, by name or place."""
    return _holding(type(each))(each)


def by_type(function: Callable[[type], Said]) -> Callable[[type], Said]:
    """`function`, asked once of each type: a walk meets hundreds of objects of few types, a recording takes tens of
    walks.
    """
    return cast("Callable[[type], Said]", functools.lru_cache(KINDS)(function))


@by_type
def is_plain(kind: type) -> bool:
    """Whether objects of a type are `PLAIN`."""
    return issubclass(kind, PLAIN)


@by_type
def is_whole(kind: type) -> bool:
    """Whether objects of a type are `WHOLE`."""
    return issubclass(kind, WHOLE)


@by_type
def _holding(kind: type) -> Callable[[Any], dict[Any, Any]]:
    """What says what an object of a type holds."""
    for kinds, says in _HELD:
        if issubclass(kind, kinds):
            return says
    slots = [name for base in kind.__mro__ for name in _slots(base)]
    return lambda each: {
        **{name: getattr(each, name) for name in slots if hasattr(each, name)},
        **getattr(each, "__dict__", {}),
    }


def _of_function(each: types.FunctionType) -> dict[Any, Any]:
    cells = {f"({i})": cell.cell_contents for i, cell in enumerate(each.__closure__ or ()) if not is_empty(cell)}
    return {**cells, **named(each), **vars(each), "=": each.__defaults__, "*=": each.__kwdefaults__}


_HELD: tuple[tuple[Any, Callable[[Any], dict[Any, Any]]], ...] = (
    (WHOLE, lambda each: {}),
    (dict, dict),
    ((list, tuple, set, frozenset, deque), lambda each: dict(enumerate(each))),
    (types.FunctionType, _of_function),
    (types.MethodType, lambda each: {"self": each.__self__, "function": each.__func__}),
    (functools.partial, lambda each: {"function": each.func, "args": each.args, **each.keywords}),
    ((staticmethod, classmethod), lambda each: {"function": each.__func__}),
    (property, lambda each: {"get": each.fget, "set": each.fset}),
    (type, lambda each: {**vars(each), "bases": each.__bases__} if is_own(each) else {}),
)


def _slots(kind: type) -> Sequence[str]:
    own = kind.__dict__.get("__slots__", ()) if is_own(kind) else ()
    return (own,) if isinstance(own, str) else tuple(own)


def is_empty(cell: types.CellType) -> bool:
    """Whether a closure's cell holds nothing yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def is_own(each: Any) -> bool:
    """Whether a class or function is the user's: others' keep nothing that changes what a model computes."""
    return str(getattr(each, "__module__", None) or "builtins").partition(".")[0] not in _OTHERS


def named(function: types.FunctionType) -> dict[str, Any]:
    """What code of one's own names: globals, and of modules of one's own what it may take."""
    if not is_own(function):
        return {}
    names, attributes = _names(function.__code__)
    found = {name: function.__globals__[name] for name in names if name in function.__globals__}
    of_modules = {
        f"{module}.{name}": vars(value)[name]
        for module, value in found.items()
        if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] not in _OTHERS
        for name in attributes & vars(value).keys()
    }
    return {**found, **of_modules}


@functools.cache
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The globals that code takes, and the attributes, functions within it included."""
    names, attributes = set(), set()
    for each in dis.get_instructions(code):
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(each.argval)
        elif each.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            attributes.add(each.argval)
    inner = [_names(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    return frozenset(names.union(*(one for one, _ in inner))), frozenset(attributes.union(*(of for _, of in inner)))
