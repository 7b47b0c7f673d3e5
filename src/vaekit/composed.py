"""What the package exports that is put together of several of its packages: training with pictures and logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .interop.loggers import LOGGERS, with_loggers
from .runs import refitting, training
from .runs.keeping import Callbacks
from .show.pictures.drawing import watch, with_pictures
from .show.terminal import print_beginning, print_log, say
from .spec.parts import Parts
from .system.progress import in_a_notebook

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def _drawing(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """`function`, with the pictures of `show` drawn while it trains and the loggers of `interop`, unless its callbacks
    have others. Without callbacks a notebook, which shows how far it is, shows first what it is of.
    """

    @wraps(function)
    def drawn(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        usual = Callbacks(on_start=print_beginning, on_log=print_log, on_note=say) if in_a_notebook() else Callbacks()
        given: Any = kwargs.get("callbacks") or usual
        kwargs["callbacks"] = replace(given, watch=given.watch or watch, loggers=given.loggers or LOGGERS)
        return function(*args, **kwargs)

    return drawn


def with_all(parts: Parts) -> Parts:
    """`parts` with the pictures and the loggers that vaekit has, beside one's own."""
    return with_loggers(with_pictures(parts))


train = _drawing(training.train)
ensure = _drawing(training.ensure)
refit_prior = _drawing(refitting.refit_prior)
