"""Objects made again what they were."""

from __future__ import annotations

import random
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .reach import LARGE, by_type, is_empty, is_own, named

Restorer = Callable[[], None]


def restorer(each: Any) -> Restorer | None:
    """What makes an object again what it is now; None where it can't change, or is too large to be kept twice."""
    if isinstance(each, Tensor):
        return _of_tensor(each)
    if isinstance(each, np.ndarray):
        return _of_array(each)
    if _is_stream(type(each)):
        return _of_stream(each)
    if isinstance(each, (dict, list, set, deque)):
        return _of_elements(each)
    if isinstance(each, types.FunctionType):
        return _of_function(each)
    if isinstance(each, type):
        return _of_class(each) if is_own(each) else None
    attributes = None if isinstance(each, types.ModuleType) else getattr(each, "__dict__", None)
    return _of_elements(attributes) if isinstance(attributes, dict) else None


@by_type
def _is_stream(kind: type) -> bool:
    return issubclass(kind, (np.random.Generator, np.random.RandomState, random.Random, torch.Generator))


def stream_of(each: Any) -> Any:
    """The state of a random stream, None of anything else."""
    if isinstance(each, np.random.Generator):
        return each.bit_generator.state
    if isinstance(each, np.random.RandomState):
        return each.get_state(legacy=False)
    if isinstance(each, random.Random):
        return each.getstate()
    return each.get_state().tolist() if isinstance(each, torch.Generator) else None


def _of_tensor(each: Tensor) -> Restorer:
    data, trained = each.data, each.requires_grad
    values = None if each.nbytes > LARGE else each.detach().clone()
    gradient = each.grad if each.is_leaf else None

    def restore() -> None:
        with torch.no_grad():
            if each.data_ptr() != data.data_ptr() or (each.shape, each.stride()) != (data.shape, data.stride()):
                each.data = data
            if values is not None and not torch.equal(data, values):
                data.copy_(values)
        if each.is_leaf:
            each.requires_grad_(trained)
            each.grad = gradient

    return restore


def _of_array(each: np.ndarray) -> Restorer | None:
    if not each.flags.writeable or each.nbytes > LARGE:
        return None
    values = each.copy()

    def restore() -> None:
        each[...] = values

    return restore


def _of_stream(each: Any) -> Restorer:
    if isinstance(each, np.random.Generator):
        known = each.bit_generator.state
        return lambda: setattr(each.bit_generator, "state", known)
    state: Any = each.getstate() if isinstance(each, random.Random) else each.get_state()
    return lambda: (each.setstate if isinstance(each, random.Random) else each.set_state)(state)


def _of_elements(each: Any) -> Restorer:
    """Of a dict, list, set or deque."""
    elements = each.copy()

    def restore() -> None:
        if isinstance(each, dict):
            same = each.keys() == elements.keys() and all(each[key] is value for key, value in elements.items())
        else:
            same = [*map(id, each)] == [*map(id, elements)]
        if not same:
            each.clear()
            (each.update if isinstance(each, (dict, set)) else each.extend)(elements)

    return restore


def _of_function(each: types.FunctionType) -> Restorer:
    cells = [(cell, cell.cell_contents) for cell in each.__closure__ or () if not is_empty(cell)]
    known = {name: value for name, value in named(each).items() if name in each.__globals__}
    attributes = _of_elements(each.__dict__)

    def restore() -> None:
        for cell, value in cells:
            cell.cell_contents = value
        each.__globals__.update(known)
        attributes()

    return restore


def _of_class(each: type) -> Restorer:
    known = dict(vars(each))

    def restore() -> None:
        for name in vars(each).keys() - known.keys():
            delattr(each, name)
        for name, value in known.items():
            if vars(each).get(name) is not value:
                setattr(each, name, value)

    return restore
