"""Training states: all that a training is at an epoch's end or within one, in one file, from which it goes on bit for
bit.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RunError, shown
from ..optimizers import OPTIMIZERS
from ..seeding import seeded
from ..system.disk import refuse_links
from .dtensors import is_sharded, sharded_as
from .position import Position
from .weights import (
    Kind,
    adopt,
    below,
    check_finite,
    check_whole,
    metadata,
    model_tensors,
    read_tensors,
    save_tensors,
    set_model_tensors,
    tensor_kinds,
)

log = logging.getLogger(__name__)

KEEP = 2
"""How many training states of epochs' ends a run keeps: the newest, and the one before in case the disk lost it."""
NAME = re.compile(r"epoch-([0-9]+)(?:-batch-([0-9]+))?")
"""What a state is called: how many epochs are done, and how many batches of the next."""
POSITION = "position"
"""What the tensors of a position begin with, and the text beside them."""
KINDS = {bool: torch.bool, int: torch.int64, float: torch.float64}
"""The types of tensors that numbers of Python's are saved as."""


@dataclass
class State:
    """What the training loop knows beside its tensors. `epoch` epochs and `step` steps are done, and so many `batches`
    of the next epoch.

    `best_loss` and `best_epoch` are those of rows held out for validation. Of the loss that is watched, theirs or else
    that of test or training rows: that of the untrained weights, of the first epoch that counts, the lowest with its
    epoch, and the last; None what there isn't, or is no finite number. `watched` are its rows. `engine` says how steps
    are made, for the rest.
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
    watched: int | None = None
    engine: dict[str, str] = field(default_factory=dict)
    batches: int = 0

    @property
    def name(self) -> str:
        """What its file is called, without the ending.

        >>> State(epoch=3).name, State(epoch=3, batches=20).name
        ('epoch-000003', 'epoch-000003-batch-000020')
        """
        return f"epoch-{self.epoch:06d}" + (f"-batch-{self.batches:06d}" if self.batches else "")


@dataclass(frozen=True)
class Saved:
    """A training state in its file, which was found to be whole."""

    path: Path
    state: State

    @classmethod
    def read(cls, path: Path) -> Saved:
        """The one in a file; `RunError` where it is not whole. All of the file is added up here, and not again."""
        text = metadata(path).get("state")
        check_whole(path)
        try:
            values = json.loads(text or "")
            state = State(**values)
        except (ValueError, TypeError, RecursionError):
            raise RunError(f"{path} has no training state in its metadata; restore it") from None
        for each in fields(State):
            value, default = getattr(state, each.name), each.default
            given = math.isfinite(value) if type(value) is float else type(value) is int and abs(value) < 2**63
            if isinstance(default, int) and not (type(value) is int and given and value >= 0):
                raise RunError(f"{path} says {each.name} is {shown(value)}; a number from 0 on is needed: restore it")
            if (default is None or isinstance(default, float)) and not (given or value is None is default):
                raise RunError(f"{path} says {each.name} is {shown(value)}; a number is needed: restore it")
        engine: object = state.engine
        if not (isinstance(engine, dict) and all(isinstance(each, str) for pair in engine.items() for each in pair)):
            raise RunError(f"{path} says engine is {shown(engine)}; words by name are needed: restore it")
        if place_of(path) != (state.epoch, state.batches):
            raise RunError(f"{path} holds the state {state.name!r}; give it back its name")
        return cls(path, state)

    @property
    def weights(self) -> str:
        """What the names of its weights begin with: averaged ones if there are any."""
        return "average" if any(name.startswith("average/") for name in tensor_kinds(self.path)) else "model"

    @property
    def position(self) -> Position | None:
        """Where in an epoch it is; None at the end of one."""
        if not self.state.batches:
            return None
        return Position.read(read_tensors(self.path, POSITION), metadata(self.path).get(POSITION, ""), self.path)

    def adopt_into(self, model: nn.Module) -> None:
        """Let a model become what the state is of, before an optimizer is made of its parameters."""
        adopt(model, tensor_kinds(self.path, "model").keys())

    def load(self, models: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        """Set models and optimizers to it."""
        tensors = read_tensors(self.path)
        known = {*models, *optimizers, POSITION}
        if others := [name for name in tensors if name.split("/")[0] not in known]:
            raise RunError(f"{self.path} has {shown(others[0])}, which a state of this training lacks")
        for prefix, model in models.items():
            set_model_tensors(model, below(tensors, prefix), f"{self.path}: the tensors of {prefix!r}")
            check_finite(model, f"{self.path}: the tensors of {prefix!r}")
        for name, optimizer in optimizers.items():
            values = _checked(below(tensors, name), optimizer, self.path)
            optimizer.load_state_dict(optimizer.state_dict() | {"state": values})


class Checkpoints:
    """The training states of one run, `folder`/epoch-*.safetensors, and its best weights, `folder`/best.safetensors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    def all(self) -> list[Path]:
        """The saved states, oldest first."""
        found = {place: path for path in self.folder.glob("epoch-*.safetensors") if (place := place_of(path))}
        return [found[place] for place in sorted(found)]

    def newest(self, say: Callable[[str], object] = lambda reason: None) -> Saved | None:
        """The newest saved state that is whole; `say` is told why those after it are not."""
        for path in reversed(self.all()):
            try:
                return Saved.read(path)
            except RunError as error:
                say(f"{error}; the state before it is taken")
        return None

    def last(self) -> Saved:
        """As `newest`, which says in a warning what is damaged; `RunError` where there is none."""
        if (found := self.newest(log.warning)) is None:
            raise RunError(f"{self.folder} has no training state that is whole")
        return found

    def save(
        self,
        state: State,
        tensors: Mapping[str, Tensor],
        position: Position | None = None,
    ) -> None:
        """Write the whole training state of these `state_tensors`, within an epoch with its `position`; then drop all
        but the newest `KEEP`, and those within an epoch that are not the newest.
        """
        self._make_folder()
        tensors = dict(tensors)
        said = {"state": json.dumps(asdict(state))}
        if position is not None:
            tensors |= {f"{POSITION}/{name}": tensor for name, tensor in position.tensors.items()}
            said[POSITION] = position.text
        save_tensors(self.folder / f"{state.name}.safetensors", tensors, said)
        self._drop_old(self.all())

    def _drop_old(self, states: Sequence[Path]) -> None:
        ends = [path for path in states if not (place_of(path) or (0, 0))[1]]
        within = [path for path in states[:-1] if path not in ends]
        for old in (*ends[:-KEEP], *within):
            if not old.is_dir():
                old.unlink()

    def save_best(self, tensors: Mapping[str, Tensor], epoch: int) -> None:
        """Write the weights that are the best so far, after `epoch` epochs."""
        self._make_folder()
        save_tensors(self.best, tensors, {"epoch": str(epoch)})

    def _make_folder(self) -> None:
        refuse_links([self.folder])
        self.folder.mkdir(parents=True, exist_ok=True)

    def drop_for(self, saved: Saved) -> None:
        """Drop what a killed training has left that one from `saved` does not keep: best weights of later epochs, and
        states that are too old.
        """
        best = saved.state.epoch
        with suppress(RunError):
            best = _count(metadata(self.best).get("epoch", ""), best)
        if best > saved.state.epoch:
            self.best.unlink()
        states = self.all()
        # Who is killed when the last one has its name drops none.
        self._drop_old(states[: states.index(saved.path) + 1])


def state_tensors(
    models: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """The tensors of a training state, by the names that they have in its file."""
    tensors = {f"{prefix}/{name}": t for prefix, model in models.items() for name, t in model_tensors(model).items()}
    for name, optimizer in optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            kept = {key: _as_tensor(value) for key, value in values.items() if value is not None}
            tensors |= {f"{name}/{index}/{key}": value for key, value in kept.items()}
    return tensors


def _as_tensor(value: Tensor | float) -> Tensor:
    """A number in as many digits as Python has."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=KINDS[type(value)], device="cpu")


def place_of(path: Path) -> tuple[int, int] | None:
    """How many epochs are done in the state that a file is called as, and batches of the next; None for other names.

    >>> place_of(Path("epoch-000003-batch-000020.safetensors")), place_of(Path("best.safetensors"))
    ((3, 20), None)
    """
    found = NAME.fullmatch(path.stem)
    return None if found is None else (_count(found[1], 0), _count(found[2] or "0", 0))


def _count(text: str, otherwise: int) -> int:
    """The number from 0 on that a text is."""
    return int(text) if text.isdecimal() and len(text) < 20 else otherwise


def check_kept(optimizer: torch.optim.Optimizer) -> None:
    """`ValueError`, one line, for an optimizer of one's own that takes no step as torch's do, or keeps of its weights
    what no file of tensors can have.
    """
    if type(optimizer) in OPTIMIZERS.values():
        return
    name = type(optimizer).__name__
    try:
        every = _usual_state(optimizer)
    except Exception as error:
        what = f"the optimizer {name} takes no step: {(str(error) or type(error).__name__).splitlines()[0]}"
        raise ValueError(f"{what}; accepted: one whose step() needs nothing") from error
    for key, value in (pair for each in every for pair in each.items()):
        if not (isinstance(value, Tensor) or type(value) in KINDS):
            what = f"{key!r} of a weight, a {type(value).__name__}"
            raise ValueError(f"the optimizer {name} keeps {what}, which can't be saved; accepted: tensors and numbers")


def _checked(
    values: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, path: Path
) -> dict[int, dict[str, Tensor | float]]:
    """The state of `optimizer` from its tensors "index/name"; `RunError` unless it is of its parameters.

    Updates write into these tensors, of which they take for granted that each has the numbers of its parameter.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    usual = _usual_state(optimizer)
    state: dict[int, dict[str, Tensor | float]] = {}
    for key, tensor in values.items():
        number, _, name = key.partition("/")
        index = _count(number, len(parameters))
        if index >= len(parameters) or number != str(index) or not name:
            raise RunError(f"{path}: {shown(key)} is no state of the optimizer's {len(parameters)} tensors; restore it")
        own = usual[index].get(name)
        needed = None if own is None else Kind.of(_as_tensor(own))
        # An optimizer of one's own may keep more after more steps.
        fits = Kind.of(tensor) == needed if needed else tuple(tensor.shape) in {(), tuple(parameters[index].shape)}
        if not fits:
            found = f"{path}: {shown(key)} of the optimizer has {Kind.of(tensor)}"
            raise RunError(f"{found}; needed: {needed or f'shape {tuple(parameters[index].shape)}'}")
        is_number = type(own) in KINDS  # and no tensor
        state.setdefault(index, {})[name] = tensor.item() if is_number else _laid_out(tensor, parameters[index])
    for index, has in state.items():
        if lacks := sorted(usual[index].keys() - has.keys()):
            raise RunError(f"{path}: the optimizer's state of tensor {index} lacks {lacks[0]!r}; restore it")
    return state


def _laid_out(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A copy of `tensor`, not memory of the file's, as `parameter` lies: fused updates read both from end to end."""
    if tensor.shape != parameter.shape:
        return tensor.clone()
    if is_sharded(parameter):
        return sharded_as(tensor, parameter)
    return torch.empty_strided(tensor.shape, parameter.stride(), dtype=tensor.dtype).copy_(tensor)


def _usual_state(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What `optimizer` keeps of each parameter after a step, by a step of its copy."""
    trial = optimizer.__new__(type(optimizer))  # copies as torch makes them leave attributes out
    vars(trial).update(copy.deepcopy(vars(optimizer), {id(optimizer): trial}))
    parameters = [p for group in trial.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    with seeded(0):
        trial.step()
    return [{name: value for name, value in trial.state.get(p, {}).items() if value is not None} for p in parameters]
