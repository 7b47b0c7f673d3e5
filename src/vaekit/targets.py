"""What a run is asked to be: a recipe, a dataset, a file or a spec, found and made a spec."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .codes import read_as_below
from .datasets import DATASETS
from .errors import unknown
from .parts import PARTS, Parts
from .recipes import RECIPES
from .spec import Spec, changed, parse_toml


def resolve(
    target: str | Path | Spec, sets: Iterable[str] = (), parts: Parts = PARTS, data: str | Path | None = None
) -> Spec:
    """The spec that `target` means: a recipe's, a .toml file's, the default one for a dataset by name or path, or a
    spec itself; with `data`, that spec on other data.

    A path to data, or to a run whose codes are the data, becomes absolute, so that the run finds them from any folder.
    """
    if data is not None:
        target = _on(resolve(target, (), parts), str(data))
    spec = changed(target, sets, parts) if isinstance(target, Spec) else parse_toml(_toml(str(target)), sets, parts)
    path = Path(spec.data.name).expanduser()
    found = spec.data
    if found.name not in DATASETS and path.exists():
        found = found.model_copy(update={"name": str(path.resolve())})
    if found.codes is not None and found.codes not in RECIPES:
        found = read_as_below(found, parts)
    return spec.model_copy(update={"data": found})


def _on(spec: Spec, data: str) -> Spec:
    if data == spec.data.name:
        return spec
    if spec.data.codes is not None and spec.data.codes not in RECIPES:
        which = f"data.codes, the run {spec.data.codes}, which is on {spec.data.name!r}"
        raise ValueError(f"the data are given twice: {data!r}, and {which}; leave one out")
    title = f"{spec.title}; here on {Path(data).name}" if spec.title else ""
    return spec.model_copy(update={"title": title, "data": spec.data.of(data)})


def _toml(name: str) -> str:
    if name in RECIPES:
        return RECIPES[name]
    if name.endswith(".toml"):
        try:
            return Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"cannot read {name}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{name} is not a text file in UTF-8") from None
    if name not in DATASETS and not (name and Path(name).exists()):
        raise ValueError(unknown("target", name, target_names()))
    return f"[data]\nname = {json.dumps(name, ensure_ascii=False)}"


def target_names() -> list[str]:
    """What a target may be, to be told to who asked for something else."""
    return [*RECIPES, *DATASETS, "a .toml file", "a path to data"]


def name_of(target: str | Path | Spec) -> str:
    """What a run of `target` is called where nobody says: the last part of a path, without its ending."""
    # Resolved, since "." and ".." have no stem that would do as a name.
    return Path(target.data.name if isinstance(target, Spec) else target).resolve().stem or "run"
