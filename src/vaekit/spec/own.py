"""Parts of the user's own, from a file that they name."""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from ..errors import several
from ..settings import option
from .parts import PARTS, Parts


def parts_from(given: str) -> Parts:
    """The parts called NAME in FILE.py, which is run; `ValueError`, one line, where there are none.

    They are a `Parts`, or a table of families of such tables: {"likelihoods": {"mine": Mine}}.
    """
    text, _, name = given.rpartition(":")
    path = Path(text).expanduser()
    if path.suffix != ".py" or not name.isidentifier():
        raise ValueError(f"{option('parts', given)} names no parts; accepted: FILE.py:NAME, such as my_parts.py:PARTS")
    if not path.is_file():
        raise ValueError(f"{option('parts', given)}: there is no file {path}")
    module = _run(path)
    found = getattr(module, name, None)
    if isinstance(found, Mapping):
        found = PARTS.extended(**found)
    if isinstance(found, Parts):
        return replace(found, source=f"{path.name}:{name}")
    fits = [each for each, value in vars(module).items() if isinstance(value, Parts)]
    what = f"is a {type(found).__name__}" if found is not None else "is not there"
    known = f"; Parts there: {several(fits)}" if fits else ""
    raise ValueError(f"{name} of {path} {what}; needed: a vaekit.Parts, or a table of families of parts{known}")


def _run(path: Path) -> ModuleType:
    """The module of a file, run once."""
    name = f"vaekit_parts_of_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path.resolve()):
        return known
    spec = spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file that can be run")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and processes look for it there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [
            each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(path.resolve())
        ]
        at = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"{path}, line {at}" if at else str(path)
        raise ValueError(f"{where}: {type(error).__name__}: {error}{_beside(path, error)}") from error
    return module


def _beside(path: Path, error: Exception) -> str:
    """What to do where a module lies beside the file that imports it: Python looks elsewhere."""
    name = (getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not any((path.parent / each).exists() for each in (f"{name}.py", f"{name}/__init__.py")):
        return ""
    return f"; it lies beside {path.name}: set PYTHONPATH={shlex.quote(str(path.parent.resolve()))} for it to be found"
