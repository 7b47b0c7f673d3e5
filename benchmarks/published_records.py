"""What is written down of the rows of `published.py`: beside their runs, and beside a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from published_budgets import Budget
from published_rows import Row

NUMBERS = "measured.json"

Told = dict[str, Any]
"""What is written down of a row: `row`, what it was; `budget`; `seeds`, of each its `value`, `seconds`, `samples`,
`epochs` and `where`.
"""


def identity(row: Row) -> dict[str, Any]:
    """What tells whether a number is of this row."""
    return {"target": row.target, "metric": row.metric, "sets": list(row.sets), "own": list(row.own)}


def same(told: Told, row: Row, budget: Budget) -> bool:
    """Whether what is written down is of this row within this budget."""
    return told["row"] == identity(row) and told["budget"] == json.loads(json.dumps(asdict(budget)))


def recorded(report: Path | None) -> list[Told]:
    """The numbers that stand beside a report."""
    file = report.with_suffix(".json") if report else None
    return json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else []


def gathered(folder: Path, known: Sequence[Told] = ()) -> list[Told]:
    """What is known, and what a folder has beside it: of each row and budget all seeds, once."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(f"*/*/{NUMBERS}"))]
    together: dict[str, Told] = {}
    for told in (*known, *found):
        key = json.dumps([told["row"], told["budget"]])
        seeds = {**together.get(key, told)["seeds"], **told["seeds"]}
        together[key] = {**told, "seeds": dict(sorted(seeds.items(), key=lambda each: int(each[0])))}
    return list(together.values())
