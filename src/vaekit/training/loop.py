"""The training loop, top to bottom."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.backends import cudnn

from ..data.tensors import TensorSplit
from ..engine.capture import unvalidated
from ..engine.updating import Update
from ..errors import NonFiniteError
from ..models import VAE
from ..objectives.base import Objective, samples_of
from ..schedules import Switch, settled
from ..seeding import seeded, stream
from ..settings import in_a_call, setting
from ..spec.building import build_schedule
from ..spec.keys import TrainingSpec
from ..spec.parts import PARTS, Parts, build
from ..system.devices import say_if_threads_wait_busily, threads
from . import course
from .checkpoint import Checkpoints, State, load_tensors, model_tensors, save_tensors, set_model_tensors
from .meter import Meter, steadier
from .prior_fitting import fit_priors
from .step import Step, Terms, rehearse, schedules_of
from .threads import worthwhile_threads
from .validation import Look

BATCH_SIZE = 128
"""Rows of a step where none are asked for, or all where there are fewer."""
POLL_SECONDS = 0.25
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """One epoch's averages over a split: every term of the objective, nats per datum."""

    epoch: int
    step: int
    split: str
    terms: dict[str, float]
    seconds: float
    rows: int


@dataclass(frozen=True)
class Progress:
    """Where a training is: `terms` are the averages over the current epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    terms: dict[str, float]
    rows_per_second: float


def optimize(
    model: VAE,
    train: TensorSplit,
    held_out: TensorSplit | None,
    objective: Objective,
    options: TrainingSpec,
    *,
    split: str = "valid",
    folder: Path | None = None,
    resume: bool = False,
    parts: Parts = PARTS,
    on_start: Callable[[], None] = lambda: None,
    on_epoch: Callable[[list[Epoch]], None] = lambda records: None,
    on_look: Callable[[VAE, int, str], dict[str, float]] = lambda model, epoch, split: {},
    on_progress: Callable[[Progress], None] | None = None,
) -> State:
    """Train `model` in place on `train`, looking at `held_out` (called `split`) after each epoch.

    With a `folder`, the whole state goes to folder/checkpoints and the weights to folder/weights.safetensors; with
    `resume` it goes on from there, to the same weights, bit for bit, as without the interruption: each epoch draws all
    that is random from the seed and its own number. `on_start` is called once all options have been checked, before
    anything is written; `on_epoch` gets each epoch's records, `on_progress` a few reports a second. `on_look` gets the
    model as it is scored after an epoch, the epoch's number and a split; what it returns joins the split's record.

    `fit` is this on data as they come, and `train` is this with a run folder. With more `epochs` than before, a resumed
    run's schedules are stretched over all of them, and it may compile loops that the shorter one did without. The bits
    are those of one device, one number of threads and one C compiler.

    A training that is lost by its end, as `course.is_lost` says, ends with the weights that were best on rows held out
    for validation, if there are such; so does every one with `early_stopping`.

    Raises `NonFiniteError` when the loss or the weights are no finite numbers, the last good state being on disk.
    """
    n, device = len(train), train.x.device
    batch_size = options.batch_size or min(BATCH_SIZE, n)
    if batch_size > n:
        raise ValueError(f"batch_size is {batch_size}, but there are {n} training rows; accepted: 1..{n}")
    for data in (train, held_out):
        if data is not None:
            model.refuse_other_data(tuple(data.x.shape[1:]), data.seen)
            if getattr(model.likelihood, "open", False):
                for x, _ in data.blocks():
                    model.refuse_ends(x)
    if options.early_stopping and (held_out is None or split == "test"):
        held = (
            "a Dataset with a split 'valid'" if in_a_call() else setting("data.validation", "…") + ", a number of rows"
        )
        raise ValueError(f"early_stopping needs rows held out for validation; give {held}")
    for name, prior in model.priors.items():
        if getattr(prior, "fit_after", ()) and (count := getattr(prior, "components", 0)) > n:
            raise ValueError(f"the prior of {name!r} has {count} components to fit to {n} rows; accepted: at most {n}")
    model.to(device)
    rehearse(model, objective, train)
    rate = build_schedule(options.learning_rate, parts)
    parameters = [p for p in model.parameters() if p.requires_grad]
    chosen = options.optimizer
    optimizer = build(parts, "optimizers", chosen.name, chosen.options, params=parameters, lr=rate(0.0), fused=True)
    average = copy.deepcopy(model).eval().requires_grad_(False) if options.ema else None
    models: dict[str, nn.Module] = {"model": model}
    if average:
        models["average"] = average
    best = copy.deepcopy(model).requires_grad_(False) if options.early_stopping else None
    if best:
        models["best"] = best  # in the state, so that it is always of the same past as the rest of it

    steps = train.steps(batch_size)
    total = steps * options.epochs
    for field, schedule in schedules_of(objective).items():
        if isinstance(schedule, Switch) and schedule.at > (total - 1) / total:
            raise ValueError(f"{field} switches at {schedule.at} of the run, after the last of its {total} steps")
    begins = _settled(model, objective, options.epochs)
    if options.early_stopping and 0 < begins >= options.epochs - options.early_stopping:
        log.warning(
            "early_stopping=%s can't end this run before its %s epochs are over: it counts from epoch %s on, where all "
            "schedules of the loss have reached their end",
            *(options.early_stopping, options.epochs, begins),
        )

    def stale() -> bool:
        patience = options.early_stopping
        return patience is not None and state.epoch - max(state.best_epoch, begins) >= patience

    on_start()
    checkpoints = Checkpoints(folder / "checkpoints") if folder else None
    state = State()
    if resume and checkpoints:
        state = checkpoints.load(models, optimizer)
    elif checkpoints:
        checkpoints.save(state, models, optimizer)

    number = worthwhile_threads(model, train, samples_of(objective), batch_size)
    say_if_threads_wait_busily(number if device.type == "cpu" else 1)
    take = Step(model, objective, train, batch_size, total)
    update = Update(optimizer, take.long)
    scored, look = average or model, None
    kept: dict[str, torch.Tensor] = {}
    untrained: Terms | None = None
    lost = course.is_lost(state)
    if held_out is not None:
        look = Look(scored, held_out, objective, batch_size, seed=options.seed, epochs=options.epochs)
    with _computing(models, options.precision):
        while state.epoch < options.epochs and not stale():
            started, polled = time.perf_counter(), time.perf_counter()
            # Unvalidated: what is no number is to reach the loss, whatever distributions it comes from.
            streams = seeded(stream(options.seed, state.epoch))
            with threads(number), cudnn.flags(deterministic=True), streams, unvalidated():
                fit_priors(models, train, state.epoch, options.epochs, options.seed)
                meter = Meter(device)
                take.refresh()
                update.refresh()
                for i, index in enumerate(train.order(batch_size)):
                    progress = state.step / total
                    for group in optimizer.param_groups:
                        group["lr"] = rate(progress)
                    terms = take(index, progress, state.step)
                    if options.clip:
                        nn.utils.clip_grad_norm_(parameters, options.clip)
                    update()
                    if average:
                        # At first a shorter memory: the average is to be of trained weights, not of the initial ones.
                        _update_average(average, model, min(options.ema or 0.0, (1 + state.step) / (10 + state.step)))
                    meter.add(terms, len(index))
                    if state.step == 0:
                        untrained = terms
                    state.step += 1
                    if on_progress and time.perf_counter() - polled > POLL_SECONDS:
                        polled = time.perf_counter()
                        done = (i + 1) * batch_size
                        speed = done / (polled - started)
                        on_progress(Progress(state.epoch, options.epochs, i + 1, steps, meter.averages(state), speed))
                averages = meter.averages(state)
                if untrained and not begins:
                    state.untrained_loss = float(untrained.values[0])
                # The last step's loss was finite, but what its update made of the weights no loss has seen yet.
                if not bool(torch.stack([p.isfinite().all() for p in parameters]).all()):
                    lower = steadier()
                    raise NonFiniteError(
                        f"epoch {state.epoch + 1}, step {steps}: its update left weights that are not finite; {lower}"
                    )
                state.epoch += 1
                records = [Epoch(state.epoch, state.step, "train", averages, time.perf_counter() - started, n)]
                if look:
                    looked = time.perf_counter()
                    averages = look(state.epoch)
                    seconds = time.perf_counter() - looked
                    records.append(Epoch(state.epoch, state.step, split, averages, seconds, len(look.data)))
                for each in records:
                    each.terms.update(on_look(scored, state.epoch, each.split))
            state.seconds += time.perf_counter() - started
            finite = split != "test" and held_out is not None and math.isfinite(averages["loss"])
            better = finite and (state.best_loss is None or averages["loss"] < state.best_loss)
            if better:
                state.best_loss, state.best_epoch = averages["loss"], state.epoch
                if best:
                    set_model_tensors(best, model_tensors(scored))
                elif not checkpoints:
                    kept = {name: tensor.clone() for name, tensor in model_tensors(scored).items()}
            course.note(state, averages["loss"], first=state.epoch == begins + 1)
            if not lost and state.epoch > begins and course.is_lost(state):
                lost = True
                log.warning(course.alarm(state, averages["loss"]))
            # In this order, so that a kill between any two leaves what resuming makes whole: it drops what is newer
            # than the state, and makes it again.
            if checkpoints and better:
                checkpoints.save_best(scored, state.epoch)
            on_epoch(records)
            ends = state.epoch == options.epochs or stale()
            if checkpoints and (ends or state.epoch % options.checkpoint_every == 0):
                checkpoints.save(state, models, optimizer)

    if average:
        set_model_tensors(model, model_tensors(average))
    ends_with = course.kept_epoch(state, bool(options.early_stopping))
    if best and state.best_epoch:
        set_model_tensors(model, model_tensors(best))
    elif ends_with < state.epoch:
        set_model_tensors(model, load_tensors(checkpoints.best) if checkpoints else kept)
        log.warning("the training went wrong, and ends with its best weights, those after epoch %s", ends_with)
    if folder:
        save_tensors(folder / "weights.safetensors", model_tensors(model))
    return state


@contextmanager
def _computing(models: Mapping[str, nn.Module], precision: str) -> Iterator[None]:
    """Inside, the model trains, and with its copies computes in `precision`; afterwards it is as users have it."""
    models["model"].train()
    for model in models.values():
        model.precision = torch.bfloat16 if precision == "bfloat16" else None  # type: ignore[assignment]
    try:
        yield
    finally:
        models["model"].eval()
        for model in models.values():
            model.precision = None  # type: ignore[assignment]


@torch.no_grad()
def _update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Also of what networks keep of data: the running averages of averaged weights are about the averages of theirs."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for mine, theirs in zip(average.modules(), model.modules(), strict=True):
        for name, buffer in mine._buffers.items():
            now = theirs._buffers[name]
            if buffer is None or now is None:
                continue
            if name not in mine._non_persistent_buffers_set and buffer.is_floating_point():
                buffer.lerp_(now, 1 - decay)
            else:
                buffer.copy_(now)


def _settled(model: nn.Module, objective: Objective, epochs: int) -> int:
    """The epochs after which no scheduled coefficient of the loss changes any more: those of the objective, what parts
    make of the progress, and priors that are fitted on the way. The learning rate is none of them.
    """
    schedules = schedules_of(objective).values()
    parts = [copy.deepcopy(each) for each in model.modules() if hasattr(each, "advance")]

    def coefficients(progress: float) -> list[float]:
        values = [float(schedule(progress)) for schedule in schedules]
        for part in parts:
            part.advance(progress)  # type: ignore[operator]
            values += [number for buffer in part.buffers() for number in buffer.double().flatten().tolist()]
        return values

    fits = [after for each in model.modules() for after in getattr(each, "fit_after", ())]
    return max([settled(coefficients, epochs), *(math.ceil(after * epochs) for after in fits)])
