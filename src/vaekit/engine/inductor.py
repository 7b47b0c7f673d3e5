"""Operations compiled by torch's Inductor, in a process of its own beside the first calls, and kept for later ones.

What is kept lies in a folder that is the user's alone. It is found by all that it was made of: operations, how tensors
lie, threads, processor, version of torch, compiler.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule

from ..seeding import seeded
from . import worker

SECONDS = 300
"""A compilation that takes longer is stopped."""
FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""Where Inductor is told to keep what it has made."""


class CompilationError(RuntimeError):
    """Operations that can't be compiled here; the message says why, in one line."""


class Compilation:
    """The operations of `graph`, on `tensors` as they lie, at the compiler: begun when made, unless it was done before.

    Raises `CompilationError` where it can't begin.
    """

    def __init__(self, graph: Graph, tensors: Sequence[Tensor]) -> None:
        self.graph, self.tensors, self.on_cpu = graph, tensors, all(each.device.type == "cpu" for each in tensors)
        self.process: subprocess.Popen[str] | None = None
        self.folder = compiled_folder()
        if not self.on_cpu:
            return
        if not hasattr(torch._inductor, "CompiledArtifact"):
            raise CompilationError(f"torch {torch.__version__} can't compile operations ahead")
        asked = {
            "source": graph.python_code("self").src,
            "tensors": [(list(t.shape), list(t.stride()), str(t.dtype).partition(".")[2]) for t in tensors],
            "threads": torch.get_num_threads(),
        }
        made_by = [
            torch.__version__,
            torch.backends.cpu.get_cpu_capability(),
            os.environ.get("CXX", ""),
            worker.OPTIONS,
        ]
        key = hashlib.sha256(json.dumps([asked, made_by], sort_keys=True).encode()).hexdigest()
        self.path = self.folder / f"{key[:40]}.artifact"
        if not self.path.exists():
            self._begin(asked | {"path": str(self.path)})

    def _begin(self, asked: dict[str, Any]) -> None:
        # By its path, so that it imports no more than it needs; without that folder among those that are searched.
        command = [sys.executable, "-P", worker.__file__]
        environment = os.environ | {FOLDER: str(self.folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        try:
            process = subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)
            with process.stdin as given:  # type: ignore[union-attr]
                json.dump(asked, given)
            process.stdin = None
        except OSError as error:
            raise CompilationError(f"no compiler can be started: {error}") from error
        self.process = process
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the compiler, if it is at work."""
        atexit.unregister(self.stop)
        if self.process is not None and self.process.poll() is None:
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()

    def result(self) -> Callable[..., list[Tensor]]:
        """What it has made, once it is done. Raises `CompilationError`."""
        if not self.on_cpu:
            return _compiled_here(self.graph, self.tensors)
        self._wait()
        try:
            with seeded(0), _keeping_in(self.folder), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what torch's compiler imports
                made = torch._inductor.CompiledArtifact.load(  # type: ignore[attr-defined]
                    path=str(self.path)
                )
        except Exception as error:  # of many kinds: a file that is torn, a library that is gone
            with suppress(OSError):
                self.path.unlink()
            raise CompilationError(f"what was compiled can't be loaded: {_first_line(error)}") from error
        return lambda *given: made(*given)

    def _wait(self) -> None:
        if self.process is None:
            return
        try:
            said = self.process.communicate(timeout=SECONDS)[1]
        except subprocess.TimeoutExpired as error:
            raise CompilationError(f"the compiler took more than {SECONDS} s") from error
        finally:
            self.stop()
        if not self.path.exists():
            lines = [line.strip() for line in said.splitlines() if "Error" in line or "error:" in line]
            raise CompilationError(lines[-1][:200] if lines else f"the compiler ended with {self.process.returncode}")


def _compiled_here(graph: Graph, tensors: Sequence[Tensor]) -> Callable[..., list[Tensor]]:
    """The operations as kernels of torch's compiler, made in this process."""
    # Not its own CUDA graphs: they copy parameters in each call, since nothing but Dynamo can say that these stay where
    # they are, refuse what changes buffers, and fail who reads a result after the next call.
    options: dict[str, Any] = {**worker.OPTIONS, "triton.cudagraphs": False}
    if hasattr(torch._inductor.config, "deterministic"):
        options["deterministic"] = True  # no choice by a clock on which the bits of a resumed run depend
    try:
        with seeded(0), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch's compiler imports
            made: Any = torch._inductor.compile(GraphModule(torch.nn.Module(), graph), list(tensors), options=options)
    except Exception as error:  # of many kinds: no Triton, no memory, an operation that it does not know
        raise CompilationError(_first_line(error)) from error
    return lambda *given: list(made(*given))


def compiled_folder() -> Path:
    """A folder for what is compiled that is the user's alone: what lies in it is run."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "vaekit" / "compiled"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
            folder = Path(tempfile.mkdtemp(prefix="vaekit-"))
    except (OSError, RuntimeError) as error:  # the second where no home is known, as in some containers
        raise CompilationError(f"there is no folder for what is compiled: {error}") from error
    return folder


@contextmanager
def _keeping_in(folder: Path) -> Iterator[None]:
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(FOLDER)
        if before is not None:
            os.environ[FOLDER] = before


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
