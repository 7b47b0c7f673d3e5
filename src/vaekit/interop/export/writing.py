"""Files that other programs read: ONNX, an archive of `torch.export`, weights by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor
from torch.export import ExportedProgram

from ...errors import shown, unknown
from ...models import VAE
from ...runs.run import Run
from ...seeding import plain_tensors
from ...system.disk import refuse_no_folder, write_atomic
from ...system.extras import check_importable, needing
from ...system.progress import working
from ..exported import NOTES, files_of
from .notes import notes_of
from .programs import PROGRAMS, Port, Recordable, program
from .raw import of_files, of_weights
from .recording import quiet, recorded

FORMATS = ("onnx", "torch", "safetensors")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Written:
    """A file that was written, and of a program its inputs and outputs."""

    path: Path
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    tensors: int = 0
    """The weights of a file of them."""

    def __str__(self) -> str:
        if self.path.name == NOTES:
            return f"{self.path}: what is in the files: inputs, outputs, columns, classes"
        if not self.outputs:
            return f"{self.path}: {self.tensors} tensors by name"
        given, made = (", ".join(map(str, each)) for each in (self.inputs, self.outputs))
        return f"{self.path}: {given} -> {made}"


@dataclass(frozen=True)
class Export:
    """What an export wrote, and which programs it left out, with the reason of each."""

    written: tuple[Written, ...]
    left_out: dict[str, str] = field(default_factory=dict)


@plain_tensors()
def export(run: Run | VAE, folder: str | Path, to: str = "onnx", what: Sequence[str] | None = None) -> Export:
    """Write a run's model, or a model on the CPU, into `folder` for programs that have no vaekit.

    to     onnx: NAME.onnx for each program, for onnxruntime and others; torch: NAME.pt2, for `torch.export.load`;
           safetensors: weights.safetensors, the tensors of these programs by name
    what   of encode, decode, sample and score (`PROGRAMS`); without it all that can be made, the others `left_out`

    Each file has notes, as vaekit.json beside has them: inputs, outputs, columns and their categories. Raises
    `ValueError`, one line, for another format or program, for a program asked for that can't be made of this model, and
    where ONNX is not installed.
    """
    if to not in FORMATS:
        raise ValueError(unknown("format", to, FORMATS))
    for name in what or ():
        if name not in PROGRAMS:
            raise ValueError(unknown("program", name, PROGRAMS))
    refuse_no_folder(folder := Path(folder))
    if to == "onnx":
        with needing("an export to ONNX", "onnx and onnxscript", "onnx"):
            check_importable("onnx", "onnxscript")
    left_out: dict[str, str] = {}

    def each_of(names: Collection[str], doing: str, make: Callable[[str], _Made]) -> dict[str, _Made]:
        """What is made by name; of what can't be the reason, or an error where it was asked for."""
        found: dict[str, _Made] = {}
        with working(doing, len(names)) as step:
            for done, name in enumerate(names):
                try:
                    found[name] = make(name)
                except (ValueError, NotImplementedError) as error:
                    if what:
                        raise ValueError(f"{name}: {error}") from error
                    left_out[name] = str(error)
                step(done + 1)
        return found

    # All that is known before the work is known before the first is recorded.
    programs = each_of(dict.fromkeys(what or PROGRAMS), "making programs", lambda name: _program(run, name, to))
    graphs = each_of(programs, "recording programs", lambda name: recorded(programs[name], plain=to == "onnx"))
    made = {name: (programs[name], graph) for name, graph in graphs.items()}
    folder.mkdir(parents=True, exist_ok=True)
    if to == "safetensors":
        written = [_weights(folder, run, made)]
    else:
        write = _onnx if to == "onnx" else _archive
        noted = {name: json.dumps(notes_of(run, own)) for name, (own, _) in made.items()}
        files = each_of(made, "writing programs", lambda name: write(folder, *made[name], noted[name]))
        written, made = list(files.values()), {name: made[name] for name in files}
    notes = notes_of(run) | {"programs": {name: _program_notes(run, each) for name, (each, _) in made.items()}}
    notes |= files_of(each.path for each in written)
    write_atomic(folder / NOTES, json.dumps(notes, indent=2) + "\n")
    return Export((*written, Written(folder / NOTES)), left_out)


def _program(run: Run | VAE, name: str, to: str) -> Recordable:
    """The program called `name`, which is given data as a run's files have them; not where weights alone are kept,
    which are the model's.
    """
    if isinstance(run, VAE):
        return program(name, run)
    made = program(name, run.model, bool(run.schema.classes))
    return (of_weights if to == "safetensors" else of_files)(made, run)


def _program_notes(run: Run | VAE, own: Recordable) -> dict[str, Any]:
    notes = notes_of(run, own)
    return {key: notes[key] for key in ("inputs", "outputs", "probabilities") if key in notes}


def _archive(folder: Path, own: Recordable, exported: ExportedProgram, notes: str) -> Written:
    path = folder / f"{own.name}.pt2"

    # By a file that is open: of a path torch asks for the ending .pt2, which a temporary file has not.
    def write(place: Path) -> None:
        with place.open("wb") as file:
            torch.export.save(exported, file, extra_files={NOTES: notes})

    with quiet():
        write_atomic(path, write)
    return Written(path, own.inputs, own.outputs)


def _onnx(folder: Path, own: Recordable, exported: ExportedProgram, notes: str) -> Written:
    path = folder / f"{own.name}.onnx"
    names: dict[str, Any] = {
        "input_names": [each.name for each in own.inputs],
        "output_names": [each.name for each in own.outputs],
    }
    with quiet():
        try:
            made: Any = torch.onnx.export(exported, dynamo=True, verbose=False, **names)
        except torch.onnx.errors.OnnxExporterError as error:
            first = str(error.__cause__ or error).strip().splitlines()[0]
            raise ValueError(f"{own.name} has no form in ONNX: {shown(first)}") from error
        ports = ((*made.model.graph.inputs, *made.model.graph.outputs), (*own.inputs, *own.outputs))
        for value, port in zip(*ports, strict=True):
            for i, size in enumerate(port.sizes):
                value.shape[i] = size
        _renamed(made.model.graph)
        made.model.metadata_props["vaekit"] = notes
        made.model.producer_name = "vaekit"
        write_atomic(path, made.save)
    return Written(path, own.inputs, own.outputs)


def _renamed(graph: Any) -> None:
    """What is computed on the way, called otherwise where its name is that of an input or an output."""
    ports = {id(value): value.name for value in (*graph.inputs, *graph.outputs)}
    for i, value in enumerate(each for node in graph.all_nodes() for each in node.outputs):
        if id(value) not in ports and value.name in ports.values():
            value.name = f"{value.name}_on_the_way_{i}"


def _weights(folder: Path, run: Run | VAE, made: dict[str, tuple[Recordable, ExportedProgram]]) -> Written:
    path, tensors = folder / "weights.safetensors", dict[str, Tensor]()
    for _, exported in made.values():
        held = {**exported.state_dict, **exported.constants}
        tensors |= {name.removeprefix("model."): each for name, each in held.items() if name.startswith("model.")}
    whole = {name: each.detach().cpu().contiguous().clone() for name, each in tensors.items()}
    shapes = {name: list(each.shape) for name, each in whole.items()}
    said = {"format": "pt", "vaekit": json.dumps(notes_of(run)), "shapes": json.dumps(shapes)}
    content = save(whole, said)  # `save_file` would make a file that its owner alone can read
    write_atomic(path, lambda place: place.write_bytes(content))
    return Written(path, tensors=len(whole))
