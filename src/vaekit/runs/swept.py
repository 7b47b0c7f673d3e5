"""What a sweep has found: its trials, what their settings are worth over seeds, and which are the best."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from ..errors import RunError
from .axes import Settings, folder_of, in_words
from .jobs import Outcome
from .wording import sweep_in_markup

SCORES = ("nll", "elbo")
"""What settings may be ranked by: less of the first is better, more of the second."""
State = Literal["waiting", "done", "failed"]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: what it sets, its seed, and how it has ended, if it has."""

    settings: Settings
    seed: int
    outcome: Outcome | None = None

    @property
    def name(self) -> str:
        """The folder of its run, within that of the sweep."""
        return folder_of(self.settings, self.seed)

    @property
    def state(self) -> State:
        """Whether it waits (or is under way), is done, or has failed."""
        return "waiting" if self.outcome is None else "failed" if self.outcome.error else "done"

    def score(self, by: str) -> float | None:
        """A score of it, "valid.nll" say, nats per datum; None where it has none."""
        split, _, name = by.partition(".")
        found = self.outcome.scores.get(split) if self.outcome is not None else None
        return None if found is None else float(getattr(found, name))


@dataclass(frozen=True)
class Group:
    """The trials of the same settings, and what they are worth on average over their seeds."""

    settings: Settings
    trials: tuple[Trial, ...]

    @property
    def name(self) -> str:
        """Its settings in words."""
        return in_words(self.settings) or "as it is"

    @property
    def done(self) -> tuple[Trial, ...]:
        """The trials that have scores."""
        return tuple(each for each in self.trials if each.state == "done")

    def mean(self, by: str) -> float:
        """The mean over seeds of a score, "valid.nll" say, nats per datum; NaN where no trial is done."""
        found = self._scores(by)
        return statistics.fmean(found) if found else math.nan

    def stderr(self, by: str) -> float:
        """The standard error of that mean, of the spread over seeds; NaN of fewer than two of them."""
        found = self._scores(by)
        return statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan

    def _scores(self, by: str) -> list[float]:
        return [score for each in self.trials if (score := each.score(by)) is not None]


@dataclass(frozen=True)
class Sweep:
    """What a sweep has found: its `groups`, the best first by the score `by`, and every trial."""

    folder: Path
    by: str
    samples: int
    """Importance samples of each datum's likelihood."""
    trials: tuple[Trial, ...] = field(repr=False)

    def _repr_html_(self) -> str:
        return sweep_in_markup(self)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The trials by their settings, the best first; behind these those of which a trial has failed, for a mean of
        the others says nothing of it; last those of which none is done.
        """
        found: dict[Settings, list[Trial]] = {}
        for each in self.trials:
            found.setdefault(each.settings, []).append(each)
        every = [Group(settings, tuple(trials)) for settings, trials in found.items()]
        sign = -1 if more_is_better(self.by) else 1

        def place(group: Group) -> tuple[bool, bool, float]:
            worth = sign * group.mean(self.by)
            failed = any(each.state == "failed" for each in group.trials)
            return not group.done, failed, math.inf if math.isnan(worth) else worth

        return tuple(sorted(every, key=place))

    @property
    def best(self) -> Group:
        """The best settings; `RunError` where no trial is done."""
        best = self.groups[0]
        if not best.done:
            why = [f"{each.name}: {each.outcome.error}" for each in self.failed[:1] if each.outcome]
            raise RunError(f"no run of {self.folder} is done" + "".join(f"; {each}" for each in why))
        return best

    @property
    def failed(self) -> tuple[Trial, ...]:
        """The trials that have failed; called again, the sweep tries them again."""
        return tuple(each for each in self.trials if each.state == "failed")

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each group, the best first: its settings, how many of its trials are done, means and errors."""
        rows = []
        for each in self.groups:
            scores: dict[str, float] = {}
            for by in scores_of(self):
                scores |= {by: each.mean(by), f"{by}.stderr": each.stderr(by)}
            rows.append({**dict(each.settings), "runs": len(each.done), **scores})
        return pd.DataFrame(rows)


def more_is_better(by: str) -> bool:
    """Whether the best settings are those with most of a score, such as an ELBO."""
    return by.endswith("elbo")


def scores_of(found: Sweep) -> list[str]:
    """The scores that trials have, the one that ranks them first."""
    splits = dict.fromkeys(split for each in found.trials if each.outcome for split in each.outcome.scores)
    return list(dict.fromkeys([found.by, *(f"{split}.{score}" for split in splits for score in SCORES)]))
