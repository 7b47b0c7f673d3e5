"""Settings of the form a.b=c: how they are read, and how messages name them where the user stands."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, Literal

_Where = Literal["call", "spec", "command"]
_where: ContextVar[_Where] = ContextVar("_where", default="call")
_typed: ContextVar[Mapping[str, str]] = ContextVar("_typed", default=MappingProxyType({}))
FLAGS = {"n": "-n"}
BARE = re.compile(r"[A-Za-z0-9_-]+")
"""Keys of TOML that need no quotes."""


class _Unset:
    """What a setting is that the user takes back."""

    def __repr__(self) -> str:
        return "none"


UNSET: Final = _Unset()


@contextmanager
def standing(where: Literal["spec", "command"]) -> Iterator[None]:
    """Inside, messages name what works on the command line, or for a run's spec in Python; the outermost counts."""
    token = _where.set(where) if _where.get() == "call" else None
    try:
        yield
    finally:
        if token:
            _where.reset(token)


@contextmanager
def typed_as(options: Mapping[str, str]) -> Iterator[None]:
    """Inside, messages name the options by which a user has set these keys of a spec, in place of the keys."""
    token = _typed.set(options)
    try:
        yield
    finally:
        _typed.reset(token)


def key_called(key: str) -> str:
    """What a user has typed for that key of a spec: the key, unless it is `typed_as` another option."""
    return _typed.get().get(key, key)


def in_a_call() -> bool:
    """Whether the user has called a function on objects, and no run has a spec that could be changed."""
    return _where.get() == "call"


def setting(key: str, value: object) -> str:
    """How the user, where they stand, gives the option `key` of a spec that value.

    >>> setting("data.label", "kind")
    "label='kind'"
    >>> with standing("command"):
    ...     setting("data.label", "kind of it")
    "--set 'data.label=kind of it'"
    >>> with typed_as({"model.latents.z.prior": "prior"}), standing("command"):
    ...     setting("model.latents.z.prior", "flow")
    '--prior flow'
    """
    if key in _typed.get():
        return option(_typed.get()[key], value)
    if in_a_call():
        return f"{key.rpartition('.')[2]}={'…' if value == '…' else repr(value)}"  # "…" is a place to fill in
    return _assignment(f"{key}={written(value)}")


def assignment(key: str, value: object) -> str:
    """What sets `key` to a value, in a file, in `sets` and on the command line alike; there in quotes where needed.

    >>> assignment("training.epochs", 20)
    'training.epochs=20'
    >>> with standing("command"):
    ...     print(assignment("data.label", "3"))
    'data.label="3"'
    """
    text = f"{key}={written(value)}"
    return shlex.quote(text) if _where.get() == "command" else text


def named(key: str, value: object) -> str:
    """How what has been given, there or by a recipe, is called where the user stands: a fact, no advice."""
    return setting(key, value) if in_a_call() else f"{key}={written(value)}"


def unset(key: str) -> str:
    """How the user, where they stand, takes back the option `key` of a spec."""
    return f"leave out {key.rpartition('.')[2]}" if in_a_call() else _assignment(f"{key}=none")


def option(name: str, value: object = True) -> str:
    """How the user, where they stand, gives an argument of a public function that is an option of a command, too.

    >>> option("resume"), option("label", "kind")
    ('resume=True', "label='kind'")
    """
    if _where.get() != "command":
        return f"{name}={value!r}"
    flag = FLAGS.get(name, f"--{name}")
    return flag if value is True else f"{flag} {shlex.quote(str(value))}"


def written(value: object) -> str:
    """The shortest text that `assign` reads as `value`.

    >>> written("kind"), written("5"), written({"name": "cosine", "start": 1e-3}), written(True)
    ('kind', '"5"', '{name = "cosine", start = 0.001}', 'true')
    """
    return value if isinstance(value, str) and _read(value) == value else _toml(value)


def _toml(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else _toml(name)


def assign(values: dict[str, Any], assignment: str) -> None:
    """Put into nested tables what "a.b=c" says, c being a TOML value, numbers with commas between, or else a string.

    What is set to none is taken away; where it was not there, it is `UNSET`, so that its name is checked.
    """
    path, equals, text = assignment.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ValueError(f"cannot set {assignment!r}; accepted: a.b=c, such as training.epochs=5")
    for key in keys[:-1]:
        below = values.setdefault(key, {})
        if isinstance(below, str):  # a part given by its bare name, which now gets an option
            below = values[key] = {"name": below}
        if not isinstance(below, dict):
            raise ValueError(f"cannot set {assignment!r}: {key!r} is {below!r}, which has nothing below it")
        values = below
    value = _read(text)
    if value is UNSET and keys[-1] in values:
        del values[keys[-1]]
    else:
        values[keys[-1]] = value


def without_unset(values: Any) -> Any:
    """Nested tables without what is `UNSET` in them."""
    if not isinstance(values, dict):
        return values
    return {key: without_unset(value) for key, value in values.items() if value is not UNSET}


def _read(text: str) -> Any:
    for written in (text, f"[{text}]" if "," in text else text):
        try:
            return tomllib.loads(f"value = {written}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
    text = text.strip()
    return UNSET if text.lower() in ("none", "null") else text


def _assignment(text: str) -> str:
    if _where.get() != "command":
        return f"sets=[{json.dumps(text, ensure_ascii=False)}]"
    return f"--set {text if text.endswith('=…') else shlex.quote(text)}"  # "…" is a place to fill in
