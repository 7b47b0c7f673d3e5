"""The errors that a user can cause, and how they read: one line that says what was given, what is accepted, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RunError(ValueError):
    """A run folder that can't be used as asked."""


class NonFiniteError(ArithmeticError):
    """The training loss is no longer a finite number."""


def unknown(what: str, name: object, accepted: Iterable[str]) -> str:
    """The message for a name that isn't among those accepted, with the nearest.

    >>> unknown("prior", "vmap", ["vamp", "flow"])
    "unknown prior 'vmap' (did you mean 'vamp'?); accepted: vamp, flow"
    """
    names = [str(each) for each in accepted]
    near = difflib.get_close_matches(str(name), names, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {what} {str(name)!r}{hint}; accepted: {', '.join(names) or 'none'}"
