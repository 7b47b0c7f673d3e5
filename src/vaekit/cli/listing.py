"""The commands that list what there is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from ..show.terminal import cell, print_rows, print_table, settings_cell
from .options import Json, named_parts


def recipes(
    show: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this recipe as TOML, to edit.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or print one as TOML to edit and train from."""
    from ..errors import unknown
    from ..spec.recipes import RECIPES, recipe

    if show is not None and show not in RECIPES:
        raise ValueError(unknown("recipe", show, RECIPES))
    if show is not None:
        print(json.dumps(recipe(show), indent=2) if as_json else RECIPES[show].strip())
        return
    tables = {name: recipe(name) for name in RECIPES}
    if as_json:
        print(json.dumps(tables, indent=2))
    else:
        rows = [(name, values["title"], values["source"]) for name, values in tables.items()]
        print_table(("recipe", "what", "source"), rows)


def datasets(
    show: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this dataset alone.")] = None,
    as_json: Json = False,
) -> None:
    """List the named datasets: shape, sizes, values, licence, and whether they are on this machine."""
    from ..data import catalogue

    rows = [asdict(row) for row in catalogue(show)]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif show:
        print_table(("", ""), [(key, cell(value)) for key, value in rows[0].items()])
    else:
        print_rows(rows, ("name", "title", "sizes", "shape", "values", "here"))


def parts(
    context: typer.Context,
    show: Annotated[str | None, typer.Argument(metavar="[FAMILY]", help="Show this family alone.")] = None,
    as_json: Json = False,
) -> None:
    """List the parts that models are made of, with their options and defaults."""
    from ..composed import with_all
    from ..spec.parts import catalogue

    rows = [asdict(row) for row in catalogue(with_all(named_parts(context)), show)]
    if as_json:
        print(json.dumps(rows, indent=2, default=str))  # a default may be any object
    else:
        rows = [row | {"options": settings_cell(row["options"])} for row in rows]
        print_rows(rows, ("family", "name", "summary", "options"))
