"""metrics.jsonl: what each epoch measured, a line for each split."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .checkpoint import write_atomic
from .training import Epoch

FILE = "metrics.jsonl"


def append(folder: Path, records: Iterable[Epoch]) -> None:
    """Add records, each a whole line or, after a kill, a torn last one that `read` leaves out."""
    with open(folder / FILE, "a", encoding="utf-8") as file:
        file.write(_lines(records))
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> list[Epoch]:
    """The records, in order; none if there is no such file."""
    path = folder / FILE
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
            fixed = {key: values.pop(key) for key in ("epoch", "step", "split", "seconds", "rows")}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        terms = {name: math.nan if value is None else value for name, value in values.items()}
        records.append(Epoch(**fixed, terms=terms))
    return records


def drop_after(folder: Path, epoch: int) -> None:
    """Leave only the records of epochs up to `epoch`, which those to come go on from."""
    write_atomic(folder / FILE, _lines(record for record in read(folder) if record.epoch <= epoch))


def _lines(records: Iterable[Epoch]) -> str:
    return "".join(json.dumps(_flat(record), allow_nan=False) + "\n" for record in records)


def _flat(record: Epoch) -> dict[str, Any]:
    head = {"epoch": record.epoch, "step": record.step, "split": record.split}
    # JSON has no NaN: what is not finite is null.
    terms = {name: value if math.isfinite(value) else None for name, value in record.terms.items()}
    return head | terms | {"rows": record.rows, "seconds": round(record.seconds, 6)}
