"""Recipes: whole runs by name, each a TOML file here to read and edit, with its source. A paper is one file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from ...errors import unknown

_FILES = {each.name.removesuffix(".toml"): each for each in files(__package__).iterdir() if each.name.endswith(".toml")}
RECIPES: dict[str, str] = {name: _FILES[name].read_text(encoding="utf-8") for name in sorted(_FILES)}
"""The text of each, by the name of its file."""


def extended(values: Mapping[str, Any]) -> dict[str, Any]:
    """A spec as nested tables; one that says `extends = "NAME"` is that recipe's, but for what it says itself.

    Tables are joined key by key, those of named parts are replaced. Raises `ValueError` for a recipe that there is not.

    >>> extended({"extends": "digits", "training": {"epochs": 3}})["training"]["batch_size"]
    64
    """
    own = {key: value for key, value in values.items() if key != "extends"}
    if "extends" not in values:
        return own
    name = values["extends"]
    if not isinstance(name, str) or name not in RECIPES:
        raise ValueError(unknown("recipe of extends", name, RECIPES))
    return joined(recipe(name), own)


def recipe(name: str) -> dict[str, Any]:
    """The spec of a recipe as nested tables."""
    return extended(tomllib.loads(RECIPES[name]))


def joined(below: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The spec `below`, but for what `own` says: tables key by key, named parts whole."""
    # What the file says comes first: latents are in its order.
    mine = {
        key: joined(below[key], value) if _can_join(key, below.get(key), value) else value for key, value in own.items()
    }
    left = {"steps"} if "epochs" in mine else set()  # epochs that are asked for stand, whatever steps there are
    return mine | {key: value for key, value in below.items() if key not in mine and key not in left}


def _can_join(key: str, below: Any, own: Any) -> bool:
    # The name of data is that of a file: how they are preprocessed goes on.
    part = key != "data" and isinstance(own, Mapping) and "name" in own
    return isinstance(below, Mapping) and isinstance(own, Mapping) and not part
