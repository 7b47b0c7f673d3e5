"""Writes docs/reference.md from the commands, the keys of a spec and the tables of parts, and with the folder of a run
docs/demo.png from its pictures.

python docs/generate.py [RUN]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
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
    if len(sys.argv) > 1:
        picture(Path(sys.argv[1])).save(TARGET.with_name("demo.png"), optimize=True)
