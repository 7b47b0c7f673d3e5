"""The command line as a test calls it: in this process, or as one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vaekit
from vaekit.cli import main
from vaekit.show import terminal
from vaekit.spec.parts import Parts

QUICK = (
    "--set=model.encoder={name='mlp', hidden=[16]}",
    "--set=model.decoder={name='mlp', hidden=[16]}",
    "--set=model.latents.z.size=3",
    "--set=training.batch_size=100",
    "--epochs=2",
)
terminal.QUIET_SECONDS = 600.0  # on a busy machine work says now and then what it is about, which is not wanted here
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
PROGRAM = [sys.executable, "-m", "vaekit"]
# Ctrl-C as at a terminal, also where these tests run in the background of a script, which has them ignore it.
_CALLED = "import sys; from vaekit.cli import main; sys.exit(main())"
AT_A_TERMINAL = [sys.executable, "-c", "from signal import *; signal(SIGINT, default_int_handler); " + _CALLED]
IN_THE_BACKGROUND = ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh", *PROGRAM]
SECONDS = 200
"""How long a process may take, on a busy machine, before it is taken for one that hangs."""


@dataclass(frozen=True)
class Result:
    """What a command gave back."""

    status: int
    out: str
    err: str


def command(*argv: str | Path, parts: Parts | None = None) -> Result:
    """Run a command in this process; it may print no control characters, since nothing here is a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(each) for each in argv], parts)
    result = Result(status, out.getvalue(), err.getvalue())
    assert not CONTROL.search(result.out + result.err), repr(result)
    return result


def done(*argv: str | Path, parts: Parts | None = None) -> str:
    """What a command that must succeed prints."""
    result = command(*argv, parts=parts)
    assert (result.status, result.err) == (0, ""), result
    return result.out


def environment(**changes: str) -> dict[str, str]:
    """That of this process, in which another one finds the vaekit that is tested here."""
    return os.environ | {"PYTHONPATH": str(Path(vaekit.__file__).parents[1])} | changes


def process(*argv: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    options = {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": SECONDS, "check": False} | options
    return subprocess.run([*PROGRAM, *map(str, argv)], env=environment(), **options)


@contextlib.contextmanager
def started(*argv: str | Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program running beside the test; when that is done with it, or fails, it and all that it started are ended."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen([*map(str, argv)], start_new_session=True, **pipes | options) as child:
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
