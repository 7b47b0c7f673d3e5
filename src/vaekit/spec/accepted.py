"""What a key or an option takes, in words that are made of its type: one wording for messages and for the reference."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ..errors import nearest, several, shown
from ..settings import assignment
from .keys import PartSpec

NUMBERS = ("no", "one", "two", "three", "four")


def refused(where: str, key: str, value: object, hint: Any, default: object, error: ValidationError) -> ValueError:
    """The error, one line, for a `value` that `hint` is no type of: what was given, what is accepted, and an example.

    `where` names the place, `key` is what an assignment sets there, nothing where none does.

    >>> from pydantic import TypeAdapter
    >>> try:
    ...     TypeAdapter(int).validate_python("many")
    ... except ValidationError as error:
    ...     print(refused("option 'components'", "components", "many", int, 500, error))
    option 'components' is 'many'; accepted: a whole number, such as components=500
    """
    first = error.errors()[0]
    if first["type"] == "value_error":  # of a check of our own
        said = first["msg"].removeprefix("Value error, ")
        return ValueError(f"{where}: {said}" if isinstance(value, Mapping) else f"{where} is {shown(value)}: {said}")
    near = nearest(value, _names(hint)) if isinstance(value, str) else None
    meant = f" (did you mean {near!r}?)" if near else ""
    such = " or ".join(assignment(key, each) for each in _examples(hint, default, value)) if key else ""
    such = such and f", such as {such}"
    return ValueError(f"{where} is {shown(value)}{meant}; accepted: {in_words(hint)}{such}")


def in_words(hint: Any) -> str:
    """What a type takes, of what a spec can say.

    >>> in_words(bool | Annotated[int, FieldInfo(ge=1)] | None), in_words(tuple[float, float])
    ('true, false or a whole number of at least 1', 'a list of two finite numbers')
    """
    *most, last = _alternatives(hint) or ["another value"]
    return f"{', '.join(most)} or {last}" if most else last


def hint_of(field: FieldInfo) -> Any:
    """The type of a key, with its bounds and examples."""
    return Annotated[field.annotation, field]


def inner(hint: Any, key: str | int) -> tuple[Any, Any]:
    """The type and the default of what `key` is of a value of type `hint`; `inspect.Parameter.empty` for either that
    there is not.
    """
    empty = inspect.Parameter.empty
    for each in _united(hint):
        plain = _plain(each)
        origin, own = get_origin(plain), get_args(plain)
        if inspect.isclass(plain) and issubclass(plain, BaseModel) and key in plain.model_fields:
            field = plain.model_fields[str(key)]
            return hint_of(field), field.default
        if inspect.isclass(plain) and is_dataclass(plain) and key in (hints := get_type_hints(plain)):
            return hints[str(key)], empty
        if origin is dict:
            return own[1], empty
        if origin is tuple and isinstance(key, int):
            return own[0 if own[1:] == (...,) else key], empty
    return empty, empty


def keys_of(hint: Any) -> list[str]:
    """The keys of a table of type `hint`; none where it is of free names."""
    models = [each for each in map(_plain, _united(hint)) if inspect.isclass(each) and issubclass(each, BaseModel)]
    return [key for each in models for key in each.model_fields]


def _united(hint: Any) -> Iterator[Any]:
    """The types of a union, one by one, but for None, each with the bounds that stand about all."""
    plain, about = _stripped(hint)
    if get_origin(plain) in (Union, UnionType):
        for each in get_args(plain):
            yield from _united(each)
    elif plain is not NoneType:
        yield Annotated[plain, *about] if about else plain


def _stripped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without what `Annotated` says of it, and that."""
    return (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())


def _plain(hint: Any) -> Any:
    return _stripped(hint)[0]


def _alternatives(hint: Any) -> list[str]:
    """All that a type takes: words that are written as they are, and the words for what else there is."""
    nouns = [noun for each in _united(hint) if (noun := _noun(each)) is not None]
    return _names(hint) + [f"a {one}{rest}" for one, _, rest in nouns]


def _names(hint: Any) -> list[str]:
    """The words that a type takes as they are."""
    found: list[str] = []
    for each in _united(hint):
        plain = _plain(each)
        of_literal = map(str, get_args(plain)) if get_origin(plain) is Literal else ()
        found += ("true", "false") if plain is bool else of_literal
    return found


def _noun(hint: Any) -> tuple[str, str, str] | None:
    """What one and what several of a type are called, and what follows one of them; None of what no spec can say."""
    plain, about = _stripped(hint)
    origin, own, bounds = get_origin(plain), get_args(plain), _bounds(about)
    if plain is int:
        limits = _limits(bounds, whole=True)
        return f"whole number{limits}", f"whole numbers{limits}", ""
    if plain is float:
        ends, limits = {"ge", "gt"} & bounds.keys() and {"le", "lt"} & bounds.keys(), _limits(bounds)
        finite = "" if ends else "finite "
        return f"{finite}number{limits}", f"{finite}numbers{limits}", ""
    if plain is str:
        return "text", "texts", ""
    if origin is tuple:
        each = _many(own[0])
        return "list", "lists", f" of {each}" if own[1:] == (...,) else f" of {NUMBERS[len(own)]} {each}"
    if origin is dict:
        return "table", "tables", f" of {'one or more ' if bounds.get('min_length') else ''}{_many(own[1])} by name"
    if inspect.isclass(plain) and issubclass(plain, PartSpec):
        return "part", "parts", " by name"
    if inspect.isclass(plain) and issubclass(plain, BaseModel):
        return "table", "tables", f" with {several(plain.model_fields)}"
    if origin is Callable:
        return "schedule", "schedules", " by name"
    return None


def _many(hint: Any) -> str:
    """What several of a type are called."""
    return " or ".join(noun[1] for each in _united(hint) if (noun := _noun(each)) is not None) or "values"


def _bounds(about: Sequence[Any]) -> dict[str, Any]:
    """The bounds among what is said of a type."""
    every = [inner for each in about for inner in (each.metadata if isinstance(each, FieldInfo) else [each])]
    names = ("ge", "gt", "le", "lt", "min_length")
    return {name: getattr(each, name) for each in every for name in names if hasattr(each, name)}


def _limits(bounds: Mapping[str, Any], whole: bool = False) -> str:
    """Bounds of a number in words, with a blank before them."""
    low, above, high, below = map(bounds.get, ("ge", "gt", "le", "lt"))
    if whole and below is not None:
        high, below = below - 1, None
    if low is not None and high is not None:
        return f" from {low:,} to {high:,}"
    words = {" of at least ": low, " above ": above, " of at most ": high, " below ": below}
    return " and".join(f"{word}{bound:,}" for word, bound in words.items() if bound is not None)


def _examples(hint: Any, default: object, given: object) -> Sequence[object]:
    """Values that a type takes: its own examples, or the default; none where words are all there is to take."""
    own = list(_united(hint))
    if isinstance(given, int | float) and all(_plain(each) is str for each in own):
        return [str(given)]  # as it has to be written so that it is no number
    examples = [one for each in _stripped(hint)[1] if isinstance(each, FieldInfo) for one in each.examples or ()]
    if examples or all(_noun(each) is None for each in own):
        return examples
    usual = default.name if isinstance(default, PartSpec) else default
    return [usual] if isinstance(usual, int | float | str | tuple) and usual not in (False, "", ()) else []
