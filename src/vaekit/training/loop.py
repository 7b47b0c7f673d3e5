"""The training loop, top to bottom."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..distributions.validation import unvalidated
from ..engine import engine_of, fuses, update
from ..errors import NonFiniteError
from ..models import VAE
from ..models.scales import measure_scales
from ..objectives.base import leaves, samples_of
from ..seeding import seeded, stream
from ..spec.building import build_schedule
from ..spec.parts import build
from ..system.devices import say_if_threads_wait_busily, threads
from ..system.interrupts import postponed
from ..system.processes import Processes, join
from . import course
from .aggressive import Turns
from .checkpoint import Checkpoints, Saved, State, check_kept, state_tensors
from .copies import computing, update_average, with_copies
from .dtensors import gathered, is_sharded, local
from .held import holding
from .meter import LEFT_OUT, Meter, steadier
from .opponents import Opponents
from .position import Position
from .prior_fitting import fit_priors
from .records import Epoch, Progress
from .sharding import ShardedGradients, Shards, check_sharding
from .skips import Skips, counted
from .step import Step, spread_rows, untrained
from .task import Task, check
from .threads import worthwhile_threads
from .together import Gradients, Part, Parts, average_buffers
from .validation import Validation
from .weights import load_tensors, model_tensors, save_tensors, set_model_tensors
from .within import Within

POLL_SECONDS = 0.25
log = logging.getLogger(__name__)


def optimize(
    task: Task,
    folder: Path | None = None,
    *,
    saved: Saved | None = None,
    on_start: Callable[[], None] = lambda: None,
    on_epoch: Callable[[list[Epoch]], None] = lambda records: None,
    on_look: Callable[[VAE, int, str], dict[str, float]] = lambda model, epoch, split: {},
    on_progress: Callable[[Progress], None] | None = None,
) -> State:
    """Train the model of `task` in place.

    With a `folder`, the whole state goes to folder/checkpoints and the weights to folder/weights.safetensors; from
    a `saved` state there it goes on to the same weights, bit for bit, as without the interruption: each epoch draws all
    that is random from the seed and its own number. `on_start` is called once all options have been checked, before
    anything is written; `on_epoch` gets each epoch's records, `on_progress` a few reports a second. `on_look` gets the
    model as it is scored after an epoch, the epoch's number and a split; what it returns joins the split's record.

    `fit` is this on data as they come, and `train` is this with a run folder. With more `epochs` than before, a resumed
    run's schedules are stretched over all of them, and it may be compiled where the shorter one was not. The bits are
    those of one device, one number of threads and one C++ compiler.

    A training that is lost by its end, as `course.is_lost` says, ends with the weights that were best on rows held out
    for validation, if there are such; so does every one with `early_stopping`.

    Started by torchrun in several processes, each takes its rows of every batch, and the first alone writes and is told
    of epochs and progress, and asked for looks; `on_start` is called in each. Resumed with as many processes it is the
    same bit for bit.

    Raises `NonFiniteError` when the loss or the weights are no finite numbers, the last good state being on disk, and
    `ValueError` where gradients are switched off.
    """
    if not torch.is_grad_enabled():
        off = "gradients are switched off here, by torch.no_grad or torch.inference_mode"
        raise ValueError(f"{off}: a training takes them; call it outside")
    processes = join()
    with processes.quiet(), holding(task.model, task.options.only):
        return _optimized(task, folder, processes, saved, on_start, _Told(on_epoch, on_look, on_progress))


@dataclass(frozen=True)
class _Told:
    """Who is told of a training, in the first of its processes."""

    on_epoch: Callable[[list[Epoch]], None] = lambda records: None
    on_look: Callable[[VAE, int, str], dict[str, float]] = lambda model, epoch, split: {}
    on_progress: Callable[[Progress], None] | None = None


def _optimized(
    task: Task,
    folder: Path | None,
    processes: Processes,
    saved: Saved | None,
    on_start: Callable[[], None],
    told: _Told,
) -> State:
    check_sharding(task.options, processes.count, list(leaves(task.objective)))
    check(task, processes.count)
    if saved:
        saved.adopt_into(task.model)
    training = Training(task, folder, processes)
    processes.check_same(training.facts)  # nothing is written before all have checked what they have
    if training.shards:
        training.shards.rehearse()
    on_start()
    training.begin(saved)
    told = told if processes.first else _Told()
    with computing({**training.models, "scored": training.scored}, task.options.precision):
        while training.goes_on():
            records = training.take_epoch(told.on_look, told.on_progress)
            training.judge(records[-1].terms["loss"])
            # In this order, so that a kill between any two leaves what resuming makes whole: it drops what is newer
            # than the state, and makes it again.
            training.save_best()
            told.on_epoch(records)
            training.save()
    training.end()
    return training.state


class Training:
    """A training under way: what it takes, and what it knows."""

    def __init__(self, task: Task, folder: Path | None, processes: Processes) -> None:
        model, options = task.model, task.options
        self.folder, self.processes = folder, processes
        self.parts = Parts(task.train, task.batch_size, processes, task.options.accumulate)
        self.task, self.options, self.begins = task, options, task.settled
        self.rate = build_schedule(options.learning_rate, task.parts)
        self.shards = Shards(task, processes) if options.shard_parameters else None
        self.models = self.shards.models if self.shards else with_copies(model, options)
        self.model = self.models["model"]
        """What takes steps."""
        self.latest = self.models.get("average", self.model)
        """What is scored and saved after an epoch."""
        self.scored = model if self.shards else self.latest
        """Where that is looked at."""
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        chosen, given = options.optimizer, {"params": self.parameters, "lr": self.rate(0.0)}
        kind = task.parts.optimizers.get(chosen.name)
        given["fused"] = fuses(kind, task.train.x.device, sharded=self.shards is not None)
        self.optimizer = build(task.parts, "optimizers", chosen.name, chosen.options, **given)
        if folder:
            check_kept(self.optimizer)
        self.turns = Turns(self.model, options.aggressive, task.total)
        self.opponents = Opponents(model, task.objective, self.parts.data, processes)
        self.gradients: Gradients | ShardedGradients = (
            ShardedGradients(self.parameters, processes)
            if self.shards
            else Gradients(self.parameters, processes, options.accumulate)
        )
        self.kept: dict[str, nn.Module] = dict(self.models)  # all that a state is of
        if len(self.opponents.modules):
            self.kept["objective"] = self.opponents.modules
        self.optimizers = {"optimizer": self.optimizer, **self.opponents.optimizers}
        self.checkpoints = Checkpoints(folder / "checkpoints") if folder and processes.first else None
        self.state = State()
        self.position: Position | None = None
        """Where in an epoch it goes on."""
        self.saved, self.improved = time.monotonic(), False
        self.best: dict[str, Tensor] = {}
        patience = options.early_stopping or 0
        # By two epochs or more: parts of few epochs, as recipes have them, are rounded up. A patience as long as a run
        # needs no schedule to end nothing.
        if patience < options.epochs < self.begins + patience - 1:
            log.warning(
                "early_stopping=%s can't end this run before its %s epochs are over: it counts from epoch %s on, where "
                "all schedules of the loss have reached their end",
                *(patience, options.epochs, self.begins),
            )

    @property
    def facts(self) -> dict[str, object]:
        """What is to be the same in all processes."""
        task, held_out = self.task, self.task.held_out
        return {
            "training rows": len(task.train),
            "rows held out": 0 if held_out is None else len(held_out),
            "steps": task.total,
            "weights": sum(each.numel() for each in self.parameters),
            "the engine": engine_of(self.options.engine),
            "the torch version": torch.__version__,
        }

    def begin(self, saved: Saved | None = None) -> None:
        """Save the untrained state, or take the saved one; and make the step."""
        task, options, processes, data = self.task, self.options, self.processes, self.parts.data
        if saved:
            saved.load(self.kept, self.optimizers)
            self.state, self.position = replace(saved.state), saved.position
            if self.checkpoints:
                self.checkpoints.drop_for(saved)
        elif self.folder:
            self.write(self.state)
        processes.wait()  # until all have read it: it is the first's to delete
        for each in self.kept.values():
            processes.share(t for t in model_tensors(each).values() if not is_sharded(t))
        self.state.watched = len(task.train if task.held_out is None else task.held_out)
        self.lost = course.is_lost(self.state)
        self.threads = worthwhile_threads(task.model, data, samples_of(task.objective), self.parts.batch_size)
        say_if_threads_wait_busily(self.threads if task.train.x.device.type == "cpu" else 1)
        told: dict[str, Any] = {"engine": options.engine, "processes": processes}
        chosen = self.state.engine
        given = data, self.parts.batch_size, task.total
        make = self.shards.step if self.shards else partial(Step, self.model, task.objective)
        self.take = make(*given, chosen=chosen, **told)
        self.update = update(self.optimizer)
        self.skips = Skips(options.skip) if options.skip else None
        self.look: Validation | None = None
        if task.held_out is not None:
            told |= {"seed": options.seed, "epochs": options.epochs}
            self.look = Validation(self.scored, task.held_out, task.objective, task.rows_at_once, **told)
            self.look.recordable &= self.shards is None  # whose weights lie elsewhere each time

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
        """All steps of an epoch, or those that are left of it, and the look after it; its records."""
        state, options, train, started = self.state, self.options, self.task.train, time.perf_counter()
        # Unvalidated: what is no number is to reach the loss, whatever distributions it comes from.
        streams = seeded(stream(options.seed, state.epoch))
        with threads(self.threads), streams, unvalidated():
            within, before = Within(self, started), state.seconds
            if self.position is None:
                with self.whole("model") as model:
                    others = [each for each in (self.model, self.latest) if each is not model]
                    fit_priors(model, others, train, state.epoch, options.epochs, options.seed, self.processes)
                    if not (state.step or self.begins or train.mask):  # fewer cells have another loss
                        loss = untrained(model, self.task.objective, self.parts.data, self.parts.batch_size)
                        state.untrained_loss = self.processes.told(loss)
            terms = self._take_steps(within, on_progress)
            self._check_weights()
            average_buffers([self.model, self.latest], self.processes)
            state.engine = self.take.chosen
            seconds, epoch = within.seconds, state.epoch + 1
            records = [Epoch(epoch, state.step, "train", terms, seconds, len(train))]
            try:
                with self.whole("average" if "average" in self.models else "model"):
                    if self.look:
                        looked = time.perf_counter()
                        terms, rows = self.look(epoch), len(self.look.data)
                        took = time.perf_counter() - looked
                        records.append(Epoch(epoch, state.step, self.task.split, terms, took, rows))
                    for each in records:
                        each.terms.update(on_look(self.scored, epoch, each.split))
            except KeyboardInterrupt:
                if not self.processes.several:
                    within.save()
                raise
            state.epoch, state.batches, self.position = epoch, 0, None
        state.seconds = before + time.perf_counter() - started
        return records

    def _take_steps(self, within: Within, on_progress: Callable[[Progress], None] | None) -> dict[str, float]:
        state, task, average, processes = self.state, self.task, self.models.get("average"), self.processes
        self.take.refresh()
        order, meter = within.begin(), within.meter
        started = polled = time.perf_counter()
        done = state.batches
        with postponed(insisting=not processes.several) as interrupt:
            for i, index in enumerate(order, start=done + 1):
                progress = state.step / task.total
                for group in self.optimizer.param_groups:
                    group["lr"] = self.rate(progress)
                self._take_step(self.parts(index), len(index), progress, meter)
                if average:
                    # At first a shorter memory: the average is to be of trained weights, not of the initial ones.
                    decay = min(self.options.ema or 0.0, (1 + state.step) / (10 + state.step))
                    update_average(average, self.model, decay)
                state.step += 1
                state.batches = i
                within.save_if_due(interrupt)
                if on_progress and time.perf_counter() - polled > POLL_SECONDS:
                    polled = time.perf_counter()
                    speed = (i - done) * task.batch_size / (polled - started)
                    found = meter.averages(state)
                    on_progress(Progress(state.epoch, self.options.epochs, i, task.steps, found, speed))
        within.note_end()
        meter.gather(processes)
        found = meter.averages(state)
        if self.skips:
            self.skips.say(found.get(LEFT_OUT, 0.0), state.epoch + 1)
        return found

    def _take_step(self, parts: Sequence[Part], rows: int, progress: float, meter: Meter) -> None:
        """A step on the `parts` of a batch of so many rows."""
        taken = []
        self.gradients.begin()
        for part in parts:
            taken.append(self.take(part.index, progress, self.state.step, part.data, part.weight))
            self.gradients.add(part.weight)
        self.gradients.finish()
        self.turns(self.state.step)
        norm = self._norm()
        skipped = self.skips is not None and norm is not None and self.skips(norm)
        if not skipped:
            self.update()
        if self.skips:
            taken = counted(taken, skipped)
        if self.opponents.players:  # beside which a batch is of one part
            taken = [self.opponents(taken[0], parts[0], progress)]
        for terms, part in zip(taken, parts, strict=True):
            meter.add(terms, rows * part.weight)

    def _norm(self) -> Tensor | None:
        """That of all gradients, which are cut to what is asked for; None where nobody asks."""
        if not (self.options.clip or self.options.skip):
            return None
        return self.gradients.cut(self.parameters, self.options.clip or math.inf)

    def _check_weights(self) -> None:
        # The last step's loss was finite, but what its update made of the weights no loss has seen yet.
        lost = (~torch.stack([local(p).isfinite().all() for p in self.parameters]).all()).float()
        self.processes.add(lost)  # of shards each process knows its own
        if bool(lost):
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
                set_model_tensors(self.models["best"], model_tensors(self.latest))
            elif not self.folder:
                self.best = {name: tensor.clone() for name, tensor in model_tensors(self.latest).items()}
        course.note(state, loss, first=state.epoch == self.begins + 1)
        if not self.lost and state.epoch > self.begins and course.is_lost(state):
            self.lost = True
            log.warning(course.alarm(state, loss))

    def save_best(self) -> None:
        """Save the weights if they are the best so far."""
        if self.folder and self.improved:
            tensors = gathered(model_tensors(self.latest), self.processes.first)
            if self.checkpoints:
                self.checkpoints.save_best(tensors, self.state.epoch)

    def save(self) -> None:
        """Save the state where it is time, or the last one."""
        due = self.state.epoch % self.options.checkpoint_every == 0
        if self.folder and (due or not self.goes_on()):
            self.write(self.state)

    def write(self, state: State, position: Position | None = None) -> None:
        """Write a state, in all processes together: the first does, with the shards of all."""
        tensors = gathered(state_tensors(self.kept, self.optimizers), self.processes.first)
        if self.checkpoints:
            self.checkpoints.save(state, tensors, position)
        self.saved = time.monotonic()

    def whole(self, name: str) -> AbstractContextManager[VAE]:
        """Inside, the model of that name with all of its weights, of which there may be shards alone."""
        return self.shards.at_hand(name) if self.shards else nullcontext(self.models[name])

    def end(self) -> None:
        """Give the model the weights that it ends with, and save them in the folder, if there is one."""
        model, state = self.task.model, self.state
        if self.shards:
            self.shards.make_room()
        if self.latest is not model:
            set_model_tensors(model, model_tensors(self.latest))
        kept = course.kept_epoch(state, bool(self.options.early_stopping))
        if "best" in self.models and state.best_epoch:
            set_model_tensors(model, model_tensors(self.models["best"]))
        elif kept < state.epoch:
            if self.checkpoints or not self.folder:
                set_model_tensors(model, load_tensors(self.checkpoints.best) if self.checkpoints else self.best)
            log.warning("the training went wrong, and ends with its best weights, those after epoch %s", kept)
        if not any(name.startswith("posteriors.") for name in model.held):
            measure_scales(model, spread_rows(self.task.train, self.task.rows_at_once))
        if self.checkpoints and self.folder:
            save_tensors(self.folder / "weights.safetensors", model_tensors(model))
        self.processes.share(model_tensors(model).values())
