"""What the package exports that is put together of several of its packages: training with pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from .runs import run
from .show.pictures.drawing import watch

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def _drawing(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """`function`, which takes who draws while a run trains, with the pictures of `show` unless another is given."""

    @wraps(function)
    def drawn(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        kwargs.setdefault("watch", watch)
        return function(*args, **kwargs)

    return drawn


train = _drawing(run.train)
ensure = _drawing(run.ensure)
