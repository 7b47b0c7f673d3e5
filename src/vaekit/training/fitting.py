"""Training a model that was put together in Python, without a run folder or a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..data import Dataset, Preprocessing
from ..data.tensors import TensorSplit, as_split
from ..errors import RunError, wrong_kind
from ..models import VAE
from ..objectives.base import Objective
from ..objectives.elbo import ELBO
from ..seeding import on_the_cpu
from ..spec.parsing import training_options
from ..system.devices import resolve_device
from ..system.progress import following
from .checkpoint import Checkpoints, Saved, State
from .loop import optimize
from .records import Epoch, Progress
from .task import Task, planned


@on_the_cpu()
def fit(
    model: VAE,
    data: TensorSplit | Dataset | np.ndarray | Tensor,
    objective: Objective | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[list[Epoch]], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> State:
    """Train `model` in place on `data` by `objective` (default: the ELBO); `options` are those of `TrainingSpec`.

    Of a dataset it takes the split "train", and looks at "valid" after each epoch, if there is one; an array
    (N, *event) is all training data. With a `folder`, states and weights are saved there, and with `resume` training
    goes on from them. Raises `ValueError` if the model is not one of such data, an option is not understood, or the
    folder has states that it is not to go on from.

    >>> from vaekit import VAE, Domain, likelihoods, networks, posteriors, priors
    >>> p = likelihoods.FixedNormal((3,), Domain("real"))
    >>> vae = VAE(
    ...     encoder=networks.MLP((3,), hidden=(8,)),
    ...     posteriors={"z": posteriors.DiagonalNormal(8, 2)},
    ...     priors={"z": priors.StandardNormal(2)},
    ...     decoder=networks.MLP((2,), p.parameter_shape, hidden=(8,)),
    ...     likelihood=p,
    ... )
    >>> fit(vae, np.random.default_rng(0).normal(size=(50, 3)), epochs=2).epoch
    2
    """
    if not isinstance(model, VAE):
        raise wrong_kind("model", model, "a vaekit.VAE (a recipe, or data alone, is for vaekit.train)")
    if not (objective is None or (callable(objective) and not isinstance(objective, type))):
        raise wrong_kind("objective", objective, "an objective, such as vaekit.objectives.ELBO()")
    chosen = training_options(options)
    if chosen.log:
        raise ValueError("log is of runs, which vaekit.train makes; leave it out, or log in an on_epoch of your own")
    if chosen.start is not None:
        raise ValueError("start is of runs, which vaekit.train makes; leave it out, and give the model as it begins")
    place = None if folder is None else Path(folder)
    saved = _saved(place, resume)
    device = resolve_device(chosen.device)
    splits = data.splits if isinstance(data, Dataset) else {}
    train = as_split(data, "train", model.domain, preprocessing, device)
    held_out = as_split(data, "valid", model.domain, preprocessing, device) if "valid" in splits else None
    chosen = planned(chosen, len(train), held_out is not None)
    task = Task(model, train, held_out, objective or ELBO(), chosen)
    told: dict[str, Any] = {"on_epoch": on_epoch} if on_epoch else {}
    with following(on_progress, task.total) as told["on_progress"]:
        return optimize(task, place, saved=saved, **told)


def _saved(place: Path | None, resume: bool) -> Saved | None:
    """The state that a training in the folder `place` goes on from; `ValueError` where none is there, or one is that it
    would not go on from: states of two trainings can't be told apart.
    """
    if place is None:
        if resume:
            raise ValueError("resume=True needs the folder of the training that is to go on; give folder=…")
        return None
    states = Checkpoints(place / "checkpoints")
    if resume:
        return states.last()
    if states.all():
        raise RunError(f"{place} has states of a training; go on with it by resume=True, or name another folder")
    return None
