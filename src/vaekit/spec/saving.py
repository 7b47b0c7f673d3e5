"""The saved form of a spec, with its sum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..errors import shown, unknown
from ..settings import option
from .keys import Schema, Spec
from .parsing import parse, validated
from .parts import PARTS, Parts

FORMAT = 1
"""The version of the saved form, raised when a change makes older files unreadable."""


SUM = "sha256"
"""The key of the saved form's sum."""


def to_json(spec: Spec, schema: Schema) -> str:
    """The saved form of a run's description, with the sum of what it says."""
    values = {"format": FORMAT, "spec": spec.model_dump(mode="json"), "schema": schema.model_dump(mode="json")}
    return json.dumps({SUM: _sum(values)} | values, indent=2) + "\n"


def spec_to_json(spec: Spec) -> str:
    """A spec alone, to be read by people."""
    return json.dumps(spec.model_dump(mode="json", exclude_defaults=True), indent=2)


def from_json(text: str, parts: Parts = PARTS) -> tuple[Spec, Schema]:
    """Spec and schema from their saved form; `ValueError`, one line, for anything else, and where its sum is not its.

    Without a sum, as in the first version, it is taken as it is.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from None
    except (ValueError, RecursionError):  # numbers of thousands of digits, lists thousands deep
        raise ValueError("not valid JSON: a number is too long, or something too deep") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT or isinstance(values["format"], bool):
        given = shown(values.get("format")) if isinstance(values, dict) else f"of a {type(values).__name__}"
        raise ValueError(f"format is {given}; accepted: {FORMAT}, as this version of vaekit writes it")
    written = values.pop(SUM, None)
    if others := [key for key in values if key not in ("format", "spec", "schema")]:
        raise ValueError(unknown("key", others[0], (SUM, "format", "spec", "schema")))
    try:
        spec = parse(values.get("spec", {}), parts)
    except ValueError as error:
        made = values["spec"].get("parts") if isinstance(values.get("spec"), dict) else ""
        if not isinstance(made, str) or made in ("", parts.source):
            raise
        again = f"it was made with parts of {shown(made)}, which have to be given again: {option('parts', made)}"
        raise ValueError(f"{error}; {again}") from None
    found = spec, validated(Schema, values.get("schema", {}), "schema")
    if written is not None and written != _sum(values):
        raise ValueError(f"it was damaged or edited: restore it; or delete its line {SUM!r}, and it counts as it is")
    return found


def _sum(values: Mapping[str, Any]) -> str:
    """A SHA-256 of what is said, however it is laid out."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
