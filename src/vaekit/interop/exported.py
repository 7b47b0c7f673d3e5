"""What an export wrote into a folder, as its notes say, so that another one there leaves nothing of it behind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ..system.disk import read_text, sha256_of

NOTES = "vaekit.json"
"""The file of notes in a folder."""
FILES = "files"
"""Their key of what else was written beside them."""
ENDINGS = (".onnx", ".pt2", ".safetensors", ".json")


def files_of(paths: Iterable[Path]) -> dict[str, dict[str, str]]:
    """What notes say of the files beside them: their names, and the SHA-256 of what is in them."""
    return {FILES: {each.name: sha256_of(each) for each in paths}}


def exported(folder: Path) -> dict[Path, str]:
    """The files that the notes in `folder` say an export wrote there, each with the SHA-256 of what it wrote."""
    found: object = None
    with suppress(OSError, ValueError, RecursionError, AttributeError):
        found = json.loads(read_text(folder / NOTES)).get(FILES)
    known = found if isinstance(found, dict) else {}
    return {folder / name: digest for name, digest in known.items() if Path(name).name == name}


def drop_others(before: Mapping[Path, str], now: Iterable[Path]) -> None:
    """Delete what an export wrote `before` and none does `now`: only files that still are what it wrote."""
    for path in before.keys() - set(now):
        if path.suffix in ENDINGS and path.is_file() and not path.is_symlink() and sha256_of(path) == before[path]:
            path.unlink()
