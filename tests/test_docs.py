from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from vaekit.cli import app, main
from vaekit.show.report.frame import Drawn
from vaekit.spec.keys import (
    AuxiliarySpec,
    DataSpec,
    LatentSpec,
    ModelSpec,
    PicturesSpec,
    Spec,
    TrainingSpec,
)

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
DIGITS = re.findall(r"`(vaekit train digits[^`]*)`", README)


@pytest.mark.parametrize("code", BLOCKS, ids=[block.splitlines()[0] for block in BLOCKS])
def test_python_of_the_readme_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("epochs=50", "epochs=2"), "README.md", "exec"), {})


@pytest.mark.parametrize(
    "name", ["blurry-samples", "posterior-collapse", "weights-of-the-loss", "coming-from", "cells"]
)
def test_experiments_of_a_page_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for code in blocks:
        for given, less in {
            "epochs=60": "epochs=1",
            "epochs=20": "epochs=1",
            "samples=100": "samples=2",
            "(0.25, 1, 4)": "(4,)",
        }.items():
            code = code.replace(given, less)
        exec(compile(code, name, "exec"), names)


@pytest.mark.parametrize("line", DIGITS)
def test_commands_of_the_readme_run(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if line != DIGITS[0]:  # drawing takes seconds, and pictures of all kinds of runs are drawn elsewhere
        monkeypatch.setattr("vaekit.show.report.page.drawn", lambda prepared: Drawn(prepared, b"", b"", 0, 0))
    assert main([*shlex.split(line)[1:], "--epochs", "1", "--samples", "2"]) == 0
    assert (tmp_path / "runs" / "digits" / "report.html").exists()


def test_every_command_is_in_the_readme_and_has_help() -> None:
    table = README.split("## Commands")[1].split("## What is in it")[0]
    for name in COMMANDS:
        assert f"vaekit {name}" in table or f"`{name}`" in table, name
    for command in app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__


def test_readme_names_no_command_or_option_that_is_not_there() -> None:
    for name in re.findall(r"`vaekit ([a-z]+)", README):
        assert name in COMMANDS
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/vaekit/cli").glob("*.py"))
    own = re.sub(r"torchrun .*? -m vaekit", "vaekit", README)
    for option in set(re.findall(r"(--[a-z-]+)\b", own)):
        name = option.removeprefix("--")
        assert f'"{option}"' in source or re.search(rf"\b{name}: ", source), option


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_reference_is_what_the_code_says() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "generate.py"))["reference_page"]()
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == page, "run: python docs/generate.py"


def test_every_key_of_a_spec_says_what_it_means() -> None:
    for model in (Spec, DataSpec, ModelSpec, LatentSpec, AuxiliarySpec, TrainingSpec, PicturesSpec):
        for name, field in model.model_fields.items():
            inner = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            assert field.description or (inner and field.annotation.__doc__), f"{model.__name__}.{name}"


def test_files_that_the_guide_to_contributors_names_are_there() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/])(?:tests|docs|src|benchmarks|explorer)/[\w/.]*\w", guide)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_source_archive_has_the_documents_that_its_tests_read() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    include = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"/tests", "/docs", "/README.md", "/CONTRIBUTING.md"} <= set(include)
    assert [path for path in include if not (ROOT / path[1:]).exists()] == []
