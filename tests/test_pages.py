"""What stands in a frame on a page is so: Python runs, and prints lines as they stand there; commands are read by the
program's own parser; settings are accepted; files of settings are specs.

A frame that nothing can check says why, in a comment above it: `<!-- unchecked: why -->`.
"""

from __future__ import annotations

import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main
from typer import BadParameter

from vaekit.cli import app, main
from vaekit.cli.own import without_parts
from vaekit.data import DATASETS
from vaekit.spec.own import parts_from
from vaekit.spec.parsing import parse
from vaekit.spec.parts import PARTS
from vaekit.spec.recipes import RECIPES
from vaekit.spec.targets import resolve

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.rglob("src/**/*.md")]
    if path.name != "CHANGELOG.md"  # of commands as they were, too
)
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
SMALL = {
    r"epochs=\d+": "epochs=1",
    r"samples=\d+": "samples=2",
    r"\(0\.25, 1, 4\)": "(4,)",
    r"\[1, 2, 4\]": "[2]",
    r"seeds=\d": "seeds=1, jobs=1",
}
"""What of a page's Python is made small, so that a minute is a second."""
FIRST = {
    "export": [
        "train digits --epochs 1 --samples 2 --out runs/digits",
        "export runs/digits --to onnx --what sample --out digits-onnx",
        "export runs/digits --to torch --what encode --out digits-torch",
    ]
}
"""Commands that a page takes to have been called."""
NEEDS = {"export": ("onnxscript", "onnxruntime")}


@dataclass(frozen=True)
class Frame:
    """A fenced block of a page."""

    line: int
    language: str
    text: str
    unchecked: str
    """Why nothing checks it; empty where something does."""


def frames(page: Path) -> list[Frame]:
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    start, above = None, ""
    for number, line in enumerate(lines, 1):
        if start is None and line.startswith("```"):
            said = re.fullmatch(r"<!-- unchecked: (.+) -->", above)
            start, unchecked = number, said[1] if said else ""
        elif start is not None and line == "```":
            text = "\n".join(lines[start : number - 1])
            found.append(Frame(start, lines[start - 1].strip("`"), text, unchecked))
            start = None
        above = line if line.strip() else above
    assert start is None, f"{page.name}:{start} is not closed"
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The commands of lines of a shell, as words, without comments, pipes and redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        words = words[: next((i for i, word in enumerate(words) if word in (">", "|")), len(words))]
        if words:
            yield words


@EVERY_PAGE
def test_every_frame_is_of_a_language_that_is_checked_or_says_why_not(page: Path) -> None:
    before = Frame(0, "", "", "")
    for frame in frames(page):
        where = f"{page.name}:{frame.line}"
        if not frame.unchecked:
            assert frame.language in ("python", "sh", "text", "toml", "{toctree}"), where
            if frame.language == "text":
                assert before.language in ("python", "sh", "text"), f"{where} is the output of nothing"
        before = frame


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(f.language == "python" and not f.unchecked for f in frames(page))],
    ids=lambda path: path.stem,
)
def test_python_of_a_page_runs_and_prints_what_stands_below(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in NEEDS.get(page.stem, ()):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    for path in (ROOT / "examples" / "extending").glob("*.py"):  # parts of one's own, where a page uses them
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("vaekit.show.report.write_report", lambda run, *_: run.path)  # it takes seconds
    for line in FIRST.get(page.stem, ()):
        assert main(shlex.split(line)) == 0
    names: dict[str, object] = {"__name__": "__main__"}
    printed: list[str] = []
    for frame in frames(page):
        if frame.language == "python" and not frame.unchecked:
            code = frame.text
            for given, less in SMALL.items():
                code = re.sub(given, less, code)
            with redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * frame.line + code, str(page), "exec"), names)
            printed = out.getvalue().splitlines()
        elif frame.language == "text" and not frame.unchecked and printed:
            shown = {blanked(line) for line in frame.text.splitlines()}
            for line in printed:
                assert blanked(line) in shown, f"{page.name}:{frame.line} has no line like {line!r}"
            printed = []


def blanked(line: str) -> str:
    """A line without its numbers, which other settings make others."""
    return re.sub(r"\s+", " ", re.sub(r"-?\d[\d.,]*(e-?\d+)?", "#", line)).strip()


@EVERY_PAGE
def test_commands_in_frames_are_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for frame in frames(page):
        if frame.language == "sh" and not frame.unchecked:
            for words in commands(frame.text):
                understood(words, whole=True)


@EVERY_PAGE
def test_commands_in_sentences_are_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for line in re.findall(r"`((?:vaekit|make|pip|torchrun) [^`]+)`", text):
        for words in commands(line):
            understood([w for w in words if w != "…" or words[words.index(w) - 1].startswith("-")], whole=False)


def understood(words: list[str], *, whole: bool) -> None:
    """A command is one that there is, with options and settings that there are; if `whole` with all it needs."""
    said = " ".join(words)
    if words[0] == "torchrun" and "-m" in words:
        words = [word for word in words[words.index("-m") + 1 :] if word != "--"]
    if words[0] == "pip":
        for extra in re.findall(r"vaekit\[([\w,]+)\]", said):
            assert set(extra.split(",")) <= EXTRAS, said
        assert words[1] == "install", said
    elif words[0] == "make":
        named = [word for word in words[1:] if "=" not in word]
        assert set(named) <= TARGETS, said
    elif words[0] == "vaekit":
        if words[1:] != ["--help"]:
            _of_vaekit(said, words[1:], whole)
    else:
        assert words[0] in (".", "cd", "torchrun", "npm", "python", "python3", "tensorboard", "wandb", "mlflow"), said


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
GROUP = typer.main.get_command(app)


def _of_vaekit(said: str, words: list[str], whole: bool) -> None:
    given, own = without_parts(words)
    given = ["2" if re.fullmatch("[NK]|…", w) and given[i - 1].startswith("-") else w for i, w in enumerate(given)]
    if given[0] == "COMMAND":
        return
    assert given[0] in GROUP.commands, said  # type: ignore[attr-defined]
    command = GROUP.commands[given[0]]  # type: ignore[attr-defined]
    try:
        options = command.make_context(given[0], list(given[1:])).params
    except Exception as error:  # click's own, of which typer has a copy
        if type(error).__name__ == "MissingParameter" and not whole:
            return
        raise ValueError(f"{said}: {error}") from error
    if (
        command.name in ("train", "sweep")
        and options["target"]
        and options["target"] not in ("TARGET", "NAME", "mine.toml")
    ):
        over = [re.split(r"\.\.(?=\S)|,", one)[0] for one in options.get("over") or () if "=" in one]
        file = ROOT / "examples" / "extending" / own[0].partition(":")[0] if own else None
        parts = parts_from(f"{file}:PARTS") if file and file.exists() else PARTS
        target, data = _there(options["target"]), _there(options["data"]) if options.get("data") else None
        labels = [f"data.labels={options['labels']}"] if options.get("labels") else []
        try:
            resolve(target, [*(options.get("sets") or ()), *over, *labels], parts, data)
        except (ValueError, TypeError, BadParameter) as error:
            raise ValueError(f"{said}: {error}") from error


def _there(name: str) -> str:
    """A name of a recipe or dataset; or a file or folder of the user's, which is made."""
    if name not in RECIPES and name not in DATASETS:
        path = Path(name.replace("{000..019}", "000"))
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            path.mkdir(parents=True, exist_ok=True)
        return str(path)
    return name


@EVERY_PAGE
def test_a_file_that_a_page_includes_is_as_it_stands_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name, code in re.findall(r"^<!-- included: (.+) -->\n```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        assert (ROOT / name).read_text(encoding="utf-8") == code, f"{page.name}: {name}"


@EVERY_PAGE
def test_files_of_settings_are_specs(page: Path) -> None:
    for frame in frames(page):
        if frame.language == "toml" and not frame.unchecked:
            parse(tomllib.loads(frame.text), PARTS)


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as where the code is hosted and on the site."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        slug = (
            re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).strip().replace(" ", "-")
        )
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "CHANGELOG.md", *ROOT.glob("docs/examples/*.md")],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_lead_to_pages_and_headings_that_are_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in slugs(to), f"{page.name}: {link}"


def test_numbers_behind_an_advice_stand_in_the_reports_that_it_links_to() -> None:
    """A number with a decimal point is of a report that its line links to."""
    for page in (ROOT / "docs" / name for name in ("choosing.md", "capabilities.md", "benchmarks.md")):
        for line in page.read_text(encoding="utf-8").splitlines():
            reports = re.findall(r"\]\(([^)#]+\.md)[^)]*\)", line)
            known = "".join((page.parent / each).read_text(encoding="utf-8") for each in reports)
            for number in re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\w)", re.sub(r"`[^`]*`|\]\([^)]*\)", "", line)):
                assert number in known, f"{page.name}: {number} stands in none of {reports}: {line}"
