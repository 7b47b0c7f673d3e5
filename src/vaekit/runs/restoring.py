"""A saved model, made anew within the memory that its weights take, whatever its spec says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils._pytree import tree_leaves, tree_map_only

from ..errors import RunError, shown
from ..models import VAE
from ..modules import Uncompiled
from ..spec.building import build_model
from ..spec.keys import Schema, Spec
from ..spec.parts import PARTS, Parts
from ..training.weights import (
    Kind,
    check_finite,
    check_kinds,
    load_tensors,
    metadata,
    read_tensors,
    set_model_tensors,
    tensor_kinds,
)

ROOM = 2**24
"""Numbers that any model may take at a time while it is made, beside some for each of its weights."""
FACTOR = 64
"""How many numbers for each weight: masks and the like, of which a flow makes more than it keeps."""


def restored(folder: Path, spec: Spec, schema: Schema, weights: Path, prefix: str, parts: Parts) -> VAE:
    """The model of the run in `folder`, its weights those in the file `weights` below `prefix`.

    Raises `RunError`, one line, where they do not fit the spec, before a spec of absurd sizes has taken memory.
    """
    if not prefix and metadata(weights).keys() & {"epoch", "state"}:
        raise RunError(f"{weights} holds a state of the training, not what came of it; restore it")
    model = rebuilt(spec, schema, tensor_kinds(weights, prefix), weights, folder / "spec.json", parts)
    try:
        tensors = read_tensors(weights, prefix) if prefix else load_tensors(weights)  # a state was found to be whole
    except RunError as error:
        raise RunError(f"{error}, or write them anew: vaekit train --resume --out {folder}") from None
    set_model_tensors(model, tensors, weights)
    check_finite(model, weights)
    return model


def rebuilt(
    spec: Spec, schema: Schema, kinds: Mapping[str, Kind], weights: object, saved: object, parts: Parts = PARTS
) -> VAE:
    """The model of a spec that is `saved`, made for the tensors of `kinds`, which `weights` have; `RunError`, one line,
    where they do not fit it, before a spec of absurd sizes has taken memory.
    """
    outlined = check_outline(spec, schema, kinds, weights, parts)
    with _within(kinds, weights, numbers=not outlined):
        try:
            model = build_model(spec.model, schema, spec.training.seed, parts, older=True)
        except (ArithmeticError, MemoryError, RecursionError, RuntimeError, TypeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(f"{saved} says what can't be built: {shown(reason)}") from error
    check_kinds(model, kinds, weights)
    return model


def check_outline(spec: Spec, schema: Schema, kinds: Mapping[str, Kind], weights: object, parts: Parts = PARTS) -> bool:
    """`RunError` where the model of a spec, made without memory, has other tensors than `kinds`, which `weights` have.

    False where it can't be made so: some parts of others look at numbers when they are made.
    """
    with _within(kinds, weights, numbers=False), torch.device("meta"):
        try:
            model = build_model(spec.model, schema, parts=parts, older=True)
        except (ArithmeticError, RuntimeError, TypeError):
            return False
    check_kinds(model, kinds, weights)
    return True


@contextmanager
def _within(kinds: Mapping[str, Kind], source: object, numbers: bool) -> Iterator[None]:
    """Inside, `RunError` where a model gets many more tensors than `kinds`, or if `numbers`, numbers than these."""
    total = sum(math.prod(kind.shape) for kind in kinds.values())
    made, held = 0, 0

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        nonlocal made, held
        if parameter is not None:
            made, held = made + 1, held + parameter.numel()
            # Twice, since a part may make a parameter anew, or share it.
            if made > 2 * len(kinds) + 100 or (numbers and held > 2 * total + 2**20):
                raise RunError(f"{source} have {len(kinds)} tensors of {total:,} numbers, the model of the spec more")

    hook = register_module_parameter_registration_hook(count)
    try:
        if not numbers:
            yield
            return
        with _Bounded(max(ROOM, FACTOR * total), source):
            yield
    finally:
        hook.remove()


class _Bounded(Uncompiled):
    """Inside, no operation gives more than `most` numbers: found out on tensors without memory before it is done."""

    def __init__(self, most: int, source: object) -> None:
        super().__init__()
        self.most, self.source = most, source

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        try:
            without = tree_map_only(Tensor, lambda t: t.detach().to("meta"), (args, kwargs))
            if "device" in {argument.name for argument in func._schema.arguments}:
                without[1]["device"] = torch.device("meta")
            results = tree_leaves(func(*without[0], **without[1]))
        except Exception:
            results = []  # it looks at numbers: what it finds is no more than what it is given
        if sum(result.numel() for result in results if isinstance(result, Tensor)) > self.most:
            raise RunError(f"{self.source} have much fewer numbers than the model of the spec takes")
        return func(*args, **kwargs)
