"""How other data than a run's own are read, where what the run knows stands elsewhere in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..data.exposure import TOTAL
from ..errors import shown, unknown
from ..settings import UNSET
from ..spec.keys import DataSpec
from ..spec.parsing import options_from

if TYPE_CHECKING:
    from .run import Run

ANEW = ("layer", "label", "exposure", "sheet", "encoding")
"""The options of data that say where in them something stands, which other data may have elsewhere. All others say what
the data are that a model is of.
"""


def options_of(sets: Iterable[str]) -> dict[str, Any]:
    """The options of `reading` that settings of the form data.layer=counts say; none takes one back.

    >>> options_of(["data.layer=counts", "data.label=none"])
    {'layer': 'counts', 'label': None}
    """
    found = options_from(sets)
    given = found.pop("data", {})
    if found or not isinstance(given, dict):
        raise ValueError(unknown("setting of other data", next(iter(found), "data"), [f"data.{key}" for key in ANEW]))
    return {key: None if value is UNSET else value for key, value in given.items()}


def reading(run: Run, options: Mapping[str, Any]) -> Run:
    """`run`, which reads data by these `options`, as `Run.reading` says."""
    for key, value in options.items():
        if key not in ANEW:
            kept = "; what data are is as in training" if key in DataSpec.model_fields else ""
            raise ValueError(f"{unknown('option of other data', key, ANEW)}{kept}")
        if value is not None and not isinstance(value, str):
            raise ValueError(f"data.{key} is {shown(value)}; accepted: a name, or none")
    exposure, label = options.get("exposure"), options.get("label")
    if "exposure" in options and run.schema.exposed != (exposure is not None):
        own = f"an exposure; accepted: a column, or {TOTAL}" if run.schema.exposed else "no exposure; leave it out"
        raise ValueError(f"data.exposure is {exposure or 'none'}, but {run.path} has {own}")
    if label is not None and not run.schema.classes:
        raise ValueError(f"data.label is {label}, but {run.path} knows no classes; leave it out")
    data = run.spec.data.model_copy(update=dict(options))
    anew = tuple(dict.fromkeys((*run.anew, *options)))
    return replace(run, spec=run.spec.model_copy(update={"data": data}), anew=anew)


def read_alike(run: Run, other: Run) -> Run:
    """`run`, whose data are read as those of the `other`, which is on its codes, where that is said anew."""
    return reading(run, {key: getattr(other.spec.data, key) for key in other.anew})
