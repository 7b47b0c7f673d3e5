"""metrics.jsonl: what each epoch measured, a line for each split, each with a sum of what it says."""

from __future__ import annotations

import json
import logging
import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..data.base import SPLITS
from ..errors import RunError
from ..system import disk
from ..training.checkpoint import Checkpoints, place_of
from ..training.records import Epoch

log = logging.getLogger(__name__)

FILE = "metrics.jsonl"
SUM = "crc32"
"""The key of a line's sum; lines of the first version have none."""
LINE_BYTES = 1 << 20


def append(folder: Path, records: Iterable[Epoch]) -> None:
    """Add records, each a whole line or, after a kill, a torn last one that `read` leaves out."""
    disk.append(folder / FILE, _lines(records))


def read(folder: Path) -> list[Epoch]:
    """The records, in order; none if there is no such file.

    A line that is damaged is left out, and said with its number; so are epochs that are not there at all.
    """
    records: dict[tuple[int, str], Epoch] = {}
    damaged = 0
    for number, line, whole in _lines_of(folder / FILE):
        try:
            record = _record(line)
        except (ValueError, RecursionError) as error:
            if whole:  # else torn by a kill, or being written
                log.warning("%s, line %d: %s; it is left out", folder / FILE, number, error)
                damaged += 1
            continue
        if (record.epoch, record.split) in records:
            log.warning("%s, line %d: epoch %d comes again; it is left out", folder / FILE, number, record.epoch)
            continue
        records[record.epoch, record.split] = record
    if not damaged:
        _say_what_is_missing(folder, records)
    return list(records.values())


def drop_after(folder: Path, epoch: int) -> None:
    """Leave only the records of epochs up to `epoch`, which those to come go on from."""
    disk.write_atomic(folder / FILE, _lines(record for record in read(folder) if record.epoch <= epoch))


def _lines_of(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Each line with its number, and whether it has an end; of one that is too long its beginning."""
    try:
        disk.check_regular(path)
        with path.open("rb") as file:
            number, within = 1, False
            while line := file.readline(LINE_BYTES):
                whole = line.endswith(b"\n")
                if not within:
                    yield number, line, whole or len(line) == LINE_BYTES
                within, number = not whole, number + whole
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise RunError(str(error)) from None


def _record(line: bytes) -> Epoch:
    """What a line says; `ValueError` where it is not what was written."""
    try:
        values = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except ValueError:
        raise ValueError("it is not JSON") from None
    if not isinstance(values, dict):
        raise ValueError("it is no record")
    written = values.pop(SUM, None)
    if written is not None and written != _sum(values):
        raise ValueError("it is not what was written, by its sum")
    fixed = {key: values.pop(key, None) for key in ("epoch", "step", "rows", "split", "seconds")}
    if not all(type(fixed[key]) is int and 0 <= fixed[key] < 2**63 for key in ("epoch", "step", "rows")):
        raise ValueError("its numbers of epoch, step and rows are none")
    if fixed["split"] not in SPLITS or not fixed["epoch"] or not _is_number(fixed["seconds"]):
        raise ValueError("its epoch, split or seconds are none")
    if not all(value is None or _is_number(value) for value in values.values()):
        raise ValueError("a term of it is no number")
    terms = {name: math.nan if value is None else value for name, value in values.items()}
    return Epoch(**fixed, terms=terms)


def _is_number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 2**63)


def _say_what_is_missing(folder: Path, records: Iterable[tuple[int, str]]) -> None:
    # Records are written before the state that they lead to.
    there = set(records)
    states = [place[0] for path in Checkpoints(folder / "checkpoints").all() if (place := place_of(path))]
    last = max([*states[-1:], *(epoch for epoch, _ in there)], default=0)
    splits = dict.fromkeys(["train", *(split for _, split in there)])
    missing = next(((e, split) for e in range(1, last + 1) for split in splits if (e, split) not in there), None)
    if missing:
        log.warning("%s lacks epoch %d of %s; the curves have a gap", folder / FILE, *missing)


def _lines(records: Iterable[Epoch]) -> str:
    return "".join(json.dumps(_summed(_flat(record)), allow_nan=False) + "\n" for record in records)


def _summed(values: dict[str, Any]) -> dict[str, Any]:
    return values | {SUM: _sum(values)}


def _sum(values: dict[str, Any]) -> str:
    """The CRC-32 of what is said, however it is laid out."""
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"


def _flat(record: Epoch) -> dict[str, Any]:
    head = {"epoch": record.epoch, "step": record.step, "split": record.split}
    return head | disk.finite(record.terms) | {"rows": record.rows, "seconds": round(record.seconds, 6)}
