"""Writes docs/parts.md from the tables of parts, and with the folder of a run docs/demo.png from its pictures.

python docs/generate.py [RUN]
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from PIL import Image

from vaekit.show.pictures.drawing import with_pictures
from vaekit.spec.parts import PARTS, catalogue

TARGET = Path(__file__).with_name("parts.md")


def parts_page() -> str:
    """The page of all named parts, as `vaekit parts` lists them."""
    lines = ["# Parts", "", "Written by `python docs/generate.py` from the tables that the command line uses.", ""]
    for family in fields(PARTS):
        lines += [f"## {family.name}", "", "| name | what | options and defaults |", "|---|---|---|"]
        for entry in catalogue(with_pictures(PARTS), family.name):
            options = ", ".join(f"`{key}={value!r}`" for key, value in entry.options.items())
            lines.append(f"| `{entry.name}` | {entry.summary.replace('|', chr(92) + '|')} | {options} |")
        lines.append("")
    return "\n".join(lines)


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
    TARGET.write_text(parts_page(), encoding="utf-8")
    if len(sys.argv) > 1:
        picture(Path(sys.argv[1])).save(TARGET.with_name("demo.png"), optimize=True)
