"""Writes docs/parts.md from the tables of parts: python docs/generate.py"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from vaekit.parts import PARTS, catalogue

TARGET = Path(__file__).with_name("parts.md")


def parts_page() -> str:
    """The page of all named parts, as `vaekit parts` lists them."""
    lines = ["# Parts", "", "Written by `python docs/generate.py` from the tables that the command line uses.", ""]
    for family in fields(PARTS):
        lines += [f"## {family.name}", "", "| name | what | options and defaults |", "|---|---|---|"]
        for entry in catalogue(PARTS, family.name):
            options = ", ".join(f"`{key}={value!r}`" for key, value in entry.options.items())
            lines.append(f"| `{entry.name}` | {entry.summary.replace('|', chr(92) + '|')} | {options} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(parts_page(), encoding="utf-8")
