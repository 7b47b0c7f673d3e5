"""A table of sides, each trained with several seeds: numbers as means with their standard errors over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from machine import heading

from vaekit.system.disk import write_atomic


def shown(values: Sequence[float], digits: int) -> str:
    """Their mean ± its standard error; a dash where one is no number."""
    if any(map(math.isnan, values)):
        return "–"
    error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{error}"


def report(
    title: str,
    about: str,
    digits: Mapping[str, int],
    sides: Iterable[tuple[str, Sequence[Mapping[str, float]]]],
    to: Path | None,
) -> None:
    """Print each side's row as it comes, its numbers by seed under the names of `digits`; then all, and write it."""
    lines = [f"| objective | {' | '.join(digits)} |", f"|---|{'---|' * len(digits)}"]
    for name, found in sides:
        cells = [shown([each[key] for each in found], places) for key, places in digits.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    text = "\n".join([heading(title), about, "", *lines, ""])
    print(text)
    if to:
        write_atomic(to, text)
