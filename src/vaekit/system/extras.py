"""Libraries that not everyone has: those of vaekit's extras."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ..errors import MissingLibraryError


@contextmanager
def needing(what: str, library: str, extra: str, instead: str = "") -> Iterator[None]:
    """Inside, imports of what an extra of vaekit's brings; `MissingLibraryError`, one line, where it is not there.

    >>> with needing("a log", "Nothing", "none", "leave it out"):
    ...     import nothing_of_this_name
    Traceback (most recent call last):
    vaekit.errors.MissingLibraryError: a log needs Nothing: pip install 'vaekit[none]'; leave it out
    """
    try:
        yield
    except ModuleNotFoundError:
        advice = f"; {instead}" if instead else ""
        raise MissingLibraryError(f"{what} needs {library}: pip install 'vaekit[{extra}]'{advice}") from None


def check_importable(*modules: str) -> None:
    """`ModuleNotFoundError` where a module is not there; none is imported, which takes seconds of some."""
    for each in modules:
        if find_spec(each) is None:
            raise ModuleNotFoundError(each)
