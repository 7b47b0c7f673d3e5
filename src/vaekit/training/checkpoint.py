"""Weights and training states as safetensors files that are known to be what was written.

A file's metadata have a SHA-256 of all that is in it, which is checked whenever it is read; those of the first version
have none, and are taken as they are. No code runs from them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import RunError, shown
from ..system.disk import check_regular, refuse_links, write_atomic

log = logging.getLogger(__name__)

_T = TypeVar("_T")
KEEP = 2
"""How many training states a run keeps: the newest, and the one before in case the disk lost the newest."""
SUM = "sha256"
METADATA = frozenset(["epoch", "state", "format", SUM])
"""What the metadata of a file may have; others would be one of these with a wrong letter."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str] | None = None) -> None:
    """Write named tensors, and what is `said` in the metadata, as one safetensors file with its sum, atomically."""
    host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    known = dict(said or {})
    digest = _digest(known)
    for name in sorted(host):
        _add(digest, name, host[name])
    # Not `save_file`, which goes through a temporary file of its own that a kill would leave behind.
    content = save(host, known | {SUM: digest.hexdigest()})
    head, end = _sorted_head(content)
    parts = head, memoryview(content)[end:]

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.writelines(parts)

    write_atomic(path, write)


def _sorted_head(content: bytes) -> tuple[bytes, int]:
    """The head of a safetensors file, its metadata in their order, and its end: the library's is another each time."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text, end


def load_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file, or those below a prefix, on the CPU.

    Raises `RunError`, one line, if it is not one, or if what is in it is not what was written.
    """
    tensors = {}
    with _opened(path) as file:
        said = _metadata(file, path)
        written = said.pop(SUM, None)
        digest = _digest(said)
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name)
            if written is not None:
                _add(digest, name, tensor)
            if name.startswith(f"{prefix}/" if prefix else ""):
                tensors[name] = tensor
        if written is not None and written != digest.hexdigest():
            raise RunError(f"{path} is damaged: its content is not what was written, by its SHA-256; restore it")
    return _below(tensors, prefix) if prefix else tensors


def metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors."""
    with _opened(path) as file:
        return _metadata(file, path)


def _digest(said: Mapping[str, str]) -> Any:
    return hashlib.sha256(json.dumps(sorted(said.items())).encode())


def _add(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)


def _metadata(file: Any, path: Path) -> dict[str, str]:
    found = dict(file.metadata() or {})
    if others := sorted(found.keys() - METADATA):
        raise RunError(f"{path} is damaged: its metadata have {shown(others[0])}, which nothing writes; restore it")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise RunError(f"{path} is not there") from None
    except RunError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RunError(f"{path} is no whole safetensors file: {reason}; restore it") from None


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers by name, one that is shared between parts (an encoder in a VampPrior) once."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors


@dataclass(frozen=True)
class Kind:
    """The shape and the type of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Kind:
        """That of a tensor."""
        return cls(tuple(tensor.shape), tensor.dtype)

    def __str__(self) -> str:
        return f"shape {self.shape} and type {str(self.dtype).removeprefix('torch.')}"


def tensor_kinds(path: Path, prefix: str = "") -> dict[str, Kind]:
    """The kinds of the tensors in a safetensors file, or of those below a prefix, from its header alone."""
    with _opened(path) as file:
        kinds = {}
        for name in file.keys():  # noqa: SIM118
            each = file.get_slice(name)
            kinds[name] = Kind(tuple(each.get_shape()), _TYPES.get(each.get_dtype(), torch.complex32))
    return _below(kinds, prefix) if prefix else kinds


_TYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
}
"""Types by their names in a header; no model has any other."""


def adopt(model: nn.Module, names: Collection[str]) -> None:
    """Let parts that have changed since runs were made with them, which have `adopt(names)`, become what tensors of
    these names are of.
    """
    for path, module in model.named_modules():
        if hasattr(module, "adopt"):
            module.adopt(_below(dict.fromkeys(names), path, ".").keys() if path else names)


def check_kinds(model: nn.Module, kinds: Mapping[str, Kind], source: object) -> None:
    """`RunError`, one line, where names, shapes or types in `source` differ from the model's, once it has adopted
    them.
    """
    adopt(model, kinds)
    own = {name: Kind.of(tensor) for name, tensor in model_tensors(model).items()}
    if missing := [name for name in own if name not in kinds]:
        raise RunError(f"{source} lack {missing[0]!r}, which the model of the spec has ({len(missing)} missing in all)")
    if extra := [name for name in kinds if name not in own]:
        which = f"{shown(extra[0])}, which the model of the spec lacks"
        raise RunError(f"{source} have {which} ({len(extra)} too many in all)")
    for name, kind in own.items():
        for what, its, found in (("shape", kind.shape, kinds[name].shape), ("type", kind.dtype, kinds[name].dtype)):
            if its != found:
                raise RunError(f"{source} have {name!r} of {what} {found}, the model of the spec {its}")


def check_finite(model: nn.Module, source: object) -> None:
    """`RunError`, one line, where a weight is no finite number: no training saves such."""
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise RunError(f"{source} have numbers in {name!r} that are not finite; restore them")


@torch.no_grad()
def set_model_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: object = "the weights") -> None:
    """Copy `tensors` into the model; `RunError`, one line, where names, shapes or types differ from the model's."""
    check_kinds(model, {name: Kind.of(tensor) for name, tensor in tensors.items()}, source)
    for name, tensor in model_tensors(model).items():
        tensor.copy_(tensors[name])


@dataclass
class State:
    """What the training loop knows beside its tensors. `epoch` epochs and `step` steps are done.

    `best_loss` and `best_epoch` are those of rows held out for validation. Of the loss that is watched, theirs or else
    that of test or training rows: that of the untrained weights, of the first epoch that counts, the lowest with its
    epoch, and the last; None what there isn't, or is no finite number.
    """

    epoch: int = 0
    step: int = 0
    best_loss: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    untrained_loss: float | None = None
    first_loss: float | None = None
    lowest_loss: float | None = None
    lowest_epoch: int = 0
    last_loss: float | None = None


class Checkpoints:
    """The training states of one run, `folder`/epoch-*.safetensors, and its best weights, `folder`/best.safetensors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    def all(self) -> list[Path]:
        """The saved states, oldest first."""
        epochs = {path.stem.removeprefix("epoch-"): path for path in self.folder.glob("epoch-*.safetensors")}
        return [epochs[epoch] for epoch in sorted(filter(str.isdecimal, epochs), key=int)]

    def newest(self, say: Callable[[str], object] = lambda reason: None) -> tuple[Path, State] | None:
        """The newest saved state that is whole, and its file; `say` is told why those after it are not."""
        for path in reversed(self.all()):
            try:
                return path, read_state(path)
            except RunError as error:
                say(f"{error}; the state before it is taken")
        return None

    def weights(self) -> tuple[Path, str]:
        """Where the newest weights are: a state's file and what their names begin with (averaged ones if any)."""
        if (found := self.newest(log.warning)) is None:
            raise RunError(f"{self.folder} has no training state that is whole")
        averaged = any(name.startswith("average/") for name in tensor_kinds(found[0]))
        return found[0], "average" if averaged else "model"

    def save(
        self, state: State, models: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        """Write the whole training state, then drop all but the newest `KEEP`."""
        self._make_folder()
        tensors = {
            f"{prefix}/{name}": t for prefix, model in models.items() for name, t in model_tensors(model).items()
        }
        for name, optimizer in optimizers.items():
            for index, values in optimizer.state_dict()["state"].items():
                kept = {key: torch.as_tensor(value) for key, value in values.items() if value is not None}
                tensors |= {f"{name}/{index}/{key}": value for key, value in kept.items()}
        save_tensors(
            self.folder / f"epoch-{state.epoch:06d}.safetensors", tensors, {"state": json.dumps(asdict(state))}
        )
        self._drop_old(self.all())

    def _drop_old(self, states: Sequence[Path]) -> None:
        for old in states[:-KEEP]:
            if not old.is_dir():
                old.unlink()

    def save_best(self, model: nn.Module, epoch: int) -> None:
        """Write the weights that are the best so far, after `epoch` epochs."""
        self._make_folder()
        save_tensors(self.best, model_tensors(model), {"epoch": str(epoch)})

    def _make_folder(self) -> None:
        refuse_links([self.folder])
        self.folder.mkdir(parents=True, exist_ok=True)

    def adopt_into(self, model: nn.Module) -> None:
        """Let a model become what the newest state is of, before an optimizer is made of its parameters."""
        if (found := self.newest()) is not None:
            adopt(model, tensor_kinds(found[0], "model").keys())

    def load(self, models: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]) -> State:
        """Set models and optimizers to the newest state that is whole, and return it."""
        found = self.newest(log.warning)
        if found is None:
            raise RunError(f"{self.folder} has no training state that is whole, to resume from")
        path, state = found
        best = state.epoch
        with suppress(RunError):
            best = _count(metadata(self.best).get("epoch", ""), state.epoch)
        if best > state.epoch:
            self.best.unlink()
        tensors = load_tensors(path)
        if others := [name for name in tensors if name.split("/")[0] not in {*models, *optimizers}]:
            raise RunError(f"{path} has {shown(others[0])}, which a state of this training lacks")
        for prefix, model in models.items():
            set_model_tensors(model, _below(tensors, prefix), f"{path}: the tensors of {prefix!r}")
            check_finite(model, f"{path}: the tensors of {prefix!r}")
        for name, optimizer in optimizers.items():
            values = _checked(_below(tensors, name), optimizer, path)
            optimizer.load_state_dict(optimizer.state_dict() | {"state": values})
        states = self.all()
        self._drop_old(states[: states.index(path) + 1])  # who is killed when the last one has its name drops none
        return state


def read_state(path: Path) -> State:
    """What the training state in a file says beside its tensors; `RunError` where the file is not whole."""
    text = metadata(path).get("state")
    load_tensors(path, "none of them")  # for the sum alone
    try:
        values = json.loads(text or "")
        state = State(**values)
    except (ValueError, TypeError, RecursionError):
        raise RunError(f"{path} has no training state in its metadata; restore it") from None
    for field in fields(State):
        value, default = getattr(state, field.name), field.default
        given = math.isfinite(value) if type(value) is float else type(value) is int and abs(value) < 2**63
        if isinstance(default, int) and not (type(value) is int and given and value >= 0):
            raise RunError(f"{path} says {field.name} is {shown(value)}; a number from 0 on is needed: restore it")
        if (default is None or isinstance(default, float)) and not (given or value is None is default):
            raise RunError(f"{path} says {field.name} is {shown(value)}; a number is needed: restore it")
    if state.epoch != _count(path.stem.removeprefix("epoch-"), -1):
        raise RunError(f"{path} holds the state of epoch {state.epoch}; give it back its name")
    return state


def _count(text: str, otherwise: int) -> int:
    """The number from 0 on that a text is."""
    return int(text) if text.isdecimal() and len(text) < 20 else otherwise


def _checked(
    values: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, path: Path
) -> dict[int, dict[str, Tensor]]:
    """The state of `optimizer` from its tensors "index/name"; `RunError` unless it is of its parameters.

    Updates write into these tensors, of which they take for granted that each has the numbers of its parameter.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    usual = _usual_state(optimizer)
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in values.items():
        number, _, name = key.partition("/")
        index = _count(number, len(parameters))
        if index >= len(parameters) or number != str(index) or not name:
            raise RunError(f"{path}: {shown(key)} is no state of the optimizer's {len(parameters)} tensors; restore it")
        needed = usual[index].get(name)
        # An optimizer of one's own may keep more after more steps.
        fits = Kind.of(tensor) == needed if needed else tuple(tensor.shape) in {(), tuple(parameters[index].shape)}
        if not fits:
            found = f"{path}: {shown(key)} of the optimizer has {Kind.of(tensor)}"
            raise RunError(f"{found}; needed: {needed or f'shape {tuple(parameters[index].shape)}'}")
        state.setdefault(index, {})[name] = tensor.clone()  # not memory of the file's
    for index, has in state.items():
        if lacks := sorted(usual[index].keys() - has.keys()):
            raise RunError(f"{path}: the optimizer's state of tensor {index} lacks {lacks[0]!r}; restore it")
    return state


def _usual_state(optimizer: torch.optim.Optimizer) -> list[dict[str, Kind]]:
    """What `optimizer` keeps of each parameter after a step, by a step of its copy."""
    trial = copy.deepcopy(optimizer)
    parameters = [p for group in trial.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    trial.step()
    return [
        {name: Kind.of(torch.as_tensor(value)) for name, value in trial.state.get(p, {}).items() if value is not None}
        for p in parameters
    ]


def _below(values: Mapping[str, _T], prefix: str, by: str = "/") -> dict[str, _T]:
    lead = prefix + by
    return {name.removeprefix(lead): value for name, value in values.items() if name.startswith(lead)}
