"""Writes docs/reference.md from the commands, the keys of a spec and the tables of parts, docs/reference-python.md and
docs/python from signatures and docstrings, and with the folder of a run docs/demo.png from its pictures.

python docs/generate.py [RUN]
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import typer.main
from PIL import Image
from pydantic import BaseModel

from vaekit.cli import app
from vaekit.composed import with_all
from vaekit.spec.accepted import hint_of, in_words
from vaekit.spec.keys import LatentSpec, ObjectiveSpec, PartSpec, Spec
from vaekit.spec.parts import CONTEXT, PARTS, catalogue

TARGET = Path(__file__).with_name("reference.md")
PYTHON = Path(__file__).with_name("reference-python.md")
MODULES = {
    "vaekit": "What most programs need.",
    "vaekit.models": "Models, which parts make.",
    "vaekit.networks": "Encoders and decoders.",
    "vaekit.posteriors": "q(z given x).",
    "vaekit.priors": "p(z).",
    "vaekit.likelihoods": "p(x given z).",
    "vaekit.objectives": "What training lowers.",
    "vaekit.schedules": "Weights that change on the way.",
    "vaekit.models.trace": "What objectives and scores read.",
    "vaekit.models.tiling": "Images larger than those of training.",
    "vaekit.evaluation": "Scores.",
    "vaekit.evaluation.metrics": "Metrics of arrays.",
    "vaekit.evaluation.annealing": "log p(x) by chains.",
    "vaekit.evaluation.chained": "The same of a split, beside importance weights.",
    "vaekit.evaluation.refinement": "The gap of the bound, and its parts.",
    "vaekit.data": "Datasets.",
    "vaekit.interop.sklearn": "Estimators for scikit-learn.",
    "vaekit.interop.pyro": "Models and guides for Pyro.",
    "vaekit.interop.export": "Programs without vaekit.",
    "vaekit.interop.diffusers": "To and from diffusers.",
    "vaekit.interop.torchmetrics": "How good images are.",
    "vaekit.interop.sdmetrics": "How good made-up rows are.",
}
"""The modules that users import from, and what of them there is."""
PLACES: dict[type[BaseModel], str] = {LatentSpec: "NAME."}
"""What stands for a name of the user's in a key."""


def reference_page() -> str:
    """All that can be typed: commands, keys of a spec, parts."""
    intro = "Written by `python docs/generate.py` from the code that reads what you type."
    lines = ["# Reference", "", intro, "", "- [Commands](#commands)", "- [Keys of a spec](#keys-of-a-spec)"]
    lines += ["- [Parts](#parts)", "", "## Commands", "", "`vaekit COMMAND --help` says the same.", ""]
    for name, command in sorted(typer.main.get_command(app).commands.items()):  # type: ignore[attr-defined]
        lines += [f"### vaekit {name}", "", _line(command.help), ""]
        lines += table(("", "what", "default"), map(_parameter, command.params))
    lines += [
        "## Keys of a spec",
        "",
        'As a `.toml` file has them, `--set KEY=VALUE` and `sets=["KEY=VALUE"]`. A part is',
        "",
    ]
    lines[-2] += ' its name (`"mlp"`), or a table of its name and options (`{ name = "mlp", hidden = [64] }`).'
    lines += table(("key", "what it takes", "default", "what it means"), keys(Spec))
    lines += ["## Parts", ""]
    for family in CONTEXT:
        lines += [f"### {family}", ""]
        rows = []
        for entry in catalogue(with_all(PARTS), family):
            options = ", ".join(f"`{key}={value!r}`" for key, value in entry.options.items())
            rows.append((f"`{entry.name}`", entry.summary, options))
        lines += table(("name", "what", "options and defaults"), rows)
    return "\n".join(lines)


def python_pages() -> dict[str, str]:
    """What can be imported, a page for each module, and one that leads to them: by the names of their files."""
    lines = [
        "# Python reference",
        "",
        "Written by `python docs/generate.py` from signatures and docstrings. Their examples run as tests.",
    ]
    lines += [
        "Letters: S samples, B batch, D size of a code; x data, z code, y condition. Numbers are nats unless it says"
    ]
    lines += [
        "otherwise.",
        "",
        *table(("module", "what"), ((f"[`{k}`](python/{k}.md)", what) for k, what in MODULES.items())),
    ]
    lines += ["```{toctree}", ":hidden:", "", *(f"python/{name}" for name in MODULES), "```", ""]
    seen: set[int] = set()
    pages = {f"python/{name}.md": _module(name, what, seen) for name, what in MODULES.items()}
    return {PYTHON.name: "\n".join(lines)} | pages


def _module(name: str, what: str, seen: set[int]) -> str:
    module = import_module(name)
    lines = [f"# {name}", "", what, "", *_docstring(module.__doc__)]
    for key in _names(module):
        each = getattr(module, key)
        if id(each) in seen or not (inspect.isclass(each) or inspect.isfunction(each)):
            continue
        seen.add(id(each))
        lines += ["", f"## {key}", "", *_signature(key, each), *_docstring(each.__doc__)]
        for method, function in _methods(each) if inspect.isclass(each) else ():
            lines += ["", f"### {key}.{method}", "", *_signature(method, function)]
            lines += _docstring(inspect.getdoc(function))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _names(module: Any) -> list[str]:
    """The names that a module exports: those it says, or those of its own that are public."""
    own = [key for key, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__]
    return list(getattr(module, "__all__", [key for key in own if not key.startswith("_")]))


def _methods(each: type) -> Iterator[tuple[str, Any]]:
    """Public methods that a class has a docstring of itself for."""
    for key, value in vars(each).items():
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if not key.startswith("_") and inspect.isfunction(function) and function.__doc__:
            yield key, function


def _signature(name: str, each: Any) -> list[str]:
    """How it is called, a line for each argument where one is too short."""
    try:
        signature = inspect.signature(each)
    except (TypeError, ValueError):
        return []
    kept = [_argument(one) for one in signature.parameters.values() if one.name not in ("self", "cls")]
    keyword = [one.kind for one in signature.parameters.values() if one.name not in ("self", "cls")]
    if inspect.Parameter.KEYWORD_ONLY in keyword and inspect.Parameter.VAR_POSITIONAL not in keyword:
        kept.insert(keyword.index(inspect.Parameter.KEYWORD_ONLY), "*")
    gives = signature.return_annotation
    end = "" if gives in (inspect.Signature.empty, "None", None) else f" -> {_annotation(gives)}"
    line = f"{name}({', '.join(kept)}){end}"
    if len(line) > 80:
        line = "\n".join([f"{name}(", *(f"    {one}," for one in kept), f"){end}"])
    return ["```text", line, "```", ""]


def _argument(one: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(one.kind, "")
    annotated = f": {_annotation(one.annotation)}" if one.annotation is not inspect.Parameter.empty else ""
    if one.default is inspect.Parameter.empty:
        return f"{stars}{one.name}{annotated}"
    default = repr(one.default)
    # Functions and objects say where in memory they lie, which is elsewhere each time.
    shown = "…" if "<" in default or len(default) > 60 else default
    return f"{stars}{one.name}{annotated} = {shown}"


def _annotation(each: Any) -> str:
    return each if isinstance(each, str) else getattr(each, "__name__", str(each))


def _docstring(text: str | None) -> list[str]:
    """A docstring as paragraphs: sentences as they are, what is set in and what runs in frames."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text or "")):
        if paragraph.startswith(">>>"):
            lines += ["```pycon", paragraph, "```", ""]
        elif paragraph.startswith(" "):
            lines += ["```text", inspect.cleandoc("\n" + paragraph), "```", ""]
        elif re.search(r"^-{3,}$", paragraph, re.MULTILINE):
            head, _, rest = paragraph.partition("\n")
            lines += [f"**{head}**", "", "```text", rest.partition("\n")[2], "```", ""]
        elif paragraph.strip():
            lines += [*_prose(paragraph).splitlines(), ""]
    return lines


def _prose(text: str) -> str:
    """Sentences whose stars and brackets are no marks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if i % 2 else re.sub(r"([*_<>\[\]|$])", r"\\\1", part) for i, part in enumerate(parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table, and an empty line below it."""
    cells = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(f"| {row} |" for row in cells), ""]


def keys(model: type[BaseModel], above: str = "") -> Iterable[tuple[str, str, str, str]]:
    """Every key of a table of the spec, and those of the tables in it."""
    for name, field in model.model_fields.items():
        key, inner = f"{above}{name}", _inner(field.annotation)
        if inner is None:
            yield f"`{key}`", in_words(hint_of(field)), f"`{_shown(field.default)}`", _line(field.description)
        elif name in ("latents", "auxiliary"):
            yield f"`{key}`", "a table", "" if name == "latents" else "`none`", _line(field.description)
        if field.annotation is ObjectiveSpec:
            terms = ObjectiveSpec.model_fields["terms"]
            yield f"`{key}.terms.NAME`", "the options of a term", "", _line(terms.description)
        if inner is not None:
            yield from keys(inner, f"{key}.{PLACES.get(inner, '')}")


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The model of a table of keys, not of a part."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel) and not issubclass(each, PartSpec):
            return each
    return None


def _shown(default: Any) -> str:
    if isinstance(default, PartSpec):
        return default.name
    if default is None or default == ():
        return "none" if default is None else "[]"
    return str(default).lower() if isinstance(default, bool) else str(default) or '""'


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts) if is_option else (parameter.metavar or parameter.name).upper()
    default = parameter.default if isinstance(parameter.default, (str, int)) else ""
    return f"`{name}`", _line(getattr(parameter, "help", "")), "" if default in ("", False) else f"`{default}`"


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def picture(run: Path) -> Image.Image:
    """Samples above reconstructions, and beside them the latent map, of one height."""
    samples, pairs, latents = (
        Image.open(run / "pictures" / f"{name}.png").convert("RGB")
        for name in ("samples", "reconstructions", "latents")
    )
    pairs = pairs.crop((0, 0, pairs.width, pairs.height * 2 // 3))
    left = Image.new("RGB", (1680, samples.height + 40 + pairs.height), "white")
    left.paste(samples, (0, 0))
    left.paste(pairs, (left.width - pairs.width, samples.height + 40))
    right = latents.resize((latents.width * left.height // latents.height, left.height))
    whole = Image.new("RGB", (left.width + 60 + right.width, left.height), "white")
    whole.paste(left, (0, 0))
    whole.paste(right, (left.width + 60, 0))
    return whole.resize((1600, 1600 * whole.height // whole.width))


if __name__ == "__main__":
    TARGET.write_text(reference_page(), encoding="utf-8")
    PYTHON.with_name("python").mkdir(exist_ok=True)
    for name, text in python_pages().items():
        (PYTHON.parent / name).write_text(text, encoding="utf-8")
    if len(sys.argv) > 1:
        picture(Path(sys.argv[1])).save(TARGET.with_name("demo.png"), optimize=True)
