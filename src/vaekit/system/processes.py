"""Several processes that train one model together, as torchrun starts them. With one, nothing here does anything.

The first of them, of rank 0, is the one that writes and speaks.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from ..errors import LeftOutWarning, LostProcessError
from .progress import in_a_notebook
from .torchrun import local, number

_T = TypeVar("_T")
WAIT = timedelta(minutes=30)
"""How long a process waits for one that is there but does not answer; one that has ended is noticed at once."""
PATIENCE = 3.0
"""Seconds that the others wait for the first to say why all end, before one of them says it."""
SAID = "vaekit: said"
LOST = "another process of this training has ended, or does not answer"
_store: list[Any] = []


@dataclass(frozen=True)
class Processes:
    """The processes that train together: the `rank` of this one, from 0, and their `count`.

    What is asked of all is asked in all, in the same order. Raises `LostProcessError` where one has ended, or does not
    answer for half an hour.

    >>> alone = Processes()
    >>> alone.first, alone.told({"rows": 3})
    (True, {'rows': 3})
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def add(self, tensor: Tensor) -> None:
        """Make a tensor, in place, the sum of those of all."""
        if self.several:
            with _answering():
                dist.all_reduce(tensor)

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all, by rank; of the same shape in each."""
        if not self.several or not tensor.numel():
            return [tensor] * self.count
        own = tensor.detach().contiguous()
        found = [torch.empty_like(own) for _ in range(self.count)]
        with _answering():
            dist.all_gather([_bytes(each) for each in found], _bytes(own))
        return found

    @torch.no_grad()
    def share(self, tensors: Iterable[Tensor]) -> None:
        """Make tensors, in place, those of the first."""
        if not self.several:
            return
        for tensor in tensors:
            if not tensor.numel():
                continue
            whole = tensor.detach().contiguous()
            with _answering():
                dist.broadcast(_bytes(whole), 0)
            tensor.copy_(whole)

    def told(self, value: _T) -> _T:
        """The `value` of the first: of numbers, texts, lists and tables of them."""
        if not self.several:
            return value
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        size = torch.tensor(len(text))
        self.share([size])
        content = text if self.first else torch.empty(int(size), dtype=torch.uint8)
        self.share([content])
        return json.loads(bytes(content.tolist()))

    def wait(self) -> None:
        """Wait until all are here."""
        self.add(torch.zeros(1))

    def in_turn(self, function: Callable[[], _T], of_machine: bool = False) -> _T:
        """`function()` in the first, and when that is done in the others: what it has written they find. With
        `of_machine` the first of each machine is one of the first. Where it raises in one of these, all end.
        """
        early = self.first or (of_machine and local()[0] == 0)
        found = function() if early else None
        self.wait()
        return found if early else function()  # type: ignore[return-value]

    def check_same(self, values: Mapping[str, object]) -> None:
        """`ValueError` where one of the named `values` is another than in the first."""
        for name, value in self.told({name: str(value) for name, value in values.items()}).items():
            if value != str(values[name]):
                raise ValueError(f"process {self.rank} has {name} {values[name]}, but the first {value}")

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Inside, all but the first say nothing but errors."""
        if self.first:
            yield
            return
        log = logging.getLogger("vaekit")
        before = log.level
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeftOutWarning)
            log.setLevel(logging.ERROR)
            try:
                yield
            finally:
                log.setLevel(before)


def join() -> Processes:
    """The processes that train together: of the group that this one is in, or that torchrun has started, which it then
    joins; else this one alone.

    The tensors of CUDA devices go by NCCL, others by gloo. Raises `ValueError` in a notebook, which is one process.
    """
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    if number() == 1:
        return Processes()
    if in_a_notebook():
        raise ValueError("a notebook is one process, but the environment says WORLD_SIZE; train from a script")
    from torch.distributed.distributed_c10d import PrefixStore  # which not every build of torch has
    from torch.distributed.rendezvous import rendezvous

    rank, here = local()
    cuda = torch.cuda.is_available() and here <= torch.cuda.device_count()
    if cuda:
        torch.cuda.set_device(rank)
    with _answering():
        store, rank, count = next(rendezvous("env://", timeout=WAIT))
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=PrefixStore("vaekit", store), rank=rank, world_size=count, timeout=WAIT)
    _store[:] = [store]
    return Processes(rank, count)


def leave() -> None:
    """Leave the group that `join` has joined, where all is done."""
    if _store:
        _store.clear()
        dist.destroy_process_group()


def may_say() -> bool:
    """Whether it is this process that says why all end: the first, or where that can't the next that wants to."""
    if number() == 1:
        return True
    first = os.environ["RANK"] == "0"
    if not _store:  # what is wrong before they are together is wrong in all
        return first
    mine, until = os.environ["RANK"], time.monotonic() + (0 if first else PATIENCE)
    try:
        while not (said := _store[0].check([SAID])) and time.monotonic() < until:
            time.sleep(0.1)
        return not said and bool(_store[0].compare_set(SAID, "", mine) == mine.encode())
    except RuntimeError:  # who had the store has ended
        return True


@contextmanager
def answering() -> Iterator[None]:
    """Inside, `LostProcessError` takes the place of what torch raises where another process has ended or does not
    answer: for what sends messages of its own between other work.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostProcessError(LOST) from error
        raise


def _bytes(tensor: Tensor) -> Tensor:
    """The memory of a tensor, whatever its type: gloo and NCCL do not have them all."""
    return tensor.reshape(-1).view(torch.uint8)


@contextmanager
def _answering() -> Iterator[Any]:
    """Inside, what gloo or NCCL raise is that another process has ended or does not answer."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(LOST) from error


def in_company() -> bool:
    """Whether other processes train together with this one."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_of_all(values: Tensor) -> Tensor:
    """Values added up in place over the processes that train together; with one they are as they are."""
    if in_company():
        dist.all_reduce(values)
    return values


def average_of_all(values: Tensor) -> Tensor:
    """The mean of values over the processes that train together.

    >>> average_of_all(torch.tensor(2.0))
    tensor(2.)
    """
    return sum_of_all(values.clone()) / dist.get_world_size() if in_company() else values
