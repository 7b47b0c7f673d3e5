"""Files that are whole or not there: every write goes to a temporary name beside its target, is flushed, then renamed.

Tensors are safetensors, everything else JSON; no code runs from either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .errors import RunError

_T = TypeVar("_T")
KEEP = 2
"""How many training states a run keeps: the newest, and the one before in case the disk lost the newest."""


def write_atomic(path: Path, write: Callable[[Path], object] | str) -> None:
    """Make `path` the text given, or what `write` puts at the temporary path that it gets; all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if isinstance(write, str):
            temporary.write_text(write, encoding="utf-8")
        else:
            write(temporary)
        with open(temporary, "r+b") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        # The name that the user knows, not that of the temporary file.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def drop_temporaries(folder: Path) -> None:
    """Delete what kills in the middle of `write_atomic` have left in `folder` and below."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A rename is on disk only once its folder is. Windows neither needs nor allows it.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as one safetensors file, atomically."""
    host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not `save_file`, which goes through a temporary file of its own that a kill would leave behind.
    content = save(host, dict(metadata or {}))
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def load_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file, or those below a prefix, on the CPU; `RunError` if it is not one."""
    with _opened(path) as file:
        names = [name for name in file.keys() if name.startswith(f"{prefix}/" if prefix else "")]  # noqa: SIM118
        tensors = {name: file.get_tensor(name) for name in names}
    return _below(tensors, prefix) if prefix else tensors


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise RunError(f"{path} is not there") from None
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is no whole safetensors file: {str(error).splitlines()[0]}") from None


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers by name, one that is shared between parts (an encoder in a VampPrior) once."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors


def tensor_shapes(path: Path, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, or of those below a prefix, from its header alone."""
    with _opened(path) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return _below(shapes, prefix) if prefix else shapes


def check_shapes(model: nn.Module, shapes: Mapping[str, tuple[int, ...]], source: object) -> None:
    """`RunError`, one line, where names or shapes in `source` differ from the model's."""
    own = {name: tuple(tensor.shape) for name, tensor in model_tensors(model).items()}
    if missing := [name for name in own if name not in shapes]:
        raise RunError(f"{source} lack {missing[0]!r}, which the model of the spec has ({len(missing)} missing in all)")
    if extra := [name for name in shapes if name not in own]:
        raise RunError(f"{source} have {extra[0]!r}, which the model of the spec lacks ({len(extra)} too many in all)")
    for name, shape in own.items():
        if shape != shapes[name]:
            raise RunError(f"{source} have {name!r} of shape {shapes[name]}, the model of the spec {shape}")


@torch.no_grad()
def set_model_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: object = "the weights") -> None:
    """Copy `tensors` into the model; `RunError`, one line, where names or shapes differ from the model's."""
    check_shapes(model, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    for name, tensor in model_tensors(model).items():
        tensor.copy_(tensors[name])


@dataclass
class State:
    """What the training loop knows beside its tensors. `epoch` epochs and `step` steps are done."""

    epoch: int = 0
    step: int = 0
    best_loss: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0


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

    def newest(self) -> tuple[Path, State] | None:
        """The newest saved state that is whole, and its file."""
        for path in reversed(self.all()):
            with suppress(RunError, KeyError, ValueError, TypeError), _opened(path) as file:
                return path, State(**json.loads(file.metadata()["state"]))
        return None

    def weights(self) -> tuple[Path, str]:
        """Where the newest weights are: a state's file and what their names begin with (averaged ones if any)."""
        if (found := self.newest()) is None:
            raise RunError(f"{self.folder} has no training state")
        averaged = any(name.startswith("average/") for name in tensor_shapes(found[0]))
        return found[0], "average" if averaged else "model"

    def save(self, state: State, models: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Write the whole training state, then drop all but the newest `KEEP`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{prefix}/{name}": t for prefix, model in models.items() for name, t in model_tensors(model).items()
        }
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer/{index}/{key}": torch.as_tensor(value) for key, value in values.items() if value is not None
            }
        save_tensors(
            self.folder / f"epoch-{state.epoch:06d}.safetensors", tensors, {"state": json.dumps(asdict(state))}
        )
        for old in self.all()[:-KEEP]:
            old.unlink()

    def load(self, models: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> State:
        """Set models and optimizer to the newest state that is whole, and return it."""
        found = self.newest()
        if found is None:
            raise RunError(f"{self.folder} has no training state to resume from")
        path, state = found
        best = state.epoch
        with suppress(RunError, KeyError, ValueError), _opened(self.best) as file:
            best = int(file.metadata()["epoch"])
        if best > state.epoch:
            self.best.unlink()
        tensors = load_tensors(path)
        for prefix, model in models.items():
            set_model_tensors(model, _below(tensors, prefix), path)
        values: dict[int, dict[str, Any]] = {}
        for key, tensor in _below(tensors, "optimizer").items():
            index, name = key.split("/", 1)
            values.setdefault(int(index), {})[name] = tensor
        optimizer.load_state_dict(optimizer.state_dict() | {"state": values})
        return state


def _below(values: Mapping[str, _T], prefix: str) -> dict[str, _T]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in values.items() if name.startswith(f"{prefix}/")}
