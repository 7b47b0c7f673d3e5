"""What models of other packages say of themselves: a table in a file of JSON, beside their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import shown
from ..system.disk import read_text


def config_of(path: Path, accepted: str) -> dict[str, Any]:
    """The table in the file at `path`; `ValueError`, one line, where there is none: `accepted` says in what folders."""
    try:
        found = json.loads(read_text(path))
    except FileNotFoundError:
        raise ValueError(f"{path.parent} has no {path.name}; accepted: {accepted}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {shown(str(error))}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no table of a config")
    return found
