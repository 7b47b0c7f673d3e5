"""The training loop, top to bottom."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..distributions.validation import unvalidated
from ..engine import fuses, update
from ..errors import NonFiniteError
from ..models import VAE
from ..objectives.base import samples_of
from ..seeding import seeded, stream
from ..spec.building import build_schedule
from ..spec.parts import build
from ..system.devices import say_if_threads_wait_busily, threads
from . import course
from .checkpoint import Checkpoints, State
from .copies import computing, update_average, with_copies
from .meter import Meter, steadier
from .opponents import Opponents
from .prior_fitting import fit_priors
from .records import Epoch, Progress
from .step import Step, untrained
from .task import Task, check
from .threads import worthwhile_threads
from .validation import Validation
from .weights import load_tensors, model_tensors, save_tensors, set_model_tensors

POLL_SECONDS = 0.25
log = logging.getLogger(__name__)


def optimize(
    task: Task,
    folder: Path | None = None,
    *,
    resume: bool = False,
    on_start: Callable[[], None] = lambda: None,
    on_epoch: Callable[[list[Epoch]], None] = lambda records: None,
    on_look: Callable[[VAE, int, str], dict[str, float]] = lambda model, epoch, split: {},
    on_progress: Callable[[Progress], None] | None = None,
) -> State:
    """Train the model of `task` in place.

    With a `folder`, the whole state goes to folder/checkpoints and the weights to folder/weights.safetensors; with
    `resume` it goes on from there, to the same weights, bit for bit, as without the interruption: each epoch draws all
    that is random from the seed and its own number. `on_start` is called once all options have been checked, before
    anything is written; `on_epoch` gets each epoch's records, `on_progress` a few reports a second. `on_look` gets the
    model as it is scored after an epoch, the epoch's number and a split; what it returns joins the split's record.

    `fit` is this on data as they come, and `train` is this with a run folder. With more `epochs` than before, a resumed
    run's schedules are stretched over all of them, and it may be compiled where the shorter one was not. The bits are
    those of one device, one number of threads and one C++ compiler.

    A training that is lost by its end, as `course.is_lost` says, ends with the weights that were best on rows held out
    for validation, if there are such; so does every one with `early_stopping`.

    Raises `NonFiniteError` when the loss or the weights are no finite numbers, the last good state being on disk.
    """
    check(task)
    if folder and resume:
        Checkpoints(folder / "checkpoints").adopt_into(task.model)
    training = _Training(task, folder)
    on_start()
    training.begin(resume)
    with computing(training.models, task.options.precision):
        while training.goes_on():
            records = training.take_epoch(on_look, on_progress)
            training.judge(records[-1].terms["loss"])
            # In this order, so that a kill between any two leaves what resuming makes whole: it drops what is newer
            # than the state, and makes it again.
            training.save_best()
            on_epoch(records)
            training.save()
    training.end(folder)
    return training.state


class _Training:
    """A training under way: what it takes, and what it knows."""

    def __init__(self, task: Task, folder: Path | None) -> None:
        model, options = task.model, task.options
        self.task, self.model, self.options, self.begins = task, model, options, task.settled
        self.rate = build_schedule(options.learning_rate, task.parts)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        chosen, given = options.optimizer, {"params": self.parameters, "lr": self.rate(0.0)}
        given["fused"] = fuses(task.parts.optimizers.get(chosen.name), task.train.x.device)
        self.optimizer = build(task.parts, "optimizers", chosen.name, chosen.options, **given)
        self.models = with_copies(model, options)
        self.opponents = Opponents(model, task.objective, task.train)
        self.kept: dict[str, nn.Module] = dict(self.models)  # all that a state is of
        if len(self.opponents.modules):
            self.kept["objective"] = self.opponents.modules
        self.optimizers = {"optimizer": self.optimizer, **self.opponents.optimizers}
        self.scored = self.models.get("average", model)
        self.checkpoints = Checkpoints(folder / "checkpoints") if folder else None
        self.state = State()
        self.improved = False
        self.best: dict[str, Tensor] = {}
        patience = options.early_stopping or 0
        if patience and 0 < self.begins >= options.epochs - patience:
            log.warning(
                "early_stopping=%s can't end this run before its %s epochs are over: it counts from epoch %s on, where "
                "all schedules of the loss have reached their end",
                *(patience, options.epochs, self.begins),
            )

    def begin(self, resume: bool) -> None:
        """Save the untrained state, or take the saved one; and make the step."""
        task, options = self.task, self.options
        if self.checkpoints and resume:
            self.state = self.checkpoints.load(self.kept, self.optimizers)
        elif self.checkpoints:
            self.checkpoints.save(self.state, self.kept, self.optimizers)
        self.lost = course.is_lost(self.state)
        self.threads = worthwhile_threads(self.model, task.train, samples_of(task.objective), task.batch_size)
        say_if_threads_wait_busily(self.threads if task.train.x.device.type == "cpu" else 1)
        told: dict[str, Any] = {"engine": options.engine, "chosen": self.state.engine}
        self.take = Step(self.model, task.objective, task.train, task.batch_size, task.total, **told)
        self.update = update(self.optimizer)
        self.look: Validation | None = None
        if task.held_out is not None:
            told = {"seed": options.seed, "epochs": options.epochs, "engine": options.engine}
            self.look = Validation(self.scored, task.held_out, task.objective, task.batch_size, **told)

    def goes_on(self) -> bool:
        """Whether there are epochs left to take."""
        patience, state = self.options.early_stopping, self.state
        stale = patience is not None and state.epoch - max(state.best_epoch, self.begins) >= patience
        return state.epoch < self.options.epochs and not stale

    def take_epoch(
        self,
        on_look: Callable[[VAE, int, str], dict[str, float]],
        on_progress: Callable[[Progress], None] | None,
    ) -> list[Epoch]:
        """All steps of an epoch, and the look after it; its records."""
        state, options, train, started = self.state, self.options, self.task.train, time.perf_counter()
        # Unvalidated: what is no number is to reach the loss, whatever distributions it comes from.
        streams = seeded(stream(options.seed, state.epoch))
        with threads(self.threads), streams, unvalidated():
            fit_priors(self.models, train, state.epoch, options.epochs, options.seed)
            if not (state.step or self.begins or train.mask):  # fewer cells have another loss
                state.untrained_loss = untrained(self.model, self.task.objective, train, self.task.batch_size)
            terms = self._take_steps(on_progress)
            self._check_weights()
            state.epoch += 1
            state.engine = self.take.chosen
            seconds = time.perf_counter() - started
            records = [Epoch(state.epoch, state.step, "train", terms, seconds, len(train))]
            if self.look:
                looked = time.perf_counter()
                terms, rows = self.look(state.epoch), len(self.look.data)
                seconds = time.perf_counter() - looked
                records.append(Epoch(state.epoch, state.step, self.task.split, terms, seconds, rows))
            for each in records:
                each.terms.update(on_look(self.scored, state.epoch, each.split))
        state.seconds += time.perf_counter() - started
        return records

    def _take_steps(self, on_progress: Callable[[Progress], None] | None) -> dict[str, float]:
        state, task, average = self.state, self.task, self.models.get("average")
        meter = Meter(task.train.x.device)
        self.take.refresh()
        self.update.refresh()
        started = polled = time.perf_counter()
        for i, index in enumerate(task.train.order(task.batch_size), start=1):
            progress = state.step / task.total
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(progress)
            terms = self.take(index, progress, state.step)
            if self.options.clip:
                nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
            self.update()
            if self.opponents.players:
                terms = self.opponents(terms, index, progress)
            if average:
                # At first a shorter memory: the average is to be of trained weights, not of the initial ones.
                update_average(average, self.model, min(self.options.ema or 0.0, (1 + state.step) / (10 + state.step)))
            meter.add(terms, len(index))
            state.step += 1
            if on_progress and time.perf_counter() - polled > POLL_SECONDS:
                polled = time.perf_counter()
                speed = i * task.batch_size / (polled - started)
                found = meter.averages(state)
                on_progress(Progress(state.epoch, self.options.epochs, i, task.steps, found, speed))
        return meter.averages(state)

    def _check_weights(self) -> None:
        # The last step's loss was finite, but what its update made of the weights no loss has seen yet.
        if not bool(torch.stack([p.isfinite().all() for p in self.parameters]).all()):
            last = f"epoch {self.state.epoch + 1}, step {self.task.steps}"
            raise NonFiniteError(f"{last}: its update left weights that are not finite; {steadier()}")

    def judge(self, loss: float) -> None:
        """Whether the weights are the best so far by the watched loss, and whether the training is lost by now."""
        state = self.state
        finite = self.task.chooses and math.isfinite(loss)
        self.improved = finite and (state.best_loss is None or loss < state.best_loss)
        if self.improved:
            state.best_loss, state.best_epoch = loss, state.epoch
            if "best" in self.models:
                set_model_tensors(self.models["best"], model_tensors(self.scored))
            elif not self.checkpoints:
                self.best = {name: tensor.clone() for name, tensor in model_tensors(self.scored).items()}
        course.note(state, loss, first=state.epoch == self.begins + 1)
        if not self.lost and state.epoch > self.begins and course.is_lost(state):
            self.lost = True
            log.warning(course.alarm(state, loss))

    def save_best(self) -> None:
        """Save the weights if they are the best so far."""
        if self.checkpoints and self.improved:
            self.checkpoints.save_best(self.scored, self.state.epoch)

    def save(self) -> None:
        """Save the state where it is time, or the last one."""
        due = self.state.epoch % self.options.checkpoint_every == 0
        if self.checkpoints and (due or not self.goes_on()):
            self.checkpoints.save(self.state, self.kept, self.optimizers)

    def end(self, folder: Path | None) -> None:
        """Give the model the weights that it ends with, and save them in the `folder`."""
        model, state = self.model, self.state
        if "average" in self.models:
            set_model_tensors(model, model_tensors(self.models["average"]))
        kept = course.kept_epoch(state, bool(self.options.early_stopping))
        if "best" in self.models and state.best_epoch:
            set_model_tensors(model, model_tensors(self.models["best"]))
        elif kept < state.epoch:
            set_model_tensors(model, load_tensors(self.checkpoints.best) if self.checkpoints else self.best)
            log.warning("the training went wrong, and ends with its best weights, those after epoch %s", kept)
        if folder:
            save_tensors(folder / "weights.safetensors", model_tensors(model))
