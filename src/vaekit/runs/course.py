"""How the training of a run in a folder went."""

from __future__ import annotations

import math

from ..errors import RunError
from ..training.checkpoint import Checkpoints
from ..training.course import Course, is_lost, kept_epoch
from .run import Run


def course_of(run: Run) -> Course | None:
    """How the training of a run went; None where that was not kept, as in runs from before."""
    try:
        found = Checkpoints(run.path / "checkpoints").newest()
    except (OSError, RunError):
        return None
    if found is None or (state := found[1]).lowest_loss is None:
        return None
    split = next((each.split for each in reversed(run.history())), "train")
    last = math.nan if state.last_loss is None else state.last_loss
    kept = kept_epoch(state, run.spec.training.early_stopping is not None)
    return Course(
        split, state.epoch, state.lowest_epoch, state.lowest_loss, last, is_lost(state), kept, state.untrained_loss
    )


def beside_the_bound(run: Run) -> str:
    """That the loss of a run is no bound, where terms were added to it that are of no likelihood; else nothing."""
    added = [name for name in run.spec.objective.added if getattr(run.parts.terms[name], "of_no_likelihood", False)]
    if not added:
        return ""
    return (
        f"the loss that was minimised has terms of no likelihood ({', '.join(added)}): it is no bound of log p(x), and "
        "its reconstructions are not those of the highest likelihood; the scores are of the model's own bound"
    )
