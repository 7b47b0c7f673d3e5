"""Processes of this machine that do one job after another, told and answering in lines of text.

Each imports what it needs once, which for torch takes seconds. One that dies, by a crash or for want of memory, costs
the job that it was at; the next job gets another. They end with the process that started them, however that ends.
"""

from __future__ import annotations

import _thread
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import IO, Any, Generic, TypeVar

_Key = TypeVar("_Key")

ENDING_SECONDS = 5.0
"""How long a process that is told to end may take."""
STARTS = "from vaekit.system.workers import serve; serve({!r})"


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Answer:
    """The line that a job was answered by, or why there is none."""

    text: str = ""
    error: str = ""


class Workers(Generic[_Key]):
    """`jobs` processes, each with so many `threads`, that make a line of a line by a function, MODULE:NAME.

    `devices` are numbers of CUDA devices: the first process sees the first alone, and so on in turn.
    """

    def __init__(self, function: str, jobs: int, threads: int, devices: tuple[str, ...] = ()) -> None:
        self.function, self.jobs, self.threads, self.devices = function, jobs, threads, devices

    def answers(self, lines: Iterator[tuple[_Key, str]]) -> Generator[tuple[_Key, Answer]]:
        """What each line is answered by, as they are done; one is asked for when there is a process for it.

        Whoever stops taking them, by an interrupt say, ends all processes.
        """
        free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        every = [_Worker(self.function, self.threads, device) for device in self._devices()]
        for each in every:
            free.put(each)
        running: dict[Future[Answer], tuple[_Key, _Worker]] = {}
        waiting = ThreadPoolExecutor(self.jobs)
        try:
            while True:
                while not free.empty() and (asked := next(lines, None)) is not None:
                    worker = free.get()
                    running[waiting.submit(worker.answer, asked[1])] = asked[0], worker
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    key, worker = running.pop(future)
                    free.put(worker)
                    yield key, future.result()
        finally:
            for each in every:
                each.tell_to_end()
            for each in every:
                each.end()
            waiting.shutdown()  # whose threads have no answer to wait for any more
            for each in every:
                each.close()

    def _devices(self) -> list[str | None]:
        return [self.devices[i % len(self.devices)] if self.devices else None for i in range(self.jobs)]


class _Worker:
    """A process, started when it is first needed and again when it has died."""

    def __init__(self, function: str, threads: int, device: str | None) -> None:
        self.function, self.threads, self.device = function, threads, device
        self.process: subprocess.Popen[str] | None = None
        self.errors: IO[bytes] | None = None
        self.ended = False
        self.lock = threading.Lock()

    def answer(self, line: str) -> Answer:
        with self.lock:
            if self.ended:
                return Answer(error="all was ended")
            if self.process is None or self.process.poll() is not None:
                self.close()
                self.process = self._started()
            process = self.process
        told, says = process.stdin, process.stdout
        with suppress(OSError, ValueError):  # it has died, or its pipes are closed
            if told and says:
                told.write(line + "\n")
                told.flush()
                if text := says.readline():
                    return Answer(text.rstrip("\n"))
        return Answer(error=self._died(process))

    def tell_to_end(self) -> None:
        """Let the process end what it is at, by its own way out."""
        with self.lock:
            self.ended = True
            if self.process is not None and self.process.stdin is not None:
                with suppress(OSError):  # what could not be sent
                    self.process.stdin.close()

    def end(self) -> None:
        """Wait for the process to end, not for long: each file of a run is whole at every instant."""
        if self.process is not None:
            try:
                self.process.wait(ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self) -> None:
        """Leave nothing open of a process that has ended."""
        for each in (self.process.stdin, self.process.stdout, self.errors) if self.process is not None else ():
            with suppress(OSError):
                each.close()  # type: ignore[union-attr]

    def _started(self) -> subprocess.Popen[str]:
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        environment.setdefault("GOMP_SPINCOUNT", "1000")
        if self.device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.device
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process is there
        return subprocess.Popen(
            [sys.executable, "-P", "-c", STARTS.format(self.function)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # a Ctrl-C at the terminal is for the sweep, which ends its processes
        )

    def _died(self, process: subprocess.Popen[str]) -> str:
        """Why a process gave no answer, in a line."""
        status = process.wait()
        if status < 0:
            name = signal.Signals(-status).name if -status in {*signal.Signals} else str(-status)
            memory = ", as where memory runs out" if name == "SIGKILL" else ""
            return f"its process was ended by {name}{memory}"
        said = ""
        if self.errors is not None and not self.errors.closed:
            self.errors.seek(0)
            lines = self.errors.read().decode(errors="replace").split("\n")
            said = next((each.strip() for each in reversed(lines) if each.strip()), "")
        return f"its process ended with status {status}" + (f": {said}" if said else "")


def serve(function: str) -> None:
    """Answer each line of standard input by the line that the function MODULE:NAME makes of it, until there are no
    more.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the one that starts it does with it
    # What else is printed, by parts of the user's own say, is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    with suppress(KeyboardInterrupt):
        answer: Callable[[str], str] = called(function)
        while True:
            answers.write(answer(lines.get()) + "\n")
            answers.flush()


def _listen(lines: queue.SimpleQueue[str]) -> None:
    """Pass on what is to be done; where nobody is there any more to say it, end, in the middle of a job if need be."""
    for line in sys.stdin:
        lines.put(line.rstrip("\n"))
    # So that it ends what it has started itself, a compiler say.
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes it, too
    else:
        _thread.interrupt_main()
    time.sleep(ENDING_SECONDS - 1)
    os._exit(1)


def called(function: str) -> Any:
    """What is called MODULE:NAME."""
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)
