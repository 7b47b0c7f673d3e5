from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from vaekit.cli import app, main
from vaekit.spec.keys import (
    AuxiliarySpec,
    DataSpec,
    LatentSpec,
    ModelSpec,
    PicturesSpec,
    Spec,
    TrainingSpec,
)
from vaekit.spec.recipes import RECIPES

ROOT = Path(__file__).parent.parent
START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
COMMANDS = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
DIGITS = re.findall(r"`(vaekit train digits[^`]*)`", START)


@pytest.mark.parametrize("line", DIGITS)
def test_commands_of_the_first_page_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    if line == DIGITS[0]:  # pictures of all kinds of runs are drawn elsewhere
        request.getfixturevalue("_drawn")
    assert main([*shlex.split(line)[1:], "--epochs", "1", "--samples", "2"]) == 0
    assert (tmp_path / "runs" / "digits" / "report.html").exists()


def test_every_command_is_among_the_capabilities_and_has_help() -> None:
    page = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`vaekit {name}" not in page] == []
    for command in app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__


def test_the_reference_is_what_the_code_says() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    pages = {"reference.md": generate["reference_page"]()} | generate["python_pages"]()
    there = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in pages}
    assert [name for name, page in pages.items() if there[name] != page] == [], "run: python docs/generate.py"
    assert {f"python/{path.name}" for path in ROOT.glob("docs/python/*.md")} <= set(pages)


def test_the_gallery_has_every_recipe_and_says_what_its_reports_say() -> None:
    gallery = runpy.run_path(str(ROOT / "docs" / "gallery.py"))
    seen = gallery["noted"](ROOT / "docs" / "gallery" / "runs.json")
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert page == gallery["page"](seen), "run: python docs/gallery.py"
    assert sorted(name for names in gallery["GROUPS"].values() for name in names) == sorted(RECIPES)
    for number, seconds, report in gallery["MEASURED"].values():
        there = (ROOT / "benchmarks" / f"{report}.md").read_text(encoding="utf-8")
        for part in re.findall(r"\d+\.\d+", f"{number} {seconds}"):
            assert part in there, f"{part} is not in {report}.md"
    pictures = {path.stem: path.stat().st_size for path in ROOT.glob("docs/gallery/*.webp")}
    assert set(pictures) == set(seen)
    assert sum(pictures.values()) < 1.5e6


def test_every_key_of_a_spec_says_what_it_means() -> None:
    for model in (Spec, DataSpec, ModelSpec, LatentSpec, AuxiliarySpec, TrainingSpec, PicturesSpec):
        for name, field in model.model_fields.items():
            inner = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            assert field.description or (inner and field.annotation.__doc__), f"{model.__name__}.{name}"


def test_files_that_the_guide_to_contributors_names_are_there() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/])(?:tests|docs|src|benchmarks|explorer)/[\w/.-]*\w", guide)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_source_archive_has_the_documents_that_its_tests_read() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    include = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"/tests", "/docs", "/README.md", "/CONTRIBUTING.md"} <= set(include)
    assert [path for path in include if not list(ROOT.glob(path[1:]))] == []


def test_every_door_to_another_library_is_among_the_capabilities() -> None:
    doors = {path.stem for path in (ROOT / "src/vaekit/interop").iterdir()} - {"__init__", "__pycache__"}
    proofs = {f"tests/interop/test_{door}.py" for door in doors} | {"tests/interop/test_loggers.py"}
    text = (ROOT / "docs/capabilities.md").read_text(encoding="utf-8")
    assert [each for each in sorted(proofs) if (ROOT / each).is_file() and each not in text] == []
