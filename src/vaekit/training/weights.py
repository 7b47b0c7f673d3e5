"""Weights as safetensors files that are known to be what was written.

A file's metadata have a SHA-256 of all that is in it, which is checked whenever it is read; those of the first version
have none, and are taken as they are. No code runs from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import RunError, shown
from ..system.disk import check_regular, write_atomic
from .dtensors import fill, local

_T = TypeVar("_T")
SUM = "sha256"
METADATA = frozenset(["epoch", "state", "position", "format", SUM])
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


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises `RunError`, one line, if it is not one, or if what is in it is not what was written.
    """
    check_whole(path)
    return read_tensors(path)


def check_whole(path: Path) -> None:
    """Raise `RunError`, one line, for what is no safetensors file, or not what was written: all of it is read."""
    with _opened(path) as file:
        said = _metadata(file, path)
        written = said.pop(SUM, None)
        if written is None:
            return
        digest = _digest(said)
        for name in sorted(file.keys()):
            _add(digest, name, file.get_tensor(name))
        if written != digest.hexdigest():
            raise RunError(f"{path} is damaged: its content is not what was written, by its SHA-256; restore it")


def read_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """As `load_tensors`, of a file that was found to be whole; with a prefix those below it, without reading others."""
    lead = f"{prefix}/" if prefix else ""
    with _opened(path) as file:
        names = [name for name in file.keys() if name.startswith(lead)]  # noqa: SIM118
        return {name.removeprefix(lead): file.get_tensor(name) for name in names}


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
    return below(kinds, prefix) if prefix else kinds


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
            module.adopt(below(dict.fromkeys(names), path, ".").keys() if path else names)


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
        if not bool(local(parameter).isfinite().all()):
            raise RunError(f"{source} have numbers in {name!r} that are not finite; restore them")


@torch.no_grad()
def set_model_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: object = "the weights") -> None:
    """Copy `tensors` into the model; `RunError`, one line, where names, shapes or types differ from the model's."""
    check_kinds(model, {name: Kind.of(tensor) for name, tensor in tensors.items()}, source)
    for name, tensor in model_tensors(model).items():
        fill(tensor, tensors[name])


def below(values: Mapping[str, _T], prefix: str, by: str = "/") -> dict[str, _T]:
    """Those of `values` whose names begin with a prefix, without it."""
    lead = prefix + by
    return {name.removeprefix(lead): value for name, value in values.items() if name.startswith(lead)}
