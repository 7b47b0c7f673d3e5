"""Several runs side by side: their scores on the same data, and what differs between their specs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RunError
from ..evaluation.estimates import mean_of
from ..evaluation.scores import Evaluation
from .run import Run, load_run
from .wording import comparison_in_markup

SAMPLES = 200
"""Importance samples, unless told otherwise."""
IGNORED = (
    "title.",
    "source.",
    "pictures.",
    "training.checkpoint_every.",
    "training.checkpoint_minutes.",
    "training.log.",
)
"""What in a spec has no influence on a model."""


@dataclass(frozen=True)
class Compared:
    """One run of a comparison, called `name`: its scores, and how its negative log-likelihood differs from the first's.

    `nll_difference` is the mean over data of its -log p(x) less the first run's, nats: below 0 it is the better one.
    `nll_difference_stderr` is the standard error of that mean over the pairs, which is smaller than those of the two
    together where data that are hard for one run are hard for the other. `seconds` are those of the training.
    """

    name: str
    title: str
    posterior: str
    objective: str
    optimizer: str
    epochs: int
    seconds: float
    parameters: int
    evaluation: Evaluation
    nll_difference: float
    nll_difference_stderr: float


@dataclass(frozen=True)
class Comparison:
    """Runs on the same data: `rows` in the order given, and the keys of their specs that differ, with each run's value.

    A key that a run does not have is None there.
    """

    dataset: str
    split: str
    rows: tuple[Compared, ...]
    differences: dict[str, tuple[Any, ...]]
    runs: tuple[Run, ...] = field(repr=False)

    def _repr_html_(self) -> str:
        return comparison_in_markup(self)


def compare(
    runs: Sequence[Run | str | Path], samples: int = SAMPLES, *, split: str = "test", seed: int = 0
) -> Comparison:
    """Score `runs`, two or more, or the folders of them, on `split` with `samples` importance samples for each datum.

    The first is what the others are compared with. Each score is that of `Run.evaluate` with these `samples` and this
    `seed`. Raises `RunError` where the data that they would be scored on are not the same, value by value.

    >>> import tempfile
    >>> from vaekit import train
    >>> folder = Path(tempfile.mkdtemp())
    >>> runs = [train("digits", folder / name, epochs=n) for name, n in (("short", 1), ("long", 2))]
    >>> found = compare(runs, samples=5)
    >>> found.differences
    {'training.epochs': (1, 2)}
    >>> found.rows[1].nll_difference < 0
    True
    """
    if isinstance(runs, (str, Path, Run)):
        raise ValueError(f"runs to compare: {str(getattr(runs, 'path', runs))!r}; accepted: a list of 2 or more")
    loaded = tuple(run if isinstance(run, Run) else load_run(run) for run in runs)
    if len(loaded) < 2:
        raise ValueError(f"runs to compare: {len(loaded)}; accepted: 2 or more")
    for run in loaded[1:]:
        _refuse_other_data(loaded[0], run, split)
    rows: list[Compared] = []
    baseline = torch.zeros(())
    for name, run in zip(_names(loaded), loaded, strict=True):
        evaluation, nll = _scored(run, samples, split, seed)
        baseline = baseline if rows else nll
        rows.append(_row(name, run, evaluation, nll - baseline))
    return Comparison(loaded[0].dataset.name, split, tuple(rows), differences(loaded), loaded)


def differences(runs: Sequence[Run]) -> dict[str, tuple[Any, ...]]:
    """The keys of the runs' specs that are not the same in all of them, with the value in each, None where it lacks."""
    flat = [dict(_flat(run.spec.model_dump(mode="json"))) for run in runs]
    keys = sorted({key for values in flat for key in values if not f"{key}.".startswith(IGNORED)})
    found = {key: tuple(values.get(key) for values in flat) for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _scored(run: Run, samples: int, split: str, seed: int) -> tuple[Evaluation, Tensor]:
    """The scores of a run, and -log p(x) of each datum, (N,) nats."""
    nll: list[Tensor] = []
    evaluation = run.evaluate(split, samples, seed=seed, on_scores=lambda each: nll.append(-each.log_prob.cpu()))
    return evaluation, torch.cat(nll)


def _row(name: str, run: Run, evaluation: Evaluation, difference: Tensor) -> Compared:
    spec, history, apart = run.spec, run.history(), mean_of(difference)
    return Compared(
        name=name,
        title=spec.title or run.dataset.name,
        posterior=", ".join(dict.fromkeys(latent.posterior.name for latent in spec.model.latents.values())),
        objective=spec.objective.name,
        optimizer=spec.training.optimizer.name,
        epochs=max((record.epoch for record in history), default=0),
        seconds=sum(record.seconds for record in history),
        parameters=sum(p.numel() for p in run.model.parameters()),
        evaluation=evaluation,
        nll_difference=apart.value,
        nll_difference_stderr=apart.stderr,
    )


def _refuse_other_data(first: Run, other: Run, split: str) -> None:
    ours, theirs = first.data(split), other.data(split)
    conditional = first.model.conditional or other.model.conditional
    same = ours.seen == theirs.seen and ours.x.shape == theirs.x.shape
    for mine, its in zip_longest(ours.blocks(), theirs.blocks()) if same else ():
        pairs = [(mine.x, its.x), (mine.observed, its.observed), *([(mine.y, its.y)] if conditional else [])]
        same = same and all(_equal(*pair) for pair in pairs)
    if not same:
        which = ", ".join(dict.fromkeys([str(first.dataset.name), str(other.dataset.name)]))
        raise RunError(
            f"{other.path} would be scored on other data than {first.path} (split {split} of {which}, as their models "
            "see it), so that their numbers could not be compared"
        )


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a.cpu(), b.cpu())


def _names(runs: Sequence[Run]) -> list[str]:
    """The runs' folders, by their last part where that tells them apart."""
    short = [run.path.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run.path) for run in runs]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """All that is in a table of tables, by dotted keys; a part stands for its name."""
    for key, value in values.items():
        path = above.removesuffix(".") if key == "name" and above != "data." else above + key
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield path, value
