"""Where in an epoch a training is: what was drawn and counted there, from which it goes on as if it had never ended."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RunError
from ..system.disk import finite
from ..system.processes import Processes
from .meter import Meter
from .weights import below, model_tensors

ORDER, STREAM, DEVICE, METER, BUFFER = "order", "stream", "device stream", "meter", "buffer"
"""The tensors of a position."""


@dataclass(frozen=True)
class Position:
    """A training after some batches of an epoch, in each of its processes.

    `order` is the state of torch's generator that the order of the epoch's rows was drawn from. Of P processes
    `streams` (P, …) are those of their generators by then, `device_streams` those of their devices', if these have
    their own, and `meters` (P, …) what they have added up of the `names` and `numbers` of terms. `buffers` are those of
    other processes that differ from the first's, which are among its models' tensors. `updates` is how often the
    weights were changed in this epoch, `seconds` how long it took so far.
    """

    order: Tensor
    streams: Tensor
    meters: Tensor
    device_streams: Tensor | None = None
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    updates: int = 0
    seconds: float = 0.0

    @classmethod
    def now(
        cls,
        order: Tensor,
        meter: Meter,
        models: Mapping[str, nn.Module],
        processes: Processes,
        updates: int,
        seconds: float,
    ) -> Position:
        """That of a training at this moment; called in all of its processes."""
        device = meter.device
        streams = torch.stack(processes.gathered(torch.get_rng_state()))
        of_device = None
        if device.type != "cpu":
            of_device = torch.stack(processes.gathered(torch.get_device_module(device.type).get_rng_state()))
        meters = torch.stack(processes.gathered(meter.state))
        buffers: dict[str, Tensor] = {}
        for name, own in _buffers(models) if processes.several else ():
            found = processes.gathered(own)
            differ = {rank: each for rank, each in enumerate(found) if not torch.equal(each, found[0])}
            buffers |= {f"{rank}/{name}": each for rank, each in differ.items()}
        return cls(order, streams, meters, of_device, buffers, meter.names, meter.numbers, updates, seconds)

    def go_on(self, meter: Meter, models: Mapping[str, nn.Module], processes: Processes) -> bool:
        """Let generators, sums and buffers be what they were; False where there were more or fewer processes: of these
        the sums alone are taken, by the first.
        """
        if len(self.streams) != processes.count:
            meter.restore_sums(self.meters if processes.first else self.meters[:0], self.names, self.numbers)
            return False
        torch.set_rng_state(self.streams[processes.rank].clone())
        if self.device_streams is not None and meter.device.type != "cpu":
            torch.get_device_module(meter.device.type).set_rng_state(self.device_streams[processes.rank].clone())
        meter.restore(self.meters[processes.rank], self.names, self.numbers)
        mine = below(self.buffers, str(processes.rank))
        for name, own in _buffers(models):
            if (found := mine.get(name)) is not None:
                own.copy_(found)
        return True

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What a file has of it as tensors."""
        found = {ORDER: self.order, STREAM: self.streams, METER: self.meters}
        if self.device_streams is not None:
            found[DEVICE] = self.device_streams
        return found | {f"{BUFFER}/{name}": each for name, each in self.buffers.items()}

    @property
    def text(self) -> str:
        """What a file has of it as text."""
        known = {"names": self.names, "numbers": self.numbers, "updates": self.updates, "seconds": self.seconds}
        return json.dumps(finite(known))

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], text: str, path: object) -> Position:
        """That of a file; `RunError` where it is none."""
        try:
            values: dict[str, Any] = json.loads(text)
            names, numbers = tuple(map(str, values["names"])), dict(values["numbers"])
            own = {str(name): math.nan if each is None else float(each) for name, each in numbers.items()}
            found = cls(
                tensors[ORDER].clone(),
                tensors[STREAM],
                tensors[METER],
                tensors.get(DEVICE),
                below(tensors, BUFFER),
                names,
                own,
                int(values["updates"]),
                float(values["seconds"]),
            )
            for each in (found.order, *found.streams):
                torch.Generator().set_state(each.clone())  # torch crashes on memory that is not aligned, as a file's
            for meter in found.meters:
                Meter(torch.device("cpu")).restore(meter, names, own)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(f"{path} does not say where in an epoch it is ({reason}); restore it") from None
        return found


def _buffers(models: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """What models keep beside their weights, of what is saved of them, by name."""
    for prefix, model in models.items():
        weights = {name for name, _ in model.named_parameters()}
        for name, tensor in model_tensors(model).items():
            if name not in weights:
                yield f"{prefix}/{name}", tensor
