"""Optuna chooses the settings that a sweep tries (`pip install 'vaekit[sweep]'`).

What it has asked for and been told is in the folder of the sweep, as lines of JSON, from which a sweep that is called
again goes on. The point of a number is drawn from the seed and that number, and by `tpe` from what is known by then: of
several jobs that end in another order, it may be another point.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import RunError, unknown
from ..runs.axes import Axis, Settings
from ..runs.sweep import Plan
from ..runs.swept import more_is_better
from ..seeding import stream
from ..system.disk import refuse_links
from ..system.extras import needing

FILE = "search.jsonl"
SAMPLERS = ("tpe", "random")
"""The tree-structured Parzen estimator (Bergstra et al. 2011), and draws that know nothing of each other."""
DIGITS = 4
"""Of a number that is drawn from a range: more only make names long."""


def check(sampler: str, trials: int) -> None:
    """Raise `ValueError`, one line, where there is no such sampler or no Optuna."""
    if sampler not in SAMPLERS:
        raise ValueError(unknown("search", sampler, SAMPLERS))
    if trials < 1:
        raise ValueError(f"trials is {trials}; accepted: 1 or more")
    _optuna()


class OptunaSearch:
    """`points` settings of the axes of `plan`, chosen by a sampler of Optuna's for the score that the plan ranks by.

    Those that an earlier call has left unfinished come first. Raises `RunError` where the folder has the search of
    other axes, seeds or scores.
    """

    def __init__(self, plan: Plan, sampler: str, points: int, seed: int = 0) -> None:
        check(sampler, points)
        self.optuna = _optuna()
        self.axes, self.sampler, self.points, self.seed = plan.axes, sampler, points, seed
        self.space = {axis.key: self._distribution(axis) for axis in plan.axes}
        self.study = self._opened(plan)
        left = self.study.get_trials(deepcopy=False, states=(self.optuna.trial.TrialState.RUNNING,))
        self.left = []
        for each in left:
            if each.params.keys() == self.space.keys():
                self.left.append((each.number, each.params))
            else:  # a kill came between its being begun and its being drawn
                self.tell(each.number, None)

    def ask(self) -> tuple[int, Settings] | None:
        if self.left:
            number, values = self.left.pop(0)
            return number, self._settings(values)
        number = len(self.study.get_trials(deepcopy=False))
        if number >= self.points:
            return None
        # Anew for each number, so that a sweep that goes on draws what it would have drawn.
        samplers, seed = self.optuna.samplers, stream(self.seed, "search", number) % 2**32
        self.study.sampler = (samplers.TPESampler if self.sampler == "tpe" else samplers.RandomSampler)(seed=seed)
        trial = self.study.ask(self.space)
        return trial.number, self._settings(trial.params)

    def tell(self, number: int, value: float | None) -> None:
        if value is None:
            self.study.tell(number, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(number, value)

    def _settings(self, values: dict[str, Any]) -> Settings:
        return tuple((each.key, _text(values[each.key])) for each in self.axes)

    def _distribution(self, axis: Axis) -> Any:
        made = self.optuna.distributions
        if axis.span is None:
            return made.CategoricalDistribution(axis.values)
        kind = made.IntDistribution if axis.span.whole else made.FloatDistribution
        return kind(axis.span.low, axis.span.high, log=axis.span.log)

    def _opened(self, plan: Plan) -> Any:
        path = plan.folder / FILE
        refuse_links([path])
        _drop_torn(path)
        journal = self.optuna.storages.journal
        logging, direction = self.optuna.logging, "maximize" if more_is_better(plan.by) else "minimize"
        before = logging.get_verbosity()
        logging.set_verbosity(logging.WARNING)
        try:
            storage = self.optuna.storages.JournalStorage(journal.JournalFileBackend(str(path), _Held()))
            study = self.optuna.create_study(
                storage=storage, study_name="sweep", direction=direction, load_if_exists=True
            )
        except (ValueError, KeyError) as error:
            raise RunError(f"{path} is damaged: {error}; name another folder") from None
        finally:
            logging.set_verbosity(before)
        asked = {"by": plan.by, "seeds": list(plan.seeds), "samples": plan.samples}
        asked |= {
            "axes": [[each.key, list(each.values), each.span and list(vars(each.span).values())] for each in plan.axes]
        }
        known = study.user_attrs.get("asked")
        if known is None:
            study.set_user_attr("asked", asked)
        elif known != json.loads(json.dumps(asked)):
            other = next(key for key in asked if known.get(key) != json.loads(json.dumps(asked[key])))
            raise RunError(f"{plan.folder} has a search with other {other}; name another folder")
        return study


class _Held:
    """No lock of its own, since the sweep has that of the folder."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _text(value: Any) -> str:
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def _drop_torn(path: Path) -> None:
    """Take away a last line that a kill has cut off, which Optuna does not read."""
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)


def _optuna() -> Any:
    with needing("a search", "Optuna", "sweep", "or give values to go over"):
        import optuna
        import optuna.storages.journal
    return optuna
