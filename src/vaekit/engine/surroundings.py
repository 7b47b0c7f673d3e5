"""What a function reads, and may change, beside the tensors that it is given: objects, as deep as they go."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.modules import module as torchs

from ..seeding import other_streams_kept
from .reach import LARGE, held, is_plain, is_whole, reached
from .restoring import restorer, stream_of

_HOOKS = ("_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks")
_FOR_ALL = ("backward", "backward_pre", "forward", "forward_pre")


class Surroundings:
    """All that can be reached from `roots`: attributes, elements, closures, and what code of one's own names."""

    def __init__(self, roots: Sequence[object]) -> None:
        self.roots = roots

    def modules(self) -> list[nn.Module]:
        """Those among them."""
        return [each for each in reached(self.roots) if isinstance(each, nn.Module)]

    def tensors(self) -> list[Tensor]:
        """Those among them, data excepted."""
        return [each for each in reached(self.roots) if isinstance(each, Tensor) and each.nbytes <= LARGE]

    def state(self) -> list[object]:
        """What of it a recording takes as it is: numbers, which tensors there are and how they lie, hooks.

        Keep what it says as long as it is compared with: it names objects by identity, and so holds on to them.
        """
        found = [(_By(each), _described(each)) for each in reached(self.roots)]
        return [*found, [bool(getattr(torchs, f"_global_{name}_hooks")) for name in _FOR_ALL]]

    def refuse_hooks(self) -> None:
        """Raise `ValueError` where there are hooks: autograd calls them, or modules do, and no recording."""
        if any(getattr(torchs, f"_global_{name}_hooks") for name in _FOR_ALL):
            raise ValueError("there are hooks of all modules")
        for each in reached(self.roots):
            if isinstance(each, nn.Module) and any(getattr(each, name, None) for name in _HOOKS):
                raise ValueError(f"{type(each).__name__} has hooks")
            if isinstance(each, Tensor) and _is_hooked(each):
                raise ValueError("a tensor has hooks")

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Inside, all of it may change; afterwards it is as it was, random streams too."""
        restoring = [restore for each in reached(self.roots) if (restore := restorer(each)) is not None]
        with other_streams_kept():
            try:
                yield
            finally:
                for restore in restoring:
                    restore()


def streams_elsewhere() -> object:
    """The state of the random streams that are not torch's."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (name, np.asarray(keys).tobytes(), *rest)


class _By:
    """An object, equal to itself alone."""

    __slots__ = ("each",)

    def __init__(self, each: object) -> None:
        self.each = each

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _By) and self.each is other.each

    __hash__ = object.__hash__


def _described(each: Any) -> object:
    if isinstance(each, Tensor):
        return each.shape, each.stride(), each.dtype, each.requires_grad, _is_hooked(each)
    if isinstance(each, np.ndarray):
        return each.shape, each.dtype.str, None if each.nbytes > LARGE or each.dtype.hasobject else _sum(each)
    if is_whole(type(each)):
        return repr(stream_of(each))
    found = held(each).items()
    return [(repr(key) if is_plain(type(key)) else _By(key), _identified(value)) for key, value in found]


def _identified(value: object) -> object:
    return (type(value), repr(value)) if is_plain(type(value)) else _By(value)


def _sum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")


def _is_hooked(tensor: Tensor) -> bool:
    return bool(tensor._backward_hooks) or bool(getattr(tensor, "_post_accumulate_grad_hooks", None))
