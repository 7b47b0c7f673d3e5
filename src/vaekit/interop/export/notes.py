"""What a file says of itself: its inputs and outputs, the columns of a table, classes, latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...data.columns import Column
from ...data.covariates import Covariate
from ...data.dates import TIMES
from ...data.domains import Domain
from ...models import VAE
from ...runs.run import Run
from ...spec.keys import Schema
from ...system.disk import finite
from ...version import __version__
from .programs import Port, Recordable

FORMAT = 1
"""The number of the layout of notes."""


def notes_of(run: Run | VAE, program: Recordable | None = None) -> dict[str, Any]:
    """Notes on a run or a model, and on one `program` of it, as JSON has them."""
    model, schema = (run.model, run.schema) if isinstance(run, Run) else (run, None)
    found: dict[str, Any] = {"format": FORMAT, "vaekit": __version__}
    if isinstance(run, Run):
        found["run"] = run.path.resolve().name
    if program is not None:
        found |= {"program": program.name, "inputs": [_port(each) for each in program.inputs]}
        found["outputs"] = [_port(each) for each in program.outputs]
    seen = _values(model.event_shape, model.domain)
    data = (_of_files(run, seen) if isinstance(run, Run) else seen) | {"missing": "NaN"}
    if schema is not None and schema.columns:
        data["columns"] = _columns(schema)
    found["data"] = data
    if program is not None and any(each.name == "probabilities" for each in program.outputs):
        found["probabilities"] = _levels(model, schema)
    if schema is not None and schema.classes and model.condition:
        found["classes"] = list(schema.classes)
    if schema is not None and schema.covariates and model.condition:
        found["covariates"] = [_covariate(each) for each in schema.covariates]
    found["latents"] = {name: list(shape) for name, shape in model.shapes.items()}
    return finite(found)


def _of_files(run: Run, seen: dict[str, Any]) -> dict[str, Any]:
    """What the data in a run's files are, what is made of them in programs, and what is before that."""
    treatment, stored = run.spec.data.preprocessing, run.schema.of_files
    found = dict(seen)
    if said := treatment.described(stored):
        sides = ("height", "width") if treatment.window is not None else run.schema.event_shape[-2:]
        found = _values((*run.schema.event_shape[:-2], *sides), stored) | {"preparation": said, "seen": seen}
    if (resize := run.spec.data.resize) is not None:
        height, width = (resize, resize) if isinstance(resize, int) else resize
        what = "the middle square" if isinstance(resize, int) else "all"
        found["resized"] = f"{what} of an image to {height} high and {width} wide, by Pillow's bicubic filter"
    return found


def _values(shape: Sequence[int | str], domain: Domain) -> dict[str, Any]:
    return {"shape": list(shape), "kind": domain.kind, "values": str(domain)}


def _port(port: Port) -> dict[str, Any]:
    own = {"name": port.name, "shape": list(port.sizes), "dtype": str(port.dtype).removeprefix("torch.")}
    return own | {"meaning": port.meaning}


def _columns(schema: Schema) -> list[dict[str, Any]]:
    if not schema.table:
        return [{"name": name} for name in schema.columns]
    return [_column(each) for each in schema.table]


def _column(column: Column) -> dict[str, Any]:
    """What of a column tells how its cells are numbers: a category is its index in `categories`."""
    found: dict[str, Any] = {"name": column.name, "kind": column.kind}
    if column.categories:
        found["categories"] = list(column.categories)
    if column.kind == "date":
        found["unit"] = f"{column.unit or 's'} since {'midnight' if column.format in TIMES else 1970}"
    elif column.numeral is not None and column.numeral.unit:
        found["unit"] = column.numeral.unit
    if column.low is not None and column.high is not None and math.isfinite(column.low + column.high):
        found["range"] = [column.low, column.high]
    return found


def _covariate(covariate: Covariate) -> dict[str, Any]:
    """What a covariate is: one number of y, or as many as it has categories, 1 for its own and 0 for the others."""
    known = {"categories": list(covariate.categories)} if covariate.categories else {}
    return {"name": covariate.name, "numbers": covariate.width, **known}


def _levels(model: VAE, schema: Schema | None) -> list[dict[str, Any]]:
    """Whose probabilities stand side by side: the columns, and how many levels each has there."""
    names = schema.columns if schema is not None and schema.columns else ()
    return [
        {"column": names[i] if names else i, "levels": each.levels}
        for i, each in enumerate(model.domain.each(model.event_shape[0]))
        if each.levels is not None
    ]
