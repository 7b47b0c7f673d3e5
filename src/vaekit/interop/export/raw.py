"""Programs of data as they are in a run's files: what is done to pixels before a model sees them is done inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...data.domains import Domain
from ...data.preprocessing import Preprocessing
from ...runs.run import Run
from .programs import Port, Program, Recordable

AROUND = 2
"""How many more pixels an example has than its crop, in height and in width."""
RAW = "data as they are in the files, NaN where a cell is missing"
BACK = "the mean of the data given the codes, in the range that they have in the files"
SEEN = "what the model sees of data, by the preparation that is said, NaN where a cell is missing"
MEAN_SEEN = "the mean of what the model sees of data, given the codes"
ADDED = "numbers drawn evenly from 0 to 1 by who asks, which are added to x"
COMPARED = "numbers drawn evenly from 0 to 1 by who asks: 1 where x, as a share of its range, is above"


def of_files(program: Program, run: Run) -> Recordable:
    """A program of a run's model, given data as they are in the run's files."""
    treatment, stored = run.spec.data.preprocessing, run.schema.of_files
    masks = stored.kind == "binary" and not stored.relaxed and len(run.schema.event_shape) == 3
    return Raw(program, treatment, stored, masks) if masks or treatment.described(stored) else program


def of_weights(program: Program, run: Run) -> Program:
    """A program of a run's model, given what that sees of data: it says so."""
    if run.spec.data.preprocessing.described(run.schema.of_files):
        program.inputs, program.outputs = _said(program.inputs, SEEN), _said(program.outputs, MEAN_SEEN)
    return program


def _said(ports: Iterable[Port], meaning: str) -> tuple[Port, ...]:
    """Ports, of which x is said to be that."""
    return tuple(replace(each, meaning=meaning) if each.name == "x" else each for each in ports)


class Raw(Recordable):
    """A `program` that is given data x of the domain `stored`, as they are in files, where `treatment` crops, binarises
    or dequantises what the model sees: with `uniform` numbers where that is drawn, one for each number that it sees.
    What was binarised it gives in the range of the files. Of `masks` it takes files of 0 and 255 as such of 0 and 1.
    """

    def __init__(self, program: Program, treatment: Preprocessing, stored: Domain, masks: bool) -> None:
        super().__init__()
        self.program, self.name, self.treatment, self.stored = program, program.name, treatment, stored
        self.masks = masks
        self.inputs = tuple(self._given())
        self.outputs = _said(program.outputs, BACK) if treatment.shares(stored) else program.outputs

    def _given(self) -> Iterator[Port]:
        for port in self.program.inputs:
            if port.name != "x":
                yield port
                continue
            yield replace(port, larger=self.treatment.window is not None, meaning=RAW)
            if self.treatment.draws(self.stored):
                yield Port("uniform", port.shape, port.dtype, ADDED if self.treatment.dequantize else COMPARED)

    def examples(self) -> tuple[Tensor, ...]:
        found = dict(zip((each.name for each in self.program.inputs), self.program.examples(), strict=True))
        if "x" in found:
            found["uniform"] = torch.full_like(found["x"], 0.5)
            if self.treatment.window is not None:
                found["x"] = nn.functional.pad(found["x"], (0, AROUND, 0, AROUND))
        return tuple(found[port.name] for port in self.inputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip((port.name for port in self.inputs), inputs, strict=True))
        if "x" in given:
            given["x"] = self._seen(given["x"], given.pop("uniform", None))
        made = self.program(*(given[port.name] for port in self.program.inputs))
        ports = zip(self.outputs, made, strict=True)
        return tuple(self.treatment.in_range(x, self.stored) if port.name == "x" else x for port, x in ports)

    def _seen(self, x: Tensor, uniform: Tensor | None) -> Tensor:
        if self.masks:
            x = x.clamp(max=1)
        for side, part in zip((-2, -1), self.treatment.window or (), strict=False):
            # Not as a view of `middle`, of which torch asks how it lies there, which it tells in graphs of one size.
            x = x.index_select(side, torch.arange(part) + (x.shape[side] - part) // 2)
        return torch.where(x.isnan(), x, self.treatment.treated(x, self.stored, uniform))
