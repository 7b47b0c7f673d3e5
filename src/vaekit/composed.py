"""What the package exports that is put together of several of its packages: training with pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .runs import training
from .runs.training import Callbacks
from .show.pictures.drawing import watch

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def _drawing(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """`function`, with the pictures of `show` drawn while it trains, unless its callbacks draw others."""

    @wraps(function)
    def drawn(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        given: Any = kwargs.get("callbacks") or Callbacks()
        kwargs["callbacks"] = given if given.watch else replace(given, watch=watch)
        return function(*args, **kwargs)

    return drawn


train = _drawing(training.train)
ensure = _drawing(training.ensure)
