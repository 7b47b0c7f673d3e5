"""How a command ends: done, interrupted, out of memory, or with an error of the user's in a line."""

from __future__ import annotations

import codecs
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOWrapper
from types import ModuleType

import typer
from rich.console import Console

from ..errors import shown
from ..show.terminal import err, out, plain
from ..system.interrupts import ENDING
from ..system.torchrun import local, number


def calm_threads() -> None:
    """Have the threads of torch's OpenMP on Linux wait for each other asleep, but for a moment, unless the user chose.

    On a busy machine two threads that wait busily take three times as long; on a quiet one it makes no difference.
    """
    if "torch" not in sys.modules and not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"


@contextmanager
def termination() -> Iterator[list[tuple[str, int]]]:
    """Inside, SIGTERM, and SIGHUP, which a terminal that closes sends, interrupt as Ctrl-C does; gives how a command
    that is interrupted ends, the last being true.
    """
    ends = [("interrupted", 130)]

    def terminate(number: int, frame: object) -> None:
        ends.append(("terminated" if number == signal.SIGTERM else "the terminal has closed", 128 + number))
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    ours = [each for each in ENDING if main and signal.getsignal(each) == signal.SIG_DFL]
    for each in ours:
        signal.signal(each, terminate)
    try:
        yield ends
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


ASCII = {"±": "+-", "×": "x", "·": "|", "…": "...", "−": "-", "²": "2"}


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What is written for characters that the encoding of the output lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


@contextmanager
def output() -> Iterator[None]:
    """Inside, standard output takes whatever is printed: where its encoding lacks a character, something like it in
    ASCII, and where there is none, nothing.
    """
    stream = sys.stdout
    if stream is None:  # closed by whoever started this
        with open(os.devnull, "w", encoding="utf-8") as nobody, redirect_stdout(nobody):
            yield
        return
    if not isinstance(stream, TextIOWrapper):
        yield
        return
    codecs.register_error("vaekit", _in_ascii)
    before = stream.errors
    stream.reconfigure(errors="vaekit")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # nobody reads it, or it is closed
            stream.reconfigure(errors=before)


def is_unread(error: BaseException) -> bool:
    """Whether it is that nobody reads the output: a pipe or a terminal that has closed, or rich's exit at a pipe."""
    closed = isinstance(error, OSError) and error.errno == errno.EIO and error.filename is None
    return closed or isinstance(error, BrokenPipeError | SystemExit)


def discard_output() -> None:
    """Have what is still to be printed go nowhere, at exit too: nobody reads it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _forget(out)


def _forget(console: Console) -> None:
    """Have rich not print what it could not write before all that is printed later."""
    with suppress(OSError, SystemExit), console.capture():
        pass


def check_here() -> None:
    """`ValueError` where the folder that the command is called in is no longer there: torch would end the process."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ValueError("the current folder has been deleted; change to another, with cd, and try again") from None


def one_of_several() -> bool:
    """Whether torchrun has started this process as one of several."""
    return number() > 1


def _processes() -> ModuleType:
    from ..system import processes  # with torch, which most commands begin without

    return processes


def first() -> bool:
    """Whether this process is the one of several that writes and speaks, or there are none."""
    return not one_of_several() or os.environ["RANK"] == "0"


@contextmanager
def one_voice() -> Iterator[None]:
    """Inside, of several processes the first alone prints; how they end, `fail` says once."""
    try:
        out.quiet = err.quiet = not first()
        yield
    finally:
        out.quiet = err.quiet = False


def program() -> list[str]:
    """How this program was started."""
    if not one_of_several():
        return ["vaekit"]
    here, every = local()[1], number()
    machines = [] if here == every else [f"--nnodes={every // here}", "…"]
    return ["torchrun", *machines, f"--nproc-per-node={here}", "-m", "vaekit"]


class InterruptedTrainingError(Exception):
    """Ctrl-C in a training; not a `KeyboardInterrupt`, whose message typer drops. Or another process was `lost`, or
    who reads the output.
    """

    def __init__(self, go_on: list[str] | None, lost: str = "") -> None:
        super().__init__()
        self.go_on, self.lost = go_on, lost
        """The command to go on with, None for the same again."""


def fail(text: str, status: int) -> int:
    """Say in a line on standard error why a command ends, and give the status back; one of several processes does."""
    if one_of_several():
        for each in (signal.SIGINT, *ENDING):
            signal.signal(each, signal.SIG_IGN)  # torchrun's to the others, while this one waits for its turn
        if not _processes().may_say():
            return status
        text = text if first() else f"process {os.environ['RANK']}: {text}"
        err.quiet = False
    try:
        err.print(f"vaekit: {plain(' '.join(text.split()))}", highlight=False, markup=False, soft_wrap=True)
    except (OSError, SystemExit):  # nobody reads it: the status says it still
        _forget(err)
    return status


def message(error: Exception, help_of: str) -> str:
    """What is said of an error of the user's; `help_of` is the command whose help tells more."""
    if isinstance(error, typer.TyperException):
        return f"{_of_the_command(error)}; see {help_of}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'file'}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _of_the_command(error: typer.TyperException) -> str:
    """What typer says of a command that it does not understand, a value in the words of all other messages."""
    said = error.format_message().rstrip(".")
    value = re.match(r"Invalid value for '([^']+)': (?:Value error, )?(.*)", said)
    found = getattr(error.__cause__, "errors", None)
    if value is None or found is None:
        return said
    first = found()[0]
    kinds = {"int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number"}
    ends = {"ge": "{:,} or more", "le": "{:,} or less", "gt": "more than {:,}", "lt": "less than {:,}"}
    accepted = [form.format(first["ctx"][key]) for key, form in ends.items() if key in first.get("ctx", {})]
    one_of = value[2].partition(" is not one of ")[2].replace("'", "")
    accepted += [each for each in (kinds.get(first["type"]), one_of) if each]
    return f"{value[1]} is {shown(str(first['input']))}; accepted: {accepted[0]}" if accepted else said


def out_of_memory(given: Sequence[str]) -> str:
    """What to lower, of the command that was given."""
    lower = {
        "sample": "so many samples; lower -n",
        "reconstruct": "so many data; lower -n or --samples",
        "plot": "this picture; lower -n, or what is set of it",
        "train": "this model and batch; lower training.batch_size or the sizes of its layers",
        "compare": "these models and their data",
    }
    rest = "this model and its data"
    return f"not enough memory for {lower.get(given[0] if given else '', rest)}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error is that there is no memory left."""
    if isinstance(error, MemoryError):
        return True
    from torch import OutOfMemoryError

    # Where torch has no type for it: the allocators of CPU, MPS and a CUDA device that is full at the start, and sizes
    # beyond any memory.
    words = (
        "DefaultCPUAllocator: |MPS backend out of memory|CUDA error: out of memory|"
        "Storage size calculation overflowed|Overflow when unpacking long"
    )
    return isinstance(error, OutOfMemoryError) or re.search(words, str(error)) is not None
