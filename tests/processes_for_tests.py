"""Several processes on this machine that train together, and draws that are the same in all of them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch
import warm_for_tests
from commands_for_tests import SECONDS, environment
from torch import distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

_TESTS = str(Path(__file__).parent)


class Constant(TorchDispatchMode):
    """Inside, all real numbers that are drawn are 0.3: a loss is a function of its data alone."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        drawn = torch.Tag.nondeterministic_seeded in func.tags
        return out.fill_(0.3) if drawn and out.is_floating_point() else out


def server() -> ForkServerContext:
    """What forks processes from one that has imported, once for all tests, what a training takes: each starts in
    milliseconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([warm_for_tests.__name__])
    before = dict(os.environ)
    os.environ.update(environment(), PYTHONPATH=os.pathsep.join([_TESTS, environment()["PYTHONPATH"]]))
    os.environ[warm_for_tests.WARM] = "yes"
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def together(function: Callable[..., None], *given: Any, count: int = 2, grouped: bool = True) -> list[int | None]:
    """How so many processes end that call `function(rank, *given)`, in a group of gloo or, not `grouped`, with what
    torchrun has in the environment.

    They are forked from `server`.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun's agent has it
    context = server()
    children = [
        context.Process(target=_run, args=(rank, count, store.port, grouped, function, given)) for rank in range(count)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(SECONDS)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()
    return codes


def _run(rank: int, count: int, port: int, grouped: bool, function: Callable[..., None], given: Any) -> None:
    torch.set_num_threads(1)
    names = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_USE_AGENT_STORE="True")
    if grouped:
        dist.init_process_group("gloo")
    function(rank, *given)
