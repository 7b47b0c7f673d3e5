"""The command line as a test calls it: in this process, or as one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vaekit
from vaekit.cli import main
from vaekit.parts import Parts

QUICK = (
    "--set=model.encoder={name='mlp', hidden=[16]}",
    "--set=model.decoder={name='mlp', hidden=[16]}",
    "--set=model.latents.z.size=3",
    "--set=training.batch_size=100",
    "--epochs=2",
)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
PROGRAM = [sys.executable, "-c", "import sys; from vaekit.cli import main; sys.exit(main())"]


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
    options = {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": 60, "check": False} | options
    return subprocess.run([*PROGRAM, *map(str, argv)], env=environment(), **options)
