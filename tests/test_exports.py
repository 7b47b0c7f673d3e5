from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from torch.distributions import Distribution

import vaekit
from vaekit.priors.normal import flow

SOURCE = Path(vaekit.__file__).parent
PATHS = sorted(SOURCE.rglob("*.py"))
MODULES = [
    ".".join(("vaekit", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__") for path in PATHS
]
DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("name", vaekit.__all__)
def test_exports_are_there_and_documented(name: str) -> None:
    exported = getattr(vaekit, name)
    assert inspect.getdoc(exported)
    assert name in dir(vaekit)


def test_all_is_what_the_package_can_give() -> None:
    assert sorted(vaekit.__all__) == sorted(vaekit._HOME)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        vaekit.trian  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name: str) -> None:
    module = import_module(name)
    assert module.__doc__
    for public, value in vars(module).items():
        if public.startswith("_") or getattr(value, "__module__", None) != name or not callable(value):
            continue
        assert inspect.getdoc(value), f"{name}.{public} has no docstring"


def test_modules_stay_short_enough_to_read() -> None:
    lengths = {path.relative_to(SOURCE): len(path.read_text(encoding="utf-8").splitlines()) for path in PATHS}
    long = {str(path) for path, length in lengths.items() if length > 400}
    assert not long
    assert sorted(lengths.values())[len(lengths) // 2] < 150


def test_imports_stand_at_the_top_of_a_file() -> None:
    """But for the command line, which imports what a command needs when it is given."""
    inside = []
    for path in PATHS:
        name = str(path.relative_to(SOURCE))
        if name.startswith("cli/") or name == "show/terminal.py":
            continue
        text = path.read_text(encoding="utf-8")
        if not re.search(r"^[ \t]+from (\.|vaekit)", text, re.MULTILINE):
            continue
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, DEFS)]
        found = [node for each in functions for node in ast.walk(each) if isinstance(node, ast.ImportFrom)]
        inside += [name for node in found if node.level or (node.module or "").startswith("vaekit")]
    assert not inside


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "matplotlib", "pydantic")
    code = f"import sys, vaekit, vaekit.cli; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("validate", [True, False])
def test_validation_of_other_peoples_distributions_is_left_as_it_was(
    validate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zuko, when it is imported, switches it off."""
    for name in [name for name in sys.modules if name.split(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    before = Distribution._validate_args
    Distribution.set_default_validate_args(validate)
    try:
        flow(2)
        assert "zuko" in sys.modules
        assert Distribution._validate_args == validate
    finally:
        Distribution.set_default_validate_args(before)
