"""What the package exports that is put together of several of its packages: training with pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .runs import training
from .runs.training import Callbacks
from .show.pictures.drawing import watch
from .show.terminal import print_beginning
from .system.progress import in_a_notebook

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def _drawing(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """`function`, with the pictures of `show` drawn while it trains, unless its callbacks draw others. Without
    callbacks a notebook, which shows how far it is, shows first what it is of.
    """

    @wraps(function)
    def drawn(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        usual = Callbacks(on_start=print_beginning) if in_a_notebook() else Callbacks()
        given: Any = kwargs.get("callbacks") or usual
        kwargs["callbacks"] = given if given.watch else replace(given, watch=watch)
        return function(*args, **kwargs)

    return drawn


train = _drawing(training.train)
ensure = _drawing(training.ensure)
