"""The table of published numbers: beside each what has been reached, and what that tells."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from machine import heading
from published_budgets import Budget, whole
from published_metrics import METRICS
from published_records import Told, identity
from published_rows import ROWS, Row

PACED = 2000
"""Steps from which on a training tells how long a longer one takes."""
ERRORS = 2.0
"""The combined standard errors within which a value is reproduced."""
FEWEST = 3
"""Seeds of which there is a verdict: the spread of two says next to nothing."""


@dataclass(frozen=True)
class Measured:
    """What a row has reached within a budget."""

    budget: Budget
    values: tuple[float, ...]
    seconds: float
    """Of one training, the mean."""
    samples: int
    where: tuple[str, ...]
    """The machines."""

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def spread(self) -> float:
        """The standard deviation over seeds; NaN of one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def stderr(self) -> float:
        return self.spread / math.sqrt(len(self.values))


def longest(row: Row, known: Sequence[Told]) -> Measured | None:
    """Of what is known of a row as it is now, that with the largest budget, and of these the one of most seeds."""
    found = [measured(told) for told in known if told["row"] == identity(row) and told["seeds"]]
    return max(found, key=lambda each: (each.budget.part, len(each.values)), default=None)


def measured(told: Told) -> Measured:
    seeds = list(told["seeds"].values())
    return Measured(
        Budget(**told["budget"] | {"sets": tuple(told["budget"]["sets"])}),
        tuple(each["value"] for each in seeds),
        statistics.mean(each["seconds"] for each in seeds),
        min(each["samples"] for each in seeds),
        tuple(dict.fromkeys(each["where"] for each in seeds)),
    )


def verdict(row: Row, found: Measured) -> str:
    """What a value says beside the published one, and why; a single run that was published is taken to be as far from
    its mean as one of ours.
    """
    part = found.budget.part
    why = f" ({100 * part:.2g} % of the training)" if part < 0.995 else ""
    if row.differs:
        return f"not to be compared: {row.differs}{why}"
    if row.published is None:
        return f"nothing published{why}"
    difference = found.mean - row.published
    better = difference > 0 if METRICS[row.metric].more_is_better else difference < 0
    side = "better" if better else "behind"
    if len(found.values) < FEWEST:
        return f"{side} by {abs(difference):.2f}; fewer than {FEWEST} seeds tell no more{why}"
    both = math.hypot(found.stderr, found.spread if row.stderr is None else row.stderr)
    return f"{'reproduced' if abs(difference) <= ERRORS * both else side}, {difference:+.2f} ± {both:.2f}{why}"


def hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def line(row: Row, found: Measured | None, machines: dict[str, int]) -> str:
    metric, budget = METRICS[row.metric], whole(row)
    published = "–" if row.published is None else f"{row.published:.{metric.digits}f}"
    published += f" ± {row.stderr:g}" if row.stderr is not None else ""
    steps = f"{budget.whole_epochs:,} epochs, {budget.whole_steps:,} steps"
    cells = [f"`{row.name}`", row.what, f"{published} {metric.unit}".strip(), f"{row.source}, {row.mark}"]
    if found is None:
        need = f"waits for {row.waits}" if row.waits else "needs a GPU" if row.gpu else "not measured"
        return f"| {' | '.join([*cells, '–', '–', steps, '–', need])} |"
    error = f" ± {found.stderr:.{metric.digits}f}" if len(found.values) > 1 else ""
    marks = ", ".join(str(machines.setdefault(each, len(machines) + 1)) for each in found.where)
    done = found.budget
    trained = f"{done.epochs:,} of {done.whole_epochs:,} epochs"
    trained += f" of {done.rows:,} of {done.whole_rows:,} rows" if done.rows < done.whole_rows else ""
    trained = steps if done.part > 0.995 else trained
    trained += f"; {found.samples:,} of {row.samples:,} samples" if found.samples < row.samples else ""
    spent = f"{found.seconds:,.0f} s [{marks}]"
    if done.part < 0.995 and done.steps >= PACED:  # the first steps take longer
        spent += f", whole {hours(found.seconds / done.part)}"
    cells += [f"{found.mean:.{metric.digits}f}{error}", str(len(found.values)), trained, spent, verdict(row, found)]
    return f"| {' | '.join(cells)} |"


def report(known: Sequence[Told], rows: Mapping[str, Row] = ROWS) -> str:
    """The table of all rows."""
    machines: dict[str, int] = {}
    found = {name: longest(row, known) for name, row in rows.items()}
    lines = [line(row, found[name], machines) for name, row in rows.items()]
    verdicts = [verdict(rows[name], each) for name, each in found.items() if each is not None]
    reproduced = sum(each.startswith(("reproduced", "better,")) for each in verdicts)
    whole_ones = sum(each is not None and each.budget.part > 0.995 for each in found.values())
    return "\n".join(
        [
            heading("Published numbers, and what recipes reach"),
            f"**{len(verdicts)} of {len(rows)} rows are measured, {whole_ones} of them with the whole training; "
            f"{reproduced} are reproduced or better.**",
            "",
            "A value is the mean over seeds ± its standard error, of test data. *Reproduced* is within two standard "
            "errors of the difference; where the source has no error, its value is taken for one run with the spread "
            "of ours. Of a part of the training it is a trial, no verdict. Sources: V read in a public README, page or "
            "code, S quoted by a public note, M from memory. Seconds are of the training of one seed by the clock, "
            "whatever else the machine did; behind those of a part stands the time of the whole, stretched.",
            "",
            "| row | what | published | source | ours | seeds | budget | time of a seed | verdict |",
            "|---" * 9 + "|",
            *lines,
            "",
            *(f"[{number}] {machine}\n" for machine, number in machines.items()),
        ]
    )
