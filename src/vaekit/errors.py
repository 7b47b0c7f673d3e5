"""The errors that a user can cause, each one line that says what was given, what is accepted, and what to do."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


class RunError(ValueError):
    """A run folder that can't be used as asked."""


class TakenError(RunError):
    """A folder that a run is to begin in holds one already."""


class NotBegunError(KeyboardInterrupt):
    """An interrupt before a run has begun: nothing of it is there to go on with, but a run that it needs may be."""


class LeftOutWarning(UserWarning):
    """Something that lies with the data is not used."""


class UndefinedError(ValueError):
    """Something is asked of a model for which it is not defined, whatever the data."""


class MisfitError(ValueError):
    """A posterior and a prior that are not of one kind."""


class UntrainableError(ValueError):
    """Parts are to be trained that have no weights."""


class UnequalImagesError(ValueError):
    """Images that are not all of one size: what is `odd`, and what to do where data are read to be trained on."""

    def __init__(self, odd: str, advice: str) -> None:
        super().__init__(f"{odd}; {advice}")
        self.odd, self.advice = odd, advice


class WrongKindError(TypeError):
    """Something is another kind of thing than is wanted."""


class MissingLibraryError(ImportError, ValueError):
    """A library that not everyone has is needed, and not there."""


class LostProcessError(ConnectionError):
    """Of several processes that train together, another one has ended or does not answer."""


class NonFiniteError(ArithmeticError):
    """The training loss is no longer a finite number."""


MOST = 24
"""Names that a message lists at most: of a thousand classes or columns the user knows the rest."""
MOST_LINES = 5
"""Columns of which the same is said, at most, that have a line each."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 100


def shown(value: object) -> str:
    """The repr of what a user gave, shortened where it is long or deep: a message stays one line, whatever came in.

    >>> shown([1, [2, "x" * 1000]])[:12]
    "[1, [2, 'xxx"
    """
    return _REPR.repr(value)


def wrong_kind(name: str, value: object, accepted: str) -> WrongKindError:
    """The error for an argument that is another kind of thing than is wanted.

    >>> print(wrong_kind("encoder", "mlp", "a module"), "/", wrong_kind("prior", int, "a module"))
    encoder is 'mlp'; accepted: a module / prior is the class int; accepted: a module
    """
    plain = isinstance(value, str | int | float | complex | list | tuple | dict | None)
    what = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
    return WrongKindError(f"{name} is {' '.join(shown(value).split()) if plain else what}; accepted: {accepted}")


def check_least(name: str, value: Any, least: int = 1) -> None:
    """`ValueError` for a number that is below the `least` that it may be, or none.

    >>> check_least("components", 3), check_least("weight", 0.5, 0)
    (None, None)
    """
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def number_of(number: int, one: str, many: str = "") -> str:
    """A number of things in words.

    >>> number_of(1, "class", "classes"), number_of(1000, "row"), number_of(0, "column")
    ('1 class', '1,000 rows', '0 columns')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def several(names: Iterable[object], most: int = 12) -> str:
    """Names with commas between, of many the first: a message stays one readable line. Those that have a comma, a
    line break, blanks at an end, or nothing, are in quotes.

    >>> several(range(1000), 3), several(["Rome", "Oslo, Norway", "two\\nlines"])
    ('0, 1, 2 and 997 more', "Rome, 'Oslo, Norway', 'two\\\\nlines'")
    """
    every = [_quoted(str(each)) for each in names]
    rest = len(every) - most
    return ", ".join(every) if rest <= 1 else f"{', '.join(every[:most])} and {rest} more"


def _quoted(name: str) -> str:
    quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "'\""
    plain = name and name == name.strip() and "," not in name and name.isprintable()
    return name if quoted or plain else repr(name)


def nearest(name: object, accepted: Iterable[str]) -> str | None:
    """The accepted name that `name` is likely meant to be."""
    return next(iter(difflib.get_close_matches(str(name), list(accepted), 1)), None)


def unknown(what: str, name: object, accepted: Iterable[str]) -> str:
    """The message for a name that isn't among those accepted, with the nearest.

    >>> unknown("prior", "vmap", ["vamp", "flow"])
    "unknown prior 'vmap' (did you mean 'vamp'?); accepted: vamp, flow"
    """
    names = [str(each) for each in accepted]
    near = nearest(name, names)
    hint = f" (did you mean {near!r}?)" if near else ""
    return f"unknown {what} {shown(str(name))}{hint}; accepted: {several(names, MOST) or 'none'}"
