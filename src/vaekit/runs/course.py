"""How the training of a run in a folder went."""

from __future__ import annotations

import math
from pathlib import Path

from ..errors import RunError
from ..training.checkpoint import Checkpoints
from ..training.course import Course, is_lost, kept_epoch
from .folder import PAGE
from .run import Run

DRAWS, FEWEST = 200, 10
"""Draws of each held-out datum that the end of a training is scored by, at most and at least."""
PASSES = 3
"""Draws, about, that take no longer than a training's step takes for a row: it goes through encoder and decoder and
back, a draw through the decoder.
"""


def course_of(run: Run) -> Course | None:
    """How the training of a run went; None where that was not kept, as in runs from before."""
    try:
        found = Checkpoints(run.path / "checkpoints").newest()
    except (OSError, RunError):
        return None
    if found is None or (state := found.state).lowest_loss is None:
        return None
    split = next((each.split for each in reversed(run.history())), "train")
    last = math.nan if state.last_loss is None else state.last_loss
    kept = kept_epoch(state, run.spec.training.early_stopping is not None)
    lowest = state.lowest_epoch, state.lowest_loss
    if kept == state.best_epoch and state.best_loss is not None and state.best_loss < state.lowest_loss:
        lowest = state.best_epoch, state.best_loss  # before the epochs that count for stopping, by the same loss
    return Course(split, state.epoch, *lowest, last, is_lost(state), kept, state.untrained_loss)


def draws_for(run: Run) -> int:
    """How many draws of each held-out datum the end of a training is scored by: `DRAWS`, fewer after a short one, so
    that scoring takes no longer than it did. By numbers of rows alone: never by a clock.
    """
    rows = sum(each.rows for each in run.history() if each.split == "train")
    return min(DRAWS, max(FEWEST, PASSES * rows // len(run.dataset.splits[run.held_out])))


def is_scored(folder: Path) -> bool:
    """Whether the run in `folder` has a report that was written after the last step of its training."""
    page = folder / PAGE
    if not page.exists() or not (folder / "weights.safetensors").exists():
        return False
    newest = Checkpoints(folder / "checkpoints").newest()
    return newest is not None and page.stat().st_mtime_ns >= newest.path.stat().st_mtime_ns


def beside_the_bound(run: Run) -> str:
    """That the loss of a run is no bound, where terms were added to it that are of no likelihood; else nothing."""
    objective, parts = run.spec.objective, run.parts
    named = [(parts.objectives, objective.name), *((parts.terms, name) for name in objective.added)]
    added = [name for table, name in named if getattr(table[name], "of_no_likelihood", False)]
    if not added:
        return ""
    return (
        f"the loss that was minimised has terms of no likelihood ({', '.join(added)}): it is no bound of log p(x), and "
        "its reconstructions are not those of the highest likelihood; the scores are of the model's own bound"
    )
