"""Models whose weights, gradients, optimiser's state and averages lie in shards over several processes.

Fully sharded data parallelism (Zhao et al. 2023), torch's `fully_shard`: a layer's weights are gathered where it is
computed, and its gradients added up and scattered as they come. All but steps is of the whole model, which is there at
times: looks, priors that are fitted, the end.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..data.tensors import TensorSplit
from ..engine import engine_of
from ..models import VAE
from ..objectives.base import Loss, Objective, with_modules
from ..settings import in_a_call, setting, unset
from ..spec.keys import TrainingSpec
from ..system.processes import Processes, answering
from .copies import with_copies
from .dtensors import local, sharded_as
from .step import Step, Terms, few_rows, terms_of, traced, undisturbed
from .task import Task
from .weights import model_tensors, set_model_tensors

LEAST = 2**16
"""Weights of a layer from which on it has a message of its own; those of others are gathered together."""
KEY = "training.shard_parameters"
log = logging.getLogger(__name__)


def check_sharding(options: TrainingSpec, processes: int, objectives: Sequence[object] = ()) -> None:
    """`ValueError`, one line, where the weights are to be sharded and can't be: of one process, or with an opponent."""
    if not options.shard_parameters:
        return
    for key in ("only", "aggressive"):
        if getattr(options, key):
            other = f"training.{key}"
            raise ValueError(f"{setting(KEY, True)} is of all weights, and {other} of some; {unset(other)}")
    if processes == 1:
        several = (
            "torchrun --nproc-per-node 2 your_script.py" if in_a_call() else "torchrun --nproc-per-node 2 -m vaekit"
        )
        raise ValueError(
            f"{setting(KEY, True)} is of several processes, and this is one; {several} …, or {setting(KEY, False)}"
        )
    for each in objectives:
        if hasattr(each, "opponent_loss"):
            name = getattr(each, "__name__", type(each).__name__)
            raise ValueError(
                f"{setting(KEY, True)} is not for {name}, which plays against an opponent; {setting(KEY, False)}"
            )


class _Pass(nn.Module):
    """The loss of a batch as the `forward` of a module, around which FSDP does what is to be done."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Batch, progress: float) -> tuple[Tensor, Loss]:
        found = objective(traced(self.model, objective, batch), progress)
        return found.loss, found


class Shards:
    """The model of a `task` and its copies, sharded; the task's own is the whole one, whose weights are there at times.

    The copies are `models` by name, as a training state has them. A layer of `LEAST` weights or more is gathered by
    itself, where it is called; all else with the loss of a batch.
    """

    def __init__(self, task: Task, processes: Processes) -> None:
        self.task, self.processes, self.own = task, processes, task.model
        if single := [name for name, each in self.own.named_parameters() if not each.shape]:
            raise _unfit(f"{single[0]} is a number without a shape; give it the shape (1,)")
        self.layouts = [(each.shape, each.stride()) for each in self.own.parameters()]
        if (device := task.train.x.device.type) not in ("cpu", "cuda"):
            raise ValueError(
                f"{setting(KEY, True)} is for cpu and cuda, and the device is {device}; {setting(KEY, False)}"
            )
        processes.check_same({"weights": sum(each.numel() for each in self.own.parameters())})
        processes.share(model_tensors(self.own).values())
        self.layers, self.expected = self._rehearsed()
        self.passes: list[_Pass] = []
        self.models = with_copies(self.own, task.options, self._sharded)
        if engine_of(task.options.engine) != "python":
            log.warning("training steps run as Python, which is slower, since sharded weights can't be recorded")

    def _rehearsed(self) -> tuple[list[str], list[Tensor | None]]:
        """The layers that are gathered by themselves, and the gradients of a few rows. These are layers that are
        called, and give tensors: where weights are used otherwise, there is no call to gather them at.
        """
        called: dict[nn.Module, bool] = {}

        def note(layer: nn.Module, given: object, found: object) -> None:
            called[layer] = called.get(layer, True) and isinstance(found, Tensor)

        large = {
            name: each
            for name, each in self.own.named_modules()
            if sum(weight.numel() for weight in each.parameters(recurse=False)) >= LEAST
        }
        hooks = [each.register_forward_hook(note) for each in large.values()]
        weights = [each for each in self.own.parameters() if each.requires_grad]
        try:
            with undisturbed(self.own, *with_modules(self.task.objective)):
                loss, result = _Pass(self.own)(self.task.objective, self._few_rows(), 0.0)
                found = torch.autograd.grad(loss, weights, allow_unused=True)
        finally:
            for hook in hooks:
                hook.remove()
        if result.inference is not None:
            what = "is for one loss of all weights, and the objective has another for inference"
            raise ValueError(f"{setting(KEY, True)} {what}; {setting(KEY, False)}")
        return [name for name, each in large.items() if called.get(each)], [*found]

    def _few_rows(self) -> Batch:
        return self.task.train.training_batch(few_rows(self.task.train))

    def _sharded(self, model: VAE) -> VAE:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        model = copy.deepcopy(model) if model is self.own else model
        for weight in model.parameters():
            weight.data = weight.data.contiguous()  # FSDP knows no other layout
        mesh = init_device_mesh(self.task.train.x.device.type, (self.processes.count,))
        whole = _Pass(model)
        for layer in (*(model.get_submodule(name) for name in self.layers), whole):
            layer.register_forward_hook(_own_memory)
            fully_shard(layer, mesh=mesh)
        for module in whole.modules():
            if isinstance(module, FSDPModule):  # a sum, of what each weighs itself
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        self.passes.append(whole)
        return model

    def step(self, *given: Any, **told: Any) -> Step:
        """What takes steps of the model, `given` and `told` what any is after its objective."""
        return _ShardedStep(self.passes[0], self.task.objective, *given, **told)

    def rehearse(self) -> None:
        """Take the gradients of a few rows; `ValueError` where they are others than those of the whole model."""
        model = self.models["model"]
        reason = ""
        with undisturbed(model, *with_modules(self.task.objective)):
            try:
                _sum_gradients(self.passes[0], self.task.objective, self._few_rows(), 0.0, 1 / self.processes.count)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                reason = str(error).splitlines()[0]
        if reason:
            raise _unfit(reason)
        trained = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
        other = [
            (0.0 if _alike(weight.grad, expected) else 1.0)
            for (_, weight), expected in zip(trained, self.expected, strict=True)
        ]
        found = torch.tensor(other)
        self.processes.add(found)  # of its shard each knows
        for _, weight in trained:
            weight.grad = None
        self.expected = []
        if found.any():
            name = trained[int(found.argmax())][0]
            raise _unfit(f"{name} has other gradients so, as where a part uses weights outside of its layers' calls")

    @contextmanager
    def at_hand(self, name: str) -> Iterator[VAE]:
        """Inside, the task's model is whole, with the weights of the copy of that name; in all processes."""
        self.make_room()
        set_model_tensors(self.own, model_tensors(self.models[name]))
        for mine, theirs in zip(self.own.buffers(), self.models[name].buffers(), strict=True):
            mine.copy_(theirs)  # also those that are not saved
        yield self.own
        self.release()

    def make_room(self) -> None:
        """Take the memory of the whole model's weights."""
        for weight, layout in zip(self.own.parameters(), self.layouts, strict=True):
            weight.data = weight.data.new_empty(0).new_empty_strided(*layout)

    def release(self) -> None:
        """Give that memory back. Who reads the weights nevertheless finds that they are no numbers."""
        for weight in self.own.parameters():
            weight.data = weight.data.new_full((), math.nan).expand(weight.shape)


class _ShardedStep(Step):
    """Steps of a model that is sharded: gradients of parts are added up, over processes too, as they are taken."""

    def __init__(self, whole: _Pass, *given: Any, **told: Any) -> None:
        super().__init__(whole.model, *given, **told)
        self.whole, self.recordable = whole, False

    def _taken(self, index: Tensor, progress: float, data: TensorSplit | None = None, weight: float = 1.0) -> Terms:
        batch = (data or self.data).training_batch(index)
        return terms_of(_sum_gradients(self.whole, self.objective, batch, progress, weight))


def _sum_gradients(whole: _Pass, objective: Objective, batch: Batch, progress: float, weight: float) -> Loss:
    """Add the gradients of all processes' batches, times their weights, to those that the weights have."""
    with answering():
        loss, found = whole(objective, batch, progress)
        loss.backward(torch.full_like(loss, weight))
    return found


def _own_memory(layer: nn.Module, given: object, found: Any) -> Any:
    """What a layer gives in memory of its own: where it is a view, what is changed in place loses FSDP's hooks."""
    return found.clone() if isinstance(found, Tensor) and found._is_view() else found


def _unfit(reason: str) -> ValueError:
    return ValueError(f"{setting(KEY, True)} is not for this model: {reason}; {setting(KEY, False)}")


def _alike(gradient: Tensor | None, expected: Tensor | None) -> bool:
    """Whether a gradient that is sharded is the whole one that is `expected`, but for rounding."""
    if gradient is None or expected is None:
        return gradient is expected
    found, whole = local(gradient), local(sharded_as(expected.contiguous(), gradient))
    near = (found - whole).abs() <= 1e-3 * (expected.abs().max() + whole.abs())
    return bool((near | ~whole.isfinite()).all())


class ShardedGradients:
    """The gradients of `weights` that are sharded, which steps have added up already: as `Gradients`."""

    def __init__(self, weights: Sequence[Tensor], processes: Processes) -> None:
        self.weights, self.processes = weights, processes

    def begin(self) -> None:
        """Begin with the parts of another batch."""
        for weight in self.weights:
            weight.grad = None

    def add(self, weight: float) -> None:
        """Nothing: they are."""

    def finish(self) -> None:
        """Nothing: they are those of all processes."""

    @torch.no_grad()
    def cut(self, weights: Sequence[Tensor], most: float) -> Tensor:
        """The norm of the gradients of all `weights`, which is then `most` where it was more."""
        gradients = [local(weight.grad) for weight in weights if weight.grad is not None]
        square = torch.stack(torch._foreach_norm(gradients)).square().sum()
        self.processes.add(square)
        norm = square.sqrt()
        torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))  # as torch cuts those that are whole
        return norm
