"""One training step up to its gradients: as Python at first, then as a recording of it.

MNIST, 784-400-20-400-784, batches of 128, two cores: see benchmarks/grey_mnist.md for what the recording is worth.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..data.tensors import PartlyLabelled, TensorSplit
from ..distributions.moments import center
from ..distributions.validation import lacking, unvalidated
from ..engine import Recording, Use, record
from ..errors import UntrainableError
from ..models import VAE
from ..models.compatibility import check_answers
from ..models.trace import Trace
from ..modules import apart, check_registered
from ..objectives.base import (
    Loss,
    Objective,
    at_means,
    at_values,
    check_called,
    check_loss,
    leaves,
    samples_of,
    schedules_of,
    with_modules,
)
from ..seeding import seeded
from ..system.processes import Processes
from ..system.progress import working
from .held import into_training, of_inference, parts_of

log = logging.getLogger(__name__)
LOOKED = 800_000
"""Numbers of data that are looked at before the first step."""
SPREAD = 4096
"""Rows, at most, that stand for all of them."""
PRODUCTS = "products"
"""What a recording chooses by a measurement: who multiplies matrices."""


@dataclass(frozen=True)
class Terms:
    """An objective's terms for a batch: `values` (T,) of the `names`, the loss first, and those that are numbers."""

    names: tuple[str, ...]
    values: Tensor
    numbers: dict[str, float]
    scheduled: dict[str, str] = field(default_factory=dict)
    """Of a recording: which of the numbers are values of which schedule."""


class Step:
    """Loss and gradients of batches of `data`: each call leaves the gradients in the parameters and returns the terms.

    Of a run of so many steps in `total` that it pays, full batches are soon made by a recording, once it has given what
    the step as Python gives. Where the model can't be recorded, that is logged once and steps go on as Python. By the
    number of the step, so that a resumed run takes the same path, with what was `chosen` in its part before. Call
    `refresh` when Python attributes of the model may have changed.
    """

    def __init__(
        self,
        model: VAE,
        objective: Objective,
        data: TensorSplit,
        batch_size: int,
        total: int = 0,
        *,
        engine: str = "auto",
        chosen: Mapping[str, str] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.model, self.objective, self.data, self.batch_size = model, objective, data, batch_size
        self.use = Use("training steps", total, True, engine, chosen=dict(chosen or {}), lasting=1)
        self.advancing: list[Any] = [module for module in model.modules() if hasattr(module, "advance")]
        self.schedules = schedules_of(objective)
        self.parameters = list(model.parameters())
        kind, device = model.scale.dtype, data.x.device
        self.coefficients = [torch.zeros((), dtype=kind, device=device) for _ in ("progress", *self.schedules)]
        self.recording: Recording | None = None
        self.recordable = True
        self.processes = processes or Processes()

    @property
    def chosen(self) -> dict[str, str]:
        """How steps are made, to be given to the next part of the same run."""
        return dict(self.use.chosen)

    def refresh(self) -> None:
        """Record again where what a recording takes as constant has changed."""
        if self.recording and self.recording.stale():
            self.recording = None

    def __call__(
        self, index: Tensor, progress: float, number: int, data: TensorSplit | None = None, weight: float = 1.0
    ) -> Terms:
        """The terms of the rows at `index` (B,), at `progress` of the run, in its step `number`; of a batch that is not
        full, and made by other `data` then. Gradients that are added up as they are taken are times the `weight`.
        """
        full = len(index) == self.batch_size and data is None
        recorded = self.recordable and number >= self.use.starts and full
        before = _attributes(self.advancing) if recorded else []
        for module in self.advancing:
            module.advance(progress)
        if recorded:
            if _attributes(self.advancing) != before:
                self._stay_python("a part's `advance` changes more than the values of its buffers")
            elif self.recording is None:
                with working("recording steps"):
                    self._record(index, progress)
            if self.recording:
                return self._replay(self.recording, index, progress, number)
        return self._taken(index, progress, data, weight)

    def _taken(self, index: Tensor, progress: float, data: TensorSplit | None = None, weight: float = 1.0) -> Terms:
        result = self._loss(self.objective, index, progress, data)
        for parameter in self.parameters:
            parameter.grad = None
        for loss, weights in _losses(self.model, result, self.parameters):
            loss.backward(retain_graph=result.inference is not None, inputs=weights)
        return terms_of(result)

    def _loss(self, objective: Objective, index: Tensor, progress: Any, data: TensorSplit | None = None) -> Loss:
        return objective(traced(self.model, objective, (data or self.data).training_batch(index)), progress)

    def _record(self, index: Tensor, progress: float) -> None:
        self._set_coefficients(progress)
        self.trained = [parameter for parameter in self.parameters if parameter.requires_grad]
        before, self.recording = PRODUCTS in self.use.chosen, self._recorded(index)
        if not before:
            # What is faster is measured, and may be another in each process; a run that goes on knows of one.
            own = self.use.chosen.get(PRODUCTS, "")
            agreed = self.processes.told(own)
            if own and agreed and own != agreed:
                self.use.chosen[PRODUCTS] = agreed
                self.recording = self._recorded(index)
        for parameter in self.parameters:
            parameter.grad = None
        if self.recording is None:
            self.recordable = False
        elif self.terms.names != self.names:
            self._stay_python("terms of its objective are numbers that it computes from the progress")

    def _recorded(self, index: Tensor) -> Recording | None:
        return record(
            self._gradients,
            [index, *self.coefficients],
            self.use,
            reads=[self.model, self.objective],
            others=[index.flip(0).roll(1), *self.coefficients],
            python=self._gradients_by_python,
        )

    def _stay_python(self, reason: str) -> None:
        self.recording, self.recordable = None, False
        log.warning("training steps run as Python, which is slower, since they can't be recorded: %s", reason)

    def _gradients(self, index: Tensor, progress: Tensor, *values: Tensor) -> list[Tensor | None]:
        """What is recorded: the terms, and the gradients of what is trained."""
        at = dict(zip(self.schedules, values, strict=True))
        with unvalidated():
            result = self._loss(at_values(self.objective, at), index, progress)
        self.terms = terms_of(result, at)
        wanted = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        found: dict[Tensor, Tensor | None] = {}
        for loss, weights in _losses(self.model, result, wanted):
            each = torch.autograd.grad(loss, weights, retain_graph=result.inference is not None, allow_unused=True)
            found |= dict(zip(weights, each, strict=True))
        gradients = [found[weight] for weight in wanted]
        return [self.terms.values, *_own_memory(gradients, wanted, [index, progress, *values, *self.model.buffers()])]

    def _gradients_by_python(self, index: Tensor, progress: Tensor, *values: Tensor) -> list[Tensor | None]:
        with torch.enable_grad():
            terms = self._taken(index, self.progress)
        self.names = terms.names
        return [terms.values, *(parameter.grad for parameter in self.trained)]

    def _set_coefficients(self, progress: float) -> list[float]:
        self.progress = progress
        now = [progress, *(schedule(progress) for schedule in self.schedules.values())]
        for coefficient, value in zip(self.coefficients, now, strict=True):
            coefficient.fill_(value)
        return now

    def _replay(self, recording: Recording, index: Tensor, progress: float, number: int) -> Terms:
        now = self._set_coefficients(progress)
        if recording.compiles_at(number):
            with working("compiling steps"):
                recording.at(number)
        values, *gradients = recording(index, *self.coefficients)
        for parameter, gradient in zip(self.trained, gradients, strict=True):
            parameter.grad = gradient
        at = dict(zip(self.schedules, now[1:], strict=True))
        numbers = self.terms.numbers | {name: at[schedule] for name, schedule in self.terms.scheduled.items()}
        return Terms(self.terms.names, values, numbers)  # type: ignore[arg-type]


def _attributes(modules: Sequence[nn.Module]) -> list[dict[str, object]]:
    """What modules have beside tensors and modules, numbers by value and others by identity."""
    plain = (bool, int, float, str, tuple)
    return [
        {name: value if isinstance(value, plain) else id(value) for name, value in vars(module).items()}
        for each in modules
        for module in each.modules()
    ]


def rehearse(model: VAE, objective: Objective, data: TensorSplit) -> None:
    """Take the gradients of a few rows of `data`, and leave model and random streams as they are.

    Raises what the objective raises of a trace that it is not for, and `ValueError`, one line, where a part of the
    model gets no gradient at all: it would stay as it was made, and what is said of the model would be of a part that
    never learned; where its weights are not registered, a distribution lacks a method, or can't have what it is given,
    or there is no number for what is asked of the model later.
    """
    check_registered(model)
    check_called(objective)
    if not any(each.requires_grad for each in model.parameters()):
        raise UntrainableError("the model has no weights to train: it has none, or all of them are frozen")
    index = few_rows(data)
    with undisturbed(model, *with_modules(objective)):
        batch = data.training_batch(index)
        try:
            trace = traced(model, objective, batch)
            result = objective(trace, 0.0)
            check_answers(trace)
        except NotImplementedError as error:
            raise ValueError(lacking(error)) from error
        except ValueError as error:  # torch's, of values beyond a support, shows all of them
            if "\n" not in str(error):
                raise
            raise ValueError(str(error).splitlines()[0].rstrip(":")) from error
        check_loss(objective, result)
        _check_gradients(model, objective, result)
        for player in leaves(objective):
            if getattr(player, "opponent", None) is not None:
                player.opponent_loss(traced(model, player, batch, objective), 0.0)  # type: ignore[attr-defined]


def untrained(model: VAE, objective: Objective, data: TensorSplit, batch_size: int) -> float:
    """The loss of the weights as they are, over some rows of `data`: of one batch it would be known to no better than
    a table's log-likelihoods differ from row to row. Of large images fewer do, and cost more: they are `LOOKED` numbers
    in all, where that is more than a batch.
    """
    rows = min(1000, LOOKED // math.prod(data.x.shape[1:]))
    with undisturbed(model, *with_modules(objective)), torch.no_grad():
        batches = islice(data.order(batch_size), max(rows // batch_size, 1))
        losses = [objective(traced(model, objective, data.training_batch(index)), 0.0).loss for index in batches]
        return float(torch.stack(losses).mean())


def spread_rows(data: TensorSplit, batch_size: int) -> Iterator[Batch]:
    """Rows of `data` from its start to its end, at equal distances, no more than `SPREAD`, so many at a time."""
    index = np.unique(np.linspace(0, len(data) - 1, min(len(data), SPREAD)).astype(np.int64))
    return (data.rows(index[start : start + batch_size]) for start in range(0, len(index), batch_size))


def few_rows(data: TensorSplit) -> Tensor:
    """The first rows of `data`, of either kind where some show a label."""
    rows = min(len(data), 2 + (data.first if isinstance(data, PartlyLabelled) else 0))
    data.wait(slice(rows))
    return torch.arange(rows, device=data.x.device)


@contextmanager
def undisturbed(model: VAE, *others: nn.Module) -> Iterator[None]:
    """Train mode, the draws of one seed; then the model, `others` and random streams are what they were."""
    modules = [module for each in (model, *others) for module in each.modules()]
    own = [(module, name, buffer) for module in modules for name, buffer in module._buffers.items()]
    buffers = [buffer for *_, buffer in own if buffer is not None]
    modes = [(each, each.training) for each in model.modules()]
    before = [buffer.clone() for buffer in buffers]
    try:
        into_training(model)
        with seeded(0):
            yield
    finally:
        for each, training in modes:
            each.training = training
        with torch.no_grad():
            for module, name, buffer in own:
                module._buffers[name] = buffer  # another one, where a part puts one in its place
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)


def _losses(model: VAE, result: Loss, weights: Sequence[nn.Parameter]) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
    """The losses of a batch, each with those of `weights` that are to minimise it and that are trained: one for all, or
    where inference has its own, that and the other.
    """
    trained = [each for each in weights if each.requires_grad]
    inferring = set() if result.inference is None else of_inference(model)
    for loss, inferred in ((result.inference, True), (result.loss, False)):
        own = [each for each in trained if (each in inferring) is inferred]
        if loss is not None and own:
            yield loss, own


def _check_gradients(model: VAE, objective: Objective, result: Loss) -> None:
    known: set[Tensor] = set()
    for name, part in parts_of(model):
        # Those of an encoder that a prior holds, too, are the encoder's.
        own = [each for each in part.parameters() if each.requires_grad and each not in known]
        known.update(own)
        reached = any(
            found is not None
            for loss, some in _losses(model, result, own)
            if loss.requires_grad
            for found in torch.autograd.grad(loss, some, retain_graph=True, allow_unused=True)
        )
        if own and not reached:
            of = " + ".join(getattr(type(each), "__name__", "the objective") for each in leaves(objective))
            do = "freeze it, or choose another"
            if name == "classifier":
                do = "semi-supervised trains it, or the term 'classification' that is added"
            raise ValueError(f"{of} gives {name} no gradient, so that it would never be trained; {do}")


def traced(model: VAE, objective: Objective, batch: Batch, whole: Objective | None = None) -> Trace:
    """The trace of a batch that an objective wants: of its `samples`, or `at_means`, and with the latents of its
    `augment`, as if no label were seen. A part of a `whole` one is at means where that is.
    """
    means = at_means(whole or objective)
    draw = (lambda _, q: _of_one_draw(center(q))) if means else None
    trace = model.trace(batch, samples_of(objective), draw=draw)
    if means:
        trace = replace(trace, latents=tuple(replace(latent, drawn=False) for latent in trace.latents))
    augment = getattr(objective, "augment", None)
    if augment is None:
        return trace
    unlabelled = batch if trace.log_q_label is None else batch.without_y()
    with apart(model):  # running averages are of data as they are
        return replace(trace, of_augmented=model.latents(augment(unlabelled)))


def _of_one_draw(z: Tensor) -> Tensor:
    """z (B, D), or that of a q for each draw of another latent, as one draw, (1, B, D)."""
    return z if z.dim() == 3 else z.unsqueeze(0)


def _own_memory(
    gradients: Sequence[Tensor | None], parameters: Sequence[Tensor], inputs: Sequence[Tensor]
) -> list[Tensor | None]:
    """`gradients`, each laid out as its parameter in memory that is its alone: fused optimizers read it as it lies."""
    taken = {tensor.untyped_storage()._cdata for tensor in (*inputs, *parameters)}  # a recording has no addresses
    owned: list[Tensor | None] = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        kept = gradient
        if gradient is not None:
            memory = gradient.untyped_storage()._cdata
            if gradient.stride() != parameter.stride() or memory in taken:
                kept = torch.empty_like(parameter, requires_grad=False).copy_(gradient)
            taken.add(memory)
        owned.append(kept)
    return owned


def terms_of(result: Loss, scheduled: Mapping[str, Tensor] = MappingProxyType({})) -> Terms:
    """The terms of a loss, detached. Those that are the very tensors of `scheduled`, by which a recording is given the
    values of its schedules, count as numbers.
    """
    terms: dict[str, Any] = {"loss": result.loss, **result.terms}
    of = {name: at for name, value in terms.items() for at, each in scheduled.items() if value is each}
    numbers = {name: value for name, value in terms.items() if name in of or not isinstance(value, Tensor)}
    tensors = {name: value.detach() for name, value in terms.items() if name not in numbers}
    return Terms(tuple(tensors), torch.stack(list(tensors.values())), numbers, of)
