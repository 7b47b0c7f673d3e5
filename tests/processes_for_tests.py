"""Several processes on this machine that train together, and draws that are the same in all of them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
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


def together(function: Callable[..., None], *given: Any, count: int = 2, grouped: bool = True) -> list[int | None]:
    """How so many processes end that call `function(rank, *given)`, in a group of gloo or, not `grouped`, with what
    torchrun has in the environment.

    They are forked from a server that has imported torch and vaekit once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["runs_for_tests", "vaekit.cli.training", "vaekit.show.report"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = dict(os.environ)
    os.environ.update(environment(), PYTHONPATH=os.pathsep.join([_TESTS, environment()["PYTHONPATH"]]))
    try:
        children = [
            context.Process(target=_run, args=(rank, count, port, grouped, function, given)) for rank in range(count)
        ]
        for child in children:
            child.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    for child in children:
        child.join(SECONDS)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()
    return codes


def _run(rank: int, count: int, port: int, grouped: bool, function: Callable[..., None], given: Any) -> None:
    torch.set_num_threads(1)
    names = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
    os.environ.update({name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"})
    os.environ["MASTER_PORT"] = str(port)
    if grouped:
        dist.init_process_group("gloo")
    function(rank, *given)
    sys.stdout.flush()
