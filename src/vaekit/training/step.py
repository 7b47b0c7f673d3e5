"""One training step up to its gradients: as Python at first, then as a recording of it.

MNIST, 784-400-20-400-784, batches of 128, two cores: see benchmarks/grey_mnist.md for what the recording is worth.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from ..data.batch import Batch
from ..data.tensors import PartlyLabelled, TensorSplit
from ..engine.capture import NotCapturableError, OneLaunch, capture, python_state
from ..engine.compiling import CompilerError
from ..engine.fusing import fused
from ..engine.rewriting import ready
from ..models import VAE, Auxiliary
from ..models.trace import Trace
from ..modules import apart
from ..objectives.base import Loss, Objective, at_values, leaves, samples_of, schedules_of
from ..seeding import seeded

EAGER_STEPS = 200
"""Steps of a run before a recording pays. Counted from its start, so that a step's path, hence its bits, are fixed."""

LONG = 3000
"""Steps of a run for which compiling pays: half a second, against half a millisecond a step."""
SOON = 10
"""Steps before such a run is recorded: parts may make themselves ready in the first."""

log = logging.getLogger(__name__)


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

    After `EAGER_STEPS` steps of a run, full batches are replayed from a recording, once it has given what the step as
    Python gives. Where the model can't be recorded, that is logged once and steps go on as Python. Of a run of `LONG`
    steps in `total` it is recorded after `SOON`, with loops in C where there is a compiler. Call `refresh` when Python
    attributes of the model may have changed.
    """

    def __init__(self, model: VAE, objective: Objective, data: TensorSplit, batch_size: int, total: int = 0) -> None:
        self.model, self.objective, self.data, self.batch_size = model, objective, data, batch_size
        self.long = total >= LONG and data.x.device.type == "cpu"
        self.eager = SOON if self.long else EAGER_STEPS
        self.advancing: list[Any] = [module for module in model.modules() if hasattr(module, "advance")]
        self.schedules = schedules_of(objective)
        self.parameters = list(model.parameters())
        kind, device = model.scale.dtype, data.x.device
        self.coefficients = [torch.zeros((), dtype=kind, device=device) for _ in ("progress", *self.schedules)]
        self.recording: GraphModule | OneLaunch | None = None
        self.recordable = True

    def refresh(self) -> None:
        """Record again where what a recording takes as constant has changed."""
        if self.recording and self._constants() != self.state:
            self.recording = None

    def __call__(self, index: Tensor, progress: float, number: int) -> Terms:
        """The terms of the rows at `index` (B,), at `progress` of the run, in its step `number`."""
        recorded = number >= self.eager and len(index) == self.batch_size and self.recordable
        before = python_state(self.advancing) if recorded else []
        for module in self.advancing:
            module.advance(progress)
        if recorded:
            try:
                if python_state(self.advancing) != before:
                    raise NotCapturableError("a part's `advance` changes more than the values of its buffers")
                if self.recording is None:
                    self._record(index, progress)
                return self._replay(index, progress)
            except NotCapturableError as error:
                self.recording, self.recordable = None, False
                log.warning("training steps run as Python, which is slower, since they can't be recorded: %s", error)
        return self._taken(index, progress)

    def _taken(self, index: Tensor, progress: float) -> Terms:
        result = self._loss(self.objective, index, progress)
        for parameter in self.parameters:
            parameter.grad = None
        result.loss.backward()
        return terms_of(result)

    def _loss(self, objective: Objective, index: Tensor, progress: Any) -> Loss:
        return objective(traced(self.model, objective, self.data.training_batch(index)), progress)

    def _constants(self) -> list[object]:
        return python_state([self.model, self.objective])

    def _record(self, index: Tensor, progress: float) -> None:
        """Record the step, and compare it with itself as Python; `NotCapturableError` where they differ."""
        own = [*self.parameters, *self.model.buffers()]
        count, trained = len(self.coefficients), [p.requires_grad for p in self.parameters]
        self.trained = [parameter for parameter in self.parameters if parameter.requires_grad]

        def gradients(index: Tensor, *tensors: Tensor) -> list[Tensor | None]:
            (progress, *values), state = tensors[:count], tensors[count:]
            at = dict(zip(self.schedules, values, strict=True))
            objective = at_values(self.objective, at)
            with _in_place_of(self.model, own, state):
                result = self._loss(objective, index, progress)
            self.terms = terms_of(result, at)
            wanted = [tensor for tensor, needed in zip(state, trained, strict=False) if needed]
            found = torch.autograd.grad(result.loss, wanted, allow_unused=True)
            return [self.terms.values, *_own_memory(found, wanted, tensors)]

        state = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in own]
        self.state, self.inputs = self._constants(), [*self.coefficients, *own]
        recorded = capture(gradients, [index, *self.coefficients, *state], [self.model, self.objective])
        if self.long:
            self._record_loops(recorded, index, progress)
            if self.recording:
                return
        self.recording = ready(recorded)
        self._compare(index, progress)
        if index.is_cuda:
            self._launch_at_once(index, progress)

    def _record_loops(self, recorded: GraphModule, index: Tensor, progress: float) -> None:
        """The recording with loops in C, if they can be compiled and give the same."""
        try:
            self.recording = ready(fused(recorded))
            self._compare(index, progress)
        except (CompilerError, NotCapturableError) as error:
            self.recording, self.long = None, False
            log.warning("training steps are torch's operations, not loops in C, which are faster: %s", error)

    def _launch_at_once(self, index: Tensor, progress: float) -> None:
        """Replay the recording as one CUDA graph, if that gives the same; otherwise stay with the recording."""
        recording, buffers = self.recording, list(self.model.buffers())
        before = [buffer.clone() for buffer in buffers]
        try:
            with torch.no_grad():
                self.recording = OneLaunch(recording, index, self.inputs)  # type: ignore[arg-type]
            self._compare(index, progress)
        except RuntimeError as error:  # NotCapturableError, too
            self.recording = recording
            log.warning("training steps are launched kernel by kernel, which is slower: %s", str(error).splitlines()[0])
        finally:
            with torch.no_grad():
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)

    def _compare(self, index: Tensor, progress: float) -> None:
        """Both ways from the same draws and buffers, which are put back."""
        buffers, found = list(self.model.buffers()), []
        before = [buffer.clone() for buffer in buffers]
        for take in (self._taken, self._replay):
            with seeded(0):
                terms = take(index, progress)
            if terms.names != self.terms.names:
                raise NotCapturableError("terms of its objective are numbers that it computes from the progress")
            gradients = [torch.zeros(()) if p.grad is None else p.grad for p in self.trained]
            found.append([terms.values, *(gradient.detach().clone() for gradient in gradients)])
            with torch.no_grad():
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)
        if self._constants() != self.state:
            raise NotCapturableError("it changes Python attributes")
        tolerance = 0.1 if self.model.precision == torch.bfloat16 else 0.01
        for taken, replayed in zip(*found, strict=True):
            apart = float((taken - replayed).norm())
            if not apart <= tolerance * float(taken.norm()) + 1e-6:
                raise NotCapturableError("taken again, the step gives other numbers")

    @torch.no_grad()
    def _replay(self, index: Tensor, progress: float) -> Terms:
        now = [progress, *(schedule(progress) for schedule in self.schedules.values())]
        for coefficient, value in zip(self.coefficients, now, strict=True):
            coefficient.fill_(value)
        values, *gradients = self.recording(index, *self.inputs)  # type: ignore[misc]
        for parameter, gradient in zip(self.trained, gradients, strict=True):
            parameter.grad = gradient
        at = dict(zip(self.schedules, now[1:], strict=True))
        numbers = self.terms.numbers | {name: at[schedule] for name, schedule in self.terms.scheduled.items()}
        return Terms(self.terms.names, values, numbers)


def rehearse(model: VAE, objective: Objective, data: TensorSplit) -> None:
    """Take the gradients of a few rows of `data`, and leave model and random streams as they are.

    Raises what the objective raises of a trace that it is not for, and `ValueError` where a part of the model gets no
    gradient at all: it would stay as it was made, and what is said of the model would be of a part that never learned.
    """
    rows = min(len(data), 2 + (data.first if isinstance(data, PartlyLabelled) else 0))
    buffers, training = list(model.buffers()), model.training
    before = [buffer.clone() for buffer in buffers]
    try:
        model.train()
        with seeded(0):
            batch = data.training_batch(torch.arange(rows, device=data.x.device))
            loss = objective(traced(model, objective, batch), 0.0).loss
            _check_gradients(model, objective, loss)
            for player in leaves(objective):
                if getattr(player, "opponent", None) is not None:
                    player.opponent_loss(traced(model, player, batch), 0.0)  # type: ignore[attr-defined]
    finally:
        model.train(training)
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)


def _check_gradients(model: VAE, objective: Objective, loss: Tensor) -> None:
    known: set[Tensor] = set()
    for name, part in _parts(model):
        # Those of an encoder that a prior holds, too, are the encoder's.
        own = [each for each in part.parameters() if each.requires_grad and each not in known]
        known.update(own)
        if own and all(found is None for found in torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)):
            of = " + ".join(getattr(type(each), "__name__", "the objective") for each in leaves(objective))
            do = "freeze it, or choose another"
            if name == "classifier":
                do = "semi-supervised trains it, or the term 'classification' that is added"
            raise ValueError(f"{of} gives {name} no gradient, so that it would never be trained; {do}")


def _parts(model: VAE) -> Iterator[tuple[str, nn.Module]]:
    """The parts that a user names, those of each latent by themselves."""
    for name, part in model.named_children():
        if isinstance(part, (nn.ModuleDict, Auxiliary)):
            yield from ((f"{name}.{key}", each) for key, each in part.named_children())
        else:
            yield name, part


def traced(model: VAE, objective: Objective, batch: Batch) -> Trace:
    """The trace of a batch that an objective wants: of its `samples`, and with the latents of its `augment`, which is
    of the rows whose label is not seen.
    """
    trace = model.trace(batch, samples_of(objective))
    augment = getattr(objective, "augment", None)
    if augment is None:
        return trace
    unseen = (batch if trace.log_q_label is None else batch.without_y()).take(slice(trace.seen, None))
    with apart(model):  # running averages are of data as they are
        return replace(trace, of_augmented=model.latents(augment(unseen)))


def _own_memory(
    gradients: Sequence[Tensor | None], parameters: Sequence[Tensor], inputs: Sequence[Tensor]
) -> list[Tensor | None]:
    """`gradients`, each laid out as its parameter in memory that is its alone: fused optimizers read it as it lies."""
    taken = {tensor.untyped_storage().data_ptr() for tensor in inputs}
    owned: list[Tensor | None] = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        kept = gradient
        if gradient is not None:
            memory = gradient.untyped_storage().data_ptr()
            if gradient.stride() != parameter.stride() or memory in taken:
                kept = torch.empty_like(parameter, requires_grad=False).copy_(gradient)
            taken.add(memory)
        owned.append(kept)
    return owned


@contextmanager
def _in_place_of(model: nn.Module, own: Sequence[Tensor], others: Sequence[Tensor]) -> Iterator[None]:
    """Inside, `model` has `others` in place of its `own` parameters and buffers, wherever they are shared.

    Not `torch.func.functional_call`: it loses the gradients of a module with two parents (a VampPrior's encoder).
    """
    by_id = {id(tensor): other for tensor, other in zip(own, others, strict=True)}
    tables = [table for module in model.modules() for table in (module._parameters, module._buffers)]
    before = [dict(table) for table in tables]
    for table in tables:
        table.update({name: by_id[id(tensor)] for name, tensor in table.items() if tensor is not None})  # type: ignore[misc]
    placed = [dict(table) for table in tables]
    try:
        yield
        if any(
            table[name] is not tensor
            for table, values in zip(tables, placed, strict=True)
            for name, tensor in values.items()
        ):
            raise NotCapturableError("it puts other tensors in place of its buffers or parameters")
    finally:
        for table, values in zip(tables, before, strict=True):
            table.update(values)  # type: ignore[arg-type]


def terms_of(result: Loss, scheduled: Mapping[str, Tensor] = MappingProxyType({})) -> Terms:
    """The terms of a loss, detached. Those that are the very tensors of `scheduled`, by which a recording is given the
    values of its schedules, count as numbers.
    """
    terms: dict[str, Any] = {"loss": result.loss, **result.terms}
    of = {name: at for name, value in terms.items() for at, each in scheduled.items() if value is each}
    numbers = {name: value for name, value in terms.items() if name in of or not isinstance(value, Tensor)}
    tensors = {name: value.detach() for name, value in terms.items() if name not in numbers}
    return Terms(tuple(tensors), torch.stack(list(tensors.values())), numbers, of)
