"""What a run is asked to be: a recipe, a dataset, a file or a spec, found and made a spec."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from ..data import DATASETS
from ..data.shards import are_shards, expanded, plain_name
from ..errors import shown
from ..settings import option, standing
from ..system.disk import read_text
from .keys import Spec
from .meant import kind_of
from .parsing import assign_all, changed, parse, tables
from .parts import PARTS, Parts
from .recipes import RECIPES, joined, recipe


@standing("spec")
def resolve(
    target: str | Path | Spec, sets: Iterable[str] = (), parts: Parts = PARTS, data: str | Path | None = None
) -> Spec:
    """The spec that `target` means: a recipe's, a .toml file's, the default one for a dataset by name or path, or a
    spec itself; with `data`, that spec on other data.

    A path to data, or to a run whose codes are the data or whose weights it begins with, becomes absolute, so that the
    run finds them from any folder; in a .toml file it is relative to that file's folder.
    """
    if data is not None:
        _refuse_both(target, data)
        target = _on(resolve(target, (), parts), str(data))
    if isinstance(target, Spec):
        spec = changed(target, sets, parts)
    else:
        values = _values(str(target))
        assign_all(values, sets)
        spec = parse(values, parts)
    path = Path(spec.data.name).expanduser()
    found = spec.data
    if found.name not in DATASETS and (path.exists() or are_shards(path)):
        found = found.model_copy(update={"name": str(path.resolve())})
    if found.codes is not None and found.codes not in RECIPES:
        found = found.model_copy(update={"codes": str(Path(found.codes).expanduser().resolve())})
    training = spec.training
    if training.start is not None:
        training = training.model_copy(update={"start": str(Path(training.start).expanduser().resolve())})
    return spec.model_copy(update={"data": found, "training": training})


def _refuse_both(target: str | Path | Spec, data: str | Path) -> None:
    """`ValueError` where a target is data itself, other than those that are given beside it."""
    name = str(target)
    whole = name in RECIPES or name.endswith(".toml") or isinstance(target, Spec)
    if not whole and name != str(data):
        given = option("data", str(data))
        raise ValueError(f"{shown(name)} and {given} are both data; give one, or a recipe or a .toml file and {given}")


def _on(spec: Spec, data: str) -> Spec:
    of_a_run = spec.data.codes is not None and spec.data.codes not in RECIPES  # which says what its data are
    if data == spec.data.name and not of_a_run:
        return spec
    title = f"{spec.title}; here on {Path(data).name}" if spec.title else ""
    meant_for = spec.meant_for or kind_of(spec.data.name)
    return spec.model_copy(update={"title": title, "meant_for": meant_for, "data": spec.data.of(data)})


def _values(name: str) -> dict[str, Any]:
    """The spec that a target says, as nested tables."""
    if name in RECIPES:
        return recipe(name)
    if name.endswith(".toml"):
        return _from_file(Path(name).expanduser())
    if name not in DATASETS and not (name and _is_there(Path(name).expanduser())):
        if looks_like_a_path(name):
            raise ValueError(nothing_there(Path(name)))
        known = [*RECIPES, *DATASETS]
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"unknown target {shown(name)}{hint}; {ACCEPTED}")
    check_no_run(name)
    usual = None if name in DATASETS else usual_recipe(Path(name))
    return joined(recipe(usual) if usual else {}, {"data": {"name": name}})


def check_no_run(name: str) -> None:
    """`ValueError` where the folder of a run is given for what one is trained on."""
    if name not in RECIPES and (Path(name).expanduser() / "spec.json").exists():
        how = f"{option('resume')} {option('out', name)}"
        raise ValueError(f"{name} is a run, not what one is trained on; to go on with it: {how}")


USUAL = {"tables": "table", "images": "images", "cells": "scvi", "documents": "prodlda"}
"""The recipe of each kind of data, for which none is named."""


def recipe_in_memory(data: object) -> str:
    """The recipe by which data in memory are trained on where none is named."""
    return USUAL[kind_of(data) or "tables"]


def usual_recipe(path: Path) -> str | None:
    """The recipe by which what lies there is trained where none is named, if there is one of such data."""
    return USUAL.get(kind_of(path) or "")


def _is_there(path: Path) -> bool:
    """Whether something is there, or a first one of many shards."""
    return path.exists() or (are_shards(path) and expanded(path, there=False)[0].exists())


def is_data(target: str | Path | Spec) -> bool:
    """Whether a target that can be resolved is data, for which it is we who name a recipe."""
    name = str(target)
    return not isinstance(target, Spec) and name not in RECIPES and name not in DATASETS and not name.endswith(".toml")


def _from_file(path: Path) -> dict[str, Any]:
    """What a .toml file says, its paths as they are from here."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise ValueError(nothing_there(path)) from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    try:
        values = tables(text)
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from None
    places = (("data", "name", DATASETS), ("data", "codes", RECIPES), ("training", "start", ()))
    for table, key, names in places:
        data = values[table] if isinstance(values.get(table), dict) else {}
        given = data.get(key)
        if isinstance(given, str) and given and given not in names:
            # Of a path that is absolute, or of the home folder, nothing goes before it.
            beside = path.parent / Path(given).expanduser()
            if looks_like_a_path(given) or beside.exists():
                data[key] = str(beside)
    return values


def looks_like_a_path(name: str) -> bool:
    """Whether nobody would call a recipe or a dataset so."""
    return bool(Path(name).suffix) or len(Path(name).parts) > 1


def nothing_there(path: Path) -> str:
    """The message for a path at which there is nothing, with the nearest name that is there."""
    path = path.expanduser()
    try:
        near = difflib.get_close_matches(path.name, islice((each.name for each in path.parent.iterdir()), 10_000), 1)
    except OSError:
        near = []
    return f"there is no file or folder {path}" + (f" (did you mean {str(path.with_name(near[0]))!r}?)" if near else "")


ACCEPTED = "accepted: a recipe (vaekit recipes lists them), a dataset (vaekit datasets), a .toml file, a path to data"
"""What a target may be, to be told to who asked for something else."""


def name_of(target: str | Path | Spec) -> str:
    """What a run of `target` is called where nobody says: the last part of a path, without its ending."""
    # Resolved, since "." and ".." have no stem that would do as a name.
    path = Path(target.data.name if isinstance(target, Spec) else target).resolve()
    return plain_name(path) or "run"
